"""What a process had started before it became a root: found in /proc, because nothing was followed then.

Three kinds of numbers are about. Those in /proc are of the PID namespace that it was mounted in: this process's own, or
(after ``unshare --pid`` without ``--mount-proc``) one above it. Those that system calls take and give here are of this
process's namespace. The kernel side knows only the kernel's own.
"""

from __future__ import annotations

import os
from typing import Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Set, Tuple

from . import orphans, proc
from .process import sees_all

_ROUNDS = 50
_HASTY = 10  # of these, in which it matters that something ends before it is looked at, which mostly is none of its


class AdoptionError(Exception):
    """A process, or what it had started before, can't be watched safely."""


class PassingError(AdoptionError):
    """By chance: another try may well find it otherwise."""


class Found(NamedTuple):
    """A process, by its number in /proc, to this process, and to the kernel."""

    in_proc: int
    here: int
    kernels: int


class Declared(NamedTuple):
    """What a process says of the processes that it had started."""

    begun: int  # when it had begun itself, in clock ticks since boot: that its clock is this process's
    since: int  # of what had begun before this, likewise, it had started none
    left: FrozenSet[Tuple[int, int]]  # but these: (the kernel's number, when it had begun)


class Search(NamedTuple):
    """What has come of it."""

    unadopted: int = 0  # descendants that can't be followed
    orphans: int = 0
    listed: Tuple[orphans.Orphan, ...] = ()  # the first of those
    childless: bool = False  # whether no descendant was there
    hidden: bool = False  # whether processes are hidden from this one, so that there may be more of either


def adopt_descendants(
    adopt: Callable[[Found, int, int], bool],
    root: int,
    pid: int,
    kernel_pid: int,
    known: Optional[Declared] = None,
    reapers: Optional[Set[int]] = None,
    to_kernels: Callable[[int], Optional[int]] = lambda pid: pid,
    tick: Callable[[], None] = lambda: None,
) -> Search:
    """Puts what a process had already started into its tree.

    The process is ``pid`` here and ``kernel_pid`` to the kernel; ``to_kernels`` makes the one of the other, 0 for a
    process that has ended, and None where it can't. ``reapers`` are those of its ancestors, as the kernel numbers them,
    that take in orphans; None if any may be one. Looked for again until nothing new is found: a process that is
    being adopted may fork meanwhile. ``tick`` is called for every process that is looked at; what it raises ends this.
    """
    translated = _Translation(to_kernels)
    adopted: Set[int] = set()
    failed: Set[int] = set()
    hidden = not sees_all()
    gone: Set[Tuple[int, int]] = set()
    restless = 0  # rounds in which orphans ended
    for turn in range(_ROUNDS):
        table, is_whole = proc.read_table(tick)
        client = translated.in_proc(table, pid)
        if client is None or to_kernels(pid) != kernel_pid:
            return Search(len(failed) + (not hidden), hidden=hidden)  # what it has started is not to be found here
        adopted.add(client)
        since, left = _since_and_left(table[client].started, known)
        try:
            others = _still_there(left, table, translated)
            found = _descendants(table, [client], adopted) or _descendants(table, others, adopted, themselves=True)
            if not found:
                nearer = _nearer(table, client, reapers, translated)
                orphaned, ended = orphans.find(table, client, adopted, nearer, since, gone, tick)
                restless += ended
                if restless == _HASTY:
                    break
                if not orphaned and (ended or not (is_whole or hidden or (turn >= _HASTY and restless < 2))):
                    continue  # whoever has ended may have begun another meanwhile, which is in the next table
                listed = orphans.listed(table, orphaned, client)
                return Search(len(failed), len(orphaned), listed, adopted == {client}, hidden)
        except proc.TornError:
            continue
        for child, top in found:
            tick()
            adopted.add(child)
            if not _enter(adopt, root, translated, child, top):
                failed.add(child)
    return Search(max(1, len(failed)), hidden=hidden)  # they fork faster than they can be found


def _nearer(table: proc.Table, client: int, reapers: Optional[Set[int]], translated: "_Translation") -> Set[int]:
    """Those of its ancestors that may take in orphans. Raises TornError."""
    above = orphans.ancestors(table, client)
    return {other for other in above if reapers is None or translated(other) in (None, *reapers)}


def _enter(
    adopt: Callable[[Found, int, int], bool], root: int, translated: "_Translation", child: int, top: int
) -> bool:
    """Whether it is followed now, or has ended."""
    number, here = translated(child), translated.here(child)
    return number == 0 or bool(number and here and adopt(Found(child, here, number), root, translated(top) or 0))


def _since_and_left(begun: int, known: Optional[Declared]) -> "Tuple[int, FrozenSet[Tuple[int, int]]]":
    """Since when what has begun may be a process's own, and what else is."""
    if known is None or known.begun != begun:  # its clock is another, as in a time namespace
        return begun, frozenset()
    return max(begun, known.since), known.left


def _still_there(left: "FrozenSet[Tuple[int, int]]", table: proc.Table, translated: "_Translation") -> Iterable[int]:
    """The topmost of those: what is below another of them is found with that. Raises TornError."""
    begun = {begun for _, begun in left}
    there = {pid for pid, stat in table.items() if stat.started in begun and (translated(pid), stat.started) in left}
    return [pid for pid in there if there.isdisjoint(above for above in proc.line(table, pid) if above != pid)]


def _descendants(
    table: proc.Table, of: Iterable[int], adopted: Set[int], themselves: bool = False
) -> List[Tuple[int, int]]:
    """(process, child of those given that it descends from), without those given and those ``adopted``.
    ``themselves``: they count, too, and as such a child each. Raises TornError."""
    met = set() if themselves else set(of)
    children: Dict[int, List[int]] = {}
    for other, stat in table.items():
        children.setdefault(stat.parent, []).append(other)
    result: List[Tuple[int, int]] = []
    tops = of if themselves else [child for pid in of for child in children.get(pid, ())]
    todo = [(top, top) for top in tops]
    helper = proc.numbers("self")[:1]
    while todo:
        child, top = todo.pop()
        if (child,) == helper:
            continue
        if child in met:
            raise proc.TornError
        met.add(child)
        if child not in adopted:
            result.append((child, top))
        todo += [(grandchild, top) for grandchild in children.get(child, ())]
    return result


class _Translation:
    """From the numbers in /proc to the kernel's own."""

    def __init__(self, to_kernels: Callable[[int], Optional[int]]) -> None:
        self._to_kernels = to_kernels
        self._known: Dict[int, Optional[int]] = {}
        #: How far above this process's PID namespace that of /proc is; None where it is another one altogether.
        own = proc.numbers("self")
        self._above = len(own) - 1 if own else None

    def in_proc(self, table: proc.Table, pid: int) -> Optional[int]:
        """What a process that has this number here is in /proc; None if that is unknown."""
        if self._above is None:
            return None
        number = pid if self._above == 0 else _in_proc(pid)
        return number if number in table else None

    def __call__(self, number: int) -> Optional[int]:
        """The kernel's number of a process, which stays the same; 0 if it has ended, None if that is unknown."""
        if number not in self._known:
            here = self.here(number)
            self._known[number] = self._to_kernels(here) if here else here
        return self._known[number]

    def here(self, number: int) -> Optional[int]:
        """What this process calls it; 0 if it has ended, None if that is unknown."""
        if self._above == 0:
            return number
        numbers = proc.numbers(str(number))
        if not numbers:
            return 0
        if self._above is None or len(numbers) <= self._above:
            return None
        return numbers[self._above]


def _in_proc(pid: int) -> Optional[int]:
    """What /proc calls the process that has this number here; None if it is not there.

    Others can have the same number in namespaces beside this one, so it is asked for by a descriptor of the process.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except proc.GONE:
        return None
    try:
        return proc.number_of(pidfd)
    finally:
        os.close(pidfd)
