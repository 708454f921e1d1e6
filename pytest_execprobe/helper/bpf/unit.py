"""What BCC makes of a source: maps, and programs that refer to them. Plain data, which can be kept in a file."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from typing import Dict, List, NamedTuple, Tuple

RAW_TRACEPOINT, KPROBE, TRACEPOINT = 17, 2, 5  # uapi/linux/bpf.h, enum bpf_prog_type

_INSTRUCTION = struct.Struct("<BBhi")
_LOAD_IMMEDIATE = 0x18  # takes two instructions
_MAP_FD = 1  # its source register, where it loads a map


class Map(NamedTuple):
    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


class Program(NamedTuple):
    name: str
    type: int
    #: Its instructions. A map is given by its place in the unit's list.
    code: bytes


class Compiled(NamedTuple):
    """Compiled at once. Maps of several units that have one name are one map."""

    maps: Tuple[Map, ...]
    programs: Tuple[Program, ...]

    def dump(self) -> bytes:
        programs = [[name, kind, base64.b64encode(code).decode()] for name, kind, code in self.programs]
        return json.dumps([self.maps, programs]).encode()


def parse(data: bytes) -> Compiled:
    """What ``dump()`` has made. Raises ValueError."""
    try:
        maps, programs = json.loads(data.decode())
        unit = Compiled(
            tuple(Map(*fields) for fields in maps),
            tuple(Program(name, kind, base64.b64decode(code, validate=True)) for name, kind, code in programs),
        )
    except (TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise ValueError("it is not what was kept") from error
    if not all(map(_is_sound, [*unit.maps, *unit.programs])) or unit.dump() != data:
        raise ValueError("it is not what was kept")
    for program in unit.programs:
        with_maps(program.code, dict.fromkeys(range(len(unit.maps)), 0))
    return unit


def _is_sound(item: Tuple[object, ...]) -> bool:
    name, *rest = item
    return (isinstance(name, str) and name.isascii() and name.isidentifier()) and all(
        len(one) % 8 == 0 if isinstance(one, bytes) else type(one) is int and 0 <= one < 1 << 31 for one in rest
    )


def with_maps(code: bytes, numbers: Dict[int, int]) -> bytes:
    """The same program, with each map's number by its last one. Raises ValueError for a map that has none."""
    changed: List[bytes] = []
    second = False
    for place, (operation, registers, offset, number) in enumerate(_INSTRUCTION.iter_unpack(code)):
        if not second and operation == _LOAD_IMMEDIATE and registers >> 4 == _MAP_FD:
            if number not in numbers:
                raise ValueError("a program refers to a map that is not there")
            number = numbers[number]
            changed.append(_INSTRUCTION.pack(operation, registers, offset, number))
        else:
            changed.append(code[8 * place : 8 * place + 8])
        second = not second and operation == _LOAD_IMMEDIATE
    return b"".join(changed)
