"""Rules: how they are written, which of them decide, and what they find."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakes import evidence, record

from pytest_execprobe import ANY, ExecRecord, subtree
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.rules.judge import Judge, RuleFinding
from pytest_execprobe.rules.markers import MARKERS
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import PHASES, Rule, RuleError, make_rule
from pytest_execprobe.timeline.evidence import Evidence, Lost
from pytest_execprobe.timeline.record import Phase


def _marker(name: str) -> Callable[..., Rule]:
    return lambda *args, **kwargs: make_rule(name, args, kwargs, "here")


budget, allow, none, deny, success, no_shell = map(_marker, MARKERS)
ALL = PHASES


# ---- how they are written ----


@pytest.mark.parametrize(
    ("rule", "text", "kind", "phases"),
    [
        (budget(2), "exec_budget(2)", "budget", ("call",)),
        (budget(at_most=0), "exec_budget(at_most=0)", "budget", ("call",)),
        (budget(per_program={"git": 2}), "exec_budget(per_program={'git': 2})", "budget", ("call",)),
        (budget(2, phases=["teardown", "setup"]), None, "budget", ("setup", "teardown")),
        (budget(2, phases={"call"}), None, "budget", ("call",)),
        (budget(2, phases=(p for p in ("call", "setup"))), None, "budget", ("setup", "call")),
        (allow("git", "gpg"), "exec_allow('git', 'gpg')", "allow", ("call",)),
        (allow("git", phases=ALL), "exec_allow('git', phases=('setup', 'call', 'teardown'))", "allow", ALL),
        (none(), "exec_none()", "allow", ALL),
        (none(phases=("call",)), "exec_none(phases=('call',))", "allow", ("call",)),
        (deny("curl"), "exec_deny('curl')", "deny", ALL),
        (deny("curl", phases=("setup",)), "exec_deny('curl', phases=('setup',))", "deny", ("setup",)),
        (deny(inherit=False), "exec_deny(inherit=False)", "deny", ALL),
        (success(), "exec_success()", "success", ("call",)),
        (success("git", phases=ALL), None, "success", ALL),
        (no_shell(), "exec_no_shell()", "no shell", ALL),
        (no_shell(allow=["bash"], phases=("call",)), None, "no shell", ("call",)),
    ],
    ids=lambda value: value.text.partition(" at 0x")[0] if isinstance(value, Rule) else "",  # the same in all workers
)
def test_marker_becomes_a_rule(rule: Rule, text: str | None, kind: str, phases: tuple[Phase, ...]) -> None:
    assert (rule.kind, rule.phases, rule.where) == (kind, phases, "here")
    if text is not None:
        assert rule.text == text


def test_everything_that_a_marker_says_is_kept() -> None:
    assert budget(3, direct=True).at_most == 3
    assert budget(3, direct=True).direct
    assert not budget(3).direct
    assert [(str(pattern), n) for pattern, n in budget(per_program={"git": 2, "re:x": 0}).per_program] == [
        ("git", 2),
        ("re:x", 0),
    ]
    assert [str(pattern) for pattern in allow("git", ["sh", "-c", ANY], subtree("make")).patterns] == [
        "git",
        "argv:sh -c *",
        "subtree:make",
    ]
    assert none(direct=True).patterns == ()
    assert none(direct=True).direct
    assert [str(pattern) for pattern in deny(re.compile("http")).patterns] == ["re:http"]
    assert deny("curl").inherit
    assert not deny("curl", inherit=False).inherit


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "reason"),
    [
        ("exec_budget", (), {}, "a budget is a number, or numbers for programs"),
        ("exec_budget", ("2",), {}, "at_most is a whole number, not '2'"),
        ("exec_budget", (True,), {}, "at_most is a whole number, not True"),
        ("exec_budget", (1.0,), {}, "at_most is a whole number, not 1.0"),
        ("exec_budget", (-1,), {}, "at_most can't be less than 0: -1"),
        ("exec_budget", (1, 2), {}, "too many positional arguments"),
        ("exec_budget", (1,), {"at_most": 2}, "multiple values for argument 'at_most'"),
        ("exec_budget", (5,), {"per_program": {}}, "per_program is empty, and limits nothing: leave it out"),
        ("exec_budget", (), {"per_program": 2}, "per_program is a mapping of patterns to numbers, not 2"),
        ("exec_budget", (), {"per_program": {"git": "2"}}, "per_program of git is a whole number, not '2'"),
        ("exec_budget", (), {"per_program": {"git": -2}}, "per_program of git can't be less than 0: -2"),
        ("exec_budget", (), {"per_program": {"": 1}}, "an empty pattern matches nothing"),
        ("exec_budget", (), {"per_program": {7: 1}}, "a pattern is a str, re.Pattern, list, tuple or subtree(), not"),
        ("exec_budget", (1,), {"phase": "call"}, "got an unexpected keyword argument 'phase'"),
        ("exec_budget", (1,), {"phases": "call"}, "phases is a tuple such as ('call',), not 'call'"),
        ("exec_budget", (1,), {"phases": b"call"}, "phases is a tuple such as ('call',), not b'call'"),
        ("exec_budget", (1,), {"phases": None}, "phases is a tuple such as ('call',), not None"),
        ("exec_budget", (1,), {"phases": ()}, "phases are some of 'setup', 'call', 'teardown', not ()"),
        ("exec_budget", (1,), {"phases": ("call", "tea")}, "phases are some of 'setup', 'call', 'teardown', not ('c"),
        ("exec_budget", (1,), {"direct": 1}, "direct is True or False, not 1"),
        ("exec_allow", (), {}, "it needs a pattern; to allow nothing write exec_none()"),
        ("exec_allow", ("",), {}, "an empty pattern matches nothing"),
        ("exec_allow", (7,), {}, "a pattern is a str, re.Pattern, list, tuple or subtree(), not int: 7"),
        ("exec_allow", ("re:(",), {}, "not a regular expression: '('"),
        ("exec_allow", ("git fetch",), {}, "'git fetch' is no program's name: for arguments write 'argv:git fetch'"),
        ("exec_allow", ("git",), {"inherit": False}, "got an unexpected keyword argument 'inherit'"),
        ("exec_allow", ("git",), {"direct": None}, "direct is True or False, not None"),
        ("exec_allow", ("git",), {"phases": ("Call",)}, "phases are some of 'setup', 'call', 'teardown', not ('Call',"),
        ("exec_none", ("git",), {}, "too many positional arguments"),
        ("exec_none", (), {"direct": "no"}, "direct is True or False, not 'no'"),
        ("exec_none", (), {"phases": 3}, "phases is a tuple such as ('call',), not 3"),
        ("exec_deny", (), {}, "it needs a pattern, or inherit=False to drop the wider ones"),
        ("exec_deny", (), {"inherit": True}, "it needs a pattern, or inherit=False to drop the wider ones"),
        ("exec_deny", (), {"inherit": 0}, "it needs a pattern, or inherit=False to drop the wider ones"),
        ("exec_deny", ("curl",), {"inherit": 0}, "inherit is True or False, not 0"),
        ("exec_deny", (" ",), {}, "an empty pattern matches nothing"),
        ("exec_deny", (["curl"], []), {}, "an empty pattern matches nothing"),
        ("exec_deny", (re.compile(b"x"),), {}, "a pattern over bytes can't match: command lines are text"),
        ("exec_deny", ("curl",), {"direct": "yes"}, "direct is True or False, not 'yes'"),
        ("exec_success", ("",), {}, "an empty pattern matches nothing"),
        ("exec_success", (7,), {}, "a pattern is a str, re.Pattern, list, tuple or subtree(), not int: 7"),
        ("exec_success", (), {"phases": ()}, "phases are some of 'setup', 'call', 'teardown', not ()"),
        ("exec_success", (), {"direct": 1}, "direct is True or False, not 1"),
        ("exec_no_shell", ("sh",), {}, "too many positional arguments"),
        ("exec_no_shell", (), {"allow": "sh"}, "allow takes a list of patterns, not 'sh': write allow=['sh']"),
        ("exec_no_shell", (), {"direct": True}, "got an unexpected keyword argument 'direct'"),
    ],
)
def test_wrong_argument_is_named_and_the_right_ones_are_named(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RuleError) as caught:
        make_rule(name, args, kwargs, "here")
    message = str(caught.value)
    begin, _, rest = message.partition(f": {reason}")
    assert rest, message
    assert begin.startswith(f"{name}(")
    assert message.endswith(f". It is written {MARKERS[name][0]}")
    assert "_make" not in message


# ---- which of them decide ----

# The levels have the closest first; then the rules that decide in set-up, call and teardown.
TABLE = [
    # Nothing, and one.
    ([], "", "", ""),
    ([[budget(1)]], "", "budget(1)", ""),
    ([[allow("git")]], "", "allow('git')", ""),
    ([[none()]], "none()", "none()", "none()"),
    ([[deny("curl")]], "deny('curl')", "deny('curl')", "deny('curl')"),
    # Budget and allow: the closest decides alone, be it laxer or stricter.
    ([[budget(9)], [budget(1)]], "", "budget(9)", ""),
    ([[budget(1)], [budget(9)]], "", "budget(1)", ""),
    ([[], [budget(5)], [], [budget(1)]], "", "budget(5)", ""),
    ([[budget(9)], [budget(5)], [budget(1)]], "", "budget(9)", ""),
    ([[allow("git")], [allow("gpg")]], "", "allow('git')", ""),
    ([[budget(9)], [budget(per_program={"git": 1})]], "", "budget(9)", ""),
    ([[budget(9, direct=True)], [budget(1)]], "", "budget(9, direct=True)", ""),
    # None is an allow.
    ([[none(phases=("call",))], [allow("git")]], "", "none(phases=('call',))", ""),
    ([[allow("git")], [none()]], "none()", "allow('git')", "none()"),
    ([[none()], [allow("git")]], "none()", "none()", "none()"),
    # Phase by phase.
    ([[budget(1, phases=("setup",))], [budget(9)]], "budget(1, phases=('setup',))", "budget(9)", ""),
    ([[budget(9)], [budget(1, phases=("setup", "call"))]], "budget(1, phases=('setup', 'call'))", "budget(9)", ""),
    (
        [[none(phases=("setup",))], [allow("git", phases=("setup", "call"))], [none()]],
        "none(phases=('setup',))",
        "allow('git', phases=('setup', 'call'))",
        "none()",
    ),
    # Several on one level are one.
    ([[allow("git"), allow("gpg")], [allow("sh")]], "", "allow('git') allow('gpg')", ""),
    ([[none(), allow("git")]], "none()", "none() allow('git')", "none()"),
    ([[budget(9), budget(5)], [budget(1)]], "", "budget(9) budget(5)", ""),
    (
        [[budget(9), budget(per_program={"git": 1})], [budget(1)]],
        "",
        "budget(9) budget(per_program={'git': 1})",
        "",
    ),
    (
        [[budget(1, phases=("setup",)), budget(2)], [budget(9, phases=("setup", "teardown"))]],
        "budget(1, phases=('setup',))",
        "budget(2)",
        "budget(9, phases=('setup', 'teardown'))",
    ),
    # Deny adds up.
    ([[deny("a")], [deny("b")], [deny("c")]], *["deny('a') deny('b') deny('c')"] * 3),
    (
        [[deny("a", phases=("call",))], [deny("b", phases=("setup", "call"))]],
        "deny('b', phases=('setup', 'call'))",
        "deny('a', phases=('call',)) deny('b', phases=('setup', 'call'))",
        "",
    ),
    # inherit=False drops the wider ones, and neither closer ones nor those of its level.
    ([[deny("a", inherit=False)], [deny("b")]], *["deny('a', inherit=False)"] * 3),
    ([[deny("a")], [deny("b", inherit=False)], [deny("c")]], *["deny('a') deny('b', inherit=False)"] * 3),
    ([[deny("a", inherit=False), deny("b")], [deny("c")]], *["deny('a', inherit=False) deny('b')"] * 3),
    ([[deny("b"), deny("a", inherit=False)], [deny("c")]], *["deny('b') deny('a', inherit=False)"] * 3),
    ([[deny(inherit=False)], [deny("b")], [deny("c")]], "", "", ""),
    ([[deny("a")], [deny(inherit=False)], [deny("c")]], *["deny('a')"] * 3),
    ([[deny(inherit=False, phases=("call",))], [deny("b")]], "deny('b')", "", "deny('b')"),
    (
        [[deny(inherit=False, phases=("call",))], [deny(inherit=False, phases=("setup",))], [deny("c")]],
        "",
        "",
        "deny('c')",
    ),
    # A deny that was dropped drops nothing.
    (
        [[deny(inherit=False, phases=("call",))], [deny("b", inherit=False)], [deny("c")]],
        "deny('b', inherit=False)",
        "",
        "deny('b', inherit=False)",
    ),
    # Of success and shells the closest decides, too, phase by phase.
    ([[success()]], "", "success()", ""),
    ([[success("git")], [success()]], "", "success('git')", ""),
    ([[success("a"), success("b")]], "", "success('a') success('b')", ""),
    ([[success("a", phases=("setup",))], [success("b")]], "success('a', phases=('setup',))", "success('b')", ""),
    ([[no_shell()]], "no_shell()", "no_shell()", "no_shell()"),
    (
        [[no_shell(allow=["sh"], phases=("call",))], [no_shell()]],
        "no_shell()",
        "no_shell(allow=['sh'], phases=('call',))",
        "no_shell()",
    ),
    # The kinds leave each other alone.
    (
        [[deny(inherit=False)], [budget(2)], [allow("git")], [budget(1), deny("b")]],
        "",
        "budget(2) allow('git')",
        "",
    ),
    (
        [[budget(1)], [allow("git")], [deny("curl")]],
        "deny('curl')",
        "budget(1) allow('git') deny('curl')",
        "deny('curl')",
    ),
    (
        [[deny("curl"), no_shell(phases=("call",)), success(), budget(1)]],
        "deny('curl')",
        "budget(1) success() no_shell(phases=('call',)) deny('curl')",
        "deny('curl')",
    ),
]


@pytest.mark.parametrize(("levels", "setup", "call", "teardown"), TABLE)
def test_which_rules_decide(levels: list[list[Rule]], setup: str, call: str, teardown: str) -> None:
    decide: dict[Phase, str] = {}
    for phase in PHASES:
        found = [rule for decider in deciders(levels) if phase in decider.phases for rule in decider.rules]
        decide[phase] = " ".join(rule.text.removeprefix("exec_") for rule in found if phase in rule.phases)
    assert decide == {"setup": setup, "call": call, "teardown": teardown}


@pytest.mark.parametrize("row", TABLE)
def test_a_judge_is_concerned_where_a_rule_decides(row: tuple[Any, ...]) -> None:
    judge = Judge(deciders(row[0]))
    assert [judge.concerns(phase) for phase in PHASES] == [bool(rules) for rules in row[1:]]
    assert judge.is_any == any(row[1:])


@pytest.mark.parametrize("row", TABLE)
def test_a_judge_has_to_do_from_the_first_phase_on_in_which_a_rule_decides(row: tuple[Any, ...]) -> None:
    judge = Judge(deciders(row[0]))
    decides = [bool(rules) for rules in row[1:]]
    assert [phase in judge.busy for phase in PHASES] == [any(decides[: index + 1]) for index in range(3)]


# ---- where nothing ran ----


@pytest.mark.parametrize("rules", [row[0] for row in TABLE])
def test_what_settles_a_phase_without_a_look_is_found_to_be_right_by_one(rules: list[list[Rule]]) -> None:
    settled, judged = Judge(deciders(rules)), Judge(deciders(rules))
    for phase in PHASES:
        assert settled.saw_nothing(phase)
        assert not judged.concerns(phase) or judged.judge(phase, evidence()) == []
    assert settled.seen == judged.seen


def test_a_phase_in_which_nothing_ran_is_judged_with_what_ran_before() -> None:
    judge = judge_of(budget(1, phases=("setup", "call")))
    judge.judge("setup", evidence(record("git")))
    assert not judge.saw_nothing("call")
    assert judge.judge("call", evidence()) == []


def test_a_rule_that_is_added_later_is_judged_where_nothing_more_ran() -> None:
    before = judge_of(budget(9, phases=("setup", "call")))
    before.judge("setup", evidence(record("git")))
    judge = judge_of(budget(0, phases=("setup", "call"))).instead_of(before)
    assert not judge.saw_nothing("call")
    assert headlines(judge.judge("call", evidence())) == ["exec budget exceeded: 1 exec, at most 0 allowed"]


def test_rows_of_a_baseline_are_asked_for_what_ran_nothing() -> None:
    rows = Rule("baseline", "tests", "in execs.toml", PHASES, beyond=lambda _: [])
    assert not judge_of(rows).saw_nothing("call")


def test_what_is_not_known_is_not_nothing() -> None:
    judge = judge_of(budget(1, phases=("setup", "call")))
    judge.judge("setup", Evidence(unknown=("why",)))
    assert not judge.saw_nothing("call")


def test_judges_of_the_same_rules_have_nothing_else_in_common() -> None:
    judge = judge_of(budget(0))
    assert judge.judge("call", evidence(record("git")))
    again = judge.fresh()
    assert again.saw_nothing("call")
    assert [phase in again.busy for phase in PHASES] == [phase in judge.busy for phase in PHASES]
    assert judge.fresh().judge("call", evidence(record("git")))


# ---- what they find ----


def judge_of(*levels: Rule | list[Rule]) -> Judge:
    """Its levels, the closest first."""
    return Judge(deciders([level if isinstance(level, list) else [level] for level in levels]))


def found(rules: Iterable[Rule], *records: ExecRecord | Evidence) -> list[RuleFinding]:
    """What rules of one level find in the call."""
    given = records[0] if records and isinstance(records[0], Evidence) else evidence(*records)  # type: ignore[arg-type]
    return judge_of([*rules]).judge("call", given)


def headlines(findings: Iterable[RuleFinding]) -> list[str]:
    """Of a finding that can't be decided, its question."""
    return [finding.headline if finding.holds is False else f"? {finding.question}" for finding in findings]


def programs(records: Iterable[ExecRecord]) -> list[str | None]:
    return [found.program for found in records]


def some(text: str) -> list[ExecRecord]:
    return [record(name) for name in text.split()]


def test_budget() -> None:
    assert found([budget(2)], *some("git sh")) == []
    (finding,) = found([budget(2)], *some("git sh curl git"))
    assert finding.headline == "exec budget exceeded: 4 execs, at most 2 allowed"
    assert programs(finding.marked) == ["curl", "git"]  # those beyond it
    assert [rule.text for rule in finding.rules] == ["exec_budget(2)"]


def test_budget_per_program() -> None:
    limits = budget(per_program={"git": 1, "sh": 2, "curl": 0})
    assert found([limits], *some("git sh sh make")) == []
    assert headlines(found([limits], *some("git git sh sh sh"))) == [
        "exec budget exceeded: git ran 2 times, at most 1 allowed",
        "exec budget exceeded: sh ran 3 times, at most 2 allowed",
    ]
    (finding,) = found([limits], *some("curl"))
    assert finding.headline == "exec budget exceeded: curl ran once, at most 0 allowed"
    assert programs(finding.marked) == ["curl"]


def test_both_of_a_budget() -> None:
    assert headlines(found([budget(1, per_program={"git": 1})], *some("git git"))) == [
        "exec budget exceeded: 2 execs, at most 1 allowed",
        "exec budget exceeded: git ran 2 times, at most 1 allowed",
    ]


def test_each_budget_of_a_level_must_be_kept() -> None:
    level = [budget(3), budget(per_program={"git": 1})]
    assert found(level, *some("git sh sh")) == []
    assert headlines(found(level, *some("git git"))) == ["exec budget exceeded: git ran 2 times, at most 1 allowed"]
    assert headlines(found(level, *some("a b c d"))) == ["exec budget exceeded: 4 execs, at most 3 allowed"]


def test_budget_counts_its_phases_together() -> None:
    judge = judge_of(budget(3, phases=("setup", "call")))
    assert judge.judge("setup", evidence(*some("git git"))) == []
    assert headlines(judge.judge("call", evidence(*some("sh sh")))) == [
        "exec budget exceeded: 4 execs, at most 3 allowed"
    ]


def test_budget_counts_no_other_phase() -> None:
    judge = judge_of(budget(1))
    assert judge.judge("setup", evidence(*some("git git"))) == []
    assert judge.judge("call", evidence(*some("git"))) == []
    assert judge.judge("teardown", evidence(*some("git git"))) == []


def test_budget_counts_no_phase_that_a_closer_one_has() -> None:
    judge = judge_of(budget(5), budget(1, phases=ALL))
    assert judge.judge("setup", evidence(*some("git"))) == []
    assert judge.judge("call", evidence(*some("sh sh sh"))) == []
    assert headlines(judge.judge("teardown", evidence(*some("rm")))) == [
        "exec budget exceeded: 2 execs, at most 1 allowed"
    ]


def test_exceeded_budget_is_found_once() -> None:
    judge = judge_of(budget(1, phases=ALL))
    assert len(judge.judge("setup", evidence(*some("git git")))) == 1
    assert judge.judge("call", evidence(*some("git"))) == []
    assert judge.judge("teardown", evidence()) == []


def test_an_exceeded_budget_does_not_hide_another() -> None:
    judge = judge_of([budget(1, phases=ALL), budget(per_program={"sh": 0}, phases=ALL)])
    assert len(judge.judge("setup", evidence(*some("git git")))) == 1
    assert headlines(judge.judge("call", evidence(*some("sh")))) == [
        "exec budget exceeded: sh ran once, at most 0 allowed"
    ]


def test_stray_counts_for_the_phase_in_which_it_was_begun() -> None:
    judge = judge_of(budget(2))
    assert judge.judge("call", evidence(*some("git"))) == []
    assert judge.judge("teardown", evidence(*some("rm rm"))) == []
    assert judge.judge("call", evidence(*some("sh"))) == []
    assert headlines(judge.judge("call", evidence(*some("sh")))) == ["exec budget exceeded: 3 execs, at most 2 allowed"]
    assert judge.judge("call", evidence(*some("sh"))) == []  # once


def test_stray_is_judged_by_the_rules_of_its_phase() -> None:
    judge = judge_of(allow("git"), deny("curl", phases=("setup",)))
    judge.judge("call", evidence(*some("git")))
    assert headlines(judge.judge("call", evidence(*some("curl")))) == ["unexpected program: curl ran, and only git may"]
    assert headlines(judge.judge("setup", evidence(*some("curl")))) == ["curl must not run, but it ran once"]
    assert judge.judge("teardown", evidence(*some("curl"))) == []


def test_a_judge_instead_of_another_knows_what_that_has_seen() -> None:
    first = judge_of(deny("curl"))
    first.judge("setup", evidence(*some("git git")))
    second = judge_of(budget(2, phases=("setup", "call"))).instead_of(first)
    assert headlines(second.judge("call", evidence(*some("sh")))) == [
        "exec budget exceeded: 3 execs, at most 2 allowed"
    ]


def test_a_judge_instead_of_another_repeats_no_budget() -> None:
    exceeded = budget(1, phases=ALL)
    first = judge_of(exceeded)
    assert len(first.judge("setup", evidence(*some("git git")))) == 1
    second = judge_of([deny("curl"), exceeded]).instead_of(first)
    assert second.judge("call", evidence(*some("sh"))) == []


def found_belatedly(judge: Judge, now: Phase | None = None) -> list[tuple[str, str | None, str]]:
    return [(phase, during, f.headline) for phase, during, _, found in judge.belated(now) for f in found]


def test_a_judge_instead_of_another_judges_what_that_had_no_rule_for() -> None:
    first = judge_of(deny("curl"))
    first.judge("setup", evidence(*some("git")))
    second = judge_of([deny("curl"), deny("git")]).instead_of(first)
    assert found_belatedly(second) == [("setup", None, "git must not run, but it ran once")]
    assert found_belatedly(second) == []  # each once


def test_what_a_new_rule_is_about_is_shown_to_it_and_nothing_else() -> None:
    judge = judge_of(allow("git", phases=("setup",))).instead_of(judge_of())
    judge.show("setup", lambda: evidence(*some("curl")))
    judge.show("setup", lambda: evidence(*some("curl")))  # seen already
    judge.show("call", lambda: pytest.fail("no rule is about it"))
    assert found_belatedly(judge) == [("setup", None, "unexpected program: curl ran, and only git may")]


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        (("setup",), [("setup", None, "exec budget exceeded: 2 execs, at most 1 allowed")]),
        (("setup", "call"), []),  # the judgement of the call is to come
        (("setup", "teardown"), [("setup", None, "exec budget exceeded: 2 execs, at most 1 allowed")]),
    ],
)
def test_a_budget_that_was_added_is_judged_once(phases: tuple[Phase, ...], said: list[object]) -> None:
    judge = judge_of(budget(1, phases=phases)).instead_of(judge_of())
    judge.show("setup", lambda: evidence(*some("git git")))
    assert found_belatedly(judge, "call") == said
    call = judge.judge("call", evidence(*some("sh")))
    assert headlines(call) == ([] if said else ["exec budget exceeded: 3 execs, at most 1 allowed"])


def test_what_a_phase_left_running_is_judged_belatedly_by_rules_about_it_alone() -> None:
    judge = judge_of([deny("a", phases=("setup",)), deny("b", phases=ALL)]).instead_of(judge_of())
    judge.show("setup", lambda: evidence(*some("a b")), during="call")
    assert found_belatedly(judge) == [("setup", "call", "a must not run, but it ran once")]


def test_allow() -> None:
    assert found([allow("git", "gpg")], *some("git gpg git")) == []
    (finding,) = found([allow("git", "gpg")], *some("git curl sh curl"))
    assert finding.headline == "unexpected program: curl, sh ran, and only git, gpg may"
    assert programs(finding.marked) == ["curl", "sh", "curl"]


def test_allowed_is_what_one_of_the_level_allows() -> None:
    level = [allow("git"), allow("gpg")]
    assert found(level, *some("git gpg")) == []
    (finding,) = found(level, *some("git curl"))
    assert finding.headline == "unexpected program: curl ran, and only git, gpg may"
    assert [rule.text for rule in finding.rules] == ["exec_allow('git')", "exec_allow('gpg')"]


def test_none() -> None:
    assert found([none()]) == []
    (finding,) = found([none()], *some("git curl git"))
    assert finding.headline == "nothing may run, but git, curl ran"
    assert programs(finding.marked) == ["git", "curl", "git"]


def test_none_and_allow_of_one_level_unite() -> None:
    judge = judge_of([none(), allow("git")])
    assert headlines(judge.judge("setup", evidence(*some("git")))) == ["nothing may run, but git ran"]
    assert judge.judge("call", evidence(*some("git"))) == []
    (finding,) = judge.judge("call", evidence(*some("curl")))
    assert [rule.text for rule in finding.rules] == ["exec_none()", "exec_allow('git')"]


def test_allow_goes_by_the_resolved_executable() -> None:
    link = record("git", path="/opt/tools/git", executable="/usr/lib/evil")
    assert headlines(found([allow("/opt/tools/*")], link)) == ["unexpected program: git ran, and only /opt/tools/* may"]
    assert found([allow("git")], link) == []


def test_deny() -> None:
    assert found([deny("curl", "wget")], *some("git")) == []
    assert headlines(found([deny("curl", "wget")], *some("curl git wget curl"))) == [
        "curl must not run, but it ran 2 times",
        "wget must not run, but it ran once",
    ]
    (finding,) = found([deny("curl")], *some("git curl"))
    assert programs(finding.marked) == ["curl"]
    assert finding.advice == ""


def test_deny_goes_by_either_path() -> None:
    link = record("fetch", path="/opt/fetch", executable="/usr/bin/curl")
    assert len(found([deny("/usr/bin/curl")], link)) == len(found([deny("/opt/*")], link)) == 1


def test_deny_judges_each_phase_by_itself() -> None:
    judge = judge_of(deny("curl"))
    for phase in PHASES:
        assert headlines(judge.judge(phase, evidence(*some("curl")))) == ["curl must not run, but it ran once"]


def below(program: str, *more: str) -> list[ExecRecord]:
    """A program that the test spawned, and what that spawned."""
    top = record(program)
    return [top, *(record(name, parent=top) for name in more)]


@pytest.mark.parametrize(
    ("rules", "holds"),
    [
        ([budget(1, direct=True)], True),
        ([budget(0, direct=True)], False),
        ([budget(1)], False),
        ([budget(per_program={"sh": 0}, direct=True)], True),
        ([budget(per_program={"make": 0}, direct=True)], False),
        ([allow("make", direct=True)], True),
        ([allow("make")], False),
        ([allow("sh", direct=True)], False),
        ([none(direct=True)], False),
        ([deny("sh", direct=True)], True),
        ([deny("make", direct=True)], False),
        # Of one level, an exec is judged by those about it.
        ([none(direct=True), allow("sh")], False),
        ([none(direct=True), allow("make", "sh")], True),
        ([allow("make", direct=True), allow("sh")], True),
        ([allow("make"), allow("sh", direct=True)], False),
        ([allow("make", direct=True), none(direct=True)], True),
    ],
)
def test_direct(rules: list[Rule], holds: bool) -> None:
    """``make`` is the test's own, and ``sh`` is below it."""
    assert (found(rules, *below("make", "sh")) == []) is holds


def test_direct_allow_says_nothing_of_what_is_below() -> None:
    assert found([none(direct=True)], *below("make", "sh")[1:]) == []


# ---- what is not known never passes ----

WHY = "the helper was lost"


@pytest.mark.parametrize(
    ("rules", "known", "lost", "expected"),
    [
        # Lost execs count, for their number is known.
        ([budget(2)], "git", 1, []),
        ([budget(1)], "git", 1, ["exec budget exceeded: 2 execs, at most 1 allowed"]),
        ([budget(per_program={"git": 1})], "git", 1, ["? whether git ran at most once"]),
        ([budget(per_program={"git": 2})], "git", 1, []),
        ([budget(per_program={"git": 0})], "git", 1, ["exec budget exceeded: git ran once, at most 0 allowed"]),
        ([none()], "", 2, ["nothing may run, but 2 execs ran"]),
        ([none()], "git", 2, ["nothing may run, but git ran"]),
        ([allow("git")], "git", 1, ["? whether only git ran"]),
        ([allow("git")], "curl", 1, ["unexpected program: curl ran, and only git may"]),
        ([deny("curl")], "git", 1, ["? whether curl ran"]),
        ([deny("curl")], "curl", 1, ["curl must not run, but it ran once"]),
        ([deny("curl", "git")], "git", 1, ["git must not run, but it ran once", "? whether curl ran"]),
    ],
)
def test_lost(rules: list[Rule], known: str, lost: int, expected: list[str]) -> None:
    assert headlines(found(rules, evidence(*some(known), lost=lost))) == expected


@pytest.mark.parametrize(
    ("rule", "question"),
    [
        (budget(2), "whether at most 2 execs ran"),
        (budget(per_program={"sh": 2}), "whether sh ran at most 2 times"),
        (allow("git", "gpg"), "whether only git, gpg ran"),
        (none(), "whether nothing ran"),
        (deny("curl"), "whether curl ran"),
    ],
)
def test_unknown(rule: Rule, question: str) -> None:
    assert headlines(found([rule], evidence(unknown=WHY))) == [f"? {question}"]


@pytest.mark.parametrize("rule", [budget(1), budget(per_program={"git": 1}), allow("sh"), none(), deny("git")])
def test_what_is_certain_is_so_whatever_is_missing(rule: Rule) -> None:
    findings = found([rule], evidence(*some("git git"), lost=1, unknown=WHY))
    assert [finding.holds for finding in findings] == [False]


def test_program_whose_name_was_not_read() -> None:
    nameless = record(None, executable=None, argv=None)
    assert headlines(found([allow("git")], nameless)) == ["? whether only git ran"]
    assert headlines(found([deny("curl")], nameless)) == ["? whether curl ran"]
    assert headlines(found([budget(per_program={"git": 0})], nameless)) == ["? whether git ran at most 0 times"]
    assert found([budget(1)], nameless) == []
    assert headlines(found([none()], nameless)) == ["nothing may run, but ? ran"]


def test_unread_where_one_of_the_level_allows_it_anyway() -> None:
    cut = record("git", "push", truncated=True)
    assert headlines(found([allow("argv:git push origin")], cut)) == ["? whether only argv:git push origin ran"]
    assert found([allow("argv:git push origin"), allow("git")], cut) == []


def filtered(*records: ExecRecord, lost: int = 0) -> Evidence:
    """Some execs are left out of it by what they are, and so a lost one may have been one of those."""
    return replace(evidence(*records, lost=lost), filtered=True)


@pytest.mark.parametrize(
    ("rules", "known", "lost", "expected"),
    [
        ([budget(2)], "git", 1, []),
        ([budget(1)], "git", 1, ["? whether at most 1 exec ran"]),
        ([budget(1)], "git git", 1, ["exec budget exceeded: 2 execs, at most 1 allowed"]),
        ([none()], "", 1, ["? whether nothing ran"]),
        ([none()], "git", 1, ["nothing may run, but git ran"]),
        ([none()], "", 0, []),
        ([allow("git")], "git", 1, ["? whether only git ran"]),
        ([deny("curl")], "git", 1, ["? whether curl ran"]),
    ],
)
def test_lost_where_some_are_left_out(rules: list[Rule], known: str, lost: int, expected: list[str]) -> None:
    assert headlines(found(rules, filtered(*some(known), lost=lost))) == expected


@pytest.mark.parametrize("rule", [budget(0, direct=True), none(direct=True), allow("git", direct=True)])
def test_lost_below_is_nothing_to_a_direct_rule(rule: Rule) -> None:
    assert found([rule], Evidence(lost=(Lost(5, direct=False),))) == []
    assert len(found([rule], Evidence(lost=(Lost(5, direct=True),)))) == 1


def test_certain_breaches_come_first() -> None:
    findings = found([budget(9), allow("git"), deny("wget"), deny("curl")], evidence(*some("git curl"), lost=1))
    assert [finding.holds for finding in findings] == [False, False, None]
    assert findings[0].headline == "unexpected program: curl ran, and only git may"


# ---- against every way in which it can have been ----

Known = tuple[str, bool]  # a program, and whether it is direct
EVERY: list[Known] = [*itertools.product(("git", "curl", "sh"), (True, False))]
AS_RECORD = {each: record(each[0], direct=each[1]) for each in EVERY}


def _kept(rules: Sequence[Rule], execs: Iterable[Known]) -> bool:
    """What the contract says of rules of one level and one phase, where all is known."""
    records = [AS_RECORD[each] for each in execs]
    for rule in rules:
        heard = [record for record in records if record._lineage.direct or not rule.direct]
        counts = {pattern: sum(pattern.match(record) is True for record in heard) for pattern, _ in rule.per_program}
        if rule.at_most is not None and len(heard) > rule.at_most:
            return False
        if any(counts[pattern] > n for pattern, n in rule.per_program):
            return False
        if rule.kind == "deny" and any(pattern.match(record) for pattern in rule.patterns for record in heard):
            return False
    for each in records:
        speaking = [rule for rule in rules if rule.kind == "allow" and (each._lineage.direct or not rule.direct)]
        if speaking and not any(pattern.match(each) for rule in speaking for pattern in rule.patterns):
            return False
    return True


def _completions(
    known: Sequence[Known], lost: Sequence[bool], more: int, filtered: bool
) -> Iterator[tuple[Known, ...]]:
    """All that can have run, if ``more`` execs at most came and went unseen."""
    names = ("git", "curl", "sh", None) if filtered else ("git", "curl", "sh")
    for chosen in itertools.product(names, repeat=len(lost)):
        known_lost = [(name, direct) for name, direct in zip(chosen, lost, strict=True) if name is not None]
        for n in range(more + 1):
            for unseen in itertools.combinations_with_replacement(EVERY, n):
                yield tuple(sorted([*known, *known_lost, *unseen]))


EXACT = [
    [budget(1)],
    [budget(1, direct=True)],
    [budget(per_program={"git": 1})],
    [budget(per_program={"git": 0}, direct=True)],
    [none()],
    [none(direct=True)],
    [allow("git")],
    [allow("git", direct=True)],
    [allow("git"), allow("sh")],
    [deny("curl")],
    [deny("curl", direct=True)],
]
# These can be broken for certain without one of their parts being so, and that is reported as undecided.
CAUTIOUS = [
    [deny("curl", "sh", "git")],
    [budget(2, per_program={"curl": 0})],
    [none(), allow("git", direct=True)],
    [none(direct=True), allow("git")],
    [allow("sh"), allow("git", direct=True)],
    [budget(2), allow("git", "sh"), deny("sh")],
]
SETS = [*EXACT, *CAUTIOUS]


@pytest.mark.parametrize("unknown", [False, True], ids=["known", "unknown"])
@pytest.mark.parametrize("some_left_out", [False, True], ids=["all", "filtered"])
@pytest.mark.parametrize("place", range(len(SETS)), ids=lambda place: " ".join(rule.text for rule in SETS[place]))
def test_against_every_completion(place: int, some_left_out: bool, unknown: bool) -> None:
    rules = SETS[place]
    kept = functools.cache(functools.partial(_kept, rules))
    for seen, losses in itertools.product(range(3), range(3)):
        for known, lost in itertools.product(
            itertools.combinations_with_replacement(EVERY, seen),
            itertools.combinations_with_replacement((True, False), losses),
        ):
            subject = Evidence(
                records=tuple(AS_RECORD[each] for each in known),
                lost=tuple(Lost(5, direct) for direct in lost),
                unknown=(WHY,) if unknown else (),
                filtered=some_left_out,
            )
            outcomes = map(kept, _completions(known, lost, 3 * unknown, some_left_out))
            first = next(outcomes)
            expected = first if all(outcome is first for outcome in outcomes) else None
            verdicts = {finding.holds for finding in found(rules, subject)}
            answer = False if False in verdicts else None if verdicts else True
            assert answer is expected or (place >= len(EXACT) and answer is None and expected is False), (known, lost)


# ---- what to write if it is right ----


@pytest.mark.parametrize(
    ("rules", "ran", "advice"),
    [
        ([budget(1)], "git sh curl", "exec_budget(3)"),
        ([budget(1, phases=ALL)], "git sh", "exec_budget(2, phases=('setup', 'call', 'teardown'))"),
        ([budget(1, direct=True)], "git sh", "exec_budget(2, direct=True)"),
        ([budget(per_program={"git": 1})], "git git", "exec_budget(per_program={'git': 2})"),
        # What is not exceeded stays as it is.
        ([budget(3, per_program={"git": 1, "sh": 5})], "git git", "exec_budget(3, per_program={'git': 2, 'sh': 5})"),
        ([budget(1, per_program={"git": 5})], "git git", "exec_budget(2, per_program={'git': 5})"),
        ([allow("git")], "curl git curl sh", "exec_allow('git', 'curl', 'sh')"),
        ([allow(subtree("make"), ["sh", "-c"])], "curl", "exec_allow('subtree:make', 'argv:sh -c', 'curl')"),
        ([allow("git"), allow("gpg")], "curl", "exec_allow('git', 'curl')"),
        ([allow("git", direct=True)], "curl", "exec_allow('git', 'curl', direct=True)"),
        ([none()], "curl sh", "exec_allow('curl', 'sh', phases=('setup', 'call', 'teardown'))"),
        ([none(phases=("call",))], "curl", "exec_allow('curl')"),
        ([deny("curl")], "curl", ""),
    ],
)
def test_advice(rules: list[Rule], ran: str, advice: str) -> None:
    (finding,) = found(rules, *some(ran))
    assert finding.advice == (advice and f"@pytest.mark.{advice} {rules[0].where}".rstrip())


@pytest.mark.parametrize("rules", [[budget(1)], [budget(per_program={"git": 1})], [allow("sh")], [none()]])
def test_advice_is_right(rules: list[Rule]) -> None:
    """Who writes what it says has a rule that is kept."""
    ran = [*some("git git sh"), record("Google Chrome"), record("a'b\x1b")]
    ran += [record(name) for name in ("it's:me", "x:y", "a,b", "a|b", "~z", "$x", "{a,b}", "'q'", "[", "a*", "re:x")]
    (finding,) = found(rules, *ran)
    advice = finding.advice.removeprefix("@pytest.mark.").removesuffix(rules[0].where)
    assert found([eval(advice, {"exec_budget": budget, "exec_allow": allow})], *ran) == []


def test_no_advice_where_no_program_has_a_name() -> None:
    (finding,) = found([none()], evidence(lost=2))
    assert (finding.holds, finding.advice) == (False, "")


def test_patterns_of_options_are_taken_as_they_are() -> None:
    pattern = compile_pattern("git")
    assert allow(pattern).patterns == (pattern,)
