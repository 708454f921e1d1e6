"""What rules find in what ran: breaches, each once, and what can't be decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..baseline.model import BEYOND, PYTHONS_OWN, WITHIN
from ..log import checks
from ..log.additions import additions
from ..log.checks import Verdict, execs, listed, names, times_word
from ..log.ends import all_succeeded
from ..log.pattern import Match, Pattern, Side, any_match
from ..log.shells import no_shell
from ..timeline.evidence import Evidence
from ..timeline.kinds import Kinds
from ..timeline.record import ExecRecord, Phase
from .advice import Change
from .precedence import Decider
from .rule import PHASES, Rule


@dataclass(frozen=True, kw_only=True)
class RuleFinding(Verdict):
    """A rule that is broken, or with ``holds`` None one that can't be decided."""

    rules: tuple[Rule, ...]
    #: Where it is about more than what has just ended: the phases, and what is known of all of them.
    phases: tuple[Phase, ...] = ()
    evidence: Evidence | None = None
    #: What ``advice`` says, where that is to change the rule.
    change: Change | None = None


@dataclass(frozen=True, eq=False)
class _Shown:
    """What a judge was shown."""

    phase: Phase
    evidence: Evidence
    during: Phase | None
    left_behind: bool = False

    def concerns(self, decider: Decider) -> bool:
        return self.phase in decider.phases and self.during not in decider.phases


#: Of phases in which nothing was executed.
_QUIET = {phase: _Shown(phase, Evidence(), None) for phase in PHASES}
_QUIET_ONES = frozenset(_QUIET.values())
_SEEN_QUIET: dict[tuple[_Shown, ...], tuple[_Shown, ...]] = {}  # for each test to keep one of those costs it time


class Judge:
    """Applies the rules of one test, or fixture, to its phases as they end. Each breach is found once."""

    _seen: tuple[_Shown, ...] = ()
    _spent: frozenset[Rule] = frozenset()  # budgets that were found broken
    _reported: frozenset[tuple[str | None, bool | None]] = frozenset()  # rows of a baseline, likewise
    #: What decides that did not when phases ended.
    _new: frozenset[tuple[tuple[Rule, ...], Phase]] = frozenset()

    def __init__(self, deciders: Sequence[Decider]) -> None:
        self._deciders = deciders
        #: Whether there is any rule at all.
        self.is_any = bool(deciders)
        #: In which a rule decides.
        self._phases = frozenset(phase for decider in deciders for phase in decider.phases)
        first = min(map(PHASES.index, self._phases), default=len(PHASES))
        #: In which, or before which, a rule decides: its processes may go on in them.
        self.busy = frozenset(PHASES[first:])
        self._has_rows = any(decider.kind == "baseline" for decider in deciders)
        #: Whether any has what it denies killed before it runs.
        self.enforces = any(decider.rules[0].enforce for decider in deciders)

    def fresh(self) -> Judge:
        """One with the same rules, that has seen nothing."""
        judge = Judge.__new__(Judge)
        judge._deciders, judge._phases, judge._has_rows = self._deciders, self._phases, self._has_rows
        judge.is_any, judge.busy, judge.enforces = self.is_any, self.busy, self.enforces
        return judge

    @property
    def meaning(self) -> list[object]:
        """Its rules, and in which phases each decides, as plain data."""
        return [[[rule.meaning for rule in one.rules], list(one.phases)] for one in self._deciders]

    def instead_of(self, other: Judge) -> Judge:
        """This one, knowing what another has seen and found."""
        self._seen, self._spent, self._reported = other._seen, other._spent, other._reported
        self._new = self._decisions() - other._decisions()
        return self

    def _decisions(self) -> frozenset[tuple[tuple[Rule, ...], Phase]]:
        return frozenset((decider.rules, phase) for decider in self._deciders for phase in decider.phases)

    @property
    def seen(self) -> Evidence:
        """All that it was shown, once."""
        return Evidence.merged(seen.evidence for seen in self._seen if seen.during is None)

    @property
    def seen_too_late(self) -> Evidence:
        """Of that, what ran when the test was over."""
        return Evidence.merged(seen.evidence for seen in self._seen if seen.left_behind)

    def concerns(self, phase: Phase) -> bool:
        """Whether a rule decides in a phase, so that what ran in it must be known."""
        return phase in self._phases

    def asks_for_ends(self, phase: Phase) -> bool:
        """Whether a rule is about how what was begun in a phase ends, so that it is to be asked again when it has."""
        return any(decider.kind == "success" and phase in decider.phases for decider in self._deciders)

    def judge_ends(self, phase: Phase, evidence: Evidence) -> list[RuleFinding]:
        """What is wrong with how what a phase has left behind ended, when no more can come of it."""
        those = (decider for decider in self._deciders if decider.kind == "success" and phase in decider.phases)
        found = [finding for decider in those for finding in _found(decider.rules[0], _success(decider, evidence))]
        return _certain_first(found)

    def enforcing(self, phase: Phase) -> tuple[Rule, ...]:
        """The rules of a phase that have what they deny killed before it runs."""
        return tuple(
            decider.rules[0] for decider in self._deciders if decider.rules[0].enforce and phase in decider.phases
        )

    def saw_nothing(self, phase: Phase) -> bool:
        """Of a phase in which nothing was executed, which is certain: whether that settles it, as no rule about it
        can be broken by that, nor by what was seen before. Else it must be judged."""
        if self._has_rows or not _QUIET_ONES.issuperset(self._seen):
            return False
        if phase in self._phases:
            seen = *self._seen, _QUIET[phase]
            self._seen = _SEEN_QUIET.setdefault(seen, seen)
        return True

    def judge(
        self,
        phase: Phase,
        evidence: Evidence,
        during: Phase | None = None,
        *,
        baseline: bool = True,
        left_behind: bool = False,
    ) -> list[RuleFinding]:
        """What is wrong with (more of) a phase, certain breaches first.

        With ``during`` it is about what the phase has left running, and what that ran in a later phase. Rules about
        that one are shown it there. Without ``baseline``, that is asked only later. ``left_behind``: it ran
        when the test was over.
        """
        shown = _Shown(phase, evidence, during, left_behind)
        self._seen += (shown,)
        found: list[RuleFinding] = []
        for decider in self._deciders:
            if not shown.concerns(decider):
                continue
            if decider.kind == "budget":
                found += self._over_budget(decider)
            elif decider.kind == "baseline":
                found += self._beyond_baseline(decider.rules[0]) if baseline else ()
            else:
                found += _forbidden(decider, shown)
        enforcing = self.enforcing(phase) if during is None else ()
        return _certain_first([*found, *_stopped_as_well(enforcing, evidence, found)])

    def tell(self, phase: Phase, evidence: Evidence) -> Judge:
        """What was judged elsewhere: it counts, and is not judged again."""
        self._seen += (_Shown(phase, evidence, None),)
        return self

    # ---- rules that were added after what they are about ----

    def show(self, phase: Phase, evidence: Callable[[], Evidence], during: Phase | None = None) -> None:
        """What ran in a phase that has ended, unless that was seen then or no rule is about it."""
        known = any((seen.phase, seen.during) == (phase, during) for seen in self._seen)
        if not known and any(_Shown(phase, Evidence(), during).concerns(decider) for decider in self._deciders):
            self._seen += (_Shown(phase, evidence(), during),)

    def belated(self, now: Phase | None = None) -> Iterator[tuple[Phase, Phase | None, Evidence, list[RuleFinding]]]:
        """What is wrong with phases that have ended, by rules that the judge before this one had not: the phase, in
        which later one it went on running, what ran and the findings. A budget for ``now``, too, is left to the
        judgement of that."""
        for shown in self._seen:
            found: list[RuleFinding] = []
            for decider in self._deciders:
                if shown.concerns(decider) and (decider.rules, shown.phase) in self._new:
                    if decider.kind == "budget":
                        found += [] if now in decider.phases else self._over_budget(decider)
                    elif decider.kind != "baseline":
                        found += _forbidden(decider, shown)
            if found:
                yield shown.phase, shown.during, shown.evidence, _certain_first(found)
        self._new = frozenset()

    # ---- rules of each kind ----

    def _over_budget(self, decider: Decider) -> list[RuleFinding]:
        """Whether a budget is exceeded by all that was seen so far, if that was not found already."""
        rule = decider.rules[0]
        if rule in self._spent:
            return []
        parts = [seen for seen in self._seen if seen.concerns(decider)]
        so_far = Evidence.merged(seen.evidence for seen in parts)
        broken = _budget(rule, so_far)
        self._spent |= {finding.rules[0] for finding in broken}
        if len(parts) > 1:
            phases = tuple(dict.fromkeys(seen.phase for seen in parts))
            broken = [replace(finding, phases=phases, evidence=so_far) for finding in broken]
        return broken

    def _beyond_baseline(self, rule: Rule) -> list[RuleFinding]:
        """What is beyond a baseline, if that was not found already."""
        assert rule.beyond is not None
        so_far = self.seen
        excesses = [excess for excess in rule.beyond(so_far) if (excess.key, excess.holds) not in self._reported]
        self._reported |= {(excess.key, excess.holds) for excess in excesses}
        phases = tuple(dict.fromkeys(seen.phase for seen in self._seen if seen.during is None))
        found = []
        for holds in (False, None):
            those = [excess for excess in excesses if excess.holds is holds]
            if those:
                marked = tuple(record for excess in those for record in excess.marked)
                headline = f"{BEYOND}: {'; '.join(excess.what for excess in those)}" if holds is False else ""
                advice = _once_a_process(marked, rule.where, rule.accept)
                one = RuleFinding(holds, headline, WITHIN, marked, advice=advice, rules=(rule,))
                found.append(replace(one, phases=phases, evidence=so_far) if len(phases) > 1 else one)
        return found


def _certain_first(found: list[RuleFinding]) -> list[RuleFinding]:
    return sorted(found, key=lambda finding: finding.holds is None)


def _forbidden(decider: Decider, shown: _Shown) -> list[RuleFinding]:
    """What was not to run, or to end so, by rules that are broken by what ran in a phase."""
    rule = decider.rules[0]
    if decider.kind == "deny":
        return _found(rule, *checks.not_ran(rule.of(shown.evidence), rule.patterns))
    if decider.kind == "no shell":
        return _found(rule, no_shell(shown.evidence, rule.patterns))
    if decider.kind == "success":  # of what was left behind that is asked when it has ended
        return [] if shown.left_behind else _found(rule, _success(decider, shown.evidence))
    return _allow(decider.rules, shown.phase, shown.evidence)


def _budget(rule: Rule, evidence: Evidence) -> list[RuleFinding]:
    evidence = rule.of(evidence)
    limits: list[tuple[Pattern | None, int]] = [*rule.per_program]
    if rule.at_most is not None:
        limits.insert(0, (None, rule.at_most))
    verdicts = [(pattern, n, checks.at_most(evidence, n, pattern)) for pattern, n in limits]
    # Whatever is exceeded is raised to what ran, and the rest stays as it is.
    ran = {pattern: n + (verdict.holds is False) * len(verdict.marked) for pattern, n, verdict in verdicts}
    ran[None] = max(rule.at_most or 0, len(evidence.records) + evidence.surely_lost)
    programs = {pattern.text: count for pattern, count in ran.items() if pattern is not None}
    args = [] if rule.at_most is None else [ran[None]]
    change = rule.changed("exec_budget", args, per_program=programs)
    found = []
    for pattern, n, verdict in verdicts:
        if not verdict.holds:
            what = execs(ran[pattern]) if pattern is None else f"{pattern} ran {times_word(ran[pattern])}"
            headline = f"exec budget exceeded: {what}, at most {n} allowed"
            said = {**vars(verdict), "headline": headline, "advice": change.line}
            found.append(RuleFinding(**said, rules=(rule,), change=change))
    return found


def _allow(rules: tuple[Rule, ...], phase: Phase, evidence: Evidence) -> list[RuleFinding]:
    in_phase = tuple(rule for rule in rules if phase in rule.phases)
    patterns = [pattern for rule in in_phase for pattern in rule.patterns]

    def is_allowed(record: ExecRecord) -> Match:
        about_it = [rule for rule in in_phase if record._lineage.direct or not rule.direct]
        return any_match((p for rule in about_it for p in rule.patterns), record, Side.ALLOW) if about_it else True

    matches = evidence.kinds(in_tree=any(pattern.looks_up for pattern in patterns)).ask(is_allowed)
    unexpected = matches.those(False)
    heard = evidence if any(not rule.direct for rule in in_phase) else evidence.only_direct()
    allowed = ", ".join(map(str, patterns))
    question = f"whether only {allowed} ran" if patterns else "whether nothing ran"
    lost = heard.surely_lost if not patterns else 0
    if not unexpected and not lost:
        return [RuleFinding(None, "", question, rules=in_phase)] if None in matches or heard.missing != 0 else []
    ran = names(unexpected) if unexpected else execs(lost)
    headline = (
        f"unexpected program: {ran} ran, and only {listed(patterns)} may"
        if patterns
        else f"nothing may run, but {ran} ran"
    )
    lacking = additions(unexpected)
    rule = _to_change(in_phase, unexpected)
    change = rule.changed("exec_allow", [pattern.text for pattern in rule.patterns], lacking)
    found = RuleFinding(False, headline, question, unexpected, rules=in_phase)
    return [replace(found, advice=change.line, change=change) if lacking.programs else found]


def _to_change(rules: Iterable[Rule], unexpected: Iterable[ExecRecord]) -> Rule:
    """Of the rules of a phase the one that is about the fewest phases, and execs, of those that are about some."""
    all_direct = all(record._lineage.direct for record in unexpected)
    about_them = (rule for rule in rules if all_direct or not rule.direct)
    return min(about_them, key=lambda rule: (len(rule.phases), not rule.direct))


def _success(decider: Decider, evidence: Evidence) -> Verdict:
    rule = decider.rules[0]
    return all_succeeded(rule.of(evidence), rule.patterns)


def _found(rule: Rule, *verdicts: Verdict) -> list[RuleFinding]:
    return [
        RuleFinding(**{**vars(verdict), "headline": verdict.headline + _not_stopped(rule, verdict)}, rules=(rule,))
        for verdict in verdicts
        if not verdict.holds
    ]


def _not_stopped(rule: Rule, verdict: checks.Verdict) -> str:
    return "; not all of it could be stopped" if rule.enforce and not all(one.stopped for one in verdict.marked) else ""


def _stopped_as_well(
    rules: tuple[Rule, ...], evidence: Evidence, found: Sequence[RuleFinding]
) -> Iterator[RuleFinding]:
    if rules:
        for verdict in checks.stopped_as_well(evidence, (record for finding in found for record in finding.marked)):
            yield RuleFinding(False, verdict.headline, "", verdict.marked, rules=rules)


def _once_a_process(marked: Sequence[ExecRecord], where: str, accept: str) -> str:
    """What to do about programs that a baseline does not have, if they are right. An update would move what runs once a
    process to the test that was first this time. ``where`` is the baseline, ``accept`` updates it."""
    found = Kinds(marked, in_tree=False).ask(lambda record: any_match(PYTHONS_OWN, record, Side.ALLOW))
    if True not in found:
        return accept
    listed = ", ".join(f'"{pattern.text}"' for pattern in PYTHONS_OWN)
    advice = (
        f"write everywhere = [{listed}] {where}, for platform.processor() asks it once a process, in whichever test is"
        " first"
    )
    return advice if found.count(True) == len(marked) else f"{advice}; then {accept}"
