"""The checks, decided by what must be true.

Each looks at the evidence of a window and answers True (certainly holds), False (certainly does not) or None (what
would decide it is missing). Execs that were lost count where their number, or a bound of it, is known and only their
names are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .._util.ternary import both
from ..timeline.evidence import Evidence
from ..timeline.kinds import Answers
from ..timeline.record import ExecRecord
from .pattern import Match, Pattern, Side, any_match

LISTED = 5  # patterns that are named without leaving any out


@dataclass(frozen=True)
class Verdict:
    """The answer, and how to say it."""

    holds: bool | None
    #: What is wrong, for False.
    headline: str
    #: What can't be told, for None: it follows "cannot tell".
    question: str
    #: The records that break the check.
    marked: tuple[ExecRecord, ...] = ()
    #: What ran too seldom, if that is what is wrong.
    wanted: Pattern | None = None
    #: What would do, a line each.
    hints: tuple[str, ...] = ()
    #: Whose ends are not known, and would decide.
    open_ends: tuple[ExecRecord, ...] = ()
    #: What to write if what ran is right.
    advice: str = ""


def nothing_ran(evidence: Evidence) -> Verdict:
    least, most, _ = _bounds(evidence, None)
    ran = names(evidence.kinds().first) if not evidence.lost else execs(least)
    return Verdict(
        holds=_at_most(0, least, most),
        headline=f"nothing must run, but {ran} ran",
        question="whether nothing ran",
        marked=evidence.records,
    )


def ran(evidence: Evidence, patterns: Sequence[Pattern], times: int | None) -> list[Verdict]:
    return [
        at_least(evidence, 1, pattern) if times is None else exactly(evidence, times, pattern) for pattern in patterns
    ]


def not_ran(evidence: Evidence, patterns: Sequence[Pattern]) -> list[Verdict]:
    verdicts = []
    for pattern in patterns:
        low, high, matching = _bounds(evidence, pattern, Side.FORBID)
        verdicts.append(denied(pattern, matching, _at_most(0, low, high)))
    return verdicts


def denied(pattern: Pattern, ran: Sequence[ExecRecord], holds: bool | None = False) -> Verdict:
    """``ran`` are those that certainly must not."""
    stopped = sum(record.stopped for record in ran)
    before = "was stopped before it ran" + (f", {times_word(stopped)}" if stopped > 1 else "")
    happened = f"but it ran {times_word(len(ran) - stopped)}" + (f", and {before}" if stopped else "")
    if stopped and stopped == len(ran):
        happened = f"and {before}"
    return Verdict(holds, f"{pattern} must not run, {happened}", f"whether {pattern} ran", tuple(ran))


def stopped_as_well(evidence: Evidence, known: Iterable[ExecRecord]) -> Iterator[Verdict]:
    """What was stopped by rules of this run, and is none of what they are ``known`` to deny: as a hard link it goes by
    another name."""
    others = [record for record in evidence.records if record._lineage.enforced]
    if others:
        names_known = {record._identity for record in known}
        others = [record for record in others if record._identity not in names_known]
    if others:
        headline = f"{names(others)} is a file that must not run, and was stopped before it ran"
        yield Verdict(False, headline, "", tuple(others))


def only_ran(evidence: Evidence, patterns: Sequence[Pattern]) -> Verdict:
    matches = answers(evidence, patterns, Side.ALLOW)
    others = matches.those(False)
    undecided = evidence.missing != 0 or None in matches
    allowed = ", ".join(map(str, patterns))
    return Verdict(
        holds=False if others else None if undecided else True,
        headline=f"only {listed(patterns)} may run, but {names(others)} ran",
        question=f"whether only {allowed} ran",
        marked=others,
    )


def exactly(evidence: Evidence, n: int, pattern: Pattern | None) -> Verdict:
    low, high, matching = _bounds(evidence, pattern)
    holds = both(_at_most(n, low, high), _at_least(n, low, high))
    if pattern is None:
        ran = f"at most {high}" if low < n and high is not None and high > low else low
        return Verdict(holds, f"{execs(n)} expected, but {ran} ran", f"whether {execs(n)} ran", matching)
    return Verdict(
        holds,
        f"{pattern} must run {times_word(n)}, but it {did_run(low, high if low < n else None)}",
        f"whether {pattern} ran {times_word(n)}",
        matching,
        pattern if low < n else None,
    )


def at_most(evidence: Evidence, n: int, pattern: Pattern | None) -> Verdict:
    low, high, matching = _bounds(evidence, pattern)
    holds = _at_most(n, low, high)
    if pattern is None:
        return Verdict(
            holds, f"at most {execs(n)} allowed, but {low} ran", f"whether at most {execs(n)} ran", matching[n:]
        )
    return Verdict(
        holds,
        f"{pattern} may run at most {times_word(n)}, but it {did_run(low)}",
        f"whether {pattern} ran at most {times_word(n)}",
        matching[n:],
    )


def at_least(evidence: Evidence, n: int, pattern: Pattern | None) -> Verdict:
    low, high, matching = _bounds(evidence, pattern)
    holds = _at_least(n, low, high)
    if pattern is None:
        ran = f"at most {high}" if high is not None and high > low else low
        return Verdict(holds, f"at least {execs(n)} expected, but {ran} ran", f"whether at least {execs(n)} ran")
    if n == 1:
        return Verdict(holds, f"{pattern} must run, but it {did_run(low)}", f"whether {pattern} ran", (), pattern)
    return Verdict(
        holds,
        f"{pattern} must run at least {times_word(n)}, but it {did_run(low, high)}",
        f"whether {pattern} ran at least {times_word(n)}",
        matching,
        pattern,
    )


def per_program(evidence: Evidence, limits: Mapping[Pattern, int]) -> list[Verdict]:
    return [at_most(evidence, n, pattern) for pattern, n in limits.items()]


def order(evidence: Evidence, patterns: Sequence[Pattern]) -> Verdict:
    """Some match of the first, later some match of the second, and so on."""
    found: list[int] = []
    matching = [answers(evidence, [pattern]) for pattern in patterns]
    every = [matches.every for matches in matching]
    for matches in every:
        try:
            found.append(matches.index(True, found[-1] + 1 if found else 0))
        except ValueError:
            break
    wanted = ", then ".join(map(str, patterns))
    holds: bool | None = len(found) == len(patterns)
    headline, missed = "", None
    if not holds:
        if evidence.missing != 0 or any(None in matches for matches in matching):
            absent = len(patterns) - _longest(every)
            if absent == 0 or evidence.missing is None or absent <= evidence.missing:
                holds = None
        missed = patterns[len(found)]
        after = f" after #{found[-1] + 1}" if found else ""
        headline = f"{wanted} must run in this order, but {missed} did not run{after}"
    return Verdict(
        holds, headline, f"whether {wanted} ran in this order", tuple(evidence.records[at] for at in found), missed
    )


def sequence(evidence: Evidence, steps: Sequence[Sequence[Pattern]]) -> Verdict:
    """Exactly these, in this order; the members of one step in any order."""
    records, most = evidence.records, evidence.missing
    wanted = ", ".join(
        str(step[0]) if len(step) == 1 else "{" + ", ".join(sorted(map(str, step))) + "}" for step in steps
    )
    certain, fitted = _fits(records, steps, certain=True)
    total = sum(map(len, steps))
    absent = total - len(records)
    may_be = absent >= evidence.surely_lost and (most is None or absent <= most)
    possible = may_be and _fits(records, steps, certain=False)[0]
    holds = True if certain and absent == 0 and most == 0 else None if possible else False
    if fitted >= len(records):
        least = len(records) + evidence.surely_lost
        number = execs(least) if least > total or not most else f"at most {execs(len(records) + most)}"
        what = f"{number} ran, not {total}"
    elif fitted >= total:
        what = f"#{fitted + 1} {names(records[fitted : fitted + 1])} ran after them"
    else:
        what = f"#{fitted + 1} is {names(records[fitted : fitted + 1])}"
    return Verdict(
        holds,
        f"exactly {wanted or 'nothing'} must run, in this order, but {what}",
        f"whether exactly {wanted or 'nothing'} ran, in this order",
        records[fitted : fitted + 1],
    )


# ---- words ----


def execs(n: int) -> str:
    return "1 exec" if n == 1 else f"{n} execs"


def processes_word(n: int) -> str:
    return "1 process" if n == 1 else f"{n:,} processes"


def times_word(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def did_run(low: int, high: int | None = None) -> str:
    """``high``: how often it may have run at most, where that is what is too little."""
    if high is not None and high > low:
        return f"ran at most {times_word(high)}"
    return "did not run" if low == 0 else f"ran {times_word(low)}"


def between(least: int, most: int | None) -> str:
    """A number of which these bounds are known; without the upper one (None) there is none."""
    if least == most:
        return f"{least:,}"
    if most is None:
        return f"at least {least:,}" if least else "an unknown number"
    return f"at least {least:,}, at most {most:,}" if least else f"at most {most:,}"


def lost(evidence: Evidence) -> str:
    """How many execs are missing."""
    return between(evidence.surely_lost, evidence.missing)


def names(records: Iterable[ExecRecord]) -> str:
    """The programs of some records, each once, at most three by name."""
    commands = {id(record._command): record for record in records}.values()
    unique = list(dict.fromkeys(record.program or "?" for record in commands))
    if len(unique) > 3:
        return f"{', '.join(unique[:3])} and {len(unique) - 3} more"
    return ", ".join(unique) or "others"


def listed(things: Iterable[object]) -> str:
    """Some patterns, of many the first."""
    every = [*map(str, things)]
    return ", ".join(every) if len(every) <= LISTED else f"{', '.join(every[:3])} and {len(every) - 3} more"


# ---- three-valued arithmetic: low and high are the least and greatest number there can have been ----


def _bounds(
    evidence: Evidence, pattern: Pattern | None, side: Side = Side.FIND
) -> tuple[int, int | None, tuple[ExecRecord, ...]]:
    missing = evidence.missing
    if pattern is None:
        known = len(evidence.records)
        return known + evidence.surely_lost, None if missing is None else known + missing, evidence.records
    matches = answers(evidence, [pattern], side)
    matching = matches.those(True)
    return len(matching), None if missing is None else len(matching) + matches.count(None) + missing, matching


def answers(evidence: Evidence, patterns: Sequence[Pattern], side: Side = Side.FIND) -> Answers[Match]:
    """Which records match one of some patterns."""
    kinds = evidence.kinds(in_tree=any(pattern.looks_up for pattern in patterns))
    return kinds.ask(lambda record: any_match(patterns, record, side))


def _at_most(n: int, low: int, high: int | None) -> bool | None:
    if low > n:
        return False
    return True if high is not None and high <= n else None


def _at_least(n: int, low: int, high: int | None) -> bool | None:
    if low >= n:
        return True
    return False if high is not None and high < n else None


def _longest(every: Sequence[Sequence[Match]]) -> int:
    """How many of some patterns, at most, the records can be a match of in order (a longest common subsequence).
    ``every`` has their answers, each for all records."""
    best = [0] * (len(every) + 1)
    for matches in zip(*every, strict=True):
        before = best[:]
        for index, match in enumerate(matches):
            step = before[index] + (match is not False)
            best[index + 1] = max(before[index + 1], best[index], step)
    return best[-1]


def _fits(records: Sequence[ExecRecord], steps: Sequence[Sequence[Pattern]], *, certain: bool) -> tuple[bool, int]:
    """Whether the records can be the steps; and how many records, at most, fitted from the first on. Unless it is to be
    ``certain``, other execs may have run anywhere among them, so that each step has all that it needs."""

    def may(pattern: Pattern, record: ExecRecord) -> bool:
        match = pattern.match(record)
        return match is True if certain else match is not False

    reached = {0}  # how many records the steps so far can have been
    furthest = 0
    for step in steps:
        following = set()
        for start in reached:
            fewest = len(step) if certain else 0
            for size in range(len(step) + 1):
                taken = records[start : start + size]
                if len(taken) < size or not _matched(step, taken, may):
                    break
                furthest = max(furthest, start + size)
                if size >= fewest:
                    following.add(start + size)
        reached = following
    return len(records) in reached, furthest


def _matched(step: Sequence[Pattern], taken: Sequence[ExecRecord], may: Callable[[Pattern, ExecRecord], bool]) -> bool:
    """Whether each of the records can be given a pattern of its own (augmenting paths)."""
    holder: dict[int, int] = {}

    def place(record: int, tried: set[int]) -> bool:
        for index, pattern in enumerate(step):
            if index not in tried and may(pattern, taken[record]):
                tried.add(index)
                if index not in holder or place(holder[index], tried):
                    holder[index] = record
                    return True
        return False

    return all(place(record, set()) for record in range(len(taken)))
