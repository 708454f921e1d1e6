"""The probe that is made of BPF programs: their records, their counters and their maps, read."""

from __future__ import annotations

import itertools
import os
import select
import struct
import time
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from .. import wire
from ..apart import Apart
from ..errors import ProbeError
from ..probe import Claimed, Counts, Enforced, Missed, Page, Process, Running
from ..process import FIRST_PID_NAMESPACE
from . import library
from .attach import FALLBACKS, Attached, Wanted, bcc_version, is_paranoid, refused
from .load import cpus, possible_cpus
from .ring import Ring
from .stops import Stops, stops_refused

_PROCS_MAX = 32768
_NEVER = 1 << 30
_LOOKS = 10  # at the map of processes, while it changes

# Of bpf/abi.h.
_PROC = struct.Struct("<QQIIII" + "QQII" * wire.SLOTS + "QQ16s" + "I" * wire.SLOTS)  # struct proc
_PROC_SLOTS = slice(6, 6 + 4 * wire.SLOTS)  # of its fields
_PROC_ADOPTED = _PROC_SLOTS.stop + 1
_ROOT = struct.Struct("<QQIII8II4x4x")  # struct root
_PID_ANSWER = struct.Struct("<II")  # struct pid_answer
_CLAIM = struct.Struct("<16s")  # struct claim
_HELPER = struct.Struct("<QQI4x")  # struct helper_process
_ENTERED = struct.Struct("<Q16xI")  # of struct exec_in_flight, when it was entered and by whom
_PID = struct.Struct("<I")
_ZERO = struct.pack("<I", 0)
_BPF_NOEXIST, _BPF_EXIST = 1, 2  # uapi/linux/bpf.h
_WANT_WAKEUP, _WANT_CLAIMS, _WANT_PID, _WANT_STOPS = 0, 1, 2, 3  # enum want


class BpfSettings(NamedTuple):
    route: str = "auto"
    pages: int = 512
    procs: int = _PROCS_MAX
    keeps: bool = True


class BpfProbe:
    """The :class:`.Probe` that the helper has."""

    def __init__(self, bpf_dir: str, settings: BpfSettings) -> None:
        self._version = bcc_version()
        self._lib = library.open_library()
        self._pieces: List[wire.Piece] = []
        self._drained = 0  # records
        self._claims: Set[bytes] = set()
        self._looks: Dict[str, List[List[int]]] = {}  # by program: what was found at the last looks, the oldest first
        self._pid_namespace = _pid_namespace()
        own_numbers = not self._pid_namespace.is_first
        wanted = Wanted(settings.route, settings.pages, {"procs": settings.procs}, own_numbers, settings.keeps)
        self._attached = Attached(self._lib, bpf_dir, wanted)
        self._tables = self._attached.loaded.tables
        self._tables["helper_process"].set(_ZERO, _HELPER.pack(*self._pid_namespace))
        self._open_buffers(settings.pages)
        self._counters = self._tables["counts"].map_memory()  # of all CPUs, as the kernel side has them now
        self._wanted: Dict[int, bool] = {}
        self._loading: Optional[Apart] = self._attached.stops
        self._no_stops: Optional[ProbeError] = None
        self._stops = Stops(
            self._tables["denied"], self._tables["enforcers"], lambda wanted: self._want(_WANT_STOPS, wanted)
        )

    def _open_buffers(self, pages: int) -> None:
        # Records do not wake this process: a program of their own does, when it is time.
        try:
            self._rings = self._open_rings("events", pages, _NEVER)
            self._wakeups = self._open_rings("wakeups", 1, 1)
        except OSError as error:
            if os.geteuid() and is_paranoid():
                raise refused("a perf buffer", str(error.strerror)) from error
            raise ProbeError(
                "no-buffer",
                "a perf buffer of %d pages per CPU could not be had (%s)" % (pages, error.strerror),
                "lower --execprobe-buffer-pages (a power of two), raise ulimit -l or"
                " /proc/sys/kernel/perf_event_mlock_kb, or add CAP_IPC_LOCK",
            ) from error

    def _open_rings(self, table: str, pages: int, wakeup_events: int) -> List[Ring]:
        rings = []
        for cpu in cpus("online"):
            ring = Ring(library.open_perf_buffer(self._lib, cpu, pages, wakeup_events), pages)
            if not self._tables[table].set(struct.pack("=I", cpu), struct.pack("=I", ring.fd)):
                raise library.last_error()
            rings.append(ring)
        return rings

    # ---- what it is ----

    def describe(self) -> Dict[str, Any]:
        return {
            "bcc": self._version,
            "kernel": os.uname().release,
            "entry": self._attached.entry,
            "attempts": self._attached.attempts,
            "attempts_refused": self._attached.attempts_refused,
            "stops_refused": stops_refused(self._attached.twice),
        }

    @property
    def page(self) -> Optional[Page]:
        return None if self._attached.twice else Page(self._tables["counts"].fd, possible_cpus())

    # ---- reading ----

    def fds(self) -> List[int]:
        return [wakeup.fd for wakeup in self._wakeups]

    def drain(self) -> None:
        for ring in self._rings:
            pieces = list(wire.pieces(ring.take()))
            self._pieces += pieces
            self._drained += sum(piece.number for piece in pieces)
        for wakeup in self._wakeups:
            wakeup.take()

    def take(self) -> List[wire.Piece]:
        taken, self._pieces = self._pieces, []
        return taken

    def take_dropped(self) -> List[bytes]:
        queue = self._tables["dropped"]
        # No more than can be there now: processes that add to it faster than it is read would have no one else served.
        dropped = itertools.islice(iter(queue.pop, None), queue.max_entries)
        return [head for both in dropped for _, head in wire.unnested(both)]

    def counts(self) -> Counts:
        # Read twice, for a copy need not be made in order: what is counted last is not to be older than the rest.
        first, then = (Counts(*map(sum, zip(*wire.COUNTERS.iter_unpack(self._counters[:])))) for _ in range(2))
        return first._replace(seen=then.seen, entered=then.entered, blind=then.blind)

    def in_flight(self, before: int, root: int) -> int:
        for _ in range(3):
            # What has ended is read first: an exec that ends in between then counts as in flight, never the reverse.
            ended = self.counts().ended
            until = time.monotonic_ns()
            entered = self.counts().entered
            if entered == ended:
                return 0
            # Listed by task, for the list begins anew where what was read last has ended meanwhile.
            listed, waiting = set(), set()
            for task in self._tables["execs_in_flight"]:
                found = self._tables["execs_in_flight"].get(task)
                if found is None:
                    continue
                at, tgid = _ENTERED.unpack_from(found)
                if at <= until:  # a later one need not be counted, and must not stand for one that is not listed
                    listed.add(task)
                if at <= before and self.holds(tgid, root):
                    waiting.add(task)
            # Counted, and in no list that was read: entered just now, or just ended, or the list had no room.
            unlisted = max(0, entered - ended - len(listed))
            if waiting:
                return len(waiting) + unlisted
            if not unlisted:
                return 0
        return unlisted

    @property
    def must_stay(self) -> bool:
        return False

    def interrupt_for(self, fd: int) -> None:
        pass

    def want_wakeup(self, wanted: bool) -> None:
        self._want(_WANT_WAKEUP, wanted)

    def _want(self, what: int, wanted: bool) -> None:
        if self._wanted.get(what, False) != wanted:
            self._tables["wanted"].set(struct.pack("=I", what), struct.pack("=Q", wanted))
            self._wanted[what] = wanted

    def reconcile(self) -> Optional[Counts]:
        for _ in range(50):
            counts = self.counts()
            self.drain()
            if self._drained >= counts.submitted and counts.submitted + counts.dropped >= counts.seen:
                return counts
        return None

    def missed(self) -> Missed:
        return Missed(*map(self._missed_by, FALLBACKS))

    def _missed_by(self, function: str) -> int:
        names = [function, function + "_fallback"] if self._attached.twice else [function]
        found = [library.misses(self._lib, self._attached.loaded.programs[name]) for name in names]
        if self._attached.twice and None in found:
            raise OSError("the kernel does not say what it skipped the probe for")
        now = [number or 0 for number in found]
        before = self._looks.setdefault(function, [now] * len(names))
        # What both were skipped for has grown both numbers: since the last look, or since the one before that if it
        # happened between the readings of the two.
        new = min(number - old for number, old in zip(now, before[0]))
        self._looks[function] = [*before[1:], now]
        return new

    # ---- roots and lineage ----

    def claim(self, name: bytes, root: int, pid: int) -> bool:  # noqa: ARG002  (its name shows which it is)
        self._claims.add(name)
        self._want(_WANT_CLAIMS, True)
        return self._tables["claims"].set(_CLAIM.pack(name), struct.pack("<Q", root))

    def leave(self, root: int, patterns: List[str]) -> None:
        pass  # what it watches notices nothing

    def stop(self, root: int, enforced: Enforced) -> None:
        if enforced.denials:
            self._settle_stops()
        self._stops.set(root, enforced)

    def _settle_stops(self) -> None:
        """Waits until what stops programs is there, as it is but for the first moments of this process. Raises
        ProbeError."""
        loading, self._loading = self._loading, None
        if loading is not None:
            ready = select.poll()
            for fd in (loading.fd, *self.fds()):
                ready.register(fd, select.POLLIN)
            while loading.fd not in [fd for fd, _ in ready.poll()]:
                self.drain()
            try:
                loading.result()
            except ProbeError as error:
                self._no_stops = error
        if self._no_stops is not None:
            raise self._no_stops

    def withdraw(self, name: bytes) -> None:
        self._claims.discard(name)
        self._tables["claims"].delete(_CLAIM.pack(name))
        self._want(_WANT_CLAIMS, bool(self._claims))

    def claimed(self, root: int) -> Optional[Claimed]:
        found = self._root_fields(root)
        if found is None:
            return None
        armed_at, _, tgid, refused, _, *reapers, all_reapers = found
        return Claimed(armed_at, tgid, bool(refused), set(reapers) - {0} if all_reapers else None)

    def _root_fields(self, root: int) -> Optional[Tuple[int, ...]]:
        found = self._tables["roots"].get(struct.pack("<Q", root))
        return None if found is None else _ROOT.unpack(found)

    def running(self, root: int, since: int) -> Optional[Running]:
        # A child can be put where the list has been read already, and its parent end before it is read: so forks are
        # counted.
        for _ in range(_LOOKS):
            before, level = self._forks(root)
            processes = self._processes()
            if processes is None:
                continue
            found = [_in_tree(pid, value, root, level) for pid, value in processes.items()]
            living = [one for one in found if one and one.born >= since and not self._has_ended(one.pid)]
            are_all = self._forks(root)[0] == before
            if living or are_all:
                return Running(living, are_all)
        return None

    def _forks(self, root: int) -> Tuple[int, int]:
        """How many there were in a root's tree, and how many PID namespaces that is below the first."""
        found = self._root_fields(root)
        if found is None:
            raise OSError("the root %d has gone" % root)
        return found[1], found[4]

    def _processes(self) -> Optional[Dict[int, bytes]]:
        """The map of processes. Where the one that was read last has ended the kernel begins anew: None if it has done
        that too often."""
        found: Dict[int, bytes] = {}
        twice = 0
        for key in self._tables["procs"]:
            (pid,) = _PID.unpack(key)
            twice += pid in found
            if twice > _PROCS_MAX:
                return None
            value = self._proc(pid)
            if value is not None:
                found[pid] = value
        return found

    def _has_ended(self, pid: int) -> bool:
        """Whether the kernel has skipped the probe when a process ended, as far as that is known here."""
        if not self._pid_namespace.is_first:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is another user's
        return False

    def holds(self, pid: int, root: int) -> bool:
        proc = self._proc(pid)
        return proc is not None and root in roots_of(proc)

    def forget_root(self, root: int) -> None:
        self._tables["roots"].delete(struct.pack("<Q", root))

    def kernel_pid(self, pid: int) -> Optional[int]:
        if self._pid_namespace.is_first:
            return pid
        answers = self._tables["pid_answer"]
        answers.set(_ZERO, _PID_ANSWER.pack(0, 0))
        self._want(_WANT_PID, True)
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:
            pass  # it is no child, of course
        finally:
            self._want(_WANT_PID, False)
        answer = answers.get(_ZERO)
        if answer is None:
            return None
        given, number = _PID_ANSWER.unpack(answer)
        return number if given else None

    def adopt(self, pid: int, root: int, top: int) -> bool:
        for _ in range(2):
            proc = self._proc(pid)
            fields = list(_PROC.unpack(bytes(_PROC.size) if proc is None else proc))
            slots = range(_PROC_SLOTS.start, _PROC_SLOTS.stop, 4)
            if any(fields[at] == root for at in slots):
                return True  # it has been forked since the root is watched: twice in the tree, it would count twice
            # A root that has gone leaves its slot to the next.
            free = [at for at in slots if fields[at] == 0 or self.claimed(fields[at]) is None]
            if not free:
                return False
            fields[free[0] : free[0] + 4] = [root, 0, top, 0]
            fields[_PROC_ADOPTED] = time.monotonic_ns()
            # Not over what the kernel side has just put there, nor for what has just ended.
            flags = _BPF_NOEXIST if proc is None else _BPF_EXIST
            if self._tables["procs"].set(_PID.pack(pid), _PROC.pack(*fields), flags):
                return True
        return False

    def _proc(self, pid: int) -> Optional[bytes]:
        return self._tables["procs"].get(_PID.pack(pid))


def _in_tree(pid: int, proc: bytes, root: int, level: int) -> Optional[Process]:
    """What a ``struct proc`` says of a process below a root, None if it is none."""
    fields = _PROC.unpack(proc)
    image_at, _, image_pid, _, own_exec, _, *slots = fields[: _PROC_SLOTS.stop]
    forked, _, comm, *seen = fields[_PROC_SLOTS.stop :]
    for at in range(wire.SLOTS):
        its_root, born, top, _ = slots[4 * at : 4 * at + 4]
        if its_root == root and top != 0:
            name = comm.partition(b"\0")[0]
            return Process(
                seen[at] or (0 if level else pid), pid, born, forked, image_pid, image_at, bool(own_exec), name
            )
    return None


class _PidNamespace(NamedTuple):
    """That of this process: struct helper_process of bpf/abi.h."""

    device: int
    inode: int
    pid: int

    @property
    def is_first(self) -> bool:
        """Whether numbers of processes are the kernel's own here."""
        return self.inode == FIRST_PID_NAMESPACE


def _pid_namespace() -> _PidNamespace:
    try:
        found = os.stat("/proc/self/ns/pid")
    except OSError:
        if os.path.exists("/proc/self"):  # a kernel without PID namespaces
            return _PidNamespace(0, FIRST_PID_NAMESPACE, os.getpid())
        return _PidNamespace(0, 0, os.getpid())  # here is another namespace's /proc: nothing in it is to be believed
    device = os.major(found.st_dev) << 20 | os.minor(found.st_dev)  # as the kernel has it
    return _PidNamespace(device, found.st_ino, os.getpid())


def roots_of(proc: bytes) -> List[int]:
    """The ids of the roots in a ``struct proc``."""
    return [root for root in _PROC.unpack(proc)[_PROC_SLOTS][::4] if root]
