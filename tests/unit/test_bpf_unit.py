"""What was compiled, as bytes that are kept; and the maps that a program refers to."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execprobe.helper.bpf.unit import RAW_TRACEPOINT, Compiled, Map, Program, parse, with_maps

NUMBERS = st.integers(0, (1 << 31) - 1)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
MAPS = st.builds(Map, NAMES, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)


def instruction(operation: int, registers: int = 0, number: int = 0) -> bytes:
    return struct.pack("<BBhi", operation, registers, 0, number)


def load(source: int, number: int, second: bytes = instruction(0)) -> bytes:
    """Loads 64 bits into register 1: what ``source`` says that the number is."""
    return instruction(0x18, source << 4 | 1, number) + second


RETURN = instruction(0xB7) + instruction(0x95)


@st.composite
def units(draw: st.DrawFn) -> Compiled:
    maps = draw(st.lists(MAPS, max_size=3))
    parts = [st.just(RETURN), NUMBERS.map(lambda number: load(0, number))]
    if maps:
        parts.append(st.integers(0, len(maps) - 1).map(lambda place: load(1, place)))
    codes = st.lists(st.one_of(parts), max_size=4).map(b"".join)
    return Compiled(tuple(maps), tuple(draw(st.lists(st.builds(Program, NAMES, NUMBERS, codes), max_size=3))))


@given(units())
def test_what_is_kept_is_what_was_compiled(unit: Compiled) -> None:
    assert parse(unit.dump()) == unit


@given(units(), st.data())
def test_what_was_changed_is_refused_or_is_what_could_have_been_kept(unit: Compiled, data: st.DataObject) -> None:
    kept = bytearray(unit.dump())
    at = data.draw(st.integers(0, len(kept) - 1))
    kept[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    refused_or_kept(bytes(kept))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["counts", "lwAAAAAAAAA="]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(JSON | st.tuples(st.lists(JSON), st.lists(JSON)))
def test_json_of_another_form_is_refused(value: object) -> None:
    refused_or_kept(json.dumps(value).encode())


@given(st.binary())
def test_what_is_no_json_is_refused(data: bytes) -> None:
    refused_or_kept(data)


def refused_or_kept(data: bytes) -> None:
    try:
        unit = parse(data)
    except ValueError:
        return
    assert unit.dump() == data
    for name, *fields in [*unit.maps, *unit.programs]:
        assert isinstance(name, str)
        assert name.isascii()
        assert name.isidentifier()
        assert all(isinstance(field, bytes) or 0 <= field < 1 << 31 for field in fields)
    for program in unit.programs:
        with_maps(program.code, dict.fromkeys(range(len(unit.maps)), 3))


GOOD = ["counts", 6, 4, 72, 1, 0]


@pytest.mark.parametrize(
    ("maps", "programs"),
    [
        ("", ""),  # no lists
        ([GOOD[:-1]], []),
        ([[*GOOD, 0]], []),
        ([["counts", 6, 4, 72, 1, True]], []),
        ([["counts", 6, 4, 72, 1.0, 0]], []),
        ([["counts", 6, -4, 72, 1, 0]], []),
        ([["counts", 6, 4, 1 << 31, 1, 0]], []),
        ([["", 6, 4, 72, 1, 0]], []),
        ([["a\0b", 6, 4, 72, 1, 0]], []),
        ([["\ud800", 6, 4, 72, 1, 0]], []),  # what can't be encoded
        ([[6, 6, 4, 72, 1, 0]], []),
        ([], [["on_exec", RAW_TRACEPOINT, "lwAAAAAAAA=="]]),  # seven bytes
        ([], [["on_exec", RAW_TRACEPOINT, "*wAAAAAAAAA="]]),  # no base64
        ([], [["on_exec", RAW_TRACEPOINT, 149]]),
        ([GOOD], [["on_exec", RAW_TRACEPOINT, "GBEAAAEAAAAAAAAAAAAAAA=="]]),  # it refers to a second map
    ],
)
def test_what_dump_does_not_write_is_refused(maps: object, programs: object) -> None:
    with pytest.raises(ValueError, match=r"it is not what was kept|a map that is not there"):
        parse(json.dumps([maps, programs]).encode())


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ValueError, match="it is not what was kept"):
        parse(b"[" * 100_000)


def test_a_map_is_given_another_number_and_all_else_stays() -> None:
    before = load(0, 1) + load(1, 1) + RETURN + load(1, 0)
    assert with_maps(before, {0: 30, 1: 31}) == load(0, 1) + load(1, 31) + RETURN + load(1, 30)


@pytest.mark.parametrize("source", [0, 1])
def test_the_second_half_of_a_number_is_no_reference_whatever_it_looks_like(source: int) -> None:
    """A number of 64 bits is in two instructions, and in the second all bits but its half are zero in what the kernel
    takes; but it is the kernel that says so, and what follows must not be mistaken either."""
    like_one = instruction(0x18, 0x11, 1)
    before = load(source, 0, like_one) + load(1, 0) + RETURN
    assert with_maps(before, {0: 30}) == load(source, 30 if source else 0, like_one) + load(1, 30) + RETURN


def test_other_instructions_with_that_source_register_are_no_references() -> None:
    code = instruction(0xBF, 0x11) + instruction(0x79, 0x16, 8) + RETURN
    assert with_maps(code, {}) == code


def test_a_map_that_is_not_there_is_no_map() -> None:
    with pytest.raises(ValueError, match="a map that is not there"):
        with_maps(load(1, 2), {0: 30, 1: 31})
