"""Runs a test suite once, records what each test executes, and proposes a rule for all of them: the lines for the file
in which pytest is configured, with the reason for each.

Nothing is written unless --write is given, and then nothing of a file is changed but that the lines are added to
pytest's section. What is executed is pytest, once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .terminal import CommandError, Terminal

SUMMARY = "run a test suite once, and propose a rule for it"

USAGE = "execprobe init [--write] [-- PYTEST-ARGUMENT...]"
EPILOG = """\
examples:
  execprobe init
  execprobe init --write -- tests -n 4

exit status:
  0    lines were proposed, also if tests have failed
  2    none could be: the log is not complete, or pytest could not run
"""

#: It says where pytest is configured, in the file that the variable names.
_PLUGIN, _VARIABLE = "pytest_execprobe.session.place", "EXECPROBE_PLACE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument(
        "--write", action="store_true", help="add the lines to the file in which pytest is configured, too"
    )
    parser.add_argument("given", nargs="*", metavar="PYTEST-ARGUMENT", help="what pytest is given")


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from ..report import read
    from ..rules.configured import FILE
    from .proposal import NoProposal, propose

    with tempfile.TemporaryDirectory(prefix="execprobe-init-") as folder:
        report = Path(folder, "report.json")
        status, place = _recorded(report, Path(folder, "place.json"), arguments.given)
        try:
            document = read.read(report)
        except read.DocumentError:
            raise CommandError(
                f"pytest ended with status {status} before there was a report (is the plugin loaded, and --execprobe"
                " not off?)"
            ) from None
    try:
        proposal = propose(document, place.get("settings"))
    except NoProposal as error:
        why = "".join(f"\n  why   {reason}" for reason in error.why[:5])
        terminal.complain(("execprobe: ", "bad"), f"the log is not complete, so nothing is proposed:{why}")
        return 2
    file = Path(place["file"]) if place.get("file") else Path(place.get("root", "."), FILE)
    section = place.get("section", "[pytest]")
    lines = proposal.lines(file.name)
    shown = os.path.relpath(file)  # there may be several of its name
    # What pytest wrote is above.
    terminal.say("")
    terminal.say((f"For {shown}, under {section}:", "strong"))
    terminal.put("\n".join(["", *lines, "", ""]))
    if proposal.failed:
        some = ", ".join(proposal.failed[:3]) + (f" and {len(proposal.failed) - 3} more" if proposal.failed[3:] else "")
        terminal.say(("did not pass: ", "warn"), f"{some}; what these would run besides is not known")
    if proposal.skipped:
        some = f"{proposal.skipped} test{'' if proposal.skipped == 1 else 's'}"
        terminal.say(("skipped: ", "warn"), f"{some}; what they run where they are not skipped is not known")
    if os.path.dirname(shown) and not shown.startswith(os.pardir):
        terminal.say(f"pytest takes {shown} for what it was given here, and can take another file for anything else.")
    there = [f"execprobe_{name}" for name, value in place.get("settings", {}).items() if value is not None]
    if there:
        terminal.say(f"These lines are instead of {', '.join(there)}, which stand there already.")
    if arguments.write:
        _write(file, section, lines, terminal)
    return 0


def _recorded(report: Path, place: Path, given: list[str]) -> tuple[int, dict[str, Any]]:
    """Runs pytest, and returns its exit status and where it is configured."""
    import json

    script = Path(sys.executable).parent / "pytest"
    command = [str(script)] if script.is_file() else [sys.executable, "-m", "pytest"]
    command += [*given, f"--execprobe-report={report}", "-p", _PLUGIN]
    with subprocess.Popen(command, env={**os.environ, _VARIABLE: str(place)}) as child:
        while True:
            try:
                status = child.wait()
                break
            except KeyboardInterrupt:
                continue  # pytest has got it, too, and ends by it
    try:
        return status, json.loads(place.read_text())
    except (OSError, ValueError):
        return status, {}


def _write(file: Path, section: str, lines: list[str], terminal: Terminal) -> None:
    """Adds the lines. Raises CommandError where that can't be done without changing anything else."""
    from ..files import locked, write_atomically
    from .insertion import NotInserted, inserted

    try:
        with locked(file):
            if file.exists():
                text = inserted(file.name, file.read_bytes().decode(), section, lines)
            else:
                text = "\n".join([section, *lines, ""])
            write_atomically(file, text)
    except NotInserted as error:
        raise CommandError(f"{error}: nothing was written, paste the lines above") from None
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{file}: nothing was written: {error}") from None
    terminal.say(f"written to {file}")
