"""What a process maps of its helper, and what it leaves alone."""

from __future__ import annotations

import mmap
import os
import socket
from pathlib import Path

import pytest
from descriptors import opened

from pytest_execprobe._util import clock
from pytest_execprobe.helper import wire
from pytest_execprobe.source import pages
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.transport import Connection

CPUS = 3


def descriptors(seen: int = 0, entered: int = 0) -> list[int]:
    """Of counters, the same on each CPU, and of what stands for a life."""
    counters = os.memfd_create("counters")
    os.write(counters, wire.COUNTERS.pack(9, 9, 9, seen, entered, 9, 9) * CPUS)
    life = os.memfd_create("life")
    os.truncate(life, mmap.PAGESIZE)
    return [counters, life]


def test_the_sums_are_those_of_all_cpus() -> None:
    made = pages.given(descriptors(seen=5, entered=7), CPUS)
    assert made is not None
    assert made.show((15, 21))
    assert not made.show((15, 22))
    assert not made.show((16, 21))
    assert made.show((15, 21))


def test_counters_are_looked_at_each_time() -> None:
    given = descriptors(seen=5, entered=7)
    counters = os.dup(given[0])
    made = pages.given(given, CPUS)
    assert made is not None
    assert made.show((15, 21))
    os.pwrite(counters, wire.COUNTERS.pack(9, 9, 9, 6, 7, 9, 9), 0)
    os.close(counters)
    assert not made.show((15, 21))
    assert made.show((16, 21))


def test_no_descriptor_is_kept() -> None:
    """A test may close all of them and open its files there: none of those is to be closed in the end."""
    before = opened()
    made = pages.given(descriptors(), CPUS)
    assert made is not None
    assert opened() <= before


@pytest.mark.parametrize("number", [0, 1])
def test_what_does_not_come_whole_is_not_used(number: int) -> None:
    whole = descriptors()
    assert pages.given(whole[:number], CPUS) is None
    for descriptor in whole[number:]:
        os.close(descriptor)


def test_what_can_not_be_mapped_is_not_used(tmp_path: Path) -> None:
    counters, life = descriptors()
    os.close(counters)
    assert pages.given([os.open(tmp_path, os.O_RDONLY), life], CPUS) is None


def test_a_python_without_ctypes_asks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_mmap", None)
    assert pages.given(descriptors(), CPUS) is None


def test_what_is_executed_meanwhile_inherits_none_of_them() -> None:
    here, there = socket.socketpair()
    with here, there:
        connection = Connection(here, lambda _: [])  # type: ignore[var-annotated]
        sent = descriptors()
        socket.send_fds(there, [wire.frame(wire.PAGES_GIVEN, 1, {"cpus": CPUS})], sent)
        _, got = connection.ask_for_descriptors(wire.PAGES, clock.monotonic() + 30)
    assert [os.get_inheritable(descriptor) for descriptor in got] == [False, False]
    for descriptor in (*sent, *got):
        os.close(descriptor)


def test_the_sums_of_a_helper_that_has_died_say_nothing() -> None:
    given = descriptors(seen=5, entered=7)
    life = os.dup(given[1])
    made = pages.given(given, CPUS)
    assert made is not None
    assert made.show((15, 21))
    os.pwrite(life, b"\1", 0)  # as the kernel does
    os.close(life)
    assert not made.show((15, 21))


def test_a_connection_is_quiet_while_both_ends_are_open() -> None:
    here, there = socket.socketpair()
    connection: Connection[object] = Connection(here, lambda _: [])
    with here:
        assert connection.is_quiet(None)
        there.close()
        assert not connection.is_quiet(None)


def test_what_a_test_has_put_in_the_place_of_a_connection_is_not_quiet() -> None:
    here, there = socket.socketpair()
    others = socket.socketpair()
    connection: Connection[object] = Connection(here, lambda _: [])
    with here, there, others[0], others[1]:
        os.dup2(others[0].fileno(), here.fileno())
        assert not connection.is_quiet(None)


def test_what_has_come_is_read_before_a_connection_is_quiet() -> None:
    here, there = socket.socketpair()
    connection: Connection[object] = Connection(here, lambda _: [])
    with here, there:
        there.send(b"x")
        assert not connection.is_quiet(None)


@pytest.mark.parametrize("why", ["sums", "no sums", "no pages", "counters", "connection"])
def test_a_source_shows_nothing_new_only_while_all_says_so(why: str) -> None:
    here, there = socket.socketpair()
    with here, there:
        source = HelperSource(here, os.getpid())
        source._pages, source._sums = pages.given(descriptors(seen=5, entered=7), CPUS), (15, 21)
        assert source.shows_nothing_new(1, None)
        if why == "sums":
            source._sums = (15, 22)
        elif why == "no sums":
            source._sums = None
        elif why == "no pages":
            source._pages = None
        elif why == "counters":
            source._pages = pages.given(descriptors(seen=5, entered=8), CPUS)
        else:
            there.close()
        assert not source.shows_nothing_new(2, None)


def test_a_connection_is_quiet_once_what_has_come_is_taken_in() -> None:
    here, there = socket.socketpair()
    connection: Connection[object] = Connection(here, lambda _: [])
    with here, there:
        connection._inbox = connection._inbox._replace(journal=["an event"], kept=1)
        _, mark = connection.kept()
        assert not connection.is_quiet(object())
        assert connection.is_quiet(mark)
