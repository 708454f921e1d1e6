"""When a thread that is traced was last seen outside of an exec: no stop says when it enters one.

What it executes after that was entered after that. So the later it was seen, the more is known of the order of execs.
"""

import time
from typing import Iterable, Optional

from . import calls, image
from .machines import Machine
from .tree import Tracee


class Task:
    """A thread that is traced."""

    __slots__ = ("interrupted", "outside_at", "process", "tid")

    def __init__(self, tid: int, process: Tracee, at: int) -> None:
        self.tid = tid
        self.process = process
        #: When it was last known to execute nothing, ns.
        self.outside_at = at
        #: Whether it was asked to stop, and has not yet.
        self.interrupted = False
        process.tids.add(tid)


def look_at_others(
    tasks: Iterable[Task], process: Tracee, since: int, machine: Machine, *, interrupting: bool = False
) -> None:
    """When a process has executed something, which was entered after ``since``, or has ended: what another executes
    from now on comes later. With ``interrupting`` it is asked for of those that run, too."""
    for task in tasks:
        if task.outside_at < since and task.process is not process and any(slot.top for slot in task.process.slots):
            call = system_call(task.tid)
            if call is not None and call not in machine.execs:
                task.outside_at = time.monotonic_ns()
            elif interrupting and call is None and not task.interrupted:
                task.interrupted = calls.interrupt(task.tid)


def system_call(tid: int) -> Optional[int]:
    """The number of the one in which a thread waits, -1 for none; None while it runs, or where that can't be read."""
    try:
        said = image.read_file(b"/proc/%d/syscall" % tid, 256).split(None, 1)[0]
        return None if said == b"running" else int(said)
    except FileNotFoundError:
        return -1
    except ProcessLookupError:
        return -1
    except (OSError, ValueError, IndexError):
        return None
