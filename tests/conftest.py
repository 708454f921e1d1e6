"""What every test of the project can use."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Generator, Iterator

import pytest

from pytest_execprobe._util import originals

pytest_plugins = ["pytester"]

#: Files of tests/compat and tests/plugin that have little to do with pytest's version: about other plugins and other
#: processes, and about baselines and reports.
BESIDE = {
    *("another_run", "anyio", "asyncio", "baselines", "crashing_workers", "exec", "fast", "green_threads"),
    *("helpers_of_workers", "inner_runs", "insubprocess", "isolated", "mock", "multiprocessing", "other_work"),
    *("pyfakefs", "randomly", "run_parallel", "socket", "stopped_clocks", "subprocess", "threads", "timeout", "zygote"),
    *("baseline_in_runs", "reports_and_the_gate", "secrets_in_runs", "sarif_of_runs", "limit_of_tests"),
    *("advice_in_runs", "call_sites", "enforcement", "enforcement_in_runs", "fork", "origins_in_runs", "rules_of_ends"),
    *("teamcity", "totals_in_runs", "unseen_calls"),
}

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
    parser.addoption(
        "--limit",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long a test's set-up, call or teardown may take, 0: for ever, as with --pdb (default 300)",
    )
    parser.addoption("--long", action="store_true", help="run what takes minutes, too, and is left out otherwise")


@pytest.hookimpl(tryfirst=True)  # before -m looks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem.removeprefix("test_").removeprefix("with_") in BESIDE:
            item.add_marker(pytest.mark.beside)
    long = [item for item in items if item.get_closest_marker("long") is not None]
    if long and not config.getoption("--long"):
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@contextlib.contextmanager
def limited(config: pytest.Config) -> Iterator[None]:
    """What waits for what does not come fails. What is tidied up then may wait, too, and gets ten seconds each time."""
    seconds: float = config.getoption("--limit")

    def over(*_: object) -> None:
        pytest.fail(f"it goes on after {seconds:g} s (--limit)")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_traced(config: pytest.Config) -> bool:
    """Whether this run's probe is ptrace, so that inner runs and recorders have no other."""
    armed = config.pluginmanager.get_plugin("execprobe-armed")
    return armed is not None and armed.recorder.description.get("backend") == "ptrace"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    if item.get_closest_marker("bpf") is not None and is_traced(item.config):
        pytest.skip("execprobe: there is no BPF here")
    with limited(item.config):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with limited(item.config):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    with limited(item.config):
        return (yield)


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
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of a job that a shell has put into the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "beside: what it is about hardly differs by pytest's version")
    config.addinivalue_line("markers", "long: this test takes minutes, or repeats much, and is run with --long alone")
    config.addinivalue_line("markers", "may_skip: this test needs what a machine may rightly lack")
    config.addinivalue_line("markers", "own_helper: this test ends helpers: none may be that of the run itself")
    config.addinivalue_line("markers", "bpf: this test is of what BPF alone does, and skipped where execs are traced")


@pytest.fixture
def kernel(request: pytest.FixtureRequest) -> None:
    """For tests that run an inner pytest on the real kernel: skipped where the outer one could not probe either. With
    ``--execprobe=off`` that has no probe which the inner runs would have to share, and is not asked."""
    if request.config.getoption("execprobe") != "off":
        request.getfixturevalue("execprobe")


@pytest.fixture
def pytester(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> pytest.Pytester:
    """Inner runs load no plugin but the project's own: what others start is not the tests' business. What those in this
    process write need not have come to the disk."""
    monkeypatch.setattr(originals, "fsync", lambda descriptor: None)  # noqa: ARG005
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_execprobe.plugin")
    backend = request.config.getoption("execprobe_backend", None)
    if backend is not None:  # of the tests under ptrace: inner runs have the same
        monkeypatch.setenv("PYTEST_ADDOPTS", f"--execprobe-backend={backend}")
    return pytester


def pytest_collection_finish() -> None:
    """Pytest collects garbage as a run ends, and in an inner run that need not look at all that is here."""
    gc.collect()
    gc.freeze()
