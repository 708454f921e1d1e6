"""Python's distributions: each lists its files, scripts included, in its ``RECORD``."""

from __future__ import annotations

import binascii
import csv
from collections.abc import Iterator

from .._util import originals
from .database import Owner, Unreadable, names_in, read, stamp

_LIBRARIES = ("site-packages", "dist-packages")


class Wheels:
    """``root`` is the folder that stands for ``/``."""

    def __init__(self, root: str = "") -> None:
        self._root = root
        #: Of each library what is in folders called ``bin``, which is mostly all that is executed: folders of
        #: distributions, and lines.
        self._records: dict[str, list[tuple[str, bytes]]] = {}
        self._stamps: dict[str, object] = {}  # of those, when they were read
        #: Of a folder the libraries below its ``lib``, likewise with the stamp.
        self._below: dict[str, tuple[object, list[str]]] = {}

    def stamp(self, path: str) -> object:
        return tuple((library, stamp(self._root + library)) for library in self._libraries(path))

    def owner(self, path: str) -> Owner | None:
        for library in self._libraries(path):
            name = originals.relpath(path, library)
            line = name.encode("utf-8", "surrogateescape")
            for folder, record in self._of(library) if b"bin/" in line else self._read(library):
                if line in record and (row := _row(record, name, folder)) is not None:
                    distribution, _, version = folder.removesuffix(".dist-info").partition("-")
                    return Owner(f"{distribution} {version} (wheel)", _digest(row))
        return None

    def _libraries(self, path: str) -> Iterator[str]:
        """Those that may list a file: in which it is, or beside whose ``lib`` its ``bin`` is."""
        parts = path.split("/")
        for at, part in enumerate(parts):
            if part in _LIBRARIES:
                yield "/".join(parts[: at + 1])
        if parts[-2:-1] != ["bin"]:
            return
        prefix = "/".join(parts[:-2])
        before = stamp(*(f"{self._root}{prefix}/{lib}" for lib in ("lib", "lib64")))
        if self._below.get(prefix, (None,))[0] != before:
            self._below[prefix] = before, list(self._listed(prefix))
        yield from self._below[prefix][1]
        if prefix in ("", "/usr"):
            yield "/usr/lib/python3/dist-packages"

    def _listed(self, prefix: str) -> Iterator[str]:
        for lib in ("lib", "lib64"):
            for version in names_in(f"{self._root}{prefix}/{lib}"):
                if version.startswith(("python3", "pypy3")):
                    yield from (f"{prefix}/{lib}/{version}/{library}" for library in _LIBRARIES)

    def _of(self, library: str) -> list[tuple[str, bytes]]:
        before = stamp(self._root + library)
        if library not in self._records or self._stamps[library] != before:
            self._stamps[library] = before
            every = ((folder, _only(b"bin/", record)) for folder, record in self._read(library))
            self._records[library] = [(folder, lines) for folder, lines in every if lines]
        return self._records[library]

    def _read(self, library: str) -> Iterator[tuple[str, bytes]]:
        for name in names_in(self._root + library):
            if name.endswith(".dist-info"):
                yield name, read(f"{self._root}{library}/{name}/RECORD") or b""


def _only(part: bytes, record: bytes) -> bytes:
    return b"".join(line for line in record.splitlines(keepends=True) if part in line) if part in record else b""


def _row(record: bytes, name: str, folder: str) -> list[str] | None:
    lines = record.decode("utf-8", "surrogateescape").splitlines()
    try:
        return next((row for row in csv.reader(lines) if row[:1] == [name]), None)
    except csv.Error as error:
        raise Unreadable(f"the RECORD in {folder} can't be read ({error})") from None


def _digest(row: list[str]) -> tuple[str, str] | None:
    """``sha256=`` and base64 as URLs have it, without padding."""
    algorithm, _, digest = row[1].partition("=") if len(row) > 1 else ("", "", "")
    if algorithm not in ("sha256", "sha384", "sha512") or not digest:
        return None
    try:
        plain = digest.translate(str.maketrans("-_", "+/"))
        return algorithm, binascii.a2b_base64(plain + "=" * (-len(plain) % 4)).hex()  # of any length: see who compares
    except ValueError:  # binascii's own, too
        return None
