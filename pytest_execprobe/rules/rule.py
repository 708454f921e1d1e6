"""Rules for whole tests: what they say, which of them decide, and what they find.

Pure: markers, options and pytest's items are read elsewhere. A rule stands on a level (parameter, function, class,
module, command line, ini), and levels are given with the closest first.

- *Allow* (with none) and *budget*: phase by phase, the closest level that has one for the phase decides alone. Several
  on that level are one: an exec is allowed if one of those that speak of it allows it, and each budget must be kept.
- *Deny* adds up over all levels; one with ``inherit=False`` drops those of wider levels, for its own phases.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..baseline.model import BEYOND, PYTHONS_OWN, WITHIN, Baseline, Excess, Section, table_name
from ..log import checks
from ..log.arguments import natural, numbers_by_pattern
from ..log.checks import execs, names, times_word
from ..log.pattern import Match, Pattern, Side, any_match
from ..log.patterns import PatternLike, compile_pattern
from ..timeline.evidence import Evidence
from ..timeline.kinds import Kinds
from ..timeline.record import ExecRecord, Phase
from .markers import MARKERS

PHASES: tuple[Phase, ...] = ("setup", "call", "teardown")

_CALL: tuple[Phase, ...] = ("call",)


class RuleError(Exception):
    """A rule is not written as it must be. The message says what is right."""


@dataclass(frozen=True)
class Rule:
    """What one marker, option or ini value says."""

    kind: Literal["budget", "allow", "deny", "baseline"]
    #: As it is written: ``exec_budget(2)``.
    text: str
    #: Where it stands: ``on TestRelease, tests/test_release.py:11``.
    where: str
    phases: tuple[Phase, ...]
    direct: bool = False
    at_most: int | None = None
    per_program: tuple[tuple[Pattern, int], ...] = ()
    patterns: tuple[Pattern, ...] = ()
    inherit: bool = True
    #: Of a baseline: what it does not allow of all that a test has run so far, and the command that accepts it.
    beyond: Callable[[Evidence], list[Excess]] | None = None
    accept: str = ""

    def of(self, evidence: Evidence) -> Evidence:
        """The part of it that this rule speaks of."""
        return evidence.only_direct() if self.direct else evidence


# ---- from markers ----


def make_rule(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], where: str) -> Rule:
    """The rule of a marker. Raises RuleError."""
    text = written(name, args, kwargs)
    make = _MAKERS[name]
    try:
        inspect.signature(make).bind(text, where, *args, **kwargs)  # its messages count no arguments that are ours
        return make(text, where, *args, **kwargs)
    except (TypeError, ValueError) as error:
        raise RuleError(f"{text}: {error}. It is written {MARKERS[name][0]}") from None


def written(name: str, args: Iterable[object], kwargs: Mapping[str, object]) -> str:
    """A marker as it stands in the source."""
    return f"{name}({', '.join([*map(repr, args), *(f'{key}={value!r}' for key, value in kwargs.items())])})"


def _make_budget(
    text: str,
    where: str,
    at_most: int | None = None,
    *,
    per_program: Mapping[PatternLike, int] | None = None,
    phases: Iterable[Phase] = _CALL,
    direct: bool = False,
) -> Rule:
    if at_most is None and per_program is None:
        raise ValueError("a budget is a number, or numbers for programs")
    return Rule(
        "budget",
        text,
        where,
        _phases(phases),
        _flag(direct, "direct"),
        at_most=None if at_most is None else natural(at_most, "at_most"),
        per_program=() if per_program is None else tuple(numbers_by_pattern(per_program).items()),
    )


def _make_allow(
    text: str, where: str, *patterns: PatternLike, phases: Iterable[Phase] = _CALL, direct: bool = False
) -> Rule:
    if not patterns:
        raise ValueError("it needs a pattern; to allow nothing write exec_none()")
    return Rule("allow", text, where, _phases(phases), _flag(direct, "direct"), patterns=_compiled(patterns))


def _make_none(text: str, where: str, *, phases: Iterable[Phase] = PHASES, direct: bool = False) -> Rule:
    return Rule("allow", text, where, _phases(phases), _flag(direct, "direct"))


def _make_deny(
    text: str,
    where: str,
    *patterns: PatternLike,
    inherit: bool = True,
    phases: Iterable[Phase] = PHASES,
    direct: bool = False,
) -> Rule:
    if not patterns and inherit is not False:
        raise ValueError("it needs a pattern, or inherit=False to drop the wider ones")
    return Rule(
        "deny",
        text,
        where,
        _phases(phases),
        _flag(direct, "direct"),
        patterns=_compiled(patterns),
        inherit=_flag(inherit, "inherit"),
    )


_MAKERS: dict[str, Callable[..., Rule]] = {
    "exec_budget": _make_budget,
    "exec_allow": _make_allow,
    "exec_none": _make_none,
    "exec_deny": _make_deny,
}


def _compiled(patterns: Iterable[PatternLike]) -> tuple[Pattern, ...]:
    return tuple(compile_pattern(pattern) for pattern in patterns)


def _phases(phases: object) -> tuple[Phase, ...]:
    if isinstance(phases, (str, bytes)) or not isinstance(phases, Iterable):
        raise TypeError(f"phases is a tuple such as ('call',), not {phases!r}")
    given = set(phases)
    wrong = given - set(PHASES)
    if wrong or not given:
        raise ValueError(f"phases are some of {', '.join(map(repr, PHASES))}, not {tuple(phases)!r}")
    return tuple(phase for phase in PHASES if phase in given)


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what} is True or False, not {value!r}")
    return value


def baseline_rule(baseline: Baseline, section: Section, name: str, *, accept: str, update: bool) -> Rule:
    """What a baseline says of a test, a fixture or the collection, in all phases together.

    ``name`` is its name there, ``accept`` the command that accepts what is beyond. With ``update`` everything is
    right, and only counted.
    """
    rows = baseline.rows(section, name)
    table = baseline.table(section, name) or table_name(name)
    judged = not update and baseline.has(section)
    return Rule(
        "baseline",
        f'{section}."{table}"',
        f"in {baseline.path.name}",
        PHASES,
        beyond=functools.partial(baseline.beyond, rows) if judged else lambda _: [],
        accept=accept,
    )


# ---- which of them decide ----


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
    return [*_closest(levels, "budget"), *_closest(levels, "allow"), *_denials(levels), *baselines]


def _closest(levels: Sequence[Sequence[Rule]], kind: str) -> Iterator[Decider]:
    open_phases = set(PHASES)
    for level in levels:
        rules = tuple(rule for rule in level if rule.kind == kind)
        taken = open_phases & {phase for rule in rules for phase in rule.phases}
        groups = [rules] if kind == "allow" and rules else [(rule,) for rule in rules]
        for group in groups:
            phases = taken & {phase for rule in group for phase in rule.phases}
            if phases:
                yield Decider(group, _phases(phases))
        open_phases -= taken


def _denials(levels: Sequence[Sequence[Rule]]) -> Iterator[Decider]:
    open_phases = set(PHASES)
    for level in levels:
        dropped: set[Phase] = set()
        for rule in level:
            phases = open_phases & set(rule.phases)
            if rule.kind == "deny" and phases:
                if rule.patterns:
                    yield Decider((rule,), _phases(phases))
                if not rule.inherit:
                    dropped |= phases
        open_phases -= dropped


# ---- what they find ----


@dataclass(frozen=True)
class Finding:
    """A rule that is broken, or with ``holds`` None one that can't be decided."""

    holds: bool | None
    headline: str
    #: What can't be told: it follows "cannot tell".
    question: str
    rules: tuple[Rule, ...]
    marked: tuple[ExecRecord, ...] = ()
    #: What to write if what ran is right.
    advice: str = ""
    #: Where it is about more than what has just ended: the phases, and what is known of all of them.
    phases: tuple[Phase, ...] = ()
    evidence: Evidence | None = None


@dataclass(frozen=True)
class _Seen:
    """What a judge was shown."""

    phase: Phase
    evidence: Evidence
    during: Phase | None
    left_behind: bool = False

    def concerns(self, decider: Decider) -> bool:
        return self.phase in decider.phases and self.during not in decider.phases


#: What a judge is shown of phases in which nothing was executed.
_QUIET = {phase: _Seen(phase, Evidence(), None) for phase in PHASES}


class Judge:
    """Applies the rules of one test, or fixture, to its phases as they end. Each breach is found once."""

    def __init__(self, deciders: Sequence[Decider]) -> None:
        self._deciders = deciders
        #: In which a rule decides.
        self._phases = frozenset(phase for decider in deciders for phase in decider.phases)
        first = min(map(PHASES.index, self._phases), default=len(PHASES))
        #: In which, or before which, a rule decides.
        self._busy = frozenset(PHASES[first:])
        self._has_rows = any(decider.kind == "baseline" for decider in deciders)
        self._begin()

    def _begin(self) -> None:
        self._seen: list[_Seen] = []
        self._spent: frozenset[Rule] = frozenset()  # budgets that were found broken
        self._told: frozenset[tuple[str | None, bool | None]] = frozenset()  # rows of a baseline, likewise
        #: What decides that did not when phases ended.
        self._new: frozenset[tuple[tuple[Rule, ...], Phase]] = frozenset()

    def anew(self) -> Judge:
        """One with the same rules, that has seen nothing."""
        judge = Judge.__new__(Judge)
        judge._deciders, judge._phases, judge._busy = self._deciders, self._phases, self._busy
        judge._has_rows = self._has_rows
        judge._begin()
        return judge

    @property
    def is_any(self) -> bool:
        """Whether there is any rule at all."""
        return bool(self._deciders)

    def instead_of(self, other: Judge) -> Judge:
        """This one, knowing what another has seen and found."""
        self._seen, self._spent, self._told = other._seen, other._spent, other._told
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

    def has_to_do(self, phase: Phase) -> bool:
        """Whether a rule decides in a phase or an earlier one, whose processes may go on in it."""
        return phase in self._busy

    def saw_nothing(self, phase: Phase) -> bool:
        """Of a phase in which nothing was executed, which is certain: whether that settles it, as no rule that speaks
        of it can be broken by that, nor by what was seen before. Else it must be judged."""
        if self._has_rows or any(seen is not _QUIET[seen.phase] for seen in self._seen):
            return False
        if phase in self._phases:
            self._seen.append(_QUIET[phase])
        return True

    def judge(
        self,
        phase: Phase,
        evidence: Evidence,
        during: Phase | None = None,
        *,
        baseline: bool = True,
        left_behind: bool = False,
    ) -> list[Finding]:
        """What is wrong with (more of) a phase, certain breaches first.

        With ``during`` it is about what the phase has left running, and what that ran in a later phase. Rules that
        speak of that one are shown it there. Without ``baseline``, that is asked only later. ``left_behind``: it ran
        when the test was over.
        """
        news = _Seen(phase, evidence, during, left_behind)
        self._seen.append(news)
        found: list[Finding] = []
        for decider in self._deciders:
            if not news.concerns(decider):
                continue
            if decider.kind == "budget":
                found += self._over_budget(decider)
            elif decider.kind == "baseline":
                found += self._beyond_baseline(decider.rules[0]) if baseline else ()
            else:
                found += self._forbidden(decider, news)
        return sorted(found, key=lambda finding: finding.holds is None)

    # ---- rules that were added after what they speak of ----

    def show(self, phase: Phase, evidence: Callable[[], Evidence], during: Phase | None = None) -> None:
        """What ran in a phase that has ended, unless that was seen then or no rule speaks of it."""
        known = any((seen.phase, seen.during) == (phase, during) for seen in self._seen)
        if not known and any(_Seen(phase, Evidence(), during).concerns(decider) for decider in self._deciders):
            self._seen.append(_Seen(phase, evidence(), during))

    def belated(self, now: Phase | None = None) -> Iterator[tuple[Phase, Phase | None, Evidence, list[Finding]]]:
        """What is wrong with phases that have ended, by rules that the judge before this one had not: the phase, in
        which later one it went on running, what ran and the findings. A budget that speaks of ``now``, too, is left to
        the judgement of that."""
        for news in [*self._seen]:
            found: list[Finding] = []
            for decider in self._deciders:
                if news.concerns(decider) and (decider.rules, news.phase) in self._new:
                    if decider.kind == "budget":
                        found += [] if now in decider.phases else self._over_budget(decider)
                    elif decider.kind != "baseline":
                        found += self._forbidden(decider, news)
            if found:
                yield news.phase, news.during, news.evidence, sorted(found, key=lambda f: f.holds is None)
        self._new = frozenset()

    # ---- rules of each kind ----

    def _over_budget(self, decider: Decider) -> list[Finding]:
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

    def _forbidden(self, decider: Decider, news: _Seen) -> list[Finding]:
        """What was not to run, by rules that forbid or allow."""
        if decider.kind == "deny":
            return _deny(decider.rules[0], news.evidence)
        return _allow(decider.rules, news.phase, news.evidence)

    def _beyond_baseline(self, rule: Rule) -> list[Finding]:
        """What is beyond a baseline and has not been told yet."""
        assert rule.beyond is not None
        so_far = self.seen
        excesses = [excess for excess in rule.beyond(so_far) if (excess.key, excess.holds) not in self._told]
        self._told |= {(excess.key, excess.holds) for excess in excesses}
        phases = tuple(dict.fromkeys(seen.phase for seen in self._seen if seen.during is None))
        found = []
        for holds in (False, None):
            those = [excess for excess in excesses if excess.holds is holds]
            if those:
                marked = tuple(record for excess in those for record in excess.marked)
                headline = f"{BEYOND}: {'; '.join(excess.what for excess in those)}" if holds is False else ""
                advice = _once_a_process(marked, rule.where, rule.accept)
                of_all = (phases, so_far) if len(phases) > 1 else ((), None)
                found.append(Finding(holds, headline, WITHIN, (rule,), marked, advice, *of_all))
        return found


def _budget(rule: Rule, evidence: Evidence) -> list[Finding]:
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
    advice = _advised("exec_budget", args, rule, **({"per_program": programs} if programs else {}))
    found = []
    for pattern, n, verdict in verdicts:
        if not verdict.holds:
            what = execs(ran[pattern]) if pattern is None else f"{pattern} ran {times_word(ran[pattern])}"
            headline = f"exec budget exceeded: {what}, at most {n} allowed"
            found.append(Finding(verdict.holds, headline, verdict.question, (rule,), verdict.marked, advice))
    return found


def _allow(rules: tuple[Rule, ...], phase: Phase, evidence: Evidence) -> list[Finding]:
    in_phase = tuple(rule for rule in rules if phase in rule.phases)

    def is_allowed(record: ExecRecord) -> Match:
        speaking = [rule for rule in in_phase if record._direct or not rule.direct]
        return any_match((p for rule in speaking for p in rule.patterns), record, Side.ALLOW) if speaking else True

    looks_up = any(pattern.looks_up for rule in in_phase for pattern in rule.patterns)
    matches = evidence.kinds(in_tree=looks_up).ask(is_allowed)
    unexpected = matches.those(False)
    heard = evidence if any(not rule.direct for rule in in_phase) else evidence.only_direct()
    patterns = [pattern for rule in in_phase for pattern in rule.patterns]
    allowed = ", ".join(map(str, patterns))
    question = f"whether only {allowed} ran" if patterns else "whether nothing ran"
    lost = heard.surely_lost if not patterns else 0
    if unexpected or lost:
        ran = names(unexpected) if unexpected else execs(lost)
        # A name with a space is a pattern in a list alone.
        commands = {id(record._command): record for record in unexpected}.values()
        programs = dict.fromkeys(record.program for record in commands if record.program)
        more = [program if [program] == program.split() else [program] for program in programs]
        return [
            Finding(
                False,
                f"unexpected program: {ran} ran, and only {allowed} may"
                if patterns
                else f"nothing may run, but {ran} ran",
                question,
                in_phase,
                unexpected,
                _advised("exec_allow", [*(pattern.text for pattern in patterns), *more], in_phase[0]) if more else "",
            )
        ]
    if None in matches or heard.missing != 0:
        return [Finding(None, "", question, in_phase)]
    return []


def _deny(rule: Rule, evidence: Evidence) -> list[Finding]:
    found = []
    for verdict in checks.not_ran(rule.of(evidence), rule.patterns):
        if not verdict.holds:
            found.append(Finding(verdict.holds, verdict.headline, verdict.question, (rule,), verdict.marked))
    return found


def _advised(name: str, args: Sequence[object], rule: Rule, **kwargs: object) -> str:
    """The marker to write instead, for the same phases."""
    if rule.phases != _CALL:
        kwargs["phases"] = rule.phases
    if rule.direct:
        kwargs["direct"] = True
    return written(name, args, kwargs)


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
