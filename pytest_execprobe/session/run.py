"""What the hooks of a run that probes share: the recorder, the test that is running, and the rules that apply to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

import pytest

from .._util.text import Style, printable
from ..baseline.model import Section
from ..errors import ProbeUnavailable, RuleUndecided
from ..log.pattern import ignoring
from ..rules.judge import Judge, RuleFinding
from ..rules.markers import MARKERS
from ..rules.precedence import deciders
from ..rules.rule import RuleError
from ..rules.text import Problem
from ..source.client import in_words
from ..source.connect import HelperSettings
from ..timeline.evidence import Evidence
from ..timeline.kinds import Kinds
from ..timeline.record import Phase
from ..timeline.spans import Owner
from ..timeline.windows import RecordedWindow
from .early import EarlyRun, recorder_of, required
from .enforcement import Enforcement
from .marks import Markers
from .reporting import Reporting
from .settings import Settings
from .strays import Strays
from .suite import denied, ignored_in_vain

if TYPE_CHECKING:
    Node = pytest.Item | pytest.Collector

#: The marks that are the plugin's, each with how far above a node it stands.
Marks = list[tuple[int, pytest.Mark]]
#: A node and what is above it, the closest first.
Line = tuple["Node", ...]
_OWN_MARKERS = attrgetter("own_markers")
_FINAL = frozenset(("passed", "failed", "skipped"))  # pytest's own outcomes of reports


@dataclass(eq=False)
class Wide:
    """A fixture of wider scope than a test, from its set-up to the judgement of its end."""

    node: Node
    key: str
    judge: Judge
    marks: Marks  # that have been read
    set_up: RecordedWindow | None = None  # once it has been judged
    is_refused: bool = False  # for what it denies can't be enforced


@dataclass
class EndedFixture:
    """A wider fixture that has been set up, or ended, in the phase that is running."""

    wide: Wide
    window: RecordedWindow
    phase: Phase
    key: str = ""
    failed: bool = False


@dataclass
class RunningTest:
    """The test that is running, and what is known of it so far."""

    item: pytest.Item
    thread: int
    judge: Judge
    line: Line
    marks: Marks  # that have been read
    every_mark: list[pytest.Mark]  # that was there then
    mark_ids: list[int]  # of those
    function: tuple[object, ...]  # that it is of
    owner: Owner | None = None  # of what it executes
    of_fixtures: tuple[Problem, ...] = ()  # which set up once, whoever is tried again
    fixtures: tuple[EndedFixture, ...] = ()
    unchecked: str | None = None  # why it is not, though it should be
    problems: dict[str, Problem] = field(default_factory=dict)
    unexpected: dict[str, None] = field(default_factory=dict)
    #: What its rules said when it began, and what its reports have failed for: to be handed over.
    meaning: list[object] | None = None
    failed_for: tuple[Problem, ...] = ()
    #: Whether a phase has begun, by its hook, that has not ended.
    is_in_phase: bool = False
    #: Whether its call is over.
    was_called: bool = False
    #: Whether an exception has ended a phase of it, whatever a hook of others has made of that.
    broken_off: bool = False
    #: What its reports have said, by phase.
    reported: dict[str | None, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether its reports have said to the end how it came out: if it is run once more, this run of it counts, too.
        A plugin that tries it again has an outcome of its own, or says nothing of a call."""
        said = self.reported
        was_called = "call" in said or said.get("setup") != "passed"
        return "teardown" in said and was_called and _FINAL.issuperset(said.values())

    @property
    def attempt(self) -> str:
        """Which try of it this is."""
        return "" if self.owner is None else self.owner.attempt

    def has_marks_of(self, line: Line) -> bool:
        """Whether these are all that there were when marks were last read. By identity: one may equal another that
        stands elsewhere."""
        return [*map(id, chain.from_iterable(map(_OWN_MARKERS, line)))] == self.mark_ids


class ProbedRun:
    """A run in which a test needs the probe, or the settings ask for one."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        helper: HelperSettings,
        markers: Markers,
        reporting: Reporting | None,
        early: EarlyRun | None = None,
    ) -> None:
        """``reporting`` is None in an xdist worker: it is its controller that reports."""
        self.config = config
        self.settings = settings
        self.reporting = reporting
        self._markers = markers
        self._early_error = None if early is None else early.error
        style = _style(config)
        if early is None:
            self.recorder = recorder_of(settings, helper, style)
        else:
            self.recorder = early.recorder
            self.recorder.reset(style, settings.timeout, ignoring(settings.ignore))
        self.strays = Strays(config, settings, self.recorder, self.judge_after)
        self.enforcement = Enforcement(self.recorder, settings.enforced)
        self.test: RunningTest | None = None
        self.last: RunningTest | None = None  # that has run, or is running
        self._judges: dict[object, tuple[Judge, object]] = {}  # of tests, by the ids of what is kept with them
        self._introduced = False
        self.may_gather, self.is_whole = settings.gathers, settings.whole_run
        #: Why there is no probe.
        self.refusal = "execprobe: switched off by --execprobe=off" if settings.mode == "off" else None
        self.connect()

    def connect(self) -> None:
        """At first, and where the last helper was lost."""
        if self.refusal is None:
            before = self.was_armed
            try:
                error, self._early_error = self._early_error, None
                if error is not None:
                    raise error  # it has just been tried
                self.recorder.ensure()
            except ProbeUnavailable as error:
                self.refusal = str(error)
                if self.settings.mode == "require" and not before:
                    raise pytest.UsageError(required(error)) from None
        if not self._introduced:
            self._introduced = True
            probe = in_words(self.recorder.description)
            if self.refusal:
                probe = f"no probe: {self.refusal.removeprefix('execprobe: ')}"
            self.strays.totals.probe = probe
            if self.reporting is not None:
                self.reporting.totals.probe = probe  # now, for the header

    @property
    def was_armed(self) -> bool:
        """Whether there has ever been a probe, or would have been but for another process."""
        return self.recorder.was_armed

    @property
    def is_unchecked(self) -> bool:
        """Whether there is no probe, and never was one."""
        return self.refusal is not None and not self.was_armed

    @property
    def gathers(self) -> bool:
        """Whether this process gathers a report; a forked child's parent sees all that it executes."""
        return self.may_gather and not self.recorder.forked

    def gather_window(self, owner: Owner, phase: Phase, window: RecordedWindow) -> None:
        assert window.end is not None
        self.strays.gatherer.span(owner, phase, window.start, window.end)
        if self.was_armed:  # else it is not checked, which is all that is known
            self.strays.gatherer.losses(owner, window.tally()[1])

    # ---- rules ----

    def begin(self, item: pytest.Item, thread: int) -> RunningTest:
        """A test, with the rules that apply to it. Those of a function's tests, with other parameters, are mostly the
        same: by the same marks."""
        former, function = self.last, of_function(item)
        if former is not None and function == former.function and self.settings.baseline is None:
            line = item, *former.line[1:]
            if former.has_marks_of(line):
                of_marks = former.marks, former.every_mark, former.mark_ids
                return RunningTest(item, thread, former.judge.fresh(), line, *of_marks, function)
        line = line_of(item)
        marks, every = marks_of(line), marks_along(line)
        return RunningTest(item, thread, self.judge_test(item, marks), line, marks, every, [*map(id, every)], function)

    def judge_test(self, item: pytest.Item, marks: Marks | None = None) -> Judge:
        """The rules that apply to a test."""
        if self.settings.baseline is not None:  # which has rows for each
            return self.judge(item, "tests", item.nodeid)
        marks = marks_of(line_of(item)) if marks is None else marks
        key: object = None
        if marks:  # those of one function's tests, with other parameters, are the same, save for the parameters' own
            key = (*of_function(item), *[(level, id(mark)) for level, mark in marks])
        if key not in self._judges:
            self._judges[key] = self.judge(item, "tests", item.nodeid), (item.parent, marks)
        return self._judges[key][0].fresh()

    def judge_after(self, item: pytest.Item) -> Judge:
        """The same when a test has run, or another process has run it. Where its rules can't be read its set-up has
        said so, and there are none."""
        try:
            return self.judge_test(item)
        except RuleUndecided:
            return Judge([])

    def judge(self, node: Node, section: Section, name: str, during: Phase | None = None) -> Judge:
        """The rules that apply to a test, or to a fixture that belongs to a node. ``during``: the phase in which marks
        have been added."""
        baseline = self.strays.baseline_rules(section, name)
        try:
            levels = self._markers.levels(node, during)
        except RuleError as error:  # a mark that was added after the collection
            raise RuleUndecided(printable(str(error))) from None
        if self.settings.ignore:  # likewise
            ignore = zip(self.settings.ignore, self.settings.ignore_spelt, strict=True)
            for why in ignored_in_vain(denied(rule for rules in levels for rule in rules), ignore):
                raise RuleUndecided(printable(why))
        return Judge(deciders([*levels, self.settings.command_line, self.settings.ini, baseline]))

    def judge_window(
        self,
        test: RunningTest,
        window: RecordedWindow,
        judge: Judge,
        phase: Phase,
        where: str,
        during: Phase | None = None,
        *,
        baseline: bool = True,
        last: bool = False,
    ) -> Problem | None:
        """What is wrong with a window, if rules are about it. ``last``: no other phase of the test will come."""
        if not judge.concerns(phase):
            return None
        evidence = self.strays.counting(test.item, window.evidence())
        if during is not None:
            evidence = evidence.begun_in(phase)
            if not evidence.records and not evidence.lost:
                return None
        found = judge.judge(phase, evidence, during, baseline=baseline)
        if last:  # an update of such a run would write nothing
            found = [replace(one, advice="") if one.rules[0].kind == "baseline" else one for one in found]
        return self._problem(test, found, evidence, window.start, where) if found else None

    def show(
        self, test: RunningTest, judge: Judge, phase: Phase, window: RecordedWindow, during: Phase | None = None
    ) -> None:
        """Has a judge see what ran in a phase that has ended."""

        def evidence() -> Evidence:
            known = self.strays.counting(test.item, window.evidence())
            return known if during is None else known.begun_in(phase)

        judge.show(phase, evidence, during)

    def judge_belated(self, test: RunningTest, judge: Judge, now: Phase | None, of: str = "") -> Problem | None:
        """What is wrong by rules that were added after what they are about."""
        problem = None
        for phase, during, evidence, found in judge.belated(now):
            where = of or (f"left running until {during}" if during else f"{phase} phase")
            problem = both(problem, self._problem(test, found, evidence, evidence.start, where))
        return problem

    def _problem(
        self, test: RunningTest, found: list[RuleFinding], evidence: Evidence, start: int, where: str
    ) -> Problem:
        test.unexpected.update(
            dict.fromkeys(
                printable(record.program or "?")
                for finding in found
                if finding.rules[0].kind != "budget"
                for record in Kinds(finding.marked, in_tree=False).first
            )
        )
        return Problem.of(found, evidence, start, where, self.recorder.style)


def _style(config: pytest.Config) -> Style:
    terminal = config.pluginmanager.get_plugin("terminalreporter")  # neither it nor its options are there without it
    columns: int = getattr(getattr(terminal, "_tw", None), "fullwidth", 80)
    return Style(int(config.getoption("verbose", 0)), str(config.rootpath), columns - len("E       "))


def of_function(item: pytest.Item) -> tuple[object, ...]:
    """Where it stands, its name without parameters, and which marks it has from those: an item's own list has them,
    too."""
    callspec = getattr(item, "callspec", None)
    marks = callspec.marks if callspec else ()
    return id(item.parent), getattr(item, "originalname", None) or item.name, *map(id, marks)


def line_of(node: Node) -> Line:
    return tuple(reversed(node.listchain()))  # type: ignore[arg-type]


def marks_along(line: Line) -> list[pytest.Mark]:
    """All that there are, the closest first."""
    return [*chain.from_iterable(map(_OWN_MARKERS, line))]


def marks_of(line: Line) -> Marks:
    return [(level, mark) for level, own in enumerate(map(_OWN_MARKERS, line)) for mark in own if mark.name in MARKERS]


def both(one: Problem | None, other: Problem | None) -> Problem | None:
    return one.and_also(other) if one and other else one or other
