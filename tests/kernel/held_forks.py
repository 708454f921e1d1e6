"""Forks that take as long as the test wants, as those of a large process do.

A process whose memory is watched by userfaultfd(2) does not get on with a fork until who watches has read of it. As a
program this is one: it begins a fork when a line comes, and its child executes true at the next.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import platform
import struct
import time
from collections.abc import Iterator
from pathlib import Path

_USERFAULTFD = {"x86_64": 323, "aarch64": 282}
_API, _REGISTER = 0xC018AA3F, 0xC020AA00  # uapi/linux/userfaultfd.h, as all of these
_VERSION, _EVENT_FORK, _MODE_MISSING = 0xAA, 1 << 1, 1


def watch_forks() -> int:
    """A descriptor by which this process's forks can be watched. Raises OSError where the kernel does not let it: it
    takes CAP_SYS_PTRACE, and no container's filter against it."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.syscall(_USERFAULTFD[platform.machine()], os.O_CLOEXEC)
    if watch < 0:
        raise OSError(ctypes.get_errno(), "userfaultfd")
    try:
        fcntl.ioctl(watch, _API, bytearray(struct.pack("QQQ", _VERSION, _EVENT_FORK, 0)))
    except OSError:
        os.close(watch)
        raise
    return int(watch)


@contextlib.contextmanager
def held_forks(longer: float) -> Iterator[None]:
    """The first fork of this process is held until it is traced, and for ``longer``, in seconds. Raises OSError."""
    watch = watch_forks()
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as watched:
        watcher = os.fork()
        if watcher == 0:
            _let_on(watch, longer)
        at = ctypes.addressof(ctypes.c_char.from_buffer(watched))
        fcntl.ioctl(watch, _REGISTER, bytearray(struct.pack("QQQQ", at, len(watched), _MODE_MISSING, 0)))
        os.close(watch)  # the other process has it, and by its end none is watched any more
        try:
            yield
        finally:
            os.waitpid(watcher, 0)


def _let_on(watch: int, longer: float) -> None:
    """A process of its own: who forks by ``os.fork()`` runs no other thread of Python meanwhile."""
    try:
        status, ends = Path(f"/proc/{os.getppid()}/status"), time.monotonic() + 30
        while "TracerPid:\t0\n" in status.read_text() and time.monotonic() < ends:
            time.sleep(0.001)
        time.sleep(longer)
        os.read(watch, 32)
    finally:
        os._exit(0)


if __name__ == "__main__":
    with held_forks(0.1):
        print(flush=True)
        os.read(0, 1)
        if (child := os.fork()) == 0:
            os.read(0, 1)
            os.execv("/bin/true", ["true"])
        os.waitpid(child, 0)
