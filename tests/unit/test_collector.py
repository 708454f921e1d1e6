"""The garbage collector is put off, and never for good."""

from __future__ import annotations

import gc
import os
import sys
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
    runs = 5_000
    waits: list[bool] = []
    takes: list[bool] = []
    wait, decode = transport.Stream._wait, client.decode
    monkeypatch.setattr(transport.Stream, "_wait", lambda *a: waits.append(gc.isenabled()) or wait(*a))
    monkeypatch.setattr(client, "decode", lambda *a: takes.append(gc.isenabled()) or decode(*a))
    probe.submit(*(kernel_record(pid=pid, slots=[(source.root, 1, pid, 1)]) for pid in range(1, runs + 1)))
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
    monkeypatch.setattr(timeline.Timeline, "add", lambda *a: seen.append(gc.isenabled()) or add(*a))
    run = FakeRun()
    run.begin()
    run.source.runs("git")
    assert ExecProbe(run.recorder).assert_ran("git") is None
    assert set(seen) == {False}
    assert gc.isenabled()
