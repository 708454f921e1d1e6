"""The audit, and the budget of the run as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_execprobe.session.strays import Strays
from pytest_execprobe.session.totals import Totals

if TYPE_CHECKING:
    from conftest import Played
    from suites import Run


SUITE = """
@pytest.fixture(scope="session")
def server():
    runs("server")

def test_release(server):
    runs("git", "fetch")
    runs("git", "tag")
    runs("gpg")

def test_leaves():
    global shell, server_
    shell, server_ = runs("sh"), runs("watch")
    ends(shell)

def test_last():
    runs("sleep", by=shell)
    runs("worker", by=server_)
"""


def test_audit(run: Run, played: Played) -> None:
    conftest = "from played import runs\ndef pytest_collection_modifyitems(): runs('uname')"
    ran = run(SUITE, "--execprobe-audit", conftest=conftest, passed=3)
    assert ran.has(
        """
        == execprobe ==
        recorded        9 execs in 3 tests and around them, 0 lost
        most executed   2  git
                        1  gpg
                        1  server
                        1  sh
                        1  sleep
                        1  uname
                        1  watch
                        1  worker
        most by test    3  test_it.py::test_release: git 2, gpg 1
                        2  test_it.py::test_leaves: sh 1, watch 1
                        1  test_it.py::test_last: worker 1
        besides tests   1  collection: uname 1
                        1  fixture 'server' (session): server 1
        strays of       1  test_it.py::test_leaves: sleep 1
        left running by 1  test_it.py::test_leaves: worker 1
        """
    )
    assert ran.has(
        "execprobe: BCC 0.0 on Linux 0.0; execs by sched_process_exec, their begin by played, failed ones not recorded;"
        " helper played, now none"
    )
    assert ran.ret == pytest.ExitCode.OK
    assert len(played.settings) == 1


def test_audit_by_ini(run: Run) -> None:
    ran = run("def test_it(): runs('git')", ini="execprobe_audit = true", passed=1)
    assert "recorded        1 exec in 1 test and around them, 0 lost" in ran.text


def test_summary_is_silent_without_anything_to_say(run: Run) -> None:
    ran = run("@pytest.mark.exec_budget(1)\ndef test_it(): runs('git')", passed=1)
    assert "== execprobe ==" not in ran.text


@pytest.mark.parametrize(("limit", "ret"), [(9, 0), (8, 1)])
def test_session_budget(run: Run, limit: int, ret: int) -> None:
    conftest = "from played import runs\ndef pytest_collection_modifyitems(): runs('uname')"
    ran = run(SUITE, f"--execprobe-session-budget={limit}", conftest=conftest, passed=3, errors=ret)
    assert f"session budget  9 execs, at most {limit} allowed" in ran.text
    assert ran.ret == ret
    if ret:
        assert ran.has(
            """
            __ ERROR at teardown of the run (session budget) __
            session budget exceeded: 9 execs, at most 8 allowed
              most   git 2, gpg 1, server 1, sh 1, sleep 1, uname 1, watch 1, worker 1
              if this is right: --execprobe-session-budget=9
            """
        )
        assert ran.has("ERROR execprobe::session budget - session budget exceeded: 9 execs, at most 8 allowed")


def test_session_budget_that_can_not_be_decided(run: Run) -> None:
    source = "def test_it():\n    runs('git')\n    breaks('it died')"
    ran = run(source, "--execprobe-session-budget=5", passed=1, errors=1)
    assert ran.has(
        """
        __ ERROR at teardown of the run (session budget) __
        cannot tell whether at most 5 execs ran: what would tell was not recorded
          why   the probe helper was lost: it died. The next test gets a new one
        """
    )
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(("of", "where"), [(Totals, "add"), (Strays, "_evidence"), (Strays, "_late")])
def test_session_budget_where_an_exception_broke_into_the_sums(
    run: Run, monkeypatch: pytest.MonkeyPatch, of: type, where: str
) -> None:
    """A signal's: what had been counted by then, and judged, can't be told from what had not."""
    real = getattr(of, where)

    def breaks(*_: object, **__: object) -> object:
        monkeypatch.setattr(of, where, real)
        raise TimeoutError("a signal's handler")

    monkeypatch.setattr(of, where, breaks)
    conftest = "from played import runs\ndef pytest_collection_modifyitems(): runs('uname')"
    ran = run("def test_it(): runs('git')", "--execprobe-session-budget=5", conftest=conftest, passed=1, errors=2)
    assert ran.has(
        """
        cannot tell whether at most 5 execs ran: what would tell was not recorded
          why   an exception broke in while the execs of a test were added up
        """
    )


def test_session_budget_where_a_lost_exec_may_be_an_ignored_one(run: Run) -> None:
    options = ("--execprobe-session-budget=0", "--execprobe-ignore=sh")
    ran = run("def test_it(): runs('git', lost=True)", *options, passed=1, errors=1)
    assert "cannot tell whether at most 0 execs ran" in ran.text
