"""Debian's packages: a list of files and one of MD5 sums for each, in ``/var/lib/dpkg``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .database import Owner, names_in, read, read_lines, spellings, stamp

_FIELD = re.compile(rb"^(Package|Version|Architecture): (.*)", re.MULTILINE)
#: Where programs are mostly. Of these lines an index is kept; others are looked for anew.
_OFTEN = (b"bin/", b"libexec/", b"/lib/gcc/", b"/lib/git-core/")


class Dpkg:
    """``root`` is the folder that stands for ``/``."""

    def __init__(self, root: str = "") -> None:
        self._root = root
        self._folder = f"{root}/var/lib/dpkg"
        self._stamp: object = None  # of what has been read
        self._index: dict[bytes, list[str]] | None = None
        #: Whether lists name something below a folder, where that was asked.
        self._folders: dict[bytes, bool] = {}
        self._diversions: list[tuple[str, str, str]] = []
        self._versions: dict[str, str] = {}

    def stamp(self, path: str) -> object:  # noqa: ARG002
        return stamp(*(f"{self._folder}/{name}" for name in ("status", "info", "diversions")))

    def owner(self, path: str) -> Owner | None:
        before = self.stamp(path)
        if self._index is None or self._stamp != before:
            self._index = None
            self._folders.clear()
            self._versions.clear()
            self._load()
            self._stamp = before
        for spelt in spellings(path, self._root):
            for name, listed in self._names(spelt):
                return Owner(f"{name} {self._versions.get(name, '?')} (dpkg)", self._sum(name, listed))
        return None

    def _load(self) -> None:
        index: dict[bytes, list[str]] = {}
        for name, listed in self._lists():
            for line in _often_in(listed):
                index.setdefault(line, []).append(name)
        said = _text(read(f"{self._folder}/diversions")).splitlines()
        self._diversions = list(zip(said[::3], said[1::3], said[2::3], strict=False))
        for stanza in _stanzas(read(f"{self._folder}/status") or b""):
            fields = {field: _text(value) for field, value in _FIELD.findall(stanza)}
            name, version = fields.get(b"Package", ""), fields.get(b"Version", "?")
            self._versions.setdefault(name, version)
            self._versions[f"{name}:{fields.get(b'Architecture', '')}"] = version
        self._index = index  # last: what could not be read is asked for again

    def _lists(self) -> Iterator[tuple[str, bytes]]:
        """Each package's, in parts of whole lines. All are some megabytes, which are soon looked through as they
        are, and not by line."""
        for file in names_in(f"{self._folder}/info"):
            if file.endswith(".list"):
                for part in read_lines(f"{self._folder}/info/{file}"):
                    yield file.removesuffix(".list"), part

    def _names(self, path: str) -> Iterator[tuple[str, str]]:
        """Packages whose file it is, and how their lists name it. A diversion has put the others' elsewhere."""
        divert_to = {to: (of, by) for of, to, by in self._diversions}
        diverted = {of: by for of, _, by in self._diversions}
        if path in divert_to:
            of, by = divert_to[path]
            yield from ((name, of) for name in self._listing(of) if _plain(name) != by)
        for name in self._listing(path):
            if diverted.get(path) in (None, _plain(name)):
                yield name, path

    def _listing(self, path: str) -> list[str]:
        line = path.encode("utf-8", "surrogateescape")
        if any(part in line for part in _OFTEN):
            return (self._index or {}).get(line, [])
        if not self._has_folder(line.rpartition(b"/")[0]):
            return []
        return [name for name, listed in self._lists() if line in listed and line in listed.split(b"\n")]

    def _has_folder(self, folder: bytes) -> bool:
        """Whether lists name something below it. A suite can execute thousands of files in folders of its own: of those
        the topmost is looked for once."""
        ends = [at for at, byte in enumerate(folder) if byte == ord("/") and at]
        for above in (*(folder[:end] for end in ends), folder):
            if above not in self._folders:
                start = above + b"/"
                self._folders[above] = any(
                    listed.startswith(start) or b"\n" + start in listed for _, listed in self._lists()
                )
            if not self._folders[above]:
                return False
        return True

    def _sum(self, name: str, path: str) -> tuple[str, str] | None:
        """Configuration has none, and neither have all packages."""
        wanted = path.lstrip("/").encode("utf-8", "surrogateescape")
        for line in (read(f"{self._folder}/info/{name}.md5sums") or b"").split(b"\n"):
            digest, _, file = line.partition(b"  ")
            if file == wanted:
                return "md5", digest.decode("ascii", "replace")
        return None


def _stanzas(status: bytes) -> Iterator[bytes]:
    """One after the other: together they are a megabyte, and as text may be four."""
    at = 0
    while at >= 0:
        end = status.find(b"\n\n", at)
        yield status[at:end] if end >= 0 else status[at:]
        at = end + 2 if end >= 0 else -1


def _often_in(listed: bytes) -> set[bytes]:
    """The lines of a list that an index is kept of: few have any."""
    found = set()
    for part in _OFTEN:
        at = listed.find(part)
        while at >= 0:
            begin, end = listed.rfind(b"\n", 0, at) + 1, listed.find(b"\n", at)
            found.add(listed[begin:end] if end >= 0 else listed[begin:])
            at = listed.find(part, end) if end >= 0 else -1
    return found


def _plain(name: str) -> str:
    return name.partition(":")[0]


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "surrogateescape")
