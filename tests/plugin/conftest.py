"""An inner pytest in this process, over a source of events that a test plays: no kernel, no privilege."""

from __future__ import annotations

from importlib import import_module
from textwrap import dedent

import pytest
from fakes import FakeSource
from suites import Ran, Run

from pytest_execprobe.errors import ProbeObstructed, ProbeUnavailable
from pytest_execprobe.source import connect
from pytest_execprobe.source.connect import HelperSettings

# What the plugin imports late: pytester has each inner run forget what that has imported, and import it anew.
for late in ("baseline.update", "cli.gate", "report.assembly", "report.digest", "report.forms", "session.invocation"):
    import_module(f"pytest_execprobe.{late}")


class Played:
    """What the inner run's ``start_helper`` gives: tests of the inner suite reach it as ``played``."""

    def __init__(self) -> None:
        self.sources: list[FakeSource] = []
        self.settings: list[HelperSettings] = []
        #: Why there is no probe, if there is to be none.
        self.refusal: str | None = None
        #: Whether another process is the reason.
        self.obstructed = False
        #: Why nothing can be stopped before it runs.
        self.stops_refused: str | None = None

    def start(self, settings: HelperSettings) -> FakeSource:
        self.settings.append(settings)
        if self.refusal is not None:
            raise (ProbeObstructed if self.obstructed else ProbeUnavailable)(self.refusal)
        self.sources.append(FakeSource())
        self.sources[-1].stops_refused = self.stops_refused
        return self.sources[-1]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    import played as module

    stage = Played()
    monkeypatch.setattr(connect, "start_helper", stage.start)
    module.runs = lambda *args, **kwargs: stage.sources[-1].runs(*args, **kwargs)
    module.breaks = lambda why: setattr(stage.sources[-1], "broken", why)
    module.meanwhile = lambda what: setattr(stage.sources[-1], "meanwhile", what)
    module.denied = lambda: [*stage.sources[-1].stopped[-1][0]] if stage.sources[-1].stopped else []
    module.cannot = lambda why: setattr(stage.sources[-1], "stops_refused", why)
    module.ends = lambda top: stage.sources[-1].ends(top)
    module.exits = lambda *args, **kwargs: stage.sources[-1].exits(*args, **kwargs)
    module.leaves = lambda *args, **kwargs: stage.sources[-1].leaves(*args, **kwargs)
    return stage


@pytest.fixture
def run(pytester: pytest.Pytester, played: Played, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ARG001
    """Runs a suite of one file, and tells what came of it."""
    monkeypatch.setenv("COLUMNS", "160")  # so that pytest's summary lines fit

    def run(source: str, *options: str, conftest: str = "", ini: str = "", **outcomes: int) -> Ran:
        pytester.makeini(f"[pytest]\n{ini}")
        if conftest:
            pytester.makeconftest(conftest)
        pytester.makepyfile(test_it="import pytest\nfrom played import *\n" + dedent(source))
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
        if outcomes:
            result.assert_outcomes(**outcomes)
        return Ran(result)

    return run
