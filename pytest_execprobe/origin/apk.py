"""Alpine's packages: one text for all, in ``/lib/apk/db/installed``.

A line is a letter, a colon and a value. Of a package ``P`` is the name and ``V`` the version; then follow a folder
(``F``), each of its files (``R``) and, behind that, the file's checksum (``Z``): ``Q1`` and a SHA-1 in base64, or
``Q2`` and a SHA-256.
"""

from __future__ import annotations

import binascii

from .database import Owner, read, spellings, stamp

_ALGORITHMS = {"Q1": "sha1", "Q2": "sha256"}


class Apk:
    """``root`` is the folder that stands for ``/``."""

    def __init__(self, root: str = "") -> None:
        self._root = root
        self._places = tuple(f"{root}{folder}/apk/db/installed" for folder in ("/lib", "/usr/lib"))
        self._stamp: object = None  # of what has been read
        self._files: dict[str, Owner] = {}

    def stamp(self, path: str) -> object:  # noqa: ARG002
        return stamp(*self._places)

    def owner(self, path: str) -> Owner | None:
        before = self.stamp(path)
        if self._stamp != before:
            data = next(filter(None, map(read, self._places)), b"")
            self._files = dict(_files(data.decode("utf-8", "surrogateescape")))
            self._stamp = before
        return next((self._files[spelt] for spelt in spellings(path, self._root) if spelt in self._files), None)


def _files(text: str) -> list[tuple[str, Owner]]:
    found: list[tuple[str, Owner]] = []
    name = version = folder = ""
    for line in text.split("\n"):
        letter, colon, value = line.partition(":")
        if not colon:
            folder = ""
        elif letter == "P":
            name = value
        elif letter == "V":
            version = value
        elif letter == "F":
            folder = value
        elif letter == "R":
            found.append((f"/{folder}/{value}" if folder else f"/{value}", Owner(f"{name} {version} (apk)")))
        elif letter == "Z" and found:
            path, owner = found[-1]
            found[-1] = path, Owner(owner.package, _digest(value))
    return found


def _digest(value: str) -> tuple[str, str] | None:
    """Of a link it is that of its target, which no resolved file is."""
    algorithm = _ALGORITHMS.get(value[:2])
    try:
        return None if algorithm is None else (algorithm, binascii.a2b_base64(value[2:]).hex())
    except ValueError:  # binascii's own, too
        return None
