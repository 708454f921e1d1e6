"""Programs and libraries, as the privileged ``helper top`` reads them: whatever is in one, it is read or refused."""

from __future__ import annotations

import os
import struct

import fuzzing

with fuzzing.instrumented():
    from pytest_execprobe.helper.top.elf import Elf, ElfError, Functions

_NOTE = struct.pack("<III", 8, 31, 3) + b"stapsdt\0" + struct.pack("<QQQ", 0x100, 0, 0) + b"prov\0go\0\0"
_BUILD_ID = struct.pack("<III", 4, 20, 3) + b"GNU\0" + bytes(range(20))


def _file() -> bytes:
    """A small one with a function, an import, an indirect function and a USDT probe."""
    names = b"\0.stapsdt.base\0.note.stapsdt\0f\0gV1\0h\0.note.gnu.build-id\0"
    symbols = bytes(24)
    for at, info, section in ((29, 2, 1), (31, 2, 0), (37, 10, 1)):
        symbols += struct.pack("<IBBHQQ", at, info, 0, section, 0x100, 8)
    parts = [names, symbols, _NOTE, _BUILD_ID]
    at, places = 64 + 56, []
    for part in parts:
        places.append(at)
        at += len(part)
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, at, 0, 64, 56, 1, 64, 5, 1)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0x1000, 0x1000, 1)
    sections = [(0, 0, 0, 0), (0, 3, places[0], len(names)), (0, 2, places[1], len(symbols)), (15, 7, places[2], 60)]
    sections.append((39, 7, places[3], len(_BUILD_ID)))
    table = b"".join(
        struct.pack("<IIQQQQIIQQ", name, type, 0, 0, offset, size, 1, 0, 0, 0) for name, type, offset, size in sections
    )
    return header + segment + b"".join(parts) + table


SEEDS = [_file(), _file()[:100]]
WORDS = [b"\x7fELF\1\1", b"\x7fELF\2\2", b"stapsdt\0", b"\xff\xff\xff\xff", b"\xff\xff"]


def check(data: bytes) -> None:
    descriptor = os.memfd_create("elf")
    try:
        os.write(descriptor, data)
        try:
            elf = Elf(descriptor)
            found = elf.functions()
            assert isinstance(found, Functions)
            assert all(elf.is_code(at) for places in found.own.values() for at in places)
            for one in elf.usdt():
                assert one.offset >= -1
                assert one.semaphore >= -1
            assert len(elf.build_id()) <= 64
        except ElfError:
            return
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    fuzzing.run(check, SEEDS, WORDS)
