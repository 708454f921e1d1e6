"""Counts the execs of the whole machine by program, or by user, until Ctrl-C or --duration ends it.

On a terminal the table is shown as it grows. The names are those of the programs, as they were executed: no arguments
are read. It takes root, or sudo, which may ask for a password. docs/top.md has more.
"""

from __future__ import annotations

import argparse
import json
import pwd
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

from .._util.text import printable
from ..errors import ProbeUnavailable, SourceLost
from ..helper.top import target as targets
from ..source.launch import PYTHON_VARIABLE, privilege_route
from .counting import Counting, TopCounts, start_counting
from .terminal import CommandError, Line, Terminal, as_ours
from .totals import number
from .values import add_options, real, whole

SUMMARY = "count the execs of the whole machine, by program"

_ROWS = 20  # where there is no screen to fill
_BESIDE = 7  # lines of the display that are no rows, at most
_NAMES_MAX = 10240


def add_arguments(parser: argparse.ArgumentParser) -> None:
    forms = ", ".join(targets.FORMS)
    add_options(
        parser,
        [
            (
                "--by",
                "",
                "what to count by; a user is who runs a program, also where that is setuid (default: program)",
                {"action": "store", "choices": ("program", "user"), "default": "program"},
            ),
            (
                "--probe",
                "PROBE",
                f"what to count instead of successful execs: {forms}. Programs are then known by the kernel's names of"
                " processes, which are cut to 15 bytes",
                {"type": _target, "default": targets.EXEC},
            ),
            (
                "--interval",
                "SECONDS",
                "how often to update the table (default: 1)",
                {"type": real(0.1, 3600), "default": 1.0},
            ),
            ("--duration", "SECONDS", "end by itself after this time", {"type": real(0.1, 1e8)}),
            ("--rows", "N", f"show so many (default: what fits, {_ROWS} if piped)", {"type": whole(1, 1 << 20)}),
            ("--json", "", "write all counts at the end, as JSON, instead of the table", {}),
            (
                "--max-names",
                "N",
                f"programs or users to keep apart; others are counted without a name (default: {_NAMES_MAX})",
                {"type": whole(1, 262144), "default": _NAMES_MAX},
            ),
            ("--python", "PATH", f"interpreter to run the probe with, one that has BCC (also {PYTHON_VARIABLE})", {}),
        ],
    )


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    asked = Asked(arguments.probe, arguments.by, ends_by_itself=arguments.duration is not None)
    rows = arguments.rows
    if rows is None:
        rows = max(1, terminal.height - _BESIDE) if sys.stdout.isatty() else _ROWS
    live = terminal.interactive and not arguments.json
    try:
        helper = _start(arguments, terminal, live)
        try:
            counts = _watch(helper, terminal, asked, rows, live)
        finally:
            helper.close()
    except (ProbeUnavailable, SourceLost) as error:
        raise CommandError(printable(as_ours(str(error)))) from error
    if counts is None:
        raise CommandError("the helper that counts was killed before its first counts. Start again")
    if arguments.json:
        terminal.say(json.dumps(as_data(counts, asked), indent=2))
    else:
        for line in table(counts, asked, rows):
            terminal.say(*line)
    if not counts.last:
        raise CommandError("the helper that counts was killed: what came after these counts is not in them")
    return 0


def _target(text: str) -> str:
    try:
        targets.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


# ---- what the user sees ----


@dataclass(frozen=True)
class Asked:
    """What is counted, and until when."""

    probe: str = targets.EXEC
    by: str = "program"
    ends_by_itself: bool = False

    @property
    def what(self) -> str:
        return "execs" if self.probe == targets.EXEC else f"hits of {printable(self.probe)}"

    @property
    def title(self) -> str:
        end = "" if self.ends_by_itself else "; Ctrl-C ends it"
        return f"counting {self.what} of the whole machine by {self.by}{end}"


def table(counts: TopCounts, asked: Asked, rows: int) -> list[Line]:
    """The most executed first, and at the end what there was in all."""
    shown, rest = counts.by[:rows], counts.by[rows:]
    more = sum(count for _, count in rest)
    width = max(len(f"{count:,}") for count in (10000, more, counts.no_room, *(count for _, count in shown[:1])))

    def row(count: int, name: str, style: str = "") -> Line:
        figure, share = f"{count:>{width},}", f"  {count / counts.total:6.1%}  "
        return [(figure + share + name, style)] if style else [(figure, "strong"), share + name]

    lines: list[Line] = []
    if counts.by:
        lines.append([(f"{'count':>{width}}   share  {asked.by}", "dim")])
    lines += [row(count, _name(key)) for key, count in shown]
    if rest:
        lines.append(row(more, f"{number(len(rest), asked.by)} more", "dim"))
    if counts.no_room:
        lines.append(row(counts.no_room, f"of {asked.by}s that found no room: raise --max-names", "warn"))
    if counts.missed:
        missed = f"{counts.missed:,} more were not counted: each came while the probe was at work on the same CPU"
        lines.append([(missed, "warn")])
    lines.append([(_sum(counts, asked), "strong")])
    return lines


def _sum(counts: TopCounts, asked: Asked) -> str:
    what = asked.what
    if counts.total == 1:
        what = what.replace("execs", "exec", 1).replace("hits", "hit", 1)
    of = "of" if asked.probe == targets.EXEC and asked.by == "program" else "by"
    who = f" {of} {number(len(counts.by), asked.by)}" if counts.by else ""
    rate = f", {counts.total / counts.elapsed:,.1f} a second" if counts.total and counts.elapsed >= 1 else ""
    return f"{counts.total:,} {what}{who} in {counts.elapsed:,.1f} s{rate}"


def _name(key: str | int) -> str:
    if isinstance(key, str):
        return printable(key)
    return printable(_user(key) or str(key))


def _user(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return None


def as_data(counts: TopCounts, asked: Asked) -> dict[str, Any]:
    """For programs. Bytes of a name that are no text are lone surrogates in it, as os.fsdecode() has them."""
    by: list[dict[str, Any]] = []
    for key, count in counts.by:
        name = {"program": key} if isinstance(key, str) else {"uid": key, "user": _user(key)}
        by.append({**name, "count": count})
    return {
        "probe": asked.probe,
        "by": asked.by,
        "elapsed": round(counts.elapsed, 3),
        "total": counts.total,
        "no_room": counts.no_room,
        "missed": counts.missed,
        "counts": by,
    }


# ---- while it counts ----


def _start(arguments: argparse.Namespace, terminal: Terminal, live: bool) -> Counting:
    options = ["--probe", arguments.probe, "--by", arguments.by, "--max-names", str(arguments.max_names)]
    if live:
        options += ["--interval", str(arguments.interval)]
    if arguments.duration is not None:
        options += ["--duration", str(arguments.duration)]
    may_ask = sys.stdin is not None and sys.stdin.isatty()
    prefix = privilege_route("execprobe", may_ask=may_ask)
    asks = may_ask and bool(prefix)
    with nullcontext() if asks else terminal.working("loading the probe"):  # nothing may write over sudo's question
        return start_counting(prefix, arguments.python, options, asks=asks)


def _watch(helper: Counting, terminal: Terminal, asked: Asked, rows: int, live: bool) -> TopCounts | None:
    """The last counts that came, when it has ended, by itself or because of a signal."""
    counts = None
    if terminal.attended and not live:
        terminal.complain((asked.title, "dim"))
    with _ending(helper.end_input), terminal.live() if live else nullcontext(lambda _: None) as show:
        show([[(asked.title, "dim")]])
        for message in helper.messages():
            if isinstance(message, TopCounts):
                counts = message
                show([[(asked.title, "dim")], *table(counts, asked, rows)])
    return counts


@contextmanager
def _ending(end: Callable[[], None]) -> Iterator[None]:
    """While the block runs, the first Ctrl-C, or a SIGTERM, does this instead of breaking it off."""

    def at_signal(signum: int, _: FrameType | None) -> None:
        signal.signal(signum, before[signum])
        end()

    ending = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Any] = {signum: signal.getsignal(signum) or signal.SIG_DFL for signum in ending}
    for signum in ending:
        signal.signal(signum, at_signal)
    try:
        yield
    finally:
        for signum in ending:
            signal.signal(signum, before[signum])
