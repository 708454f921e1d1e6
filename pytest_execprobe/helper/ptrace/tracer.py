"""Follows processes by the stops that their forks and execs are.

Everything here is done by one thread: the kernel takes it for the tracer. A thread that is traced stops at a fork
before the child runs, and at an exec before the new program does, so that nothing happens which has not been seen. If
this process dies, the kernel lets all that it traces go on.
"""

from __future__ import annotations

import copy
import errno
import operator
import os
import select
import signal
import time
from typing import Dict, List, Optional, Set, Tuple

from . import attempts, calls, image, outside, records, signals, statuses, unseen
from .machines import Machine
from .nearness import Nearness
from .outside import Task
from .rights import Rights
from .stops import Stops
from .tree import Tracee, Tree

_GROUP_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_FORKS = (calls.EVENT_FORK, calls.EVENT_VFORK, calls.EVENT_CLONE)
_ROUNDS = 100  # looks for threads that are new while a process is seized
_AT_ONCE = 512  # stops, before whoever waits for an answer has a turn
_SAYS_SO = 200_000  # ns, in which mostly who has forked something comes to the stop that says so
_now = time.monotonic_ns
_TOP = operator.attrgetter("top")


class Tracer:
    """``events`` is filled as EVENTS have them. ``filtered``: execs are stopped where they begin, too; nothing is let
    go then."""

    def __init__(self, machine: Machine, *, filtered: bool = False) -> None:
        self._machine = machine
        self.filtered = filtered
        #: Whether a root may have got privilege before it was traced, or got the filter.
        self.takes_privilege = False
        self.tree = Tree()
        self.stops = Stops()
        self.events: List[bytes] = []
        self.forks = 0
        self._tasks: Dict[int, Task] = {}
        self._held: Dict[int, int] = {}  # what has been forked, it is not known by whom; since when
        self._unsaid: Set[int] = set()  # what has gone on, or ended, before its creator has said so
        self._rights = Rights()
        self._nearness = Nearness()
        #: Can be read when something that was let go to run untraced has ended: that is waited for by a descriptor.
        self.left = select.epoll()
        self._left: Dict[int, Tuple[int, Tracee]] = {}
        self._last: Optional[Tracee] = None  # that has ended

    def seize(self, pid: int) -> Tracee:
        """Traces a process with all of its threads. Raises OSError where that is refused, when it goes on untraced, and
        where it has ended: of what is a zombie already no end is seen any more."""
        known = self.tree.processes.get(pid)
        others = set() if known is None else set(known.tids)  # some of its threads may have been let go
        seized: Set[int] = set()
        is_traced = known is not None
        for _ in range(_ROUNDS):
            try:
                new = set(map(int, os.listdir("/proc/%d/task" % pid))) - seized - others
            except FileNotFoundError:
                if known is None:
                    raise
                return known  # it has ended, which is still to be seen
            if not new and not statuses.tracer_of(pid) and not statuses.is_zombie(pid, pid):
                new = {pid}  # a thread's that was not traced yet and has executed something: it has that number now
            if not new:
                break
            for tid in sorted(new):
                try:
                    calls.seize(tid, filtered=self.filtered)
                except OSError as error:
                    if error.errno == errno.ESRCH or statuses.is_zombie(pid, tid):
                        others.add(tid)
                        continue
                    if statuses.tracer_of(tid) != os.getpid():
                        raise
                    others.add(tid)  # by one that was seized, whose stop is still to be seen
                else:
                    seized.add(tid)
                is_traced = True
        if not is_traced:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        process = self.tree.add(pid)
        at = _now()
        if known is None and not statuses.has_executed(pid):
            self.tree.fresh[pid], process.is_fresh = False, True
        for tid in seized:
            self._tasks[tid] = Task(tid, process, at)
        return process

    # ---- stops ----

    def drain(self) -> bool:
        """Takes in the stops that there are. False if there may be more."""
        self._look_for_ends()
        for _ in range(_AT_ONCE):
            try:
                tid, status = unseen.stop_there_is(self.tree)
            except ChildProcessError:
                return True
            if tid == 0:
                break
            self._take(tid, status)
        else:
            return False
        return not self._held or self._look_at_held(_now())

    def take(self, tid: int, status: int) -> bool:
        """Takes in what waitpid() has given. As :meth:`drain` otherwise."""
        self._take(tid, status)
        return self.drain() if self._held or self._left else True

    def _take(self, tid: int, status: int) -> None:
        at = _now()
        task = self._tasks.get(tid)
        if status & 0xFF != 0x7F:  # it is not WIFSTOPPED()
            self._ended(tid, task, status, at)
            return
        event, number = status >> 16, status >> 8 & 0xFF
        if event == calls.EVENT_EXEC:
            task = self._executed(tid, at)
        if task is None:
            self._held.setdefault(tid, at)
            self._unsaid.discard(tid)  # it was another's number
            return
        if event in _FORKS:
            self._forked(task, calls.event_message(tid), event, at)
        was_interrupted, task.interrupted = task.interrupted, False
        if event == calls.EVENT_SECCOMP:
            self._began(task, at)
            return
        tree, process = self.tree, task.process
        is_let_go = not tree.living(process) and not self.filtered
        if is_let_go or (tree.untraced and tree.untraced.get(process.pid) is process):
            if was_interrupted and event == calls.EVENT_STOP:
                signals.undo_interruption(task.tid, self._machine)
            self._let_go(task, 0 if event else number)
            return
        task.outside_at = task.stopped_at = at
        if event == 0 and number == calls.CALL_ENDED:
            self._failed(task, at)
            calls.resume(tid)
        elif event == 0:
            task.is_told = task.is_told or number == signal.SIGCHLD
            calls.resume(tid, signals.to_deliver(tid, number, self._machine))
        elif event == calls.EVENT_STOP:
            if number in _GROUP_STOPS:
                calls.stay_stopped(tid)
                return
            if was_interrupted:
                signals.undo_interruption(task.tid, self._machine)
            calls.resume(tid)
        else:
            task.outside_at = _now()  # an exec takes long to be read
            calls.resume(tid)

    def let_go_strays(self) -> None:
        """What no root has in its tree any more, as soon as it has stopped."""
        for task in list(self._tasks.values()):
            if not self.tree.living(task.process) and not task.interrupted:
                task.interrupted = calls.interrupt(task.tid)

    def _let_go(self, task: Task, number: int) -> None:
        """No root that is watched has it in its tree any more."""
        calls.detach(task.tid, number)
        self._remove(task)
        if not task.process.tids:
            self.tree.processes.pop(task.process.pid, None)
            self.tree.fresh.pop(task.process.pid, None)

    def _leave(self, process: Tracee, at: int, found: image.Image, ids: Optional[statuses.Ids]) -> None:
        """It goes on untraced, from its program's first instruction on."""
        self.events.append(records.untraced(self.tree, process, at, found, ids))
        self.tree.has_left.update(slot.root for slot in process.slots)
        self.tree.untraced[process.pid] = process
        pidfd = os.pidfd_open(process.pid)
        self._left[pidfd] = process.pid, process
        self.left.register(pidfd, select.EPOLLIN)

    def _look_for_ends(self) -> None:
        for pidfd, _ in self.left.poll(0) if self._left else ():
            pid, process = self._left.pop(pidfd)
            os.close(pidfd)  # which takes it out of what is waited for
            if self.tree.untraced.get(pid) is process:
                del self.tree.untraced[pid]
            process.own_exec = False  # how it has ended is not known
            if self.tree.living(process) and process.is_top:
                self.events.append(records.ended(self.tree, process, _now(), 0))

    def _remove(self, task: Task) -> None:
        self._tasks.pop(task.tid, None)
        task.close()
        task.process.tids.discard(task.tid)

    # ---- forks ----

    def _forked(self, task: Task, child: int, event: int, at: int) -> None:
        process, machine = task.process, self._machine
        self._nearness.follow(task.tid, at)
        if child == 0:
            return  # killed meanwhile: what it has forked is held
        if child in self._unsaid:
            self._unsaid.discard(child)
            return  # it is known, and may have ended since: there still, for who says so now has not asked for its end
        # Either call can make either, a process or a thread: what is likelier first.
        if event != calls.EVENT_CLONE and calls.is_thread_of(child, child, machine):
            self._begin(child, process, task.tid, at)
        elif calls.is_thread_of(child, process.pid, machine):
            self._tasks[child] = Task(child, process, at)
        elif child in self._held or calls.is_thread_of(child, child, machine):
            self._begin(child, process, task.tid, at)
        if child in self._held:
            self._held.pop(child, None)
            calls.resume(child)

    def _begin(self, child: int, parent: Tracee, thread: int, at: int) -> None:
        self.forks += 1
        self._tasks[child] = Task(child, self.tree.fork(parent, child, thread, at), at)

    def _free_orphans(self, ended: Optional[Tracee], at: int) -> None:
        """A thread that was killed at its fork does not say what it has forked: of a process, and if another has ended
        since, of that, for the kernel does not tell which it was."""
        for child in list(self._held):
            fields = statuses.fields_of(child)
            group, parent = (int(fields.get(name, b"0")) for name in (b"Tgid", b"PPid"))
            if group in self.tree.processes and group != child:
                self._tasks[child] = Task(child, self.tree.processes[group], at)
            elif ended is not None and (parent == ended.pid or parent not in self.tree.processes):
                self._begin(child, ended, 0, at)
            else:
                continue  # its creator lives, and is about to say so
            self._free(child)

    def _look_at_held(self, at: int) -> bool:
        """Of what is held now, what has forked it may have ended before it came to its stop. False if this has to look
        once more."""
        if any(at - since < _SAYS_SO for since in self._held.values()):
            return False
        self._free_orphans(self._last, at)
        # A thread that another thread's exec has ended at its fork leaves a process that lives, and does not say so.
        # And a process that lives may have taken in what another has left that has ended at its fork.
        for child, since in list(self._held.items()):
            process = self.tree.processes.get(int(statuses.fields_of(child).get(b"PPid", b"0")))
            if process is None:
                continue
            # It need not be of its parent (CLONE_PARENT), but mostly is.
            tids = [*process.tids, *(tid for tid in self._tasks if tid not in process.tids)]
            if all(self._has_not_forked(tid, since) for tid in tids):
                self._begin(child, process.former or self.tree.forker(process, self._last), 0, at)
                self.tree.processes[child].creator = process
                self._free(child)
        return True

    def _free(self, child: int) -> None:
        del self._held[child]
        self._unsaid.add(child)
        calls.resume(child)

    def has_not_forked(self, process: Tracee, since: int) -> bool:
        return all(self._has_not_forked(tid, since) for tid in process.tids)

    def _has_not_forked(self, tid: int, since: int) -> bool:
        """Whether a thread has not forked what is held since then, and is only about to say so. If that is not certain
        it is asked to stop, so that it is the next time."""
        task = self._tasks[tid]
        call = task.system_call()
        if task.stopped_at > since or (call is not None and call not in self._machine.forks):
            return True
        task.interrupted = task.interrupted or calls.interrupt(tid)
        return False

    # ---- execs ----

    def _executed(self, tid: int, at: int) -> Optional[Task]:
        """The process has become another program, with the one thread that has done it: that has the process's number
        from now on."""
        task = self._tasks.get(tid)
        if task is None or len(task.process.tids) > 1:  # else there is no other that it could have been
            task = self._tasks.get(calls.event_message(tid)) or task
        if task is None:
            return None
        process = task.process
        process.former = copy.copy(process) if process.had_threads or len(process.tids) > 1 else None
        process.had_threads = False
        thread, call, outside_at = task.tid, task.call, task.outside_at
        if thread == tid and len(process.tids) == 1:
            task.begin(at)
        else:
            for other in [self._tasks[number] for number in process.tids if number in self._tasks]:
                self._remove(other)
            task = self._tasks[tid] = Task(tid, process, at)
        if self._held and process.former is not None:  # by a thread that this one has ended
            self._free_orphans(process, at)
        if not self.tree.living(process):
            return task
        is_root = not all(map(_TOP, process.slots))
        # That is what is known of when it was entered: not before. So an exec counts for where its process was seen
        # outside of it last, and every synchronisation looks at each.
        entered = call.at if call is not None else at if is_root else outside_at
        outside.look_at_others(self._tasks.values(), process, entered, self._machine)
        if is_root:
            self.tree.replace_roots(process, thread, entered)
        ids = statuses.ids_of(tid, numbers=self.tree.has_levels)
        takes_privilege = self.filtered and self.takes_privilege
        if self._rights.suffice and not self.stops.any:
            found, stopped = image.read(tid, self._machine, takes_privilege), 0
        else:
            with self._rights.to_read(ids):
                found = image.read(tid, self._machine, takes_privilege)
                stopped = self.stops.found(self.tree, process, found, ids)
        if stopped:
            os.kill(tid, signal.SIGKILL)  # whatever lets it go on from here on, it runs nothing
        self.events.append(records.executed(self.tree, process, at, entered, found, ids, stopped))
        process.image_pid, process.image_at = tid, at
        process.own_exec, process.is_fresh = True, False
        self.tree.fresh.pop(process.pid, None)
        process.comm = found.comm or process.comm
        if not stopped and self.tree.leaves_any and self.tree.is_left(process, image.paths(found)):
            self._leave(process, at, found, ids)
        return task

    def _began(self, task: Task, at: int) -> None:
        task.outside_at = at
        task.call = attempts.begun(task.tid, at)
        if task.call is None and attempts.skip(task.tid, self._machine):  # another's filter
            calls.resume(task.tid)
        else:
            calls.go_to_end_of_call(task.tid)

    def _failed(self, task: Task, at: int) -> None:
        call, task.call = task.call, None
        error = attempts.error(task.tid)
        process = task.process
        if call is None or not error or not self.tree.living(process):
            return
        ids = statuses.ids_of(process.pid, numbers=self.tree.has_levels)
        with self._rights.to_read(ids):
            tried = attempts.read(task.tid, call)
        self.events.append(records.failed(self.tree, process, error, at, call.at, tried, ids))

    # ---- ends ----

    def _ended(self, tid: int, task: Optional[Task], status: int, at: int) -> None:
        self._held.pop(tid, None)
        if task is None:
            # A thread of what has become another program since; or a process whose fork is still to be seen, which is
            # there for as long as its creator has not asked for its end.
            process = self.tree.processes.get(tid)
            if process is not None and not process.tids:
                del self.tree.processes[tid]
                self.tree.fresh.pop(tid, None)
            if os.path.exists(b"/proc/%d" % tid):
                self._unsaid.add(tid)
            return
        process = task.process
        # Only what was killed at its fork has not said what it has forked, and a process with one thread by a signal.
        may_have_forked = bool(process.had_threads or len(process.tids) > 1 or status & 0x7F)
        self._remove(task)
        process.had_threads = True
        if tid == process.pid:  # the last, for the kernel waits for all others
            self.events += filter(None, [unseen.record(self.tree, task, status, at)])
            self.tree.processes.pop(tid, None)
            self._last = process
            if process.tids:
                for other in [self._tasks[number] for number in process.tids if number in self._tasks]:
                    self._remove(other)
            if process.own_exec:  # no one else has seen its end yet, and so done something after it
                outside.look_at_others(
                    self._tasks.values(), process, process.image_at, self._machine, interrupting=True
                )
            if self.tree.living(process) and (process.own_exec or process.is_top):
                self.events.append(records.ended(self.tree, process, at, status))
        if self._held and may_have_forked:
            self._free_orphans(process, at)

    # ---- who may be in the middle of an exec ----

    def in_flight(self, before: int, root: int, *, look: bool = True, with_root: bool = False) -> int:
        """How many threads of a root's tree may have entered an exec up to ``before`` (ns) that is not over. They are
        asked to stop, so that it shows. ``look``: whether anything may have changed but by stops since the last time.
        """
        count = 0
        for process in self.tree.below(root, with_root=with_root):
            for task in [self._tasks[tid] for tid in process.tids]:
                is_looked_at = look or not task.interrupted
                if task.outside_at <= before and not (is_looked_at and task.is_outside(self._machine)):
                    count += 1
        return count
