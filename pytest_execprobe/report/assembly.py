"""Makes one document of what the gatherers of a pytest run have exported, and of how its tests came out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._util import clock, originals
from .._util.collector import postponed
from .._util.names import Folders
from .._util.redaction import in_force
from ..source.command import Command
from ..timeline.record import ExecRecord
from ..timeline.site import CallSite
from .json import id_of
from .model import OUTCOMES, Collection, Document, LeftRunning, ReportedBreach, Run, Unit, UnitKind
from .read import Records, read_command, read_site

#: Where parts come from: the worker, and which of the processes that it has taken over.
_Source = tuple[str | None, str]


@dataclass
class _Try:
    """One try of a test, as pytest's reports have it."""

    file: str | None
    line: int | None
    outcomes: list[str] = field(default_factory=list)
    called: bool = False
    over: bool = False
    odd: bool = False  # an outcome of some plugin's own
    breaches: list[ReportedBreach] = field(default_factory=list)

    @property
    def outcome(self) -> str | None:
        """What its phases make together: a failed call counts more than its passed teardown. None if it was set up and
        not called, as with --setup-only."""
        ends = ("failed", "error", "rerun", *(("xfailed", "xpassed", "skipped", "passed") if self.over else ()))
        found = next((outcome for outcome in ends if outcome in self.outcomes), "error")
        return None if found == "passed" and not self.called else found


@dataclass
class _Unit:
    worker: str | None
    kind: UnitKind
    name: str
    file: str | None
    line: int | None
    phases: dict[Any, tuple[int, int]] = field(default_factory=dict)
    records: list[ExecRecord] = field(default_factory=list)
    strays: list[ExecRecord] = field(default_factory=list)
    lost: int = 0
    unknown: dict[str, None] = field(default_factory=dict)
    gaps: Counter[str] = field(default_factory=Counter)
    superseded: bool = False  # a try of a test that another one has followed


class Assembly:
    """Where the run is reported. ``command`` is how it was started, ``started`` and ``start_ns`` when. ``folders`` have
    signs in the names of tests."""

    def __init__(
        self, command: Sequence[str] = (), started: str = "", start_ns: int = 0, folders: Folders | None = None
    ) -> None:
        self._portable = (folders or Folders()).portable
        self._id = originals.random_hex(8)
        self._command = tuple(command)
        self._started = started
        self._start = start_ns
        self._units: dict[tuple[_Source, int], _Unit] = {}
        self._tries: dict[tuple[str | None, str], list[_Try]] = {}
        self._commands: dict[_Source, list[Command]] = {}
        self._sites: dict[_Source, list[CallSite]] = {}
        self._records: dict[_Source, Records] = {}
        self._breaches: dict[str, list[ReportedBreach]] = {}
        self._uncounted: set[str] = set()

    def begin_try(self, worker: str | None, name: str, file: str | None, line: int | None) -> None:
        tries = self._tries.setdefault((worker, name), [])
        if tries and (not tries[-1].over or tries[-1].odd or tries[-1].outcome is None):
            tries[-1].outcomes.append("rerun")  # without a report that says so
        tries.append(_Try(file, line))

    def outcome(self, worker: str | None, name: str, when: str, outcome: str, *, whole: bool = False) -> None:
        """How a phase of a test's last try came out. One without its teardown was broken off, unless a crash of it was
        expected: pytest-forked has one report, of no phase, of a test whose process was killed. ``whole``: another
        process has run the test to its end, and there need be no report of more than its call."""
        tries = self._tries.setdefault((worker, name), [])
        if not tries:
            tries.append(_Try(None, None))
        if when == "call" and (tries[-1].odd or "rerun" in tries[-1].outcomes):  # its set-up has no report
            self.begin_try(worker, name, tries[-1].file, tries[-1].line)
        tries[-1].odd |= outcome not in OUTCOMES
        tries[-1].outcomes.append("skipped" if tries[-1].odd else outcome)  # neither passed nor excused
        tries[-1].called |= when == "call"
        tries[-1].over |= when == "teardown" or whole or (when not in ("setup", "call") and outcome == "xfailed")

    def outcomes(self) -> dict[str, str | None]:
        """How each test came out at last, by its portable name: the worst, where several workers had it."""
        return {
            self._portable(name): min((one.outcome for one in tries), key=_WORST.index)
            for name, tries in self._last_tries().items()
        }

    def _last_tries(self) -> dict[str, list[_Try]]:
        """Of each test, by node id: several, where several workers had it."""
        every: dict[str, list[_Try]] = {}
        for (_, name), tries in self._tries.items():
            every.setdefault(name, []).extend(tries)
        return {name: [one for one in tries if one.outcome != "rerun"] or tries for name, tries in every.items()}

    @property
    def finished(self) -> int:
        """How many tests are over, and were called if they could be."""
        done = {name for (_, name), tries in self._tries.items() if tries[-1].over and tries[-1].outcome is not None}
        return len(done)

    def report(self, name: str, headline: str, text: str, *, undecided: bool, late: bool) -> None:
        """A breach that was found when the tests were over."""
        self.breach(name, ReportedBreach(headline, text, undecided, late))

    def breach(self, name: str, breach: ReportedBreach, worker: str | None = None) -> None:
        """One of a test is its last try's, in whose report it came, unless it is a late one."""
        tries = self._tries.get((worker, name))
        those = tries[-1].breaches if tries and not breach.late else self._breaches.setdefault(name, [])
        those.append(breach)

    def found(self, is_meant: Callable[[ReportedBreach], bool]) -> tuple[list[str], list[str]]:
        """The names that have such a breach, and those that have it only in tries that another one has followed."""
        late = [name for name, those in self._breaches.items() if any(map(is_meant, those))]
        last = [name for name, tries in self._last_tries().items() if _any(is_meant, tries)]
        every = [name for (_, name), tries in self._tries.items() if _any(is_meant, tries)]
        names = dict.fromkeys([*late, *last])
        return list(names), list(dict.fromkeys(name for name in every if name not in names))

    def take(self, worker: str | None, exported: str) -> None:
        """What a worker's gatherer has exported."""
        with postponed:
            self._take(worker, originals.json_loads(exported))

    def _take(self, worker: str | None, new: Mapping[str, Any]) -> None:
        source = worker, new.get("process", "")
        for serial, kind, name, file, line in new.get("units", ()):
            self._units[source, serial] = _Unit(worker, kind, name, file, line)
        commands = self._commands.setdefault(source, [])
        commands += map(read_command, new.get("commands", ()))
        sites = self._sites.setdefault(source, [])
        sites += map(read_site, new.get("call_sites", ()))
        records = self._records.setdefault(source, Records(commands, sites))
        for serial, stray, *values in new.get("execs", ()):
            record = records.add(values)
            if serial:  # else it is only above others
                unit = self._units[source, serial]
                (unit.strays if stray else unit.records).append(record)
        for id, *end in new.get("ends", ()):
            records.end(id, *end)
        self._uncounted.update(new.get("uncounted", ()))
        for serial in new.get("lost", ()):
            self._units[source, serial].lost += 1
        for serial, why in new.get("unknown", ()):
            self._units[source, serial].unknown[why] = None
        for serial, why, most in new.get("gaps", ()):
            self._units[source, serial].gaps[why] += most
        for serial, phase, start, end in new.get("spans", ()):
            self._units[source, serial].phases[phase] = (start, end)
        for name, headline, text, undecided, superseded, site in new.get("breaches", ()):
            tries = self._tries.get((worker, name), [])[: -1 if superseded else None]
            if tries or not superseded:  # else its try had no report
                those = tries[-1].breaches if tries else self._breaches.setdefault(name, [])
                place = None if site is None else sites[site]
                those.append(ReportedBreach(headline, text, undecided, call_site=place))
        for serial in new.get("superseded", ()):
            self._units[source, serial].superseded = True

    def document(
        self,
        *,
        exit_status: int | None,
        probe: str,
        ignored: Mapping[str, int],
        filtered: bool,
        unknown: Iterable[str],
        gaps: Mapping[str, int],
        not_checked: Mapping[str, str],
        left_out: Iterable[str],
        collection: Collection | None = None,
        variant: str = "",
        names: Mapping[str, str],
        running: Iterable[Sequence[Any]] = (),
        more_running: int = 0,
    ) -> Document:
        """Everything. ``not_checked`` are tests of which nothing was recorded, and why; ``left_out`` those that were
        collected and are not to run, ``collection`` what was collected; ``names`` are the units by the names that
        breaches have for them."""
        units = list(self._made_units(not_checked))
        placed = self._place_breaches(units, names)
        rest = [breach for name, those in self._breaches.items() if name not in placed for breach in those]
        run = Run(
            id=self._id,
            kind="pytest",
            command=in_force().arguments(self._command),
            started=self._started,
            start_ns=self._start,
            end_ns=clock.monotonic_ns(),
            exit_status=exit_status,
            probe=probe,
            ignored=dict(ignored),
            filtered=filtered or bool(self._uncounted),
            unknown=tuple(unknown),
            gaps=dict(gaps),
            breaches=tuple(rest),
            running=tuple(LeftRunning(*process) for process in running),
            more_running=more_running,
            left_out=tuple(map(self._portable, left_out)),
            collection=collection,
            platform=_platform(),
            variant=variant,
            redacted=in_force().on,
        )
        return Document((run,), tuple(sorted(units, key=_begin)))

    def _made_units(self, not_checked: Mapping[str, str]) -> Iterator[Unit]:
        tries = {key: list(those) for key, those in self._tries.items()}
        left = Counter((unit.worker, unit.name) for unit in self._units.values() if unit.kind == "test")
        for unit in self._units.values():
            key = unit.worker, unit.name
            of_test = tries.get(key) if unit.kind == "test" else None
            unreported = unit.superseded and len(of_test or ()) < left[key]  # a try without a report
            tried = of_test.pop(0) if of_test and not unreported else None
            left[key] -= unit.kind == "test"
            every = (*unit.records, *unit.strays) if self._uncounted else ()
            yield Unit(
                kind=unit.kind,
                name=self._portable(unit.name),
                worker=unit.worker,
                outcome="rerun" if unreported else None if tried is None else tried.outcome,
                file=unit.file,
                line=unit.line,
                phases=unit.phases,
                records=tuple(unit.records),
                strays=tuple(unit.strays),
                uncounted=tuple(record for record in every if id_of(record._identity) in self._uncounted),
                lost=unit.lost,
                unknown=tuple(unit.unknown),
                gaps=dict(unit.gaps),
                not_checked=not_checked.get(unit.name) if unit.kind == "test" else None,
                breaches=() if tried is None else tuple(tried.breaches),
            )
        for (worker, name), rest in tries.items():  # of which no record came
            for tried in rest:
                yield Unit(
                    kind="test",
                    name=self._portable(name),
                    worker=worker,
                    outcome=tried.outcome,
                    file=tried.file,
                    line=tried.line,
                    not_checked=not_checked.get(name),
                    breaches=tuple(tried.breaches),
                )

    def _place_breaches(self, units: list[Unit], names: Mapping[str, str]) -> set[str]:
        """Gives each breach of no try to the last unit of its name, and returns those that have one."""
        last = {unit.name: index for index, unit in enumerate(units)}
        placed = set()
        for name, those in self._breaches.items():
            index = last.get(self._portable(names.get(name, name)))
            if index is not None:
                units[index] = replace(units[index], breaches=(*units[index].breaches, *those))
                placed.add(name)
        return placed


def _any(is_meant: Callable[[ReportedBreach], bool], tries: Iterable[_Try]) -> bool:
    return any(is_meant(breach) for one in tries for breach in one.breaches)


#: Outcomes of a test that several workers had, the worst first.
_WORST = ("error", "failed", None, "rerun", "skipped", "xfailed", "xpassed", "passed")


def _platform() -> str:
    """Asks no program, as the module platform may do."""
    system = originals.uname()
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{sys.implementation.name} {version} on {system.sysname} {system.machine}"


def _begin(unit: Unit) -> int:
    starts = [start for start, _ in unit.phases.values()] + [record.timestamp_ns for record in unit.records[:1]]
    return min(starts, default=sys.maxsize)
