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


def expecting(given: list[int], seen: int, entered: int) -> pages.Pages:
    made = pages.given(given, CPUS)
    assert made is not None
    made.expect([seen, entered], made.life)
    return made


def test_the_sums_are_those_of_all_cpus() -> None:
    made = expecting(descriptors(seen=5, entered=7), 15, 21)
    assert made.show_nothing_new()
    for others in ([15, 22], [16, 21], []):
        made.expect(others, made.life)
        assert not made.show_nothing_new()
    made.expect([15, 21], made.life)
    assert made.show_nothing_new()


def test_counters_are_looked_at_each_time() -> None:
    given = descriptors(seen=5, entered=7)
    counters = os.dup(given[0])
    made = expecting(given, 15, 21)
    assert made.show_nothing_new()
    os.pwrite(counters, wire.COUNTERS.pack(9, 9, 9, 6, 7, 9, 9), 0)
    os.close(counters)
    assert not made.show_nothing_new()
    made.expect([16, 21], made.life)
    assert made.show_nothing_new()


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


@pytest.mark.parametrize("at", [0, wire.MUTEX], ids=["has died", "has let a client go"])
def test_the_sums_of_a_helper_say_nothing_once(at: int) -> None:
    given = descriptors(seen=5, entered=7)
    life = os.dup(given[1])
    made = expecting(given, 15, 21)
    asked = made.life
    assert made.show_nothing_new()
    os.pwrite(life, b"\1", at)
    os.close(life)
    assert not made.show_nothing_new()
    made.expect([15, 21], asked)  # what it has said may be from before that
    assert not made.show_nothing_new()
    made.expect([15, 21], made.life)
    assert made.show_nothing_new()


@pytest.mark.parametrize("why", ["sums", "no sums", "no pages", "counters", "received"])
def test_a_source_shows_nothing_new_only_while_all_says_so(why: str) -> None:
    here, there = socket.socketpair()
    with here, there:
        source = HelperSource(here, os.getpid())
        source._pages = made = expecting(descriptors(seen=5, entered=7), 15, 21)
        assert source.shows_nothing_new(1, None)
        if why == "sums":
            made.expect([15, 22], made.life)
        elif why == "no sums":
            made.expect([], made.life)
        elif why == "no pages":
            source._pages = None
        elif why == "counters":
            source._pages = expecting(descriptors(seen=5, entered=8), 15, 21)
        else:
            source._connection._inbox.received.append(b"x")
        assert not source.shows_nothing_new(2, None)


@pytest.mark.parametrize("lets_go", [False, True], ids=["", "lets a client go"])
def test_the_sums_count_that_a_helper_answers_unless_it_meanwhile(
    lets_go: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = socket.socketpair()
    given = descriptors(seen=5, entered=7)
    life = os.dup(given[1])
    with here, there:
        source = HelperSource(here, os.getpid())
        source._pages = pages.given(given, CPUS)

        def answer(*_: object) -> dict[str, int]:
            os.pwrite(life, bytes([lets_go]), wire.MUTEX)
            return {"at": clock.monotonic_ns(), "in_flight": 0, "seen": 15, "entered": 21}

        monkeypatch.setattr(source._connection, "ask", answer)
        assert not source.shows_nothing_new(1, None)
        source.sync(1)
        assert source.shows_nothing_new(2, None) is not lets_go
    os.close(life)


@pytest.mark.parametrize("what", [{"received": [b"x"]}, {"rest": b"x"}, {"failure": wire.Frame(wire.FAILED, 0, b"{}")}])
def test_what_was_received_is_read_first(what: dict[str, object]) -> None:
    here, there = socket.socketpair()
    connection: Connection[object] = Connection(here, lambda _: [])
    with here, there:
        assert connection.has_taken(None)
        connection._inbox = connection._inbox._replace(**what)  # type: ignore[arg-type]
        assert not connection.has_taken(None)


def test_a_connection_has_taken_what_has_come_once_that_is_in_a_timeline() -> None:
    here, there = socket.socketpair()
    connection: Connection[object] = Connection(here, lambda _: [])
    with here, there:
        connection._inbox = connection._inbox._replace(journal=["an event"], kept=1)
        _, mark = connection.kept()
        assert not connection.has_taken(object())
        assert connection.has_taken(mark)
