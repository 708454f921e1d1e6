"""Which rules decide, and in which phases.

A rule stands on a level (parameter, function, class, module, command line, ini), and levels are given with the closest
first.

- *Allow* (with none), *budget*, *success* and *no shell*: phase by phase, the closest level that has one for the phase
  decides alone. Several on that level are one: an exec is allowed if one of those that are about it allows it, and each
  of the others must be kept.
- *Deny* adds up over all levels; one with ``inherit=False`` drops those of wider levels, for its own phases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..timeline.record import Phase
from .rule import PHASES, Rule, in_order


@dataclass(frozen=True)
class Decider:
    """Rules of one kind and level, and the phases in which they decide. Only of allow there may be several."""

    rules: tuple[Rule, ...]
    phases: tuple[Phase, ...]

    @property
    def kind(self) -> str:
        return self.rules[0].kind


def deciders(levels: Sequence[Sequence[Rule]]) -> list[Decider]:
    """Those of the rules that decide, and in which phases. ``levels`` has the closest first."""
    baselines = [Decider((rule,), PHASES) for level in levels for rule in level if rule.kind == "baseline"]
    closest = [decider for kind in ("budget", "allow", "success", "no shell") for decider in _closest(levels, kind)]
    return [*closest, *_denials(levels), *baselines]


def _closest(levels: Sequence[Sequence[Rule]], kind: str) -> Iterator[Decider]:
    open_phases = set(PHASES)
    for level in levels:
        rules = tuple(rule for rule in level if rule.kind == kind)
        taken = open_phases & {phase for rule in rules for phase in rule.phases}
        groups = [rules] if kind == "allow" and rules else [(rule,) for rule in rules]
        for group in groups:
            phases = taken & {phase for rule in group for phase in rule.phases}
            if phases:
                yield Decider(group, in_order(phases))
        open_phases -= taken


def _denials(levels: Sequence[Sequence[Rule]]) -> Iterator[Decider]:
    open_phases = set(PHASES)
    for level in levels:
        dropped: set[Phase] = set()
        for rule in level:
            phases = open_phases & set(rule.phases)
            if rule.kind == "deny" and phases:
                if rule.patterns:
                    yield Decider((rule,), in_order(phases))
                if not rule.inherit:
                    dropped |= phases
        open_phases -= dropped
