"""Checks, rules, baselines and the gate where something is missing, against all that can be missing.

What ran is written in words: ``git push``, ``git``, and ``git …`` for a git whose arguments were not read. All that can
have run is every reading of those words, with every exec in the place of each that was lost. A verdict of True or False
must be that of all of them. An undecided one must have a reason: where all that can have run is right, it is never held
back. The other way round some parts are allowed to be more cautious than they would have to be, and to call undecided
what is certainly wrong, and each test says which. Nothing passes by that.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from documents import EVERYTHING
from fakes import altered, record
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_execprobe import ExecRecord
from pytest_execprobe.baseline.model import Baseline, Rows, Sums
from pytest_execprobe.baseline.read import parse_baseline
from pytest_execprobe.gate import GateStatus, judge
from pytest_execprobe.log.checks import (
    Verdict,
    at_least,
    at_most,
    exactly,
    not_ran,
    nothing_ran,
    only_ran,
    order,
    ran,
    sequence,
)
from pytest_execprobe.log.pattern import Side
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.report.model import Document, Run, Unit, merged
from pytest_execprobe.rules.judge import Judge
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import PHASES, Rule, make_rule
from pytest_execprobe.timeline.evidence import Evidence, Gap, Lost
from pytest_execprobe.timeline.record import Phase

WHY = "the helper was lost"
fast = settings(deadline=None, max_examples=100)

#: Whatever can run, in words, and what of each can be unread. ``x`` is what no pattern is about: a pattern for
#: everything there is would be true of a lost exec, too, and is not said of it.
EVERY = ("git push", "git", "sh", "x")
READINGS = {"git …": ("git push", "git")}

Words = tuple[str, ...]


@functools.cache
def as_record(word: str, direct: bool = True) -> ExecRecord:
    program, _, rest = word.partition(" ")
    if rest == "…":
        return record(program, argv=None, direct=direct)
    return record(program, *rest.split(), direct=direct)


def seen(words: Iterable[str], lost: int = 0, unknown: bool = False, filtered: bool = False, more: int = 0) -> Evidence:
    """Each record is an exec of its own, however often its words are there."""
    made = tuple(replace(as_record(word), _identity=(place, 1)) for place, word in enumerate(words))
    lost_ones = tuple(Lost(5, True) for _ in range(lost))
    gaps = tuple(Gap(0, 9, WHY, 1) for _ in range(more))
    return Evidence(made, lost=lost_ones, unknown=(WHY,) if unknown else (), gaps=gaps, filtered=filtered)


def readings(words: Words) -> Iterator[Words]:
    return itertools.product(*(READINGS.get(word, (word,)) for word in words))


@functools.cache
def with_more(words: Words, more: int) -> frozenset[Words]:
    """What can have run if so many more did, in whatever places."""
    if more == 0:
        return frozenset(readings(words))
    return frozenset(
        (*fewer[:at], word, *fewer[at:])
        for fewer in with_more(words, more - 1)
        for at in range(len(fewer) + 1)
        for word in EVERY
    )


@dataclass(frozen=True)
class Known:
    words: Words
    lost: int
    unknown: bool
    filtered: bool
    #: At most so many are missing besides.
    more: int = 0

    @property
    def evidence(self) -> Evidence:
        return seen(self.words, self.lost, self.unknown, self.filtered, self.more)

    @property
    def is_all(self) -> bool:
        return not (self.lost or self.unknown or self.more)

    def completions(self) -> Iterator[Words]:
        least = 0 if self.filtered else self.lost
        most = self.lost + (2 if self.unknown else self.more)
        for more in range(least, most + 1):
            yield from with_more(self.words, more)
        if self.unknown:
            for reading in readings(self.words):
                yield from ((*reading, *[word] * (self.lost + 5)) for word in EVERY)


words = st.lists(st.sampled_from([*EVERY, *READINGS]), max_size=3).map(tuple)
unknown = st.sampled_from([False, False, True])
knowns = st.one_of(
    st.builds(Known, words, st.sampled_from([0, 0, 1, 2]), unknown, st.booleans()),
    st.builds(Known, words, st.sampled_from([0, 1]), unknown, st.booleans(), st.sampled_from([1, 2])),
)
wholes = st.builds(Known, words, st.just(0), st.just(False), st.just(False))


def truth(holds: Callable[[Words], bool], known: Known) -> bool | None:
    """True or False if that is so of all that can have run. What is unknown has no bound: it may be a flood."""
    outcomes = {holds(completion) for completion in known.completions()}
    return outcomes.pop() if len(outcomes) == 1 else None


# ---- checks ----

MATCHES: Mapping[str, Words] = {
    "git": ("git push", "git"),
    "argv:git push": ("git push",),
    "sh": ("sh",),
    "[gs]*": ("git push", "git", "sh"),
}
names = st.sampled_from(sorted(MATCHES))
several = st.lists(names, min_size=1, max_size=3)


def count(completion: Words, pattern: str) -> int:
    return sum(word in MATCHES[pattern] for word in completion)


def all_of(verdicts: Iterable[Verdict]) -> bool | None:
    holds = {verdict.holds for verdict in verdicts}
    return False if False in holds else None if None in holds else True


def is_in_order(completion: Words, patterns: Sequence[str]) -> bool:
    rest = iter(completion)
    return all(any(word in MATCHES[pattern] for word in rest) for pattern in patterns)


def is_sequence(completion: Words, steps: Sequence[Sequence[str]]) -> bool:
    for chosen in itertools.product(*(itertools.permutations(step) for step in steps)):
        flat = [*itertools.chain(*chosen)]
        if len(flat) == len(completion) and all(word in MATCHES[p] for word, p in zip(completion, flat, strict=True)):
            return True
    return False


#: Asked of these, an unread exec is the same one for each of several patterns, and they are looked at one by one.
CAUTIOUS = frozenset({"ran", "not_ran", "only_ran", "order", "sequence"})


@st.composite
def checks(draw: st.DrawFn) -> tuple[str, Callable[[Evidence], bool | None], Callable[[Words], bool]]:
    """(name, what is asked, what is right)"""
    kind = draw(st.sampled_from(["nothing_ran", "ran", "times", "not_ran", "only_ran", "number", "order", "sequence"]))
    texts, n = draw(several), draw(st.integers(0, 3))
    patterns = [compile_pattern(text) for text in texts]
    if kind == "nothing_ran":
        return kind, lambda given: nothing_ran(given).holds, lambda done: not done
    if kind == "ran":
        return kind, lambda given: all_of(ran(given, patterns, None)), lambda done: all(count(done, p) for p in texts)
    if kind == "times":
        return (
            "ran",
            lambda given: all_of(ran(given, patterns, n)),
            lambda done: all(count(done, p) == n for p in texts),
        )
    if kind == "not_ran":
        return kind, lambda given: all_of(not_ran(given, patterns)), lambda done: not any(count(done, p) for p in texts)
    if kind == "only_ran":
        return (
            kind,
            lambda given: only_ran(given, patterns).holds,
            lambda done: all(any(word in MATCHES[p] for p in texts) for word in done),
        )
    if kind == "number":
        check, right = draw(
            st.sampled_from(
                [
                    (at_most, lambda low: low <= n),
                    (at_least, lambda low: low >= n),
                    (exactly, lambda low: low == n),
                ]
            )
        )
        if draw(st.booleans()):
            return kind, lambda given: check(given, n, None).holds, lambda done: right(len(done))
        return kind, lambda given: check(given, n, patterns[0]).holds, lambda done: right(count(done, texts[0]))
    if kind == "order":
        return kind, lambda given: order(given, patterns).holds, lambda done: is_in_order(done, texts)
    steps = [list(step) for step in draw(st.lists(st.sets(names, min_size=1, max_size=2), max_size=3))]
    compiled = [[compile_pattern(text) for text in step] for step in steps]
    return kind, lambda given: sequence(given, compiled).holds, lambda done: is_sequence(done, steps)


@settings(deadline=None, max_examples=200)
@given(checks(), knowns)
def test_check_says_what_is_so_of_all_that_can_have_run(check: Any, known: Known) -> None:
    name, ask, holds = check
    expected, answer = truth(holds, known), ask(known.evidence)
    cautious = answer is None and expected is False and (name in CAUTIOUS or known.unknown)
    assert answer is expected or cautious, (name, known)


@fast
@given(checks(), wholes)
def test_check_decides_where_all_is_known(check: Any, known: Known) -> None:
    _, ask, holds = check
    for completion in known.completions():
        assert ask(seen(completion)) is holds(completion)


# ---- rules ----

LIMITS = ("git", "argv:git push", "[gs]*")


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    kind = draw(st.sampled_from(["exec_budget", "exec_allow", "exec_none", "exec_deny"]))
    more: dict[str, Any] = {"direct": draw(st.booleans())}
    phases = draw(st.sets(st.sampled_from(PHASES)))
    if phases:
        more["phases"] = sorted(phases)
    if kind == "exec_budget":
        if draw(st.booleans()):
            more["per_program"] = {draw(st.sampled_from(LIMITS)): draw(st.integers(0, 2))}
            return make_rule(kind, [], more, "here")
        return make_rule(kind, [draw(st.integers(0, 3))], more, "here")
    patterns = draw(st.lists(names, min_size=1, max_size=2)) if kind != "exec_none" else []
    if kind == "exec_deny":
        more["inherit"] = draw(st.booleans())
    return make_rule(kind, patterns, more, "here")


levels_of_rules = st.lists(st.lists(rules(), max_size=2), min_size=1, max_size=3)


@dataclass(frozen=True)
class Phased:
    """What is known of a test, phase by phase; all of it by the test's own process, or all by others."""

    phases: tuple[Known, Known, Known]
    direct: bool

    def evidence(self, place: int) -> Evidence:
        given_evidence = self.phases[place].evidence
        made = tuple(altered(r, direct=self.direct, _identity=(place, i)) for i, r in enumerate(given_evidence.records))
        lost = tuple(replace(one, direct=self.direct) for one in given_evidence.lost)
        return replace(given_evidence, records=made, lost=lost)


few = st.lists(st.sampled_from([*EVERY, *READINGS]), max_size=2).map(tuple)
few_known = st.builds(Known, few, st.sampled_from([0, 0, 0, 1]), st.just(False), st.sampled_from([False, False, True]))
few_known |= st.builds(Known, few, st.just(0), st.just(False), st.just(False), st.just(1))
# Of what is missing without a trace it is not known whether the test's own process began it.
phased = st.builds(Phased, st.tuples(few_known, few_known, few_known), st.booleans()).filter(
    lambda known: known.direct or not any(phase.more for phase in known.phases)
)


def governs(levels: Sequence[Sequence[Rule]], kind: str, phase: Phase) -> list[Rule]:
    """The contract: of allow and budget the closest level with one for the phase; deny adds up until one drops more."""
    found: list[Rule] = []
    for level in levels:
        here = [rule for rule in level if rule.kind == kind and phase in rule.phases]
        found += here
        if here and (kind != "deny" or any(not rule.inherit for rule in here)):
            return found
    return found


def are_kept(levels: Sequence[Sequence[Rule]], done: Mapping[Phase, Words], direct: bool) -> bool:
    def heard(rule: Rule, phase: Phase) -> Words:
        return done[phase] if direct or not rule.direct else ()

    budgets: dict[int, tuple[Rule, Words]] = {}
    for phase in PHASES:
        allowing = [rule for rule in governs(levels, "allow", phase) if direct or not rule.direct]
        for word in done[phase]:
            if allowing and not any(word in MATCHES[p.text] for rule in allowing for p in rule.patterns):
                return False
        for rule in governs(levels, "deny", phase):
            if any(word in MATCHES[p.text] for p in rule.patterns for word in heard(rule, phase)):
                return False
        for rule in governs(levels, "budget", phase):
            _, before = budgets.get(id(rule), (rule, ()))
            budgets[id(rule)] = (rule, (*before, *heard(rule, phase)))
    for rule, all_heard in budgets.values():
        if rule.at_most is not None and len(all_heard) > rule.at_most:
            return False
        if any(count(all_heard, pattern.text) > n for pattern, n in rule.per_program):
            return False
    return True


def in_call(*words: str) -> Phased:
    return Phased((NOTHING, Known(words, 0, False, False), NOTHING), direct=True)


NOTHING = Known((), 0, False, False)
NO_GIT = make_rule("exec_deny", ["git"], {}, "here")


@fast
@given(levels_of_rules, phased)
@example([[make_rule("exec_deny", ["sh"], {"inherit": False}, "here")], [NO_GIT]], in_call("git"))
@example([[make_rule("exec_deny", ["sh"], {}, "here")], [NO_GIT]], in_call("git"))
def test_rules_find_what_is_so_of_all_that_can_have_run(levels: list[list[Rule]], known: Phased) -> None:
    """They may call undecided what is broken for certain, but not by one part of them alone: never what is kept."""
    applied = Judge(deciders(levels))
    verdicts = {
        finding.holds for place, phase in enumerate(PHASES) for finding in applied.judge(phase, known.evidence(place))
    }
    answer = False if False in verdicts else None if None in verdicts else True
    outcomes: set[bool] = set()
    for done in itertools.product(*({*phase.completions()} for phase in known.phases)):
        outcomes.add(are_kept(levels, dict(zip(PHASES, done, strict=True)), known.direct))
        if len(outcomes) == 2:
            break
    if answer is None:
        assert False in outcomes, "nothing that can have run breaks them"
    else:
        assert outcomes == {answer}


# ---- baselines ----

KEYS = ("git", "argv:git push", "sh", "s*")


def toml(text: Mapping[str, int | None]) -> str:
    return "".join(
        f'"{key}" = {"any" if most is None else most}\n'.replace("= any", '= "any"') for key, most in text.items()
    )


limits = st.dictionaries(st.sampled_from(KEYS), st.sampled_from([None, 0, 1, 2]), max_size=4)


@dataclass(frozen=True)
class Written:
    """A baseline, in the words of its file."""

    limits: Mapping[str, int | None]
    everywhere: tuple[str, ...]
    patterns: tuple[str, ...]
    aliases: Mapping[str, str]

    def read(self, more: str = "") -> Baseline:
        listed = "".join(
            f"{name} = {list(getattr(self, name))!r}\n".replace("'", '"') for name in ("everywhere", "patterns")
        )
        aliases = "".join(f'"{glob}" = "{name}"\n' for glob, name in self.aliases.items())
        text = f"version = 1\n{listed}[aliases]\n{aliases}[tests.t]\n{toml(self.limits)}{more}"
        return parse_baseline(text, Path("execs.toml"))

    def row(self, word: str) -> str | None:
        """The row that an exec of which all is known counts for, None if it needs none."""
        program = word.partition(" ")[0]
        name = self.aliases.get(program, program)
        for key, most in self.limits.items():
            if most == 0 and (key in (program, name) or word in {**MATCHES, "s*": ("sh",)}[key]):
                return key
        if any(word in MATCHES[glob] for glob in self.everywhere):
            return None
        for key in (*(key for key in self.limits if key in ("argv:git push", "s*")), *self.patterns):
            if word in {**MATCHES, "s*": ("sh",)}[key]:
                return key
        return name

    def allows(self, done: Words) -> bool:
        rows = [row for word in done if (row := self.row(word)) is not None]
        return all((most := self.limits.get(row, 0)) is None or rows.count(row) <= most for row in set(rows))


NOTHING_WRITTEN = Written({}, (), (), {})
written = st.builds(
    Written,
    limits,
    st.sampled_from([(), (), ("sh",), ("argv:git push",)]),
    st.sampled_from([(), (), ("[gs]*",), ("argv:git push",)]),
    st.sampled_from([{}, {}, {"sh": "git"}]),
)


@settings(deadline=None, max_examples=150)
@given(written, knowns)
@example(Written({"git": None, "argv:git push": 1}, (), ("argv:git push",), {}), Known(("git …",), 0, False, False))
@example(Written({"git": None}, ("argv:git push",), ("argv:git push",), {}), Known(("git …",), 0, False, False))
def test_baseline_finds_what_is_so_of_all_that_can_have_run(text: Written, known: Known) -> None:
    """Undecided may be what is certainly beyond it, where no row is so by itself."""
    baseline = text.read()
    holds = {excess.holds for excess in baseline.beyond(baseline.rows("tests", "t"), known.evidence)}
    answer = False if False in holds else None if holds else True
    expected = truth(text.allows, known)
    assert answer is expected or (answer is None and expected is False)


sum_limits = st.dictionaries(
    st.sampled_from(["git", "argv:git push", "sh"]), st.sampled_from([0, 1, 2]), min_size=1, max_size=3
)


@settings(deadline=None, max_examples=150)
@given(sum_limits, st.none() | st.integers(0, 3), knowns)
def test_sums_find_what_is_so_of_all_that_can_have_run(
    rows: Mapping[str, int | None], most: int | None, known: Known
) -> None:
    """Each limit by itself is exact; several together may be broken for certain without one of them being so."""
    baseline = Written({}, (), (), {}).read(f"[total.programs]\n{toml(rows)}")
    (sums,) = baseline.sums
    sums = replace(sums, at_most=most)
    found = baseline.beyond_sums(sums, known.evidence)
    reported = {excess.key: excess.holds for excess in found}
    for key, limit in [*rows.items(), (None, most)]:
        if limit is not None:
            expected = truth(
                lambda done, key=key, limit=limit: sum(key is None or w in MATCHES[key] for w in done) <= limit, known
            )
            answer = reported.pop(key, True)
            assert answer is expected or (answer is None and expected is False and known.unknown)
    assert reported == {}
    assert [excess.holds for excess in found] == sorted((excess.holds for excess in found), key=lambda h: h is None)


@fast
@given(st.lists(st.tuples(st.sampled_from(["git", "sh", "x"]), st.integers(0, 3), st.booleans()), max_size=6))
def test_every_exec_is_counted_or_stands_below_one_that_is(tree: list[tuple[str, int, bool]]) -> None:
    """Of a subtree its top counts alone; what is below something else counts for itself, whatever that is called."""
    records: list[ExecRecord] = []
    for program, above, is_link in tree:
        parent = records[above % len(records)] if records and above else None
        real = f"/opt/{program}" if is_link else f"/usr/bin/{program}"
        records.append(record(program, parent=parent, executable=real))
    baseline = parse_baseline('version = 1\npatterns = ["subtree:/usr/bin/git"]\n[tests.t]\n', Path("execs.toml"))
    usage = baseline.usage(Evidence(tuple(records)), Rows({}))
    counted = {one for key in usage.counts for one in usage.marked(key)}
    git = compile_pattern("/usr/bin/git")
    for one in records:
        above_it = one.parent
        while above_it is not None and git.match(above_it, Side.ALLOW) is not True:
            above_it = above_it.parent
        assert (one in counted) is (above_it is None)


# ---- the gate ----


@dataclass(frozen=True)
class Part:
    """What is known of a test, or of a fixture, which the baselines here do not limit one by one."""

    known: Known
    is_fixture: bool = False
    not_checked: str | None = None


parts = st.builds(Part, knowns, st.booleans(), st.sampled_from([None, None, None, WHY]))


def document(name: str, reported: Sequence[Part]) -> Document:
    made = [Unit("test", "runs nothing")]  # a run without a test proves nothing
    for number, part in enumerate(reported):
        known = part.known
        records = tuple(replace(r, _identity=(number, i)) for i, r in enumerate(known.evidence.records))
        unknown = (WHY,) if known.unknown else ()
        kind: Literal["fixture", "test"] = "fixture" if part.is_fixture else "test"
        unit = Unit(kind, "t", records=records, lost=known.lost, unknown=unknown, not_checked=part.not_checked)
        made.append(replace(unit, gaps={WHY: known.more} if known.more else {}))
    more = sum(part.known.more for part in reported)
    gaps = {WHY: more} if more else {}
    collection = replace(EVERYTHING, examples=("t",))
    return Document((Run(id=name, kind="pytest", exit_status=0, gaps=gaps, collection=collection),), tuple(made))


@fast
@given(written, st.lists(parts, max_size=3), st.lists(parts, max_size=2), st.none() | st.integers(0, 4))
@example(NOTHING_WRITTEN, [Part(NOTHING, not_checked=WHY)], [], None)
@example(NOTHING_WRITTEN, [Part(replace(NOTHING, lost=1), is_fixture=True)], [], None)
@example(NOTHING_WRITTEN, [Part(replace(NOTHING, unknown=True), is_fixture=True)], [], None)
@example(NOTHING_WRITTEN, [Part(NOTHING)], [], None)
def test_gate_passes_only_what_is_all_there_and_within(
    text: Written, first: list[Part], second: list[Part], most: int | None
) -> None:
    baseline = text.read("" if most is None else f"[total]\nat_most = {most}\n")
    shards = [document("a", first), document("b", second)]
    status = judge(merged(shards), baseline).status
    reported = [*first, *second]
    all_there = all(p.known.is_all and not p.not_checked for p in reported)

    def within(done: Sequence[Words], lost: int = 0) -> bool:
        allowed = all(part.is_fixture or text.allows(words) for part, words in zip(reported, done, strict=True))
        return allowed and (most is None or sum(map(len, done)) + lost <= most)

    as_read = [*itertools.product(*(readings(part.known.words) for part in reported))]
    if status is GateStatus.WITHIN:
        assert all_there
        assert all(map(within, as_read))
    elif status is GateStatus.EXCEEDED:
        # What was lost is one exec each, of any kind; what is unknown may have been nothing.
        assert not any(within(done, sum(part.known.lost for part in reported)) for done in as_read)
    else:
        assert not all_there or any("git …" in part.known.words for part in reported)
    # Shards may come in any order, and a report that is there twice counts once.
    assert judge(merged([*reversed(shards), shards[0]]), baseline).status is status


def test_sums_are_made_of_the_same_rows() -> None:
    """The strategies above are about something: a limit of a sum is about records, and not of the words."""
    sums = Sums("", None, Rows({}))
    assert Written({}, (), (), {}).read().beyond_sums(sums, seen(("git", "sh"))) == []
