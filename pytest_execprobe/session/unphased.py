"""Rules of a test whose phases ran in another process (pytest-forked): what that has executed is seen here, too, and
not in which phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..rules.judge import Judge, RuleFinding
from ..rules.rule import PHASES
from ..timeline.evidence import Evidence
from ..timeline.record import Phase


def of_any_phase(
    judges: Mapping[Phase, Judge], evidence: Evidence, why: str, *, left_behind: bool = False
) -> list[RuleFinding]:
    """What is wrong by a judge for each phase, each once. Certain is only what rules for all phases find."""
    found: dict[tuple[object, ...], RuleFinding] = {}
    for phase, judge in judges.items():
        for one in judge.judge(phase, evidence, left_behind=left_behind):
            if one.holds is False and not all({*PHASES} <= {*rule.phases} for rule in one.rules):
                known = one.evidence or evidence
                one = replace(one, holds=None, phases=(), evidence=replace(known, unknown=(*known.unknown, why)))
            elif one.phases:
                one = replace(one, phases=PHASES)
            found.setdefault((one.rules, one.question), one)
    return sorted(found.values(), key=lambda one: one.holds is None)
