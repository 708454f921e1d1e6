"""The programs of bpf/execprobe.c: which of them this kernel needs, and where they are attached."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import importlib.util
import os
import re
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from .. import privilege
from ..apart import Apart
from ..errors import REPORT, ProbeError
from . import build, library
from .btf import BtfError, kernel_offsets
from .kept import Kept, default_folder, key
from .load import Loaded, LoadError, possible_cpus
from .unit import KPROBE, RAW_TRACEPOINT, TRACEPOINT

#: How to see failed attempts. auto: where that costs only execs (kprobe); always: by tracepoint too, which slows every
#: system call of the machine a little.
ROUTES = ("auto", "always", "kprobe", "tracepoint", "off")

#: Programs, by the tracepoint that they are at, of which each has a fallback behind it where the kernel may skip it.
FALLBACKS = {"on_newtask": "task_newtask", "on_exec": "sched_process_exec", "on_exit": "sched_process_exit"}

_PREEMPTED = (6, 19)  # 6.18 runs tracing programs with preemption off, 7.3 does not
_WRAPPERS = {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_"}  # of system calls, since Linux 4.17 and 4.19
_COMPAT = "__ia32_compat_sys_"

_RAW = ("on_exit", "on_exec", "on_exec_paths", "on_newtask", "on_rename", "on_prepare", "on_wait")
_BEHIND = ("on_newtask_fallback", "on_exec_fallback", "on_exit_fallback", "on_exec_wakeup", "on_exit_wakeup")
_CALLED = ("on_exec_paths", "on_exec_stop")  # enum tail_call of bpf/execprobe.c
_ASIDE = 5  # nice(2) of what is loaded while others run: a quarter of a CPU that is busy with them
#: Parts of the source, each compiled by itself and only where it is needed, and their programs.
_UNITS = {
    "TRACE": [(name, RAW_TRACEPOINT) for name in _RAW + _BEHIND],
    "STOP": [("on_exec_stop", RAW_TRACEPOINT)],
    "KPROBES": [
        (name, KPROBE)
        for name in (
            "kprobe_leave", "kprobe_enter_execve", "kprobe_enter_execveat", "kprobe_enter_compat", "kprobe_prepare",
        )
    ],
    "SYSCALLS": [
        (name, TRACEPOINT) for name in ("tracepoint_leave", "tracepoint_enter_execve", "tracepoint_enter_execveat")
    ],
}  # fmt: skip


class Wanted(NamedTuple):
    route: str
    pages: int  # of a perf buffer
    entries: Dict[str, int]  # of maps, by name
    own_numbers: bool  # whether processes have other numbers here than the kernel's
    keeps: bool  # what was compiled, for the next time


class Attached:
    """``loaded`` are the maps and programs; ``entry`` what sees an execve begin, ``attempts`` what sees one fail;
    ``stops`` loads what stops programs, and has to be through before anything is to be stopped."""

    def __init__(self, lib: ctypes.CDLL, folder: str, wanted: Wanted) -> None:
        self.loaded = Loaded(lib)
        self.entry: List[str] = []
        self.attempts: Optional[str] = None
        self.attempts_refused: Optional[str] = None
        #: Whether a program that the kernel skips has a fallback.
        self.twice = kernel_version() >= _PREEMPTED
        self._folder = folder
        self._wanted = wanted
        self._kept = Kept(default_folder() if wanted.keeps else None)
        check_privilege(lib)
        self._load("TRACE")
        self._let_call("on_exec_paths")
        self.stops = self._load_stops()
        self._attach_trace()
        self._attach_routes()
        self.stops.let_go()

    # ---- loading ----

    def _load_stops(self) -> Apart:
        """What stops programs, in a process of its own: few want it, it takes as long as all else, and when it is known
        whether one does this process has no privilege any more. What has to be compiled is kept for the next start even
        where this one is over sooner."""

        def work() -> bytes:
            os.nice(_ASIDE)
            self._load("STOP")
            self._let_call("on_exec_stop")
            return b""

        died = ProbeError("no-stops", "the process ended that was to load what stops programs", REPORT)
        return Apart(work, died, [table.fd for table in self.loaded.tables.values()])

    def _let_call(self, function: str) -> None:
        self.loaded.let_call("tail_calls", _CALLED.index(function), function)

    def _load(self, unit: str) -> None:
        name, entries = self._key(unit), self._wanted.entries
        known = self._kept.get(name) if name else None
        if known is not None:
            with contextlib.suppress(LoadError):  # whatever is wrong with it, it is compiled again
                self.loaded.load(known, entries)
                return
        source = os.path.join(self._folder, "execprobe.c")
        for twice in (False, True):  # those are other programs, which that kernel's verifier may take
            made = build.build(
                source, lambda: {**self._defines(unit), **_kernels_defines(unit)}, _UNITS[unit], twice=twice
            )
            try:
                self.loaded.load(made, entries)
                break
            except LoadError as error:
                if twice or error.forbids:
                    raise refused("the probe", str(error)) from error
        if name and name == self._key(unit):  # nothing was exchanged while it was compiled
            self._kept.put(name, made)

    def _key(self, unit: str) -> Optional[str]:
        """All that a unit is made from. None where that can't be told."""
        try:
            folders = os.walk(self._folder, followlinks=True)
            sources = [os.path.join(place, name) for place, _, names in folders for name in names]
            here = os.path.dirname(os.path.abspath(__file__))
            makers = [os.path.join(here, name) for name in ("attach.py", "build.py", "unit.py", "btf.py")]
            files = [(os.path.relpath(file, self._folder), file) for file in sorted(sources)]
            files += [(os.path.basename(file), file) for file in (*makers, "/sys/kernel/notes", *_bcc_files())]
            parts = [repr((os.uname()[2:], sorted(self._defines(unit).items()))).encode()]
            for name, file in files:
                with open(file, "rb") as opened:
                    parts += [name.encode(), opened.read()]
        except OSError:
            return None
        return key(parts)

    def _defines(self, unit: str) -> Dict[str, int]:
        major, minor = kernel_version()
        defines = {
            unit: 1,
            "EXECPROBE_KERNEL_VERSION": (major << 16) + (minor << 8),
            "CPUS_MAX": possible_cpus(),
            "WATERMARK": self._wanted.pages * os.sysconf("SC_PAGE_SIZE") // 4,
        }
        chosen = {
            "ATTEMPTS": self._wanted.route != "off",
            "PREEMPTED": self.twice,
            "PID_NAMESPACE": self._wanted.own_numbers,
            "SYSCALL_WRAPPER": os.uname().machine in _WRAPPERS,
        }
        defines.update({name: 1 for name, is_so in chosen.items() if is_so})
        return defines

    # ---- attaching ----

    def _attach_trace(self) -> None:
        needed = [
            ("sched_process_exit", "on_exit"),
            ("sched_process_exec", "on_exec"),
            ("task_newtask", "on_newtask"),
            ("task_rename", "on_rename"),
        ]
        if self._wanted.own_numbers:
            needed.append(("sched_process_wait", "on_wait"))
        if self.twice:  # after the others, for they run in this order
            needed += [(tracepoint, function + "_fallback") for function, tracepoint in FALLBACKS.items()]
            needed += [(FALLBACKS[function], function + "_wakeup") for function in ("on_exec", "on_exit")]
        for tracepoint, function in needed:
            try:
                self.loaded.attach_raw(tracepoint, function)
            except OSError as error:
                raise refused("a probe at %s" % tracepoint, str(error.strerror)) from error
        with contextlib.suppress(OSError):  # older kernels have none: one of the routes must do
            self.loaded.attach_raw("sched_prepare_exec", "on_prepare")
            self.entry.append("sched_prepare_exec")

    def _attach_routes(self) -> None:
        route = self._wanted.route
        if not self.entry:
            with contextlib.suppress(OSError, ProbeError):  # without it, which file a script was stays unknown
                self._load_kprobes()
                self.loaded.attach_kprobe("begin_new_exec", "kprobe_prepare")
        routes: Tuple[str, ...]
        if route in ("kprobe", "tracepoint"):
            routes = (route,)
        elif route == "always" or not self.entry:
            routes = ("kprobe", "tracepoint")
        else:
            routes = ("kprobe",) if route == "auto" else ()
        refusals = []
        for chosen in routes:
            try:
                if chosen == "kprobe":
                    self._attach_kprobes()
                else:
                    self._attach_syscalls()
            except (OSError, ProbeError, privilege.PrivilegeError) as error:
                refusals.append("%s: %s" % (chosen, error))
                continue
            self.entry.insert(0, chosen)
            if route != "off":
                self.attempts = chosen
            else:
                self.attempts_refused = _why_not(route, [])
            return
        self.attempts_refused = _why_not(route, refusals)
        if route in ("kprobe", "tracepoint") or not self.entry:
            raise ProbeError(
                "no-entry",
                "the kernel lets no probe see an execve begin (%s)" % "; ".join(refusals),
                "choose another --execprobe-attempts, or a kernel with kprobes or tracefs",
            )

    def _load_kprobes(self) -> None:
        if not os.path.exists("/sys/bus/event_source/devices/kprobe/type"):
            raise OSError("this kernel has no kprobes")
        if "kprobe_leave" not in self.loaded.programs:
            self._load("KPROBES")

    def _attach_kprobes(self) -> None:
        self._load_kprobes()
        prefixes = [_WRAPPERS.get(os.uname().machine, "sys_")]
        prefixes += [_COMPAT] if "kprobe_enter_compat" in self.loaded.programs else []
        for prefix in prefixes:
            for call in ("execve", "execveat"):
                # The end first: a beginning whose end is not seen would keep every synchronisation waiting.
                self.loaded.attach_kprobe(prefix + call, "kprobe_leave", on_return=True)
                self.loaded.attach_kprobe(prefix + call, "kprobe_enter_" + ("compat" if prefix == _COMPAT else call))

    def _attach_syscalls(self) -> None:
        self._load("SYSCALLS")
        privilege.ensure_tracefs()
        for call in ("execve", "execveat"):
            self.loaded.attach_tracepoint("syscalls", "sys_exit_" + call, "tracepoint_leave")
            self.loaded.attach_tracepoint("syscalls", "sys_enter_" + call, "tracepoint_enter_" + call)


def _kernels_defines(unit: str) -> Dict[str, int]:
    """What takes a look at the kernel's types and symbols."""
    try:
        defines = kernel_offsets(os.uname().machine)
    except BtfError as error:
        raise ProbeError(
            "no-btf", str(error), "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as distro kernels since 5.8 are"
        ) from error
    for name in ("OFF_REGS_ARG1", "OFF_REGS_ARG2", "OFF_REGS_ARG3"):
        defines.setdefault(name, 0)  # a machine whose registers are not known: no kprobes there
    if unit == "KPROBES":
        with open("/proc/kallsyms", "rb") as file:
            if b" %sexecve\n" % _COMPAT.encode() in file.read():
                defines["COMPAT"] = 1
    return defines


def bcc_version() -> str:
    """As BCC has it in a file of its own. Raises ProbeError where there is no BCC."""
    build.look_for_bcc()
    with contextlib.suppress(OSError):
        with open(_bcc_files()[1]) as file:
            found = re.search(r"__version__ *= *['\"]([^'\"]+)", file.read())
        return found[1] if found else "?"
    return "?"


@functools.lru_cache(maxsize=None)
def _bcc_files() -> Sequence[str]:
    spec = importlib.util.find_spec("bcc")
    if spec is None or not spec.origin:
        raise FileNotFoundError("bcc")
    return spec.origin, os.path.join(os.path.dirname(spec.origin), "version.py")


def check_privilege(lib: ctypes.CDLL) -> None:
    """Whether the kernel lets this process use BPF at all, so that a refusal is told from a failure."""
    error = library.refusal(lib)
    if error is None:
        return
    if error.errno == errno.ENOSYS:
        raise ProbeError("no-bpf", "this kernel has no bpf(2)", "use a kernel built with CONFIG_BPF_SYSCALL=y")
    raise refused("a BPF map", str(error.strerror))


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
    major, minor = os.uname().release.split("-")[0].split(".")[:2]
    return int(major), int(minor)


def refused(what: str, why: str) -> ProbeError:
    if not os.geteuid():
        remedy = (
            "in a container, allow bpf(2) (docker run --privileged, or --cap-add BPF --cap-add PERFMON); kernel"
            " lockdown allows no probe"
        )
    elif is_paranoid():
        remedy = (
            "run as root, or with CAP_SYS_ADMIN: kernel.perf_event_paranoid is above 2, where that alone opens perf"
            " events; at 2, CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH are enough"
        )
    else:
        remedy = "run as root, or with CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH"
    return ProbeError("no-privilege", "the kernel refused %s: %s" % (what, why), remedy)


def is_paranoid() -> bool:
    """Debian and Ubuntu have a level of perf_event_paranoid that the kernel's own documentation does not know."""
    try:
        with open("/proc/sys/kernel/perf_event_paranoid") as file:
            return int(file.read()) > 2
    except (OSError, ValueError):
        return False
