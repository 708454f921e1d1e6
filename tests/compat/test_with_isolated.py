"""pytest-isolated: groups of tests run in a pytest of their own, which judges them for the run around it."""

from __future__ import annotations

import os

import pytest
import runners
from inner import Inner, needs

pytestmark = needs("pytest_isolated")

PLUGINS = ("pytest_isolated.plugin",)


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=runners.SUITE.replace("MARK", "@pytest.mark.isolated").replace("exec_", "with_"))
    run = inner.as_without(*runners.SELECTED, "--execprobe-audit", "-W", "ignore", plugins=PLUGINS)
    assert run.outcomes["test_expected"] == ["xpassed"]


@pytest.mark.both_probes(long=True)
def test_one_verdict_one_summary_one_report(inner: Inner) -> None:
    run = runners.check(inner, mark="@pytest.mark.isolated", plugins=PLUGINS)
    assert "recorded        12 execs in 6 tests" in run.summary()  # 6 times python
    assert "outside of tests: python" in run.summary()


def test_groups_at_once(inner: Inner) -> None:
    runners.check(inner, "--isolated-numprocesses=3", mark="@pytest.mark.isolated", plugins=PLUGINS)


def test_a_baseline_has_the_rows_of_both(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.isolated
        def test_isolated():
            subprocess.run(["true"])

        def test_here():
            subprocess.run(["uname"])
        """
    )
    options = ("--execprobe-baseline=execs.toml", "-p", "no:randomly")
    assert inner.run(*options, "--execprobe-update", plugins=PLUGINS).ret == 0
    written = (inner.path / "execs.toml").read_text()
    assert '"test_it.py::test_isolated"' in written
    assert '"test_it.py::test_here"' in written
    assert inner.run(*options, plugins=PLUGINS).ret == 0
    (inner.path / "execs.toml").write_text(written.replace("true = 1", "true = 0"))
    run = inner.run(*options, plugins=PLUGINS)
    assert run.outcomes == {"test_isolated": ["failed"], "test_here": ["passed"]}


def test_a_session_budget_is_judged_once(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.isolated
        @pytest.mark.parametrize("number", range(3))
        def test(number):
            subprocess.run(["true"])
        """
    )
    run = inner.run("--execprobe-session-budget=5", plugins=PLUGINS)
    assert run.outcomes == {
        "test[0]": ["passed"],
        "test[1]": ["passed"],
        "test[2]": ["passed"],
        "session budget": ["error"],
    }
    assert "session budget exceeded: 6 execs, at most 5 allowed" in run.out


def test_files_are_named_from_where_the_run_was_started(inner: Inner) -> None:
    """And not from the root directory, in which its processes are."""
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.isolated
        def test():
            subprocess.run(["true"])
        """
    )
    other = inner.path.parent / "report.json"
    other.write_text("kept")
    options = ("--rootdir=..", "--execprobe-report=report.json", "--execprobe-baseline=execs.toml")
    assert inner.run(*options, "--execprobe-update", plugins=PLUGINS).ret == 0
    assert inner.run(*options, plugins=PLUGINS).ret == 0
    assert runners.of_tests(inner.path / "report.json") == {"test": {"true": 1}}
    assert other.read_text() == "kept"


def test_what_runs_in_the_inner_session_around_its_tests_is_judged_once(inner: Inner) -> None:
    """Between its tests by that one, and when it is over by the run around it."""
    inner.suite(
        conftest="""
        import os, subprocess
        is_inner = os.environ.get("PYTEST_RUNNING_IN_SUBPROCESS") == "1"

        def pytest_runtest_logstart():
            if is_inner:
                subprocess.run(["uname"])

        def pytest_runtest_logfinish():
            if is_inner:
                subprocess.run(["ls"])

        def pytest_unconfigure():
            if is_inner:
                subprocess.run(["date"])
        """,
        test_it="""
        import subprocess, pytest

        @pytest.mark.isolated
        def test():
            subprocess.run(["true"])
        """,
    )
    options = ("--execprobe-audit", "--execprobe-report=report.json")
    run = inner.run(*(f"--execprobe-deny={name}" for name in ("uname", "ls", "date")), *options, plugins=PLUGINS)
    assert {*run.outcomes} == {"test", "outside of tests"}
    assert run.outcomes["test"] == ["passed"]
    said = "".join(report.text for report in run.reports if report.category == "error")
    for name in ("uname", "ls", "date"):
        assert said.count(f"{name} must not run, but it ran once (outside of tests)") == 1
    assert "recorded        5 execs in 1 test and around them, 0 lost" in run.summary()
    assert run.ret == 1
    assert runners.of_tests(inner.path / "report.json") == {"test": {"true": 1}}


def test_a_detached_process_is_its_tests(inner: Inner) -> None:
    """While the inner session goes on."""
    inner.suite(test_it=runners.LEAVES.replace("MARK", "pytestmark = pytest.mark.isolated(group='one')"))
    os.mkfifo(inner.path / "go")
    os.mkfifo(inner.path / "done")
    run = inner.run("--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes == {"test_leaves": ["passed", "error"], "test_next": ["passed"]}
    assert "uname must not run, but it ran once (left behind)" in run.text("test_leaves", "error")
