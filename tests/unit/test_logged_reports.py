"""What a report of a test brings about when it is logged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_execprobe.session.outcomes import Outcomes
from pytest_execprobe.session.reporting import EXPORTED


def report(outcome: Any = "passed") -> pytest.TestReport:
    return pytest.TestReport("a", ("test_a.py", 0, "a"), {}, outcome, None, "call")


class Run:
    """One of a worker's, in which the test ``a`` was recorded."""

    def __init__(self) -> None:
        self.superseded: list[tuple[object, ...]] = []
        strays: Any = SimpleNamespace(
            takeover=SimpleNamespace(tests=set()),
            handover=None,
            recorded=0,
            has_new=False,
            supersede=lambda *of: self.superseded.append(of),
        )
        last = SimpleNamespace(item=SimpleNamespace(nodeid="a"), attempt="5", of_fixtures=(), reported={})
        run: Any = SimpleNamespace(reporting=None, strays=strays, last=last)
        self.outcomes = Outcomes(run)
        self.outcomes.recorded.add("a")


def test_one_of_a_try_that_is_to_be_repeated_takes_its_place_at_once() -> None:
    run = Run()
    run.outcomes.pytest_runtest_logreport(report())
    assert run.superseded == []
    run.outcomes.pytest_runtest_logreport(report("rerun"))
    assert run.superseded == [("a", "5")]


def test_what_one_brings_it_brings_once() -> None:
    """Some plugins have one report logged twice."""
    run, one = Run(), report()
    run.outcomes._pass_on = lambda _: None  # type: ignore[method-assign]
    vars(one)[EXPORTED] = {"recorded": 1}
    run.outcomes.pytest_runtest_logreport(one)
    assert EXPORTED in vars(one)  # until all hooks have seen it
    run.outcomes.pytest_runtest_logreport(one)
    assert EXPORTED not in vars(one)
