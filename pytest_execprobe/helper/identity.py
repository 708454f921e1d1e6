"""Whether a number is still the process that it was: numbers come back, and the next process may be another user's."""

from __future__ import annotations

import os
import select
import time
from typing import Callable, Optional

from . import proc
from .adoption import Found, PassingError

_REUSED = 0.001  # seconds in which no number of a process comes back, and the new one has run something and ended


def has_ended(pidfd: int) -> bool:
    poll = select.poll()  # unlike select() it knows high numbers
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def is_connected(pid: int, pidfd: int, is_certain: bool, uid: int) -> bool:
    """Whether the process that has this number to the kernel is the one that has connected, and lives.

    ``is_certain``: its pidfd is that of the process, and not of its number. Where it is not (before Linux 6.5), it must
    at least be a process of the same user; root may watch any.
    """
    if pid == 0:
        return False
    belongs = is_certain or uid == 0 or _owner(pidfd) == uid
    return belongs and not has_ended(pidfd)


def _owner(pidfd: int) -> Optional[int]:
    """Who runs it. None where that is unknown."""
    try:
        number = proc.number_of(pidfd)
        return None if number is None else proc.real_user(number)
    except OSError:
        return None


def enter(put: Callable[[int, int, int], bool], found: Found, root: int, top: int, uid: int) -> bool:
    """Has a process watched for a user if it is that user's, or the user is root. False if it can't be, True if that is
    done or it has ended.

    It is entered by its number, which must not have become another user's process meanwhile. Raises PassingError.
    """
    try:
        pidfd = os.pidfd_open(found.here)
    except ProcessLookupError:
        return True
    try:
        owner = proc.real_user(found.in_proc)
        if owner is None or has_ended(pidfd):  # nobody has asked for the end yet: that can take as long as it likes
            return True
        if uid not in (0, owner):
            return False
        before = time.monotonic()
        entered = put(found.kernels, root, top)
        if not has_ended(pidfd):
            return entered
        # What is entered under a number that no process has is gone when one gets it.
        is_another = os.path.exists("/proc/%d" % found.in_proc) and not proc.is_ending(found.in_proc)
        if is_another or time.monotonic() - before > _REUSED:
            raise PassingError("a process that it has started before ended while it was entered: try again")
        return True
    finally:
        os.close(pidfd)
