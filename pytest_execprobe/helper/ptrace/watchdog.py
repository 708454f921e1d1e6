"""Ends a tracer that has been stopped: what it traces would wait for it at the next fork or exec, for ever.

When it ends, the kernel lets all of them go on. The log is incomplete then, and says so. And a tracer that has followed
what it traces to a CPU, which another has taken since, is let go to all of them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

from .nearness import move
from .statuses import read_file

PATIENCE = 10  # seconds, in which whoever has stopped it may have it go on


def begin() -> None:
    """A process of its own, which ends with this one."""
    watched = os.getpid()
    pidfd = os.pidfd_open(watched)
    if os.fork() == 0:
        try:
            _watch(watched, pidfd)
        finally:
            os._exit(0)
    os.close(pidfd)


def _watch(watched: int, pidfd: int) -> None:
    os.dup2(pidfd, 0)
    os.closerange(1, 1 + max(map(int, os.listdir("/proc/self/fd"))))
    poll = select.poll()
    poll.register(0, select.POLLIN)
    seconds, cpus = 0, os.sched_getaffinity(0)
    while not poll.poll(1000):
        move(watched, cpus)
        seconds = seconds + 1 if _is_stopped(watched) else 0
        if seconds == PATIENCE:
            with contextlib.suppress(ProcessLookupError):
                os.kill(watched, signal.SIGKILL)


def _is_stopped(pid: int) -> bool:
    try:
        return read_file(b"/proc/%d/stat" % pid, 1024).rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False
