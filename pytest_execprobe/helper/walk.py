"""Walks a path folder by folder, each held by a descriptor, so that what was judged is what is used.

Whoever can write to a folder on the way can exchange what is in it at any time: a check of a path says nothing of what
the same path means a moment later. Here nothing is looked up twice, and a link is judged before it is followed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import posix
import re
import stat
from typing import Callable, Iterator, List, NamedTuple, Optional

# This runs beside tests, too, which may replace what is in os, or held by a name here.
_close, _fstat = functools.partial(posix.close), functools.partial(posix.fstat)
_mkdir, _open = functools.partial(posix.mkdir), functools.partial(posix.open)
_readlink, _strerror = functools.partial(posix.readlink), functools.partial(posix.strerror)

_LINKS_MAX = 40  # as the kernel has it
_FOLDER = posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
_ENTRY = posix.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC

# The kernel's links there lead to what is open, which a name need not lead to: a pipe has none.
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self|proc/thread-self)/fd/([0-9]{1,9})")


class Step(NamedTuple):
    """An entry of a folder. ``folder`` and ``entry`` are O_PATH descriptors, open only while the path is walked."""

    folder: int
    name: str
    #: None if there is no such entry.
    entry: Optional[int]
    #: The process's own descriptor that the path stands for, if it does: there is no folder then.
    number: Optional[int] = None

    @property
    def path(self) -> str:
        """Where it is, without links: for messages."""
        folder = _readlink("/proc/self/fd/%d" % self.folder)
        return folder.rstrip("/") + "/" + self.name if self.name else folder


@contextlib.contextmanager
def walk(path: str, judge: Callable[[Step], None], make_folders: bool = False) -> Iterator[Step]:
    """Yields the last step. ``judge`` is given each, the beginning and all links included, before the next, and raises
    to end the walk; of the last it is asked only if it is there. Raises OSError."""
    with contextlib.ExitStack() as opened:
        yield _Walker(judge, make_folders, opened).walk(path)


class _Walker:
    def __init__(self, judge: Callable[[Step], None], make_folders: bool, opened: contextlib.ExitStack) -> None:
        self._judge = judge
        self._make_folders = make_folders
        self._opened = opened
        self._folders: List[int] = []  # from the beginning to where it is
        self._left: List[str] = []  # components that are still to be walked, the next is the last

    def walk(self, path: str) -> Step:
        if not path:
            raise FileNotFoundError(errno.ENOENT, _strerror(errno.ENOENT))
        links = 0
        step = self._follow(path, at_first=True)
        while self._left and step.number is None:
            name = self._left.pop()
            if name == "..":
                step = self._ascend()
                continue
            step = self._look(name)
            entry = step.entry
            if entry is None:
                return step
            self._judge(step)
            mode = _fstat(entry).st_mode
            if stat.S_ISLNK(mode):
                links += 1
                if links > _LINKS_MAX:
                    raise OSError(errno.ELOOP, _strerror(errno.ELOOP))
                step = self._follow(_readlink("", dir_fd=entry))
            elif stat.S_ISDIR(mode):
                self._folders.append(entry)
            elif self._left:
                raise NotADirectoryError(errno.ENOTDIR, _strerror(errno.ENOTDIR))
        return step

    def _follow(self, target: str, at_first: bool = False) -> Step:
        """Goes to where a path begins, with all of it left."""
        parts = [part for part in target.split("/") if part not in ("", ".")]
        self._left += reversed(parts)
        if target.startswith("/"):
            own = _DESCRIPTOR.fullmatch("/" + "/".join(reversed(self._left)))
            if own is not None:
                return Step(-1, "", None, int(own.group(1)))
            return self._restart("/")
        return self._restart(".") if at_first else Step(self._folders[-1], "", self._folders[-1])

    def _restart(self, folder: str) -> Step:
        start = self._open(folder, _FOLDER)
        self._folders = [start]
        step = Step(start, "", start)
        self._judge(step)
        return step

    def _ascend(self) -> Step:
        # Not by opening "..": a folder that has been moved meanwhile would have another.
        if len(self._folders) == 1:
            self._folders = [self._open("..", _FOLDER, self._folders[0])]
        else:
            self._folders.pop()
        step = Step(self._folders[-1], "", self._folders[-1])
        self._judge(step)
        return step

    def _look(self, name: str) -> Step:
        folder = self._folders[-1]
        try:
            return Step(folder, name, self._open(name, _ENTRY, folder))
        except FileNotFoundError:
            if not self._left:
                return Step(folder, name, None)
            if not self._make_folders:
                raise
        with contextlib.suppress(FileExistsError):
            _mkdir(name, dir_fd=folder)
        return Step(folder, name, self._open(name, _ENTRY, folder))

    def _open(self, name: str, flags: int, folder: Optional[int] = None) -> int:
        descriptor = _open(name, flags, dir_fd=folder)
        self._opened.callback(_close, descriptor)
        return descriptor
