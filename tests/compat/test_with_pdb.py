"""--pdb: the debugger opens for a broken rule as for any failure, and what follows is judged as ever."""

from __future__ import annotations

import pytest
from inner import LOST, Inner, alike

PLAIN = """
import subprocess

def test_before():
    subprocess.run(["true"])

def test_fails():
    subprocess.run(["true"])
    assert False

def test_after():
    subprocess.run(["true"])
"""


@pytest.mark.parametrize("stdin", [b"c\n", *alike(b"q\n", None)])
def test_outcomes_stay(inner: Inner, stdin: bytes | None) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--execprobe-budget=1", "--pdb", stdin=stdin)
    assert ("test_after" in run.outcomes) == (stdin == b"c\n")


RULES = """
import subprocess, pytest

@pytest.mark.exec_budget(1)
def test_breaks():
    subprocess.run(["true"])
    subprocess.run(["true"])

@pytest.mark.exec_budget(1)
def test_keeps():
    subprocess.run(["true"])

@pytest.mark.exec_none
def test_skips():
    subprocess.run(["true"])
    pytest.skip("after that")
"""


def test_a_broken_rule_opens_it(inner: Inner) -> None:
    inner.suite(test_it=RULES)
    run = inner.run("--pdb", stdin=b"c\nc\n")
    assert run.outcomes == {"test_breaks": ["failed"], "test_keeps": ["passed"], "test_skips": ["failed"]}
    assert run.out.count("(Pdb)") == 2
    assert "exec budget exceeded: 2 execs, at most 1 allowed" in run.text("test_breaks")


def test_what_its_user_runs_counts_for_the_test_that_is_stopped(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_none
        def test_stops():
            breakpoint()

        @pytest.mark.exec_none
        def test_next():
            pass
        """
    )
    run = inner.run(stdin=b"import subprocess; subprocess.run(['uname'])\nc\n")
    assert run.outcomes == {"test_stops": ["failed"], "test_next": ["passed"]}
    assert "nothing may run, but uname ran" in run.text("test_stops")


def test_what_is_unknown_is_an_error(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import pytest
        from lose import lose_helper

        @pytest.mark.xfail
        @pytest.mark.exec_none(phases=("call",))
        def test_loses(request):
            lose_helper(request.config)
        """
    )
    run = inner.run("--pdb", stdin=b"c\n")
    assert run.outcomes == {"test_loses": ["error"], **LOST}
    assert run.ret == pytest.ExitCode.TESTS_FAILED
