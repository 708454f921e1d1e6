"""The garbage collector is put off, and never for good."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from fakes import CountingProbe, FakeRun, kernel_record
from serving import Helper

from pytest_execprobe._util import collector
from pytest_execprobe._util.collector import Postponed
from pytest_execprobe.log.probe import ExecProbe
from pytest_execprobe.source import client, transport
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.timeline import timeline


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    yield
    gc.enable()


def test_it_does_not_run_within_and_does_afterwards() -> None:
    with Postponed():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_who_has_switched_it_off_has_it_off() -> None:
    gc.disable()
    with Postponed():
        pass
    assert not gc.isenabled()


def test_one_within_another_ends_with_the_outer() -> None:
    with Postponed():
        with Postponed():
            pass
        assert not gc.isenabled()


@pytest.fixture
def thawed() -> Iterator[None]:
    """What conftest.py has frozen is not."""
    gc.unfreeze()
    yield
    gc.freeze()


def make_many() -> list[list[int]]:
    return [[] for _ in range(collector._MANY + 1_000)]


@pytest.mark.usefixtures("thawed")
def test_many_objects_are_not_looked_at_until_the_oldest_are() -> None:
    runs: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            runs.append(info["generation"])

    gc.collect()
    gc.callbacks.append(note)
    try:
        with Postponed():
            made = make_many()
        younger = sum(len(gc.get_objects(generation)) for generation in (0, 1))
        assert (runs, younger < len(made)) == ([], True)
    finally:
        gc.callbacks.remove(note)


@pytest.mark.usefixtures("thawed")
def test_garbage_that_was_made_meanwhile_is_found_by_a_full_collection() -> None:
    class Node:
        pass

    with Postponed():
        node = Node()
        node.own = node  # type: ignore[attr-defined]
        gone = weakref.ref(node)
        del node
        kept = make_many()
    assert gone() is not None
    assert gc.collect() > 0
    assert (gone(), bool(kept)) == (None, True)


def test_what_others_have_frozen_stays_so() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with Postponed():
        kept = make_many()
    assert frozen > 2 * len(kept)
    assert gc.get_freeze_count() > frozen - len(kept)


@pytest.mark.usefixtures("thawed")
@pytest.mark.parametrize("step", range(1, 120))
def test_wherever_it_is_broken_into_nothing_stays_frozen(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_MANY", -1)  # so that it is any number
    test_wherever_it_is_broken_into_the_next_leaves_it_as_it_was(step)
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("step", range(1, 60))
def test_wherever_it_is_broken_into_the_next_leaves_it_as_it_was(step: int) -> None:
    postponed = Postponed()
    left = step

    def traced(frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG001
        nonlocal left
        if frame.f_code.co_filename != collector.__file__:
            return None
        frame.f_trace_opcodes = True
        left -= event == "opcode"
        if event == "opcode" and left == 0:
            raise KeyboardInterrupt
        return traced

    sys.settrace(traced)
    try:
        with postponed:
            pass
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    with postponed:
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_runs_while_an_answer_is_waited_for_and_not_while_that_is_taken_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe = CountingProbe()
    helper = Helper(probe)
    source = HelperSource(helper.connect().sock, os.getpid())
    source.register(fresh=True, timeout=30)
    runs = 10_000
    waits: list[bool] = []
    takes: list[bool] = []
    wait, decode = transport.Stream._wait, client.decode
    monkeypatch.setattr(transport.Stream, "_wait", lambda *a: waits.append(gc.isenabled()) or wait(*a))
    monkeypatch.setattr(client, "decode", lambda *a: takes.append(gc.isenabled()) or decode(*a))
    probe.submit(*(kernel_record(pid=pid, slot=(source.root, 1, pid, 1)) for pid in range(1, runs + 1)))
    batch = source.sync(30)
    assert (len(batch.events), waits[0], takes[-1]) == (runs, True, False)
    assert len(takes) > 10
    assert gc.isenabled()
    source.close()
    helper.stop()
    probe.close()


def test_a_read_takes_in_and_makes_records_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    make = timeline.Timeline.evidence
    add = timeline.Timeline.add
    monkeypatch.setattr(timeline.Timeline, "evidence", lambda *a: seen.append(gc.isenabled()) or make(*a))
    # What is empty makes nothing.
    monkeypatch.setattr(timeline.Timeline, "add", lambda *a: (a[1].events and seen.append(gc.isenabled())) or add(*a))
    run = FakeRun()
    run.begin()
    run.source.runs("git")
    assert ExecProbe(run.recorder).assert_ran("git") is None
    assert len(seen) > 1
    assert set(seen) == {False}
    assert gc.isenabled()
