"""The hooks of a run that probes: they tell the recorder when tests, phases and wider fixtures begin and end."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

from .client import HelperSettings, start_helper
from .errors import IncompleteLogError, ProbeUnavailable
from .log import ExecProbe
from .outcome import UNDECIDED, Outcome
from .recorder import Recorder
from .render import Style


class Armed:
    """Registered as a plugin once a test needs the probe."""

    def __init__(self, config: pytest.Config, settings: HelperSettings, timeout: float) -> None:
        self._recorder = Recorder(lambda: start_helper(settings), style=Style(config.get_verbosity()), timeout=timeout)
        if not config.pluginmanager.has_plugin(Outcome.__name__):
            config.pluginmanager.register(Outcome(), Outcome.__name__)
        self._began: pytest.Item | None = None
        self._refusal: str | None = None
        self._connect()

    def _connect(self) -> None:
        if self._refusal is None:
            try:
                self._recorder.ensure()
            except ProbeUnavailable as error:
                self._refusal = str(error)

    # ---- the fixture ----

    def probe(self, item: pytest.Item) -> ExecProbe:
        if self._began is not item:  # armed in the middle of this test, by request.getfixturevalue()
            self._begin_late(item)
        self._connect()
        if self._refusal is not None:
            if self._recorder.was_armed:  # a skip would hide that the probe was lost on the way
                raise ProbeUnavailable(self._refusal)
            pytest.skip(self._refusal)
        self._recorder.in_use = True
        return ExecProbe(self._recorder)

    def _begin_late(self, item: pytest.Item) -> None:
        self._began = item
        self._recorder.begin_test(item.nodeid, under_way=True)
        self._recorder.begin_phase("setup")
        # pytest's own word for where it is: "path::test (call)".
        if os.environ.get("PYTEST_CURRENT_TEST", "").endswith("(call)"):
            self._recorder.skip_to_call()

    # ---- tests and phases ----

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        self._began = item
        if "execprobe" in getattr(item, "fixturenames", ()):
            self._connect()  # a new one, if the last was lost
            self._recorder.in_use = self._refusal is None
        self._recorder.begin_test(item.nodeid)
        self._recorder.begin_phase("setup")
        try:
            return (yield)
        finally:
            self._recorder.end_phase()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        self._recorder.begin_phase("call")
        try:
            return (yield)
        finally:
            self._recorder.end_phase()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        if self._began is item:
            self._recorder.begin_phase("teardown")
        try:
            return (yield)
        finally:
            if self._began is item:
                self._recorder.end_phase()
                self._recorder.end_test()
                self._began = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        span = self._recorder.open_fixture(f"fixture {fixturedef.argname!r} ({fixturedef.scope})")
        try:
            return (yield)
        finally:
            self._recorder.close_fixture(span)

    def pytest_unconfigure(self) -> None:
        self._recorder.close()

    # ---- what is not known never passes ----

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.excinfo is not None and _is_incomplete(call.excinfo.value):
            # An xfail made it a skip, and strict or not a good outcome.
            report.outcome = "failed"
            report.__dict__.pop("wasxfail", None)
            report.longrepr = item.repr_failure(call.excinfo)
            report.__dict__[UNDECIDED] = True
        return report


def _is_incomplete(error: BaseException | None) -> bool:
    """Whether a check that could not be decided is behind an exception."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, IncompleteLogError):
            return True
        todo += [current.__cause__, current.__context__, *getattr(current, "exceptions", ())]
    return False
