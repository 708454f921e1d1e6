"""What every test of the project can use."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

pytest_plugins = ["pytester"]

try:
    from hypothesis import settings
except ImportError:
    pass  # tests/compat runs without it
else:
    # Time is measured in a benchmark; and what CI says of a commit is the same each time.
    settings.register_profile("ci", deadline=None, derandomize=True)
    settings.register_profile("here", deadline=None)
    settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-probe",
        action="store_true",
        help="a test that is skipped because this machine can't probe, or lacks a program, fails instead",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    lacking = report.skipped and not hasattr(report, "wasxfail")
    if lacking and item.config.getoption("--require-probe") and item.get_closest_marker("may_skip") is None:
        report.outcome = "failed"
        report.longrepr = f"with --require-probe nothing may be skipped: {call.excinfo and call.excinfo.value}"
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "may_skip: this test needs what a machine may rightly lack")


@pytest.fixture
def kernel(execprobe: object) -> None:
    """For tests that run an inner pytest on the real kernel: skipped where the outer one could not probe either."""


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Inner runs load no plugin but the project's own: what others start is not the tests' business."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_execprobe.plugin")
    return pytester
