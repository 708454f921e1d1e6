"""What a whole run has executed, in sums: added up where tests run, sent along with their reports, and added up again.

Pure. What is exported is plain data (dicts, lists, texts, numbers), as xdist and forked tests need it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._util import originals
from .._util.text import printable
from ..baseline.model import OUTSIDE
from ..timeline.entry import Entry

_AROUND = "execprobe::"
#: Stands among the rows that a test has used for what could not be counted: no program has this name.
MISSING = "/missing"
#: Section, name, try, row: how often it was used.
_Tries = dict[str, dict[str, dict[str, dict[str, int]]]]


@dataclass(frozen=True)
class LateBreach:
    """A rule that was found broken, or undecided, after its test had been reported."""

    nodeid: str
    location: tuple[str, int | None, str]
    headline: str
    text: str
    undecided: bool
    #: The try of the test that it is about, if it decides nothing once another one has followed.
    attempt: str = ""

    @classmethod
    def around(cls, what: str, headline: str, text: str, *, undecided: bool) -> LateBreach:
        """One that is no test's."""
        return cls(f"{_AROUND}{what}", ("execprobe", None, f"the run ({what})"), headline, text, undecided)

    @property
    def is_around(self) -> bool:
        return self.nodeid.startswith(_AROUND)

    @classmethod
    def of_the_rest(cls, unknown: Iterable[str]) -> LateBreach:
        """Where rules may be broken that no test is there any more to answer for."""
        headline = "cannot tell what tests left behind, or what ran outside of them"
        text = "\n".join([headline, *(f"  why   {why}" for why in unknown)])
        return cls.around(OUTSIDE, headline, text, undecided=True)


@dataclass
class Totals:
    """Sums over a run, or over a part of it."""

    #: How often each program ran: by test (its node id).
    tests: dict[str, Counter[str]] = field(default_factory=dict)
    #: By fixture of wider scope, and in the collection and outside of tests.
    others: dict[str, Counter[str]] = field(default_factory=dict)
    #: What tests left behind detached, by the test that did.
    strays: dict[str, Counter[str]] = field(default_factory=dict)
    #: What tests left running, by the test that did; counted for another test, or outside of tests, as well.
    late: dict[str, Counter[str]] = field(default_factory=dict)
    #: Which programs crashed, and by which signal: by test, fixture or the like.
    crashes: dict[str, Counter[str]] = field(default_factory=dict)
    #: Under --execprobe-audit, which were ended by another signal, likewise.
    killed: dict[str, Counter[str]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    #: Setuid and setgid programs that ran without their privilege, because they were traced.
    unprivileged: Counter[str] = field(default_factory=Counter)
    #: Under --execprobe-audit, how often each file was executed, by its path without links: of a script that.
    files: Counter[str] = field(default_factory=Counter)
    #: Execs of which only that they took place is known; they are not among the others.
    lost: int = 0
    #: Why an unknown number may be missing besides, if so.
    unknown: dict[str, None] = field(default_factory=dict)
    #: And how many at most, by reason, where there is a bound.
    gaps: Counter[str] = field(default_factory=Counter)
    #: Processes that had not ended when the run did: their ids, what they ran, whether they had executed that
    #: themselves, and since when (ns). And how many more there were.
    running: list[list[Any]] = field(default_factory=list)
    more_running: int = 0
    #: Tests whose rules, or record, there was no probe for, and why.
    not_checked: dict[str, str] = field(default_factory=dict)
    #: Why processes of the run, which need not have had a test, had no probe.
    unprobed: dict[str, None] = field(default_factory=dict)
    #: Tests that were expected to fail, and so hide a broken rule.
    excused: dict[str, str] = field(default_factory=dict)
    breaches: list[LateBreach] = field(default_factory=list)
    #: What to write if what broke rules is right, each change once and as it travels.
    changes: dict[str, None] = field(default_factory=dict)
    #: What the probe is, in words.
    probe: str = ""
    #: How many tests have been recorded.
    recorded: int = 0
    #: Whether rules apply to any of them.
    judged: bool = False
    #: Which rows of a baseline were used, and how often at most, by section, name and try; and MISSING, if so.
    usage: _Tries = field(default_factory=dict)
    #: How much of it, likewise, was left behind detached: what of that comes in time is a matter of chance.
    by_chance: _Tries = field(default_factory=dict)
    #: Which rows, likewise, what no rule looks at (--execprobe-ignore, a hook) would have used.
    left_out: _Tries = field(default_factory=dict)
    #: Tries of tests that were followed by another one, by name: their rows do not count.
    superseded: dict[str, list[str]] = field(default_factory=dict)
    #: What a report gathers, in parts; they are passed on to it, and not added up here.
    gathered: list[str] = field(default_factory=list)
    #: What was collected, in one of the processes that did.
    collected: dict[str, Any] = field(default_factory=dict)

    @property
    def programs(self) -> Counter[str]:
        """How often each program ran, in the whole run."""
        return sum(
            (counter for group in (self.tests, self.others, self.strays) for counter in group.values()), Counter()
        )

    @property
    def execs(self) -> int:
        """How many execs there were at least."""
        return self.programs.total() + self.lost

    @property
    def missing(self) -> int | None:
        """How many execs, at most, are not among those that have a name, None if there is no bound."""
        return None if self.unknown else self.lost + self.gaps.total()

    @property
    def why(self) -> list[str]:
        """Why more may be missing than is known to be lost."""
        return [*self.unknown, *self.gaps]

    @property
    def are_traced(self) -> bool:
        """Whether the probe is ptrace."""
        return self.probe.startswith("ptrace ")

    @property
    def is_unchecked(self) -> bool:
        """Whether there was no probe at all."""
        return self.recorded == 0 and bool(self.not_checked)

    def add(self, entry: Entry, number: int, *, files: bool) -> None:
        """So many execs that are like this one; ``files``: of which file each was, too."""
        owner, command = entry.owner, entry.event.command
        if command is None:
            self.lost += number
            return
        program = program_of(entry)
        if command.lost_privilege:
            self.unprivileged[program] += 1
        if files and command.file is not None:
            self.files[command.file] += number
        if entry.stray_of is not None:
            self.count(self.strays, entry.stray_of.name, program, number)
        elif owner is None or not owner.is_test:
            self.count(self.others, owner.name if owner else OUTSIDE, program, number)
        else:
            self.count(self.tests, owner.name, program, number)
        beginner = entry.begun_in.owner if entry.begun_in else None
        if beginner is not None and beginner.is_test and owner is not None and owner.name != beginner.name:
            self.count(self.late, beginner.name, program, number)

    def use(
        self,
        section: str,
        name: str,
        usage: Mapping[str, int],
        by_chance: Mapping[str, int] | None = None,
        left_out: Mapping[str, int] | None = None,
        *,
        attempt: str = "",
    ) -> None:
        """How often a test has used rows, in one of its tries. What comes of several processes is the greatest."""
        for group, used in ((self.usage, usage), (self.by_chance, by_chance or {}), (self.left_out, left_out or {})):
            if group is self.usage or used:
                _raise(group.setdefault(section, {}).setdefault(name, {}).setdefault(attempt, {}), used)

    def supersede(self, name: str, attempt: str) -> None:
        """A test is tried again: its rows go by its last try."""
        those = self.superseded.setdefault(name, [])
        if attempt not in those:
            those.append(attempt)

    @property
    def used(self) -> dict[str, dict[str, dict[str, int]]]:
        """How often each row was used at most, by section and name: of what was tried again, by the last try."""
        return self._of_last_tries(self.usage)

    @property
    def used_by_chance(self) -> dict[str, dict[str, dict[str, int]]]:
        """How much of it was left behind detached."""
        return self._of_last_tries(self.by_chance)

    @property
    def used_unseen(self) -> dict[str, dict[str, dict[str, int]]]:
        """Which rows what no rule looks at would have used: nothing was learnt about these."""
        return self._of_last_tries(self.left_out)

    def _of_last_tries(self, group: _Tries) -> dict[str, dict[str, dict[str, int]]]:
        found: dict[str, dict[str, dict[str, int]]] = {}
        for section, names in group.items():
            for name, tries in names.items():
                for attempt, used in tries.items():
                    if section != "tests" or attempt not in self.superseded.get(name, ()):
                        _raise(found.setdefault(section, {}).setdefault(name, {}), used)
        return found

    @staticmethod
    def count(group: dict[str, Counter[str]], name: str, program: str, number: int = 1) -> None:
        group.setdefault(name, Counter())[program] += number

    @property
    def is_empty(self) -> bool:
        return not any(vars(self).values())

    def export(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {name: _FORMS[name](value) if name in _FORMS else value for name, value in vars(self).items() if value}

    def take(self, data: dict[str, Any]) -> None:
        """Adds what another has exported."""
        self.recorded += data.get("recorded", 0)
        self.judged |= data.get("judged", False)
        if data.keys() <= _OF_ANY_TEST:
            return
        for name, value in data.items():
            if name in _GROUPS:
                for key, counts in value.items():
                    getattr(self, name).setdefault(key, Counter()).update(counts)
            elif name == "files":
                self.files.update({str(originals.json_loads(path)): count for path, count in value.items()})
            elif name in _UPDATED:
                getattr(self, name).update(value)
            elif name in _ADDED:
                setattr(self, name, getattr(self, name) + value)
            elif name in ("probe", "collected"):
                setattr(self, name, value)
        for name in ("unknown", "unprobed", "changes"):
            getattr(self, name).update(dict.fromkeys(data.get(name, ())))
        for nodeid, (file, line, domain), *rest in data.get("breaches", ()):
            self.breaches.append(LateBreach(nodeid, (file, line, domain), *rest))
        for section, names in data.get("usage", {}).items():
            for name, tries in names.items():
                besides = [data.get(group, {}).get(section, {}).get(name, {}) for group in ("by_chance", "left_out")]
                for attempt, usage in tries.items():
                    self.use(section, name, usage, *(those.get(attempt) for those in besides), attempt=attempt)
        for name, those in data.get("superseded", {}).items():
            for attempt in those:
                self.supersede(name, attempt)


def _raise(most: dict[str, int], used: Mapping[str, int]) -> None:
    for key, count in used.items():
        most[key] = max(count, most.get(key, 0))


def _copy(uses: _Tries) -> _Tries:
    return {
        section: {name: {attempt: dict(used) for attempt, used in tries.items()} for name, tries in names.items()}
        for section, names in uses.items()
    }


def _counters(group: dict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {key: dict(counter) for key, counter in group.items()}


_GROUPS = ("tests", "others", "strays", "late", "crashes", "killed")
_UPDATED = ("ignored", "unprivileged", "gaps", "not_checked", "excused")
_ADDED = ("lost", "running", "more_running", "gathered")
#: How plain data has what is none.
_FORMS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_GROUPS, _counters),
    **dict.fromkeys((*_UPDATED, "collected"), dict),
    # A path need not be text, and xdist sends nothing else.
    "files": lambda files: {originals.json_dumps(path): count for path, count in files.items()},
    **dict.fromkeys(("unknown", "unprobed", "changes", "gathered"), list),
    "running": lambda running: [list(process) for process in running],
    "breaches": lambda breaches: [
        [b.nodeid, list(b.location), b.headline, b.text, b.undecided, b.attempt] for b in breaches
    ],
    **dict.fromkeys(("usage", "by_chance", "left_out"), _copy),
    "superseded": lambda superseded: {name: list(tries) for name, tries in superseded.items()},
}
#: What there is to say of any test.
_OF_ANY_TEST = {"recorded", "judged"}


def program_of(entry: Entry) -> str:
    """Its record is not made for that: few are ever looked at."""
    return _printable((entry.event.command and entry.event.command.program) or "?")


_printable = functools.lru_cache(maxsize=1024)(printable)


def alike(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    """Those that are of one command, and count for the same: in a storm nearly all are like thousands of others."""
    groups: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        key = (entry.owner, entry.stray_of, entry.begun_in, id(entry.event.command))
        groups.setdefault(key, []).append(entry)
    return groups.values()
