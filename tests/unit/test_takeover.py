"""What a run takes over of tests that other processes have judged."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_execprobe._util import originals
from pytest_execprobe._util.clock import monotonic_ns
from pytest_execprobe.rules.judge import Judge
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import Rule, make_rule
from pytest_execprobe.session.handover import HANDED_OVER, Handover, rules_of_suite, this_process
from pytest_execprobe.session.offer import BEGUN, DONE, VARIABLE
from pytest_execprobe.session.settings import Settings
from pytest_execprobe.session.takeover import Takeover, has_other_runner

SETTINGS = Settings()
ALLOW = make_rule("exec_allow", ("git",), {}, "on test, test_it.py:3")


def judge(*rules: Rule) -> Judge:
    return Judge(deciders([rules]))


class Run:
    """One that has the test ``name`` with these rules."""

    def __init__(self, *rules: Rule, settings: Settings = SETTINGS) -> None:
        self.takeover = Takeover(settings, lambda _: judge(*rules).meaning)
        items: Any = [SimpleNamespace(nodeid="name")]
        self.takeover._session = SimpleNamespace(items=items)  # type: ignore[assignment]

    def left(self, *keys: str, may_be: bool = True, at_end: bool = False, entered: int = 5) -> list[Any]:
        event = SimpleNamespace(entered=entered)
        entries: list[Any] = [SimpleNamespace(key=key, image=(at, 0), event=event) for at, key in enumerate(keys)]
        kept = self.takeover.left(entries, lambda _: may_be, lambda entry: entry.key, at_end)  # type: ignore[attr-defined]
        return [entry.key for entry in kept]  # type: ignore[attr-defined]


def handed_over(*rules: Rule, execs: dict[str, int] | None = None, settings: Settings = SETTINGS, **more: Any) -> Any:
    handover = Handover(settings, by_reports=False)
    handover.judged("name", judge(*rules).meaning, [])
    counted = {key: [9] * number for key, number in (execs or {}).items()}
    return {"tests": {"name": {"git": 1}}, HANDED_OVER: {**handover.export(), "execs": counted, **more}}


def test_what_was_judged_by_the_same_rules_is_taken_over() -> None:
    run = Run(ALLOW)
    assert run.takeover.accept(handed_over(ALLOW))["tests"] == {"name": {"git": 1}}
    assert run.takeover.tests == {"name"}


def test_where_a_rule_stands_makes_no_difference() -> None:
    run = Run(ALLOW)
    run.takeover.accept(handed_over(replace(ALLOW, where="elsewhere", text="exec_allow('git', )")))
    assert run.takeover.tests == {"name"}


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (make_rule("exec_allow", ("git", "hg"), {}, ""),),
        (make_rule("exec_allow", ("git",), {"phases": ("call", "setup")}, ""),),
        (make_rule("exec_allow", ("git",), {"direct": True}, ""),),
        (ALLOW, make_rule("exec_budget", (1,), {}, "")),
    ],
)
def test_of_what_was_judged_by_other_rules_only_what_was_found_late_is(rules: tuple[Rule, ...]) -> None:
    run = Run(ALLOW)
    exported = {**handed_over(*rules, execs={"1:a": 1}), "breaches": ["one"]}
    assert run.takeover.accept(exported) == {"breaches": ["one"]}
    assert run.takeover.tests == set()
    assert "other rules" in run.takeover.refused["name"]
    assert run.left("1:a") == ["1:a"]


def test_a_test_that_this_run_has_not_is_not_taken_over() -> None:
    run = Run(ALLOW)
    handed = handed_over(ALLOW)
    handed[HANDED_OVER]["tests"]["another"] = handed[HANDED_OVER]["tests"]["name"]
    assert run.takeover.accept(handed) == {}
    assert run.takeover.tests == set()


def test_a_process_that_was_refused_once_stays_so() -> None:
    """What it sends next builds on what was not taken."""
    run = Run(ALLOW)
    run.takeover.accept(handed_over(process="7-a"))
    assert run.takeover.accept(handed_over(ALLOW, process="7-a")) == {}
    run.takeover.accept(handed_over(ALLOW, process="8-b"))
    assert run.takeover.tests == {"name"}


@pytest.mark.parametrize(
    "other",
    [
        replace(SETTINGS, audit=True),
        replace(SETTINGS, session_budget=3),
        replace(SETTINGS, enforce=True),
        replace(SETTINGS, ini=(ALLOW,)),
        replace(SETTINGS, command_line=(ALLOW,)),
        replace(SETTINGS, update="all"),
    ],
)
def test_the_rules_of_a_suite_are_all_that_decides(other: Settings) -> None:
    assert rules_of_suite(other) != rules_of_suite(SETTINGS)
    run = Run(ALLOW)
    assert run.takeover.accept(handed_over(ALLOW, settings=other)) == {}


def test_each_exec_is_counted_once() -> None:
    run = Run(ALLOW)
    run.takeover.accept(handed_over(ALLOW, execs={"1:a": 2, "2:b": 1}))
    assert run.left("1:a", "3:a", "1:a", "1:a", "2:c") == ["3:a", "1:a", "2:c"]
    assert run.left("2:b", "2:b") == ["2:b"]


def test_one_that_was_entered_later_is_another() -> None:
    """An exec that this run has counted itself, before that was handed over, leaves its key behind."""
    run = Run(ALLOW)
    run.takeover.accept(handed_over(ALLOW, execs={"1:a": 1}))
    assert run.left("1:a", entered=10) == ["1:a"]
    run.takeover.accept(
        {**handed_over(ALLOW), HANDED_OVER: {**handed_over(ALLOW)[HANDED_OVER], "execs": {"1:a": [20]}}}
    )
    assert run.left("1:a", entered=10) == []
    assert run.left("1:a", entered=10) == ["1:a"]
    assert run.left("1:a", entered=8) == []


def test_what_was_counted_is_handed_over_with_when() -> None:
    handover = Handover(SETTINGS, by_reports=False)
    event: Any = SimpleNamespace(pid=7, stopped=0, command=SimpleNamespace(path="/bin/a", argv=("a",)))
    before = monotonic_ns()
    handover.count([SimpleNamespace(event=event)] * 2)  # type: ignore[list-item]
    handover.add({"tests": {}, "execs": {"1:a": [5]}})
    (key, moments), (other, given) = handover.export()["execs"].items()
    assert key.startswith("7:")
    assert len(moments) == 2
    assert before <= moments[0] <= monotonic_ns()
    assert (other, given) == ("1:a", [5])
    assert handover.export()["execs"] == {}


def test_what_was_stopped_is_said_by_whose_rules_have_done_so() -> None:
    run = Run(ALLOW)
    run.takeover.accept(handed_over(ALLOW, execs={"1:a": 1, "2:a!": 1, "3:a!": 1}))
    assert run.left("1:a!", "2:a!", "3:a") == ["1:a!"]
    assert run.left("1:a", "2:a", "3:a") == ["1:a", "2:a", "3:a"]


def test_what_a_test_of_this_process_runs_is_never_taken_out() -> None:
    run = Run(ALLOW)
    run.takeover.accept(handed_over(ALLOW, execs={"1:a": 1}))
    assert run.left("1:a", may_be=False) == ["1:a"]


def test_a_forked_childs_export_is_taken_as_it_is() -> None:
    assert Run().takeover.accept({"excused": {"name": "so"}}) == {"excused": {"name": "so"}}


def test_one_that_this_run_does_not_see_must_say_that_it_is_over() -> None:
    run = Run(ALLOW)
    run.takeover.accept(handed_over(ALLOW, process="7-a", ancestors=[[1, 0]]))
    assert run.takeover.missing == ["process 7 ended before it had sent all that it recorded"]
    run.takeover.accept(handed_over(ALLOW, process="7-a", ancestors=[[1, 0]], over=True))
    assert run.takeover.missing == []


def test_one_that_this_run_sees_need_not() -> None:
    run = Run(ALLOW)
    run.takeover.accept(handed_over(ALLOW, ancestors=[[1, 0], this_process()]))
    assert run.takeover.missing == []


def test_what_may_still_be_handed_over_is_held_back(tmp_path: Any) -> None:
    run = Run(ALLOW)
    run.takeover._folder = str(tmp_path)
    me = f"{originals.getpid()}-ab"
    (tmp_path / f"{me}{BEGUN}").touch()
    assert [*run.takeover.found()] == []
    assert run.left("1:a", "1:b") == []
    (tmp_path / f"{me}{DONE}").write_text(originals.json_dumps(handed_over(ALLOW, execs={"1:a": 1})))
    for exported in run.takeover.found():
        run.takeover.accept(exported)
    assert run.left() == ["1:b"]
    assert [*tmp_path.iterdir()] == []


def test_one_that_has_ended_without_a_word_is_not_waited_for(tmp_path: Any) -> None:
    run = Run(ALLOW)
    run.takeover._folder = str(tmp_path)
    (tmp_path / f"{2**22 + 1}-ab{BEGUN}").touch()  # a number that no process has
    assert [*run.takeover.found()] == []
    assert run.left("1:a") == ["1:a"]


def test_at_the_end_nothing_is_held_back(tmp_path: Any) -> None:
    run = Run(ALLOW)
    run.takeover._folder = str(tmp_path)
    (tmp_path / f"{originals.getpid()}-ab{BEGUN}").touch()
    assert [*run.takeover.found()] == []
    assert run.left("1:a") == []
    assert run.left(at_end=True) == ["1:a"]


def test_the_environment_has_it_only_while_it_is_shown(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    run = Run()
    run.takeover.show()
    assert VARIABLE not in originals.environ
    run.takeover._folder, run.takeover._offer = str(tmp_path), "{}"
    run.takeover.show()
    assert originals.environ[VARIABLE] == "{}"
    run.takeover.hide()
    assert VARIABLE not in originals.environ


def hooked(*plugins: object) -> Any:
    hook = SimpleNamespace(get_hookimpls=lambda: [SimpleNamespace(plugin=plugin) for plugin in plugins])
    nothing = SimpleNamespace(get_hookimpls=list)
    return SimpleNamespace(hook=SimpleNamespace(pytest_runtestloop=nothing, pytest_runtest_protocol=hook))


def test_only_where_another_plugin_runs_tests_there_is_an_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each test it is to be hidden, which takes time."""
    monkeypatch.delenv(VARIABLE, raising=False)
    others = [SimpleNamespace(__name__="conftest"), Run(), SimpleNamespace(__name__="_pytester"), pytest]
    ours = [sys.modules["_pytest.runner"], sys.modules["_pytest.main"], Takeover(SETTINGS, lambda _: [])]
    assert not has_other_runner(hooked(*ours))
    for other in others:
        assert has_other_runner(hooked(*ours, other))
    run = Run()
    run.takeover.offer(SimpleNamespace(config=hooked(*ours), items=[]))  # type: ignore[arg-type]
    run.takeover.show()
    assert VARIABLE not in originals.environ


def test_a_mutilated_file_is_none(tmp_path: Any) -> None:
    run = Run(ALLOW)
    run.takeover._folder = str(tmp_path)
    (tmp_path / f"7-ab{DONE}").write_text("{")
    assert [*run.takeover.found()] == []
