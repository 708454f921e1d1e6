"""Runs a command and records every program that it executes, itself and all that is below it, until it ends; with
--wait until all that it has left running has ended, too.

The command has the terminal, standard input and standard output to itself, as if it had been started without this. On
a terminal each exec is shown as it happens, and at the end there are totals: on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import secrets
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import remove_file
from .terminal import CommandError, Line, Terminal, as_ours

if TYPE_CHECKING:
    from ..baseline.model import Baseline
    from ..log.pattern import Pattern
    from ..report.model import Breach, Document
    from ..source.client import HelperSource
    from ..timeline.record import ExecRecord
    from ..timeline.timeline import Evidence
    from .following import Show
    from .recording import Limits, Recording, Seen

SUMMARY = "record every program that a command executes"

_USAGE = "execprobe run [OPTION]... [--] COMMAND [ARGUMENT]..."
_EPILOG = """\
examples:
  execprobe run -- make -j4
  execprobe run --report execs.html --report execs.json -- ./build.sh
  execprobe run --budget 40 --deny curl --deny 'argv:git fetch' -- ./release.sh
  execprobe run --wait=60 --report execs.json -- ./start-workers.sh

exit status:
  that of COMMAND, or 128 + N if signal N ended it; but
  1    if COMMAND succeeded, and a limit is exceeded
  2    if there can be no probe, and COMMAND was not run; or if COMMAND succeeded, and it can't be
       told whether a limit is exceeded (processes that it has left running may exceed it), or a
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

_SHOWN = 50  # lines that are shown at a time: to show more would take longer than to record them
_MARKED = 10  # execs that are shown with a limit that they break
_WIDTH = 160  # characters of them
_LEFT = 10  # processes that were left behind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = _USAGE
    parser.epilog = _EPILOG
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument_group("how long").add_argument(
        "--wait",
        nargs="?",
        type=_patience,
        const=math.inf,
        metavar="SECONDS",
        help="record until all processes that COMMAND has left running have ended, for at most so many seconds",
    )
    told = parser.add_argument_group("what is told")
    told.add_argument("-q", "--quiet", action="store_true", help="show no exec as it happens, only the totals")
    told.add_argument(
        "-r",
        "--report",
        action="append",
        default=[],
        metavar="PATH",
        help="write a report: .json, .html, .md or .trace.json, by its ending; can be given more than once",
    )
    told.add_argument("--variant", default="", metavar="NAME", help="what the report's run is of a matrix")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--budget",
        type=_budget,
        action="append",
        default=[],
        metavar="N|PATH",
        help="at most so many execs in all, COMMAND's own included; or what a budget file (.toml) allows in all",
    )
    for option, text in (("--allow", "nothing but these may run"), ("--deny", "none of these may run")):
        limits.add_argument(
            option,
            action="append",
            default=[],
            type=_pattern,
            metavar="PATTERN",
            help=f"{text}; can be given more than once",
        )
    probe = parser.add_argument_group("probe")
    probe.add_argument(
        "--optional",
        action="store_true",
        help="where there can be no probe, run COMMAND all the same: unrecorded, and unchecked",
    )
    probe.add_argument("--helper", metavar="ADDRESS", help="use a probe helper that is running: its socket, or @NAME")
    probe.add_argument(
        "--backend",
        choices=("auto", "bpf", "ptrace"),
        default="auto",
        metavar="NAME",
        help="bpf, ptrace (without privilege), or auto, the default: bpf where it can be had and else ptrace",
    )
    probe.add_argument("--python", metavar="PATH", help="interpreter to run the helper, one that has the distro's BCC")
    probe.add_argument(
        "--buffer-pages",
        type=_pages,
        metavar="N",
        help="perf buffer per CPU, in pages, a power of two (default 512)",
    )
    probe.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait at the end for execs under way, and for the helper (default 10)",
    )


def _budget(text: str) -> int | str:
    if text.isdecimal():
        return int(text)
    if text.endswith(".toml"):
        return text
    raise argparse.ArgumentTypeError(f"is a whole number from 0 on, or the path of a .toml file, not {text!r}")


def _pattern(text: str) -> Pattern:
    from ..log.patterns import compile_pattern

    try:
        return compile_pattern(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _pages(text: str) -> int:
    if not text.isdecimal() or int(text) == 0 or int(text) & (int(text) - 1):
        raise argparse.ArgumentTypeError(f"is a power of two, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"is a number of seconds up to 3600, not {text!r}")
    return seconds


def _patience(text: str) -> float:
    try:
        seconds = float(text or "inf")
    except ValueError:
        seconds = -1
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"is a number of seconds, not {text!r}")
    return seconds


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise CommandError("there is no command to run: execprobe run -- COMMAND [ARGUMENT]...")
    # As the probe decodes it, in any locale.
    words = [os.fsencode(word).decode("utf-8", "surrogateescape") for word in command]
    _check_reports(arguments.report)
    _forget_reports(arguments.report)
    baselines = [_read_budget(budget) for budget in arguments.budget if isinstance(budget, str)]
    numbers = [budget for budget in arguments.budget if isinstance(budget, int)]
    source, refusal = _probe(arguments, terminal)

    from .child import Child
    from .following import Reader, follow
    from .recording import Limits, Recording

    limits = Limits(min(numbers, default=None), tuple(arguments.allow), tuple(arguments.deny))
    whole = bool(arguments.report or baselines or limits.need_ancestors)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    recording = Recording(source, shlex.join(words), None if whole else limits.concern)
    show: Show = (lambda _: None) if arguments.quiet else _display(terminal, recording.began)
    child = Child(command)
    cut_off = follow(child, Reader(recording, show, arguments.timeout), arguments.wait, terminal)
    assert child.status is not None
    status = child.status

    evidence = recording.evidence()
    breaches: list[Breach] = []
    if refusal is None:
        for line in _totals(recording, evidence, cut_off):
            terminal.complain(*line)
        breaches += _breaches(limits, recording, _with_what_may_follow(evidence, recording))
    else:
        terminal.complain(("execprobe: ", "warn"), ("NOT RECORDED", "warn"), f": {refusal}")
    if baselines or arguments.report:
        document = _document(words, started, status, recording, evidence, source, refusal, arguments.variant)
        if refusal is None:
            breaches += [breach for baseline in baselines for breach in _judge(document, baseline)]
        document = replace(document, units=(replace(document.units[0], breaches=tuple(breaches)),))
    for breach in breaches:
        first, *more = breach.text.split("\n")
        terminal.complain(("execprobe: ", "warn" if breach.undecided else "bad"), first)
        for text in more:
            terminal.complain(text)
    written = [_write(document, path, terminal) for path in arguments.report]
    if status == 0:
        if any(not breach.undecided for breach in breaches):
            return 1
        if breaches or not all(written):
            return 2
    return status


# ---- before the command ----


def _check_reports(paths: Iterable[str]) -> None:
    """Nobody waits for a command whose report can't be written."""
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


def _forget_reports(paths: Iterable[str]) -> None:
    """However this ends, an earlier command's report is not to be taken for this one's."""
    for path in paths:
        with contextlib.suppress(OSError):  # whether it can be written is told later
            remove_file(Path(path))


def _probe(arguments: argparse.Namespace, terminal: Terminal) -> tuple[HelperSource | None, str | None]:
    """A source of events, or with --optional why there is none."""
    from ..errors import ProbeUnavailable
    from ..source.connect import HelperSettings, start_helper

    settings = HelperSettings(
        python=arguments.python,
        attempts="off",  # nothing here tells of them
        pages=arguments.buffer_pages,
        address=arguments.helper,
        backend=arguments.backend,
    )
    try:
        with terminal.working("starting the probe"):
            return start_helper(settings), None
    except ProbeUnavailable as error:
        refusal = as_ours(str(error))
    if not arguments.optional:
        raise CommandError(f"{refusal}. The command was not run; with --optional it runs unrecorded")
    return None, refusal


# ---- while it runs ----


def _display(terminal: Terminal, began: int) -> Show:
    """Shows execs as they come, if somebody looks."""
    if not terminal.attended:
        return lambda _: None

    def show(news: Sequence[Seen]) -> None:
        for seen in news[:_SHOWN]:
            terminal.complain(*_line(seen, began, terminal.width))
        if len(news) > _SHOWN:
            terminal.complain((f"+ … {len(news) - _SHOWN:,} more", "dim"))

    return show


def _line(seen: Seen, began: int, width: int) -> Line:
    """When, which process, begun by which program, and the command line."""
    from .._util.text import printable
    from ..timeline.program import described

    since = (seen.record.timestamp_ns - began) / 1e6
    head = f"+{since:9.1f} ms {seen.record.pid:>7} {_cut(printable(seen.parent or ''), 12):<12} "
    words = _cut(printable(described(seen.record)), max(20, width - len(head) - 1))
    program, blank, rest = words.partition(" ")
    return ((head, "dim"), (program, "strong"), blank + rest)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


# ---- after it ----


def _totals(recording: Recording, evidence: Evidence, cut_off: str | None) -> Iterator[Line]:
    from ..log import checks
    from .totals import number, row, table

    lost = checks.lost(evidence)
    yield (
        ("execprobe: ", "strong"),
        f"{number(recording.execs, 'exec')} of {number(len(recording.programs), 'program')}"
        f" in {recording.seconds:.2f} s, ",
        (f"{lost} lost", "dim" if evidence.missing == 0 else "bad"),
    )
    yield from table("most executed", [(count, program, "") for program, count in recording.programs.items()])
    yield from _left_running(recording, cut_off)
    for why in evidence.why:
        yield row("not known", (why, "bad"))


def _left_running(recording: Recording, cut_off: str | None) -> Iterator[Line]:
    from ..report import digest
    from .totals import number, row

    assert recording.ended is not None
    running, more = recording.still_running()
    count = len(running) + more
    if not count:
        return
    waited = "what they execute from now on is not recorded, --wait does that"
    if cut_off is not None:
        waited = f"waited for {cut_off}"
    yield row("still running", f"{number(count, 'process', 'processes')} that it has left behind: {waited}")
    for process in running[:_LEFT]:
        yield row("", digest.process(process, recording.ended))
    if count > _LEFT:
        yield row("", (f"… {count - min(_LEFT, len(running)):,} more", "dim"))


def _with_what_may_follow(evidence: Evidence, recording: Recording) -> Evidence:
    """Processes that have not ended leave open what else they execute."""
    from ..report import digest

    running, more = recording.still_running()
    why = [digest.may_follow(len(running) + more)] if running or more else []
    return replace(evidence, unknown=(*evidence.unknown, *why))


def _breaches(limits: Limits, recording: Recording, evidence: Evidence) -> Iterator[Breach]:
    """Limits that do not hold, or can't be decided."""
    for verdict in limits.broken(evidence, recording.execs):
        if verdict.holds is False:
            yield _exceeded(verdict.headline, verdict.marked)
        else:
            yield _undecided(verdict.question, _why(evidence))


def _exceeded(headline: str, marked: Sequence[ExecRecord]) -> Breach:
    """What is certain, and the execs that made it so."""
    from ..timeline.program import described

    lines = [_cut(described(record), _WIDTH) for record in marked[:_MARKED]]
    if len(marked) > _MARKED:
        lines.append(f"… {len(marked) - _MARKED} more")
    return _breach(headline, lines, undecided=False)


def _undecided(question: str, why: Iterable[str]) -> Breach:
    return _breach(f"cannot tell {question}", (f"why   {reason}" for reason in why), undecided=True)


def _breach(headline: str, lines: Iterable[str], *, undecided: bool) -> Breach:
    from .._util.text import printable
    from ..report.model import Breach

    headline = printable(headline)
    return Breach(headline, "\n".join([headline, *(f"  {printable(line)}" for line in lines)]), undecided=undecided)


def _why(evidence: Evidence) -> Iterator[str]:
    """What is missing from what is known, and what to change."""
    from .totals import number

    yield from evidence.why
    if evidence.lost:
        lost = number(len(evidence.lost), "exec")
        yield f"{lost} found the perf buffer full: raise --buffer-pages, or give the helper a CPU"
    if evidence.missing == 0:
        yield (
            "an argv was longer than what is kept (16 KiB), or it, a file or what is above an exec is not known: match"
            " on the program's name"
        )
    elif any(record._lineage_lost for record in evidence.records):
        yield "a record above an exec was lost: raise --buffer-pages, or match without subtree:"


def _document(
    command: Sequence[str],
    started: str,
    status: int,
    recording: Recording,
    evidence: Evidence,
    source: HelperSource | None,
    refusal: str | None,
    variant: str,
) -> Document:
    from ..report.model import Document, Run, Unit
    from ..source.client import in_words

    assert recording.ended is not None
    running, more = recording.still_running()
    gaps: dict[str, int] = {}
    for gap in evidence.gaps:
        gaps[gap.why] = gaps.get(gap.why, 0) + (gap.most or 0)
    run = Run(
        id=secrets.token_hex(8),
        kind="command",
        command=tuple(command),
        started=started,
        start_ns=recording.began,
        end_ns=recording.ended,
        exit_status=status,
        probe="none" if source is None else in_words(source.description),
        running=running,
        more_running=more,
        variant=variant,
    )
    unit = Unit(
        kind="command",
        name=shlex.join(command),
        outcome="passed" if status == 0 else "failed",
        phases={"call": (recording.began, recording.ended)},
        records=evidence.records,
        lost=recording.lost,
        unknown=evidence.unknown,
        gaps=gaps,
        not_checked=refusal,
    )
    return Document((run,), (unit,))


def _write(document: Document, path: str, terminal: Terminal) -> bool:
    """Whether it could be written; if not, it says so."""
    from ..report import forms

    try:
        forms.write(document, path)
    except (forms.FormUnavailable, forms.ReportNotWritten) as error:
        terminal.complain(("execprobe: ", "bad"), str(error))
        return False
    return True


# ---- budget files ----


def _read_budget(path: str) -> Baseline:
    """What a budget file says, before the command runs."""
    from ..baseline.read import BaselineError, read_baseline

    try:
        budget = read_baseline(Path(path))
    except BaselineError as error:
        raise CommandError(str(error)) from None
    if not any(sums.name == "" for sums in budget.sums):
        raise CommandError(f"{path}: has no [total], and nothing else in a budget file speaks of a command")
    return budget


def _judge(document: Document, budget: Baseline) -> Iterator[Breach]:
    """What of a command's execs a budget file does not allow, or leaves open."""
    from .. import gate

    of_all = replace(budget, sections={}, sums=tuple(sums for sums in budget.sums if not sums.name))
    verdict = gate.judge(document, of_all, budget_only=True)  # its own rules are judged apart
    for finding in verdict.exceeded:
        yield _exceeded(f"{budget.path}: {finding.excess.what}", finding.excess.marked)
    questions = [finding.excess.what for finding in verdict.undecided]
    if verdict.incomplete and not verdict.findings:
        questions.append("whether more ran")
    for question in questions:
        yield _undecided(f"{question} than {budget.path} allows", verdict.incomplete)
