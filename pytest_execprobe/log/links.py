"""Links as they are now, and here: a record has the path and the file, and not by which way one led to
the other. In a chroot, say, they can be others."""

from __future__ import annotations

import functools

from .._util import originals
from .._util.paths import absolute, names_descriptor, on_disk, real
from ..timeline.program import as_interpreters, files, interpreters
from ..timeline.record import ExecRecord

_MOST = 40  # that the kernel follows


def may_lead_by_links(record: ExecRecord) -> bool:
    """Whether one of its paths may lead to its file by a link, and so elsewhere at another time."""
    certain, possible = interpreters(record)
    paths = [absolute(path, record.cwd) for path in (record.path, *certain, *possible) if path is not None]
    known = files(record)
    return any(path is None or ".." in path or originals.normpath(path) not in known for path in paths)


def links(record: ExecRecord) -> tuple[list[str | None], list[str | None]]:
    """The links that lead from a path to its file, without the first, by their paths: of the program, certain ones and
    ones of what may be an interpreter."""
    certain = _between(record.path, record.cwd, record._command.file)
    possible: list[str | None] = []
    for inner, is_certain in as_interpreters(record):
        (certain if is_certain else possible).extend(_between(inner.path, inner.cwd, inner.executable))
    return certain, possible


def whole(record: ExecRecord) -> list[str | None]:
    """What it was executed as, from the root on, and without links in its folders; None where that is not known."""
    path = None if record.path is None else absolute(record.path, record.cwd)
    if path is None or names_descriptor(path, None):
        return [path]
    plain = path if "/../" in path else originals.normpath(path)
    return [plain, where(path)]


def where(path: str) -> str:
    """Where it lies: the path with no link in its folders, and itself left as it is."""
    return originals.join(_behind_links(originals.dirname(path)), originals.basename(path))


def _behind_links(folder: str) -> str:
    try:
        there = originals.stat(on_disk(folder))
    except (OSError, ValueError):
        return folder
    return _realpath(folder, there.st_dev, there.st_ino, there.st_ctime_ns)


@functools.lru_cache(maxsize=256)
def _realpath(folder: str, *_: int) -> str:
    """A folder's, as long as the same one is there: it takes ten times as long as to look which that is."""
    return real(folder)


def _between(path: str | None, cwd: str | None, file: str | None) -> list[str | None]:
    """None where the links do not lead to the file, any more or at all."""
    path = None if path is None else absolute(path, cwd)
    found: list[str | None] = []
    while path is not None and file is not None and path != file and len(found) < _MOST:
        try:
            link = originals.readlink(on_disk(path)).decode("utf-8", "surrogateescape")
        except (OSError, ValueError):
            break
        path = where(originals.join(originals.dirname(path), link))
        found.append(path)
    return found[:-1] if found and found[-1] == file else []
