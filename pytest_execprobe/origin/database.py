"""What a database of packages says of a file, and how it is asked."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from os import O_CLOEXEC, O_RDONLY
from time import CLOCK_REALTIME
from typing import Protocol

from .._util import originals


class Unreadable(Exception):
    """Whether a package owns a file can't be known. The message says why."""


@dataclass(frozen=True)
class Owner:
    """A package that has a file."""

    #: Name and version, and the kind of the database: ``git 1:2.39.5-0 (dpkg)``.
    package: str
    #: The algorithm and the hexadecimal digest that the file has by the database; None where it has none.
    digest: tuple[str, str] | None = None


class Database(Protocol):
    """The packages of one kind. What it has read it keeps, until that has changed."""

    def stamp(self, path: str) -> object:
        """Another one as soon as what decides about a file has changed, see :func:`stamp`."""

    def owner(self, path: str) -> Owner | None:
        """The package that a file, by its path without links, is of. Raises Unreadable."""


_MOST = 1 << 28  # bytes of a file
_TICK = 50_000_000  # ns in which something can change twice, and look the same
_PART = 1 << 18


def stamp(*paths: str) -> object:
    """The same for as long as these files and folders are the same: tests may install something."""
    found: list[tuple[int, ...] | None] = []
    now = originals.clock_gettime_ns(CLOCK_REALTIME)
    for path in paths:
        try:
            its = originals.stat(path)
        except (OSError, ValueError):
            found.append(None)
            continue
        if now - max(its.st_mtime_ns, its.st_ctime_ns) < _TICK:
            return object()  # like no other
        found.append((its.st_dev, its.st_ino, its.st_nlink, its.st_size, its.st_mtime_ns, its.st_ctime_ns))
    return tuple(found)


def read(path: str) -> bytes | None:
    """None where there is no such file. Raises Unreadable."""
    parts = list(_parts(path))
    return b"".join(parts) if parts else None


def read_lines(path: str) -> Iterator[bytes]:
    """The same in parts of whole lines, for some files are of many megabytes; nothing where there is none."""
    rest = b""
    for part in _parts(path):
        begun, newline, new = part.rpartition(b"\n")
        if newline:
            yield rest + begun
        rest = new if newline else rest + new
    yield rest


def _parts(path: str) -> Iterator[bytes]:
    """Of a file that is there, one at least."""
    try:
        found = originals.stat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST:  # a FIFO would be waited for
            raise Unreadable(f"{path} can't be read (it is no file, or too large)")
        descriptor = originals.open_file(path, O_RDONLY | O_CLOEXEC)
        try:
            yield b""
            while part := originals.read(descriptor, _PART):
                yield part
        finally:
            originals.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise Unreadable(f"{path} can't be read ({error.strerror or error})") from None


def names_in(folder: str) -> list[str]:
    """Those of a folder, none where it is not there. Raises Unreadable."""
    try:
        return originals.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Unreadable(f"{folder} can't be read ({error.strerror or error})") from None


def spellings(path: str, root: str = "") -> Iterator[str]:
    """A path as packages may have it: where ``/bin`` is a link to ``usr/bin``, those of before that say ``/bin``."""
    yield path
    for folder in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if path.startswith(f"/usr{folder}/") and _leads_to(root + folder, f"usr{folder}"):
            yield path.removeprefix("/usr")
        elif path.startswith(f"{folder}/") and _leads_to(root + folder, f"usr{folder}"):
            yield f"/usr{path}"


def _leads_to(link: str, folder: str) -> bool:
    try:
        return originals.readlink(link).lstrip("/") == folder
    except OSError:
        return False
