"""What is said under a failure whose reason is known, to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FixedWindow, evidence, log_of, record, script

from pytest_execprobe import ExecLog, ExecRecord
from pytest_execprobe.baseline.changes import moved
from pytest_execprobe.baseline.model import Baseline
from pytest_execprobe.baseline.read import parse_baseline
from pytest_execprobe.log import hints
from pytest_execprobe.log.patterns import PatternLike, compile_pattern
from pytest_execprobe.rules.judge import Judge
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import baseline_rule
from pytest_execprobe.timeline.evidence import Evidence


def hinted(pattern: PatternLike, *ran: ExecRecord, attempts: tuple[ExecRecord, ...] = ()) -> list[str]:
    return [*hints.did_not_run(compile_pattern(pattern), Evidence(ran, attempts=attempts))]


# ---- builtins ----

SH = record("sh", "-c", "true")


@pytest.mark.parametrize("name", ["true", "false", "echo", "test", "printf", "[", "kill", "pwd"])
def test_a_program_that_shells_have_as_a_builtin(name: str) -> None:
    pattern = ["["] if name == "[" else name
    assert hinted(pattern, SH) == [
        f"a shell runs {name} itself, as a builtin, which is no exec: call it by its path, or as env {name}"
    ]


@pytest.mark.parametrize("name", [":", "cd", "export"])
def test_a_builtin_that_is_no_program(name: str) -> None:
    assert hinted(name, SH) == [f"a shell runs {name} itself, as a builtin, which is no exec"]


@pytest.mark.parametrize("pattern", ["/usr/bin/true", "/bin/true", ["true"], ["true", "x"], "argv:true x"])
def test_other_ways_to_ask_for_one(pattern: PatternLike) -> None:
    assert len(hinted(pattern, SH)) == 1


@pytest.mark.parametrize(
    "shell",
    [
        record("bash"),
        record("sh", executable="/usr/bin/dash"),
        record("tool", executable="/usr/bin/busybox"),
        script(path="/usr/bin/fakeroot", shebang=("/bin/sh",)),
    ],
)
def test_what_runs_builtins(shell: ExecRecord) -> None:
    assert len(hinted("true", shell)) == 1


@pytest.mark.parametrize(
    ("pattern", "ran"), [("true", record("make")), ("git", SH), ("tru*", SH), ("re:true", SH), ("true", None)]
)
def test_no_hint_where_that_is_not_the_reason(pattern: str, ran: ExecRecord | None) -> None:
    assert hinted(pattern, *([ran] if ran else [])) == []


# ---- texts without #! ----


def test_a_text_without_an_interpreter() -> None:
    tried = record("x", path="./x", error="ENOEXEC")
    assert hinted("x", record("bash"), attempts=(tried,)) == [
        "./x was tried and is no program (ENOEXEC), as a text without #!: bash reads it itself, which is no exec; dash,"
        " env, execvp, find and xargs execute /bin/sh instead: give it a #! line"
    ]
    assert hinted("y", record("bash"), attempts=(tried,)) == []
    assert hinted("x", record("bash"), attempts=(record("x", error="ENOENT"),)) == []


def test_a_text_that_a_shell_was_executed_for_where_attempts_are_not_recorded() -> None:
    said = ["/bin/sh was executed to read ./x, which is no exec of that: give it a #! line, and execute it"]
    assert hinted("x", record("sh", argv=("/bin/sh", "./x"))) == said
    assert hinted("y", record("sh", argv=("/bin/sh", "./x"))) == []
    assert hinted("x", record("sh", argv=("sh", "./x"))) == []
    assert hinted("x", script(path="/opt/x", shebang=("/bin/sh",))) == []


# ---- where they are shown ----


@pytest.mark.parametrize(
    "check",
    [
        lambda log: log.assert_ran("true"),
        lambda log: log.assert_ran("true", times=2),
        lambda log: log.assert_count(1, "true"),
        lambda log: log.assert_at_least(1, "true"),
        lambda log: log.assert_order("sh", "true"),
    ],
)
def test_below_the_headline(check: object) -> None:
    with pytest.raises(AssertionError) as caught:
        check(log_of(SH))  # type: ignore[operator]
    _, hint, *_ = str(caught.value).splitlines()
    assert hint.startswith("  hint  a shell runs true itself")


@pytest.mark.parametrize(
    "check",
    [
        lambda log: log.assert_not_ran("sh"),
        lambda log: log.assert_ran("sh", times=0),
        lambda log: log.assert_at_most(0, "sh"),
        lambda log: log.assert_order("git"),
    ],
)
def test_nowhere_else(check: object) -> None:
    with pytest.raises(AssertionError) as caught:
        check(ExecLog(FixedWindow(evidence(SH))))  # type: ignore[operator]
    assert "hint" not in str(caught.value)


# ---- baselines ----


def baseline(text: str) -> Baseline:
    return parse_baseline(f"version = 1\n{text}", Path("execs.toml"))


TWO = baseline('[tests."a"]\nuname = 1\n[tests."b"]\nls = 1\n')


def moves(used: dict[str, dict[str, int]], given: Baseline = TWO, whole: tuple[str, ...] = ("a", "b")) -> list[str]:
    return [*moved({"tests": used}, given, whole)]


def test_what_has_moved() -> None:
    assert moves({"a": {}, "b": {"ls": 1, "uname": 1}}) == [
        "uname (1 exec) from a to b: if it runs once a process, in whichever test is first, write everywhere ="
        ' ["uname"] in execs.toml, for an update would only move it'
    ]


@pytest.mark.parametrize(
    ("used", "whole"),
    [
        ({"a": {"uname": 1}, "b": {"ls": 1, "uname": 1}}, ("a", "b")),  # it runs in both
        ({"a": {}, "b": {"ls": 1, "uname": 2}}, ("a", "b")),  # more than that
        ({"a": {}, "b": {"ls": 1, "uname": 1}}, ("b",)),  # a was skipped, or broken off
        ({"b": {"ls": 1, "uname": 1}}, ("b",)),  # or did not run
        ({"a": {}, "b": {"ls": 1}}, ("a", "b")),
    ],
)
def test_what_has_not(used: dict[str, dict[str, int]], whole: tuple[str, ...]) -> None:
    assert moves(used, whole=whole) == []


def test_a_row_that_others_share_or_a_range_falls_short_of_nothing() -> None:
    assert moves({"ax": {}, "b": {"uname": 1}}, baseline('[tests."a*"]\nuname = 1\n'), ("ax", "b")) == []
    given = baseline('[tests."a"]\nuname = [0, 1]\n')
    assert moves({"a": {}, "b": {"uname": 1}}, given) == []


ACCEPT = "pytest t.py::b --execprobe-baseline=execs.toml --execprobe-update"


def advice(*ran: ExecRecord) -> str:
    rule = baseline_rule(TWO, "tests", "b", accept=ACCEPT, update=False)
    (finding,) = Judge(deciders([[rule]])).judge("call", evidence(*ran))
    return finding.advice


def test_an_update_is_not_advised_for_what_python_runs_once_a_process() -> None:
    everywhere = (
        'write everywhere = ["argv:uname -p"] in execs.toml, for platform.processor() asks it once a process, in'
        " whichever test is first"
    )
    assert advice(record("uname", "-p")) == everywhere
    assert advice(record("uname", "-a")) == ACCEPT
    assert advice(record("uname", "-p"), record("curl")) == f"{everywhere}; then {ACCEPT}"
