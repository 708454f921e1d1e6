"""How processes ended, and what has succeeded."""

from __future__ import annotations

import pytest
from fakes import FixedWindow, altered, evidence, log_of, record, script

from pytest_execprobe import ExecLog, ExecRecord, IncompleteLogError
from pytest_execprobe.log.ends import all_succeeded, end_of
from pytest_execprobe.log.patterns import compile_pattern


def ended(program: str, exit_code: int | None = None, signal: int | None = None, **more: object) -> ExecRecord:
    return altered(record(program, **more), exit_code=exit_code, signal=signal)  # type: ignore[arg-type]


OK, WRONG, CRASHED, OPEN = ended("git", 0), ended("gpg", 2), ended("convert", signal=11), ended("sleep")


@pytest.mark.parametrize(
    ("records", "patterns", "holds"),
    [
        ([], [], True),
        ([OK], [], True),
        ([OK, WRONG], [], False),
        ([OK, CRASHED], [], False),
        ([OK, OPEN], [], None),
        ([OPEN, WRONG], [], False),  # whatever comes of the other
        ([OK, WRONG], ["git"], True),
        ([OK, WRONG], ["git", "gpg"], False),
        ([OK, OPEN], ["git"], True),
        ([OK, OPEN], ["s*"], None),
        ([OK], ["curl"], True),  # nothing that matches has failed
        ([ended("mygit", 1, executable="/usr/bin/git")], ["git"], False),  # by a link
        ([altered(script(), exit_code=3)], ["sh"], False),  # by what reads it
        ([altered(script(), exit_code=3)], ["git"], True),
        ([ended(None, 1, executable=None, argv=None)], ["git"], None),  # type: ignore[arg-type]
        ([ended(None, 0, executable=None, argv=None)], ["git"], True),  # type: ignore[arg-type]
    ],
)
def test_what_has_succeeded(records: list[ExecRecord], patterns: list[str], holds: bool | None) -> None:
    assert all_succeeded(evidence(*records), list(map(compile_pattern, patterns))).holds is holds


@pytest.mark.parametrize("missing", [{"lost": 1}, {"unknown": "the helper was lost"}])
def test_what_is_missing_may_have_failed(missing: dict[str, object]) -> None:
    assert all_succeeded(evidence(OK, **missing), []).holds is None  # type: ignore[arg-type]
    assert all_succeeded(evidence(WRONG, **missing), []).holds is False  # type: ignore[arg-type]


@pytest.mark.parametrize(("code", "holds"), [(0, True), (3, False), (None, None)])
def test_an_exec_that_became_another_ends_with_its_process(code: int | None, holds: bool | None) -> None:
    env = record("env", "make")
    make = ended("make", code, previous=env)
    assert all_succeeded(evidence(env, make), [compile_pattern("env")]).holds is holds
    if holds is False:
        said = all_succeeded(evidence(env, make), [compile_pattern("env")]).headline
        assert said == "env must succeed, but env (which became make) ended with exit status 3"
    verdict = all_succeeded(evidence(env, make), [])
    assert verdict.holds is holds
    if holds is False:
        assert verdict.headline == "everything must succeed, but make ended with exit status 3"
        assert set(verdict.marked) == {env, make}


def test_the_end_of_what_is_ignored_is_that_of_what_it_was() -> None:
    env = record("env", "make")
    make = ended("make", 1, previous=env)
    assert all_succeeded(evidence(env, left_out=(make,)), []).holds is False


def test_direct_leaves_the_rest_out() -> None:
    shell = ended("sh", 0)
    below = ended("git", 1, parent=shell)
    log_of(shell, below).direct.assert_all_succeeded()
    with pytest.raises(AssertionError, match="everything must succeed, but git ended with exit status 1"):
        log_of(shell, below).assert_all_succeeded()


def test_each_end_is_named_once() -> None:
    verdict = all_succeeded(evidence(WRONG, ended("gpg", 2), CRASHED, *(ended(name, 1) for name in "abc")), [])
    assert verdict.headline == (
        "everything must succeed, but gpg ended with exit status 2, convert was ended by SIGSEGV,"
        " a ended with exit status 1, 2 more"
    )


def test_failure_marks_what_failed() -> None:
    with pytest.raises(AssertionError) as caught:
        log_of(OK, WRONG).assert_all_succeeded("gpg")
    first, *rows = str(caught.value).splitlines()
    assert first == "gpg must succeed, but gpg ended with exit status 2"
    assert [row[0] for row in rows[1:3]] == [" ", ">"]


def test_what_still_runs_is_said() -> None:
    with pytest.raises(IncompleteLogError) as caught:
        log_of(OK, OPEN).assert_all_succeeded()
    first, why, *_ = str(caught.value).splitlines()
    assert first == "cannot tell whether everything succeeded: #2 had not ended"
    assert why == ("  why   #2 still ran, or the end is not known: wait for it first, or name what must succeed")


def test_bad_pattern_is_an_error_at_once() -> None:
    log = ExecLog(FixedWindow(evidence()))
    with pytest.raises(ValueError, match="empty"):
        log.assert_all_succeeded("")
    with pytest.raises(TypeError):
        log.assert_all_succeeded(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subject", "said"),
    [(OK, "exit 0"), (WRONG, "exit 2"), (CRASHED, "SIGSEGV"), (OPEN, ""), (ended("x", signal=40), "signal 40")],
)
def test_end_in_short(subject: ExecRecord, said: str) -> None:
    assert end_of(subject) == said
