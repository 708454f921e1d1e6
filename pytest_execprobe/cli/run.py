"""Runs a command and records every program that it executes, itself and all that is below it, until it ends; with
--wait until all that it has left running has ended, too.

The command has the terminal, standard input and standard output to itself, as if it had been started without this. On
a terminal each exec is shown as it happens, and at the end there are totals: on standard error.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._util.redaction import in_force
from ..files import remove_file
from .terminal import CommandError, Terminal, as_ours
from .values import REDACT, Option, add_options, real

if TYPE_CHECKING:
    from ..log.pattern import Pattern
    from ..report.model import Document, ReportedBreach
    from ..source.client import HelperSource

SUMMARY = "record every program that a command executes"

USAGE = "execprobe run [OPTION]... [--] COMMAND [ARGUMENT]..."
EPILOG = """\
examples:
  execprobe run -- make -j4
  execprobe run --report execs.html --report execs.json -- ./build.sh
  execprobe run --budget 40 --deny curl --deny 'argv:git fetch' -- ./release.sh
  execprobe run --deny rm --enforce -- ./release.sh
  execprobe run --wait=60 --report execs.json -- ./start-workers.sh

exit status:
  that of COMMAND, or 128 + N if signal N ended it; but
  1    if COMMAND succeeded, and a limit is exceeded
  2    if there can be no probe, and COMMAND was not run; or if COMMAND succeeded, and it is not
       known whether a limit is exceeded (processes that it has left running may exceed it), or a
       report can't be written
  126  if COMMAND can't be executed
  127  if there is no COMMAND

PATTERN is the name of a program (git, 'python3*') or its path (/usr/bin/git), 'argv:git push',
're:REGEX', or 'subtree:git' for git and all that is below it. Of a budget file, [total] counts.
What is lost or not known is said, and nothing that it could exceed passes as kept. So are processes
that still run at the end, with an exec of their own or without. --wait goes on until they have ended,
or SECONDS are over, or SIGINT (Ctrl-C), SIGTERM, SIGHUP or SIGQUIT comes; the exit status stays
COMMAND's.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    for title, options in _OPTIONS.items():
        add_options(parser.add_argument_group(title), options)


def _budget(text: str) -> int | str:
    if text.isdecimal():
        return int(text)
    if text.endswith(".toml"):
        return text
    raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, or the path of a .toml file, not {text!r}")


def _pattern(text: str) -> Pattern:
    from ..log.patterns import compile_pattern

    try:
        compiled = compile_pattern(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if compiled.text.removeprefix("subtree:").startswith("from:"):
        raise argparse.ArgumentTypeError(f"{text!r}: pytest alone records which code has spawned what")
    return compiled


def _untraced(texts: Iterable[str]) -> tuple[str, ...]:
    from ..source.tracing import untraced_pattern

    patterns: list[str] = []
    for text in texts:
        try:
            patterns.append(untraced_pattern(text, patterns))
        except ValueError as error:
            raise CommandError(f"--untraced: {error}, not {text!r}") from None
    return tuple(patterns)


def _pages(text: str) -> int:
    if not text.isdecimal() or int(text) == 0 or int(text) & (int(text) - 1):
        raise argparse.ArgumentTypeError(f"expected a power of two, not {text!r}")
    return int(text)


def _patience(text: str) -> float:
    return real(0)(text or "inf")


_AGAIN: dict[str, Any] = {"action": "append", "default": []}
_OPTIONS: dict[str, list[Option]] = {
    "how long": [
        (
            "--wait",
            "SECONDS",
            "record until all processes that COMMAND has left running have ended, for at most so many seconds",
            {"nargs": "?", "type": _patience, "const": math.inf},
        ),
    ],
    "output": [
        ("-q --quiet", "", "show no exec as it happens, only the totals", {}),
        (
            "-r --report",
            "PATH",
            "write a report: .json, .html, .md, .sarif or .trace.json, by its ending; can be given more than once",
            _AGAIN,
        ),
        ("--variant", "NAME", "what the report's run is of a matrix", {"default": ""}),
        REDACT,
    ],
    "limits": [
        (
            "--budget",
            "N|PATH",
            "at most so many execs in all, COMMAND's own included; or what a budget file (.toml) allows in all",
            {**_AGAIN, "type": _budget},
        ),
        ("--allow", "PATTERN", "nothing but these may run; can be given more than once", {**_AGAIN, "type": _pattern}),
        ("--deny", "PATTERN", "none of these may run; can be given more than once", {**_AGAIN, "type": _pattern}),
        ("--enforce", "", "kill what --deny names before it runs: names and absolute paths, without wildcards", {}),
    ],
    "probe": [
        ("--optional", "", "where there can be no probe, run COMMAND all the same: unrecorded, and unchecked", {}),
        ("--helper", "ADDRESS", "use a probe helper that is running: its socket, or @NAME", {}),
        (
            "--backend",
            "NAME",
            "bpf, ptrace (without privilege), or auto, the default: bpf where it can be had and else ptrace",
            {"choices": ("auto", "bpf", "ptrace"), "default": "auto"},
        ),
        (
            "--untraced",
            "PATTERN",
            "programs that don't run under ptrace, as debuggers: their name, or path; can be given more than once",
            _AGAIN,
        ),
        ("--python", "PATH", "interpreter to run the helper, one that has the distro's BCC", {}),
        ("--buffer-pages", "N", "perf buffer per CPU, in pages, a power of two (default 512)", {"type": _pages}),
        (
            "--timeout",
            "SECONDS",
            "how long to wait at the end for execs in flight, and for the helper (default 10)",
            {"type": real(0.001, 3600), "default": 10.0},
        ),
    ],
}


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise CommandError("there is no command to run: execprobe run -- COMMAND [ARGUMENT]...")
    _check_reports(arguments.report)

    from . import limits, recorded
    from .child import Child
    from .following import Follower, display, follow
    from .recording import Recording

    totals = [limits.total_of(budget) for budget in arguments.budget if isinstance(budget, str)]
    numbers = [budget for budget in arguments.budget if isinstance(budget, int)]
    allowed = limits.Allowed(min(numbers, default=None), tuple(arguments.allow), tuple(arguments.deny))
    source, refusal = _probe(arguments, terminal)
    # As the probe decodes it, in any locale.
    words = [os.fsencode(word).decode("utf-8", "surrogateescape") for word in command]
    whole = bool(arguments.report or totals or allowed.need_ancestors)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    recording = Recording(source, in_force().join(words), None if whole else allowed.concern)
    if arguments.enforce:
        _enforce(allowed.deny, source, recording.began, arguments.timeout)
    show = (lambda _: None) if arguments.quiet else display(terminal, recording.began)
    attended = terminal.attended and not arguments.quiet
    child = Child(command)
    follower = Follower(recording, allowed.looking(show) if whole else show, arguments.timeout, attended)
    waited = follow(child, follower, arguments.wait, terminal)
    assert child.status is not None

    evidence = recording.evidence()
    document = recorded.document(
        words,
        recording,
        evidence,
        started=started,
        status=child.status,
        description=None if source is None else source.description,
        not_checked=refusal,
        variant=arguments.variant,
    )
    breaches: list[ReportedBreach] = []
    if refusal is None:
        for line in recorded.totals(recording, evidence, waited):
            terminal.complain(*line)
        breaches += allowed.breaches(evidence, recording.execs, document.still_running)
        breaches += (breach for total in totals for breach in limits.beyond(document, total))
    else:
        terminal.complain(("execprobe: ", "warn"), ("NOT RECORDED", "warn"), f": {refusal}")
    status = _report(document, breaches, arguments.report, terminal)
    return child.status or status


def _check_reports(paths: Iterable[str]) -> None:
    """A command whose report can't be written is not run. However this ends, an earlier command's report is not to be
    taken for this one's."""
    from ..report import forms

    for path in paths:
        try:
            forms.check_available(forms.form_of(path))
        except (ValueError, forms.FormUnavailable) as error:
            raise CommandError(str(error)) from None
        folder = Path(path).absolute().parent
        while not folder.exists():
            folder = folder.parent
        if Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise CommandError(f"{path}: no report can be written there")
    for path in paths:
        with suppress(OSError):  # whether it can be written shows later
            remove_file(Path(path))


def _probe(arguments: argparse.Namespace, terminal: Terminal) -> tuple[HelperSource | None, str | None]:
    """A source of events, or with --optional why there is none."""
    _check_enforced(arguments)
    from ..errors import ProbeUnavailable
    from ..source.connect import HelperSettings, start_helper

    settings = HelperSettings(
        python=arguments.python,
        attempts="off",  # nothing here shows them
        pages=arguments.buffer_pages,
        address=arguments.helper,
        backend=arguments.backend,
        untraced=_untraced(arguments.untraced),
    )
    try:
        with terminal.working("starting the probe"):
            return start_helper(settings), None
    except ProbeUnavailable as error:
        refusal = as_ours(str(error))
    if not arguments.optional:
        raise CommandError(f"{refusal}. The command was not run; with --optional it runs unrecorded")
    return None, refusal


def _check_enforced(arguments: argparse.Namespace) -> None:
    """Raises CommandError."""
    from ..source.stopping import check

    if arguments.enforce and not arguments.deny:
        raise CommandError("--enforce stops what --deny names, and there is none: name a program, --deny=PATTERN")
    try:
        for pattern in arguments.deny if arguments.enforce else ():
            check(pattern.text)
    except ValueError as error:
        raise CommandError(f"--deny: {error}") from None


def _enforce(patterns: Iterable[Pattern], source: HelperSource | None, since: int, timeout: float) -> None:
    """Has what is denied killed before it runs. Raises CommandError: then the command must not run."""
    from ..errors import SourceLost
    from ..source.stopping import StopError

    if source is None:
        raise CommandError("--enforce: without a probe nothing can be stopped. The command was not run")
    try:
        source.stop([pattern.text for pattern in patterns], since, timeout)
    except (StopError, SourceLost) as error:
        source.close()
        raise CommandError(f"--enforce: {as_ours(str(error))}. The command was not run") from None


def _report(document: Document, breaches: list[ReportedBreach], paths: Iterable[str], terminal: Terminal) -> int:
    """Says what is beyond a limit, and writes the reports. The exit status of a command that succeeded."""
    from ..report import forms
    from ..report.origins import with_origins

    paths = list(paths)
    document = replace(document, units=(replace(document.units[0], breaches=tuple(breaches)),))
    document = with_origins(document) if paths else document
    for breach in breaches:
        first, *more = breach.text.split("\n")
        terminal.complain(("execprobe: ", "warn" if breach.undecided else "bad"), first)
        for text in more:
            terminal.complain(text)
    status = 1 if any(not breach.undecided for breach in breaches) else 2 if breaches else 0
    for path in paths:
        try:
            forms.write(document, path)
        except (forms.FormUnavailable, forms.ReportNotWritten) as error:
            terminal.complain(("execprobe: ", "bad"), str(error))
            status = status or 2
    return status
