"""Where a file comes from: the package that owns it, and what is odd about where it lies."""

from __future__ import annotations

import contextlib
import stat as modes
from collections.abc import Sequence
from dataclasses import dataclass, field

from .._util import originals
from .._util.paths import on_disk
from .apk import Apk
from .database import Database, Owner, Unreadable
from .dpkg import Dpkg
from .rpm import Rpm
from .wheels import Wheels

#: Folders in which all users can leave files, and that are emptied.
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run/user")
_MOST = 1 << 30  # bytes of a file that is compared with its package's

MEMFD, GONE, TEMPORARY, WRITABLE, CHANGED = (
    "in no folder: a memfd",
    "not there any more",
    "in a temporary folder",
    "writable by others",
    "changed since it was installed",
)


@dataclass(frozen=True)
class Origin:
    """Where a file comes from."""

    #: Whether a package owns it; None where that is not known.
    owned: bool | None
    #: The package: name, version and kind of its database. None where there is none, or it is not known.
    package: str | None = None
    #: Why it is not known; empty where it is.
    why: str = ""
    #: What is odd about it.
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = self.package or ("no package" if self.owned is False else f"not known ({self.why})")
        return "; ".join([said, *self.remarks])


@dataclass
class Machine:
    """The databases of this machine. What was found is kept, until one of them has changed."""

    databases: Sequence[Database] = field(default_factory=lambda: (Dpkg(), Rpm(), Apk(), Wheels()))
    _known: dict[str, tuple[list[object], Origin]] = field(default_factory=dict)

    def origin(self, path: str) -> Origin:
        """Of a file by its resolved path, as records have it."""
        is_there = path.startswith("/")
        stamps = [_stamp(database, path) for database in self.databases] if is_there else []
        if path not in self._known or self._known[path][0] != stamps:
            self._known[path] = stamps, self._find(path)
        return self._known[path][1]

    def _find(self, path: str) -> Origin:
        if not path.startswith("/"):  # what lies in no folder
            return Origin(False, remarks=(MEMFD,) if path.startswith("memfd:") else ())
        owner, why = self._owner(path)
        remarks = list(_remarks(path))
        if owner is not None and owner.digest is not None and GONE not in remarks:
            remarks += [CHANGED] if _differs(path, owner.digest) else []
        owned = True if owner is not None else None if why else False
        return Origin(owned, None if owner is None else owner.package, "" if owned else why, tuple(remarks))

    def _owner(self, path: str) -> tuple[Owner | None, str]:
        """Of the first database that has it, else why it may have an owner all the same."""
        reasons = []
        for database in self.databases:
            try:
                owner = database.owner(path)
            except Unreadable as error:
                reasons.append(str(error))
                continue
            if owner is not None:
                return owner, ""
        return None, "; ".join(reasons)


def _stamp(database: Database, path: str) -> object:
    try:
        return database.stamp(path)
    except Unreadable as error:
        return str(error)


def _remarks(path: str) -> list[str]:
    """Of where it lies, and who can write it."""
    said = []
    temporary = {*_TEMPORARY, (originals.environ.get("TMPDIR") or "/tmp").rstrip("/")}
    if any(folder and path.startswith(f"{folder}/") for folder in temporary):
        said.append(TEMPORARY)
    parts = path.split("/")
    above = ["/".join(parts[:depth]) or "/" for depth in range(len(parts) - 1, 0, -1)]
    try:
        others = _others_write(path)
    except (OSError, ValueError):
        return [*said, GONE]
    with contextlib.suppress(OSError):
        others = others or any(map(_others_write, above))
    return [*said, WRITABLE] if others else said


def _others_write(path: str) -> bool:
    """Whether a user who is neither root nor this one can write a file, or put another one into a folder's place."""
    found = originals.stat(on_disk(path))
    mode, me = found.st_mode, originals.geteuid()
    if found.st_uid not in (0, me):
        return True
    if modes.S_ISDIR(mode) and mode & modes.S_ISVTX:
        return False  # where files are their owners' alone
    by_group = mode & modes.S_IWGRP and found.st_gid not in (0, originals.getegid())
    return bool(mode & modes.S_IWOTH or by_group)


def _differs(path: str, digest: tuple[str, str]) -> bool:
    algorithm, expected = digest
    try:
        state = originals.stat(on_disk(path))
        if state.st_size > _MOST or not modes.S_ISREG(state.st_mode):
            return False
        found = originals.new_hash(algorithm, originals.read_bytes(on_disk(path)))
    except (OSError, ValueError):  # may not be read, or has a hash that is not to be had
        return False
    return len(found.hexdigest()) == len(expected) and found.hexdigest() != expected  # else it was no such digest


#: This machine's, as it is found when it is first asked.
_here: list[Machine] = []


def here() -> Machine:
    """The machine that this runs on."""
    if not _here:
        _here.append(Machine())
    return _here[0]
