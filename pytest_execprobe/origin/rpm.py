"""Packages of Fedora, openSUSE and their like: headers of RPM in a database of SQLite.

Earlier databases (Berkeley DB, and ndb) are not read: then it is not known what owns a file.
"""

from __future__ import annotations

from typing import Any

from .._util import originals
from .database import Owner, Unreadable, spellings, stamp

_FOLDERS = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_OLDER = {"Packages": "Berkeley DB", "Packages.db": "ndb"}
_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_DIGESTS, _FOLDER_OF, _NAMES, _FOLDER_NAMES, _ALGORITHM = 1035, 1116, 1117, 1118, 5011
_ALGORITHMS = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
_QUERY = "SELECT p.blob, b.idx FROM Basenames b JOIN Packages p ON p.hnum = b.hnum WHERE b.key = CAST(? AS TEXT)"
_TAGS = (_NAME, _VERSION, _RELEASE, _EPOCH, _DIGESTS, _FOLDER_OF, _NAMES, _FOLDER_NAMES, _ALGORITHM)
_INT32, _STRINGS = 4, (6, 8, 9)  # one, several, and one in several languages


class Rpm:
    """``root`` is the folder that stands for ``/``."""

    def __init__(self, root: str = "") -> None:
        self._root = root

    def stamp(self, path: str) -> object:  # noqa: ARG002
        names = ("rpmdb.sqlite", "rpmdb.sqlite-wal", *_OLDER)
        return stamp(*(f"{self._root}{folder}/{name}" for folder in _FOLDERS for name in names))

    def owner(self, path: str) -> Owner | None:
        for folder in _FOLDERS:
            database = f"{self._root}{folder}/rpmdb.sqlite"
            if originals.exists(database):
                owner = self._look_up(path, database)
                if owner is None and _has_more(database):
                    raise Unreadable(f"{database} is being written to, or was not closed: some of it stands elsewhere")
                return owner
        for folder in _FOLDERS:
            for name, kind in _OLDER.items():
                if originals.exists(f"{self._root}{folder}/{name}"):
                    raise Unreadable(f"{folder}/{name} is a database of RPM in a form that is not read here ({kind})")
        return None

    def _look_up(self, path: str, database: str) -> Owner | None:
        try:
            import sqlite3  # not in every Python
        except ImportError:
            raise Unreadable(f"{database} can't be read: this Python has no sqlite3") from None
        try:
            connection = _connect(database)
            try:
                for spelt in spellings(path, self._root):
                    base = spelt.rpartition("/")[2].encode("utf-8", "surrogateescape")
                    rows = connection.execute(_QUERY, (base,))
                    for blob, index in rows:
                        owner = _owner(_header(blob), index, spelt)
                        if owner is not None:
                            return owner
            finally:
                connection.close()
        except (sqlite3.Error, ValueError, LookupError, TypeError) as error:  # what is there can be of any type
            raise Unreadable(f"{database} can't be read ({error})") from None
        return None


def _has_more(database: str) -> bool:
    """Whether there is something in its log that has not got into the file."""
    try:
        return originals.stat(f"{database}-wal").st_size > 0
    except OSError:
        return False


def _connect(database: str) -> Any:
    """As a file that is not written to: nothing is to be made beside it."""
    import sqlite3
    from urllib.parse import quote

    return sqlite3.connect(f"file:{quote(database)}?mode=ro&immutable=1", uri=True)


def _owner(header: dict[int, Any], index: int, path: str) -> Owner | None:
    names, folders, folder_of = header.get(_NAMES, []), header.get(_FOLDER_NAMES, []), header.get(_FOLDER_OF, [])
    if not 0 <= index < len(names) or folders[folder_of[index]] + names[index] != path:
        return None
    epoch = f"{header[_EPOCH][0]}:" if _EPOCH in header else ""
    version = f"{epoch}{header[_VERSION][0]}-{header[_RELEASE][0]}"
    digests = header.get(_DIGESTS, [])
    algorithm = _ALGORITHMS.get(header.get(_ALGORITHM, [1])[0])
    digest = (algorithm, str(digests[index])) if algorithm and index < len(digests) and digests[index] else None
    return Owner(f"{header[_NAME][0]} {version} (rpm)", digest)


def _header(blob: bytes) -> dict[int, Any]:
    """The tags of a header that are strings or numbers: its index, and the data that this refers to."""
    count, size = _number(blob, 0), _number(blob, 4)
    start = 8 + 16 * count
    if start + size > len(blob):
        raise ValueError("a header is cut")
    data = blob[start : start + size]
    found: dict[int, Any] = {}
    for entry in range(8, start, 16):
        tag, kind, offset, number = (_number(blob, entry + at) for at in (0, 4, 8, 12))
        if tag not in _TAGS:
            continue
        if kind == _INT32:
            found[tag] = [_number(data, offset + 4 * at) for at in range(number)]
        elif kind in _STRINGS:
            parts = data[offset:].split(b"\0", number)[:number]
            found[tag] = [part.decode("utf-8", "surrogateescape") for part in parts]
    return found


def _number(data: bytes, at: int) -> int:
    if at + 4 > len(data):
        raise ValueError("a header is cut")
    return int.from_bytes(data[at : at + 4], "big")
