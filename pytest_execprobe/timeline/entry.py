"""An exec in its place, of which a record is made when it is first looked at."""

from __future__ import annotations

from dataclasses import dataclass
from signal import SIGKILL
from typing import Any

from ..source.events import Ended, Exec, Image
from .calls import Call
from .evidence import Lost
from .record import ExecRecord, lineage, make_record
from .site import CallSite
from .spans import Owner, Span


@dataclass(eq=False, slots=True)
class Entry:
    """An exec, and whom it was found to belong to."""

    event: Exec
    owner: Owner | None
    stray_of: Owner | None
    span: Span | None  # in which it was entered
    begun_in: Span | None  # where its branch left the test's process
    above: Entry | None  # what the process ran that forked this one
    previous: Entry | None  # what this process ran before
    #: Whether it is hidden, by what it is itself or by what is above it.
    hidden: bool
    #: Whether what would be ``above`` is lost, or what would be ``previous``.
    above_lost: bool
    previous_lost: bool
    #: None below a record that was lost.
    depth: int | None
    image: Image
    #: By which Python may have spawned its branch.
    call: Call | None = None
    #: Whether a report has it.
    reported: bool = False
    #: When its process ended, if it ran this then, and with what status.
    ended_at: int | None = None
    status: int | None = None
    _record: ExecRecord | None = None

    @property
    def record(self) -> ExecRecord | None:
        """As it is known now; None if it was lost. It is made when it is first looked at: most never are."""
        if self._record is not None and self._record.call_site is None and self.call_site is not None:
            self._record = None  # the call went on when it was made
        todo = [] if self._record is not None or self.event.command is None else [self]
        while todo:
            entry = todo[-1]
            others = [one for one in (entry.above, entry.previous) if one is not None and one._record is None]
            todo += [one for one in others if one.event.command is not None]
            if todo[-1] is entry:
                todo.pop()._make()
        return self._record

    @property
    def lost(self) -> Lost:
        """What is known of it where its record was lost."""
        own = self.begun_in is not None and self.begun_in.owner is self.owner
        begun_in = self.begun_in.phase if self.begun_in and own else None
        return Lost(self.event.entered, self.event.branch.top == self.event.pid, begun_in)

    def end(self, end: Ended) -> None:
        self.ended_at, self.status, self._record = end.at, end.status, None

    @property
    def call_site(self) -> CallSite | None:
        """Where Python spawned its branch, if that is known for certain."""
        return None if self.call is None else self.call.site_of(self.event.branch)

    def _make(self) -> None:
        event, above, previous = self.event, self.above, self.previous
        if self._record is not None or event.command is None:
            return
        lost, depth, direct, uid, gid, entered, phase, begun_by, begun_in, shared, fork, *end = self.facts()
        code, signal, lasted = end
        before = None if previous is None else previous._record
        self._record = make_record(
            event.command,
            event.pid if event.seen_pid is None else event.seen_pid,
            event.ppid,
            None if above is None else above._record,
            *(depth, uid, gid, entered, phase, begun_by, event.error, code, signal, lasted, self.call_site),
            event.stopped != 0,
            lineage(before, direct, shared, begun_in, lost, fork, event.stopped == 1),
            self.image,
        )

    def facts(self) -> tuple[Any, ...]:
        """What a record has of it, besides its command, its numbers and those above it: as reports have it, from
        ``lineage_lost`` to ``duration_ns``."""
        event, begun_in = self.event, self.begun_in
        return (
            self.above_lost or self.previous_lost,
            self.depth,
            event.branch.top == event.pid,
            event.uid,
            event.gid,
            event.entered,
            self.span.phase if self.span else None,
            begun_in.owner.name if begun_in else None,
            begun_in.phase if begun_in else None,
            begun_in is not None and begun_in.owner is not self.owner,
            self._fork(),
            *self.fate(),
        )

    def _fork(self) -> str | None:
        branch = self.event.branch
        if self.above is not None or self.above_lost or branch.top == self.event.pid or not branch.born:
            return None
        return f"{branch.top}.{branch.born}"

    def fate(self) -> tuple[int | None, int | None, int | None]:
        """Exit code, signal and duration, as far as the end of its process is known."""
        if self.ended_at is None:
            return None, SIGKILL if self.event.stopped else None, None
        duration = self.ended_at - self.event.entered
        if self.status is None:
            return None, None, duration
        code, signal = self.status >> 8 & 0xFF, self.status & 0x7F
        return None if signal else code, signal or None, duration
