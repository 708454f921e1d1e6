"""What tests leave behind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from suites import LEAVES

if TYPE_CHECKING:
    from suites import Run


def test_stray_is_judged_by_the_rules_of_its_test(run: Run) -> None:
    ran = run(LEAVES.format(body="runs('curl', by=shell)"), passed=2, errors=1)
    assert re.search(r"^test_it.py \.\. +\[100%\]\n\n== ERRORS ==$", ran.text, flags=re.M)  # no letter after the last
    assert ran.has(
        """
        == ERRORS ==
        __ ERROR at teardown of test_leaves __
        curl must not run, but it ran once (left behind)
          rule  exec_deny('curl') on test_leaves, test_it.py:4
        execs: left behind (1, 0 lost)
          # +ms pid parent argv
        > 1 T P sh /usr/bin/curl  (begun by test_it.py::test_leaves)
        == short test summary info ==
        ERROR test_it.py::test_leaves - curl must not run, but it ran once (left behind)
        """
    )
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


def test_stray_that_no_rule_minds(run: Run) -> None:
    ran = run(LEAVES.format(body="runs('wget', by=shell)"), passed=2)
    assert ran.ret == pytest.ExitCode.OK


def test_stray_is_not_judged_by_the_rules_of_the_test_that_runs(run: Run) -> None:
    run(
        """
        @pytest.mark.exec_budget(1)
        def test_leaves():
            global shell
            shell = runs("sh")
            ends(shell)

        @pytest.mark.exec_none
        def test_next():
            pass

        def test_last(execprobe):
            assert execprobe.records == ()
        """,
        passed=3,
    )


@pytest.mark.parametrize(("phase", "broken"), [("setup", True), ("call", False), ("teardown", False)])
def test_stray_belongs_to_the_phase_in_which_it_was_begun(run: Run, phase: str, broken: bool) -> None:
    source = f"""
    @pytest.fixture
    def shell():
        global begun
        begun = runs("sh")
        ends(begun)

    @pytest.mark.exec_deny("curl", phases=("{phase}",))
    def test_leaves(shell): pass

    def test_next(): runs("curl", by=begun)
    """
    run(source, passed=2, errors=int(broken))


def test_lost_stray_may_have_been_an_ignored_one(run: Run) -> None:
    source = LEAVES.replace('exec_deny("curl")', "exec_budget(1)").format(body="runs('curl', by=shell, lost=True)")
    ran = run(source, passed=2, errors=1)
    assert ran.has("exec budget exceeded: 2 execs, at most 1 allowed (call phase, and left behind)")
    ran = run(source, "--execprobe-ignore=coverage", passed=2, errors=1)
    assert ran.has("cannot tell whether at most 1 exec ran: at most 1 exec missing from the log")


def test_stray_after_the_last_test(run: Run) -> None:
    ran = run(
        """
        import conftest

        @pytest.mark.exec_budget(1)
        def test_leaves():
            conftest.shell = runs("sh")
            ends(conftest.shell)
        """,
        conftest="""
        import pytest
        from played import runs
        shell = None

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtestloop():
            yield
            runs("sleep", by=shell)
            return True
        """,
        passed=1,
        errors=1,
    )
    assert ran.has("exec budget exceeded: 2 execs, at most 1 allowed (call phase, and left behind)")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


def test_what_still_runs_counts_for_the_test_that_runs(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_deny("curl")
        def test_leaves_running():
            global shell
            shell = runs("sh")

        @pytest.mark.exec_none
        def test_next():
            runs("curl", by=shell)
        """,
        passed=1,
        failed=1,
    )
    assert ran.rules == ["exec_none() on test_next, test_it.py:9"]


def test_stray_does_not_depend_on_an_xfail(run: Run) -> None:
    source = LEAVES.replace("def test_leaves", "@pytest.mark.xfail\ndef test_leaves").format(
        body="runs('curl', by=shell)"
    )
    ran = run(source, xpassed=1, passed=1, errors=1)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
