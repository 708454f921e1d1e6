"""Where a run is recorded: every exec has an owner, and is added up once.

What belongs to no phase of a test that is still running is judged here too: what tests left behind detached, and what
runs around them.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

from .._util import originals
from .._util.text import printable
from ..baseline.model import COLLECTION, OUTSIDE, Section, table_name
from ..log.ends import signal_name
from ..report.collect import Gatherer
from ..rules.judge import Judge, RuleFinding
from ..rules.precedence import deciders
from ..rules.rule import PHASES, Rule, baseline_rule
from ..rules.text import Problem
from ..timeline.crashes import is_crash
from ..timeline.entry import Entry
from ..timeline.evidence import Evidence
from ..timeline.record import ExecRecord, Phase
from ..timeline.recorder import Recorder
from ..timeline.spans import Owner
from .handover import HANDED_OVER, Handover, key_of, meaning_of
from .settings import Settings
from .takeover import Takeover
from .totals import MISSING, LateBreach, Totals, alike, program_of
from .unphased import ELSEWHERE, Elsewhere, of_any_phase

if TYPE_CHECKING:
    from ..report.model import UnitKind


class Strays:
    """``judge_of`` makes the rules of an item."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        recorder: Recorder,
        judge_of: Callable[[pytest.Item], Judge],
    ) -> None:
        self._config = config
        self._settings = settings
        self._recorder = recorder
        self._judge_of = judge_of
        #: What the next report will bring.
        self.totals = Totals()
        #: How many tests have been recorded since the last export.
        self.recorded = 0
        self._is_judging = False  # and the totals have that
        self._protocol: Owner | None = None  # of the test whose phases are to come
        self._elsewhere: MutableMapping[Owner, Elsewhere] = WeakKeyDictionary()  # tests whose phases ran there
        self._around = {name: self._judge_around(name) for name in (COLLECTION, OUTSIDE)}
        #: What goes into a report, if there is to be one.
        self.gatherer = Gatherer(str(config.rootpath))
        #: To another pytest's run, if this process runs tests for one; and what others have run for this.
        self.handover: Handover | None = None
        self.takeover = Takeover(settings, lambda item: meaning_of(item, judge_of(item)))
        self._outside = Owner(OUTSIDE, is_test=False, began=0)
        self._broken_off = False
        #: Of tests that have rules about how that ends: what they have left behind, by the phase in which it was begun.
        self._left_behind: dict[tuple[Owner, Phase], list[Entry]] = {}

    def _judge_around(self, name: str) -> Judge:
        """What runs around tests has no marker: of the suite's rules those that forbid apply, and the baseline."""
        wide = (self._settings.command_line, self._settings.ini)
        forbidding = [[rule for rule in level if rule.kind == "deny"] for level in wide]
        return Judge(deciders([*forbidding, self.baseline_rules("around", name)]))

    def baseline_rules(self, section: Section, name: str) -> list[Rule]:
        """What the baseline says of a test, a fixture or the collection, if there is one."""
        settings = self._settings
        if settings.baseline is None:
            return []
        assert settings.invocation is not None
        test = self._given(name) if section == "tests" else None
        accept = settings.invocation.again("--execprobe-update", test)
        update = settings.update is not None
        return [baseline_rule(settings.baseline, section, self._portable(name), accept=accept, update=update)]

    def _given(self, nodeid: str) -> str:
        """What pytest is given to run a test, from where it was started."""
        assert self._settings.folders is not None, "read wherever there is a baseline"
        file, colons, names = self._settings.folders.ungrouped(nodeid).partition("::")
        return f"{originals.relpath(self._config.rootpath / file, self._config.invocation_params.dir)}{colons}{names}"

    def _portable(self, name: str) -> str:
        """What the baseline calls a test, or the like."""
        assert self._settings.folders is not None, "read wherever there is a baseline"
        return self._settings.folders.portable(name)

    def use(self, section: Section, name: str, judge: Judge, *, whole: bool = True, attempt: str = "") -> None:
        """Notes for the baseline what a test, or the like, has run so far; not ``whole`` if it was broken off.
        ``attempt`` is the try of a test."""
        baseline = self._settings.baseline
        if baseline is None:
            return
        name, evidence = self._portable(name), judge.seen
        read = baseline.usage if self._settings.update is None else baseline.accepted
        usage = read(evidence, baseline.rows(section, name))
        missing = 1 if evidence.missing is None else evidence.missing
        missing += usage.unsure.total() + (not whole)
        by_chance = baseline.usage(judge.seen_too_late, baseline.rows(section, name)).counts
        unseen = baseline.usage(Evidence(evidence.left_out), baseline.rows(section, name))
        used = {**usage.counts, **({MISSING: missing} if missing else {})}
        left_out = unseen.counts + unseen.unsure
        self.totals.use(section, table_name(name), used, by_chance, left_out, attempt=attempt)

    def supersede(self, name: str, attempt: str | None = None) -> None:
        """A test is tried again: the rows that this try of it, or those of other processes, used do not count."""
        if self._settings.baseline is not None:
            table = table_name(self._portable(name))
            for one in self.takeover.tries.pop(table, ()) if attempt is None else (attempt,):
                self.totals.supersede(table, one)

    def enter(self, owner: Owner, item: pytest.Item, judge: Judge | None = None) -> None:
        """From now on an owner's execs are a test's: those of its phases, or without a judge all that it runs."""
        owner.held, owner.judge = item, judge
        if judge is None:
            self._protocol = owner
            return
        if self._protocol is not None and self._protocol.held is item:
            self._protocol.is_around = True
        if judge.is_any and not self._is_judging:
            self._is_judging = self.totals.judged = True

    def hand_over(self, handover: Handover) -> None:
        """From now on what is judged here is another process's to report."""
        self.handover, self.gatherer = handover, Gatherer(str(self._config.rootpath), handover.process)
        self._around = {name: self._judge_around(name) for name in self._around}
        self._left_behind.clear()

    def take_over(self, exported: dict[str, Any]) -> None:
        """What another process has exported: a forked child, or one that hands over."""
        taken = self.takeover.accept(exported)
        self.recorded += taken.pop("recorded", 0)
        self._is_judging |= taken.get("judged", False)
        self.totals.take(taken)
        if HANDED_OVER in taken:
            if self.handover is not None:
                self.handover.add(taken[HANDED_OVER])
            protocol = self._protocol
            if protocol is not None and protocol.held.nodeid in self.takeover.tests:
                protocol.is_around = True  # what it runs besides is none of its phases

    def look_for_handed_over(self) -> None:
        """What pytests have left that were started for tests of this run."""
        for exported in self.takeover.found():
            self.take_over(exported)

    def _may_be_handed_over(self, entry: Entry) -> bool:
        """Whether an exec is of no test that this process has run."""
        owner = entry.stray_of or entry.owner
        return owner is None or owner.is_around or (owner.held is not None and owner.judge is None)

    def counting(self, item: pytest.Item, evidence: Evidence) -> Evidence:
        """What counts for the rules of a test: all that no hook objects to, and that they have not killed."""
        if not self._config.hook.pytest_execprobe_record.get_hookimpls():
            return evidence

        def dropped(record: ExecRecord) -> bool:
            answer = item.ihook.pytest_execprobe_record(record=record, item=item)
            is_dropped = answer is False and not record._lineage.enforced
            if is_dropped and self._settings.gathers:
                self.gatherer.uncounted(record)
            return is_dropped

        try:
            return evidence.without(dropped)
        except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:
            why = f"the hook pytest_execprobe_record has failed: {type(error).__name__}: {error}"
            return replace(evidence, unknown=(*evidence.unknown, why), filtered=True)

    def take_new(self, *, at_end: bool = False) -> None:
        """Adds up what is new, and judges strays and what runs around tests."""
        if self._recorder.forked or not (self._recorder.timeline.has_new or (at_end and self.takeover.holds_any)):
            return  # its parent sees it all
        try:
            self._take_new(at_end=at_end)
        except BaseException:
            self._broken_off = True  # what has been counted, and judged, by then is not known
            raise

    def _take_new(self, *, at_end: bool) -> None:
        strays: dict[tuple[Owner, Phase | None], list[Entry]] = {}
        around: dict[str, list[Entry]] = {}
        self.look_for_handed_over()
        new = self.takeover.left(self._recorder.take_new(), self._may_be_handed_over, key_of, at_end)
        if self.handover is not None:
            new = self.handover.count(new)
        counted = new
        if self._settings.ignore:
            ignored = set(filter(self._is_ignored, new))
            self.totals.ignored.update(map(program_of, ignored))
            counted = [entry for entry in new if entry not in ignored]
        if self._settings.sums_up:
            for same in alike(counted):
                self.totals.add(same[0], len(same), files=self._settings.audit)
        if self._settings.gathers:
            for entry in counted:
                self._gather(entry)
        self._count_all_killed()
        for entry in new:
            left_by = self._left_by(entry)
            if left_by is not None:
                begun_in = None if entry.begun_in is None else entry.begun_in.phase
                if begun_in is None and left_by not in self._elsewhere:
                    begun_in = "call"
                strays.setdefault((left_by, begun_in), []).append(entry)
            elif entry.owner is None or entry.owner.is_around:
                around.setdefault(OUTSIDE, []).append(entry)
            elif entry.owner.name == COLLECTION:
                around.setdefault(COLLECTION, []).append(entry)
        for (owner, phase), entries in strays.items():
            self._judge_left_behind(owner, phase, entries)
        for name, entries in around.items():
            evidence = self._evidence(entries)
            judge = self._around[name]
            problem = self._late(judge.judge("call", evidence), evidence, name)
            self.use("around", name, judge)
            if problem is not None:
                what = problem.headline, problem.in_full
                self.totals.breaches.append(LateBreach.around(name, *what, undecided=problem.undecided))

    def ran_elsewhere(self, owner: Owner, evidence: Evidence, until: int | None) -> None:
        """The phases of a test ran in another process, which has judged all up to a moment."""
        self._elsewhere[owner] = Elsewhere(evidence, until)

    def _left_by(self, entry: Entry) -> Owner | None:
        """The test that has left behind what this is of: of one that ran elsewhere also before that is seen here."""
        known = None if entry.owner is None else self._elsewhere.get(entry.owner)
        return entry.stray_of if known is None or known.has_judged(entry.event.entered) else entry.owner

    def _judge_left_behind(self, owner: Owner, phase: Phase | None, entries: list[Entry]) -> None:
        """What a test has left behind, and in which phase it had begun that, if that is known."""
        item: pytest.Item = owner.held
        judge: Judge = owner.judge or self._judge_of(item)
        owner.judge = judge
        if judge.is_any and not self._is_judging:
            self._is_judging = self.totals.judged = True
        for one in PHASES if phase is None else (phase,):
            if judge.asks_for_ends(one):
                self._left_behind.setdefault((owner, one), []).extend(entries)
        if not any(map(judge.concerns, PHASES if phase is None else (phase,))):
            return
        evidence = self.counting(item, self._evidence(entries))
        if phase is None:
            judges = self._elsewhere[owner].judges(lambda: self._judge_of(item))
            judge = judges["call"]
            found = of_any_phase(judges, evidence, ELSEWHERE, left_behind=True)
        else:
            found = judge.judge(phase, evidence, left_behind=True)
        self.use("tests", item.nodeid, judge, attempt=owner.attempt)
        of_rows = [one for one in found if one.rules[0].kind == "baseline"]
        of_rules = [one for one in found if one not in of_rows]
        for those, attempt in ((of_rules, ""), (of_rows, owner.attempt)):
            problem = self._late(those, evidence, "left behind")
            if problem is not None:
                self.late(item, problem, attempt)

    def _count_all_killed(self) -> None:
        for entry in self._recorder.take_killed():
            is_told = entry.event.stopped or self._is_ignored(entry) or self.takeover.has_counted(entry)
            if not is_told and entry.status is not None:
                self._count_killed(entry.stray_of or entry.owner, program_of(entry), entry.status)
        for owner, status in self._recorder.take_killed_forks():
            self._count_killed(owner, "a fork of Python", status)

    def _count_killed(self, owner: Owner | None, what: str, status: int) -> None:
        if is_crash(status) or self._settings.audit:
            group = self.totals.crashes if is_crash(status) else self.totals.killed
            Totals.count(group, owner.name if owner else OUTSIDE, f"{what} by {signal_name(status & 0x7F)}")

    def _judge_ends(self) -> None:
        """How that has ended which tests have left behind."""
        for (owner, phase), entries in self._left_behind.items():
            evidence = self.counting(owner.held, self._evidence(entries))
            problem = self._late(owner.judge.judge_ends(phase, evidence), evidence, "left behind")
            if problem is not None:
                self.late(owner.held, problem)
        self._left_behind.clear()

    def _is_ignored(self, entry: Entry) -> bool:
        return bool(self._settings.ignore) and entry.record is not None and self._recorder.is_ignored(entry.record)

    def late(self, item: pytest.Item, problem: Problem, attempt: str = "") -> None:
        """What is found wrong with a test that has been reported; with ``attempt`` that try of it alone."""
        what = (problem.headline, problem.in_full, problem.undecided)
        self.totals.changes.update(dict.fromkeys(problem.changes))
        self.totals.breaches.append(LateBreach(item.nodeid, item.location, *what, attempt))

    def _gather(self, entry: Entry) -> None:
        """Puts an exec into the unit of the report that it counts for."""
        owner = entry.stray_of or entry.owner
        if owner is None or owner.is_around:
            owner = self._outside
        if self.gatherer.has(owner):
            pass
        elif owner.held is not None:
            self.gather_test(owner, owner.held)
        else:
            kinds: dict[str, UnitKind] = {COLLECTION: "collection", OUTSIDE: "outside"}
            self.gatherer.unit(owner, kinds.get(owner.name, "fixture"))
        self.gatherer.exec(entry, owner, stray=entry.stray_of is not None)

    def gather_test(self, owner: Owner, item: pytest.Item) -> None:
        """Makes a test a unit of the report."""
        file, line, _ = item.location
        self.gatherer.unit(owner, "test", file, None if line is None else line + 1)

    def _evidence(self, entries: list[Entry]) -> Evidence:
        lost = tuple(entry.lost for entry in entries if entry.record is None)
        records: list[ExecRecord] = []
        ignored: list[ExecRecord] = []
        for entry in entries:
            if entry.record is not None:
                (ignored if self._is_ignored(entry) else records).append(entry.record)
        filtered = bool(self._settings.ignore)
        return Evidence(tuple(records), lost=lost, ignored=len(ignored), left_out=tuple(ignored), filtered=filtered)

    def _late(self, found: list[RuleFinding], evidence: Evidence, where: str) -> Problem | None:
        return Problem.of(found, evidence, evidence.start, where, self._recorder.style) if found else None

    def look_for_running(self) -> None:
        """At the end of the run, after the last synchronisation."""
        running, self.totals.more_running = self._recorder.running()
        for process, record in running:
            # Without an image it was forked by the process of the tests itself.
            known = (record and record.program) or process.comm or (None if process.image else "pytest")
            program = None if known is None else printable(known)
            self.totals.running.append([process.pid, program, process.own_exec, process.since])

    def finish(self) -> None:
        """Likewise, when nothing more is to be asked for."""
        if not self._recorder.was_armed:
            return
        self.take_new(at_end=True)
        self._judge_ends()
        losses, of_judged = self._recorder.losses(), self._recorder.losses(self._is_unjudged)
        if self._broken_off:
            why = "an exception broke in while the execs of a test were added up"
            losses, of_judged = (replace(one, unknown=(*one.unknown, why)) for one in (losses, of_judged))
        is_judging = self._is_judging or any(judge.is_any for judge in self._around.values())
        judged = bool(of_judged.why) and is_judging
        if losses.why and (judged or self._settings.whole_run):
            self.totals.unknown.update(dict.fromkeys(losses.unknown))
            for gap in losses.gaps:
                self.totals.gaps[gap.why] += gap.most or 0
            if judged:
                self.totals.breaches.append(LateBreach.of_the_rest(of_judged.why))
        if missing := self.takeover.missing:
            self.totals.unknown.update(dict.fromkeys(missing))
            if is_judging:
                self.totals.breaches.append(LateBreach.of_the_rest(missing))

    def _is_unjudged(self, owner: Owner) -> bool:
        return owner.held is not None and not (owner.judge or self._judge_of(owner.held)).is_any

    def forget(self) -> None:
        """In a forked child: what its parent has not exported yet, its parent will. Numbers are its own from now on."""
        self.totals, self.recorded = Totals(), 0
        self.gatherer = Gatherer(str(self._config.rootpath), f"{originals.getpid()}-{originals.random_hex(8)}")

    @property
    def has_new(self) -> bool:
        """Whether there can be anything to export besides how many tests were recorded."""
        return self.gatherer.has_new or not self.totals.is_empty or self.handover is not None

    def export(self) -> dict[str, Any]:
        """What is new, as plain data; from then on it is no longer new."""
        exported: dict[str, Any] = {}
        if self.gatherer.has_new or not self.totals.is_empty:  # most tests have none
            gathered = self.gatherer.export()
            self.totals.gathered += [gathered] if gathered else []
            exported, self.totals = self.totals.export(), Totals()
        if self.recorded:
            exported["recorded"], self.recorded = self.recorded, 0
        if self.handover is not None and self.handover.by_reports:
            exported[HANDED_OVER] = self.handover.export()
        return exported
