"""What there is to say of a baseline when a run is over, and to write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import gate
from .._util.text import printable
from ..baseline.changes import Seen, moved
from ..baseline.model import BEYOND, SECTIONS, WITHIN, Baseline, Section, few, table_name
from ..report import model as stored
from ..report.model import Document
from . import summary
from .collected import Former
from .settings import Settings
from .totals import MISSING, LateBreach, Totals

#: Outcomes of tests that are as they should be, although their calls need not have run to their end.
_EXPECTED = ("skipped", "xfailed", "xpassed")
_ALL_WITHIN = "no test is beyond it"


@dataclass(frozen=True)
class Course:
    """How a run went, as far as its baseline is concerned."""

    #: How each test came out at last, by node id.
    outcomes: Mapping[str, str | None]
    #: What is beyond the baseline: tests, fixtures and the like, by name.
    beyond: Sequence[str] = ()
    #: What was beyond it only in a try that another one has followed.
    before: Sequence[str] = ()
    #: What may be beyond it.
    undecided: Sequence[str] = ()
    #: Why such a run would write nothing with --execprobe-update, "" if it would.
    hindrance: str = ""
    #: How many tests there were to run, and how many of them were not run to their end.
    left: tuple[int, int] = (0, 0)
    #: Whether tests were set up and not called.
    set_up_only: bool = False
    #: What is beyond it, and was expected to fail.
    excused: Sequence[str] = ()
    #: Whether a worker has ended before it had sent what its tests left behind.
    lost_worker: bool = False


def is_beyond(breach: stored.ReportedBreach) -> bool:
    """Whether a test, or the like, has run what a baseline does not allow, whatever else is wrong with it."""
    return any(line.startswith(BEYOND) for line in (breach.headline, *breach.text.splitlines()))


def is_undecided(breach: stored.ReportedBreach) -> bool:
    """Whether that can't be told."""
    said = f"cannot tell {WITHIN}"
    return any(line.startswith(said) for line in (breach.headline, *breach.text.splitlines()))


def beyond_sums(document: Document, baseline: Baseline) -> Iterator[LateBreach]:
    """What is beyond the limits of the run as a whole, and of packages."""
    found: dict[tuple[str, bool | None], list[gate.BudgetFinding]] = {}
    for finding in gate.judge_sums(document, baseline):
        found.setdefault((finding.name, finding.excess.holds), []).append(finding)
    for (name, holds), findings in found.items():
        if holds is False:
            headline = f"{BEYOND}: {'; '.join(finding.excess.what for finding in findings)}"
        else:
            headline = "cannot tell whether it is within the baseline: records are missing"
        text = [f"{headline} ({name})"]
        text += [f"  {finding.excess.key or 'most'}   {finding.who}" for finding in findings if finding.names]
        table = "total" if name == gate.TOTAL else f'packages."{name}"'
        text += [f"  if this is right: raise it in {baseline.path.name}, at [{table}]"] if holds is False else []
        yield LateBreach.around(f"baseline of {name}", headline, "\n".join(text), undecided=holds is None)


def shared_names(baseline: Baseline, settings: Settings, collected: Mapping[str, Any]) -> Iterator[LateBreach]:
    """Tests that a baseline can't tell apart, because one has in its parameters what stands for a folder of another."""
    has_names = settings.update is not None or baseline.has("tests")
    for name, nodeids in collected.get("shared", {}).items() if has_names else ():
        headline = f"{baseline.path.name} has one name for several tests: {name}"
        fix = "  Fix   give their parameters ids: pytest.param(..., id=...)"
        text = "\n".join([headline, *(f"  test  {nodeid}" for nodeid in nodeids), fix])
        yield LateBreach.around(f"baseline of {name}", headline, text, undecided=True)


def of_another_root(baseline: Baseline, places: Sequence[str], root: Path) -> str:
    """Why a baseline is not that of this run, "" if it may be."""
    if not places:
        return ""
    there = f"{printable(places[0])}, which is in {baseline.path.parent} and not in {root}"
    return f"{baseline.path.name} names {there}: its names begin at another root directory"


def another_root(why: str) -> Iterator[LateBreach]:
    """A run by names that mean other tests, or none."""
    if why:
        fix = "  Fix   run them from above all (--rootdir), or with a baseline of their own; or take the tables out"
        yield LateBreach.around("baseline of another root", why, f"{why}\n{fix}", undecided=True)


def outside(baseline: Baseline, names: Sequence[str]) -> str:
    """Why a baseline can't have the names of some tests, "" if there are none such."""
    beside = f"outside of the root directory, and {baseline.path.name} has tests that are in it"
    return f"{few(map(printable, names))}: {beside}, of which some may have such names" if names else ""


def idle(baseline: Baseline, wrong: Mapping[str, str]) -> Iterator[LateBreach]:
    """Limits of packages that limit nothing, and why."""
    for name, why in wrong.items():
        headline = f'packages."{name}" in {baseline.path.name} limits nothing: {why}'
        fix = "  Fix   name a folder, a file or a class as node ids do (tests/release), or take the table out"
        yield LateBreach.around(f"baseline of {name}", headline, f"{headline}\n{fix}", undecided=True)


@dataclass(frozen=True)
class Closing:
    """A baseline at the end of a run. ``gone`` are its stale tables."""

    baseline: Baseline
    settings: Settings
    totals: Totals
    course: Course
    gone: Mapping[Section, Sequence[str]]
    former: Former

    def compared(self) -> list[str]:
        """The summary of a run that was judged by it."""
        assert self.settings.invocation is not None, "read wherever there is a baseline"
        accept = self.settings.invocation.again("--execprobe-update")
        baseline, course, used, outcomes = self.baseline, self.course, self.totals.used, self._outcomes
        tests = used.get("tests", {})
        passed = {name for name in outcomes if outcomes[name] == "passed" and MISSING not in tests.get(name, {})}
        lowers_none = course.hindrance or course.lost_worker
        return [
            f"{'baseline':<16}{baseline.path.name}: {self._verdict(accept)}",
            *summary.tried_again(course.before),
            *(f"{'moved':<16}{row}" for row in moved(used, baseline, passed)),
            *summary.former(self.former, accept),
            *summary.obsolete(self.gone, used, baseline),
            *([] if lowers_none else summary.fewer(used, self.totals.used_unseen, baseline, outcomes)),
            *summary.unseen(self.totals.used_unseen, baseline),
        ]

    def _verdict(self, accept: str) -> str:
        course = self.course
        if course.beyond or course.excused:
            hindrance = "" if course.set_up_only else course.hindrance  # the command calls the tests
            accepts = f"; if what ran is right: {accept}"
            advice = f", and an update would write nothing: {hindrance}" if hindrance else accepts
            expected = f" ({len(course.excused)} expected to fail, which execprobe gate does not excuse)"
            count = len(course.beyond) + len(course.excused)
            return f"{count} beyond it{expected if course.excused else ''}{advice}"
        if self.totals.recorded == 0:
            return "NOT CHECKED, for no test was recorded"
        if course.set_up_only:
            return "NOT CHECKED, for no test was called"
        if course.undecided:
            return f"{len(course.undecided)} may be beyond it, and none is for certain"
        wanted, left = course.left
        return f"no test is beyond it, and {left} of {wanted} were not run to their end" if left > 0 else _ALL_WITHIN

    def rewritten(self) -> list[str]:
        """Rewrites it, and returns the summary. Raises OSError, or BaselineError if it was damaged meanwhile."""
        from ..baseline.update import rewrite

        baseline, outcomes, seen = self.baseline, self._outcomes, self._seen()
        # A part of a suite removes nothing: what it does not run may have moved.
        gone = {} if self.totals.collected.get("partial") else self.gone
        only_add = self.settings.update == "add"
        changes = rewrite(baseline, seen, gone, renamed=self.former.names, only_add=only_add)
        broken_off = [name for section in SECTIONS for name, what in seen[section].items() if not what.whole]
        broken_off += [name for name, outcome in outcomes.items() if outcome != "passed"]
        expected = [name for name in broken_off if outcomes.get(name) in _EXPECTED]
        failed = dict.fromkeys(name for name in broken_off if name not in expected)
        # A test that passed is among them because not all of it is known, and so may be what is no test.
        of_others = "passed" if self.totals.lost or self.totals.why else None
        unrecorded = [name for name in failed if outcomes.get(name, of_others) == "passed"]
        failed = dict.fromkeys(name for name in failed if name not in unrecorded)
        kept = dict.fromkeys(name for name in expected if name in baseline.sections.get("tests", ()))
        return [
            *summary.updated(baseline.path, changes, [*failed], unrecorded, [*kept]),
            *summary.not_renamed(self.former),
        ]

    @property
    def _outcomes(self) -> dict[str, str | None]:
        """How each test came out, by the name that its own table has."""
        return {table_name(name): outcome for name, outcome in self.course.outcomes.items()}

    def _seen(self) -> dict[Section, dict[str, Seen]]:
        """What the run says of each row. What ran has run, so it adds and raises rows in any case; rows are lowered and
        removed by what ran to its end as it should have, and of which all is known."""
        outcomes, totals = self._outcomes, self.totals
        besides = totals.used_by_chance, totals.used_unseen
        seen: dict[Section, dict[str, Seen]] = {section: {} for section in SECTIONS}
        for section in SECTIONS:
            for name, used in totals.used.get(section, {}).items():
                is_known = MISSING not in used and not self.course.lost_worker
                whole = is_known and (section != "tests" or outcomes.get(name) == "passed")
                rows = {key: count for key, count in used.items() if key != MISSING}
                by_chance, left_out = (group.get(section, {}).get(name, {}) for group in besides)
                seen[section][name] = Seen(rows, by_chance, left_out, whole)
        return seen
