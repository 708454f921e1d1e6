"""A pytest plugin that suites.py puts beside a suite: writes what the audit of the run has counted."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

REPORTING = "execprobe-reporting"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--execprobe-totals", metavar="FILE", help="write the audit's totals, as JSON")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--execprobe-totals")
    if file is None:
        return
    reporting = session.config.pluginmanager.get_plugin(REPORTING)
    # What is entered after this is not asked for.
    until = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    totals = None if reporting is None else reporting.totals.summed()
    if totals is not None and "since" not in totals:
        armed = session.config.pluginmanager.get_plugin("execprobe-armed")
        totals["since"] = armed and armed.recorder.since  # when the probe was armed; 0 if it never was
    # strace's time stamps are wall clock.
    wall = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    Path(file).write_text(json.dumps({"totals": totals, "until": until, "wall": wall}))
