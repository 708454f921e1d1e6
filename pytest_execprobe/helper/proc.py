"""Other processes, by what /proc shows of them. Their numbers are those of the PID namespace that it was mounted in."""

from __future__ import annotations

import os
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Set, Tuple

#: Says that there is no such process, or none that this one may look at. Whatever else goes wrong (no descriptor is
#: free) must not pass for that.
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)

_EXITING = 0x4  # PF_EXITING, of include/linux/sched.h: set before anything else that ends a thread


class Stat(NamedTuple):
    """Of /proc/PID/stat."""

    parent: int
    started: int  # clock ticks since boot
    session: int  # its leader's pid, and no other process's while the session lasts


#: All processes, by number.
Table = Dict[int, Stat]


class TornError(Exception):
    """Processes have ended and begun while a table was read, so that one descends from itself by it."""


def read_table(tick: Callable[[], None]) -> Tuple[Table, bool]:
    """And whether it has all that were listed: what has ended before it was looked at may have begun another since.
    So the last that began, which are the likeliest to, are looked at first. ``tick`` is called for every process that
    is looked at."""
    table, is_whole = {}, True
    for pid in sorted(map(int, filter(str.isdigit, os.listdir("/proc"))), reverse=True):
        tick()
        fields = _stat(str(pid))
        if len(fields) > 19:
            table[pid] = Stat(int(fields[1]), int(fields[19]), int(fields[3]))
        else:
            is_whole = False
    return table, is_whole


def line(table: Table, pid: int) -> Iterator[int]:
    """A process, its parent, and so on. Raises TornError."""
    for _ in range(len(table) + 1):
        if pid not in table:
            return
        yield pid
        pid = table[pid].parent
    raise TornError


def is_ending(pid: int) -> bool:
    """Whether none of its threads does anything any more. Its number is its own until its parent asks for it, when it
    has long had neither memory nor command line.

    A process whose first thread has ended is a zombie by its own state, whatever its other threads do.
    """
    ending: Set[str] = set()
    while True:
        try:
            begun = set(os.listdir("/proc/%d/task" % pid)) - ending
        except GONE:
            return True
        if not begun:
            return True
        for thread in begun:
            fields = _stat("%d/task/%s" % (pid, thread))
            if fields and not int(fields[6]) & _EXITING:
                return False
        ending |= begun  # any of which may have begun another before


def _stat(name: str) -> "list[bytes]":
    """The fields behind the name of a process or thread, which can be anything; none if it has ended."""
    try:
        with open("/proc/%s/stat" % name, "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except GONE:
        return []


def command_line(pid: int, size: int = -1) -> bytes:
    """So many bytes of it. Raises one of ``GONE``."""
    with open("/proc/%d/cmdline" % pid, "rb") as file:
        return file.read(size)


def real_user(pid: int) -> Optional[int]:
    """Who runs it, of a setuid program too. None if it has ended.

    The owner of files in /proc is another thing: root, of a process that is not dumpable.
    """
    fields = _fields("%d/status" % pid)
    return int(fields[b"Uid"].split()[0]) if b"Uid" in fields else None


def numbers(name: str) -> Tuple[int, ...]:
    """What a process (or ``self``) is called in the PID namespace of /proc, and in each below that down to its own;
    nothing if it is not there."""
    fields = _fields(name + "/status")
    return tuple(map(int, fields.get(b"NSpid", fields.get(b"Pid", b"")).split()))


def number_of(pidfd: int) -> Optional[int]:
    """Of the process that a descriptor refers to; None if it has ended, or is not in this /proc."""
    number = int(_fields("self/fdinfo/%d" % pidfd).get(b"Pid", b"0"))
    return number if number > 0 else None


def _fields(path: str) -> Dict[bytes, bytes]:
    """The lines of a file with a name and a colon first; none if the process has ended."""
    try:
        with open("/proc/" + path, "rb") as file:
            return dict(line.split(b":", 1) for line in file if b":" in line)
    except GONE:
        return {}
