"""Phases follow each other, and what one leaves running counts for its rules in the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from suites import Run


MEANWHILE = """
@pytest.mark.{mark}
def test_it():
    shell = runs("sh")
    ends(shell)
    meanwhile(lambda: runs("ls", by=shell))  # the call is over then, and the teardown has not begun

def test_next(): pass
"""


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("exec_deny('ls')", "ls must not run, but it ran once (teardown phase)"),
        # It was begun in the call, so the call's rules judge it wherever it runs.
        ("exec_deny('ls', phases=('call',))", "ls must not run, but it ran once (left running until teardown)"),
        ("exec_allow('sh')", "unexpected program: ls ran, and only sh may (left running until teardown)"),
        (
            "exec_budget(1)",
            "exec budget exceeded: 2 execs, at most 1 allowed (call phase, and left running until teardown)",
        ),
    ],
)
def test_exec_between_two_phases_escapes_no_rule(run: Run, mark: str, said: str) -> None:
    ran = run(MEANWHILE.format(mark=mark), passed=2, errors=1)
    assert ran.text.partition("== short test summary")[0].count(said) == 1


@pytest.mark.parametrize("mark", ["exec_deny('ls', phases=('setup',))", "exec_allow('sh', 'ls')", "exec_budget(2)"])
def test_exec_between_two_phases_breaks_no_other_rule(run: Run, mark: str) -> None:
    run(MEANWHILE.format(mark=mark), passed=2)


def test_exec_after_the_last_phase_is_a_stray(run: Run) -> None:
    """Even if its event arrives while that phase is being judged."""
    source = """
    @pytest.fixture
    def last():
        yield
        shell = runs("sh")
        ends(shell)
        meanwhile(lambda: runs("ls", by=shell))

    @pytest.mark.exec_deny("ls")
    def test_it(last): pass
    """
    ran = run(source, passed=1, errors=1)
    assert ran.has("ls must not run, but it ran once (left behind)")


def test_patched_getpid_is_no_fork(run: Run) -> None:
    source = """
    import os, pytest
    from played import runs

    @pytest.mark.exec_budget(1)
    def test_it(monkeypatch):
        monkeypatch.setattr(os, "getpid", lambda: 1)
        runs("git")
    """
    run(source, passed=1)
