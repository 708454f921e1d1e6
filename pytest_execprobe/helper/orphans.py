"""Processes that may descend from one whose tree is watched, though nothing leads to them any more."""

from __future__ import annotations

import os
import shlex
import time
from typing import Callable, Iterator, List, NamedTuple, Optional, Set, Tuple

from . import proc, wire

_HZ = os.sysconf("SC_CLK_TCK")
_RESERVED = 300  # RESERVED_PIDS, of kernel/pid.c: where the kernel begins anew when it has handed out all numbers


class Orphan(NamedTuple):
    """A process that may be a descendant whose parent has ended."""

    pid: Optional[int]  # as the process sees it whose it may be
    age: float  # seconds
    command: Optional[str]  # None: its user may not see it


def ancestors(table: proc.Table, pid: int) -> Iterator[int]:
    """Those in its own PID namespace: no others take in what it leaves behind. Raises TornError."""
    level = len(proc.numbers(str(pid)))
    for above in proc.line(table, pid):
        if above != pid:
            if len(proc.numbers(str(above))) != level:
                return
            yield above


def find(
    table: proc.Table,
    client: int,
    adopted: Set[int],
    nearer: Set[int],
    since: int,
    gone: Set[Tuple[int, int]],
    tick: Callable[[], None],
) -> Tuple[List[int], bool]:
    """Processes that may have been started by this one's tree and left behind, without those ``adopted``. And whether
    some of them have ended since the last look, and may have begun another: they are ``gone`` now, (number, when it
    had begun).

    What a later process of the same user is, whose parent has gone, is unknown, unless its session is another's.
    Helpers are known. ``nearer``: the ancestors that take in orphans before number 1 does. What has begun before
    ``since`` is none. Raises TornError.
    """
    uid = proc.real_user(client)
    reapers = _init(table, client, tick) | nearer
    found, known = [], len(gone)
    for other, stat in table.items():
        tick()
        if (
            stat.parent in reapers
            and stat.started >= since
            and not _is_elder(table, other, client)
            and other not in adopted
            and (other, stat.started) not in gone
            and not _is_foreign(table, stat.session, client, adopted, reapers)
        ):
            its = proc.real_user(other)
            if its is None or (its == uid and proc.is_ending(other)):
                gone.add((other, stat.started))
            elif its == uid and not _is_helper(other):
                found.append(other)
    return found, len(gone) > known


def _is_elder(table: proc.Table, other: int, client: int) -> bool:
    """Whether it is certain that a process began before this one, in the same clock tick: in so short a time the kernel
    does not hand out all numbers and come back to one just below."""
    return table[other].started == table[client].started and 0 < client - other < _RESERVED


def listed(table: proc.Table, orphans: List[int], client: int) -> Tuple[Orphan, ...]:
    """The first of them, for its user to look at."""
    now, uid = time.clock_gettime(time.CLOCK_BOOTTIME), proc.real_user(client)
    level = len(proc.numbers(str(client)))

    def seen(pid: int) -> Optional[int]:
        numbers = proc.numbers(str(pid))
        return numbers[level - 1] if 0 < level <= len(numbers) else None

    return tuple(
        Orphan(seen(pid), max(0.0, now - table[pid].started / _HZ), _command_line(pid, uid))
        for pid in sorted(orphans, key=lambda pid: table[pid].started)[: wire.ORPHANS_LISTED]
    )


def _command_line(pid: int, uid: Optional[int]) -> Optional[str]:
    """Of a process, cut; None if this user could not read it: it is another's by now, or changes users."""
    try:
        if uid != 0 and os.stat("/proc/%d" % pid).st_uid != uid:
            return None
        words = proc.command_line(pid, wire.COMMAND_MAX * 4).rstrip(b"\0").split(b"\0")
    except proc.GONE:
        return None
    text = " ".join(shlex.quote(word.decode("utf-8", "backslashreplace")) for word in words)
    return text if len(text) <= wire.COMMAND_MAX else text[: wire.COMMAND_MAX - 1] + "\u2026"


def _init(table: proc.Table, pid: int, tick: Callable[[], None]) -> Set[int]:
    """Number 1 of this process's PID namespace, or what may be that."""
    level = len(proc.numbers(str(pid)))
    if level < 2:
        return {1}

    def may_be(other: int) -> bool:
        tick()
        numbers = proc.numbers(str(other))
        return len(numbers) == level and numbers[-1] == 1

    for above in proc.line(table, pid):
        if may_be(above):
            return {above}
    return set(filter(may_be, table))  # it was put into its namespace from outside


def _is_foreign(table: proc.Table, session: int, pid: int, adopted: Set[int], reapers: Set[int]) -> bool:
    """Whether a session is certainly not this process's, nor one that a descendant of it has begun.

    A session other than one's own is joined by being forked in it alone, so its members descend from its leader.
    """
    client = table[pid]
    if session == 0 != client.session:  # its leader is outside of this PID namespace: none can begin that in here
        return True
    if session == client.session or session not in table or table[session].session != session:
        return False
    for above in proc.line(table, session):  # of true parents, for orphans have a reaper
        if above in reapers or above in adopted:
            return False
        if table[above].started < client.started:
            return True
    return False


def _is_helper(pid: int) -> bool:
    """It has its command line until it ends."""
    try:
        words = proc.command_line(pid).split(b"\0")
    except proc.GONE:
        return False
    return b"--connect" in words and any(word.endswith(b"/pytest_execprobe/helper") for word in words)
