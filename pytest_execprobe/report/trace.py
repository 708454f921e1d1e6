"""A report as a trace in Chrome's trace event format, which Perfetto (ui.perfetto.dev) opens.

A run, or each of its xdist workers, is a process of the trace. What it tested stands on threads of their own, and each
process that ran a program is a thread: what that process executed one after the other are slices on it. Slices of one
thread must lie apart or within each other, which their making sees to. Times are whole microseconds from the
beginning of the run, rounded down, so that rounding brings nothing out of order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._util import originals
from ..log.ends import successors
from ..timeline.program import described
from ..timeline.record import ExecRecord
from ..timeline.site import place
from . import digest
from .model import Document, Run, Unit, UnitKind

_ARGUMENTS = 2000  # characters of a command line: what more there is stands in the other forms

TraceEvent = dict[str, Any]

# On which thread units are drawn: those of one kind mostly follow each other, those of several do not.
_GROUPS: dict[UnitKind, str] = {
    "test": "tests",
    "fixture": "fixtures",
    "collection": "around tests",
    "outside": "around tests",
    "command": "command",
}


def render(document: Document) -> str:
    return originals.json_dumps(trace(document), separators=(",", ":")) + "\n"


def trace(document: Document) -> dict[str, Any]:
    """The trace as plain data."""
    flows = iter(range(1, 1 << 53))
    events: list[TraceEvent] = []
    free = _free_numbers(document)
    for index, run in enumerate(document.runs):
        units = [unit for unit in document.units if unit.run == index]
        events += _Run(run, index, len(document.runs) > 1, units, free, flows).events()
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _free_numbers(document: Document) -> Iterator[int]:
    """Numbers for processes and threads that are not also the pid of a recorded process: some readers take a thread
    with the number of its process for something special."""
    taken = {record.pid for unit in document.units for record in unit.all_records}
    return (number for number in range(1, 1 << 31) if number not in taken)


@dataclass(frozen=True)
class _Slice:
    """Times are those of the trace."""

    begin: int
    end: int
    name: str
    category: str
    arguments: Mapping[str, Any]
    record: ExecRecord | None = None


class _Run:
    def __init__(
        self, run: Run, index: int, several: bool, units: Sequence[Unit], free: Iterator[int], flows: Iterator[int]
    ) -> None:
        self._run = run
        self._label = f"{digest.title(run)} (run {index + 1})" if several else digest.title(run)
        self._units = units
        self._free = free
        self._flows = flows
        records = [record for unit in units for record in unit.all_records]
        self._became = successors(records)
        first = [*(record.timestamp_ns for record in records), *(begin for begin, _ in _spans(units))]
        # What was adopted ran before the run's own beginning, and no time is to be negative.
        self._start = min([run.start_ns, *first]) if run.start_ns else min(first, default=0)
        self._end = max([run.end_ns, *(end for _, end in _spans(units)), *(record.timestamp_ns for record in records)])

    def events(self) -> Iterable[TraceEvent]:
        workers = list(dict.fromkeys(unit.worker for unit in self._units)) or [None]
        #: By record: process and thread of the trace, and its slice.
        drawn: dict[ExecRecord, tuple[int, int, _Slice]] = {}
        for worker in workers:
            process = next(self._free)
            units = [unit for unit in self._units if unit.worker == worker]
            name = digest.cut(self._label, 200) + (f" [{digest.shown(worker)}]" if worker else "")
            yield _metadata("process_name", process, process, name=name)
            yield _metadata("process_labels", process, process, labels=digest.cut(digest.shown(self._run.probe), 200))
            yield _metadata("process_sort_index", process, process, sort_index=process)
            order = iter(range(1 << 31))
            yield from self._phases(units, process, order)
            yield from self._execs(units, process, order, drawn)
        yield from self._arrows(drawn)

    # ---- units ----

    def _phases(self, units: Sequence[Unit], process: int, order: Iterator[int]) -> Iterable[TraceEvent]:
        groups: dict[str, list[_Slice]] = defaultdict(list)
        for unit in units:
            groups[_GROUPS[unit.kind]] += self._slices_of(unit)
        for group, slices in groups.items():
            for lane, on_it in enumerate(_lanes(slices), 1):
                thread = next(self._free)
                yield _metadata("thread_name", process, thread, name=group if lane == 1 else f"{group} ({lane})")
                yield _metadata("thread_sort_index", process, thread, sort_index=next(order))
                yield from (_complete(part, process, thread) for part in on_it)

    def _slices_of(self, unit: Unit) -> Iterable[_Slice]:
        arguments = {
            "kind": digest.KIND_NAMES[unit.kind],
            "outcome": unit.outcome,
            "execs": len(unit.records),
            "strays": len(unit.strays),
            "lost": unit.lost,
            "unknown": [digest.shown(why) for why in unit.why],
            "not checked": None if unit.not_checked is None else digest.shown(unit.not_checked),
            "breaches": [digest.shown(breach.headline) for breach in unit.breaches],
            "still running": digest.running(self._run) if unit.kind == "command" else [],
            "place": None if unit.file is None else digest.shown(f"{unit.file}:{unit.line or '?'}"),
        }
        said = {name: value for name, value in arguments.items() if value not in (None, [])}
        name = digest.shown(unit.name)
        whole = digest.span(unit)
        # A fixture is set up and ended in different tests: its phases are no parts of one slice.
        if whole is not None and unit.kind != "fixture":
            yield _Slice(self._time(whole[0]), self._time(whole[1]), name, unit.kind, said)
            if len(unit.phases) == 1:
                return
        for phase, (begin, end) in unit.phases.items():
            label = f"{name}: {phase}" if unit.kind == "fixture" else phase
            yield _Slice(self._time(begin), self._time(end), label, "phase", {"of": name, **said})

    # ---- execs ----

    def _execs(
        self,
        units: Sequence[Unit],
        process: int,
        order: Iterator[int],
        drawn: dict[ExecRecord, tuple[int, int, _Slice]],
    ) -> Iterable[TraceEvent]:
        threads: dict[int, list[_Slice]] = defaultdict(list)
        for unit in units:
            whole = digest.span(unit)
            end = self._end if whole is None else whole[1]
            for record in unit.records:
                threads[record.pid].append(self._exec(record, unit, end, stray=False))
            for record in unit.strays:
                threads[record.pid].append(self._exec(record, unit, self._end, stray=True))
        for pid, slices in sorted(threads.items(), key=lambda item: min(part.begin for part in item[1])):
            apart = _apart(slices)
            programs = list(dict.fromkeys(part.name for part in apart))
            label = " > ".join(programs[:3]) + (" > …" if len(programs) > 3 else "")
            yield _metadata("thread_name", process, pid, name=f"{digest.cut(label, 100)} {pid}")
            yield _metadata("thread_sort_index", process, pid, sort_index=next(order))
            for part in apart:
                assert part.record is not None
                drawn[part.record] = (process, pid, part)
                yield _complete(part, process, pid)

    def _exec(self, record: ExecRecord, unit: Unit, unit_end: int, *, stray: bool) -> _Slice:
        next_exec = self._became.get(record)
        if record.duration_ns is not None:
            end, ended = (record.timestamp_ns + max(0, record.duration_ns), digest.end_of(record) or "how is not known")
        elif next_exec is not None:
            end, ended = next_exec.timestamp_ns, f"became {digest.shown(next_exec.program or '?')}"
        else:
            end, ended = unit_end, "when and how is not known: drawn to the end of what it counts for"
        arguments = {
            "command line": digest.cut(digest.shown(described(record)), _ARGUMENTS),
            "executable": None if record.executable is None else digest.shown(record.executable),
            "cwd": None if record.cwd is None else digest.shown(record.cwd),
            "pid": record.pid,
            "parent pid": record.ppid,
            "exit code": record.exit_code,
            "ended": ended,
            digest.KIND_NAMES[unit.kind]: digest.shown(unit.name),
            "phase": record.phase,
            "stray": stray or None,
            "begun by": None if record.begun_by is None else digest.shown(record.begun_by),
            "called at": None if record.call_site is None else digest.shown(place(record.call_site)),
        }
        begin = self._time(record.timestamp_ns)
        return _Slice(
            begin,
            max(begin, self._time(end)),
            digest.shown(record.program or "?"),
            "stray" if stray else "exec",
            {name: value for name, value in arguments.items() if value is not None},
            record,
        )

    def _arrows(self, drawn: Mapping[ExecRecord, tuple[int, int, _Slice]]) -> Iterable[TraceEvent]:
        """From each process to what it started. An arrow begins and ends within slices, or it would belong to none."""
        for record, (process, thread, part) in drawn.items():
            above = next((parent for parent in digest.ancestors(record) if parent in drawn), None)
            if above is None:
                continue
            parents_process, parents_thread, parent = drawn[above]
            if part.end == part.begin or parent.end == parent.begin or parent.begin > part.begin:
                continue
            arrow = {"name": "starts", "cat": "exec", "id": next(self._flows)}
            leaves = min(part.begin, parent.end - 1)
            yield {**arrow, "ph": "s", "pid": parents_process, "tid": parents_thread, "ts": leaves}
            yield {**arrow, "ph": "f", "bp": "e", "pid": process, "tid": thread, "ts": part.begin}

    def _time(self, nanoseconds: int) -> int:
        return max(0, nanoseconds - self._start) // 1000


# ---- slices of one thread ----


def _lanes(slices: Iterable[_Slice]) -> list[list[_Slice]]:
    """Slices spread over as few threads as it takes for those of each to lie apart or within each other."""
    lanes: list[tuple[list[_Slice], list[int]]] = []  # and the ends of those that are open
    for part in sorted(slices, key=lambda part: (part.begin, -part.end)):
        for _, open_ends in lanes:
            while open_ends and open_ends[-1] <= part.begin:
                open_ends.pop()
        fitting = (lane for lane in lanes if not lane[1] or part.end <= lane[1][-1])
        lane = next(fitting, None)
        if lane is None:
            lane = ([], [])
            lanes.append(lane)
        lane[0].append(part)
        lane[1].append(part.end)
    return [on_it for on_it, _ in lanes]


def _apart(slices: Iterable[_Slice]) -> list[_Slice]:
    """Slices that follow each other: a process runs one program at a time, and a pid is one process at a time."""
    ordered = sorted(slices, key=lambda part: part.begin)
    return [
        _Slice(part.begin, min(part.end, after), part.name, part.category, part.arguments, part.record)
        for part, after in zip(ordered, [*(part.begin for part in ordered[1:]), 1 << 62], strict=True)
    ]


def _complete(part: _Slice, process: int, thread: int) -> TraceEvent:
    return {
        "ph": "X",
        "name": part.name,
        "cat": part.category,
        "ts": part.begin,
        "dur": part.end - part.begin,
        "pid": process,
        "tid": thread,
        "args": dict(part.arguments),
    }


def _metadata(name: str, process: int, thread: int, /, **arguments: Any) -> TraceEvent:
    return {"ph": "M", "name": name, "pid": process, "tid": thread, "ts": 0, "args": arguments}


def _spans(units: Iterable[Unit]) -> list[tuple[int, int]]:
    return [times for unit in units if (times := digest.span(unit)) is not None]
