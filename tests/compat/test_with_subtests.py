"""Subtests, pytest's own from 9.0 on and pytest-subtests' before: a rule speaks of the whole test."""

from __future__ import annotations

import pytest
from inner import Inner, needs, pytest_version

BUILT_IN = pytest_version() >= (9, 0)
PLUGINS = () if BUILT_IN else ("pytest_subtests.plugin",)

pytestmark = [] if BUILT_IN else needs("pytest_subtests")

PLAIN = """
import subprocess, pytest

def test_pass(subtests):
    for n in range(3):
        with subtests.test(n=n):
            subprocess.run(["true"])

def test_one_fails(subtests):
    for n in range(3):
        with subtests.test(n=n):
            subprocess.run(["true"])
            assert n != 1

def test_one_skips(subtests):
    with subtests.test("skips"):
        pytest.skip("so")
    subprocess.run(["true"])

@pytest.mark.xfail
def test_expected(subtests):
    with subtests.test("fails"):
        assert False
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--execprobe-budget=3", "--execprobe-audit", plugins=PLUGINS)
    assert "test_it.py::test_pass: true 3" in run.summary()
    assert run.ret == pytest.ExitCode.TESTS_FAILED


def test_outcomes_stay_in_workers(inner: Inner) -> None:
    pytest.importorskip("xdist")
    inner.suite(test_it=PLAIN)
    run = inner.as_without(
        "--execprobe-budget=3", "--execprobe-session-budget=10", "-n1", plugins=("xdist.plugin", *PLUGINS)
    )
    assert "test_it.py::test_pass: true 3" in run.summary()


def test_rules_speak_of_the_whole_test(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_budget(2)
        def test_breaks(subtests):
            for n in range(3):
                with subtests.test(n=n):
                    subprocess.run(["true"])

        @pytest.mark.exec_budget(3)
        def test_keeps(subtests):
            for n in range(3):
                with subtests.test(n=n):
                    subprocess.run(["true"])

        @pytest.mark.exec_none
        def test_both(subtests):
            with subtests.test("fails"):
                subprocess.run(["true"])
                assert 1 == 2

        def test_watch(subtests, execprobe):
            with subtests.test("one"), execprobe.watch(at_most=0):
                subprocess.run(["true"])
            with subtests.test("two"), execprobe.watch(at_most=0):
                pass
        """
    )
    run = inner.run(plugins=PLUGINS)
    assert run.outcomes["test_breaks"][-1] == "failed"
    assert "exec budget exceeded: 3 execs, at most 2 allowed" in run.text("test_breaks")
    assert "failed" not in "".join(run.outcomes["test_keeps"])
    told = [r for r in run.reports if r.nodeid.endswith("test_both") and r.category]
    assert any("assert 1 == 2" in report.text for report in told)
    assert any("nothing may run, but true ran" in report.text + str(report.sections) for report in told)
    assert [r.category for r in told][-1] == "failed"
    assert "at most 0 execs allowed, but 1 ran" in "".join(r.text for r in run.reports if "test_watch" in r.nodeid)
    assert run.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("mark", ["", "@pytest.mark.xfail"])
def test_what_is_unknown_is_an_error(inner: Inner, mark: str) -> None:
    inner.suite(
        test_it=f"""
        import pytest
        from lose import lose_helper

        {mark}
        def test_in_a_subtest(subtests, request, execprobe):
            with subtests.test("loses"):
                lose_helper(request.config)
                execprobe.assert_not_ran("curl")

        {mark}
        @pytest.mark.exec_none(phases=("call",))
        def test_rule(subtests, request):
            with subtests.test("loses"):
                lose_helper(request.config)
        """
    )
    run = inner.run(plugins=PLUGINS)
    assert "error" in run.outcomes["test_in_a_subtest"]
    assert "error" in run.outcomes["test_rule"]
    assert run.ret == pytest.ExitCode.TESTS_FAILED
