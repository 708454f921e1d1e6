"""Rules of a test whose phases ran in another process (pytest-forked): what that has executed is seen here, too, and
not in which phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..rules.judge import Judge, RuleFinding
from ..rules.rule import PHASES
from ..timeline.evidence import Evidence
from ..timeline.record import Phase

ELSEWHERE = "the test ran in a process of its own, and in which of its phases this was begun is not known"


@dataclass
class Elsewhere:
    """Such a test. ``ran`` is all that was executed until this process saw it end, ``until`` when the other one had
    judged its last phase; None if it was killed."""

    ran: Evidence
    until: int | None
    _judges: dict[Phase, Judge] = field(default_factory=dict)

    def has_judged(self, entered: int) -> bool:
        return self.until is None or entered < self.until

    def judges(self, make: Callable[[], Judge]) -> dict[Phase, Judge]:
        """One for each phase, that knows what was judged there."""
        if not self._judges:
            records = tuple(record for record in self.ran.records if self.has_judged(record.timestamp_ns))
            lost = tuple(one for one in self.ran.lost if self.has_judged(one.timestamp_ns))
            ran = replace(self.ran, records=records, lost=lost)
            self._judges = {phase: make().tell(phase, ran) for phase in PHASES}
        return self._judges


def of_any_phase(
    judges: Mapping[Phase, Judge], evidence: Evidence, why: str, *, left_behind: bool = False
) -> list[RuleFinding]:
    """What is wrong by a judge for each phase, each once. Certain is only what is found in all: in others another rule
    can decide."""
    found: dict[tuple[object, ...], dict[Phase, RuleFinding]] = {}
    for phase, judge in judges.items():
        for one in judge.judge(phase, evidence, left_behind=left_behind):
            rules = tuple(replace(rule, beyond=None) for rule in one.rules)  # which is another one's in each judge
            found.setdefault((rules, one.question), {}).setdefault(phase, one)
    said = []
    for those in found.values():
        one = next(iter(those.values()))
        if one.holds is False and len(those) < len(judges):
            known = one.evidence or evidence
            one = replace(one, holds=None, phases=(), evidence=replace(known, unknown=(*known.unknown, why)))
        elif one.phases:
            one = replace(one, phases=PHASES)
        said.append(one)
    return sorted(said, key=lambda one: one.holds is None)
