"""BCC, and which Python has it: each that would be tried for the helper, and what it said."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...errors import ProbeUnavailable
from ...source.launch import HELPER, PYTHON_VARIABLE
from .diagnosis import Diagnosis, bad, note, ok
from .machine import Machine


@dataclass(frozen=True)
class Interpreter:
    """``found`` is what helper/check.py said there, or ``reason`` why it said nothing."""

    path: str
    found: dict[str, Any]

    @property
    def reason(self) -> str | None:
        """Why it can't run the helper."""
        reason = self.found.get("reason")
        return None if reason is None else str(reason)

    @property
    def code(self) -> str | None:
        return self.found.get("code")


@dataclass(frozen=True)
class BccSearch:
    """The interpreters that were asked, in their order: up to the first with BCC, as the plugin does it."""

    tried: tuple[Interpreter, ...] = ()
    #: Why none was.
    refused: str | None = None

    @property
    def chosen(self) -> Interpreter | None:
        return self.tried[-1] if self.tried and self.tried[-1].reason is None else None

    @property
    def libbpf(self) -> int | str | None:
        """How many offsets it found in the kernel's BTF, or why it could not read it; None: it was not asked."""
        if self.chosen is None:
            return None
        found = self.chosen.found
        return int(found["offsets"]) if "offsets" in found else str(found.get("btf"))


def search(machine: Machine, named: str | None) -> BccSearch:
    tried = []
    try:
        candidates = machine.interpreters(named)
    except ProbeUnavailable as error:
        return BccSearch(refused=str(error).removeprefix("execprobe: "))
    for path in candidates:
        tried.append(ask(machine, path))
        # With a BCC that is too old the helper gives up, and no other interpreter is tried.
        if tried[-1].reason is None or tried[-1].code == "old-bcc":
            break
    return BccSearch(tuple(tried))


def ask(machine: Machine, path: str) -> Interpreter:
    """What a Python has for the helper."""
    answer = machine.run([path, "-I", "-B", str(HELPER / "check.py")])
    try:
        found = json.loads(answer.out)
        if answer.status == 0 and isinstance(found, dict):
            return Interpreter(path, found)
    except (ValueError, RecursionError):
        pass
    return Interpreter(path, {"reason": f"it runs no Python: {answer.last_words}"})


def bcc(machine: Machine, search: BccSearch, named: str | None) -> Iterator[Diagnosis]:
    for interpreter in search.tried:
        found = interpreter.found
        who = f"{interpreter.path} (Python {found['python']})" if "python" in found else interpreter.path
        if interpreter.reason is None:
            yield ok("bcc", f"{who} has BCC {found.get('bcc')}, in {found.get('folder')}")
        else:
            wrong = interpreter.code == "wrong-bcc"
            yield note("bcc", f"{who}: {interpreter.reason}", _uninstall(machine, interpreter) if wrong else None)
    if search.chosen is None:
        yield _none(machine, search, named)


def _none(machine: Machine, search: BccSearch, named: str | None) -> Diagnosis:
    """No BCC was found."""
    if search.tried and search.tried[-1].code == "old-bcc":
        return bad(
            "bcc",
            "that BCC is the one that would be used",
            "take a newer release of your distribution: Debian 12, Ubuntu 24.04, Fedora and RHEL 9 have BCC 0.24 or"
            f" later; or name a Python that has one: --python, --execprobe-python or {PYTHON_VARIABLE}",
        )
    if named:
        return bad(
            "bcc",
            search.refused or "the Python that --python names can't run the helper",
            "leave --python out, or name another",
        )
    if machine.environ.get(PYTHON_VARIABLE):
        found = search.refused or f"the Python that {PYTHON_VARIABLE} names can't run the helper"
        return bad("bcc", found, f"unset {PYTHON_VARIABLE}")
    found = "none of these has BCC" if len(search.tried) > 1 else "no Python with BCC was found"
    return bad("bcc", found, _install(machine))


def _uninstall(machine: Machine, interpreter: Interpreter) -> str:
    command = f"{shlex.quote(interpreter.path)} -m pip uninstall bcc"
    if not interpreter.path.startswith("/usr/"):
        return command
    series = ".".join(str(interpreter.found.get("python")).split(".")[:2])
    # The mark of a Python in which pip is to leave alone what it has not installed, and asks for more words.
    if any(machine.exists(f"usr/{lib}/python{series}/EXTERNALLY-MANAGED") for lib in ("lib", "lib64")):
        command += " --break-system-packages"
    return machine.as_root(command)


def _install(machine: Machine) -> str:
    return machine.install(
        "python3-bpfcc",
        "python3-bcc",
        "install your distribution's package of BCC with its Python module: python3-bpfcc, python3-bcc or python-bcc",
    )
