"""Checks of how things ended, against all that can have been: see ``test_check_properties.py``.

What ran is written as a program and how it ended: ``git 0``, ``git 1``, ``git ?`` for one of which that is not known,
and ``env>git 1`` for a process that was first one and then the other. All that can have been is every end of those that
have none, with any program and any end in the place of each exec that was lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fakes import altered, record
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execprobe import ExecRecord
from pytest_execprobe.log.ends import all_succeeded
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.log.shells import no_shell
from pytest_execprobe.rules.judge import Judge
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import make_rule
from pytest_execprobe.timeline.evidence import Evidence, Gap, Lost

WHY = "the helper was lost"
Outcome = tuple[str, bool]  # a program, and whether its process has succeeded

PROCESSES = [
    f"{programs} {end}" for programs in ("git", "sh", "…", "env>git", "env>…") for end in ("0", "1", "SEGV", "?")
]
_ENDS = {"0": (0, None), "1": (1, None), "SEGV": (None, 11), "?": (None, None)}
_CAN_BE = {"…": ("git", "sh", "env")}  # a program that was not read


def records(processes: Sequence[str]) -> tuple[ExecRecord, ...]:
    made: list[ExecRecord] = []
    for process in processes:
        programs, _, end = process.partition(" ")
        previous = None
        for program in programs.split(">"):
            known = program if program != "…" else None
            previous = record(known, executable="" if known else None, argv=() if known else None, previous=previous)
            made.append(previous)
        code, signal = _ENDS[end]
        made[-1] = altered(made[-1], exit_code=code, signal=signal)
    return tuple(made)


def outcomes(process: str) -> Iterator[tuple[Outcome, ...]]:
    """All that a process can have been: what it executed, and how it ended."""
    programs, _, end = process.partition(" ")
    for names in itertools.product(*(_CAN_BE.get(program, (program,)) for program in programs.split(">"))):
        for success in (True, False) if end == "?" else (end == "0",):
            yield tuple((name, success) for name in names)


@dataclass(frozen=True)
class Ran:
    processes: tuple[str, ...]
    lost: int
    unknown: bool
    more: int

    @property
    def evidence(self) -> Evidence:
        gaps = tuple(Gap(0, 9, WHY, 1) for _ in range(self.more))
        lost = tuple(Lost(5, True) for _ in range(self.lost))
        return Evidence(records(self.processes), lost=lost, gaps=gaps, unknown=(WHY,) if self.unknown else ())

    def completions(self) -> Iterator[list[Outcome]]:
        anything = [(name, success) for name in ("git", "sh", "env") for success in (True, False)]
        for more in range(self.lost, self.lost + self.more + self.unknown + 1):
            for chosen in itertools.product(*map(outcomes, self.processes)):
                for others in itertools.combinations_with_replacement(anything, more):
                    yield [*itertools.chain(*chosen), *others]


rans = st.builds(
    Ran,
    st.lists(st.sampled_from(PROCESSES), max_size=3).map(tuple),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([False, False, True]),
    st.sampled_from([0, 0, 1]),
)
names = st.lists(st.sampled_from(["git", "sh", "env"]), max_size=2)


def truth(ran: Ran, patterns: Sequence[str]) -> bool | None:
    found = {
        all(success for name, success in completion if not patterns or name in patterns)
        for completion in ran.completions()
    }
    return found.pop() if len(found) == 1 else None


@settings(deadline=None, max_examples=300)
@given(rans, names)
def test_success_is_what_is_so_of_all_that_can_have_been(ran: Ran, patterns: list[str]) -> None:
    """Of an unread program it may be undecided which of several it failed as: never does that pass."""
    answer = all_succeeded(ran.evidence, list(map(compile_pattern, patterns))).holds
    expected = truth(ran, patterns)
    assert answer is expected or (answer is None and expected is False and len(patterns) > 1), ran


@settings(deadline=None, max_examples=100)
@given(rans, names)
def test_marker_says_what_the_assertion_does(ran: Ran, patterns: list[str]) -> None:
    judge = Judge(deciders([[make_rule("exec_success", patterns, {}, "here")]]))
    found = {finding.holds for finding in judge.judge("call", ran.evidence)}
    answer = False if False in found else None if None in found else True
    assert answer is all_succeeded(ran.evidence, list(map(compile_pattern, patterns))).holds


# ---- shells ----

CALLS = {
    "shell": ("sh", "-c", "x"),
    "script": ("sh", "x"),
    "git": ("git",),
    "sh …": ("sh",),
    "…": (None,),
}
_MEANS = {"shell": (True,), "script": (False,), "git": (False,), "sh …": (True, False), "…": (True, False)}


@st.composite
def calls(draw: st.DrawFn) -> tuple[Evidence, bool | None]:
    """What ran, and what is so of it."""
    chosen = draw(st.lists(st.tuples(st.sampled_from(sorted(CALLS)), st.booleans()), max_size=3))
    lost = draw(st.lists(st.booleans(), max_size=2))
    unknown = draw(st.booleans()) and draw(st.booleans())
    made = []
    for call, direct in chosen:
        program, *args = CALLS[call]
        unread = "…" in call
        one = record(program, *args, argv=None if unread else (), executable="" if program else None, direct=direct)  # type: ignore[arg-type]
        made.append(replace(one, _identity=(len(made), 1)))
    can_be = [_MEANS[call] for call, direct in chosen if direct]
    can_be += [(True, False)] * (sum(lost) + unknown)
    found = {not any(those) for those in itertools.product(*can_be)}
    known = Evidence(tuple(made), lost=tuple(Lost(5, direct) for direct in lost), unknown=(WHY,) if unknown else ())
    return known, found.pop() if len(found) == 1 else None


@settings(deadline=None, max_examples=300)
@given(calls())
def test_shells_are_what_is_so_of_all_that_can_have_been(asked: tuple[Evidence, bool | None]) -> None:
    known, expected = asked
    assert no_shell(known).holds is expected
    judge = Judge(deciders([[make_rule("exec_no_shell", [], {}, "here")]]))
    found = {finding.holds for finding in judge.judge("call", known)}
    assert (False if False in found else None if None in found else True) is expected
