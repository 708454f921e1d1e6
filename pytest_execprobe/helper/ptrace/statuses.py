"""/proc/PID/status, and other files there."""

from __future__ import annotations

import os
from typing import Dict, List, NamedTuple, Optional, Tuple

from . import calls

#: What is between these: PPid, TracerPid, four numbers each of Uid and Gid. In names of processes no line ends.
_PARENT, _BEHIND = b"\nPPid:\t", b"\nFDSize:"
_FORKED_ONLY = 0x40  # PF_FORKNOEXEC, linux/sched.h
_NUMBERS = b"\nNSpid:\t"  # which a kernel without PID namespaces does not have


class Status(NamedTuple):
    """Of /proc/PID/status. Numbers of a process from the outermost PID namespace that /proc shows to its own."""

    comm: bytes
    ppid: int
    uid: int
    gid: int
    effective: Tuple[int, int]  # user and group
    numbers: Tuple[int, ...]
    no_new_privileges: bool

    def number(self, level: int) -> int:
        """In a PID namespace so far below that of /proc; 0 where it is outside of that."""
        return self.numbers[level] if len(self.numbers) > level else 0


class Ids(NamedTuple):
    """What an exec's record has of a process."""

    ppid: int
    uid: int
    gid: int
    numbers: Tuple[int, ...] = ()  # as in Status

    def number(self, level: int) -> int:
        """As in Status."""
        return self.numbers[level] if len(self.numbers) > level else 0


def read_file(path: bytes, size: int) -> bytes:
    """Its beginning. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def fields_of(pid: int) -> Dict[bytes, bytes]:
    """Of /proc/PID/status; empty if it is not there."""
    try:
        text = read_file(b"/proc/%d/status" % pid, 8192)
    except OSError:
        return {}
    return dict(line.split(b":\t", 1) for line in text.split(b"\n") if b":\t" in line)


def status_of(pid: int) -> Optional[Status]:
    """None if it is not there."""
    try:
        text = read_file(b"/proc/%d/status" % pid, 8192)
        begin = text.index(_PARENT) + len(_PARENT)
        ppid, _, _, _, uid, euid, _, _, _, gid, egid = text[begin : text.index(_BEHIND, begin)].split()[:11]
        numbers = _field(text, _NUMBERS) if _NUMBERS in text else b"%d" % pid
        return Status(
            _field(text, b"Name:\t").replace(b"\\n", b"\n").replace(b"\\\\", b"\\"),
            int(ppid),
            int(uid),
            int(gid),
            (int(euid), int(egid)),
            tuple(map(int, numbers.split())),
            _field(text, b"\nNoNewPrivs:\t") == b"1",
        )
    except (OSError, ValueError):
        return None


def ids_of(pid: int, *, numbers: bool) -> Optional[Ids]:
    """None if it is not there. ``numbers``: with those of PID namespaces."""
    found = None if numbers else calls.process_info(pid)
    if found is not None:
        return Ids(*found)
    status = status_of(pid)
    return None if status is None else Ids(status.ppid, status.uid, status.gid, status.numbers)


def _field(text: bytes, name: bytes) -> bytes:
    begin = text.index(name) + len(name)
    return text[begin : text.index(b"\n", begin)]


def is_zombie(pid: int, tid: int) -> bool:
    return _stat(pid, tid)[:1] in ([], [b"Z"], [b"X"])


def has_executed(pid: int) -> bool:
    """Whether it has become another program since it was forked. So it may have for some time, if it has not been
    forked in sight."""
    return int(next(iter(_stat(pid, pid)[6:7]), _FORKED_ONLY)) & _FORKED_ONLY == 0


def cpu_of(tid: int) -> int:
    """On which a thread runs, or did last; -1 if it has ended."""
    return int(next(iter(_stat(tid, tid)[36:37]), -1))


def _stat(pid: int, tid: int) -> List[bytes]:
    """Of /proc/PID/task/TID/stat what is behind the name: the state is the first."""
    try:
        return read_file(b"/proc/%d/task/%d/stat" % (pid, tid), 1024).rpartition(b")")[2].split()
    except OSError:
        return []


def tracer_of(pid: int) -> int:
    """0: it is not traced."""
    return int(fields_of(pid).get(b"TracerPid", b"0"))
