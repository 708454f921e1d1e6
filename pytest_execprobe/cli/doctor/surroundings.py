"""What is around this process: containers, namespaces, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...helper.bpf.probe import BpfSettings
from ...helper.privilege import hides_processes
from .diagnosis import Diagnosis, bad, note, ok
from .machine import IPC_LOCK, Machine

# The kernel's numbers of the namespaces that it begins with (include/uapi/linux/nsfs.h).
_FIRST_USER, _FIRST_PID, _FIRST_TIME = "user:[4026531837]", "pid:[4026531836]", "time:[4026531834]"
_EVERYONE = ["0", "0", "4294967295"]

_WAKEUP_PAGES = 1
_HEADER_PAGES = 1  # of each buffer
_CLIENTS = 256  # a descriptor and a pidfd for each
_OTHER_FILES = 48  # maps, programs, links: 31, and some more with kprobes or system-call tracepoints


def container(machine: Machine) -> Iterator[Diagnosis]:
    signs = [name for name, there in _signs(machine) if there]
    if not signs:
        yield ok("container", "no sign of one")
        return
    yield note(
        "container",
        f"this looks like one ({', '.join(signs)}): it can probe if it was started with the privilege to, and sees no"
        " process that a daemon outside starts for it",
    )


def _signs(machine: Machine) -> Iterator[tuple[str, bool]]:
    kind = machine.environ.get("container", "")
    yield "Docker's /.dockerenv", machine.exists(".dockerenv")
    yield "Podman's /run/.containerenv", machine.exists("run/.containerenv")
    yield f"$container is {kind}", bool(kind)
    yield "Kubernetes' $KUBERNETES_SERVICE_HOST", bool(machine.environ.get("KUBERNETES_SERVICE_HOST"))
    group = re.search(r"\b(docker|libpod|kubepods|lxc|containerd|garden)\b", machine.read("proc/1/cgroup") or "")
    yield f"init's control group is of {group[1] if group else ''}", group is not None
    first = re.search(r"\bcontainer=(\w+)", (machine.read("proc/1/environ") or "").replace("\0", " "))
    yield f"init's $container is {first[1] if first else ''}", first is not None


def namespaces(machine: Machine) -> Iterator[Diagnosis]:
    yield from _user_namespace(machine)
    yield from _pid_namespace(machine)
    yield from _time_namespace(machine)


def _user_namespace(machine: Machine) -> Iterator[Diagnosis]:
    users = machine.read("proc/self/uid_map")
    if machine.link("proc/self/ns/user") in (None, _FIRST_USER) and (users is None or users.split() == _EVERYONE):
        yield ok("user-namespace", "the machine's own")
    else:
        yield bad(
            "user-namespace",
            "one of its own, as in a rootless container: no process in it, root's included, may use BPF",
            "run it outside: not under unshare --user or bwrap; with rootful instead of rootless podman or docker"
            " (sudo podman run --privileged IMAGE)",
        )


def _pid_namespace(machine: Machine) -> Iterator[Diagnosis]:
    # In older kernels the numbers of namespaces are what they are; NSpid has one column more for each level above.
    if machine.link("proc/self/ns/pid") in (None, _FIRST_PID):
        yield ok("pid-namespace", "the machine's own")
    else:
        yield ok("pid-namespace", "one of its own, as in a container: records have the numbers that are seen in here")


def _time_namespace(machine: Machine) -> Iterator[Diagnosis]:
    offsets = machine.fields("proc/self/timens_offsets", " ")
    shift = [int(word) for word in offsets.get("monotonic", "").split() if word.lstrip("-").isdigit()]
    if any(shift) and machine.link("proc/self/ns/time") != _FIRST_TIME:
        seconds = shift[0] + (shift[1] if len(shift) > 1 else 0) / 1e9
        yield bad(
            "time-namespace",
            f"one of its own, whose CLOCK_MONOTONIC is shifted by {seconds:g} s against the kernel's: the time of an"
            " exec would not show which test it belongs to",
            "run it outside of the time namespace: without unshare --time, or the container's offset",
        )
    else:
        yield ok("time-namespace", "CLOCK_MONOTONIC is the kernel's")


# ---- other processes ----


def processes(machine: Machine, can_mount: bool | None) -> Iterator[Diagnosis]:
    """``can_mount``: whether the helper may mount, None if that is not known."""
    if not hides_processes(machine.read("proc/self/mounts") or ""):
        yield ok("processes", "/proc shows those of all users")
        return
    hidden = "/proc hides those of other users (hidepid)"
    if can_mount:
        yield ok("processes", f"{hidden}; the helper mounts a /proc for itself alone that shows them")
        return
    why = "and the helper may not mount one that shows them" if can_mount is False else "as far as is known"
    yield note(
        "processes",
        f"{hidden}, {why}: what pytest has started before the probe is armed can't be found, and logs of runs that had"
        " started something are incomplete",
        machine.as_root("mount -o remount,hidepid=0 /proc") + "\nor start the helper with CAP_SYS_ADMIN, as by sudo",
    )


# ---- limits ----


def limits(machine: Machine, capabilities: int | None) -> Iterator[Diagnosis]:
    """``capabilities``: those that the helper starts with, None if that is not known."""
    yield _buffers(machine, capabilities)
    yield _files(machine)
    most = machine.number("proc/sys/kernel/pid_max")
    if most is not None:
        yield ok(
            "pids", f"numbers up to {most} (pid_max); the probe watches up to {BpfSettings().procs} processes at a time"
        )


def _buffers(machine: Machine, capabilities: int | None) -> Diagnosis:
    """The perf buffers are locked memory, of which everyone may have so much and the privileged what they like."""
    pages = BpfSettings().pages
    kib = machine.page // 1024
    needed = machine.cpus * (pages + _WAKEUP_PAGES + 2 * _HEADER_PAGES) * kib
    each = "one CPU" if machine.cpus == 1 else f"each of {machine.cpus} CPUs"
    text = f"{pages} pages for {each}, {needed / 1024:.1f} MiB"
    if capabilities is not None and capabilities & IPC_LOCK:
        return ok("buffers", f"{text}: no limit, for the helper starts with CAP_IPC_LOCK")
    if machine.locked_memory is None or capabilities is None:
        return ok("buffers", f"{text} of locked memory")
    paranoid = machine.number("proc/sys/kernel/perf_event_paranoid")
    free = machine.cpus * (machine.number("proc/sys/kernel/perf_event_mlock_kb") or 0)
    limit = free + machine.locked_memory // 1024
    if needed <= limit or paranoid == -1:
        return ok("buffers", f"{text}; {limit / 1024:.1f} MiB may be locked (ulimit -l and perf_event_mlock_kb)")
    fits = pages
    while fits > 1 and machine.cpus * (fits + _WAKEUP_PAGES + 2 * _HEADER_PAGES) * kib > limit:
        fits //= 2
    return bad(
        "buffers",
        f"{text}, but only {limit / 1024:.1f} MiB may be locked (ulimit -l and perf_event_mlock_kb)",
        f"pytest --execprobe-buffer-pages={fits}    (a smaller buffer loses records sooner)\n"
        + machine.as_root(
            f"sysctl kernel.perf_event_mlock_kb={-(-(needed - machine.locked_memory // 1024) // machine.cpus)}"
        ),
    )


def _files(machine: Machine) -> Diagnosis:
    least = 2 * machine.cpus + _OTHER_FILES
    most = least + 2 * _CLIENTS
    limit = machine.open_files
    if limit is None or limit >= most:
        return ok("files", f"the helper may open {'any number' if limit is None else limit} (ulimit -n)")
    if limit >= least:
        served = (limit - least) // 2
        found = f"the helper may open {limit} files (ulimit -n), enough for {served} processes at a time that use it"
        return note("files", found, f"ulimit -n {most}    (if it is more)")
    return bad("files", f"the helper may open {limit} files (ulimit -n), and needs {least}", f"ulimit -n {most}")
