"""What the helper's privilege is used for besides BPF itself, and how it is given up."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
from typing import Tuple

_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_BPF = 39
_NOBODY = 65534

_libc = ctypes.CDLL(None, use_errno=True)


class PrivilegeError(Exception):
    """A privileged step was refused."""


def _call(what: str, result: int) -> None:
    if result != 0:
        raise PrivilegeError("%s: %s" % (what, os.strerror(ctypes.get_errno())))


def _enter_mount_namespace(purpose: str) -> None:
    _call("a mount namespace for " + purpose, _libc.unshare(_CLONE_NEWNS))
    _call("a private mount namespace", _libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None))


def ensure_tracefs() -> None:
    """Makes tracefs visible to this process, and to no other.

    The numbers of system-call tracepoints stand in it. It is looked at in a mount namespace of the helper's own, which
    ends with the helper: where tracefs is not mounted it is mounted there, and where it is, even a look at it through
    debugfs would mount it once more for everyone. Raises PrivilegeError.
    """
    try:
        _enter_mount_namespace("tracefs")
    except PrivilegeError:
        if _tracefs_is_there():
            return
        raise
    if not _tracefs_is_there():
        _call("mounting tracefs", _libc.mount(b"tracefs", b"/sys/kernel/tracing", b"tracefs", 0, None))


def ensure_visible_processes() -> None:
    """Makes processes of all users visible to this process, also as the user that it is going to be, and to no other.

    Where /proc is mounted with ``hidepid``, root alone sees those of others. What a client has started before is looked
    for when this process is root no more, so it mounts a /proc of its own, as it does with tracefs: since Linux 5.8
    each mount has options of its own. Where it can't, ``adoption.Search.hidden`` says so.
    """
    try:
        with open("/proc/self/mounts", errors="replace") as file:
            if not hides_processes(file.read()):
                return
    except OSError:
        return
    with contextlib.suppress(PrivilegeError):
        _enter_mount_namespace("/proc")
        _call("mounting /proc", _libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV_NOEXEC, b"hidepid=0"))


def hides_processes(mounts: str) -> bool:
    """Whether /proc hides other users' processes, by the text of /proc/self/mounts."""
    hides = False
    for line in mounts.splitlines():
        fields = line.split()
        if fields[1:2] == ["/proc"]:  # what was mounted last is on top
            options = dict(option.partition("=")[::2] for option in fields[3].split(","))
            hides = options.get("hidepid", "off") not in ("0", "off")
    return hides


def _tracefs_is_there() -> bool:
    return os.path.isdir("/sys/kernel/tracing/events") or os.path.isdir("/sys/kernel/debug/tracing/events")


def take_precedence(priority: int = 1) -> bool:
    """Lets this process run whenever it has something to do; False if that was refused.

    A storm of execs on all CPUs otherwise keeps it from running for seconds, while the buffers fill and overflow (see
    docs/kernel-notes.md). It sleeps nearly all of the time, and what it forks does not inherit this. The kernel leaves
    others a twentieth of each CPU in any case (sched_rt_runtime_us).
    """
    with contextlib.suppress(OSError, ValueError):
        # So that the user that this process becomes can have it again, and no more. Takes CAP_SYS_RESOURCE.
        resource.setrlimit(resource.RLIMIT_RTPRIO, (priority, priority))
    return _set_policy(os.SCHED_RR, priority) or (priority > 1 and take_precedence())


def leave_precedence(for_good: bool) -> None:
    """This process becomes one like others. ``for_good``: its user can't undo that, from another process either."""
    if for_good:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    _set_policy(os.SCHED_OTHER, 0)


def _set_policy(policy: int, priority: int) -> bool:
    try:
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError:
        return False
    return True


def route() -> str:
    """In words, how this process has come by its privilege."""
    if os.geteuid() != 0:
        return "started with capabilities"
    return "started through sudo" if "SUDO_UID" in os.environ else "started as root"


def caller() -> "Tuple[int, int]":
    """The uid and gid of the user that asks: of sudo's caller, if this was started through it."""
    if os.geteuid() != 0:
        return os.getuid(), os.getgid()
    # sudo's own words, since of its caller's environment it lets none of these through.
    return int(os.environ.get("SUDO_UID", "0")), int(os.environ.get("SUDO_GID", "0"))


def give_up(uid: int, gid: int, kernel: "tuple[int, int]") -> str:
    """Becomes an ordinary user for good, and returns in words what is left.

    The user is the one that asked, or ``nobody`` where that was root. The buffers and maps are open by then, and since
    5.19 the kernel checks capabilities only when one is made; before that CAP_BPF must stay to use them.
    Raises PrivilegeError.
    """
    keep = kernel < (5, 19)
    _shut_off()
    if os.geteuid() == 0:
        if uid == 0:
            uid = gid = _NOBODY
        if keep:
            _call("PR_SET_KEEPCAPS", _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _set_capabilities(1 << _CAP_BPF if keep else 0)
    _shut_off()  # to become another user may have undone it
    return "uid %d, %s" % (os.geteuid(), "CAP_BPF alone" if keep else "no capabilities")


def become_nobody(source: str) -> None:
    """And keep all capabilities, where the kernel allows that. For root BCC reads all of /proc/kallsyms, in a quarter
    of the time that it takes to compile, to find out what is so in every kernel since 5.5. No change where this user
    can't read the ``source``: FUSE may show a file to none but the user that has mounted it, whatever capabilities
    others have."""
    if os.geteuid() == 0 and _libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0:
        try:
            os.seteuid(_NOBODY)  # some user namespaces have no such user
            open(source).close()
        except OSError:
            os.seteuid(0)


def keep_no_capability() -> None:
    """For a process that stays the user that it is. Raises PrivilegeError."""
    _shut_off()
    _set_capabilities(0)


def _shut_off() -> None:
    """No program that this process executes has more privilege, and no other attaches a debugger to it."""
    _call("PR_SET_NO_NEW_PRIVS", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _call("PR_SET_DUMPABLE", _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def _set_capabilities(mask: int) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    _call("capset", _libc.capset(header, data))
