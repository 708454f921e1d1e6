"""Keeps what BCC has compiled, in files that nobody but its user, or root, can have written.

Root's are in /var/cache, those of a user whose helper has capabilities in his own folder. Whatever is not as it must be
is as if it were not there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Iterable, Optional

from ..walk import Step, walk
from .unit import Compiled, parse

try:
    from _blake2 import blake2b  # hashlib loads OpenSSL, which takes as long as all else here
except ImportError:  # a Python that was built without
    from hashlib import blake2b

_FOR_ROOT = "/var/cache/pytest-execprobe"
_NAME = "pytest-execprobe"
_ENDING = ".bpf"
_MOST = 32  # files
_LONGEST = 4 << 20  # bytes of one


_DIGEST = 32  # bytes


class _NotOurs(Exception):
    """Others could have written it."""


def key(parts: Iterable[bytes]) -> str:
    """A name for what is made of these."""
    digest = blake2b(digest_size=_DIGEST)
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


class Kept:
    def __init__(self, folder: Optional[str]) -> None:
        """``folder``: where, None: nowhere."""
        self._folder = folder

    def get(self, name: str) -> Optional[Compiled]:
        if self._folder is None:
            return None
        try:
            with walk(os.path.join(self._folder, name + _ENDING), _judge) as step:
                return parse(_read(step.folder, step.name))
        except (OSError, ValueError, _NotOurs):
            return None

    def put(self, name: str, unit: Compiled) -> None:
        """Does nothing where it can't be kept: it will be compiled again."""
        if self._folder is None:
            return
        umask = os.umask(0o077 if os.geteuid() else 0o022)  # /var/cache itself is everybody's to read
        try:
            with walk(os.path.join(self._folder, name + _ENDING), _judge, make_folders=True) as step:
                _write(step.folder, step.name, unit.dump())
                _forget_the_oldest(step.folder)
        except (OSError, _NotOurs):
            pass
        finally:
            os.umask(umask)


def default_folder() -> str:
    if os.geteuid() == 0:
        return _FOR_ROOT
    base = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), _NAME)


def _judge(step: Step) -> None:
    assert step.entry is not None
    status = os.fstat(step.entry)
    if stat.S_ISDIR(status.st_mode):  # a link is as its folder is, and the file is looked at when it is read
        _check(status)


def _check(status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise _NotOurs


def _read(folder: int, name: str) -> bytes:
    """Raises ValueError for what is damaged."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check(status)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST:
            raise ValueError("it is no file that was kept")
        digest, _, data = file.read(_LONGEST).partition(b"\n")
    if _digest(data) != digest:
        raise ValueError("it is damaged")
    return data


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST).hexdigest().encode()


def _write(folder: int, name: str, data: bytes) -> None:
    """Whole, or not at all."""
    new = ".%s%s" % (os.urandom(8).hex(), _ENDING)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with open(descriptor, "wb") as file:
            file.write(_digest(data) + b"\n" + data)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise


def _forget_the_oldest(place: int) -> None:
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    try:
        # A link may have led to a folder with more in it.
        names = [name for name in os.listdir(folder) if name.endswith(_ENDING)]
        found = [(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime, name) for name in names]
        for _, name in sorted(found)[:-_MOST]:
            os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)
