"""A report: what one or more runs have recorded. Everything that is shown or judged later is made from this.

Times are nanoseconds of CLOCK_MONOTONIC of the machine that recorded, so they are compared only within a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from ..timeline.record import ExecRecord, Phase
from ..timeline.site import CallSite

if TYPE_CHECKING:
    from ..origin.origin import Origin

#: What a unit is: a test, one set-up and end of a fixture of wider scope, the collection of tests, what ran between
#: tests (hooks, what tests left running), or a command that ``execprobe run`` recorded.
UnitKind = Literal["test", "fixture", "collection", "outside", "command"]
KINDS: tuple[UnitKind, ...] = ("test", "fixture", "collection", "outside", "command")

#: A test's: as pytest counts it. A command's is "passed" or "failed".
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed", "rerun")


@dataclass(frozen=True)
class ReportedBreach:
    """A rule that was found broken, or undecided."""

    headline: str
    #: All that was said of it.
    text: str = ""
    undecided: bool = False
    #: Whether it was found when its test had been reported: then that the test was expected to fail excuses nothing.
    late: bool = False
    #: Where Python has spawned the first exec that breaks it, if that is known.
    call_site: CallSite | None = None


@dataclass(frozen=True)
class LeftRunning:
    """A process of a run's tree that had not ended when the recording did."""

    #: As the run's own process sees it; None if not known.
    pid: int | None
    #: What it executed last; without an exec of its own, what it was forked from. None if not known.
    program: str | None
    #: Whether it has executed that itself since it was forked.
    own_exec: bool
    #: When it executed that, or else was forked; None if not known.
    since_ns: int | None


@dataclass(frozen=True)
class Collection:
    """What of a suite a pytest run has collected: files and folders, relative to pytest's root directory.

    A test that a run does not have is gone if its file was collected as a whole, or is not in a folder that was looked
    through. Else the run has left it out.
    """

    #: What it was to collect: what the command line names, or else ``testpaths`` or the folder where it was started.
    places: tuple[str, ...] = ()
    #: Files of which all functions and classes were collected.
    files: tuple[str, ...] = ()
    #: Files of which all else was: the examples in docstrings, or what a plugin finds in files that are not Python's.
    examples: tuple[str, ...] = ()
    #: Files that have skipped themselves when they were imported.
    skipped: tuple[str, ...] = ()
    #: Folders that were looked through.
    folders: tuple[str, ...] = ()
    #: What is in those, and was not collected: folders, and of files those of Python; and those of which the functions
    #: were, and not the examples at their heads.
    passed_over: tuple[str, ...] = ()
    #: What functions of tests are called: pytest's ``python_functions``; empty if not known.
    functions: tuple[str, ...] = ()

    def has_whole(self, name: str) -> bool:
        """Whether a test was collected, if its file has it."""
        file, _, rest = name.partition("::")
        function = rest.partition("[")[0]
        is_head = function == file.rpartition("/")[2].removesuffix(".py")
        if file in self.passed_over and is_head:
            return False  # a function, or the examples at the head of the module, which is both called so
        if not file.endswith(".py") or "." in function:  # examples have the module's name
            return file in self.examples
        if "::" in function or self._may_be_function(function):
            return file in self.files
        return is_head and file in self.examples  # else what a plugin looks for in a file of Python: style, types

    def _may_be_function(self, name: str) -> bool:
        start, star, _ = name.partition("*")  # which is any text
        return not self.functions or any(
            start.startswith(known) or fnmatchcase(name, known) or (star and known.startswith(start))
            for known in self.functions
        )

    def has_file_of(self, names: Iterable[str]) -> bool:
        """Whether one of some tests was in a file that was collected."""
        files = {*self.files, *self.examples, *self.skipped}
        return any(name.partition("::")[0] in files for name in names)

    def leaves_out(self, name: str) -> bool:
        """Whether a test that is not in the run may be there all the same. A ``*`` in its file's name is any text."""
        file = name.partition("::")[0]
        named = (name[len(place) :] for place in self.places if "::" in place and name.startswith(place))
        if self.has_whole(name) or file in self.skipped or any(rest[:1] in ("", ":", "[") for rest in named):
            return False
        start, star, _ = file.partition("*")
        above = ["/".join(start.split("/")[:depth]) or "." for depth in range(start.count("/") + 1)]
        if not (star or file.endswith(".py")) or file in (*self.files, *self.examples):
            return True  # whether such a file was left out is not known
        if not any(folder in self.folders for folder in above):
            return True
        return any(
            file == place or file.startswith(f"{place}/") or (star and place.startswith(start))
            for place in self.passed_over
        )


@dataclass(frozen=True)
class Run:
    """One pytest run, or one command."""

    #: Random: by it runs are kept apart when reports are merged.
    id: str
    kind: Literal["pytest", "command"]
    #: How it was started.
    command: tuple[str, ...] = ()
    #: Wall clock, ISO 8601 in UTC.
    started: str = ""
    start_ns: int = 0
    end_ns: int = 0
    exit_status: int | None = None
    #: What the probe was, in words.
    probe: str = ""
    #: Execs that no count has, because ``--execprobe-ignore`` names them.
    ignored: Mapping[str, int] = field(default_factory=dict)
    #: Whether execs can be left out of counts by what they are (by ``--execprobe-ignore`` or a hook), even if none was:
    #: a lost one may have been one of those.
    filtered: bool = False
    #: Why an unknown number of execs, of no unit in particular, may be missing.
    unknown: tuple[str, ...] = ()
    #: Why so many execs, at most, may be missing besides, of whichever units. Each is in here once, and in every unit
    #: of which they can have been.
    gaps: Mapping[str, int] = field(default_factory=dict)
    #: Breaches of no unit in particular, such as of the session budget.
    breaches: tuple[ReportedBreach, ...] = ()
    #: The processes of its tree that had not ended when the recording did, and how many there were besides.
    running: tuple[LeftRunning, ...] = ()
    more_running: int = 0
    #: Tests that were collected and then left out: by -k, -m, --deselect, --lf, or a plugin that makes shards.
    left_out: tuple[str, ...] = ()
    #: What it has collected of its suite; None of a command, or if not known.
    collection: Collection | None = None
    #: The Python and the system that it ran on; empty if not known.
    platform: str = ""
    #: What it is of a matrix besides, as the user calls it: the same tests of another variant are another run.
    variant: str = ""
    #: Whether secrets were looked for in command lines, and hidden.
    redacted: bool = False
    #: Where each program's file, each script and each interpreter comes from, by its path; None if that was not looked
    #: up, as where a run has no report to be stored.
    origins: Mapping[str, Origin] | None = None

    @property
    def still_running(self) -> int:
        """How many processes had not ended."""
        return len(self.running) + self.more_running


@dataclass(frozen=True)
class Unit:
    """Something that execs are counted for. Several have the same name where it took place more than once: a test that
    was tried again, a fixture that was set up for several modules, the collection of each xdist worker."""

    kind: UnitKind
    #: A test's node id; ``FILE::NAME (SCOPE)`` of a fixture; a command line.
    name: str
    #: The index of its run.
    run: int = 0
    #: The xdist worker.
    worker: str | None = None
    outcome: str | None = None
    #: Where it stands, relative to pytest's root directory; ``line`` counts from 1.
    file: str | None = None
    line: int | None = None
    #: Beginning and end of its phases; of what has no phases, under "call".
    phases: Mapping[Phase, tuple[int, int]] = field(default_factory=dict)
    #: What ran and counts for it, in order.
    records: tuple[ExecRecord, ...] = ()
    #: What it left behind detached and that ran after its end.
    strays: tuple[ExecRecord, ...] = ()
    #: Those of both that no rule counts, because a hook (pytest_execprobe_record) has left them out.
    uncounted: tuple[ExecRecord, ...] = ()
    #: How many execs, strays included, are not in it although they took place.
    lost: int = 0
    #: Why more may be missing than that and ``gaps``, if so.
    unknown: tuple[str, ...] = ()
    #: Why nothing was recorded, where something should have been.
    not_checked: str | None = None
    breaches: tuple[ReportedBreach, ...] = ()
    #: Why so many more than ``lost``, at most, may be missing.
    gaps: Mapping[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every exec is in it."""
        return not (self.lost or self.why or self.not_checked)

    @property
    def why(self) -> tuple[str, ...]:
        """Why more may be missing than was lost for certain."""
        return (*self.unknown, *self.gaps)

    @property
    def all_records(self) -> tuple[ExecRecord, ...]:
        return (*self.records, *self.strays)

    @property
    def programs(self) -> Counter[str]:
        """How often each program ran, strays included."""
        return Counter(record.program or "?" for record in self.all_records)


@dataclass(frozen=True)
class Document:
    """One or more runs, and all that they recorded."""

    runs: tuple[Run, ...] = ()
    units: tuple[Unit, ...] = ()

    @property
    def superseded(self) -> frozenset[int]:
        """The indices of the units that are tries of a test which another try has followed."""
        last = {(unit.run, unit.name): index for index, unit in enumerate(self.units) if unit.kind == "test"}
        return frozenset(
            index
            for index, unit in enumerate(self.units)
            if unit.kind == "test" and unit.outcome == "rerun" and index < last[unit.run, unit.name]
        )

    @property
    def programs(self) -> Counter[str]:
        return sum((unit.programs for unit in self.units), Counter())

    @property
    def execs(self) -> int:
        """How many execs are recorded; lost ones are not among them."""
        return sum(len(unit.all_records) for unit in self.units)

    @property
    def lost(self) -> int:
        return sum(unit.lost for unit in self.units)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Why an unknown number may be missing."""
        every = [*(run.unknown for run in self.runs), *(unit.unknown for unit in self.units)]
        return tuple(dict.fromkeys(why for part in every for why in part))

    @property
    def gaps(self) -> Counter[str]:
        """Why so many more, at most, may be missing."""
        return sum((self.gaps_of(index) for index in range(len(self.runs))), Counter())

    def gaps_of(self, run: int) -> Counter[str]:
        """Those of a run. One of pytest has each of them once, and in a command's report its unit has them."""
        of_units = (Counter(unit.gaps) for unit in self.units if unit.run == run)
        return Counter(self.runs[run].gaps) or sum(of_units, Counter())

    @property
    def lost_at_most(self) -> int | None:
        """How many may be missing, None if there is no bound."""
        return None if self.unknown else self.lost + self.gaps.total()

    @property
    def not_checked(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if unit.not_checked)

    @property
    def still_running(self) -> int:
        """How many processes of commands had not ended when the recording did. What a pytest run leaves behind is not
        its own any more: a run is over when its session is."""
        return sum(run.still_running for run in self.runs if run.kind == "command")

    @property
    def complete(self) -> bool:
        """Whether every exec of every run is in it, and none of a command can follow."""
        some = self.unknown or self.gaps or self.still_running
        return bool(self.runs) and not some and all(unit.complete for unit in self.units)


class RunsDiffer(Exception):
    """Two reports have different runs with one id, so that one of the two would be left out."""


def merged(documents: Iterable[Document]) -> Document:
    """Several reports in one; a run that is in more than one of them is taken once. Raises RunsDiffer."""
    runs: list[Run] = []
    units: list[Unit] = []
    known: dict[str, tuple[Run, list[Unit]]] = {}
    for document in documents:
        new = {}
        for index, run in enumerate(document.runs):
            parts = [replace(unit, run=0) for unit in document.units if unit.run == index]
            if run.id not in known:
                new[index] = run
                known[run.id] = run, parts
            elif known[run.id] != (run, parts):
                raise RunsDiffer(f"two reports have different runs with the id {run.id}: leave one of them out")
        places = {index: len(runs) + place for place, index in enumerate(new)}
        runs += new.values()
        units += (replace(unit, run=places[unit.run]) for unit in document.units if unit.run in places)
    return Document(tuple(runs), tuple(units))
