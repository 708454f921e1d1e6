"""The probe that is made of ptrace(2), for where there is no privilege for another."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import time
from typing import Any, Dict, List, Optional, Set, Tuple

from .. import wire
from ..errors import ProbeError
from ..probe import Claimed, Counts, Enforced, Missed, Page, Process, Running
from . import calls, machines, statuses, tracer, unseen
from .arrivals import Arrivals
from .tree import Slot, Tracee

_NOTHING_YET = contextlib.suppress(BlockingIOError)
_NO_ATTEMPTS = (
    "ptrace, the probe without privilege, sees them by a seccomp filter alone: start the run with"
    " --execprobe-attempts=seccomp, of runs within runs the outermost"
)
_PASSED_ON = 128  # records at once, where nobody waits for any
_STAY = 0.02  # seconds, in which whatever has no descriptor to interrupt_for() has to wait
_FORKS_WITHIN = 1.0  # seconds
_AWAITED = 0.002  # the same, for what an answer waits for


class PtraceProbe:
    """The :class:`.Probe` that needs no privilege."""

    def __init__(self, starter: int, *, filtered: bool = False) -> None:
        """``starter``: the process that has started this one's parent, which has ended since. ``filtered``: what is
        traced gets a seccomp filter that has each exec stop where it begins, and so those that fail seen."""
        machine = machines.here()
        if machine is None:
            raise ProbeError(
                "no-machine", "tracing is written for %s, and this is %s" % (_known(), platform.machine()), ""
            )
        check()
        self._stops = calls.stops()
        self._arrivals = Arrivals()
        self._tracer = tracer.Tracer(machine, filtered=filtered)
        self._taken = 0  # records
        self._is_awaited = False  # a record
        self._has_all = True  # stops, as far as is known
        self._claimed: Dict[int, Claimed] = {}
        self._going: Set[int] = set()  # roots that are to be forgotten
        self._starter = starter

    def describe(self) -> Dict[str, Any]:
        return {
            "backend": "ptrace",
            "kernel": platform.release(),
            "entry": [],
            "attempts": "seccomp" if self._tracer.filtered else None,
            "attempts_refused": None if self._tracer.filtered else _NO_ATTEMPTS,
            "stops_refused": None,
        }

    @property
    def page(self) -> Optional[Page]:
        return None

    # ---- records ----

    def fds(self) -> List[int]:
        return [self._stops, self._tracer.left.fileno()]

    def want_wakeup(self, wanted: bool) -> None:
        self._is_awaited = wanted  # every stop does that

    def interrupt_for(self, fd: int) -> None:
        self._arrivals.end_by(fd)

    def drain(self) -> None:
        """Where no client waits for a record this goes on as long as stops come: a program that is started makes five,
        and between two calls the server looks at everything."""
        self._has_all = self._drain()
        if self._may_stay:
            self._arrivals.within(_STAY, self._take, self._await_stop)
        if not self._has_all:
            self._come_again()

    def _take(self, tid: int, status: int) -> bool:
        """Whether that is enough: no client begins to wait for a record meanwhile."""
        self._has_all = self._tracer.take(tid, status)
        return len(self._tracer.events) >= _PASSED_ON

    def _await_stop(self) -> Tuple[int, int]:
        return unseen.await_stop(self._tracer.tree)

    @property
    def _may_stay(self) -> bool:
        return not self._is_awaited and len(self._tracer.events) < _PASSED_ON

    def _drain_once(self) -> None:
        if not self._drain():
            self._come_again()

    def _come_again(self) -> None:
        """There is more, and others wait for a turn."""
        os.kill(os.getpid(), signal.SIGCHLD)

    def _drain(self) -> bool:
        with _NOTHING_YET:
            os.read(self._stops, 128)  # all of one signal, which is never there twice
        return self._tracer.drain()

    def take(self) -> List[wire.Piece]:
        """They come one by one, and each time it takes longer to pass them on than to make one: so that is done once
        for many, but where somebody waits."""
        taken = self._tracer.events
        if not self._is_awaited and len(taken) < _PASSED_ON:
            return []
        self._tracer.events = []
        self._taken += len(taken)
        return [*wire.pieces(b"".join(taken))]

    def take_dropped(self) -> List[bytes]:
        return []

    # ---- how much there should be ----

    def counts(self) -> Counts:
        """No record is made that is not here."""
        number = self._taken + len(self._tracer.events)
        return Counts(number, 0, 0, number, 0, 0, 0)

    def in_flight(self, before: int, root: int) -> int:
        self._drain_once()  # what has stopped is not on its way anywhere
        with_root = root in self._going
        count, ends = self._tracer.in_flight(before, root, with_root=with_root), time.monotonic() + _AWAITED
        while count and time.monotonic() < ends:  # what has been asked to stop mostly does so at once
            signal.sigtimedwait((signal.SIGCHLD,), _AWAITED)
            self._drain_once()
            count = self._tracer.in_flight(before, root, look=False, with_root=with_root)
        return count

    def reconcile(self) -> Optional[Counts]:
        self._drain_once()
        self._is_awaited = True
        return self.counts()

    def missed(self) -> Missed:
        return Missed(0, 0, 0)

    # ---- roots, and what descends from them ----

    def claim(self, name: bytes, root: int, pid: int) -> bool:  # noqa: ARG002
        """The process is known by its connection, and is a root from now on. Raises ProbeError."""
        try:
            process = self._tracer.seize(pid)
        except OSError as error:
            raise refused(pid, error) from error
        tree = self._tracer.tree
        status = statuses.status_of(pid)
        self._tracer.takes_privilege |= status is not None and not status.no_new_privileges
        tree.begin(root, 0 if status is None else len(status.numbers) - 1)
        entered = tree.enter(process, Slot(root, 0, 0, 0))
        self._await_forks(process)
        known = tree.descendants(process)
        whole = known is not None and all(tree.enter(other, Slot(root, 0, top, 0)) for other, top in known)
        self._claimed[root] = Claimed(time.monotonic_ns(), pid, not entered, self._reapers(pid), whole)
        return True

    @property
    def must_stay(self) -> bool:
        return self._tracer.filtered and bool(self._tracer.tree.processes)

    def leave(self, root: int, patterns: List[str]) -> None:
        self._tracer.tree.leave(root, patterns)

    def stop(self, root: int, enforced: Enforced) -> None:
        self._tracer.stops.set(root, enforced)
        if root in self._going and not self._tracer.stops.has(root):
            self._going.discard(root)
            self.forget_root(root)

    def _reapers(self, pid: int) -> Optional[Set[int]]:
        """The ancestors of a process that may take in its orphans; None if any may.

        No file has that. But this process is such an orphan of its starter's: none that is nearer than its parent takes
        any in.
        """
        starter, self._starter = self._starter, 0
        if pid != starter:
            return None
        reapers: Set[int] = set()
        above = os.getppid()
        while above and above not in reapers:
            reapers.add(above)
            status = statuses.status_of(above)
            above = 0 if status is None else status.ppid
        return reapers or None

    def withdraw(self, name: bytes) -> None:
        pass

    def claimed(self, root: int) -> Optional[Claimed]:
        return self._claimed.get(root)

    def holds(self, pid: int, root: int) -> bool:
        process = self._tracer.tree.processes.get(pid)
        return process is not None and process.slot(root) is not None

    def adopt(self, pid: int, root: int, top: int) -> bool:
        self._drain_once()  # it may have been forked since its parent was adopted
        try:
            process = self._tracer.seize(pid)
        except OSError:
            return False
        return self._tracer.tree.enter(process, Slot(root, 0, top, 0)) and self._await_forks(process)

    def _await_forks(self, process: Tracee) -> bool:
        """What is in a fork when it is seized has a child that is not traced, and not yet in /proc. Whether it is there
        by now: a large process takes long."""
        since, ends = time.monotonic_ns(), time.monotonic() + _FORKS_WITHIN
        while not self._tracer.has_not_forked(process, since):
            if time.monotonic() > ends:
                return False
            signal.sigtimedwait((signal.SIGCHLD,), _AWAITED)
            self._drain_once()
        return True

    def forget_root(self, root: int) -> None:
        """What is in no other tree is let go."""
        if self._tracer.stops.has(root):  # it may be about to execute something
            self._going.add(root)
            return
        self._tracer.tree.forget_root(root)
        self._claimed.pop(root, None)
        if not self._tracer.filtered:  # or it could execute nothing any more
            self._tracer.let_go_strays()

    def running(self, root: int, since: int) -> Optional[Running]:
        self._drain_once()
        tree = self._tracer.tree
        level = tree.levels.get(root, 0)
        listed = []
        for process in tree.below(root, untraced=True):
            slot = process.slot(root)
            if slot is None or slot.born < since:
                continue
            seen = process.pid
            if level:
                status = statuses.status_of(process.pid)
                seen = 0 if status is None or len(status.numbers) <= level else status.numbers[level]
            listed.append(
                Process(
                    *(seen, process.pid, slot.born, process.forked, process.image_pid, process.image_at),
                    own_exec=process.own_exec,
                    comm=process.comm,
                )
            )
        return Running(listed, root not in tree.has_left)

    def kernel_pid(self, pid: int) -> Optional[int]:
        return pid  # what the tracer's namespace has is what it goes by


# ---- whether it can be had ----


def _known() -> str:
    return " and ".join(machines.MACHINES)


def check() -> None:
    """Traces a process for a moment, for nothing else shows whether that is let through. Raises ProbeError."""
    try:
        is_ours = os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        is_ours = False
    if not is_ours:
        raise ProbeError(
            "no-proc",
            "/proc is not there, or is another PID namespace's, and who is traced is read of there",
            "mount one for this namespace: unshare --mount-proc, or mount -t proc proc /proc",
        )
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    try:
        calls.seize(child)
    except OSError as error:
        raise refusal("ptrace is refused here", error) from error
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, calls.ALL_CHILDREN)


def refusal(what: str, error: OSError) -> ProbeError:
    """With what may be in the way, as far as that shows, and how each is mended."""
    found = [cause for cause in (_yama(), _seccomp(), _apparmor()) if cause is not None]
    ways = "".join(", %s" % way for way, _ in found)
    remedy = "; ".join(mend for _, mend in found) or "allow ptrace(2) here, or run where BPF can be had"
    return ProbeError("no-ptrace", "%s (%s)%s" % (what, error.strerror, ways), remedy)


def _yama() -> Optional[Tuple[str, str]]:
    scope = _read("/proc/sys/kernel/yama/ptrace_scope")
    if scope not in ("2", "3"):
        return None
    mend = "sysctl kernel.yama.ptrace_scope=1" if scope == "2" else "reboot with kernel.yama.ptrace_scope at most 1"
    return "kernel.yama.ptrace_scope is %s" % scope, mend


def _seccomp() -> Optional[Tuple[str, str]]:
    if statuses.fields_of(os.getpid()).get(b"Seccomp") != b"2":
        return None
    return (
        "under a seccomp filter",
        "have the container's filter allow it, as the default ones do of Docker since 19.03, containerd since 1.7 and"
        " Podman since 4.1; before that docker run --cap-add SYS_PTRACE",
    )


def _apparmor() -> Optional[Tuple[str, str]]:
    profile = _read("/proc/self/attr/apparmor/current") or _read("/proc/self/attr/current")
    if not profile.endswith("(enforce)"):
        return None
    name = profile.rpartition(" ")[0]
    return (
        "under the AppArmor profile %s" % name,
        "have AppArmor's %s allow ptrace (trace, tracedby, read, readby) within itself, as containerd's does since 1.7"
        % name,
    )


def _read(path: str) -> str:
    try:
        return os.fsdecode(statuses.read_file(path.encode(), 4096)).strip("\0\n ")
    except OSError:
        return ""


def refused(pid: int, error: OSError) -> ProbeError:
    """Why a process can't be traced."""
    other = statuses.tracer_of(pid)
    if other:
        return ProbeError(
            "traced",
            "process %d is traced already, by process %d, and a process has one tracer" % (pid, other),
            "run it outside of strace or the debugger",
        )
    return refusal("process %d can't be traced" % pid, error)
