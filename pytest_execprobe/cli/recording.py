"""What is known of one command's process tree, from a source of events.

Pure, but for the source. What is kept of each exec is what a report or a limit needs; else it is only counted, so that
a long build takes no more memory than a short one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import NamedTuple

from .._util import clock
from .._util.text import printable
from ..report import model as document
from ..source.events import Batch, Ended, Event, Exec, Image, Process, Running, Source
from ..source.launch import executes_helper
from ..timeline.entry import Entry
from ..timeline.evidence import Evidence, Lost
from ..timeline.feed import Feed
from ..timeline.lighter import remember
from ..timeline.progress import Progress
from ..timeline.record import ExecRecord
from ..timeline.spans import Owner
from ..timeline.timeline import Timeline
from .processes import BadEnd, Processes
from .terminal import as_ours


class NewExec(NamedTuple):
    """An exec that has just arrived."""

    record: ExecRecord
    #: What the process ran that began this one; None for the command itself, and where it is not known.
    parent: str | None


class _Count(NamedTuple):
    """What has been counted. It is replaced as a whole, so that an exception which breaks in leaves no half of it."""

    timeline: Timeline
    #: How many of the timeline's execs are in here.
    placed: int
    programs: Counter[str]
    lost: int = 0
    helpers: frozenset[Image] = frozenset()
    entries: int = 0
    records: int = 0
    new: tuple[NewExec, ...] = ()
    #: What has ended otherwise than with exit status 0, and the batch up to which that is known.
    ends: tuple[BadEnd, ...] = ()
    mark: object = None


class Recording(Feed):
    """The tree of a command that is started right after this was made.

    ``keep`` says which records are needed at the end; None: all of them, with all that becomes known of them.
    Without a source nothing is recorded.

    An exception may break into a look, as that of a signal's handler does: the next one takes in what it has left.
    """

    def __init__(self, source: Source | None, name: str, keep: Callable[[ExecRecord], bool] | None) -> None:
        self.began = clock.monotonic_ns()
        self.ended: int | None = None
        self._armed_at = self.began if source is None else source.armed_at
        self._keep = keep
        self._owner = Owner(name, is_test=False, began=self.began)
        super().__init__(self._new_timeline(Progress()), source)
        self._entries: list[Entry] = []  # of these, and of the records, the first ones count
        self._records: list[ExecRecord] = []
        #: By the mark of the last batch: that which the timeline has, or is about to have.
        self._processes: dict[object, Processes] = {None: Processes()}
        self._counted = _Count(self.timeline, 0, Counter())
        self._running = Running(0)

    @property
    def programs(self) -> Counter[str]:
        """How often each program ran."""
        return self._counted.programs

    @property
    def lost(self) -> int:
        """How many execs took place of which nothing else is known."""
        return self._counted.lost

    @property
    def seconds(self) -> float:
        """How long the command has taken, with the wait for what it has left running."""
        return ((clock.monotonic_ns() if self.ended is None else self.ended) - self.began) / 1e9

    @property
    def execs(self) -> int:
        """How many are recorded."""
        return self.programs.total()

    def look(self, timeout: float) -> list[NewExec]:
        """What is new; ``timeout`` is how long it may wait for execs in flight."""
        self._counted = self._counted._replace(new=(), ends=())
        self._count()  # what the last look has left, if an exception broke into it
        if self.source is not None:
            self.take(self.source.sync, timeout)
            self._count()
        return list(self._counted.new)

    @property
    def new_ends(self) -> Sequence[BadEnd]:
        """What the last look has seen end otherwise than with exit status 0."""
        return self._counted.ends

    @property
    def bad_ends(self) -> Counter[tuple[str, str]]:
        """How often programs ended so, and how."""
        return self._known_processes.bad

    def look_for_running(self, timeout: float) -> None:
        """Asks which processes of the command's tree have not ended."""
        if self.source is not None:
            self._running = self.ask_running(self.began, timeout) or Running(0)

    def end(self, timeout: float) -> None:
        """The command has ended, and what it has left running is not waited for: what is executed from now on is not
        recorded. What has not ended is asked for before that, so that nothing executes anything in between unseen."""
        self.look_for_running(timeout)
        self.ended = clock.monotonic_ns()

    def finish(self, timeout: float) -> list[NewExec]:
        """Takes in the rest, and closes the source."""
        new = self.look(timeout)
        if self.source is not None:
            self.source.close()
        return new

    def evidence(self) -> Evidence:
        """What was kept, and what is missing."""
        entries, records = self._entries[: self._counted.entries], self._records[: self._counted.records]
        kept = [entry.record for entry in entries if entry.record is not None] or records
        end = clock.monotonic_ns() if self.ended is None else self.ended
        losses = self.timeline.losses(self.began, end)
        return Evidence(
            records=tuple(sorted(kept, key=lambda record: record.timestamp_ns)),
            lost=(Lost(self.began, False, "call"),) * self.lost,
            unknown=tuple(dict.fromkeys(map(as_ours, losses.unknown))),
            gaps=tuple(replace(gap, why=as_ours(gap.why)) for gap in losses.gaps),
        )

    def still_running(self) -> tuple[tuple[document.LeftRunning, ...], int]:
        """The processes of the command's tree that had not ended when that was last asked for, and how many more there
        were. Other runs' probe helpers are not among them."""
        shown = [process for process in self._running.listed if process.image not in self._counted.helpers]
        more = self._running.count - len(self._running.listed)
        return tuple(map(self._process, shown)), more

    # ---- inner workings ----

    def _process(self, process: Process) -> document.LeftRunning:
        program = self._known_processes.program_of(process.image) or printable(process.comm)
        return document.LeftRunning(process.pid, program or None, process.own_exec, process.since)

    @property
    def _known_processes(self) -> Processes:
        return self._processes[self.timeline.known.mark]

    def _lose(self, why: str) -> None:
        self._running = Running(0)  # which is as unknown as all else from here on
        super()._lose(why)

    def _new_timeline(self, known: Progress) -> Timeline:
        timeline = Timeline(armed_at=self._armed_at, known=known)
        timeline.spans.open(self._owner, "call", self.began)
        return timeline

    def _add(self, batch: Batch) -> None:
        mark = self.timeline.known.mark
        before = self._known_processes
        after = before.after(event for event in batch.events if self._is_own(event))
        self._processes = {mark: before, batch.mark: after}
        if self._keep is None:
            self.timeline.add(batch)
            return
        # A new one each time, so that nothing piles up. It knows what ran, and not what is above that.
        old = self.timeline.known
        new = self._new_timeline(Progress(0 if old.late is not None else old.complete_to, old.gaps))
        remember(new, self.timeline, before.images)
        new.add(batch)
        new.settle()
        self.timeline = new

    def _is_own(self, event: Event) -> bool:
        """Whether it is of the command's branch, and not of one that this process had before."""
        return isinstance(event, (Exec, Ended)) and event.branch.born >= self.began

    def _count(self) -> None:
        """Takes in what the timeline has, and what was not counted yet."""
        old, timeline, mark = self._counted, self.timeline, self.timeline.known.mark
        del self._entries[old.entries :], self._records[old.records :]
        programs, lost, helpers, new = old.programs.copy(), old.lost, set(old.helpers), [*old.new]
        for entry in timeline.placed_since(old.placed if timeline is old.timeline else 0):
            event, record = entry.event, entry.record
            if not self._is_own(event) or (self.ended is not None and event.entered >= self.ended):
                continue
            if record is None:
                lost += 1
            elif _is_helpers(event, helpers):
                helpers.add((event.pid, event.at))
            else:
                programs[printable(record.program or "?")] += 1
                if self._keep is None:
                    self._entries.append(entry)
                elif self._keep(record):
                    self._records.append(record)
                new.append(NewExec(record, self._parent(event, record)))
        self._counted = _Count(
            timeline,
            timeline.known.placed,
            programs,
            lost,
            frozenset(helpers),
            len(self._entries),
            len(self._records),
            tuple(new),
            old.ends if mark == old.mark else (*old.ends, *self._known_processes.new_bad),
            mark,
        )

    def _parent(self, event: Exec, record: ExecRecord) -> str | None:
        if record.parent is not None:
            return record.parent.program
        return None if event.parent is None else self._known_processes.program(event.parent[0])


def _is_helpers(event: Exec, helpers: Container[Image | None]) -> bool:
    """Whether it is of another run's probe helper, such as that of a pytest below: as in a test, that is not
    counted. ``helpers`` are those that are known of it."""
    return (
        event.parent in helpers
        or event.previous in helpers
        or (event.command is not None and executes_helper(event.command))
    )
