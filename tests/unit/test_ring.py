"""Perf buffers, read from memory that a test writes as the kernel does."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_execprobe.helper import wire
from pytest_execprobe.helper.bpf.ring import Ring

PAGES = 2
SIZE = PAGES * mmap.PAGESIZE
SAMPLE, LOST = 9, 2  # enum perf_event_type
HEAD, TAIL = 1024, 1032  # struct perf_event_mmap_page


class Kernel:
    """The side that writes, into the same file."""

    def __init__(self, begin: int = 0) -> None:
        self.fd = os.memfd_create("ring")
        os.truncate(self.fd, mmap.PAGESIZE + SIZE)
        self._memory = mmap.mmap(self.fd, mmap.PAGESIZE + SIZE)
        self._head = begin
        struct.pack_into("=QQ", self._memory, HEAD, begin, begin)
        self.ring = Ring(self.fd, PAGES)

    @property
    def room(self) -> int:
        (tail,) = struct.unpack_from("=Q", self._memory, TAIL)
        return SIZE - (self._head - int(tail))

    def write(self, record: bytes) -> bool:
        """False if there is no room."""
        if len(record) > self.room:
            return False
        for byte in record:
            self._memory[mmap.PAGESIZE + self._head % SIZE] = byte
            self._head += 1
        struct.pack_into("=Q", self._memory, HEAD, self._head)
        return True

    def read(self) -> list[bytes]:
        """The records, by the pieces in which they are sent."""
        found = []
        for piece in wire.pieces(self.ring.take()):
            data, at, before = bytes(piece.data), 0, len(found)
            while at < len(data):
                type, size, length = wire.EVENT.unpack_from(data, at)
                if type == wire.WHOLE:
                    found.append(data[at + wire.EVENT.size :][:length])
                at += size
            assert (at, len(found) - before) == (len(data), piece.number)
        return found

    def close(self) -> None:
        os.close(self.fd)


def sample(data: bytes) -> bytes:
    """What ``perf_submit`` of this makes: its length is rounded up, so that the whole record is a multiple of eight."""
    length = (len(data) + 4 + 7) // 8 * 8 - 4
    return struct.pack("=IHHI", SAMPLE, 0, 12 + length, length) + data.ljust(length, b"\0")


def lost(number: int) -> bytes:
    return struct.pack("=IHHQQ", LOST, 0, 24, 1, number)


def of_size(size: int, fill: bytes = b"x") -> bytes:
    """A record of so many bytes in all."""
    made = sample(fill * (size - 12))
    assert len(made) == size
    return made


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    made.close()


def test_an_empty_buffer_has_nothing(kernel: Kernel) -> None:
    assert kernel.ring.take() == b""
    assert kernel.read() == []


@pytest.mark.parametrize("size", range(1, 18))
def test_a_record_is_what_was_submitted_and_up_to_seven_bytes_more(kernel: Kernel, size: int) -> None:
    data = bytes(range(1, size + 1))
    kernel.write(sample(data))
    kernel.write(sample(b"next"))
    found, after = kernel.read()
    assert found.startswith(data)
    assert found[size:] == bytes(len(found) - size)
    assert len(found) - size < 8
    assert after == b"next"


def test_what_was_taken_leaves_room_and_is_not_taken_again(kernel: Kernel) -> None:
    kernel.write(sample(b"once"))
    assert kernel.room < SIZE
    assert kernel.read() == [b"once"]
    assert kernel.room == SIZE
    assert kernel.read() == []


def test_a_buffer_that_is_full_to_the_last_byte_is_not_taken_for_an_empty_one(kernel: Kernel) -> None:
    for _ in range(SIZE // 1024):
        assert kernel.write(of_size(1024))
    assert not kernel.write(of_size(16))
    assert [len(record) for record in kernel.read()] == [1012] * (SIZE // 1024)
    assert kernel.write(of_size(16))


@pytest.mark.parametrize("before_the_end", range(8, 48, 8))
def test_a_record_across_the_end_is_one(before_the_end: int) -> None:
    """The end can be in its header, in its length, and in what was submitted."""
    kernel = Kernel(SIZE - before_the_end)
    kernel.write(sample(b"twenty bytes, and 4."))
    kernel.write(sample(b"next"))
    assert kernel.read() == [b"twenty bytes, and 4.", b"next"]
    kernel.close()


def test_a_stretch_up_to_the_very_end(kernel: Kernel) -> None:
    kernel.write(of_size(SIZE))
    assert [len(record) for record in kernel.read()] == [SIZE - 12]
    kernel.write(sample(b"next"))
    assert kernel.read() == [b"next"]


def test_counters_go_on_beyond_four_gigabytes() -> None:
    kernel = Kernel((1 << 32) - 8)
    kernel.write(sample(b"twenty bytes, and 4."))
    assert kernel.read() == [b"twenty bytes, and 4."]
    kernel.close()


def test_what_the_kernel_says_of_its_losses_is_no_record(kernel: Kernel) -> None:
    """They are counted elsewhere, and it says this only when a later record finds room."""
    for record in (lost(3), sample(b"one!"), lost(1), lost(2), sample(b"two!"), lost(9)):
        kernel.write(record)
    assert kernel.read() == [b"one!", b"two!"]


STEPS = st.lists(st.binary(max_size=3000) | st.sampled_from([None, 0]), max_size=40)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, SIZE // 8 - 1).map(lambda place: 8 * place), STEPS)
def test_all_that_found_room_is_taken_once_and_in_order(begin: int, steps: list[bytes | int | None]) -> None:
    """None: it is read; 0: the kernel says that it has lost some."""
    kernel = Kernel(begin)
    written: list[bytes] = []
    taken: list[bytes] = []
    for step in steps:
        if step is None:
            taken += kernel.read()
        elif isinstance(step, int):
            kernel.write(lost(step))
        elif kernel.write(sample(step)):
            written.append(step)
    taken += kernel.read()
    kernel.close()
    assert [record[: len(data)] for record, data in zip(taken, written, strict=True)] == written
