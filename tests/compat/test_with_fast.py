"""pytest-fast: workers that a resident daemon's fork server forks. The first run starts it, and sees what it does; to
the next ones it is no process of theirs, and what they know comes with the reports of their tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest
import runners
from inner import Inner, gone, needs

# It is for Python from 3.11 on.
pytestmark = [needs("pytest_fast"), *([pytest.mark.may_skip] if sys.version_info < (3, 11) else [])]

PLUGINS = ("xdist.plugin", "pytest_fast")  # it gives pytest an option of pytest-xdist's, where that is installed
OPTIONS = ("--fast", "--fast-workers=2", "--fast-ttl=120")


@pytest.fixture(autouse=True)
def daemon(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its own for each test, and gone with it."""
    address = inner.path / "f"
    monkeypatch.setenv("PYTEST_FAST_ADDRESS", str(address))
    # No plugin loads by itself in it.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_execprobe.plugin -p xdist.plugin -p pytest_fast")
    yield
    pid = inner.path / "f.pid"
    if pid.exists():
        number = int(pid.read_text())
        os.kill(number, signal.SIGTERM)
        assert gone(number)


def test_one_verdict_one_summary_one_report(inner: Inner) -> None:
    run = runners.check(inner, *OPTIONS, plugins=PLUGINS)
    assert "still running   3 processes" in run.summary()


def test_the_next_run_has_the_same(inner: Inner) -> None:
    inner.suite(test_it=runners.SUITE.replace("MARK", ""))
    rules = ("--execprobe-deny=uname", "--execprobe-audit", "--execprobe-report=report.json")
    inner.run(*OPTIONS, *rules, plugins=PLUGINS)
    run = runners.check(inner, *OPTIONS, plugins=PLUGINS)
    assert "recorded        6 execs in 6 tests and around them, 0 lost" in run.summary()
    assert "still running" not in run.summary()


def test_a_daemon_with_other_rules_decides_nothing(inner: Inner) -> None:
    """It has those of the run that has started it, while the next one has its own."""
    inner.suite(
        test_it="""
        import subprocess

        def test():
            subprocess.run(["uname"])
        """
    )
    assert inner.run(*OPTIONS, "--execprobe-deny=true", plugins=PLUGINS).outcomes == {"test": ["passed"]}
    run = inner.run(*OPTIONS, "--execprobe-deny=uname", plugins=PLUGINS)
    assert run.outcomes == {"test": ["passed", "error"]}
    assert "it ran in another process, which has judged it by other rules than this run's" in run.text("test", "error")
    assert run.ret == 1


def test_rules_of_tests_alone(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_budget(1)
        def test_keeps(execprobe):
            subprocess.run(["true"])
            assert execprobe.programs == ["true"]

        @pytest.mark.exec_none
        def test_breaks():
            subprocess.run(["true"])
        """
    )
    for _ in range(2):
        run = inner.run(*OPTIONS, plugins=PLUGINS)
        assert run.outcomes == {"test_keeps": ["passed"], "test_breaks": ["failed"]}
        assert "nothing may run, but true ran" in run.text("test_breaks")


def test_a_worker_that_is_killed_is_missed(inner: Inner) -> None:
    """By a run that does not see it: what else it ran is not known."""
    inner.suite(
        test_it="""
        import os, pathlib, signal, subprocess

        def test_before():
            subprocess.run(["true"])

        def test_killed():
            if pathlib.Path("kill").exists():
                os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    options = ("--fast", "--fast-workers=1", "--fast-ttl=120", "--execprobe-deny=uname")
    assert inner.run(*options, plugins=PLUGINS).ret == 0
    (inner.path / "kill").touch()
    run = inner.run(*options, plugins=PLUGINS)
    assert run.outcomes["outside of tests"] == ["error"]
    assert "ended before it had sent all that it recorded" in run.text("outside of tests", "error")
    assert run.ret != 0
