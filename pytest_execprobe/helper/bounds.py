"""Bounds on what a user can have of a machine by helpers that sudo allows: their options, and how many.

They hold whatever sudo's rule says.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import struct
import time
from typing import Callable, NamedTuple, Optional

from .errors import ProbeError

#: Of a helper that was started through sudo.
PAGES, PROCS = 2048, 32768


class Kind(NamedTuple):
    """What a user can have of a kind of process, at a time."""

    name: str
    most: int
    first: int  # byte of the locks


HELPER = Kind("probe helpers", 16, 0)
COUNTER = Kind("processes of execprobe top", 4, 1 << 40)
#: So many of the helpers have real-time priority, so that other processes are left most of a large machine.
REAL_TIME = 4

_WRITING = 1.0  # seconds for a user to read

_LOCKS = "/run/execprobe-helpers.lock"
_LOCK = struct.Struct("hhqqi0q")  # struct flock: type, whence, start, length, pid


def number(least: int, most: int) -> Callable[[str], int]:
    """Reads an option that is a whole number."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            from argparse import ArgumentTypeError  # a start has no need of it

            raise ArgumentTypeError("%r is no whole number from %d to %d" % (text, least, most))
        return int(text)

    return read


def sudo_user() -> Optional[int]:
    """The user that has had this process started through sudo; None if there is none, or if it is root."""
    # Of its starter's environment a helper gets next to nothing, so this is the word of the sudo that started it.
    uid = os.environ.get("SUDO_UID", "0")
    return int(uid) if os.geteuid() == 0 and uid.isdigit() and int(uid) else None


def check(uid: int, pages: int, procs: int) -> None:
    """Raises ProbeError where the options of a user's helper ask for too much."""
    for option, asked, most in (("--pages", pages, PAGES), ("--procs", procs, PROCS)):
        if asked > most:
            raise ProbeError(
                "too-much",
                "%s=%d is more than the %d that user %d can have through sudo" % (option, asked, most, uid),
                "lower --execprobe-buffer-pages, run pytest as root, or have root run a service (docs/serve.md)",
            )


def take_place(uid: int, kind: Kind = HELPER) -> int:
    """Which of the user's processes of this kind this one is, from 0 on, for as long as it or a child of it lives.
    Raises ProbeError.

    A place is a lock on a byte of a file that root alone can open, so that no other process can hold one; the kernel
    gives it back, however the process ends. Nothing is written.
    """
    try:
        fd = os.open(_LOCKS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        status = os.fstat(fd)
    except OSError as error:
        raise _no_locks(error.strerror or str(error)) from error
    if status.st_uid != 0 or not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
        raise _no_locks("other users can open it")
    for place in range(kind.most):
        byte = kind.first + uid * kind.most + place
        try:
            # A lock of what is open, that children share. It stays when privilege goes, and the descriptor is never
            # closed.
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
            return place
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise _no_locks(error.strerror or str(error)) from error
    os.close(fd)
    raise ProbeError(
        "busy",
        "user %d runs %d %s already, and can have no more through sudo" % (uid, kind.most, kind.name),
        "wait until some have ended, or have root run a service for all (docs/serve.md)",
    )


def write_for(fd: int, words: bytes) -> None:
    """Writes what a user is to read, as far as it is read in time: no user keeps a process of root's waiting."""
    ends = time.monotonic() + _WRITING
    with contextlib.suppress(OSError):
        while words and select.select([], [fd], [], max(0.0, ends - time.monotonic()))[1]:
            words = words[os.write(fd, words[: select.PIPE_BUF]) :]


def _no_locks(why: str) -> ProbeError:
    return ProbeError(
        "no-locks",
        "helpers that are started through sudo are counted by locks on %s, and it can't be used: %s" % (_LOCKS, why),
        "mend or remove it; it takes a /run that root alone can write to",
    )
