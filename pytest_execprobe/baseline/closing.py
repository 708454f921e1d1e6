"""What there is to say of a baseline when a run is over, and to write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import gate, summary
from ..ledger import MISSING, Breach, Ledger
from ..report.document import Document
from ..settings import Settings
from .changes import Seen
from .collected import Former, Idle
from .limits import BEYOND, SECTIONS, Baseline, Section, table_name

_RIGHT = ("passed", "xfailed", "xpassed")


def beyond_sums(document: Document, baseline: Baseline) -> Iterator[Breach]:
    """What is beyond the limits of the run as a whole, and of packages."""
    found: dict[tuple[str, bool | None], list[gate.Finding]] = {}
    for finding in gate.judge_sums(document, baseline):
        found.setdefault((finding.name, finding.excess.holds), []).append(finding)
    for (name, holds), findings in found.items():
        if holds is False:
            headline = f"{BEYOND}: {'; '.join(finding.excess.what for finding in findings)}"
        else:
            headline = "cannot tell whether it is within the baseline: records are missing"
        text = [f"{headline} ({name})"]
        text += [f"  {finding.excess.key or 'most'}   {finding.who}" for finding in findings if finding.names]
        table = "total" if name == gate.TOTAL else f'packages."{name}"'
        text += [f"  if this is right: raise it in {baseline.path.name}, at [{table}]"] if holds is False else []
        yield Breach.around(f"baseline of {name}", headline, "\n".join(text), undecided=holds is None)


def shared_names(baseline: Baseline, settings: Settings, collected: Mapping[str, Any]) -> Iterator[Breach]:
    """Tests that a baseline can't tell apart, because one has in its parameters what stands for a folder of another."""
    speaks = settings.update is not None or baseline.has("tests")
    for name, nodeids in collected.get("shared", {}).items() if speaks else ():
        headline = f"{baseline.path.name} has one name for several tests: {name}"
        fix = "  Fix   give their parameters ids: pytest.param(..., id=...)"
        text = "\n".join([headline, *(f"  test  {nodeid}" for nodeid in nodeids), fix])
        yield Breach.around(f"baseline of {name}", headline, text, undecided=True)


def idle(baseline: Baseline, found: Idle) -> Iterator[Breach]:
    """Limits of packages that limit nothing."""
    for name, why in found.wrong.items():
        headline = f'packages."{name}" in {baseline.path.name} limits nothing: {why}'
        fix = "  Fix   name a folder, a file or a class as node ids do (tests/release), or take the table out"
        yield Breach.around(f"baseline of {name}", headline, f"{headline}\n{fix}", undecided=True)


def compared(
    baseline: Baseline,
    settings: Settings,
    ledger: Ledger,
    outcomes: Mapping[str, str],
    gone: Mapping[Section, Sequence[str]],
    former: Former,
    beyond: int,
) -> list[str]:
    """The summary of a run that was judged by it. ``beyond`` is how many tests, and the like, were beyond it."""
    accept = " ".join(filter(None, ["pytest", settings.baseline_option, "--execprobe-update"]))
    return [
        *summary.compared(baseline.path, ledger.recorded, beyond, accept),
        *summary.former(former, accept),
        *summary.obsolete(gone, ledger.usage, baseline),
        *summary.fewer(ledger.usage, baseline, outcomes),
    ]


def rewritten(
    baseline: Baseline,
    settings: Settings,
    ledger: Ledger,
    outcomes: Mapping[str, str],
    gone: Mapping[Section, Sequence[str]],
    former: Former,
) -> list[str]:
    """Writes it anew, and returns the summary of that. Raises OSError, or BaselineError if it was damaged meanwhile."""
    from .update import rewrite

    passed = {table_name(name) for name, outcome in outcomes.items() if outcome in _RIGHT}
    seen: dict[Section, dict[str, Seen]] = {section: {} for section in SECTIONS}
    left: list[str] = []
    for section in SECTIONS:
        for name, used in ledger.usage.get(section, {}).items():
            if MISSING not in used and (section != "tests" or name in passed):
                seen[section][name] = Seen(used, ledger.by_chance.get(section, {}).get(name, {}))
            elif used or name in baseline.sections.get(section, ()):
                left.append(name)
    left += [
        name for name in map(table_name, outcomes) if name not in passed and name in baseline.sections.get("tests", ())
    ]
    # A part of a suite removes nothing: what it does not run may have moved.
    gone = {} if ledger.collected.get("partial") else gone
    changes = rewrite(baseline, seen, gone, renamed=former.names, only_add=settings.update == "add")
    return [*summary.updated(baseline.path, changes, [*dict.fromkeys(left)]), *summary.not_renamed(former)]
