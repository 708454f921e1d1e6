"""Every assertion, decided by what must be true: on complete and on incomplete logs."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache

import pytest
from fakes import FixedWindow, evidence, log_of, outcome, record

from pytest_execprobe import ExecLog, ExecRecord, subtree
from pytest_execprobe.timeline.evidence import Gap

GIT, GPG, CURL, SH = "git", "gpg", "curl", "sh"


WHY = "the probe helper was lost"


def log(*programs: str | None, lost: int = 0, more: int = 0, unknown: str = "") -> ExecLog:
    """A log of these programs; None is one whose name could not be read. ``more``: at most so many are missing besides
    those that were lost."""
    gaps = (Gap(0, 1, WHY, more),) if more else ()
    return ExecLog(FixedWindow(evidence(*map(_record, programs), lost=lost, unknown=unknown, gaps=gaps)))


def _record(name: str | None) -> ExecRecord:
    return record(name) if name is not None else record(None, executable=None, argv=None)


@pytest.mark.parametrize(
    ("subject", "lost", "complete"),
    [
        (log(GIT), 0, True),
        (log(lost=2), 2, False),
        (log(more=2), None, False),
        (log(lost=2, more=2), None, False),
        (log(unknown=WHY), None, False),
        (log(lost=2, unknown=WHY), None, False),
        (ExecLog(FixedWindow(evidence(lost=2, filtered=True))), None, False),
    ],
)
def test_how_many_are_lost_where_that_is_known_exactly(subject: ExecLog, lost: int | None, complete: bool) -> None:
    assert (subject.lost, subject.complete) == (lost, complete)


# ---- each check by hand ----


@pytest.mark.parametrize(
    ("subject", "holds"),
    [
        (log(), True),
        (log(GIT), False),
        (log(lost=1), False),
        (log(GIT, lost=1), False),
        (log(unknown=WHY), None),
        (log(GIT, unknown=WHY), False),
        (log(lost=1, unknown=WHY), False),
        (log(more=1), None),
        (log(lost=1, more=1), False),
        (log(None), False),
    ],
)
def test_nothing_ran(subject: ExecLog, holds: bool | None) -> None:
    assert outcome(subject.assert_nothing_ran) is holds


@pytest.mark.parametrize(
    ("subject", "patterns", "holds"),
    [
        (log(GIT, GPG), [GIT], True),
        (log(GIT, GPG), [GPG, GIT], True),
        (log(GIT, GPG), [GIT, CURL], False),
        (log(), [GIT], False),
        (log(GIT, lost=1), [GIT], True),
        (log(GIT, lost=1), [GPG], None),
        (log(GIT, lost=1), [GIT, GPG], None),
        (log(GIT, unknown=WHY), [GIT], True),
        (log(GIT, unknown=WHY), [GPG], None),
        (log(None), [GIT], None),
        (log(None, GIT), [GIT], True),
    ],
)
def test_ran(subject: ExecLog, patterns: list[str], holds: bool | None) -> None:
    assert outcome(subject.assert_ran, *patterns) is holds


def test_lost_exec_can_have_had_two_names() -> None:
    # As busybox has when it runs its own sh as /proc/self/exe.
    assert outcome(log(lost=1).assert_ran, GIT, GPG) is None
    assert outcome(log(CURL, lost=1).assert_ran, CURL, GIT, GPG) is None
    assert outcome(log(lost=1).assert_ran, GIT, GPG, times=2) is False


@pytest.mark.parametrize(
    ("subject", "times", "holds"),
    [
        (log(GIT, GIT, GPG), 2, True),
        (log(GIT, GIT, GPG), 1, False),
        (log(GIT, GIT, GPG), 3, False),
        (log(GPG), 0, True),
        (log(GIT), 0, False),
        (log(GIT, lost=1), 0, False),
        (log(GIT, lost=1), 1, None),
        (log(GIT, lost=1), 2, None),
        (log(GIT, lost=1), 3, False),
        (log(GIT, GIT, unknown=WHY), 1, False),
        (log(GIT, unknown=WHY), 1, None),
        (log(GIT, unknown=WHY), 99, None),
        (log(GIT, None), 1, None),
        (log(GIT, None), 2, None),
        (log(GIT, None), 3, False),
    ],
)
def test_ran_so_many_times(subject: ExecLog, times: int, holds: bool | None) -> None:
    assert outcome(subject.assert_ran, GIT, times=times) is holds


def test_ran_times_is_meant_of_each_pattern() -> None:
    assert outcome(log(GIT, GPG).assert_ran, GIT, GPG, times=1) is True
    assert outcome(log(GIT, GPG, GPG).assert_ran, GIT, GPG, times=1) is False


@pytest.mark.parametrize(
    ("subject", "patterns", "holds"),
    [
        (log(GIT), [CURL], True),
        (log(), [CURL], True),
        (log(GIT, CURL), [CURL], False),
        (log(GIT, CURL), [SH, CURL], False),
        (log(GIT, lost=1), [CURL], None),
        (log(CURL, lost=1), [CURL], False),
        (log(GIT, unknown=WHY), [CURL], None),
        (log(CURL, unknown=WHY), [CURL, SH], False),
        (log(None), [CURL], None),
    ],
)
def test_not_ran(subject: ExecLog, patterns: list[str], holds: bool | None) -> None:
    assert outcome(subject.assert_not_ran, *patterns) is holds


@pytest.mark.parametrize(
    ("subject", "patterns", "holds"),
    [
        (log(GIT, GIT), [GIT], True),
        (log(), [GIT], True),
        (log(GIT, GPG), [GIT, GPG], True),
        (log(GIT, GPG), [GIT], False),
        (log(GIT, lost=1), [GIT], None),
        (log(GPG, lost=1), [GIT], False),
        (log(GIT, unknown=WHY), [GIT], None),
        (log(GPG, unknown=WHY), [GIT], False),
        (log(None), [GIT], None),
        (log(None, GPG), [GIT], False),
    ],
)
def test_only_ran(subject: ExecLog, patterns: list[str], holds: bool | None) -> None:
    assert outcome(subject.assert_only_ran, *patterns) is holds


def test_forbidden_by_either_path_and_allowed_by_the_executable() -> None:
    linked = log_of(record("python", path="/venv/bin/python", executable="/usr/bin/python3.11"))
    assert outcome(linked.assert_not_ran, "/venv/*") is False
    assert outcome(linked.assert_not_ran, "/usr/bin/*") is False
    assert outcome(linked.assert_only_ran, "/venv/*") is False
    assert outcome(linked.assert_only_ran, "/usr/bin/*") is True
    assert outcome(linked.assert_ran, "/venv/*") is True


@pytest.mark.parametrize(
    ("subject", "n", "exactly", "at_most", "at_least"),
    [
        (log(GIT, GPG), 2, True, True, True),
        (log(GIT, GPG), 1, False, False, True),
        (log(GIT, GPG), 3, False, True, False),
        (log(), 0, True, True, True),
        # So many were lost that the number is known: only their names are not.
        (log(GIT, lost=1), 2, True, True, True),
        (log(GIT, lost=1), 1, False, False, True),
        (log(GIT, lost=1), 3, False, True, False),
        (log(lost=2), 0, False, False, True),
        (log(GIT, unknown=WHY), 0, False, False, True),
        (log(GIT, unknown=WHY), 1, None, None, True),
        (log(GIT, unknown=WHY), 2, None, None, None),
        (log(GIT, lost=1, unknown=WHY), 1, False, False, True),
        (log(GIT, lost=1, unknown=WHY), 2, None, None, True),
        # At least two, at most four.
        (log(GIT, lost=1, more=2), 1, False, False, True),
        (log(GIT, lost=1, more=2), 2, None, None, True),
        (log(GIT, lost=1, more=2), 3, None, None, None),
        (log(GIT, lost=1, more=2), 4, None, True, None),
        (log(GIT, lost=1, more=2), 5, False, True, False),
        (log(None), 1, True, True, True),
    ],
)
def test_counts(subject: ExecLog, n: int, exactly: bool | None, at_most: bool | None, at_least: bool | None) -> None:
    assert outcome(subject.assert_count, n) is exactly
    assert outcome(subject.assert_at_most, n) is at_most
    assert outcome(subject.assert_at_least, n) is at_least


@pytest.mark.parametrize(
    ("subject", "n", "exactly", "at_most", "at_least"),
    [
        (log(GIT, GPG), 1, True, True, True),
        (log(GIT, GPG), 0, False, False, True),
        (log(GIT, GPG), 2, False, True, False),
        (log(GIT, lost=1), 0, False, False, True),
        (log(GIT, lost=1), 1, None, None, True),
        (log(GIT, lost=1), 2, None, True, None),
        (log(GIT, lost=1), 3, False, True, False),
        (log(GIT, unknown=WHY), 1, None, None, True),
        (log(GIT, unknown=WHY), 5, None, None, None),
        (log(GIT, None), 1, None, None, True),
        (log(GIT, None), 2, None, True, None),
    ],
)
def test_counts_of_a_pattern(
    subject: ExecLog, n: int, exactly: bool | None, at_most: bool | None, at_least: bool | None
) -> None:
    assert outcome(subject.assert_count, n, GIT) is exactly
    assert outcome(subject.assert_at_most, n, GIT) is at_most
    assert outcome(subject.assert_at_least, n, GIT) is at_least


@pytest.mark.parametrize(
    ("subject", "patterns", "holds"),
    [
        (log(GIT, SH, GPG), [GIT, GPG], True),
        (log(SH, GIT, GPG, CURL), [GIT, GPG], True),
        (log(GPG, GIT), [GIT, GPG], False),
        (log(GPG, GIT, GPG), [GIT, GPG], True),
        (log(GIT), [GIT, GIT], False),
        (log(GIT, GIT), [GIT, GIT], True),
        (log(), [GIT], False),
        # A lost exec can have been the one that is wanting, wherever that is.
        (log(GIT, lost=1), [GIT, GPG], None),
        (log(GPG, lost=1), [GIT, GPG], None),
        (log(GPG, GIT, lost=1), [GIT, GPG], None),
        (log(GIT, GPG, lost=3), [GIT, GPG], True),
        (log(GIT, lost=1), [GIT, GPG, CURL], False),
        (log(GIT, lost=2), [GIT, GPG, CURL], None),
        (log(CURL, GIT, lost=1), [GIT, GPG, CURL], False),
        (log(CURL, GIT, lost=2), [GIT, GPG, CURL], None),
        (log(unknown=WHY), [GIT, GPG, CURL], None),
        (log(GIT, more=1), [GIT, GPG, CURL], False),
        (log(GIT, lost=1, more=1), [GIT, GPG, CURL], None),
        (log(GIT, GPG, unknown=WHY), [GIT, GPG], True),
        (log(GIT, None), [GIT, GPG], None),
        (log(None), [GIT, GPG], False),
        (log(None, lost=1), [GIT, GPG], None),
    ],
)
def test_order(subject: ExecLog, patterns: list[str], holds: bool | None) -> None:
    assert outcome(subject.assert_order, *patterns) is holds


@pytest.mark.parametrize(
    ("subject", "steps", "holds"),
    [
        (log(GIT, GPG), [GIT, GPG], True),
        (log(GPG, GIT), [GIT, GPG], False),
        (log(GIT, GPG, SH), [GIT, GPG], False),
        (log(GIT), [GIT, GPG], False),
        (log(), [], True),
        (log(GIT), [], False),
        (log(lost=1), [], False),
        # With so many lost, the length is known: what can't fit is certainly false.
        (log(GIT, lost=1), [GIT, GPG], None),
        (log(GIT, lost=1), [GPG, GIT], None),
        (log(GIT, lost=1), [GIT], False),
        (log(GIT, lost=2), [GIT, GPG], False),
        (log(GIT, lost=1), [GIT, GPG, SH], False),
        (log(CURL, lost=1), [GIT, GPG], False),
        (log(GIT, GPG, lost=1), [GIT, SH, GPG], None),
        (log(GPG, GIT, lost=1), [GIT, SH, GPG], False),
        # Without, it can at least not have been shorter than what is there.
        (log(GIT, unknown=WHY), [GIT], None),
        (log(GIT, unknown=WHY), [], False),
        (log(GIT, GPG, unknown=WHY), [GIT], False),
        (log(GIT, unknown=WHY), [GPG, GIT, SH], None),
        (log(CURL, unknown=WHY), [GPG, GIT, SH], False),
        (log(GIT, lost=1, unknown=WHY), [GIT], False),
        (log(lost=2, unknown=WHY), [GIT], False),
        (log(lost=1, unknown=WHY), [], False),
        (log(GIT, lost=1, unknown=WHY), [GIT, GPG], None),
        # At least three, at most five.
        (log(GIT, GPG, lost=1, more=2), [GIT, GPG], False),
        (log(GIT, GPG, lost=1, more=2), [GIT, SH, GPG], None),
        (log(GIT, GPG, lost=1, more=2), [GIT, SH, SH, GPG], None),
        (log(GIT, GPG, lost=1, more=2), [GIT, SH, SH, SH, GPG], None),
        (log(GIT, GPG, lost=1, more=2), [GIT, SH, SH, SH, SH, GPG], False),
        (log(GPG, GIT, lost=1, more=2), [GIT, SH, GPG], False),
        (log(GIT, more=1), [GIT], None),
        (log(GIT, None), [GIT, GPG], None),
        (log(CURL, None), [GIT, GPG], False),
    ],
)
def test_sequence(subject: ExecLog, steps: list[str], holds: bool | None) -> None:
    assert outcome(subject.assert_sequence, *steps) is holds


@pytest.mark.parametrize(
    ("subject", "steps", "holds"),
    [
        (log(GPG, GIT), [frozenset({GIT, GPG})], True),
        (log(GIT, GPG), [frozenset({GIT, GPG})], True),
        (log(GIT, GIT), [frozenset({GIT, GPG})], False),
        (log(GIT), [frozenset({GIT, GPG})], False),
        (log(SH, GPG, GIT, CURL), [SH, frozenset({GIT, GPG}), CURL], True),
        (log(GPG, SH, GIT, CURL), [SH, frozenset({GIT, GPG}), CURL], False),
        # One exec can be several members' match, and must leave the others theirs.
        (log(GIT, GPG), [frozenset({"g*", GIT})], True),
        (log(GPG, GIT), [frozenset({"g*", GIT})], True),
        (log(GPG, GPG), [frozenset({"g*", GIT})], False),
        (log(GIT, GPG, GZ := "gzip"), [frozenset({"g*", "gi*", GIT})], False),
        (log(GIT, GPG, GZ), [frozenset({"g*", "g[pz]*", GIT})], True),
        (log(GPG, lost=1), [frozenset({GIT, GPG})], None),
        (log(CURL, lost=1), [frozenset({GIT, GPG})], False),
        (log(GPG, SH, lost=1), [frozenset({GIT, GPG}), SH], None),
        (log(SH, GPG, lost=1), [frozenset({GIT, GPG}), SH], False),
        (log(GPG, unknown=WHY), [frozenset({GIT, GPG})], None),
    ],
)
def test_sequence_with_a_step_in_any_order(
    subject: ExecLog, steps: list[str | frozenset[str]], holds: bool | None
) -> None:
    assert outcome(subject.assert_sequence, *steps) is holds


def test_step_in_any_order_takes_every_hashable_form_of_a_pattern() -> None:
    subject = log_of(record("git", "push"), record("gpg"))
    assert outcome(subject.assert_sequence, frozenset({("git", "push"), subtree("gpg")})) is True


def test_cut_argv_leaves_a_check_undecided_only_where_it_matters() -> None:
    subject = log_of(record("git", "add", "file-", truncated=True))
    assert outcome(subject.assert_ran, GIT) is True
    assert outcome(subject.assert_not_ran, "re:file-42") is None
    assert outcome(subject.assert_ran, ["git", "add", "file-42"]) is None
    assert outcome(subject.assert_ran, ["git", "push"]) is False
    assert outcome(subject.assert_only_ran, ["git", "add", "file-42"]) is None
    assert outcome(subject.assert_order, ["git", "add", "file-42"]) is None
    assert outcome(subject.assert_sequence, ["git", "add", "file-42"]) is None
    assert outcome(subject.assert_count, 1, ["git", "add", "file-42"]) is None


def test_lost_ancestor_leaves_a_subtree_undecided() -> None:
    subject = log_of(record(CURL, lineage_lost=True))
    assert outcome(subject.assert_only_ran, subtree(GIT)) is None
    assert outcome(subject.assert_not_ran, subtree(GIT)) is None
    assert outcome(subject.assert_only_ran, subtree(CURL)) is True


# ---- what can't be asked ----


@pytest.mark.parametrize("name", ["assert_ran", "assert_not_ran", "assert_only_ran", "assert_order"])
def test_check_without_a_pattern_is_a_type_error(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        getattr(log(), name)()


@pytest.mark.parametrize("name", ["assert_count", "assert_at_most", "assert_at_least"])
@pytest.mark.parametrize(("n", "error"), [(-1, ValueError), (True, TypeError), (1.0, TypeError), ("1", TypeError)])
def test_number_must_be_a_whole_one(name: str, n: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        getattr(log(GIT), name)(n)


@pytest.mark.parametrize(("times", "error"), [(-1, ValueError), (True, TypeError), (1.5, TypeError)])
def test_times_must_be_a_whole_number(times: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        log(GIT).assert_ran(GIT, times=times)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["assert_ran", "assert_not_ran", "assert_only_ran", "assert_order", "assert_sequence"])
@pytest.mark.parametrize(("pattern", "error"), [("", ValueError), (42, TypeError), (b"git", TypeError)])
def test_bad_pattern_is_an_error_even_where_another_would_decide(
    name: str, pattern: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        getattr(log(), name)(GIT, pattern)


def test_empty_step_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="frozenset"):
        log().assert_sequence(frozenset())


# ---- against an oracle ----

# Three programs that checks are about and one that none does; a name that could not be read is any of the four.
ALPHABET = "abcx"
UNREAD = "?"

Sequence_ = tuple[str, ...]
Steps = Sequence[str | frozenset[str]]


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern)


def _count(sequence: Sequence_, pattern: str) -> int:
    return sum(_matches(pattern, name) for name in sequence)


def _is_in_order(sequence: Sequence_, patterns: Sequence[str]) -> bool:
    return any(
        all(map(_matches, patterns, chosen)) for chosen in itertools.combinations(sequence, len(patterns))
    )  # fmt: skip


def _is_sequence(sequence: Sequence_, steps: Steps) -> bool:
    in_any_order = [itertools.permutations(step) if isinstance(step, frozenset) else [(step,)] for step in steps]
    for choice in itertools.product(*in_any_order):
        patterns = [*itertools.chain(*choice)]
        if len(patterns) == len(sequence) and all(map(_matches, patterns, sequence)):
            return True
    return False


class Check:
    """A check, and what it means for a sequence of programs of which all is known: that each of these holds."""

    def __init__(self, text: str, ask: Callable[[ExecLog], None], *holds: Callable[[Sequence_], bool]) -> None:
        self.text = text
        self.ask = ask
        self.holds = [*map(cache, holds)]

    def __repr__(self) -> str:
        return self.text


def _checks() -> Iterable[Check]:
    yield Check("nothing_ran", lambda log: log.assert_nothing_ran(), lambda seen: not seen)
    for patterns in (("a",), ("[ab]",), ("a", "b"), ("a", "[ab]"), ("a", "b", "c")):
        yield Check(
            f"ran{patterns}",
            lambda log, patterns=patterns: log.assert_ran(*patterns),
            # One by one: an exec of which nothing is known can have had several names.
            *(lambda seen, pattern=pattern: _count(seen, pattern) > 0 for pattern in patterns),
        )
        yield Check(
            f"not_ran{patterns}",
            lambda log, patterns=patterns: log.assert_not_ran(*patterns),
            lambda seen, patterns=patterns: not any(_count(seen, pattern) for pattern in patterns),
        )
        yield Check(
            f"only_ran{patterns}",
            lambda log, patterns=patterns: log.assert_only_ran(*patterns),
            lambda seen, patterns=patterns: all(any(_matches(p, name) for p in patterns) for name in seen),
        )
    for patterns, times in itertools.product((("a",), ("[ab]",), ("a", "b")), range(3)):
        yield Check(
            f"ran{patterns}, times={times}",
            lambda log, patterns=patterns, times=times: log.assert_ran(*patterns, times=times),
            *(lambda seen, p=p, times=times: _count(seen, p) == times for p in patterns),
        )
    numbers = {"count": operator.eq, "at_most": operator.le, "at_least": operator.ge}
    for (name, compare), n, pattern in itertools.product(numbers.items(), range(4), (None, "a", "[ab]")):
        yield Check(
            f"{name}({n}, {pattern})",
            lambda log, name=name, n=n, pattern=pattern: getattr(log, f"assert_{name}")(n, pattern),
            lambda seen, compare=compare, n=n, pattern=pattern: compare(_count(seen, pattern or "*"), n),
        )
    # Up to a renaming of the programs these are all; the logs have them under all names.
    orders = [tuple(text) for text in ("a", "aa", "ab", "aaa", "aab", "aba", "abb", "abc")]
    for patterns in (*orders, ("[ab]", "b"), ("[ab]", "[bc]", "a")):
        yield Check(
            f"order{patterns}",
            lambda log, patterns=patterns: log.assert_order(*patterns),
            lambda seen, patterns=patterns: _is_in_order(seen, patterns),
        )
    ab, bc, abc = frozenset("ab"), frozenset("bc"), frozenset("abc")
    any_order: list[Steps] = [
        (ab,),
        (abc,),
        ("a", bc),
        (bc, "a"),
        (ab, "a"),
        ("b", ab),
        (ab, bc),
        (abc, "a"),
        (frozenset({"[ab]", "a"}),),
        (frozenset({"[ab]", "[bc]"}), "c"),
        ("a", ab, "a"),
    ]
    for steps in ((), *orders, ("a",) * 4, ("a", "b", "c", "a"), ("[ab]", "b"), *any_order):
        yield Check(
            f"sequence({', '.join(sorted_text(step) for step in steps)})",
            lambda log, steps=steps: log.assert_sequence(*steps),
            lambda seen, steps=steps: _is_sequence(seen, steps),
        )


def sorted_text(step: str | frozenset[str]) -> str:
    return step if isinstance(step, str) else "{" + " ".join(sorted(step)) + "}"


@cache
def _readings(seen: Sequence_) -> frozenset[Sequence_]:
    """What the programs can have been, with a name for each that is unread."""
    return frozenset(itertools.product(*(ALPHABET if name == UNREAD else name for name in seen)))


@cache
def _with_more(seen: Sequence_, more: int) -> frozenset[Sequence_]:
    """What can have run, were so many execs more to be anything and anywhere."""
    if more == 0:
        return _readings(seen)
    return frozenset(
        (*fewer[:at], name, *fewer[at:])
        for fewer in _with_more(seen, more - 1)
        for at in range(len(fewer) + 1)
        for name in ALPHABET
    )


@cache
def _with_one_of(seen: Sequence_, numbers: range) -> frozenset[Sequence_]:
    """What can have run, were it one of these numbers more."""
    return frozenset(itertools.chain(*(_with_more(seen, number) for number in numbers)))


@cache
def _log(seen: Sequence_, lost: int, more: int = 0, unknown: bool = False, filtered: bool = False) -> ExecLog:
    """All checks are made of one."""
    gaps = (Gap(0, 1, WHY, more),) if more else ()
    records = (_record(None if name == UNREAD else name) for name in seen)
    given = evidence(*records, lost=lost, unknown=WHY if unknown else "", gaps=gaps, filtered=filtered)
    return ExecLog(FixedWindow(given))


def _truth(check: Check, completions: frozenset[Sequence_]) -> bool | None:
    answers = [_agreed(holds, completions) for holds in check.holds]
    if False in answers:
        return False
    return None if None in answers else True


def _agreed(holds: Callable[[Sequence_], bool], completions: frozenset[Sequence_]) -> bool | None:
    """What all of them make it, None where two differ: then the rest need not be asked."""
    answers = map(holds, completions)
    first = next(answers)
    return first if all(answer is first for answer in answers) else None


def _disagreements(
    check: Check, cases: Iterable[tuple[Sequence_, int, bool]], longest: int
) -> Iterable[tuple[Sequence_, int, bool, bool | None, bool | None]]:
    for seen, lost, unknown in cases:
        most = max(lost, longest - len(seen)) if unknown else lost
        expected = _truth(check, _with_one_of(seen, range(lost, most + 1)))
        answer = outcome(check.ask, _log(seen, lost, unknown=unknown))
        if answer is not expected:
            yield seen, lost, unknown, expected, answer


def _programs(alphabet: str, longest: int) -> list[Sequence_]:
    return [*itertools.chain(*(itertools.product(alphabet, repeat=n) for n in range(longest + 1)))]


every_check = pytest.mark.parametrize("check", [*_checks()], ids=repr)


@every_check
def test_known_number_of_lost_execs_against_every_completion(check: Check) -> None:
    """Records, and a known number of lost execs of any name at any place: certain if all completions agree."""
    cases = itertools.product(_programs("abc", 3), (0, 1, 2), (False,))
    assert [*_disagreements(check, cases, longest=5)] == []


@every_check
@pytest.mark.parametrize("filtered", [False, True])
def test_number_of_lost_execs_between_bounds_against_every_completion(check: Check, filtered: bool) -> None:
    """So many were lost for certain, and at most so many more; where execs are left out by what they are, even the
    former may have been none of the window's."""
    for seen, lost, more in itertools.product(_programs("abc", 2), (0, 1), (1, 2)):
        numbers = range(0 if filtered else lost, lost + more + 1)
        expected = _truth(check, _with_one_of(seen, numbers))
        assert outcome(check.ask, _log(seen, lost, more, filtered=filtered)) is expected, (seen, lost, more)


@every_check
def test_unknown_number_of_lost_execs_against_every_completion(check: Check) -> None:
    """As many more as one likes may have run: up to so many that a longer completion decides nothing new."""
    cases = itertools.product(_programs("abc", 2), (0, 1, 2), (True,))
    assert [*_disagreements(check, cases, longest=6)] == []


@every_check
def test_lost_execs_that_may_be_left_out_against_every_completion(check: Check) -> None:
    """Where execs are left out by what they are, a lost one may have been one of those, or not."""
    for seen, lost in itertools.product(_programs("abc", 3), (0, 1, 2)):
        expected = _truth(check, _with_one_of(seen, range(lost + 1)))
        assert outcome(check.ask, _log(seen, lost, filtered=True)) is expected, (seen, lost)


@every_check
def test_unread_names_against_every_completion(check: Check) -> None:
    """A record whose name could not be read stands where it stands, and may be any program."""
    cases = itertools.product(_programs("abc?", 2), (0, 1), (False,))
    assert [*_disagreements(check, cases, longest=3)] == []
