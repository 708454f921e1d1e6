"""Opens a program or library once, for all that privilege is to do with it: a path may lead elsewhere the next time."""

from __future__ import annotations

import errno
import os
import stat

from ..walk import Step, walk


class NotTaken(Exception):
    """It is no regular file, or not one that this caller may have probed. The message says why, in words."""


class Foreign(NotTaken):
    """Others than root could exchange or change it."""


def open_regular(path: str, roots_alone: bool) -> int:
    """A descriptor to read from. With ``roots_alone``, of a file that root alone can have put there or can change, and
    that all may read.

    What is no regular file is looked at and not opened: opening alone does something to a device, or to what waits at
    the other end of a pipe. Raises NotTaken or OSError.
    """
    if not roots_alone:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            return _reopen(place)
        finally:
            os.close(place)
    with walk(path, _judge) as step:
        if step.number is not None:
            raise Foreign("it names what is open, and no file")
        if step.entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return _reopen(step.entry)


def _reopen(place: int) -> int:
    if not stat.S_ISREG(os.fstat(place).st_mode):
        raise NotTaken("it is no program or library")
    # O_NONBLOCK: not to be kept waiting by who has a lease on it.
    return os.open("/proc/self/fd/%d" % place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _judge(step: Step) -> None:
    assert step.entry is not None
    status = os.fstat(step.entry)
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        return  # a link is as its folder is, which was judged, and others are not opened
    what = "file" if stat.S_ISREG(status.st_mode) else "folder"
    if status.st_uid != 0 or status.st_mode & 0o022:
        raise Foreign("others than root can write to the %s %s" % (what, step.path))
    if os.fstatvfs(step.entry).f_flag & os.ST_NOSUID:
        # Users may mount such, with files in them that seem to be root's.
        raise Foreign("%s is on a file system that is mounted nosuid, as what users mount is" % step.path)
    if not status.st_mode & (0o001 if stat.S_ISDIR(status.st_mode) else 0o004):
        raise Foreign("not all users may read the %s %s" % (what, step.path))
