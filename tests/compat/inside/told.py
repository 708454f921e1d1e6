"""A plugin of the inner runs, with the probe and without it: writes down every report as it is shown, and every helper
that records one of the run's processes. The outer run reads the file line by line, so a crash takes nothing back."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

import pytest

# A test may have replaced what is in the module.
_getpid, _write = functools.partial(os.getpid), functools.partial(os.write)


class Teller:
    def __init__(self, config: pytest.Config, path: str) -> None:
        self._config = config
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._known: set[tuple[int, int]] = set()

    def _tell(self, **fields: Any) -> None:
        _write(self._file, json.dumps(fields).encode() + b"\n")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tell_helper()
        if hasattr(self._config, "workerinput"):
            return
        status = self._config.hook.pytest_report_teststatus(report=report, config=self._config)
        if status is None:  # without a terminal: then as that shows it
            status = (report.outcome if report.when == "call" else "error" if report.failed else "",)
        self._tell(
            nodeid=report.nodeid,
            when=report.when,
            category=status[0],
            text=report.longreprtext,
            sections=[list(section) for section in report.sections],
            properties=[list(pair) for pair in report.user_properties],
        )

    def _tell_helper(self) -> None:
        armed: Any = self._config.pluginmanager.get_plugin("execprobe-armed")
        helper = armed and armed.recorder.description.get("pid")
        if helper and (helper, _getpid()) not in self._known:
            self._known.add((helper, _getpid()))
            self._tell(helper=helper, process=_getpid())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Any:
        self._tell_helper()
        return (yield)


def pytest_configure(config: pytest.Config) -> None:
    path = os.environ.get("EXECPROBE_TOLD")
    if path and "PYTEST_RUNNING_IN_SUBPROCESS" not in os.environ:  # else by the run that pytest-isolated is part of
        config.pluginmanager.register(Teller(config, path))
