"""Files that are there whole, or not at all, and where they were asked for: not where another user wants them."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB
from os import O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_RDONLY, O_WRONLY, stat_result
from pathlib import Path

from ._util import originals
from .helper.walk import Step, walk

_AT_ONCE = 1 << 16  # characters
_LOCK_SECONDS = 10  # after which its holder will not be done soon


def write_atomically(path: Path, text: str | Iterable[str]) -> None:
    """Writes a text file, which may come piece by piece, in place of one that may be there; its folders are made.
    Raises OSError.

    Whoever reads it meanwhile, and whoever finds it after a crash, has the old one or the new one. A link stays a link,
    and the mode is that of an old file of one's own, without setuid and the like, or of any new one. What is no file,
    such as a device, a pipe or ``/dev/fd/N``, is written to.

    A run as root may write where other users can, too. Links and pipes of theirs are refused there, as are files in
    folders such as ``/tmp``, and what they exchange meanwhile changes nothing.
    """
    data = _encoded((text,) if isinstance(text, str) else text)
    with walk(str(path), _judge, make_folders=True) as step:
        if step.number is not None:
            _write(originals.dup(step.number), data)
        elif step.entry is None:
            _put(step, data, None)
        elif stat.S_ISREG(originals.fstat(step.entry).st_mode):
            _put(step, data, _mode(originals.fstat(step.entry)))
        elif stat.S_ISDIR(originals.fstat(step.entry).st_mode):
            raise IsADirectoryError(errno.EISDIR, originals.strerror(errno.EISDIR))
        else:
            # By its number, since its name may be another's by now.
            _write(originals.open_file(f"/proc/self/fd/{step.entry}", O_WRONLY | O_NOCTTY | O_CLOEXEC), data)


def _encoded(pieces: Iterable[str]) -> Iterator[bytes]:
    """So much at once that no system call is made for a few bytes."""
    some: list[str] = []
    size = 0
    for piece in pieces:
        some.append(piece)
        size += len(piece)
        if size >= _AT_ONCE:
            yield "".join(some).encode("utf-8")
            some, size = [], 0
    yield "".join(some).encode("utf-8")


def remove_file(path: Path) -> None:
    """Removes a file where :func:`write_atomically` would replace it, and leaves all else. Raises OSError."""
    with walk(str(path), _judge) as step:
        if step.number is None and step.entry is not None and stat.S_ISREG(originals.fstat(step.entry).st_mode):
            originals.unlink(step.name, dir_fd=step.folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds off who does the same, for as long as a file is read, changed and replaced.

    What is locked is its folder, for the file is another one afterwards. Whoever can read that can hold the lock, so
    that it is waited for a while and not for ever; and not all file systems have one.
    """
    folder = None
    with suppress(OSError):
        folder = originals.open_file(originals.dirname(originals.realpath(path)), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    try:
        if folder is not None:
            _lock(folder)
        yield
    finally:
        if folder is not None:
            originals.close(folder)


def _lock(folder: int) -> None:
    for _ in range(_LOCK_SECONDS * 50):
        try:
            originals.flock(folder, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            originals.poll().poll(20)
        except OSError:
            return
        else:
            return


def _put(step: Step, data: Iterable[bytes], mode: int | None) -> None:
    """Makes a file of it, beside the old one, and then in its place."""
    name = f".execprobe-{originals.random_hex(8)}"
    flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    descriptor = originals.open_file(name, flags, 0o666 if mode is None else 0o600, dir_fd=step.folder)
    try:
        _write(descriptor, data, mode, whole=True)
        originals.replace(name, step.name, src_dir_fd=step.folder, dst_dir_fd=step.folder)
    except BaseException:
        with suppress(FileNotFoundError):  # who owns the folder may have removed it
            originals.unlink(name, dir_fd=step.folder)
        raise


def _write(descriptor: int, data: Iterable[bytes], mode: int | None = None, *, whole: bool = False) -> None:
    """Also closes it."""
    try:
        for part in data:
            left = memoryview(part)
            while left:
                left = left[originals.write(descriptor, left) :]
        if mode is not None:
            originals.fchmod(descriptor, mode)
        if whole:
            originals.fsync(descriptor)
    finally:
        originals.close(descriptor)


def _mode(old: stat_result) -> int | None:
    # Another name of a file, in a folder of another user's, is not what its owner has chosen the mode for.
    if old.st_uid != originals.geteuid() or old.st_nlink != 1:
        return None
    return old.st_mode & 0o777


def _judge(step: Step) -> None:
    """Raises PermissionError for what another user may have put there to have this write to another place."""
    assert step.entry is not None
    status = originals.fstat(step.entry)
    if stat.S_ISDIR(status.st_mode) or _is_trusted(status):
        return
    folder = originals.fstat(step.folder)
    if stat.S_ISREG(status.st_mode):
        # It is replaced by another of that name and not written to, which whoever can write to the folder may do. In a
        # sticky one the owner alone may, and root, which could lose what it takes for its own.
        is_refused = bool(folder.st_mode & stat.S_ISVTX)
    else:
        is_refused = not _is_trusted(folder) or bool(folder.st_mode & 0o022)
    if is_refused:
        what = {stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "pipe"}.get(stat.S_IFMT(status.st_mode))
        raise PermissionError(
            errno.EPERM,
            f"{step.path} is a {what or 'special file'} of user {status.st_uid}, in a folder that others can write to;"
            " remove it, or name a path without it",
        )


def _is_trusted(status: stat_result) -> bool:
    return status.st_uid in (0, originals.geteuid())
