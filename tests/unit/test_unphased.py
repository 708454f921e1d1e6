"""Rules of a test of which it is not known in which phase something ran."""

from __future__ import annotations

import pytest
from fakes import record

from pytest_execprobe.baseline.model import Excess
from pytest_execprobe.rules.judge import Judge
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import PHASES, Rule, make_rule
from pytest_execprobe.session.unphased import of_any_phase
from pytest_execprobe.timeline.evidence import Evidence

NONE = make_rule("exec_none", (), {}, "on TestIt")
ALLOW = make_rule("exec_allow", ("git",), {}, "on test_it")
DENY = make_rule("exec_deny", ("git",), {}, "on TestIt")
BACK = make_rule("exec_deny", (), {"inherit": False, "phases": ("call",)}, "on test_it")
BUDGET = make_rule("exec_budget", (0,), {"phases": PHASES}, "on TestIt")


@pytest.mark.parametrize(
    ("levels", "holds"),
    [
        ([[NONE]], [False]),
        ([[DENY]], [False]),
        ([[BUDGET]], [False]),
        ([[ALLOW], [NONE]], [None]),  # in the call it may run
        ([[BACK], [DENY]], [None]),
        ([[make_rule("exec_budget", (1,), {}, "")], [BUDGET]], [None]),
        ([[DENY], [BACK]], [False]),
        ([[ALLOW]], []),
        ([[make_rule("exec_allow", ("sh",), {}, "")]], [None]),  # was it in the call?
    ],
)
def test_what_is_found_in_every_phase_alone_is_certain(levels: list[list[Rule]], holds: list[bool | None]) -> None:
    judges = {phase: Judge(deciders(levels)) for phase in PHASES}
    found = of_any_phase(judges, Evidence((record("git"),)), "no phase is known")
    assert [one.holds for one in found] == holds
    assert all("no phase is known" in one.evidence.unknown for one in found if one.holds is None and one.evidence)


def test_each_judge_has_a_baseline_of_its_own() -> None:
    excess = Excess("git", 2, 1, False)

    def baseline() -> Rule:
        return Rule("baseline", PHASES, text="tests.a", where="in execs.toml", beyond=lambda _: [excess])

    judges = {phase: Judge(deciders([[baseline()]])) for phase in PHASES}
    (found,) = of_any_phase(judges, Evidence((record("git"),)), "no phase is known")
    assert found.holds is False
