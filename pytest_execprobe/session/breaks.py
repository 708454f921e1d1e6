"""Phases that were broken off, also where a hook of others has it that nothing was wrong."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from .run import ProbedRun


class Breaks:
    """Registered in an update, within all other hooks of a test's phases: one of these may keep an exception from the
    probe's own, and what the test has not run for it has rows."""

    def __init__(self, run: ProbedRun) -> None:
        self._run = run

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            return (yield)
        except BaseException:
            test = self._run.test
            if test is not None and test.item is item:
                test.broken_off = True
            raise

    pytest_runtest_call = pytest_runtest_teardown = pytest_runtest_setup

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        return (yield from self.pytest_runtest_setup(pyfuncitem))
