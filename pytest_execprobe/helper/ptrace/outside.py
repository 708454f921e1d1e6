"""When a thread that is traced was last seen outside of an exec: no stop says when it enters one.

What it executes after that was entered after that. So the later it was seen, the more is known of the order of execs.
"""

import os
import time
from typing import Collection, Optional

from . import attempts, calls, statuses
from .machines import Machine
from .tree import Tracee

#: Threads: of more, to look at each whenever one executes something would take longer than what they do.
_CROWD = 256
_KEPT = 64  # descriptors up to that number are left open, for what is looked at once is mostly looked at again
#: ns. What was forked so short ago mostly is in its exec, and what was seen then is not made to stop once more: that
#: another has executed something or ended between the two is hardly why it executes what it does.
_SOON = 200_000
_SAID = 32  # bytes of that, at the most: a number, and what is of no interest


class Task:
    """A thread that is traced."""

    __slots__ = ("_file", "call", "interrupted", "is_told", "outside_at", "process", "stopped_at", "tid")

    def __init__(self, tid: int, process: Tracee, at: int) -> None:
        self.tid = tid
        self.process = process
        self._file = -1  # /proc/TID/syscall
        #: Whether it last stopped for SIGCHLD when a child of its had ended, as far as is known: so the next time, too.
        self.is_told = False
        process.tids.add(tid)
        self.begin(at)

    def begin(self, at: int) -> None:
        """A life, or a program."""
        #: When it was last known to execute nothing, ns.
        self.outside_at = at
        self.stopped_at = at
        #: Whether it was asked to stop, and has not yet.
        self.interrupted = False
        #: The exec that it has begun, where a filter has shown that.
        self.call: Optional[attempts.Call] = None

    @property
    def may_be_through(self) -> bool:
        """Whether its end may be the first to show an exec: that of its process, or its own."""
        return self.process.is_fresh or self._is_first

    @property
    def _is_first(self) -> bool:
        """Whether it has executed something, and so got its process's number: one that ends is there until the tracer
        has waited for it."""
        return self.tid != self.process.pid and not os.path.exists(b"/proc/%d" % self.tid)

    def system_call(self) -> Optional[int]:
        """The number of the one in which it waits, -1 for none; None while it runs, where that can't be read, and while
        its process is another program, or has ended as one, which is still to be seen."""
        try:
            said = self._said().split(None, 1)[0]
            number = None if said == b"running" else int(said)
        except (FileNotFoundError, ProcessLookupError):
            number = -1
        except (OSError, ValueError, IndexError):
            return None
        return None if number == -1 and self._is_through() else number

    def _is_through(self) -> bool:
        return (self.process.is_fresh and statuses.has_executed(self.process.pid)) or self._is_first

    def is_outside(self, machine: Machine) -> bool:
        """Whether it certainly executes nothing now. If that does not show it is asked to stop."""
        call = self.system_call()
        if call is not None and call not in machine.execs:
            self.outside_at = time.monotonic_ns()
            return True
        if not self.interrupted:
            self.interrupted = calls.interrupt(self.tid)
            return not self.interrupted and not self.may_be_through  # it has ended
        return False

    def _said(self) -> bytes:
        if self._file >= 0:
            return os.pread(self._file, _SAID, 0)
        file = os.open(b"/proc/%d/syscall" % self.tid, os.O_RDONLY | os.O_CLOEXEC)
        if file < _KEPT:
            self._file = file
        try:
            return os.pread(file, _SAID, 0)
        finally:
            if self._file < 0:
                os.close(file)

    def close(self) -> None:
        """It is not looked at any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def look_at_others(
    tasks: Collection[Task], process: Tracee, since: int, machine: Machine, *, interrupting: bool = False
) -> None:
    """When a process has executed something, which was entered after ``since``, or has ended: what another executes
    from now on comes later. With ``interrupting`` it is asked for of those that run, too. Not in a crowd, and not of
    those that were seen just now."""
    if len(tasks) > _CROWD:
        return
    soon = time.monotonic_ns() - _SOON
    for task in tasks:
        if task.outside_at < since and task.process is not process and task.process.is_below:
            is_creator = task.process is process.creator
            if task.process.forked > soon and not task.process.own_exec and not is_creator:
                continue
            if interrupting and task.is_told and is_creator:
                task.is_told = False  # it is about to stop
                continue
            call = task.system_call()
            if call is not None and call not in machine.execs:
                task.outside_at = time.monotonic_ns()
            elif interrupting and call is None and not task.interrupted and (is_creator or task.outside_at < soon):
                task.interrupted = calls.interrupt(task.tid)
