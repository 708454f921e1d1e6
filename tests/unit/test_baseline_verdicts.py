"""Whatever came of the tests of a run: the command that its verdict offers makes the same run be within the baseline,
none is offered where none helps, and no row is lost but by what ran to its end.

The model stands for pytest's hooks: what it tells of tries, phases and outcomes is what they tell, and all that decides
is the real thing.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fakes import record
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pytest_execprobe import ExecRecord
from pytest_execprobe._util import originals
from pytest_execprobe.baseline.model import COLLECTION, Baseline, Rows, Section
from pytest_execprobe.baseline.read import read_baseline
from pytest_execprobe.gate import GateStatus
from pytest_execprobe.gate import judge as gate
from pytest_execprobe.report.assembly import Assembly
from pytest_execprobe.report.model import Document, ReportedBreach, Run, Unit
from pytest_execprobe.rules.judge import Judge
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import baseline_rule
from pytest_execprobe.session import closing
from pytest_execprobe.session.collected import Former
from pytest_execprobe.session.invocation import Invocation
from pytest_execprobe.session.settings import Settings
from pytest_execprobe.session.totals import MISSING, Totals
from pytest_execprobe.timeline.evidence import Evidence, Lost
from pytest_execprobe.timeline.record import Phase

Ran = dict[Phase, dict[str, int]]

#: What pytest reports of the phases of a test, by what becomes of it.
OUTCOMES: dict[str, dict[Phase, str]] = {
    "passed": {"setup": "passed", "call": "passed", "teardown": "passed"},
    "failed": {"setup": "passed", "call": "failed", "teardown": "passed"},
    "skipped": {"setup": "skipped", "teardown": "passed"},
    "skipped in the call": {"setup": "passed", "call": "skipped", "teardown": "passed"},
    "skipped in the teardown": {"setup": "passed", "call": "passed", "teardown": "skipped"},
    "xfailed, not run": {"setup": "xfailed", "teardown": "passed"},
    "xfailed by the set-up": {"setup": "xfailed", "teardown": "passed"},
    "xfailed": {"setup": "passed", "call": "xfailed", "teardown": "passed"},
    "xfailed by the call": {"setup": "passed", "call": "xfailed", "teardown": "passed"},
    "xpassed": {"setup": "passed", "call": "xpassed", "teardown": "passed"},
    "xpassed, strictly": {"setup": "passed", "call": "failed", "teardown": "passed"},
    "error in the set-up": {"setup": "error", "teardown": "passed"},
    "error in the teardown": {"setup": "passed", "call": "passed", "teardown": "error"},
    "not called": {"setup": "passed", "teardown": "passed"},
    "interrupted in the set-up": {},
    "interrupted": {"setup": "passed"},
}
#: Those with a mark, which expects that a rule is broken, too.
EXPECTED = ("xfailed, not run", "xfailed", "xpassed", "xpassed, strictly")


@dataclass(frozen=True)
class Try:
    """One try of a test: what becomes of it if no rule interferes, and what it runs."""

    outcome: str
    ran: Ran
    lost: bool = False


@dataclass(frozen=True)
class Suite:
    """Tests, each with its tries: another is made when one has failed, if there is another. One without is not run."""

    tests: dict[str, tuple[Try, ...]]
    collection: dict[str, int] = field(default_factory=dict)


@dataclass
class Model:
    """One run of a suite, as the plugin sees it."""

    suite: Suite
    baseline: Baseline
    update: bool
    totals: Totals = field(default_factory=lambda: Totals(recorded=1))
    assembly: Assembly = field(default_factory=Assembly)
    units: list[Unit] = field(default_factory=list)
    broken_off: bool = False

    def run(self) -> Model:
        self._around()
        for name, tries in self.suite.tests.items():
            for number, one in enumerate(tries):
                again = self._try(name, one, str(number), is_last=number == len(tries) - 1)
                if self.broken_off:
                    return self
                if not again:
                    break
                self.totals.supersede(name, str(number))
        return self

    def _judge(self, section: Section, name: str) -> Judge:
        rule = baseline_rule(self.baseline, section, name, accept="", update=self.update)
        return Judge(deciders([[rule]]))

    def _around(self) -> None:
        judge = self._judge("around", COLLECTION)
        for finding in judge.judge("call", evidence(self.suite.collection)):
            self.assembly.breach(f"execprobe::{COLLECTION}", ReportedBreach(finding.headline, late=True))
        self._use("around", COLLECTION, judge, "")
        self.units.append(Unit("collection", COLLECTION, records=judge.seen.records))

    def _try(self, name: str, one: Try, number: str, *, is_last: bool) -> bool:
        """Whether it is to be tried again."""
        judge = self._judge("tests", name)
        reports = OUTCOMES[one.outcome]
        interrupted = "teardown" not in reports
        found: list[ReportedBreach] = []
        shown: dict[Phase, str] = {}
        for phase in ("setup", "call", "teardown"):
            ends_here = interrupted and phase not in reports
            if phase not in reports and not ends_here:
                continue
            lost = one.lost and phase == "setup"
            asked = ends_here or phase != "setup"
            findings = judge.judge(phase, evidence(one.ran.get(phase, {}), lost=lost), baseline=asked)
            news = [
                ReportedBreach(item.headline or f"cannot tell {item.question}", "", item.holds is None)
                for item in findings
            ]
            if ends_here:
                found += [replace(item, late=True) for item in news]
                break
            shown[phase] = reports[phase]
            excused = one.outcome in EXPECTED and all(item.holds is False for item in findings)
            if news and not excused:
                found += news
                shown[phase] = "failed" if phase == "call" else "error"
        again = self._report(name, shown, found, is_last=is_last or interrupted)
        self._use("tests", name, judge, number)
        self.broken_off |= interrupted
        self.units.append(Unit("test", name, outcome=_whole(shown), records=judge.seen.records, lost=int(one.lost)))
        return again

    def _report(self, name: str, shown: dict[Phase, str], found: list[ReportedBreach], *, is_last: bool) -> bool:
        """As pytest-rerunfailures does: nothing of a try is reported after its first failure if there is another."""
        if shown:
            self.assembly.begin_try(None, name, None, None)
        again = False
        for phase in [*shown]:
            if again:
                del shown[phase]
                continue
            again = shown[phase] in ("failed", "error") and not is_last
            if again:
                shown[phase] = "rerun"
            self.assembly.outcome(None, name, phase, shown[phase])
        for breach in found:
            self.assembly.breach(name, breach)
        return again

    def _use(self, section: Section, name: str, judge: Judge, number: str) -> None:
        used = self.baseline.usage(judge.seen, self.baseline.rows(section, name)).counts
        missing = {MISSING: judge.seen.missing or 0} if judge.seen.missing else {}
        self.totals.use(section, name, {**used, **missing}, attempt=number)

    @property
    def course(self) -> closing.Course:
        beyond, before = self.assembly.found(closing.is_beyond)
        undecided, _ = self.assembly.found(closing.is_undecided)
        outcomes = self.assembly.outcomes()
        hindrance = "the run was broken off, or had no tests" if self.broken_off or not outcomes else ""
        return closing.Course(outcomes, beyond, before, undecided, hindrance)

    def summary(self) -> str:
        """What is said at the end; an update is written."""
        settings = Settings(baseline=self.baseline, invocation=Invocation())
        end = closing.Closing(self.baseline, settings, self.totals, self.course, {}, Former({}, ()))
        return "\n".join(end.rewritten() if self.update else end.compared())

    @property
    def document(self) -> Document:
        return Document((Run("cafe", "pytest", exit_status=2 if self.broken_off else 0),), tuple(self.units))


def evidence(ran: dict[str, int], *, lost: bool = False) -> Evidence:
    return Evidence(tuple(each(ran)), lost=(Lost(0, False),) if lost else ())


def each(ran: dict[str, int]) -> Iterator[ExecRecord]:
    for program, count in ran.items():
        yield from (record(program) for _ in range(count))


def _whole(shown: dict[Phase, str]) -> str | None:
    order = ("failed", "error", "rerun", "xfailed", "xpassed", "skipped", "passed")
    found = next((outcome for outcome in order if outcome in shown.values()), "error")
    return None if found == "passed" and "call" not in shown else found


# ---- suites and baselines ----

PROGRAMS = ("git", "ls", "sh")
counts = st.dictionaries(st.sampled_from(PROGRAMS), st.integers(1, 3), max_size=2)
tries = st.builds(
    Try,
    st.sampled_from([*OUTCOMES] + ["passed", "failed"] * 6),
    st.dictionaries(st.sampled_from(["setup", "call", "teardown"]), counts, max_size=3),
    st.sampled_from([False] * 9 + [True]),
)


def only_last_lost(those: list[Try]) -> tuple[Try, ...]:
    """What is lost is a matter of chance. In an update it is no error, so that no other try would follow."""
    return tuple(replace(one, lost=one.lost and number == len(those)) for number, one in enumerate(those, 1))


NAMES = [f"test_it.py::test_{letter}" for letter in "ab"]
suites = st.builds(
    Suite, st.fixed_dictionaries({name: st.lists(tries, max_size=3).map(only_last_lost) for name in NAMES}), counts
)
limits = st.integers(0, 3).map(str) | st.just('"any"') | st.sampled_from(["[0, 1]", "[1, 3]"])
tables = st.dictionaries(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(PROGRAMS), limits, min_size=1))


def written(rows: dict[str, dict[str, str]]) -> str:
    lines = ["version = 1", "[tests]", "[around]"]
    for name, row in rows.items():
        lines += [f'[tests."{name}"]', *(f"{program} = {limit}" for program, limit in row.items())]
    return "\n".join(lines) + "\n"


# ---- the properties ----


@pytest.fixture(autouse=True, scope="module")
def _waits_for_no_disk() -> Iterator[None]:
    """Thousands of baselines are written here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(originals, "fsync", lambda descriptor: None)  # noqa: ARG005
        yield


@settings(max_examples=150)
@given(suites, tables)
def test_every_verdict_can_be_satisfied_by_the_command_that_it_offers(
    suite: Suite, rows: dict[str, dict[str, str]]
) -> None:
    event(check_that_the_command_helps(suite, rows))


RAN = ({"git": 2}, {"git": 1}, {})
LATER = ({"git": 3}, {"ls": 1}, {})


@pytest.mark.parametrize("first", OUTCOMES)
@pytest.mark.parametrize(
    "tries",
    [[*zip(RAN, LATER, strict=True)], pytest.param([*itertools.product(RAN, LATER)], marks=pytest.mark.long)],
    ids=["each", "all"],
)
def test_every_pair_of_outcomes(first: str, tries: list[tuple[dict[str, int], dict[str, int]]]) -> None:
    """What a random choice could miss: a test that runs more, less or nothing, in each of two tries."""
    for second, (ran, later) in itertools.product(OUTCOMES, tries):
        suite = Suite({NAMES[0]: (Try(first, {"setup": ran}), Try(second, {"setup": later, "teardown": ran}))})
        check_that_the_command_helps(suite, {NAMES[0]: {"git": "1", "sh": "1"}})


def check_that_the_command_helps(suite: Suite, rows: dict[str, dict[str, str]]) -> str:
    """Returns what the first run was told."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "execs.toml")
        path.write_text(written(rows))
        before = read_baseline(path)
        first = Model(suite, before, update=False).run()
        said = first.summary()
        offered = "--execprobe-update" in said
        assert offered or not first.course.beyond or first.course.hindrance
        assert not (offered and first.course.hindrance)
        again = Model(suite, before, update=True).run()
        if not again.course.hindrance:
            again.summary()
        after = read_baseline(path)
        if offered:
            second = Model(suite, after, update=False).run()
            assert not second.course.beyond, said
            assert "--execprobe-update" not in second.summary()
            assert not gate(second.document, after, budget_only=True).exceeded
        check_that_no_row_is_lost(before, after, again)
        check_that_no_row_is_more_than_the_last_try(after, again)
        return f"beyond: {bool(first.course.beyond)}, a command is offered: {offered}"


def check_that_no_row_is_lost(before: Baseline, after: Baseline, run: Model) -> None:
    """Of none but a test whose last try ran to its end as it should have, and that was recorded as a whole."""
    for name, rows in before.sections["tests"].items():
        last = [unit for unit in run.units if unit.name == name][-1:]
        if last and last[0].outcome == "passed" and not last[0].lost and not run.course.hindrance:
            continue
        left = after.sections["tests"].get(name, Rows({})).limits
        for key, limit in rows.limits.items():
            kept = left[key]
            assert kept.most is None or (limit.most is not None and kept.most >= limit.most), (name, key)


def check_that_no_row_is_more_than_the_last_try(after: Baseline, run: Model) -> None:
    """Where that was as it should be: earlier ones leave nothing in the rows."""
    for name in () if run.course.hindrance else run.suite.tests:
        last = [unit for unit in run.units if unit.name == name][-1:]
        if last and last[0].outcome == "passed" and not last[0].lost:
            limits = after.rows("tests", name).limits.items()
            plain = {key: limit.most for key, limit in limits if limit.most is not None and limit.least is None}
            assert plain == {key: last[0].programs[key] for key in plain}


@settings(max_examples=150)
@given(suites, tables)
def test_the_run_and_the_gate_find_the_same(suite: Suite, rows: dict[str, dict[str, str]]) -> None:
    """Save what an xfail excuses in the run, for the gate knows no excuse."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "execs.toml")
        path.write_text(written(rows))
        baseline = read_baseline(path)
    run = Model(suite, baseline, update=False).run()
    if run.broken_off:
        assert gate(run.document, baseline).status is not GateStatus.WITHIN
        return
    found = {finding.name for finding in gate(run.document, baseline).exceeded}
    told = {name.removeprefix("execprobe::") for name in run.course.beyond}
    excused = {name for name, those in suite.tests.items() if any(one.outcome in EXPECTED for one in those)}
    assert found - excused == told - excused
    assert told <= found
