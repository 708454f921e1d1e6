"""Shows what this machine can do, what is missing, and how to fix it.

Everything that a probe needs is looked at, a line each:

  ok       as it should be
  note     it works, but not in every respect, or that is not known
  not ok   there can be no probe until this is fixed; the fix is below it

Last, a probe is loaded, a program is run, and the probe must have seen that program and nothing else. This proof alone
decides: the exit status is 0 if it succeeded, else 1. Where BPF can't be had the same is tried by ptrace, without
privilege, and decides as well. Nothing on the machine is changed.

With --json the same is written as one JSON object:

  ok        whether the proof succeeded
  versions  of execprobe, kernel, bcc, helper_python, python, pytest, rich, jinja2 and tomlkit; null: not there, or
            not known
  checks    a list of objects, in the order of the text: check (its name; that of "bcc" is there once for each Python
            that was asked), status ("ok", "note" or "not ok"), found (words), remedy (a command or words,
            in one line or several; null: nothing is to be done)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..._util.text import printable
from ..terminal import Terminal
from ..totals import number

if TYPE_CHECKING:
    from .diagnosis import Diagnosis, Examination

SUMMARY = "show whether this machine can probe, and how to fix it if not"

_STYLES = {"ok": "good", "note": "warn", "not ok": "bad"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--python",
        metavar="PATH",
        help="the interpreter to run the probe helper, as --execprobe-python; without it EXECPROBE_PYTHON, else those"
        " of the system are tried",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    with terminal.working("looking at this machine") as progress:
        examination = _examine(arguments.python, progress)
    if arguments.json:
        terminal.say(json.dumps(as_data(examination), indent=2))
    else:
        show(examination, terminal)
    return 0 if examination.ok else 1


def _examine(python: str | None, progress: Callable[[str], None]) -> Examination:
    from .diagnosis import Examination, bad

    if sys.platform != "linux":
        found = f"this is {sys.platform}: BPF, which the probe is made of, is a part of the Linux kernel"
        return Examination((bad("kernel", found, "use Linux: a virtual machine, a container or WSL 2"),), {})
    from .everything import examine
    from .machine import Machine

    return examine(Machine(), python, progress=progress)


def as_data(examination: Examination) -> dict[str, Any]:
    return {
        "ok": examination.ok,
        "versions": examination.versions,
        "checks": [asdict(finding) for finding in examination.findings],
    }


def show(examination: Examination, terminal: Terminal) -> None:
    width = max(len(finding.check) for finding in examination.findings)
    for finding in examination.findings:
        _show(finding, width, terminal)
    terminal.say()
    notes = sum(finding.status == "note" for finding in examination.findings)
    broken = [finding.check for finding in examination.findings[:-1] if finding.status == "not ok"]
    if examination.ok:
        how = ", by ptrace: without privilege" if examination.is_traced else ""
        above = f" ({number(notes, 'note')} above)" if notes else ""
        terminal.say((f"This machine can probe, for this user{how}.", "good"), above)
    else:
        what = ", ".join(dict.fromkeys(broken)) or examination.findings[-1].check
        terminal.say(
            ("There can be no probe here, for this user.", "bad"),
            f" Fix what is not ok ({what}), then run execprobe doctor again.",
        )


def _show(finding: Diagnosis, width: int, terminal: Terminal) -> None:
    status = (f"{finding.status:<6}", _STYLES[finding.status])
    terminal.say(status, f"  {finding.check:<{width}}  ", printable(finding.found))
    for line in (finding.remedy or "").splitlines():
        terminal.say(f"{'':<{width + 8}}  ", ("-> ", "strong"), printable(line))
