"""When a thread that is traced was last seen outside of an exec: no stop says when it enters one.

What it executes after that was entered after that. So the later it was seen, the more is known of the order of execs.
"""

import time
from typing import Collection, Optional

from . import attempts, calls, statuses
from .machines import Machine
from .tree import Tracee

#: Threads: of more, to look at each whenever one executes something would take longer than what they do.
_CROWD = 256


class Task:
    """A thread that is traced."""

    __slots__ = ("call", "interrupted", "outside_at", "process", "stopped_at", "tid")

    def __init__(self, tid: int, process: Tracee, at: int) -> None:
        self.tid = tid
        self.process = process
        #: When it was last known to execute nothing, ns.
        self.outside_at = at
        self.stopped_at = at
        #: Whether it was asked to stop, and has not yet.
        self.interrupted = False
        #: The exec that it has begun, where a filter has shown that.
        self.call: Optional[attempts.Call] = None
        process.tids.add(tid)


def look_at_others(
    tasks: Collection[Task], process: Tracee, since: int, machine: Machine, *, interrupting: bool = False
) -> None:
    """When a process has executed something, which was entered after ``since``, or has ended: what another executes
    from now on comes later. With ``interrupting`` it is asked for of those that run, too. Not in a crowd."""
    if len(tasks) > _CROWD:
        return
    for task in tasks:
        if task.outside_at < since and task.process is not process and any(slot.top for slot in task.process.slots):
            call = statuses.system_call(task.tid)
            if call is not None and call not in machine.execs:
                task.outside_at = time.monotonic_ns()
            elif interrupting and call is None and not task.interrupted:
                task.interrupted = calls.interrupt(task.tid)
