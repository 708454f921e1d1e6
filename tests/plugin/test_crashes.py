"""What crashed while its test passed, in the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from suites import Run

ABRT, SEGV, TERM, KILL, XCPU, DUMPED = 6, 11, 15, 9, 24, 0x80


def test_crash_of_a_test_that_passed_is_said(run: Run) -> None:
    ran = run(
        f"""
        def test_one(execprobe):
            exits(runs("convert"), {SEGV | DUMPED})
            exits(runs("convert"), {SEGV})
            exits(runs("git"))

        def test_two():
            exits(runs("gpg"), {ABRT})
        """,
        passed=2,
    )
    assert ran.has(
        """
        == execprobe ==
        crashed         2  test_it.py::test_one: convert by SIGSEGV 2 times
                        1  test_it.py::test_two: gpg by SIGABRT
        """
    )


@pytest.mark.parametrize("status", [0, 1 << 8, TERM, KILL])
def test_ends_that_are_no_crash_are_not(run: Run, status: int) -> None:
    ran = run(f"def test_one(execprobe): exits(runs('convert'), {status})", passed=1)
    assert "crashed" not in ran.text
    assert "by signal" not in ran.text


def test_an_audit_names_what_any_signal_has_ended(run: Run) -> None:
    ran = run(
        f"""
        def test_one():
            exits(runs("server"), {KILL})
            exits(runs("convert"), {SEGV})
            exits(runs("git"), 1 << 8)

        def test_two():
            exits(runs("make"), {TERM})
            exits(runs("make"), {XCPU})

        def test_three():
            exits(runs("sleep"), {KILL})
            assert False
        """,
        "--execprobe-audit",
        passed=2,
        failed=1,
    )
    assert ran.has(
        """
        crashed         1  test_it.py::test_one: convert by SIGSEGV
                        1  test_it.py::test_two: make by SIGXCPU
        ended by signal 1  test_it.py::test_one: server by SIGKILL
                        1  test_it.py::test_two: make by SIGTERM
        """
    )
    assert "sleep by" not in ran.text


@pytest.mark.parametrize("marks", ["", "@pytest.mark.exec_success\n"])
def test_a_test_that_fails_has_its_own_words(run: Run, marks: str) -> None:
    ran = run(
        f"{marks}def test_one(execprobe):\n    exits(runs('convert'), {SEGV})\n    assert {bool(marks)}\n", failed=1
    )
    assert "crashed" not in ran.text


def test_what_is_ignored_crashes_unnoticed(run: Run) -> None:
    ran = run(f"def test_one(execprobe): exits(runs('convert'), {SEGV})", "--execprobe-ignore=convert", passed=1)
    assert "crashed" not in ran.text


def test_it_may_crash_later(run: Run) -> None:
    """It is said of the test that has executed it."""
    ran = run(
        f"""
        def test_one(execprobe):
            global ran
            ran = runs("server")

        def test_two(execprobe):
            exits(ran, {SEGV})
        """,
        passed=2,
    )
    assert ran.has("crashed         1  test_it.py::test_one: server by SIGSEGV")


def test_fixtures_and_what_runs_around_tests_crash_too(run: Run) -> None:
    ran = run(
        f"""
        exits(runs("early"), {SEGV})

        @pytest.fixture(scope="module")
        def database():
            exits(runs("initdb"), {ABRT})

        def test_one(execprobe, database): pass
        """,
        "--execprobe-audit",
        passed=1,
    )
    assert "early by SIGSEGV" in ran.text
    assert "'database' (module): initdb by SIGABRT" in ran.text


def test_table_is_no_longer_than_others(run: Run) -> None:
    source = "\n".join(f"def test_{n:02}(execprobe): exits(runs('x'), {SEGV})" for n in range(15))
    assert "\n                … 5 more (all with -vv)\n" in run(source, passed=15).text
