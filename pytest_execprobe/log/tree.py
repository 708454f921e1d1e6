"""The process tree of some records, as text: who started whom, what a process executed one after the other, when, how
long and how it ended. Pure.

Fifty processes are all shown. Of very many those that are alike are folded, and what there is no room for is counted.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import itemgetter

from .._util.text import printable
from ..timeline.program import described
from ..timeline.record import ExecRecord
from ..timeline.site import place
from .checks import processes_word
from .ends import end_of

WHOLE = 100  # processes: a tree of so many is shown as a whole
_ROWS = 400
#: Of the children of a process, how many of each kind are shown, and of how many kinds: the first that takes few rows.
ALIKE = 3
_SHOWN = ((ALIKE, 60), (ALIKE, 20), (2, 8), (1, 3), (1, 1))
_DEEPEST = 30
_AT = itemgetter(0)


@dataclass(eq=False, slots=True)
class Process:
    """One, with what it executed, in order, and with its children: each with the number of the exec that ran when it
    was forked."""

    #: What stands for it where no exec of its own is among the records.
    label: str = ""
    pid: int | None = None
    began: int | None = None
    execs: list[ExecRecord] = field(default_factory=list)
    children: list[tuple[int, Process]] = field(default_factory=list)
    #: Filled in when all children are there: what those that are alike share, how many it is with all below it, and
    #: whether one of these is marked.
    kind: int = 0
    size: int = 1
    marked: bool = False


def grow(records: Sequence[ExecRecord], own: str = "pytest") -> list[Process]:
    """The topmost processes: the one whose tree it is, which is called ``own``, and those that were there before."""
    tops: dict[object, Process] = {}
    forks: dict[str, Process] = {}
    places: dict[tuple[int, int], tuple[Process, int]] = {}  # of each exec: its process, and the how-manieth it is

    def top(key: object, **known: object) -> Process:
        if key not in tops:
            tops[key] = Process(**known)  # type: ignore[arg-type]
        return tops[key]

    def parent(record: ExecRecord) -> tuple[Process, int]:
        above = record.parent
        while above is not None and above._identity not in places and above.parent is not None:
            above = above.parent
        if above is not None and above._identity in places:
            return places[above._identity]
        if record.parent is not None:
            before = record.parent
            label = f"{before.program or '?'}  (begun before)"
            return top(before._identity, label=label, pid=before.pid), 0
        if record._lineage.lost:
            return top("lost", label="?  (a record above was lost)"), 0
        root = top("own", label=own)
        return root if record._lineage.fork is None else _fork(root, record, forks), 0

    for record in records:
        previous = record._lineage.previous
        if previous is not None and previous._identity in places:
            process = places[previous._identity][0]
        else:
            process = Process(pid=record.pid, began=record.timestamp_ns)
            above, at = parent(record)
            above.children.append((at, process))
        places[record._identity] = process, len(process.execs)
        process.execs.append(record)
    return list(tops.values())


def _fork(root: Process, record: ExecRecord, known: dict[str, Process]) -> Process:
    """The fork of a root, without an exec of its own, of which a record is a child."""
    fork = record._lineage.fork
    assert fork is not None
    number, _, began = fork.partition(".")
    if fork not in known:
        known[fork] = Process("python  (forked, no exec)", began=int(began))
        root.children.append((0, known[fork]))
    if str(record.ppid) == number:  # else it is another's, or in a PID namespace
        known[fork].pid = record.ppid
    return known[fork]


def every(tops: Iterable[Process]) -> list[Process]:
    """Each process after its parent."""
    found = list(tops)
    for process in found:  # which grows
        found.extend(child for _, child in process.children)
    return found


def folds(processes: Sequence[Process]) -> bool:
    """Whether a tree is too large to be shown as a whole."""
    return sum(bool(process.execs) for process in processes) > WHOLE


def classify(processes: Sequence[Process], marked: Iterable[ExecRecord] = ()) -> None:
    """Finds those that are alike: of the same programs, with the same end and with alike children, however many."""
    wanted = {record._identity for record in marked}
    kinds: dict[object, int] = {}
    for process in reversed(processes):
        own = [record._identity in wanted for record in process.execs] if wanted else ()
        end = end_of(process.execs[-1]) if process.execs else ""
        below = frozenset(child.kind for _, child in process.children)
        key = (process.label, tuple(record.program for record in process.execs), end, any(own), below)
        process.kind = kinds.setdefault(key, len(kinds))
        process.size = 1 + sum(child.size for _, child in process.children)
        process.marked = any(own) or any(child.marked for _, child in process.children)


@dataclass(frozen=True, slots=True)
class _Row:
    """A line: a process, by its first exec or what stands for it, a later exec of one, or what is left out."""

    branch: str
    below: str = ""  # what stands before the lines of its children
    text: str = ""
    process: Process | None = None
    record: ExecRecord | None = None
    is_later: bool = False
    depth: int = 0
    is_marked: bool = False


def lines(
    records: Sequence[ExecRecord], start: int, marked: Iterable[ExecRecord] = (), *, own: str = "pytest", root: str = ""
) -> list[str]:
    """The tree of the records of a window, which began at ``start``. Those that are ``marked`` are rather shown. Places
    in code are relative to ``root``."""
    if not records:
        return []
    marked = list(marked)
    tops = grow(records, own)
    processes = every(tops)
    classify(processes, marked)
    rows: list[_Row] = []
    for shown in _SHOWN if folds(processes) else (None,):
        rows = list(islice(_rows(tops, shown), _ROWS + 1))
        if len(rows) <= _ROWS:
            break
    if len(rows) > _ROWS:
        rows[_ROWS:] = [_Row("", text="… and more, which a report has")]
    return _table(rows, records, start, {record._identity for record in marked}, root)


def _rows(tops: Iterable[Process], shown: tuple[int, int] | None) -> Iterator[_Row]:
    """Of each process the children of so many kinds, and of each kind so many; without that all."""
    todo = [_first(process, "", "", 0) for process in reversed(list(tops))]
    while todo:
        row = todo.pop()
        yield row
        process = row.process
        if process is None or row.is_later:
            continue
        children = sorted(process.children if shown is None else _chosen(process, shown, row.depth), key=_AT)
        inner: list[_Row] = []
        for number, record in enumerate(process.execs or (None,)):
            if number:
                inner.append(_Row(f"{row.below}→ ", process=process, record=record, is_later=True))
            inner += [_child(child, row.below, row.depth + 1) for at, child in children if at == number]
        if children:
            last = max(place for place, one in enumerate(inner) if not one.is_later)
            inner[last] = _child(children[-1][1], row.below, row.depth + 1, is_last=True)
        todo += reversed(inner)


def _first(process: Process, branch: str, below: str, depth: int) -> _Row:
    record = process.execs[0] if process.execs else None
    return _Row(branch, below, process.label, process, record, depth=depth)


def _child(child: Process | _Row, below: str, depth: int, *, is_last: bool = False) -> _Row:
    branch, further = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
    if isinstance(child, _Row):
        return replace(child, branch=below + branch)
    return _first(child, below + branch, below + further, depth)


def _chosen(process: Process, shown: tuple[int, int], depth: int) -> Iterable[tuple[int, Process | _Row]]:
    """The children that are shown, and in words what is not."""
    if depth >= _DEEPEST and process.children:
        text = f"… {processes_word(process.size - 1)} below"
        return [(process.children[-1][0], _Row("", text=text, is_marked=process.marked))]
    kinds: dict[int, list[tuple[int, int, Process]]] = {}
    for nth, (at, child) in enumerate(process.children):
        kinds.setdefault(child.kind, []).append((nth, at, child))
    every = list(kinds.values())
    if len(every) > shown[1]:
        every.sort(key=lambda those: not those[0][2].marked)
    chosen: list[tuple[int, int, Process | _Row]] = []
    for those in every[: shown[1]]:
        hidden = [one for nth, one in enumerate(those, 1) if is_folded(nth, len(those), shown[0])]
        chosen += those[: len(those) - len(hidden)]
        if hidden:
            nth, at, first = hidden[0]
            said = _Row("", text=folded([child for _, _, child in hidden]), is_marked=first.marked)
            chosen.append((nth, at, said))
    chosen.sort(key=_AT)
    others = [child for those in every[shown[1] :] for _, _, child in those]
    if others:
        text = f"… {processes_word(sum(child.size for child in others))} more, of {len(every) - shown[1]:,} other kinds"
        more = _Row("", text=text, is_marked=any(child.marked for child in others))
        chosen.append((len(process.children), process.children[-1][0], more))
    return [(at, child) for _, at, child in chosen]


def is_folded(nth: int, number: int, shown: int = ALIKE) -> bool:
    """Whether one of so many children that are alike is. One takes no more room than to say that it is."""
    return nth > shown and number > shown + 1


def folded(those: Sequence[Process]) -> str:
    """What is said of processes that are like one that is shown."""
    first = those[0]
    programs = " → ".join(record.program or "?" for record in first.execs) or first.label
    end = end_of(first.execs[-1]) if first.execs else ""
    size = sum(child.size for child in those)
    below = f", {processes_word(size)} with all below" if size > len(those) else ""
    return f"… {len(those):,} more like it: {printable(programs)}{', ' if end else ''}{end}{below}"


# ---- the table ----


def _table(
    rows: Sequence[_Row], records: Sequence[ExecRecord], start: int, marked: Container[object], root: str
) -> list[str]:
    wanted = {row.record._identity for row in rows if row.record is not None}
    numbers = {one._identity: number for number, one in enumerate(records, 1) if one._identity in wanted}
    cells = [("", "#", "+ms", "took ms", "pid", "ended", "process")]
    for row in rows:
        record, process = row.record, row.process
        mark = ">" if row.is_marked or (record is not None and record._identity in marked) else ""
        if record is None or process is None:
            pid = "" if process is None or process.pid is None else str(process.pid)
            began = None if process is None else process.began
            cells.append((mark, "", _ms(began, start), "", pid, "", row.branch + printable(row.text)))
            continue
        end, lasted = end_of(record), record.duration_ns
        if record is not process.execs[-1]:  # what comes next is the same process
            following = process.execs[process.execs.index(record) + 1]
            lasted = following.timestamp_ns - record.timestamp_ns
        took = "" if lasted is None else f"{lasted / 1e6:.1f}"
        pid = "" if row.is_later else str(record.pid)
        number = str(numbers[record._identity])
        said = row.branch + _said(row, record, root)
        cells.append((mark, number, _ms(record.timestamp_ns, start), took, pid, end, said))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    aligned = (
        f"{{:<1}} {{:<{widths[1]}}}  {{:>{widths[2]}}}  {{:>{widths[3]}}}  {{:>{widths[4]}}}  {{:<{widths[5]}}}  {{}}"
    )
    return [aligned.format(*row) for row in cells]


def _ms(time: int | None, start: int) -> str:
    return "" if time is None else f"{(time - start) / 1e6:.1f}"


def _said(row: _Row, record: ExecRecord, root: str) -> str:
    """The command line, and what is special of it."""
    text = printable(described(record))
    if record.ppid == 1 and not record._lineage.direct:
        text += "  (its parent had ended)"
    if record.call_site is not None and record.parent is None and not row.is_later:
        text += f"  ({printable(place(record.call_site, root))})"
    if record._lineage.shared:
        text += f"  (begun by {printable(record.begun_by or '?')})"
    return text
