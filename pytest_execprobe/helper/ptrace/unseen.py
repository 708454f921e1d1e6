"""Execs whose stop never comes, for a SIGKILL has ended the process before that.

That it had become another program shows until its parent reaps it, which it may as soon as the tracer has waited for
it. So while there is a process that was forked, and is not seen to have executed anything, each stop and end is looked
at before it is taken.
"""

from __future__ import annotations

import os
import signal
from typing import Optional, Tuple

from . import calls, records, statuses
from .image import Image
from .outside import Task
from .stack import Stack
from .tree import Tree

_NOW = os.WNOHANG | calls.ALL_CHILDREN


def await_stop(tree: Tree) -> Tuple[int, int]:
    """As calls.await_stop()."""
    while tree.fresh:
        taken = _take(tree, 0)
        if taken[0]:  # else it was killed in its stop, and has yet to end
            return taken
    return calls.await_stop()


def stop_there_is(tree: Tree) -> Tuple[int, int]:
    """As os.waitpid(), which has nothing to wait for."""
    taken = _take(tree, os.WNOHANG) if tree.fresh else (-1, 0)
    return os.waitpid(-1, _NOW) if taken[0] < 0 else taken


def _take(tree: Tree, flags: int) -> Tuple[int, int]:
    """The next; as calls.look_at_stop() if there is none. What is taken is what was looked at: who is killed in the
    stop of an exec would else be taken by its end, and its parent free to reap it."""
    tid, ended_by = calls.look_at_stop(flags)
    if tid <= 0:
        return tid, 0
    if ended_by is None:
        return calls.take_stop(tid)
    if ended_by == signal.SIGKILL and tid in tree.fresh:
        tree.fresh[tid] = statuses.has_executed(tid)
    return os.waitpid(tid, _NOW)


def record(tree: Tree, task: Task, status: int, at: int) -> Optional[bytes]:
    """Of a process that has ended; None if its execs, if any, were seen. Its name goes with it: no more is left."""
    process = task.process
    if not tree.fresh.pop(process.pid, False) or status & 0x7F != signal.SIGKILL or not tree.living(process):
        return None
    its = statuses.status_of(process.pid)
    found = Image(Stack(), None, None, None, (), False, False, b"" if its is None else its.comm)
    ids = None if its is None else statuses.Ids(its.ppid, its.uid, its.gid, its.numbers)
    entered = task.outside_at if task.call is None else task.call.at
    made = records.executed(tree, process, at, entered, found, ids)
    process.image_pid, process.image_at, process.own_exec = process.pid, at, True
    process.comm = found.comm
    return made
