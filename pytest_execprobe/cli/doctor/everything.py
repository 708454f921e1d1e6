"""All checks, in the order in which they are shown: what there must be for a probe, and at last the proof."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace

from ... import __version__
from ...source.connect import HelperSettings
from .bcc import bcc, search
from .diagnosis import Diagnosis, Examination, note, ok
from .installation import EXTRAS, installation, version_of
from .kernel import AttachPoints, attach_points, bpf, btf, kernel
from .machine import Machine
from .privilege import lockdown, route
from .proof import Proof, prove
from .surroundings import container, limits, namespaces, processes


def examine(
    machine: Machine,
    python: str | None,
    prove: Callable[[HelperSettings], Proof] = prove,
    progress: Callable[[str], None] = lambda _: None,
) -> Examination:
    """``python`` is the interpreter that the user has named."""
    progress("the kernel")
    found = [*kernel(machine), *bpf(machine)]
    progress("BCC")
    interpreters = search(machine, python)
    way = route(machine, interpreters)
    found += btf(machine, interpreters)
    found += attach_points(AttachPoints(machine), way.can_mount)
    found += bcc(machine, interpreters, python)
    found += [way.finding, *lockdown(machine)]
    found += [*container(machine), *namespaces(machine), *processes(machine, way.can_mount)]
    found += [*limits(machine, way.capabilities), *installation()]
    progress("a program, under a probe")
    proof = prove(HelperSettings(python=python, backend="bpf"))
    traced = None if proof.finding.status == "ok" else prove(HelperSettings(backend="ptrace"))
    found += [one for one in ((traced or proof).stopping,) if one is not None]
    if traced is not None:
        found.append(_traced(traced.finding))
    chosen = interpreters.chosen.found if interpreters.chosen else {}
    versions = {
        "execprobe": __version__,
        "kernel": machine.release,
        "bcc": proof.description.get("bcc", chosen.get("bcc")),
        "helper_python": chosen.get("python"),
        "python": platform.python_version(),
        "pytest": version_of("pytest"),
        **{name: version_of(name) for name in EXTRAS},
    }
    return Examination(tuple(_agreed(found, proof.finding)), versions)


def _traced(proof: Diagnosis) -> Diagnosis:
    """What takes the place of BPF."""
    if proof.status == "ok":
        how = "So execs are traced as long as there is no BPF, and failed ones by --execprobe-attempts=seccomp alone"
        return ok("ptrace", f"{proof.found}. {how} (docs/privilege.md)")
    return note("ptrace", f"nor can execs be traced without privilege: {proof.found}", proof.remedy)


def _agreed(found: list[Diagnosis], proof: Diagnosis) -> list[Diagnosis]:
    """What was found, and the proof, each in the light of the other."""
    broken = [finding for finding in found if finding.status == "not ok"]
    if not broken:
        return [*found, proof]
    if proof.status != "ok":
        # Of several causes the helper has met the first, and may have taken it for another.
        above = ", ".join(dict.fromkeys(finding.check for finding in broken))
        return [*found, replace(proof, remedy=f"fix what is not ok above: {above}")]
    # What works is not broken, whatever it looked like.
    refuted = "(but the probe works all the same)"
    return [
        *(
            replace(finding, status="note", found=f"{finding.found} {refuted}") if finding in broken else finding
            for finding in found
        ),
        proof,
    ]
