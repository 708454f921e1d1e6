"""Holds reports against a baseline, and finds what is new since an earlier one. Pure.

What is certainly beyond a limit is exceeded, and so is what a run itself has found broken. Where something is missing
that could be, nothing is within: an incomplete report never passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from ._util.text import printable
from .baseline.model import (
    BEYOND,
    NAMELESS,
    SECTIONS,
    Baseline,
    Excess,
    Rows,
    Section,
    covers,
    few,
    is_wildcard,
    is_within,
    table_name,
)
from .log.checks import times_word
from .report.digest import PlacedBreach, found, may_follow
from .report.model import Document, Run, Unit, UnitKind
from .timeline.evidence import Evidence, Gap, Lost
from .timeline.kinds import Kinds
from .timeline.record import ExecRecord

_SECTION_OF: Mapping[UnitKind, Section] = {
    "test": "tests",
    "fixture": "fixtures",
    "collection": "around",
    "outside": "around",
}
#: What limits of the run as a whole are called.
TOTAL = "the run as a whole"
_FAILED, _NO_TESTS = 1, 5  # pytest's exit statuses
_MOST_LOST = 1_000_000  # lost execs that are counted one by one


class GateStatus(IntEnum):
    """The exit status of ``execprobe gate``."""

    WITHIN = 0
    EXCEEDED = 1
    INCOMPLETE = 2


@dataclass(frozen=True)
class BudgetFinding:
    """A limit that was exceeded, or with ``excess.holds`` None one of which that is not known."""

    #: A test, a fixture, a package, or TOTAL.
    name: str
    excess: Excess
    #: Where a single test, or the like, is meant.
    unit: Unit | None = None
    #: Who ran what is too much, where it is a sum.
    names: tuple[str, ...] = ()

    @property
    def who(self) -> str:
        """The first few of those."""
        return few(map(printable, self.names))


@dataclass(frozen=True)
class New:
    """A program that an earlier report, or baseline, does not have."""

    program: str
    count: int
    #: Who ran it, the first few.
    names: tuple[str, ...]


@dataclass(frozen=True)
class GateVerdict:
    """What came of it."""

    findings: tuple[BudgetFinding, ...] = ()
    #: Why something is missing.
    incomplete: tuple[str, ...] = ()
    #: Rules that the runs themselves have found broken, or undecided, and that nothing excuses.
    rules: tuple[PlacedBreach, ...] = ()
    #: What was beyond a limit in a try of a test that another one has followed, which alone counts.
    before: tuple[BudgetFinding, ...] = ()
    #: Rows of programs that a run has ignored: neither kept nor exceeded.
    ignored: tuple[str, ...] = ()

    @property
    def exceeded(self) -> tuple[BudgetFinding, ...]:
        return tuple(finding for finding in self.findings if finding.excess.holds is False)

    @property
    def undecided(self) -> tuple[BudgetFinding, ...]:
        return tuple(finding for finding in self.findings if finding.excess.holds is None)

    @property
    def broken_rules(self) -> tuple[PlacedBreach, ...]:
        return tuple(rule for rule in self.rules if not rule.breach.undecided)

    @property
    def undecided_rules(self) -> tuple[PlacedBreach, ...]:
        return tuple(rule for rule in self.rules if rule.breach.undecided)

    @property
    def status(self) -> GateStatus:
        if self.exceeded or self.broken_rules:
            return GateStatus.EXCEEDED
        return GateStatus.INCOMPLETE if self.incomplete or self.undecided or self.rules else GateStatus.WITHIN


def judge(
    document: Document,
    baseline: Baseline,
    runs: int | None = None,
    *,
    budget_only: bool = False,
    allow_deselected: bool = False,
) -> GateVerdict:
    """All limits of a baseline, over all that a report has, and what the runs themselves have found.

    ``runs`` is how many must be in it, each of another part of the tests, if that is known. With ``budget_only``
    neither their rules nor whether they succeeded matters. With ``allow_deselected`` tests of the baseline that they
    have left out, or not collected, were left out on purpose.
    """
    superseded = document.superseded
    of_units = [*_judge_units(document, baseline)]
    findings = [*judge_sums(document, baseline), *(finding for index, finding in of_units if index not in superseded)]
    before = [finding for index, finding in of_units if index in superseded]
    why = [] if runs is None else [*_miscounted(document, runs)]
    ignored, forbidden = _ignored(document, baseline)
    why += [*_unlimited(document, baseline, allow_deselected), *forbidden, *incompleteness(document)]
    why += [] if allow_deselected else _left_out(document, baseline)
    why += _not_collected(document, baseline, allow_deselected)
    if not budget_only:
        why += (reason for index, run in enumerate(document.runs) for reason in _unsuccessful(document, index, run))
    rules = () if budget_only else _broken_rules(document, findings)
    return GateVerdict(tuple(findings), tuple(dict.fromkeys(why)), tuple(rules), tuple(before), tuple(ignored))


def _broken_rules(document: Document, findings: Iterable[BudgetFinding]) -> Iterator[PlacedBreach]:
    """What the runs have found, save what this has found of the same units."""
    beyond = {finding.unit and finding.unit.name for finding in findings if finding.excess.holds is False}
    for item in found(document):
        known = item.breach.headline.startswith(BEYOND) and (item.unit and item.unit.name) in beyond
        if item.excused is None and not known:
            yield item


def _miscounted(document: Document, runs: int) -> Iterator[str]:
    """Whether there are not so many runs, each of other tests than the others: one of two shards, twice, is one."""
    if len(document.runs) != runs:
        yield f"of {runs} runs, {len(document.runs)} are there"
    first: dict[tuple[str, ...], int] = {}
    again: dict[int, tuple[int, str]] = {}
    for unit in document.units:
        if unit.kind in ("test", "command"):
            matrix = document.runs[unit.run].platform, document.runs[unit.run].variant
            known = first.setdefault((*matrix, unit.kind, unit.name), unit.run)
            if known != unit.run:
                again.setdefault(unit.run, (known, unit.name))
    for run, (other, name) in again.items():
        yield (
            f"runs {other + 1} and {run + 1} ({document.runs[other].started} and {document.runs[run].started}) have"
            f" tests in common, such as {name}: one part of the tests is there twice, and another may be missing (runs"
            " of a matrix are distinguished by --execprobe-variant=NAME)"
        )


def _left_out(document: Document, baseline: Baseline) -> Iterator[str]:
    """The tests of which the baseline speaks, that a run has left out, and that no other has."""
    seen = {unit.name for unit in document.units if unit.kind == "test"}
    every = dict.fromkeys(name for run in document.runs for name in run.left_out if name not in seen)
    names = [name for name in every if baseline.table("tests", name) is not None]
    if names:
        yield f"deselected, and no run has them, though the baseline has them: {few(names)}"


def _not_collected(document: Document, baseline: Baseline, allow_deselected: bool) -> Iterator[str]:
    """The tests of which the baseline speaks, that no run has collected, and that need not be gone: each run was
    narrowed to other files or tests, was to ignore these, or to take other names for those of tests."""
    runs = [run for run in document.runs if run.kind == "pytest"]
    tables = baseline.sections.get("tests", {})
    absent = unseen(document, baseline, ["tests"])
    # Of several tests of a file, some may be there and some not.
    wide = [name for name in tables if is_wildcard(name) and "*" not in name.partition("::")[0]]
    if not runs or not (absent or wide):
        return
    left_out = {baseline.table("tests", name) for run in runs for name in run.left_out}
    names = [
        name
        for name in dict.fromkeys([*absent, *wide])
        if name not in left_out and all(_may_leave_out(run, name) for run in runs)
    ]
    if names and not allow_deselected:
        places = dict.fromkeys(place for run in runs if run.collection for place in run.collection.places)
        yield (
            f"not collected, and no run has them, though the baseline has them: {few(names)}"
            f" (collected was {few([*places]) or 'nothing that is known'})"
        )
    elif (
        (absent and not names)
        and len(absent) == len(tables)
        and any(unit.kind == "test" for unit in document.units)
        and not any(run.collection and run.collection.has_file_of(tables) for run in runs)
    ):
        yield f"the baseline matches no test in these reports, such as {absent[0]}: was the root directory another one?"


def _may_leave_out(run: Run, name: str) -> bool:
    return run.collection is None or run.collection.leaves_out(name.replace("\\*", "*"))


def _unsuccessful(document: Document, index: int, run: Run) -> Iterator[str]:
    """Why a run has not succeeded, where no rule of its was broken: what failed may have run less than it would."""
    units = [
        unit for place, unit in enumerate(document.units) if unit.run == index and place not in document.superseded
    ]
    failed = [unit for unit in units if unit.outcome in ("failed", "error")]
    for unit in failed:
        if not unit.breaches:
            yield f"{unit.name}: {'its exit status is ' + str(run.exit_status) if run.kind == 'command' else 'failed'}"
    breaches = [item for item in found(document) if item.run is run and item.excused is None]
    if run.kind == "pytest" and run.exit_status == _FAILED and not (failed or breaches or run.unknown or run.gaps):
        yield f"a run has failed, and its report does not say why: its exit status is {run.exit_status}"


def _unlimited(document: Document, baseline: Baseline, allow_deselected: bool) -> Iterator[str]:
    """What a baseline does not limit, although it seems to."""
    if baseline.limits_nothing:
        yield f"{baseline.path} limits nothing: it has no tables of tests, fixtures, packages or the total"
    elif any(unit.kind == "command" for unit in document.units) and all(sums.name for sums in baseline.sums):
        yield f"{baseline.path} has no [total], and nothing else in it is about a command"
    for sums in baseline.sums:
        if not sums.name or any(_is_in(unit, sums.name) for unit in document.units):
            continue
        if not (allow_deselected and _is_left_out(document, sums.name)):
            yield f'packages."{sums.name}" matches no test in these reports'


def _is_left_out(document: Document, package: str) -> bool:
    """Whether the tests of a package may be there, and each run has left them out."""
    runs = [run for run in document.runs if run.kind == "pytest"]
    if any(is_within(name, package) for run in runs for name in run.left_out):
        return True
    of_file = "::" in package or package.endswith(".py")
    return all(_may_leave_out(run, package if of_file else f"{package}/*") for run in runs)


def _ignored(document: Document, baseline: Baseline) -> tuple[list[str], list[str]]:
    """What a run has not counted (--execprobe-ignore), and the baseline limits, as far as its name tells: in rows of
    tests and the like, which are judged without it; and where it forbids it, or limits a sum, which stays open."""
    ignored: Counter[str] = sum((Counter(run.ignored) for run in document.runs), Counter())
    of_rows, of_sums = [], []
    for program, count in sorted(ignored.items()):
        ran = f"{program} ran {times_word(count)} and was not counted (--execprobe-ignore)"
        if any(baseline.names(program, sums.programs) for sums in baseline.sums):
            of_sums.append(f"{ran}, though the baseline limits how often it runs in all")
        limits = [limit for table in baseline.tables for limit in baseline.names(program, table)]
        if any(limit.most == 0 for limit in limits):
            of_sums.append(f"{ran}, though the baseline forbids it")
        elif any(limit.most is not None for limit in limits):
            of_rows.append(f"{ran}: its rows are judged without that")
    return of_rows, of_sums


def judge_sums(document: Document, baseline: Baseline) -> Iterator[BudgetFinding]:
    """The limits of the run as a whole, and of packages."""
    for sums in baseline.sums:
        units = [unit for unit in document.units if not sums.name or _is_in(unit, sums.name)]
        evidence = evidence_of(document, units, of_all=not sums.name)
        for excess in baseline.beyond_sums(sums, evidence):
            # Record by record, for the same one is in the evidence and in its unit.
            marked = set(map(id, excess.marked))
            names = dict.fromkeys(unit.name for unit in units if not marked.isdisjoint(map(id, unit.all_records)))
            yield BudgetFinding(sums.name or TOTAL, excess, None, tuple(names))


def _is_in(unit: Unit, package: str) -> bool:
    """Whether a unit stands in a folder, a file or a class of tests."""
    return unit.kind in ("test", "fixture") and is_within(unit.name, package)


def _judge_units(document: Document, baseline: Baseline) -> Iterator[tuple[int, BudgetFinding]]:
    """What of each unit is beyond its rows, by the unit's index."""
    for index, unit in enumerate(document.units):
        section = _SECTION_OF.get(unit.kind)
        if section is not None and baseline.has(section):
            evidence = evidence_of(document, [unit])
            for excess in baseline.beyond(baseline.rows(section, unit.name), evidence):
                yield index, BudgetFinding(unit.name, excess, unit)


def evidence_of(document: Document, units: Iterable[Unit], *, of_all: bool = False) -> Evidence:
    """What is known of some units together; with ``of_all`` they are all that the runs have."""
    units = list(units)
    uncounted = {record for unit in units for record in unit.uncounted}
    unknown = [why for unit in units for why in _unknown(unit)]
    lost = sum(unit.lost for unit in units)
    unknown += [f"{lost} lost"] if lost > _MOST_LOST else []  # as no run has
    gaps = sum((Counter(unit.gaps) for unit in units), Counter())
    if of_all:
        gaps = document.gaps
        unknown += [why for run in document.runs for why in run.unknown]
        unknown += [may_follow(document.still_running)] if document.still_running else []
    return Evidence(
        records=tuple(
            record for unit in units for record in unit.all_records if not uncounted or record not in uncounted
        ),
        lost=(Lost(0, False),) * min(lost, _MOST_LOST),
        unknown=tuple(dict.fromkeys(unknown)),
        gaps=tuple(Gap(0, None, why, most) for why, most in gaps.items()),
        filtered=any(run.filtered for run in document.runs),
    )


def _unknown(unit: Unit) -> Iterator[str]:
    yield from unit.unknown
    if unit.not_checked is not None:
        yield f"not checked: {unit.not_checked}"


def incompleteness(document: Document) -> Iterator[str]:
    """Why a report does not have everything, in words."""
    if not document.runs:
        yield "there is no run in it"
    if document.still_running:
        yield may_follow(document.still_running)
    with_tests = {unit.run for unit in document.units if unit.kind == "test"}
    for index, run in enumerate(document.runs):
        yield from run.unknown
        yield from document.gaps_of(index)
        if run.kind == "pytest" and (run.exit_status == _NO_TESTS or index not in with_tests):
            yield "a run had no test"
        elif run.kind == "pytest" and run.exit_status not in (0, 1):
            status = "not known" if run.exit_status is None else run.exit_status
            yield f"a run was broken off: its exit status is {status}"
    for unit in document.units:
        for why in (*_unknown(unit), *unit.gaps):
            yield f"{unit.name}: {why}"
        if unit.lost:
            yield f"{unit.name}: {unit.lost} lost"


# ---- what is new, and what was not there ----


def new_since(document: Document, old: Document | Baseline, baseline: Baseline) -> list[New]:
    """The programs that ``old`` does not have, the most executed first. ``baseline`` has the aliases."""
    is_known = _known_to_baseline(old) if isinstance(old, Baseline) else _known_to_report(old, baseline)
    in_tree = isinstance(old, Baseline)  # a row's pattern may ask what is above an exec
    counts: Counter[str] = Counter()
    names: dict[str, dict[str, None]] = {}
    for unit in document.units:
        kinds = Kinds(unit.all_records, in_tree=in_tree)
        for record, number in zip(kinds.first, kinds.counts, strict=True):
            if not is_known(record):
                program = baseline.alias(record.program or NAMELESS)
                counts[program] += number
                names.setdefault(program, {})[unit.name] = None
    most = sorted(counts, key=lambda program: (-counts[program], program))
    return [New(program, counts[program], tuple(names[program])[:3]) for program in most]


def _known_to_report(old: Document, baseline: Baseline) -> Callable[[ExecRecord], bool]:
    programs = {baseline.alias(program) for program in old.programs}
    return lambda record: baseline.alias(record.program or NAMELESS) in programs


def _known_to_baseline(old: Baseline) -> Callable[[ExecRecord], bool]:
    """By the rows that it would be counted in, for those can be patterns."""
    tables = [*old.tables, *(sums.programs for sums in old.sums)]
    keys = {key for rows in tables for key in rows.limits}
    together = Rows({}, patterns=tuple(dict.fromkeys(pattern for rows in tables for pattern in rows.patterns)))
    return lambda record: set(+old.usage(Evidence((record,)), together).counts) <= keys


def unseen(document: Document, baseline: Baseline, sections: Iterable[Section] = SECTIONS) -> list[str]:
    """The tables of the baseline that match nothing in a report: obsolete, or not run."""
    seen: dict[Section, set[str]] = {}
    for unit in document.units:
        section = _SECTION_OF.get(unit.kind)
        if section is not None:
            seen.setdefault(section, set()).add(table_name(unit.name))
    return [
        name
        for section in sections
        for name in baseline.sections.get(section, {})
        if not any(name == other or (is_wildcard(name) and covers(name, other)) for other in seen.get(section, ()))
    ]
