"""pytest-insubprocess: each test in a pytest of its own, of which it reads JUnit's file: that has no errors of set-ups
and teardowns for it, and nothing of what is found later."""

from __future__ import annotations

import pytest
import runners
from inner import Inner, needs

pytestmark = needs("pytest_insubprocess")

PLUGINS = ("pytest_insubprocess",)


@pytest.fixture(autouse=True)
def loaded(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001  (it takes the variable away)
    """The inner session is given none of this run's arguments, and here no plugin loads by itself."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_execprobe.plugin -p pytest_insubprocess")


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=runners.SUITE.replace("MARK", "").replace("exec_", "with_"))
    inner.as_without(*runners.SELECTED, "--execprobe-audit", "--insubprocess", "-W", "ignore", plugins=PLUGINS)


def test_one_verdict_one_summary_one_report(inner: Inner) -> None:
    """Although the inner session is given no option of this run's."""
    runners.check(inner, mark="@pytest.mark.insubprocess", junit_apart=True, plugins=PLUGINS)  # as of 1.2


def test_what_junits_file_does_not_say_is_an_error_all_the_same(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.fixture
        def ends():
            yield
            subprocess.run(["uname"])

        @pytest.mark.exec_deny("uname")
        def test_teardown(ends):
            pass

        @pytest.mark.exec_deny("uname", phases=["call"])
        def test_keeps(ends):
            pass
        """
    )
    run = inner.run("--insubprocess", plugins=PLUGINS)
    assert run.outcomes == {"test_teardown": ["passed", "error"], "test_keeps": ["passed"]}
    assert "uname must not run, but it ran once (teardown phase)" in run.text("test_teardown", "error")
    assert run.ret == 1


def test_what_is_unknown_inside_is_an_error(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import pytest
        from lose import lose_helper

        @pytest.mark.xfail(reason="so")
        @pytest.mark.exec_none(phases=["call"])
        def test_loses(request):
            lose_helper(request.config)
        """
    )
    run = inner.run("--insubprocess", plugins=PLUGINS)
    assert "error" in run.outcomes["test_loses"] or "failed" in run.outcomes["test_loses"]
    assert run.ret == 1


def test_only_marked_tests(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_budget(1)
        def test_before():
            subprocess.run(["true"])

        @pytest.mark.insubprocess
        @pytest.mark.exec_budget(1)
        def test_apart(execprobe):
            subprocess.run(["true"])
            assert execprobe.programs == ["true"]

        @pytest.mark.exec_budget(0)
        def test_after():
            subprocess.run(["true"])
        """
    )
    run = inner.run("--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes == {"test_before": ["passed"], "test_apart": ["passed"], "test_after": ["failed"]}
    assert "recorded        4 execs in 3 tests and around them, 0 lost" in run.summary()
