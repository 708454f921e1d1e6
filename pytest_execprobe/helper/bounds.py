"""What a user can have of a machine by helpers that sudo lets him start: he chooses their options, and how many.

A rule of sudo's that is written with care bounds the options, too. These bounds hold whatever the rule says.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import stat
from typing import Callable, Optional

from .probe import ProbeError

#: Of a helper that was started through sudo.
PAGES, PROCS = 2048, 32768
#: Of one user's, at a time.
HELPERS = 16
#: So many of those have real-time priority, so that other processes are left most of a large machine.
REAL_TIME = 4

_LOCKS = "/run/execprobe-helpers.lock"


def number(least: int, most: int) -> Callable[[str], int]:
    """Reads an option that is a whole number."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError("%r is no whole number from %d to %d" % (text, least, most))
        return int(text)

    return read


def sudo_user() -> Optional[int]:
    """Who has had this process started through sudo; None if nobody has, or root itself."""
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


def take_place(uid: int) -> int:
    """Which of the user's helpers this one is, from 0 on, for as long as this process lives. Raises ProbeError.

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
    for place in range(HELPERS):
        try:
            # A lock of the process, not of the descriptor: it stays when privilege goes. That must stay open.
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, uid * HELPERS + place)
            return place
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise _no_locks(error.strerror or str(error)) from error
    os.close(fd)
    raise ProbeError(
        "busy",
        "user %d runs %d probe helpers already, and can have no more through sudo" % (uid, HELPERS),
        "wait until some have ended, or have root run a service for all (docs/serve.md)",
    )


def _no_locks(why: str) -> ProbeError:
    return ProbeError(
        "no-locks",
        "helpers that are started through sudo are counted by locks on %s, and it can't be used: %s" % (_LOCKS, why),
        "mend or remove it; it takes a /run that root alone can write to",
    )
