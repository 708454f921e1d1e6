"""What enforced rules deny is killed before it runs: in each phase, and while a wider fixture is set up or ended, that
of the rules which decide there.

Nothing is killed that its own rules allow. So what is no longer denied is let go before the clock is read for an end,
and what is denied from then on is so for execs that are entered after the clock was read for a beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import pytest

from .._util.text import printable
from ..errors import RuleUndecided
from ..rules.judge import Judge
from ..rules.rule import PHASES, Rule
from ..rules.text import Problem
from ..source.stopping import StopError
from ..timeline.record import Phase
from ..timeline.recorder import Recorder

_ADDED = (
    "it was added when that had begun. Mark the test where it is defined, or in a hook of the collection, or leave the"
    " phase out of phases="
)


class Enforcement:
    """Registered in a run that probes: in place of a set-up or a call which can't have what it needs it fails."""

    def __init__(self, recorder: Recorder, around: frozenset[str]) -> None:
        """``around``: what is denied around tests, too."""
        self._recorder = recorder
        self._around = around
        #: When the test began, or what runs without one.
        self.since = 0
        #: Whether anything has been, or is to be, killed before it runs: until then there is nothing to do at the
        #: beginnings and ends of what no enforced rule is about.
        self.is_at_work = bool(around)
        #: What is denied in the phase that runs.
        self._of_phase: frozenset[str] = frozenset()
        self._refused: Problem | None = None
        self._told: frozenset[Rule] = frozenset()  # of which rules of the test that was said already

    # Not by the wrappers around the phases: those of others, in between, are to have a beginning and an end.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused.error

    pytest_runtest_call = pytest_runtest_setup

    # ---- phases ----

    def begin_phase(self, judge: Judge, phase: Phase, why_not: str | None) -> Problem | None:
        """``why_not`` says why there is no probe. What is wrong, if that can't be had."""
        if phase == "setup":
            self._told = frozenset()
        problem = self._begin(judge.enforcing(phase), f"{phase} phase", why_not)
        if problem is not None and self._told.issuperset(judge.enforcing(phase)):
            return None
        self._told |= frozenset(judge.enforcing(phase)) if problem is not None else frozenset()
        self._refused = problem
        return problem

    def end_phase(self, judge: Judge, phase: Phase) -> None:
        """Before the clock is read for that. In between two phases is stopped what all that may follow deny."""
        self._refused = None
        rest = [denied(judge.enforcing(later)) for later in PHASES[PHASES.index(phase) + 1 :]]
        self.reduce(frozenset.intersection(*rest) if rest else self._around)

    def end_test(self) -> None:
        """After the clock was read for that."""
        self.resume(self._around)

    def missed(self, judge: Judge, phase: Phase) -> Problem | None:
        """What is wrong where rules were added while a phase ran, which they are about."""
        late = [rule for rule in judge.enforcing(phase) if not denied([rule]) <= self._of_phase]
        return _problem(late, f"{phase} phase", _ADDED) if late else None

    # ---- what runs in the middle of a phase, or outside of all ----

    def interrupt(self, judge: Judge, phase: Phase) -> frozenset[str]:
        """Before the clock is read for a fixture's beginning. Returns what :meth:`resume` is to be given."""
        before = self._recorder.stopping
        self.reduce(denied(judge.enforcing(phase)))
        return before

    def begin_fixture(self, judge: Judge, phase: Phase, name: str, start: int, why_not: str | None) -> None:
        """Raises RuleUndecided."""
        of_phase, self.since = self._of_phase, self.since or start
        problem = self._begin(judge.enforcing(phase), f"{'set-up' if phase == 'setup' else 'end'} of {name}", why_not)
        self._of_phase = of_phase
        if problem is not None:
            raise problem.error

    def reduce(self, patterns: frozenset[str]) -> None:
        """To these, before the clock is read for an end."""
        with suppress(StopError):  # then nothing is stopped any more
            self._recorder.stop(self._recorder.stopping & patterns, self.since)

    def resume(self, before: frozenset[str]) -> None:
        """After that. If it fails, the probe is lost, and what follows in the phase is not known."""
        with suppress(StopError):
            self._recorder.stop(before, self.since)

    # ---- inner workings ----

    def _begin(self, rules: tuple[Rule, ...], where: str, why_not: str | None) -> Problem | None:
        self._of_phase = patterns = denied(rules)
        self.is_at_work = self.is_at_work or bool(patterns)
        if patterns and why_not is not None:
            return _problem(rules, where, f"there is no probe: {why_not.removeprefix('execprobe: ')}")
        try:
            self._recorder.stop(patterns, self.since, anew=True)
        except StopError as error:
            return _problem(rules, where, str(error)) if rules else None
        return None


def denied(rules: Iterable[Rule]) -> frozenset[str]:
    return frozenset(pattern.text for rule in rules for pattern in rule.patterns)


def _problem(rules: Iterable[Rule], where: str, why: str) -> Problem:
    lines = [f"cannot enforce what is denied in the {where}: {why}"]
    lines += (f"  rule  {rule.text} {rule.where}" for rule in rules)
    text = "\n".join(map(printable, lines))
    return Problem(RuleUndecided(text), text.partition("\n")[0], (), text)
