"""What every form of a report says: its verdict, what is missing from it, and how single facts are put in words.

Pure. All texts that come from a run leave here printable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from .._util.redaction import in_force
from .._util.text import printable
from ..log.checks import between, execs, processes_word
from ..log.ends import signal_name
from ..timeline.record import ExecRecord
from ..timeline.site import place
from .model import Document, LeftRunning, ReportedBreach, Run, Unit, UnitKind

KIND_NAMES: dict[UnitKind, str] = {
    "test": "test",
    "fixture": "fixture",
    "collection": "collection",
    "outside": "outside of tests",
    "command": "command",
}

# Outcomes of a test that a rule which it broke did not decide.
_EXCUSED = {"xfailed": "expected to fail", "rerun": "tried again"}


class Level(Enum):
    """How a report reads as a whole, the worst first."""

    BROKEN = "broken"
    UNDECIDED = "undecided"
    INCOMPLETE = "incomplete"
    GOOD = "good"


@dataclass(frozen=True)
class PlacedBreach:
    """A breach, and where it was found: in no unit if it is the run's."""

    breach: ReportedBreach
    run: Run
    unit: Unit | None = None

    @property
    def where(self) -> str:
        return "the run as a whole" if self.unit is None else shown(self.unit.name)

    @property
    def place(self) -> tuple[str | None, int | None]:
        """File and line to show it at: where what breaks the rule was spawned, if that is in the repository, else where
        its test stands."""
        site = self.breach.call_site
        if site is not None and not site.file.startswith(("/", "<")):
            return site.file, site.line
        return (None, None) if self.unit is None else (self.unit.file, self.unit.line)

    @property
    def excused(self) -> str | None:
        """Why the breach decides nothing, if so: the test was expected to fail, or was tried again."""
        return None if self.unit is None or self.breach.late else _EXCUSED.get(self.unit.outcome or "")


@dataclass(frozen=True)
class ReportVerdict:
    level: Level
    text: str


def shown(text: str) -> str:
    """As ``printable``, and in one line whoever reads it: some take other separators for the end of one, too."""
    if text.isprintable():  # most are, and this is fast
        return text
    return printable(text).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def shown_lines(text: str) -> list[str]:
    """A text of several lines, each printable."""
    return [shown(line) for line in text.split("\n")]


def found(document: Document) -> list[PlacedBreach]:
    """Every breach: broken rules first, then undecided ones, then those that decide nothing."""
    every = [
        *(PlacedBreach(breach, run) for run in document.runs for breach in run.breaches),
        *(PlacedBreach(breach, document.runs[unit.run], unit) for unit in document.units for breach in unit.breaches),
    ]
    return sorted(every, key=lambda item: (item.excused is not None, item.breach.undecided))


def verdict(document: Document) -> ReportVerdict:
    """What matters most, in a line."""
    counting = [item for item in found(document) if item.excused is None]
    undecided = sum(item.breach.undecided for item in counting)
    broken = len(counting) - undecided
    if broken:
        return ReportVerdict(
            Level.BROKEN, f"{_rules(broken)} broken" + (f", {undecided} undecided" if undecided else "")
        )
    if undecided:
        return ReportVerdict(Level.UNDECIDED, f"{_rules(undecided)} could not be decided")
    if not document.complete:
        return ReportVerdict(Level.INCOMPLETE, "no rule broken by what was recorded, but not everything was")
    left = sum(run.still_running for run in document.runs)
    until = f" up to the end, when {processes_word(left)} still ran" if left else ""
    return ReportVerdict(Level.GOOD, f"no rule broken, every exec recorded{until}")


def missing(document: Document) -> list[str]:
    """Why not every exec is in the report; nothing if every one is. Each reason once, with how much it is about."""
    said: list[str] = [] if document.runs else ["there is no run in it"]
    if document.lost:
        units = sum(unit.lost > 0 for unit in document.units)
        where = "one place" if units == 1 else f"{units} places"
        said.append(
            f"{execs(document.lost)} of {where} found the perf buffer full and {'is' if document.lost == 1 else 'are'}"
            " not listed: raise --execprobe-buffer-pages, or give the helper a CPU"
        )
    said += (f"an unknown number of execs is missing: {shown(why)}" for why in document.unknown)
    said += (f"at most {most:,} more may be missing: {shown(why)}" for why, most in document.gaps.items())
    if document.still_running:
        said.append(may_follow(document.still_running))
    reasons = Counter((unit.kind == "test", unit.not_checked or "") for unit in document.not_checked)
    for (is_test, why), count in reasons.items():
        what = ("1 test was" if count == 1 else f"{count} tests were") if is_test else f"{count} besides tests"
        said.append(f"{what} not checked: {shown(why)}")
    return said


def may_follow(count: int) -> str:
    """What so many processes that have not ended mean."""
    those = processes_word(count)
    return f"{those} had not ended when the recording did, and may execute more: execprobe run --wait records that, too"


def running(run: Run) -> list[str]:
    """Those processes of a run."""
    more = [f"{run.more_running:,} more"] if run.more_running else []
    return [process(one, run.end_ns) for one in run.running] + more


def process(one: LeftRunning, now: int) -> str:
    """One that runs: its number, what it runs, and how long it has by ``now`` (ns)."""
    pid = "pid not known" if one.pid is None else f"pid {one.pid}"
    program = shown(one.program or "?")
    what = program if one.own_exec else f"forked by {program}, no exec of its own"
    return f"{pid}: {what}" + ("" if one.since_ns is None else f", for {duration(max(0, now - one.since_ns))}")


def totals(document: Document) -> list[tuple[str, str]]:
    """Name and number of each total, the most important first. A plus stands for what was not recorded."""
    kinds = Counter(unit.kind for unit in document.units)
    open_ended = "" if document.complete else "+"
    lines = [("execs", f"{document.execs:,}{open_ended}"), ("programs", f"{len(document.programs):,}")]
    names: list[tuple[UnitKind, str]] = [("test", "tests"), ("command", "commands"), ("fixture", "fixture set-ups")]
    lines += ((name, f"{kinds[kind]:,}") for kind, name in names if kinds[kind])
    strays = sum(len(unit.strays) for unit in document.units)
    ignored = sum(sum(run.ignored.values()) for run in document.runs)
    lost = "unknown" if document.unknown and not document.lost else between(document.lost, document.lost_at_most)
    optional = [
        ("strays", f"{strays:,}" if strays else ""),
        ("ignored", f"{ignored:,}" if ignored else ""),
        ("lost", lost if lost != "0" else ""),
        ("still running", f"{document.still_running:,}" if document.still_running else ""),
        ("not checked", f"{len(document.not_checked):,}" if document.not_checked else ""),
    ]
    lines += ((name, number) for name, number in optional if number)
    return [(name.removesuffix("s") if number == "1" else name, number) for name, number in lines]


def most(counter: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent first, and by name where they are level; printable."""
    return [(shown(name), count) for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0]))]


def sites(document: Document) -> list[tuple[str, list[ExecRecord]]]:
    """Where Python has spawned execs, the most first, each with those; printable."""
    found: dict[str, list[ExecRecord]] = {}
    for unit in document.units:
        for record in unit.all_records:
            if record.call_site is not None:
                found.setdefault(place(record.call_site), []).append(record)
    return [(shown(where), found[where]) for where in sorted(found, key=lambda where: (-len(found[where]), where))]


def started_by(run: Run) -> str:
    """How a run was started, as a shell would take it."""
    return shown(in_force().join(run.command)) or ("pytest" if run.kind == "pytest" else "a command")


def title(run: Run) -> str:
    """As ``started_by``, without the folder of the program: ``python -m pytest`` has a whole path there."""
    if not run.command:
        return started_by(run)
    path = PurePosixPath(run.command[0])
    name = path.parent.name if path.name == "__main__.py" else path.name
    return shown(in_force().join([name or run.command[0], *run.command[1:]]))


def ended(run: Run) -> str:
    return "exit status not known" if run.exit_status is None else f"exit status {run.exit_status}"


def end_of(record: ExecRecord) -> str:
    """How the process ended: empty if that is not known."""
    if record.stopped:
        return "stopped before it ran"
    if record.signal is not None:
        return f"killed by {signal_name(record.signal)}"
    return "" if record.exit_code is None else f"exit {record.exit_code}"


def duration(nanoseconds: int) -> str:
    """With three digits or so: ``12.3 ms``, ``4.56 s``, ``3 min 20 s``."""
    if nanoseconds >= 60_000_000_000:
        minutes, seconds = divmod(nanoseconds // 1_000_000_000, 60)
        return f"{minutes} min {seconds} s"
    if nanoseconds >= 1_000_000_000:
        return f"{_digits(nanoseconds, 1_000_000_000)} s"
    return f"{_digits(nanoseconds, 1_000_000)} ms"


def _digits(nanoseconds: int, unit: int) -> str:
    value = nanoseconds / unit
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def span(unit: Unit) -> tuple[int, int] | None:
    """From the beginning of a unit's first phase to the end of its last."""
    times = list(unit.phases.values())
    return (min(begin for begin, _ in times), max(end for _, end in times)) if times else None


def ancestors(record: ExecRecord) -> Iterator[ExecRecord]:
    """The records above one, the closest first."""
    above = record.parent
    while above is not None:
        yield above
        above = above.parent


def _rules(count: int) -> str:
    return "1 rule" if count == 1 else f"{count} rules"
