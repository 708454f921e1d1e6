"""What this process knows of the children that it has had, so that processes of other work are not taken for theirs.

The kernel adds the page faults of each child that is waited for to this process's ``RUSAGE_CHILDREN``. One that has
forked has had some: it has written to its stack since. So a sum that is that of the helpers' launchers alone proves
that no other child has ended, and one that has not ended shows in /proc.

Imported when the plugin is loaded, so it imports next to nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, waitstatus_to_exitcode
from resource import RUSAGE_CHILDREN, struct_rusage
from signal import SIG_IGN, SIGCHLD
from time import CLOCK_BOOTTIME
from typing import Any

from .._util import originals
from .._util.originals import getpid

_HZ = originals.sysconf("SC_CLK_TCK")
_WALL = 0x40000000  # __WALL in linux/wait.h: children of clone(), too, that end without SIGCHLD
#: Clock ticks that no fork takes from the time at which its child is said to have begun until it is seen: the kernel
#: sees to it that user space can't stall it there (copy_process() in kernel/fork.c).
_IN_FLIGHT = _HZ
#: How many processes that an earlier probe has followed are named to the next.
MOST_LEFT = 64

_boottime_ns = functools.partial(originals.clock_gettime_ns, CLOCK_BOOTTIME)


class _Known:
    """Of one process: a fork has neither its parent's children nor its usage."""

    def __init__(self) -> None:
        self.pid = getpid()
        #: Page faults of the helpers' launchers that have ended.
        self.launchers = 0
        #: Of all children that had ended at ``since``.
        self.ended = 0
        #: Clock ticks since boot, as in /proc/PID/stat: of what had begun until then, ``left`` alone is this process's.
        self.since = 0
        #: Processes that this one has left behind and an earlier probe has followed: (kernel's pid, begun in ticks).
        self.left: tuple[tuple[int, int], ...] = ()


_known = _Known()


def _here() -> _Known:
    global _known
    if _known.pid != getpid():
        _known = _Known()
    return _known


# ---- what is known ----


def has_left_none() -> bool:
    """Whether no child has ended that could have left one of its own behind, but those that are known of."""
    known = _here()
    return not known.left and _are_counted() and _faults() - known.launchers == known.ended


def has_none() -> bool:
    """Whether, besides, there is no child now: so that nothing that this process has started is there.

    To be asked once what it forks is followed. Only while it has one thread: the kernel counts a child that another
    thread waits for a moment after it is no child any more.
    """
    return _is_alone() and _has_no_child() and has_left_none()


def to_be_sent() -> dict[str, Any]:
    """What helps the helper to find out whose an orphan is; empty if nothing does."""
    known, begun = _here(), _begun("self")
    if known.since == 0 or begun is None:
        return {}
    return {"begun": begun, "since": known.since, "left": known.left}


# ---- how it comes to be known ----


def look() -> None:
    """To be called early: nothing that has begun until now is this process's, if it has never had a child."""
    known, now = _here(), _ticks()
    if _is_alone() and _has_no_child() and _are_counted() and _faults() == 0:
        known.since = now


class Parting:
    """Begun before a probe that knows all of this process's tree is asked what is left of it."""

    def __init__(self) -> None:
        self._since = _ticks() - _IN_FLIGHT
        self._ended = _faults() - _here().launchers

    def remember(self, left: Sequence[tuple[int | None, int]]) -> None:
        """``left``: all that have not ended, as (this process's number for it, the kernel's)."""
        found = []
        try:
            for pid, kernel_pid in left:
                begun = None if pid is None else _begun_of(pid)
                if begun is not None:
                    found.append((kernel_pid, begun))
        except _UnknownError:
            return  # what was known before is true still
        if len(found) <= MOST_LEFT and all(pid is not None for pid, _ in left):
            known = _here()
            known.since, known.ended, known.left = self._since, self._ended, tuple(found)


class _UnknownError(Exception):
    """/proc does not say."""


def _begun_of(pid: int) -> int | None:
    """When another process has begun, None if it has ended. Raises _UnknownError."""
    begun = _begun(str(pid)) if _proc_is_ours() else None
    if begun is not None:
        return begun
    try:
        originals.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    raise _UnknownError


def _proc_is_ours() -> bool:
    """Whether its numbers are those of this process's PID namespace."""
    try:
        return originals.readlink("/proc/self") == str(getpid())
    except OSError:
        return False


def reap_launcher(pid: int) -> int | None:
    """Waits for a helper's launcher and returns its exit code; None if another thread has taken that."""
    try:
        _, status, usage = originals.wait4(pid, 0)
    except ChildProcessError:
        return None
    _here().launchers += _of(usage)
    return waitstatus_to_exitcode(status)


# ---- looking ----


def _of(usage: struct_rusage) -> int:
    return usage.ru_minflt + usage.ru_majflt


def _faults() -> int:
    return _of(originals.getrusage(RUSAGE_CHILDREN))


def _are_counted() -> bool:
    """Whether children are kept until they are waited for: where SIGCHLD is ignored nothing of them is counted."""
    return bool(originals.getsignal(SIGCHLD) != SIG_IGN)


def _has_no_child() -> bool:
    try:
        originals.waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT | _WALL)
    except ChildProcessError:
        return True
    return False


def _is_alone() -> bool:
    try:
        return len(originals.listdir("/proc/self/task")) == 1
    except OSError:  # a test may have used up the descriptors, or taken /proc away
        return False


def _ticks() -> int:
    return _boottime_ns() * _HZ // 1_000_000_000


def _begun(name: str) -> int | None:
    """When a process began, in clock ticks since boot; None if it is not there."""
    try:
        return int(originals.read_bytes(f"/proc/{name}/stat").rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None
