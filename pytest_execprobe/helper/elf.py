"""What a probe must know of a program or library: where its functions and its USDT probes are.

BCC has such a reader too, but does not tell an indirect function (which runs once, to choose another) from a real one
or an imported one from a library's own, and takes no USDT probe that has a semaphore or stands in several places.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

_MAGIC = b"\x7fELF"
_PT_LOAD, _PF_X = 1, 1
_SHT_SYMTAB, _SHT_NOTE, _SHT_DYNSYM = 2, 7, 11
_STT_FUNC, _STT_GNU_IFUNC = 2, 10
_NT_STAPSDT = 3
_SYSTEMTAP = b"stapsdt\0"

# Anybody may have written the file, and it could say that it has the same to read over and over. The largest libraries
# have some 60 sections and 300 000 symbols with 20 MB of names; with all that a linker can leave in, ten times that.
_SEGMENTS_MAX, _SECTIONS_MAX = 64, 4096
_ENTRIES_MAX = 1 << 22  # symbols and notes, of all tables together
_BYTES_MAX = 1 << 28  # of names and notes

# By the width of an address: the file's header, and of a segment, a section and a symbol each.
_HEADERS = {  # type, entry size and number of the segments and sections; where these are
    1: ("16xHHIIIIIHHHHHH", "IIIIIIII", "IIIIIIIIII", "IIIBBH"),
    2: ("16xHHIQQQIHHHHHH", "IIQQQQQQ", "IIQQQQIIQQ", "IBBHQQ"),
}


class ElfError(Exception):
    """The file is none that a probe can be put into."""


class Section(NamedTuple):
    name: int
    type: int
    address: int
    offset: int
    size: int
    link: int


class Functions(NamedTuple):
    """Names, and where in the file each is: in several places, if a library has several versions of it."""

    own: Dict[str, Set[int]]
    #: Of each the first call chooses another function, which all calls go to: a probe would see nothing of these.
    indirect: Set[str]
    #: Called here, and found in another library.
    imported: Set[str]


class Usdt(NamedTuple):
    """One place of a probe. The semaphore is a counter in the file's data, 0 if there is none: the probe is passed only
    while that is not zero."""

    provider: str
    name: str
    offset: int
    semaphore: int


class Elf:
    """Raises ElfError or OSError."""

    def __init__(self, path: str) -> None:
        # Not to be kept waiting by a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size < 64:
                raise ElfError("it is no program or library")
            self._data = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        width, order = self._data[4], self._data[5]
        if self._data[:4] != _MAGIC or width not in _HEADERS or order not in (1, 2):
            raise ElfError("it is no ELF file, as programs and libraries are")
        self._end = "<" if order == 1 else ">"
        self._width = width
        self._header, self._segment, self._section, self._symbol = _HEADERS[width]
        self._read_header()

    def _read_header(self) -> None:
        self._entries = self._bytes = 0  # that have been read
        header = self._unpack(self._header, 0)
        _, _, _, _, segments, sections, _, _, segment_size, segment_count, section_size, section_count, names = header
        _limit("segments", segment_count, _SEGMENTS_MAX)
        _limit("sections", section_count, _SECTIONS_MAX)
        #: Address, offset in the file and size there, of each part that is loaded, and whether it is code.
        self._loaded: List[Tuple[int, int, int, bool]] = []
        for index in range(segment_count):
            fields = self._unpack(self._segment, segments + index * segment_size)
            if self._width == 2:
                type, flags, offset, address, _, size = fields[:6]
            else:
                type, offset, address, _, size, _, flags = fields[:7]
            if type == _PT_LOAD:
                self._loaded.append((address, offset, size, bool(flags & _PF_X)))
        self._sections: List[Section] = []
        for index in range(section_count):
            name, type, _, address, offset, size, link = self._unpack(self._section, sections + index * section_size)[
                :7
            ]
            self._sections.append(Section(name, type, address, offset, size, link))
        self._names = names

    def is_code(self, at: int) -> bool:
        """Whether what stands there in the file can be executed."""
        return any(code and offset <= at < offset + size for _, offset, size, code in self._loaded)

    def functions(self) -> Functions:
        found = Functions({}, set(), set())
        for table in self._sections:
            if table.type in (_SHT_DYNSYM, _SHT_SYMTAB):
                self._add_functions(table, found)
        found.imported.difference_update(found.own, found.indirect)
        return found

    def _add_functions(self, table: Section, found: Functions) -> None:
        strings = self._numbered(table.link)
        size = struct.calcsize(self._end + self._symbol)
        self._take_entries(-(-table.size // size))
        for at in range(table.offset, table.offset + table.size, size):
            if self._width == 2:
                name_at, info, _, section, value, _ = self._unpack(self._symbol, at)
            else:
                name_at, value, _, info, _, section = self._unpack(self._symbol, at)
            kind = info & 0xF
            if kind not in (_STT_FUNC, _STT_GNU_IFUNC):
                continue
            # Among debug symbols a name may have its version: memcpy@@GLIBC_2.14.
            name = self._string(strings, name_at).partition("@")[0]
            if section == 0:
                found.imported.add(name)
            elif kind == _STT_GNU_IFUNC:
                found.indirect.add(name)
            else:
                offset = self._offset(value)
                if offset is not None and self.is_code(offset):
                    found.own.setdefault(name, set()).add(offset)

    def usdt(self) -> Iterator[Usdt]:
        base = next((section.address for section in self._sections if self._name(section) == ".stapsdt.base"), None)
        address = "QQQ" if self._width == 2 else "III"
        for section in self._sections:
            if section.type != _SHT_NOTE or self._name(section) != ".note.stapsdt":
                continue
            at, end = section.offset, section.offset + section.size
            while at < end:
                self._take_entries(1)
                owner_size, size, type = self._unpack("III", at)
                owner_at = at + 12
                body_at = owner_at + _aligned(owner_size)
                at = body_at + _aligned(size)
                if type != _NT_STAPSDT or owner_size != len(_SYSTEMTAP):
                    continue
                if self._data[owner_at : owner_at + owner_size] != _SYSTEMTAP:
                    continue
                self._take_bytes(size)
                place, noted_base, semaphore = self._unpack(address, body_at)
                texts = self._data[body_at + struct.calcsize(self._end + address) : body_at + size].split(b"\0", 2)
                # Prelinking moves a library, and not what its notes say.
                moved = base - noted_base if base is not None and noted_base else 0
                offset = self._offset(place + moved)
                if offset is None or len(texts) < 2:
                    continue
                guard = self._offset(semaphore + moved) if semaphore else 0
                if guard is not None:
                    yield Usdt(_text(texts[0]), _text(texts[1]), offset, guard)

    def _offset(self, address: int) -> Optional[int]:
        for start, offset, size, _ in self._loaded:
            if start <= address < start + size:
                return address - start + offset
        return None

    def _name(self, section: Section) -> str:
        return self._string(self._numbered(self._names), section.name)

    def _numbered(self, index: int) -> Section:
        if index >= len(self._sections):
            raise ElfError("it is broken: it lacks section %d" % index)
        return self._sections[index]

    def _string(self, strings: Section, at: int) -> str:
        start = strings.offset + at
        if start > len(self._data):
            raise ElfError("it is broken: a name is beyond its end")
        end = self._data.find(b"\0", start, start + _BYTES_MAX - self._bytes + 1)
        if end < 0 and len(self._data) - start <= _BYTES_MAX - self._bytes:
            raise ElfError("it is broken: a name has no end")
        self._take_bytes(end - start if end >= 0 else _BYTES_MAX)
        return _text(self._data[start:end])

    def _take_entries(self, more: int) -> None:
        self._entries += more
        _limit("symbols and notes", self._entries, _ENTRIES_MAX)

    def _take_bytes(self, more: int) -> None:
        self._bytes += more
        _limit("bytes of names and notes", self._bytes, _BYTES_MAX)

    def _unpack(self, form: str, at: int) -> Tuple[int, ...]:
        form = self._end + form
        if at > len(self._data) - struct.calcsize(form):
            raise ElfError("it is broken: what it should hold is beyond its end")
        return struct.unpack_from(form, self._data, at)


def _limit(what: str, number: int, most: int) -> None:
    if number > most:
        raise ElfError("it has more %s than the %d that are read at most" % (what, most))


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
