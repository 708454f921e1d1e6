"""The BPF program, loaded and attached through BCC, and its maps.

It needs privilege to be made and none to be used. Nothing here knows of clients.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import importlib.util
import os
import platform
import re
import struct
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from . import privilege, wire
from .btf import BtfError, kernel_offsets

#: How to see failed attempts. auto: where that costs only execs (kprobe); always: by tracepoint too, which slows every
#: system call of the machine a little.
ROUTES = ("auto", "always", "kprobe", "tracepoint", "off")

_PROCS_MAX = 32768
_ENTERING_MAX = 8192
_DROPPED_MAX = 4096
_MAP_TYPE_ARRAY = 2
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NEVER = 1 << 30
_LOOKS = 10  # at the map of processes, while it changes

_COUNTERS = struct.Struct("<9Q")  # struct counters
_PROC = struct.Struct("<QQIIII" + "QQII" * wire.SLOTS + "Q16s" + "I" * wire.SLOTS)  # struct proc
_PROC_SLOTS = slice(6, 6 + 4 * wire.SLOTS)  # of its fields
_ROOT = struct.Struct("<QQIII8II4x4x")  # struct root
_ANSWER = struct.Struct("<II")  # struct answer
_CLAIM = struct.Struct("<16s")
#: Programs, by the tracepoint that they are at, of which each has another behind it where it can be passed over.
_AGAIN = {"on_newtask": "task_newtask", "on_exec": "sched_process_exec", "on_exit": "sched_process_exit"}
_PREEMPTED = (6, 19)  # 6.18 runs tracing programs with preemption off, 7.3 does not
_MISSES_AT, _PROGRAM_INFO = 208, 256  # struct bpf_prog_info's recursion_misses, and bytes that it may have
_BPF_NOEXIST, _BPF_EXIST = 1, 2  # uapi/linux/bpf.h
_WANT_BELL, _WANT_CLAIMS, _WANT_NUMBER = 0, 1, 2  # enum want

_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # its inode, in every kernel


class ProbeError(Exception):
    """No probe can be had. ``code`` is for programs, the reason and the remedy are for people."""

    def __init__(self, code: str, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.remedy = remedy


class Settings(NamedTuple):
    route: str = "auto"
    pages: int = 512
    procs: int = _PROCS_MAX


class Counts(NamedTuple):
    """Sums over all CPUs of what the kernel side counted."""

    submitted: int
    dropped: int
    unlisted: int
    seen: int
    entered: int
    ended: int
    bell: int
    unread: int
    blind: int


def look_for_bcc() -> None:
    """Raises ProbeError where there is no bcc at all, and loads nothing."""
    if importlib.util.find_spec("bcc") is None:
        raise _no_bcc("No module named 'bcc'")


def import_bcc() -> Any:
    """The real bcc. PyPI has an unrelated package of this name, which is recognised."""
    try:
        bcc = importlib.import_module("bcc")
    except ImportError as error:
        raise _no_bcc(str(error)) from error
    if not hasattr(bcc, "BPF"):
        raise ProbeError(
            "wrong-bcc",
            "the bcc in %s is PyPI's unrelated package, not the BPF Compiler Collection"
            % os.path.dirname(getattr(bcc, "__file__", None) or "?"),
            "uninstall it there, and install the distro's BCC: python3-bpfcc or python3-bcc",
        )
    if not hasattr(bcc.BPF, "perf_buffer_consume"):
        raise ProbeError(
            "old-bcc",
            "BCC %s is too old" % getattr(bcc, "__version__", "?"),
            "use BCC 0.24 or later, as in Debian 12, Ubuntu 24.04 and Fedora",
        )
    return bcc


def _no_bcc(why: str) -> ProbeError:
    return ProbeError(
        "no-bcc",
        "this Python has no usable module bcc (%s)" % why,
        "install the distro's BCC: python3-bpfcc on Debian and Ubuntu, python3-bcc on Fedora and RHEL",
    )


def check_privilege(bcc: Any) -> None:
    """The least that BPF is needed for, so that a refusal is told from a failure."""
    fd = bcc.lib.bcc_create_map(_MAP_TYPE_ARRAY, b"execprobe", 4, 8, 1, 0)
    if fd >= 0:
        os.close(fd)
        return
    error = ctypes.get_errno()
    if error == errno.ENOSYS:
        raise ProbeError("no-bpf", "this kernel has no bpf(2)", "use a kernel built with CONFIG_BPF_SYSCALL=y")
    raise refused("a BPF map", os.strerror(error))


class Missed(NamedTuple):
    """How often the kernel has passed over the probe, as it does where it has put one of its programs aside."""

    forks: int
    execs: int
    exits: int


class Claimed(NamedTuple):
    """A process that has taken on a name that was claimed."""

    armed_at: int  # monotonic ns
    pid: int  # the kernel's number
    refused: bool
    reapers: Optional[Set[int]]  # its ancestors that take in orphans, as the kernel numbers them; None: any may


class Process(NamedTuple):
    """A process of a root's tree that has not ended."""

    seen: int  # its pid as the root sees it; 0: not known
    pid: int  # the kernel's number
    born: int  # when its branch left the root, monotonic ns; 0: before the root was watched
    forked: int  # when it was forked itself, likewise
    image_pid: int  # what it runs
    image_at: int  # 0: what was there before the root was watched
    own_exec: bool  # whether it has executed that itself, and does not only run what it was forked from
    comm: bytes  # of what it runs, as its exec has named it


class Probe:
    """The attached program.

    ``drain()`` moves what the perf buffer holds to ``take()``; the counters tell whether that is all.
    """

    def __init__(self, bcc: Any, bpf_dir: str, settings: Settings) -> None:
        self._bcc = bcc
        self._records: List[bytes] = []
        self._delivered = 0
        self._claims: Set[bytes] = set()
        self.attempts: Optional[str] = None
        self.attempts_refused: Optional[str] = None
        self.entry: List[str] = []
        self._looks: Dict[str, List[List[int]]] = {}  # by program: what was found at the last looks, the oldest first
        self._twice = False  # whether what one program is passed over for another one does
        self._pid_namespace = _pid_namespace()
        machine = platform.machine()
        check_privilege(bcc)
        try:
            offsets = kernel_offsets(machine)
        except BtfError as error:
            raise ProbeError(
                "no-btf", str(error), "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as distro kernels since 5.8 are"
            ) from error
        wrapper = settings.route != "tracepoint" and _has_kprobes() and self._syscalls_are_wrapped()
        self._bpf = self._compile(bpf_dir, offsets, settings, wrapper)
        self._attach(settings)
        self._open_buffers(settings.pages)
        self._wanted: Dict[int, bool] = {}

    # ---- loading ----

    def _compile(self, bpf_dir: str, offsets: Dict[str, int], settings: Settings, wrapper: bool) -> Any:
        major, minor = kernel_version()
        defines = dict(offsets)
        for name in ("OFF_REGS_ARG1", "OFF_REGS_ARG2", "OFF_REGS_ARG3"):
            defines.setdefault(name, 0)  # a machine whose registers are not known: no kprobes there
        defines.update(self._pid_namespace._asdict())
        defines.update(
            EXECPROBE_KERNEL_VERSION=(major << 16) + (minor << 8),
            PROCS_MAX=settings.procs,
            CPUS_MAX=_possible_cpus(),
            ENTERING_MAX=_ENTERING_MAX,
            DROPPED_MAX=_DROPPED_MAX,
            WATERMARK=settings.pages * _PAGE // 4,
        )
        flags = ["-D%s=%d" % item for item in sorted(defines.items())]
        if settings.route != "off":
            flags.append("-DATTEMPTS")
        if kernel_version() >= _PREEMPTED:
            flags.append("-DPREEMPTED")
        if wrapper:
            flags.append("-DSYSCALL_WRAPPER")
        os.environ["BCC_KERNEL_SOURCE"] = bpf_dir
        try:
            return self._bcc.BPF(src_file=os.path.join(bpf_dir, "execprobe.c"), cflags=flags)
        except Exception as error:
            raise ProbeError("no-compile", "BCC could not compile the probe: %s" % error, _REPORT) from error

    def _syscalls_are_wrapped(self) -> bool:
        prefixes = (b"__x64_sys_bpf", b"__arm64_sys_bpf")
        return any(self._bcc.BPF.ksymname(prefix) != -1 for prefix in prefixes)

    def _attach(self, settings: Settings) -> None:
        needed = [
            ("sched_process_exit", "on_exit"),
            ("sched_process_exec", "on_exec"),
            ("task_newtask", "on_newtask"),
            ("task_rename", "on_rename"),
        ]
        if not self._pid_namespace.is_first:
            needed.append(("sched_process_wait", "on_wait"))
        for tracepoint, function in needed:
            try:
                self._attach_raw(tracepoint, function)
            except Exception as error:
                raise refused("a probe at %s" % tracepoint, str(error)) from error
        try:
            self._attach_raw("sched_prepare_exec", "on_prepare")
            self.entry.append("sched_prepare_exec")
        except Exception:  # older kernels have none: one of the routes below must do
            self._attach_prepare()
        if kernel_version() >= _PREEMPTED:
            behind = [(function + "_again", tracepoint) for function, tracepoint in _AGAIN.items()]
            behind += [(function + "_bell", _AGAIN[function]) for function in ("on_exec", "on_exit")]
            for function, tracepoint in behind:
                # After the others, for they run in this order. BCC's own function takes one for each tracepoint.
                program = self._bpf.load_func(function.encode(), self._bcc.BPF.RAW_TRACEPOINT)
                if self._bcc.lib.bpf_attach_raw_tracepoint(program.fd, tracepoint.encode()) < 0:
                    raise refused("another probe at %s" % tracepoint, os.strerror(ctypes.get_errno()))
            self._twice = True
        routes: Tuple[str, ...]
        if settings.route in ("kprobe", "tracepoint"):
            routes = (settings.route,)
        elif settings.route == "always" or not self.entry:
            routes = ("kprobe", "tracepoint")
        else:
            routes = ("kprobe",) if settings.route == "auto" else ()
        refusals = []
        for route in routes:
            try:
                if route == "kprobe":
                    self._attach_kprobes()
                else:
                    self._attach_syscall_tracepoints()
            except Exception as error:
                refusals.append("%s: %s" % (route, error))
                continue
            self.entry.insert(0, route)
            if settings.route != "off":
                self.attempts = route
            else:
                self.attempts_refused = _why_not(settings.route, [])
            return
        self.attempts_refused = _why_not(settings.route, refusals)
        if settings.route in ("kprobe", "tracepoint") or not self.entry:
            raise ProbeError(
                "no-entry",
                "the kernel lets no probe see an execve begin (%s)" % "; ".join(refusals),
                "choose another --execprobe-attempts, or a kernel with kprobes or tracefs",
            )

    def _attach_raw(self, tracepoint: str, function: str) -> None:
        self._bpf.attach_raw_tracepoint(tp=tracepoint.encode(), fn_name=function.encode())

    def _attach_prepare(self) -> None:
        """Without it, which file a script was stays unknown."""
        with contextlib.suppress(Exception):  # a kernel without kprobes
            self._bpf.attach_kprobe(event=b"begin_new_exec", fn_name=b"kprobe_prepare")

    def _attach_kprobes(self) -> None:
        if not _has_kprobes():
            raise OSError("this kernel has no kprobes")
        for call in (b"execve", b"execveat"):
            event = self._bpf.get_syscall_fnname(call)
            # The end first: a beginning whose end is not seen would keep every synchronisation waiting.
            self._bpf.attach_kretprobe(event=event, fn_name=b"kprobe_leave")
            self._bpf.attach_kprobe(event=event, fn_name=b"kprobe_enter_" + call)
            compat = b"__ia32_compat_sys_" + call
            if self._bcc.BPF.ksymname(compat) != -1:
                self._bpf.attach_kretprobe(event=compat, fn_name=b"kprobe_leave")
                self._bpf.attach_kprobe(event=compat, fn_name=b"kprobe_enter_compat")

    def _attach_syscall_tracepoints(self) -> None:
        privilege.ensure_tracefs()
        for call in (b"execve", b"execveat"):
            self._bpf.attach_tracepoint(tp=b"syscalls:sys_exit_" + call, fn_name=b"tracepoint_leave")
            self._bpf.attach_tracepoint(tp=b"syscalls:sys_enter_" + call, fn_name=b"tracepoint_enter_" + call)

    def _open_buffers(self, pages: int) -> None:
        records, string_at = self._records, ctypes.string_at

        def on_event(_cpu: int, data: int, size: int) -> None:
            # BCC swallows exceptions here. A record that is not appended is missed by reconcile().
            records.append(string_at(data, size))

        def ignore(*_: Any) -> None:
            pass  # lost_cb hears of some losses, and late; the kernel side counts them all

        # Records wake nobody: the bell does, when it is time.
        try:
            self._bpf["events"].open_perf_buffer(on_event, page_cnt=pages, lost_cb=ignore, wakeup_events=_NEVER)
            self._bpf["bell"].open_perf_buffer(ignore, page_cnt=1, lost_cb=ignore, wakeup_events=1)
        except Exception as error:
            if os.geteuid() and _is_paranoid():
                raise refused("a perf buffer", str(error)) from error
            raise ProbeError(
                "no-buffer",
                "a perf buffer of %d pages per CPU could not be had (%s)" % (pages, error),
                "lower --execprobe-buffer-pages (a power of two), raise ulimit -l or"
                " /proc/sys/kernel/perf_event_mlock_kb, or add CAP_IPC_LOCK",
            ) from error

    # ---- what it is ----

    def describe(self) -> Dict[str, Any]:
        return {
            "bcc": str(getattr(self._bcc, "__version__", "?")),
            "kernel": platform.release(),
            "entry": self.entry,
            "attempts": self.attempts,
            "attempts_refused": self.attempts_refused,
        }

    # ---- reading ----

    def fds(self) -> List[int]:
        """Become readable when there is something to drain."""
        bell = id(self._bpf["bell"])
        readers = [reader for (table, _), reader in self._bpf.perf_buffers.items() if table == bell]
        return [self._bcc.lib.perf_reader_fd(reader) for reader in readers]

    def drain(self) -> None:
        self._bpf.perf_buffer_consume()

    def take(self) -> List[bytes]:
        """The records that were drained since the last call."""
        records = self._records[:]
        del self._records[: len(records)]
        self._delivered += len(records)
        return records

    def take_dropped(self) -> List[bytes]:
        """The heads of records that found no room."""
        queue, heads = self._bpf["dropped"], []
        while True:
            try:
                heads.append(bytes(queue.pop()))
            except KeyError:
                break
        return heads

    def counts(self) -> Counts:
        table = self._bpf["counts"]
        values = (ctypes.c_ubyte * (_COUNTERS.size * self._cpus))()
        if not _lookup(self._bcc, table, ctypes.c_int(0), values):
            raise OSError(ctypes.get_errno(), "the probe's counters can't be read")
        return Counts(*map(sum, zip(*_COUNTERS.iter_unpack(bytes(values)))))

    @property
    def _cpus(self) -> int:
        return int(self._bpf["counts"].total_cpu)

    def under_way(self, before: int, concerns: Callable[[bytes], bool]) -> int:
        """How many execs, at most, are neither done nor failed, of those entered up to ``before`` (ns) by processes
        whose ``struct proc`` concerns the caller. 0 is certain, and so is that there are some."""
        for _ in range(3):
            # What has ended is read first: an exec that ends in between then counts as under way, never the reverse.
            ended = self.counts().ended
            until = time.monotonic_ns()
            entered = self.counts().entered
            if entered == ended:
                return 0
            # Listed by task, for the list begins anew where what was read last has ended meanwhile.
            listed, waiting = set(), set()
            for task, entry in self._bpf["entering"].items():
                if entry.at <= until:  # a later one need not be counted, and must not stand for one that is not listed
                    listed.add(task.value)
                if entry.at <= before:
                    proc = self._proc(entry.tgid)
                    if proc is not None and concerns(proc):
                        waiting.add(task.value)
            # Counted, and in no list that was read: entered just now, or just ended, or the list had no room.
            unlisted = max(0, entered - ended - len(listed))
            if waiting:
                return len(waiting) + unlisted
            if not unlisted:
                return 0
        return unlisted

    def want_bell(self, wanted: bool) -> None:
        """Whether the end of every exec is to make :meth:`fds` readable."""
        self._want(_WANT_BELL, wanted)

    def _want(self, what: int, wanted: bool) -> None:
        if self._wanted.get(what, False) != wanted:
            self._bpf["wanted"][ctypes.c_int(what)] = ctypes.c_uint64(wanted)
            self._wanted[what] = wanted

    def reconcile(self) -> Optional[Counts]:
        """Drains until all that the kernel side had submitted is here; the counts it was reconciled with, or None if
        that can't be reached."""
        for _ in range(50):
            counts = self.counts()
            self.drain()
            here = self._delivered + len(self._records)
            if here >= counts.submitted and counts.submitted + counts.dropped >= counts.seen:
                return counts
        return None

    def missed(self) -> Missed:
        """What the kernel did not run the probe for since the last look, or not more than that."""
        return Missed(*map(self._missed_by, _AGAIN))

    def _missed_by(self, function: str) -> int:
        names = [function, function + "_again"] if self._twice else [function]
        found = [misses(self._bcc, self._bpf.funcs[name.encode()].fd) for name in names]
        if self._twice and None in found:
            raise OSError("the kernel does not tell what it passed the probe over for")
        now = [number or 0 for number in found]
        before = self._looks.setdefault(function, [now] * len(names))
        # What both were passed over for has grown both numbers: since the last look, or since the one before that if it
        # happened between the readings of the two.
        new = min(number - old for number, old in zip(now, before[0]))
        self._looks[function] = [*before[1:], now]
        return new

    # ---- roots and lineage ----

    def claim(self, name: bytes, root: int) -> bool:
        """Lets whoever takes this name become a root; False if there are too many such names."""
        self._claims.add(name)
        self._want(_WANT_CLAIMS, True)
        return _update(self._bcc, self._bpf["claims"], _CLAIM.pack(name), struct.pack("<Q", root))

    def withdraw(self, name: bytes) -> None:
        """Ends a claim, taken or not. A name that is taken at this very moment can still become a root."""
        self._claims.discard(name)
        _delete(self._bcc, self._bpf["claims"], _CLAIM.pack(name))
        self._want(_WANT_CLAIMS, bool(self._claims))

    def claimed(self, root: int) -> Optional[Claimed]:
        """Who has become this root, None before it took its name."""
        found = self._root_fields(root)
        if found is None:
            return None
        armed_at, _, tgid, refused, _, *reapers, all_reapers = found
        return Claimed(armed_at, tgid, bool(refused), set(reapers) - {0} if all_reapers else None)

    def _root_fields(self, root: int) -> Optional[Tuple[int, ...]]:
        raw = (ctypes.c_ubyte * _ROOT.size)()
        found = _lookup(self._bcc, self._bpf["roots"], ctypes.c_uint64(root), raw)
        return _ROOT.unpack(bytes(raw)) if found else None

    def running(self, root: int, since: int) -> Optional[List[Process]]:
        """The processes of a root's tree that have not ended, of the branches that left it from ``since`` (ns) on. None
        if there are some that can't be listed: they fork and end faster than that.

        An empty list is certain. A child can be put where the list has been read already, and its parent end before it
        is read: so what was forked meanwhile is counted.
        """
        for _ in range(_LOOKS):
            before, level = self._forks(root)
            processes = self._processes()
            if processes is None:
                continue
            found = [_in_tree(pid, value, root, level) for pid, value in processes.items()]
            living = [one for one in found if one and one.born >= since and not self._has_ended(one.pid)]
            if living or self._forks(root)[0] == before:
                return living
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
        table, lib = self._bpf["procs"], self._bcc.lib
        key = ctypes.c_uint32()
        left = lib.bpf_get_first_key(table.map_fd, ctypes.byref(key), ctypes.sizeof(key))
        twice = 0
        while left == 0:
            twice += key.value in found
            if twice > _PROCS_MAX:
                return None
            value = self._proc(key.value)
            if value is not None:
                found[key.value] = value
            left = lib.bpf_get_next_key(table.map_fd, ctypes.byref(key), ctypes.byref(key))
        return found

    def _has_ended(self, pid: int) -> bool:
        """Whether the kernel has passed over the probe when a process ended, as far as that can be told here."""
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
        """Whether a process, by the kernel's number, is in a root's tree."""
        proc = self._proc(pid)
        return proc is not None and root in roots_of(proc)

    def forget_root(self, root: int) -> None:
        _delete(self._bcc, self._bpf["roots"], struct.pack("<Q", root))

    def kernel_pid(self, pid: int) -> Optional[int]:
        """The kernel's own number of a process that has this number here; 0 if there is none, None if that can't be
        told."""
        if self._pid_namespace.is_first:
            return pid
        answers, zero = self._bpf["answers"], struct.pack("<I", 0)
        _update(self._bcc, answers, zero, _ANSWER.pack(0, 0))
        self._want(_WANT_NUMBER, True)
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:
            pass  # it is no child, of course
        finally:
            self._want(_WANT_NUMBER, False)
        raw = (ctypes.c_ubyte * _ANSWER.size)()
        if not _lookup(self._bcc, answers, ctypes.c_uint32(0), raw):
            return None
        given, number = _ANSWER.unpack(bytes(raw))
        return number if given else None

    def adopt(self, pid: int, root: int, top: int) -> bool:
        """Puts a process that was there before into a root's tree, in the branch of ``top``; False if it can't be.
        The numbers are the kernel's."""
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
            # Not over what the kernel side has just put there, nor for what has just ended.
            flags = _BPF_NOEXIST if proc is None else _BPF_EXIST
            if _update(self._bcc, self._bpf["procs"], struct.pack("<I", pid), _PROC.pack(*fields), flags):
                return True
        return False

    def _proc(self, pid: int) -> Optional[bytes]:
        raw = (ctypes.c_ubyte * _PROC.size)()
        return bytes(raw) if _lookup(self._bcc, self._bpf["procs"], ctypes.c_uint32(pid), raw) else None


def _in_tree(pid: int, proc: bytes, root: int, level: int) -> Optional[Process]:
    """What a ``struct proc`` says of a process below a root, None if it is none."""
    fields = _PROC.unpack(proc)
    image_at, _, image_pid, _, own_exec, _, *slots = fields[: _PROC_SLOTS.stop]
    forked, comm, *seen = fields[_PROC_SLOTS.stop :]
    for at in range(wire.SLOTS):
        its_root, born, top, _ = slots[4 * at : 4 * at + 4]
        if its_root == root and top != 0:
            name = comm.partition(b"\0")[0]
            return Process(
                seen[at] or (0 if level else pid), pid, born, forked, image_pid, image_at, bool(own_exec), name
            )
    return None


class _PidNamespace(NamedTuple):
    """That of this process, as bpf/execprobe.c is told of it."""

    HELPER_NS_DEV: int
    HELPER_NS_INO: int
    HELPER_PID: int

    @property
    def is_first(self) -> bool:
        """Whether numbers of processes are the kernel's own here."""
        return self.HELPER_NS_INO == _FIRST_PID_NAMESPACE


def _pid_namespace() -> _PidNamespace:
    try:
        found = os.stat("/proc/self/ns/pid")
    except OSError:
        if os.path.exists("/proc/self"):  # a kernel without PID namespaces
            return _PidNamespace(0, _FIRST_PID_NAMESPACE, os.getpid())
        return _PidNamespace(0, 0, os.getpid())  # here is another namespace's /proc: nothing in it is to be believed
    device = os.major(found.st_dev) << 20 | os.minor(found.st_dev)  # as the kernel has it
    return _PidNamespace(device, found.st_ino, os.getpid())


def roots_of(proc: bytes) -> List[int]:
    """The ids of the roots in a ``struct proc``."""
    return [root for root in _PROC.unpack(proc)[_PROC_SLOTS][::4] if root]


def _why_not(route: str, refusals: List[str]) -> str:
    """Why failed attempts are not recorded, and what to change."""
    if route == "off":
        return "failed attempts are left out, by --execprobe-attempts=off"
    if route == "auto":
        return (
            "failed attempts are not recorded, because without kprobes that slows every system call of the machine a"
            " little. Ask for them with --execprobe-attempts=tracepoint"
        )
    return "failed attempts can't be recorded here (%s)" % "; ".join(refusals)


def kernel_version() -> Tuple[int, int]:
    major, minor = platform.release().split("-")[0].split(".")[:2]
    return int(major), int(minor)


def _has_kprobes() -> bool:
    return os.path.exists("/sys/bus/event_source/devices/kprobe/type")


def refused(what: str, why: str) -> ProbeError:
    if not os.geteuid():
        remedy = "in a container, allow bpf(2) (docker run --privileged); kernel lockdown allows no probe"
    elif _is_paranoid():
        remedy = (
            "run as root, or with CAP_SYS_ADMIN: kernel.perf_event_paranoid is above 2, where that alone opens perf"
            " events; at 2, CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH are enough"
        )
    else:
        remedy = "run as root, or with CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH"
    return ProbeError("no-privilege", "the kernel refused %s: %s" % (what, why), remedy)


def _is_paranoid() -> bool:
    """Debian and Ubuntu have a level of perf_event_paranoid that the kernel's own documentation does not know."""
    try:
        with open("/proc/sys/kernel/perf_event_paranoid") as file:
            return int(file.read()) > 2
    except (OSError, ValueError):
        return False


# bcc's own tables convert by the types that it derived from the C source. These go by bytes, at a tenth of the time.


def misses(bcc: Any, program: int) -> Optional[int]:
    """How often the kernel has passed over a program because one was running on the CPU already; None where it does not
    tell. It counts that for raw tracepoints since 5.12."""
    info = ctypes.create_string_buffer(_PROGRAM_INFO)
    size = ctypes.c_uint32(_PROGRAM_INFO)
    result = bcc.lib.bpf_obj_get_info(program, info, ctypes.byref(size))
    if result != 0 or size.value < _MISSES_AT + 8:
        return None
    return int(struct.unpack_from("=Q", info, _MISSES_AT)[0])


def _possible_cpus() -> int:
    with open("/sys/devices/system/cpu/possible") as file:
        return int(re.split("[-,]", file.read())[-1]) + 1


def _lookup(bcc: Any, table: Any, key: Any, value: Any) -> bool:
    return bool(bcc.lib.bpf_lookup_elem(table.map_fd, ctypes.byref(key), ctypes.byref(value)) == 0)


def _update(bcc: Any, table: Any, key: bytes, value: bytes, flags: int = 0) -> bool:
    return bool(bcc.lib.bpf_update_elem(table.map_fd, key, value, flags) == 0)


def _delete(bcc: Any, table: Any, key: bytes) -> None:
    bcc.lib.bpf_delete_elem(table.map_fd, key)


_REPORT = "please report this with the kernel's version and BCC's"
