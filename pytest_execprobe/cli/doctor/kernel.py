"""The kernel: whether it is Linux, new enough, and has what the probe attaches to."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator

from ...source.launch import HELPER
from .bcc import BccSearch
from .diagnosis import Diagnosis, bad, note, ok
from .machine import BPF, SYS_ADMIN, Machine

_OLDEST = (5, 8)
_TESTED = ("x86_64",)
_NEWER = "boot Linux 5.8 or later, as Debian 12, Ubuntu 24.04, Fedora and RHEL 9 have it"

#: The probe can't do without these.
_TRACEPOINTS = ("task_newtask", "task_rename", "sched_process_exec", "sched_process_exit")
_SYMBOLS = "/proc/kallsyms"


def kernel(machine: Machine) -> Iterator[Diagnosis]:
    numbers = re.match(r"(\d+)\.(\d+)", machine.release)
    if numbers is None:
        yield note("kernel", f"Linux {machine.release}: whether that is 5.8 or later, as is needed, is not known")
    elif tuple(map(int, numbers.groups())) < _OLDEST:
        yield bad("kernel", f"Linux {machine.release} is too old: 5.8 or later is needed", _NEWER)
    else:
        yield ok("kernel", f"Linux {machine.release} (5.8 or later is needed)")
    if machine.architecture in _TESTED:
        yield ok("architecture", f"{machine.architecture}, which is tested")
    else:
        yield note("architecture", f"{machine.architecture} is not tested ({', '.join(_TESTED)} is): see the last line")


def bpf(machine: Machine) -> Iterator[Diagnosis]:
    """bpf(2), and what may stand before it."""
    answer = machine.run([sys.executable, "-I", "-B", str(HELPER / "check.py"), "bpf"])
    error = re.search(r'"error": "(\w+)"', answer.out)
    said = error[1] if error else None
    filtered = machine.standing("Seccomp") == "2"
    may = bool(machine.capabilities("CapEff") & (BPF | SYS_ADMIN))
    refused = said == "EPERM" and may
    if answer.status == -signal.SIGSYS or (filtered and (said == "ENOSYS" or refused)):
        how = "ends whoever calls" if answer.status == -signal.SIGSYS else "refuses"
        yield bad(
            "bpf",
            f"a seccomp filter on this process {how} bpf(2), and every process that it starts has the same filter",
            "start it without the filter: outside of the sandbox; in a container by docker run --security-opt"
            " seccomp=unconfined, or --privileged; in a systemd unit without SystemCallFilter=",
        )
    elif said == "ENOSYS":
        yield bad("bpf", "this kernel has no bpf(2)", "boot a kernel built with CONFIG_BPF_SYSCALL=y, as distros' are")
    elif refused:
        yield bad(
            "bpf",
            "bpf(2) is refused, although this process has the capability for it",
            "see 'user namespace' and 'lockdown' below; else it is a security module: sudo dmesg | grep -i denied",
        )
    else:
        disabled = machine.read("proc/sys/kernel/unprivileged_bpf_disabled")
        yield ok(
            "bpf",
            "the kernel has bpf(2), for those with privilege"
            + (
                ""
                if disabled is None
                else f" (unprivileged_bpf_disabled is {disabled}; the probe needs it at any value)"
            ),
        )
    if filtered:
        yield note("seccomp", "a seccomp filter is on this process, as in many containers: the proof below shows")
    else:
        yield ok("seccomp", "no filter of system calls is on this process")


def btf(machine: Machine, search: BccSearch) -> Iterator[Diagnosis]:
    path = "/sys/kernel/btf/vmlinux"
    read = search.libbpf
    if not machine.exists(path):
        yield bad(
            "btf",
            f"{path} is not there: without the kernel's BTF the members of its structs can't be found",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as distros' since 5.8 are; in a container or chroot,"
            " mount sysfs: mount -t sysfs sysfs /sys",
        )
    elif read is None:
        yield ok("btf", f"{path} is there; only BCC's Python shows whether libbpf can read it")
    elif isinstance(read, str):
        yield bad(
            "btf",
            f"{path} is there, but: {read}",
            machine.install("libbpf1", "libbpf", "install your distribution's libbpf, 0.5 or later")
            if "libbpf" in read
            else "boot a kernel of your distribution; if this is one, report it with the line above",
        )
    else:
        yield ok("btf", f"{path} is there, and libbpf found {read} offsets in it")


class AttachPoints:
    """Which attach points the kernel has, as far as its symbols show."""

    def __init__(self, machine: Machine) -> None:
        self._symbols = machine.read(_SYMBOLS) or ""
        #: None: nothing is known of tracepoints.
        self.missing = [name for name in _TRACEPOINTS if not self._has_tracepoint(name)] if self._symbols else None
        self.kprobes = machine.exists("sys/bus/event_source/devices/kprobe/type")
        self.prepare = self._has_tracepoint("sched_prepare_exec")
        self.calls = self._has("perf_syscall_enter") or self._has("syscall_enter_register")
        mounts = (line.split() for line in (machine.read("proc/self/mounts") or "").splitlines())
        #: Where tracefs is mounted.
        self.tracefs = [words[1] for words in mounts if len(words) > 2 and words[2] == "tracefs"]
        self.has_tracefs = bool(self.tracefs) or "tracefs" in (machine.read("proc/filesystems") or "").split()

    @property
    def needs_tracefs(self) -> bool:
        """Whether without it no exec could be recorded, rather than no failed one."""
        return self.missing is not None and not self.prepare and not self.kprobes

    def _has_tracepoint(self, name: str) -> bool:
        return self._has("__traceiter_" + name) or self._has("__tracepoint_" + name)  # the one since 5.10

    def _has(self, symbol: str) -> bool:
        return re.search(rf" {symbol}$", self._symbols, re.MULTILINE) is not None


def attach_points(points: AttachPoints, can_mount: bool | None) -> Iterator[Diagnosis]:
    """``can_mount``: whether the helper will have the privilege to mount tracefs, None if that is not known."""
    if points.missing is None:
        yield note("tracepoints", f"{_SYMBOLS} can't be read, so which there are is not known: the proof below shows")
    elif points.missing:
        yield bad(
            "tracepoints", f"the kernel has no {' and no '.join(points.missing)}", f"{_NEWER}, with CONFIG_TRACEPOINTS"
        )
    else:
        yield ok("tracepoints", f"{', '.join(_TRACEPOINTS)} are there")
    if points.missing is not None:
        yield from _entry(points)
    yield from _attempts(points)
    yield from _tracefs(points, can_mount)


def _entry(points: AttachPoints) -> Iterator[Diagnosis]:
    """How an exec is seen to begin."""
    ways = [
        *(["kprobes"] if points.kprobes else []),
        *(["sched_prepare_exec"] if points.prepare else []),
        *(["system-call tracepoints"] if points.calls and points.has_tracefs else []),
    ]
    if not ways:
        yield bad(
            "entry",
            "nothing in this kernel shows when an execve begins",
            "boot a kernel with kprobes (CONFIG_KPROBES=y), or Linux 6.10 or later, which has sched_prepare_exec",
        )
    elif ways == ["system-call tracepoints"]:
        yield note(
            "entry",
            "when an execve begins is seen by system-call tracepoints alone: while tests run, every system call of the"
            " machine takes some 50 ns longer",
            "boot a kernel with kprobes (CONFIG_KPROBES=y), or Linux 6.10 or later, if that matters",
        )
    else:
        yield ok("entry", f"when an execve begins is seen by {' or '.join(ways)}")


def _attempts(points: AttachPoints) -> Iterator[Diagnosis]:
    """How failed attempts are seen."""
    if points.kprobes:
        yield ok("attempts", "failed attempts are seen by kprobes, which cost nothing but at an execve")
    elif points.has_tracefs:
        yield note(
            "attempts",
            "the kernel has no kprobes: failed attempts are recorded only where a test reads them, by system-call"
            " tracepoints, which make every system call of the machine a little slower meanwhile",
        )
    else:
        yield note("attempts", "the kernel has neither kprobes nor tracefs: failed attempts can't be recorded")


def _tracefs(points: AttachPoints, can_mount: bool | None) -> Iterator[Diagnosis]:
    use = (
        "needed to see an execve begin"
        if points.needs_tracefs
        else "needed only for failed attempts by tracepoint, and by top --probe tracepoint"
    )
    if points.tracefs:
        yield ok("tracefs", f"mounted at {points.tracefs[0]} ({use})")
    elif not points.has_tracefs:
        yield note(
            "tracefs", f"the kernel has none ({use})", "boot a kernel built with CONFIG_FTRACE=y, if you need it"
        )
    elif can_mount is False:
        report = bad if points.needs_tracefs else note
        yield report(
            "tracefs",
            f"not mounted, and without CAP_SYS_ADMIN the helper can't mount it for itself ({use})",
            "as root: mount -t tracefs tracefs /sys/kernel/tracing",
        )
    else:
        yield ok("tracefs", f"not mounted; the helper mounts it for itself alone, where it needs it ({use})")
