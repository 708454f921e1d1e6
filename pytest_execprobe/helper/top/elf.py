"""What a probe must know of a program or library: where its functions and its USDT probes are.

BCC has such a reader too, in C, which is not for files of untrusted users. Nor does it distinguish an indirect
function (which runs once, to choose another) from a real one or an imported one from a library's own, and it takes no
USDT probe that has a semaphore or stands in several places.
"""

from __future__ import annotations

import functools
import os
import struct
import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

_MAGIC = b"\x7fELF"
_PT_LOAD, _PF_X, _PF_W = 1, 1, 2
_SHT_SYMTAB, _SHT_NOTE, _SHT_DYNSYM = 2, 7, 11
_STT_FUNC, _STT_GNU_IFUNC = 2, 10
_NT_STAPSDT = 3
_SYSTEMTAP = b"stapsdt\0"
_NT_GNU_BUILD_ID = 3
_BUILD_ID_MAX = 64
_SEMAPHORE = 2  # bytes
_SEMAPHORES_END = 1 << 32  # perf_event_open(2) has 32 bits for where one is

# Any user may have written the file, and it could say that it has the same to read over and over. The largest libraries
# have some 60 sections and 300 000 symbols with 20 MB of names; with all that a linker can leave in, a few times that.
_SEGMENTS_MAX, _SECTIONS_MAX = 64, 4096
_ENTRIES_MAX = 1 << 21  # symbols and notes, of all tables together
_BYTES_MAX = 1 << 27  # of names and notes
_TEXTS_MAX = 4096  # of a USDT probe: provider and name come first, and what its arguments are does not matter
_SECONDS = 20.0  # for all of it

_BLOCK = 1 << 16
_BLOCKS_KEPT = 128

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
    while that is not zero. Each is as the file says, and -1 if that is nowhere in it."""

    provider: str
    name: str
    offset: int
    semaphore: int


class _File:
    """Reads pieces of a file that may be changed or cut off meanwhile: not as memory, which would then be none."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._ends = time.monotonic() + _SECONDS
        self._block = functools.lru_cache(maxsize=_BLOCKS_KEPT)(self._read_block)

    def read(self, at: int, size: int) -> bytes:
        if at + size > self.size:
            raise ElfError("it is broken: what it should hold is beyond its end")
        found = bytearray()
        while len(found) < size:
            block, start = self._at(at + len(found))
            found += block[start : start + size - len(found)]
        return bytes(found)

    def string(self, at: int, most: int) -> bytes:
        """What is there before a zero; if that is more than so many bytes, more than so many of them."""
        found = bytearray()
        while len(found) <= most:
            block, start = self._at(at + len(found))
            end = block.find(b"\0", start)
            if end >= 0:
                found += block[start:end]
                break
            found += block[start:]
        return bytes(found)

    def _at(self, at: int) -> Tuple[bytes, int]:
        """The block that has this, and where in it."""
        if time.monotonic() > self._ends:
            raise ElfError("it takes longer than %g s to read" % _SECONDS)
        number, start = divmod(at, _BLOCK)
        block = self._block(number)
        if start >= len(block):
            raise ElfError("it is broken: it ends within what it should hold")
        return block, start

    def _read_block(self, number: int) -> bytes:
        return os.pread(self._descriptor, _BLOCK, number * _BLOCK)


class Elf:
    """Reads an open file, which stays open and belongs to the caller. Raises ElfError or OSError."""

    def __init__(self, descriptor: int) -> None:
        self._file = _File(descriptor)
        if self._file.size < 64:
            raise ElfError("it is no program or library")
        head = self._file.read(0, 64)
        width, order = head[4], head[5]
        if head[:4] != _MAGIC or width not in _HEADERS or order not in (1, 2):
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
        #: Address, offset in the file and size there, of each part that is loaded, and its flags.
        self._loaded: List[Tuple[int, int, int, int]] = []
        for index in range(segment_count):
            fields = self._unpack(self._segment, segments + index * segment_size)
            if self._width == 2:
                type, flags, offset, address, _, size = fields[:6]
            else:
                type, offset, address, _, size, _, flags = fields[:7]
            if type == _PT_LOAD:
                self._loaded.append((address, offset, size, flags))
        self._sections: List[Section] = []
        for index in range(section_count):
            name, type, _, address, offset, size, link = self._unpack(self._section, sections + index * section_size)[
                :7
            ]
            self._sections.append(Section(name, type, address, offset, size, link))
        self._names = names

    def is_code(self, at: int) -> bool:
        """Whether what stands there in the file can be executed."""
        return at < self._file.size and any(
            flags & _PF_X and offset <= at < offset + size for _, offset, size, flags in self._loaded
        )

    def is_counter(self, at: int) -> bool:
        """Whether a semaphore can stand there: in what is loaded from the file to be written to, and is no code."""
        end = at + _SEMAPHORE
        return end <= min(self._file.size, _SEMAPHORES_END) and any(
            flags & (_PF_W | _PF_X) == _PF_W and offset <= at and end <= offset + size
            for _, offset, size, flags in self._loaded
        )

    def build_id(self) -> bytes:
        """What the file with its debug symbols has too; nothing, if there is none."""
        for section in self._sections:
            if section.type == _SHT_NOTE and self._name(section) == ".note.gnu.build-id":
                owner_size, size, type = self._unpack("III", section.offset)
                if (owner_size, type) == (4, _NT_GNU_BUILD_ID) and size <= _BUILD_ID_MAX:
                    return self._file.read(section.offset + 16, size)
        return b""

    def functions(self, symbols: "Optional[Elf]" = None) -> Functions:
        """Those that this file names, or another that has only the symbols of this one."""
        found = Functions({}, set(), set())
        source = symbols or self
        for table in source._sections:
            if table.type in (_SHT_DYNSYM, _SHT_SYMTAB):
                for name, kind, section, value in source._symbols_of(table):
                    self._add_function(found, name, kind, section, value)
        found.imported.difference_update(found.own, found.indirect)
        return found

    def _symbols_of(self, table: Section) -> Iterator[Tuple[str, int, int, int]]:
        """Name, type, section and value of each that is a function."""
        strings = self._numbered(table.link)
        form = struct.Struct(self._end + self._symbol)
        count = table.size // form.size
        self._take_entries(count)
        at_once = _BLOCK // form.size
        for first in range(0, count, at_once):
            piece = self._file.read(table.offset + first * form.size, min(at_once, count - first) * form.size)
            for fields in form.iter_unpack(piece):
                if self._width == 2:
                    name_at, info, _, section, value, _ = fields
                else:
                    name_at, value, _, info, _, section = fields
                if info & 0xF in (_STT_FUNC, _STT_GNU_IFUNC):
                    # Among debug symbols a name may have its version: memcpyGLIBC_2.14.
                    yield self._string(strings, name_at).partition("@")[0], info & 0xF, section, value

    def _add_function(self, found: Functions, name: str, kind: int, section: int, value: int) -> None:
        if section == 0:
            found.imported.add(name)
        elif kind == _STT_GNU_IFUNC:
            found.indirect.add(name)
        else:
            offset = self._offset(value)
            if self.is_code(offset):
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
                if self._file.read(owner_at, owner_size) != _SYSTEMTAP:
                    continue
                place, noted_base, semaphore = self._unpack(address, body_at)
                texts = self._texts(body_at + struct.calcsize(self._end + address), body_at + size)
                if len(texts) < 2:
                    continue
                # Prelinking moves a library, and not what its notes say.
                moved = base - noted_base if base is not None and noted_base else 0
                guard = self._offset(semaphore + moved) if semaphore else 0
                yield Usdt(_text(texts[0]), _text(texts[1]), self._offset(place + moved), guard)

    def _texts(self, at: int, end: int) -> List[bytes]:
        """The first two of a probe's, or fewer."""
        size = max(0, min(end - at, _TEXTS_MAX))
        self._take_bytes(size)
        return self._file.read(at, size).split(b"\0", 2)[:2]

    def _offset(self, address: int) -> int:
        for start, offset, size, _ in self._loaded:
            if start <= address < start + size:
                return address - start + offset
        return -1

    def _name(self, section: Section) -> str:
        return self._string(self._numbered(self._names), section.name)

    def _numbered(self, index: int) -> Section:
        if index >= len(self._sections):
            raise ElfError("it is broken: it lacks section %d" % index)
        return self._sections[index]

    def _string(self, strings: Section, at: int) -> str:
        found = self._file.string(strings.offset + at, _BYTES_MAX - self._bytes)
        self._take_bytes(len(found))
        return _text(found)

    def _take_entries(self, more: int) -> None:
        self._entries += more
        _limit("symbols and notes", self._entries, _ENTRIES_MAX)

    def _take_bytes(self, more: int) -> None:
        self._bytes += more
        _limit("bytes of names and notes", self._bytes, _BYTES_MAX)

    def _unpack(self, form: str, at: int) -> Tuple[int, ...]:
        form = self._end + form
        return struct.unpack(form, self._file.read(at, struct.calcsize(form)))


def _limit(what: str, number: int, most: int) -> None:
    if number > most:
        raise ElfError("it has more %s than the %d that are read at most" % (what, most))


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
