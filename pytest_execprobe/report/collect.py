"""Gathers what a pytest run records, where tests run, in parts that travel with their reports to where the run is
reported: ``assembly`` makes one document of them.

What is exported is plain data, as xdist and forked tests need it. Nothing of pytest is known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._util import originals
from ..timeline.entry import Entry
from ..timeline.evidence import Evidence, Gap
from ..timeline.record import ExecRecord
from ..timeline.site import CallSite, relative
from ..timeline.spans import Owner
from .json import CommandTable, id_of

if TYPE_CHECKING:
    from .model import UnitKind


class Gatherer:
    """Where tests run. Each owner of execs is a unit of the report."""

    def __init__(self, root: str = "", process: str = "") -> None:
        """``root`` is pytest's root directory. ``process`` is what numbers this process among those that one run takes
        over."""
        self._root = root
        self._process = process
        self._sites: dict[CallSite, int | None] = {}  # their numbers
        self._serials: dict[Owner, int] = {}
        self._last = 0
        self._commands = CommandTable()
        self._exported = self._exported_sites = 0  # how many of them
        self._gaps: set[tuple[int, Gap]] = set()
        self._running: dict[int, Entry] = {}  # exported, but not how they ended
        self._new: dict[str, Any] = {}

    def unit(self, owner: Owner, kind: UnitKind, file: str | None = None, line: int | None = None) -> None:
        """From now on an owner's execs are a unit's."""
        if owner not in self._serials:
            self._serials[owner] = self._last = self._last + 1
            self._list("units").append([self._serials[owner], kind, owner.id, file, line])

    def has(self, owner: Owner) -> bool:
        """Whether an owner's execs are a unit's."""
        return owner in self._serials

    def join(self, owner: Owner, other: Owner) -> None:
        """The execs of an owner are those of another's unit: of a fixture, its end and its set-up."""
        self._serials[owner] = self._serials[other]

    def exec(self, entry: Entry, owner: Owner, *, stray: bool) -> None:
        serial = self._serials[owner]
        if entry.event.command is None:
            self._list("lost").append(serial)
            return
        todo = [entry]
        while todo:
            others = [one for one in (todo[-1].above, todo[-1].previous) if one is not None and not one.reported]
            if others:
                todo += others
                continue
            one = todo.pop()
            if one is entry or not one.reported:
                self._list("execs").append([serial if one is entry else 0, stray, *self._values(one)])
                one.reported = True
        if entry.ended_at is None:
            self._running[id(entry)] = entry
        if entry.previous is not None:  # which has not ended, and never will
            self._running.pop(id(entry.previous), None)

    def _values(self, entry: Entry) -> list[Any]:
        """Those of a record's fields, as :class:`.read.Records` takes them."""
        event, above, previous = entry.event, entry.above, entry.previous
        assert event.command is not None
        return [
            id_of(entry.image),
            self._commands.number(event.command),
            event.pid if event.seen_pid is None else event.seen_pid,
            event.ppid,
            above and id_of(above.image),
            previous and id_of(previous.image),
            *entry.facts(),
            event.stopped != 0,
            self._site(entry.call_site),
        ]

    def _site(self, site: CallSite | None) -> int | None:
        """Its number, with files relative to the root."""
        if site is not None and site not in self._sites:
            self._sites[site] = self._commands.site(relative(site, self._root))
        return None if site is None else self._sites[site]

    def span(self, owner: Owner, phase: str, start: int, end: int) -> None:
        self._list("spans").append([self._serials[owner], phase, start, end])

    def losses(self, owner: Owner, evidence: Evidence) -> None:
        """Why more may be missing from a unit than what arrived; a gap that several windows overlap is one."""
        serial = self._serials[owner]
        for reason in evidence.unknown:
            self._list("unknown").append([serial, reason])
        for gap in evidence.gaps:
            if (serial, gap) not in self._gaps:
                self._gaps.add((serial, gap))
                self._list("gaps").append([serial, gap.why, gap.most])

    def uncounted(self, record: ExecRecord) -> None:
        """No rule counts it."""
        self._list("uncounted").append(id_of(record._identity))

    def breach(self, name: str, headline: str, text: str, *, undecided: bool, site: CallSite | None = None) -> None:
        """Of the test with this node id. ``site``: where Python has spawned what breaks the rule."""
        self._list("breaches").append([name, headline, text, undecided, False, self._site(site)])

    def supersede(self, owner: Owner) -> None:
        """This try of a test is followed by another: what was found of it so far is none of that one's."""
        if owner in self._serials:
            self._list("superseded").append(self._serials[owner])
        for breach in self._new.get("breaches", ()):
            breach[4] |= breach[0] == owner.name

    def _list(self, name: str) -> list[Any]:
        return self._new.setdefault(name, [])  # type: ignore[no-any-return]

    @property
    def has_new(self) -> bool:
        """Whether there can be anything to export."""
        return bool(self._new or self._running or self._exported < len(self._commands.listed))

    def export(self) -> str:
        """What is new, "" for nothing; from then on it is no longer new.

        JSON in ASCII, because an argv can hold what execnet takes for no text.
        """
        for entry in [one for one in self._running.values() if one.ended_at is not None]:
            self._list("ends").append([id_of(entry.image), *entry.fate()])
            del self._running[id(entry)]
        if self._exported < len(self._commands.listed):
            self._list("commands").extend(self._commands.listed[self._exported :])
            self._exported = len(self._commands.listed)
        if self._exported_sites < len(self._commands.sites):
            self._list("call_sites").extend(self._commands.sites[self._exported_sites :])
            self._exported_sites = len(self._commands.sites)
        new, self._new = self._new, {}
        if new and self._process:
            new["process"] = self._process
        return originals.json_dumps(new) if new else ""
