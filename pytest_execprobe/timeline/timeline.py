"""Whose exec is it: the five rules, over spans of time and branches of the process tree.

Pure: it is fed events and the times at which tests, phases and wider fixtures began and ended, and answers what a
window holds. All times are nanoseconds of CLOCK_MONOTONIC.

1. A tree is followed by fork. (The kernel side does that.)
2. A branch begun in a test counts for that test while the test lasts, by the time of entry. A branch begun by a wider
   fixture counts for whichever test, or wider fixture, is running.
3. A branch whose top process still runs when its test ends is *shared* from then on: it counts like a wider fixture's.
4. What else goes on after its test's end is a *stray* of that test.
5. What was there before the probe counts like a wider fixture's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple

from ..source.command import Command
from ..source.events import Batch, Branch, Ended, Exec, Image, Running
from .kinds import Kinds
from .record import ExecRecord, Phase

_DOUBTFUL = (
    "records were lost that may have told whether what an earlier test started was still running at its end: raise"
    " --execprobe-buffer-pages"
)


@dataclass(eq=False, slots=True)
class Owner:
    """A test (with its phases), or a fixture of wider scope than a test."""

    name: str
    is_test: bool
    began: int
    ended: int | None = None
    #: What reports and baselines know it by, if not by its name.
    key: str = ""

    @property
    def id(self) -> str:
        return self.key or self.name


@dataclass(eq=False, slots=True)
class Span:
    """A stretch of time that belongs to an owner. Spans nest, and the innermost counts."""

    owner: Owner
    start: int
    end: int | None
    phase: Phase | None
    outer: Span | None

    def covers(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)


@dataclass(frozen=True, eq=False)
class Gap:
    """A stretch of time in which events may be missing, and it is not known whose."""

    start: int
    end: int | None
    why: str
    #: How many execs, at most, whoever's they were; None if that has no bound.
    most: int | None = None

    def overlaps(self, start: int, end: int) -> bool:
        return self.start < end and (self.end is None or self.end > start)


@dataclass(frozen=True)
class Lost:
    """An exec of which only this is known: it took place."""

    timestamp_ns: int
    direct: bool
    begun_in: Phase | None = None


@dataclass(frozen=True)
class Evidence:
    """What is known of a window."""

    records: tuple[ExecRecord, ...] = ()
    attempts: tuple[ExecRecord, ...] = ()
    strays: tuple[ExecRecord, ...] = ()
    lost: tuple[Lost, ...] = ()
    lost_attempts: int = 0
    lost_strays: int = 0
    #: Why more may be missing than ``lost`` and ``gaps`` have, if so: then there is no bound.
    unknown: tuple[str, ...] = ()
    #: Losses that may be of this window or not, each with a bound.
    gaps: tuple[Gap, ...] = ()
    #: How many execs are left out by their name.
    ignored: int = 0
    #: Whether execs are left out by what they are, so that a lost one may be one of those.
    filtered: bool = False
    _kinds: dict[bool, Kinds] = field(default_factory=dict, init=False, repr=False, compare=False)

    def kinds(self, *, in_tree: bool = False) -> Kinds:
        """The records by their kind."""
        if in_tree not in self._kinds:
            self._kinds[in_tree] = Kinds(self.records, in_tree=in_tree)
        return self._kinds[in_tree]

    @property
    def commands(self) -> list[Command]:
        """Those of the records."""
        return [record._command for record in self.records]

    @property
    def missing(self) -> int | None:
        """How many execs, at most, are not in ``records``, None if there is no bound."""
        return None if self.unknown else len(self.lost) + sum(gap.most or 0 for gap in self.gaps)

    @property
    def surely_lost(self) -> int:
        """How many execs, at least, are not in ``records``."""
        return 0 if self.filtered else len(self.lost)

    @property
    def why(self) -> tuple[str, ...]:
        """Why more may be missing than is known to be lost."""
        return tuple(dict.fromkeys([*self.unknown, *(gap.why for gap in self.gaps)]))

    def only_direct(self) -> Evidence:
        def own(records: tuple[ExecRecord, ...]) -> tuple[ExecRecord, ...]:
            return tuple(record for record in records if record._direct)

        return replace(
            self,
            records=own(self.records),
            attempts=own(self.attempts),
            strays=own(self.strays),
            lost=tuple(lost for lost in self.lost if lost.direct),
        )

    def begun_in(self, phase: Phase) -> Evidence:
        """What is known to be the work of branches that its own test began in a phase. Those of other tests, or of
        wider fixtures, have begun in a phase of theirs."""
        return replace(
            self,
            records=tuple(record for record in self.records if record._begun_in == phase and not record._shared),
            lost=tuple(lost for lost in self.lost if lost.begun_in == phase),
            unknown=(),
            gaps=(),
        )

    def without(self, dropped: Callable[[ExecRecord], bool]) -> Evidence:
        """What is left when some records are not to count."""
        records = tuple(record for record in self.records if not dropped(record))
        return replace(self, records=records, filtered=True)

    @staticmethod
    def merged(parts: Iterable[Evidence]) -> Evidence:
        """What is known of several windows together, one after the other."""
        parts = tuple(parts)
        return Evidence(
            records=tuple(record for part in parts for record in part.records),
            attempts=tuple(record for part in parts for record in part.attempts),
            strays=tuple(record for part in parts for record in part.strays),
            lost=tuple(lost for part in parts for lost in part.lost),
            lost_attempts=sum(part.lost_attempts for part in parts),
            lost_strays=sum(part.lost_strays for part in parts),
            unknown=tuple(dict.fromkeys(why for part in parts for why in part.unknown)),
            # One that overlaps several windows is missing in one of them.
            gaps=tuple(dict.fromkeys(gap for part in parts for gap in part.gaps)),
            ignored=sum(part.ignored for part in parts),
            filtered=any(part.filtered for part in parts),
        )


def _parted(execs: tuple[Exec, ...], time: int | None) -> tuple[tuple[Exec, ...], tuple[Exec, ...]]:
    """What was entered before that moment, None for all, and what was not."""
    if time is None:
        return execs, ()
    later = [event for event in execs if event.entered >= time]
    return (tuple([event for event in execs if event.entered < time]), tuple(later)) if later else (execs, ())


def _unplaced(batch: Batch) -> Gap:
    if batch.passed_over == batch.unplaced:
        # It does so on a CPU where it has put one of the probe's programs aside.
        why = f"the kernel passed over the probe {batch.passed_over} times, as it can on a busy CPU: run it again"
    else:
        why = f"{batch.unplaced} records more were lost than can be told apart: raise --execprobe-buffer-pages"
    return Gap(batch.unplaced_from, batch.unplaced_to, why, None if batch.unbounded else batch.unplaced)


def _may_have_lost(known: Known, start: int, end: int) -> bool:
    """Whether what a process did then, up to and with the last moment, may have been told of by a lost record."""
    return any(gap.overlaps(start, end + 1) for gap in known.unplaced)


class Facts(NamedTuple):
    """See :class:`pytest_execprobe.ExecRecord`."""

    lineage_lost: bool
    depth: int | None
    direct: bool
    uid: int
    gid: int
    timestamp_ns: int
    phase: Phase | None
    begun_by: str | None
    begun_in: Phase | None
    shared: bool
    exit_code: int | None
    signal: int | None
    duration_ns: int | None


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
    #: Whether a report has been told of it.
    reported: bool = False
    #: When its process ended, if it ran this then, and with what status.
    ended_at: int | None = None
    status: int | None = None
    _record: ExecRecord | None = None

    @property
    def record(self) -> ExecRecord | None:
        """As it is known now; None if it was lost. It is made when it is first looked at: most never are."""
        todo = [self]
        while todo and self.event.command is not None:
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

    def over(self, end: Ended) -> None:
        self.ended_at, self.status, self._record = end.at, end.status, None

    def _make(self) -> None:
        event, above, previous = self.event, self.above, self.previous
        if self._record is not None or event.command is None:
            return
        lost, depth, direct, uid, gid, entered, phase, begun_by, begun_in, shared, code, signal, lasted = self.facts()
        self._record = ExecRecord(
            event.command,
            pid=event.pid if event.seen_pid is None else event.seen_pid,
            ppid=event.ppid,
            parent=None if above is None else above._record,
            depth=depth,
            uid=uid,
            gid=gid,
            timestamp_ns=entered,
            phase=phase,
            begun_by=begun_by,
            error=event.error,
            exit_code=code,
            signal=signal,
            duration_ns=lasted,
            call_site=None,
            _previous=None if previous is None else previous._record,
            _direct=direct,
            _shared=shared,
            _begun_in=begun_in,
            _lineage_lost=lost,
            _identity=self.image,
        )

    def facts(self) -> Facts:
        """What a record has of it, besides its command, its numbers and those above it."""
        event, begun_in = self.event, self.begun_in
        return Facts(
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
            *self._fate(),
        )

    def _fate(self) -> tuple[int | None, int | None, int | None]:
        """Exit code, signal and duration, as far as the end of its process is known."""
        if self.ended_at is None:
            return None, None, None
        duration = self.ended_at - self.event.entered
        if self.status is None:
            return None, None, duration
        code, signal = self.status >> 8 & 0xFF, self.status & 0x7F
        return None if signal else code, signal or None, duration


class Known(NamedTuple):
    """How far a timeline has come. It is replaced as a whole, once all that it says is so."""

    #: Up to when everything is known.
    complete_to: int = 0
    gaps: tuple[Gap, ...] = ()
    late: Gap | None = None  # execs that the last synchronisation did not see the end of
    unplaced: tuple[Gap, ...] = ()  # those of the gaps in which ends of processes were lost, too
    held: tuple[Exec, ...] = ()  # came with a batch that does not vouch for what was before them
    settled: tuple[Exec, ...] = ()  # all that was before them is here, but not their span
    placed: int = 0  # how many execs have found their place
    mark: object = None  # of the last batch


class _Stretch(NamedTuple):
    """From ``start`` to before ``end`` the same span is the innermost."""

    span: Span | None
    start: int
    end: int


_NEVER = 1 << 64
_NO_STRETCH = _Stretch(None, 0, 0)

# Of C, so that bisect and insort are one call of the interpreter's: an exception comes before or after it.
_AT = attrgetter("at")
_BEGIN = attrgetter("start")
_ENTERED = attrgetter("event.entered")


@dataclass(eq=False)
class Timeline:
    """All that is known of one root's tree.

    An exception can break into any of this, as that of a signal's handler does. What is known changes in one step, at
    the end; what was changed before it is taken back, or done again and then the same.
    """

    #: Since when the root is watched.
    armed_at: int = 0
    known: Known = field(default_factory=Known)
    #: Since when there is no source, and why.
    blind: Gap | None = None
    #: What is in no window, with all that is below it.
    hides: Callable[[Command], bool] = lambda _: False
    _spans: list[Span] = field(default_factory=list)  # by their start
    _current: Span | None = None
    _entries: list[Entry] = field(default_factory=list)  # by the time of entry
    _log: list[Entry] = field(default_factory=list)  # as they have found their place
    _told: int = 0  # how many of those
    _images: dict[Image, Entry] = field(default_factory=dict)
    _ended: dict[Branch, int] = field(default_factory=dict)
    _exits: dict[Image, Ended] = field(default_factory=dict)  # of execs that have no place yet
    #: When execs were entered that are shared or strays: what would tell of the end of their branch's top may be lost.
    _doubtful: list[int] = field(default_factory=list)
    _changes: int = 0  # in what was known of an entry already
    _awaited: int | None = None  # when the span begins that what has settled waits for

    @property
    def complete_to(self) -> int:
        """Up to when everything is known."""
        return self.known.complete_to

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return self.known.gaps

    def add_gap(self, gap: Gap) -> None:
        self.known = self.known._replace(gaps=(*self.known.gaps, gap))

    # ---- spans ----

    def open(self, owner: Owner, phase: Phase | None, start: int) -> Span:
        span = Span(owner, start, None, phase, self._current)
        self._spans.append(span)
        self._current = span
        return span

    def close(self, span: Span, end: int) -> None:
        span.end = end
        self._current = span.outer

    def span_at(self, time: int) -> Span | None:
        """The innermost span that covers a moment."""
        return self._stretch(time).span

    def _stretch(self, time: int) -> _Stretch:
        index = bisect_right(self._spans, time, key=_BEGIN)
        span = self._spans[index - 1] if index else None
        start = span.start if span else 0
        end = self._spans[index].start if index < len(self._spans) else _NEVER
        while span is not None and not span.covers(time):
            if span.start <= time:
                start = max(start, span.end or 0)
            span = span.outer
        if span is not None and span.end is not None:
            end = min(end, span.end)
        return _Stretch(span, start, end)

    # ---- events ----

    def add(self, batch: Batch) -> None:
        """Takes a batch in, as a whole: if an exception breaks in, it has still to be taken in."""
        self._take_back()
        known = self.known
        if batch.is_quiet and not (known.held or known.settled or known.late):
            self.known = Known(
                max(known.complete_to, batch.complete_to),
                known.gaps,
                unplaced=known.unplaced,
                placed=known.placed,
                mark=batch.mark,
            )
            return
        execs: list[Exec] = []
        ends: list[Ended] = []
        gaps: list[Gap] = []
        for event in batch.events:
            if isinstance(event, Exec):
                execs.append(event)
            elif isinstance(event, Ended):
                if event.branch.top == event.pid:
                    self._ended[event.branch] = event.at
                if event.image is not None:
                    ends.append(event)
            else:
                gaps.append(Gap(event.at, event.at + 1 if event.moment else None, event.why))
        unplaced = [_unplaced(batch)] if batch.unplaced else []
        promised = known.complete_to if known.late is None else 0
        late = known.late
        if batch.complete_to:
            why = f"{batch.under_way} execs were still under way after the wait for them: raise --execprobe-timeout"
            late = Gap(0, batch.complete_to, why, batch.under_way) if batch.under_way else None
        new = known._replace(
            complete_to=max(known.complete_to, batch.complete_to),
            gaps=(*known.gaps, *gaps, *unplaced),
            late=late,
            unplaced=(*known.unplaced, *unplaced),
            held=(*known.held, *execs),
            mark=batch.mark,
        )
        self._place(new, new.complete_to, promised, ends)

    @property
    def is_waiting(self) -> bool:
        """Whether an exec was still under way when the last synchronisation had waited long enough."""
        return self.known.late is not None

    def settle(self) -> None:
        """Takes in what is held back, when nothing more is to come."""
        self._take_back()
        self._place(self.known, None, 0)

    def _take_back(self) -> None:
        """Leaves nothing of what an exception broke into."""
        if len(self._log) != self.known.placed:
            stale = self._log[self.known.placed :]
            for entry in stale:
                if self._images.get(entry.image) is entry:
                    del self._images[entry.image]
            ids = set(map(id, stale))
            self._entries[:] = [entry for entry in self._entries if id(entry) not in ids]
            del self._log[self.known.placed :]

    def _place(self, known: Known, until: int | None, promised: int, ends: Iterable[Ended] = ()) -> None:
        # CPUs are read in turn, so that a child's record can come a batch before its parent's. Up to the moment that a
        # batch vouches for, all are there.
        ready, held = _parted(known.held, None if until is None else until + 1)
        gaps = []
        for event in ready:
            if event.entry_unseen:
                gaps.append(Gap(promised, event.at, "the kernel did not tell when an exec began"))
            elif event.entered <= promised:  # no window of that time may have been called complete
                why = "an exec was told of later than the kernel's counts allow: please report this"
                gaps.append(Gap(event.entered, until, why))
        self._assign_settled(
            known._replace(
                gaps=(*known.gaps, *gaps),
                held=held,
                settled=(*known.settled, *ready),
            ),
            ends,
        )

    def wait_for_span(self, since: int) -> None:
        """A span is to be opened that begins at ``since``, but not yet: what is entered from then on waits for it."""
        self._awaited = since

    def stop_waiting(self) -> None:
        self._awaited = None
        if self.known.settled:
            self._take_back()
            self._assign_settled(self.known)

    def _assign_settled(self, known: Known, ends: Iterable[Ended] = ()) -> None:
        """From then on that is known."""
        ready, left = _parted(known.settled, self._awaited)
        # What was looked up for one is mostly true for the next.
        entered = born = _NO_STRETCH
        parent, above = None, None
        hidden: dict[int, bool] = {}
        for event in sorted(ready, key=_AT):
            if not entered.start <= event.entered < entered.end:
                entered = self._stretch(event.entered)
            if not born.start <= event.branch.born < born.end:
                born = self._stretch(event.branch.born)
            if above is None or event.parent is not parent:
                parent = event.parent
                above, above_lost = self._image(parent)
            if event.command is not None and id(event.command) not in hidden:
                hidden[id(event.command)] = self.hides(event.command)
            begun_in = born.span if event.branch.born else None
            self._add(event, known, entered.span, begun_in, above, above_lost, hidden.get(id(event.command), False))
        for end in ends:
            self._end(end)
        self.known = known._replace(settled=left, placed=len(self._log))
        if self._exits:
            self._tidy(ready)

    def _add(
        self,
        event: Exec,
        known: Known,
        span: Span | None,
        begun_in: Span | None,
        above: Entry | None,
        above_lost: bool,
        hidden: bool,
    ) -> None:
        owner, stray_of, span = self._assign(event, span, begun_in, known)
        # What an adopted process ran before the probe was there, nobody knows.
        above_lost = above_lost or (event.parent is None and event.branch.born == 0)
        previous, previous_lost = (None, False) if event.previous is None else self._image(event.previous)
        nearest = previous or above
        hidden = hidden or (nearest is not None and nearest.hidden)
        depth = None if above_lost else 1 if above is None else above.depth and above.depth + 1
        image = (event.pid, event.at)
        entry = Entry(
            event, owner, stray_of, span, begun_in, above, previous, hidden, above_lost, previous_lost, depth, image
        )
        self._log.append(entry)  # first, so that it is known what to take back
        if event.error is None:
            self._images[image] = entry
            if self._exits:
                self._end(self._exits.get(image))
        if self._entries and self._entries[-1].event.entered > event.entered:
            insort(self._entries, entry, key=_ENTERED)
        else:
            self._entries.append(entry)

    @property
    def has_news(self) -> bool:
        return self._told < self.known.placed

    def take_news(self) -> list[Entry]:
        """The execs that have found their place since this was last asked."""
        news = self.placed_since(self._told)
        self._told = self.known.placed
        return news

    def placed_since(self, number: int) -> list[Entry]:
        """The execs that have found their place since there were so many ``known.placed``."""
        return [entry for entry in self._log[number : self.known.placed] if entry.event.error is None]

    def _assign(
        self, event: Exec, span: Span | None, begun_in: Span | None, known: Known
    ) -> tuple[Owner | None, Owner | None, Span | None]:
        """(whom it counts for, whose stray it is, the span in which it was entered)"""
        running = span.owner if span else None
        beginner = begun_in.owner if begun_in else None
        if beginner is None or not beginner.is_test or beginner is running:
            return running, None, span
        if beginner.ended is None or event.entered < beginner.ended:
            # While its test lasts: a wider fixture's set-up, in the middle of the test's own, takes nothing from it.
            # What was begun by hooks around the test's phases counts for the phases, while they last.
            while span is not None and not span.owner.is_test:
                span = span.outer
            return span.owner if span else beginner, None, span
        ended = self._ended.get(event.branch)
        if ended is None and event.pid != event.branch.top and _may_have_lost(known, event.branch.born, beginner.ended):
            insort(self._doubtful, event.entered)
        if ended is None or ended > beginner.ended:
            return running, None, span
        return None, beginner, span

    def _image(self, image: Image | None) -> tuple[Entry | None, bool]:
        """The entry of an image, and whether it is lost. What ran before the root was watched is above the tree."""
        if image is None or image[1] < self.armed_at:
            return None, False
        entry = self._images.get(image)
        if entry is None or entry.event.command is None:
            return None, True
        return entry, False

    def remember(self, older: Timeline, images: Iterable[Image]) -> None:
        """Takes over from another timeline what these images are; what is above them is not known any more."""
        for image in images:
            entry = older._images.get(image)
            if entry is not None and entry.event.command is not None:
                self._images[entry.image] = replace(
                    entry, above=None, previous=None, above_lost=True, depth=None, _record=None
                )

    def entry_of(self, image: Image | None) -> Entry | None:
        """That of an image, None if there is none, or it was lost."""
        return self._image(image)[0]

    def _end(self, end: Ended | None) -> None:
        """Lets the record of an exec know how its process ended, once both are here."""
        if end is None or end.image is None:
            return
        entry = self._images.get(end.image)
        if entry is None:
            self._exits[end.image] = end
            return
        self._changes += 1  # first: then nobody takes what was seen before for what is known now
        entry.over(end)

    def _tidy(self, placed: Iterable[Exec]) -> None:
        """Forgets the ends that records know of: only when what is known says so, for it may have to be done again."""
        for event in placed:
            if event.error is None:
                self._exits.pop((event.pid, event.at), None)

    # ---- windows ----

    def evidence(
        self,
        start: int,
        end: int,
        owner: Owner | None,
        ignored: Callable[[ExecRecord], bool] | None = None,
    ) -> Evidence:
        """What is known of an owner's execs entered from ``start`` to before ``end``. Those that are ``ignored`` are
        counted besides."""
        ignored_ones = 0
        records: list[ExecRecord] = []
        attempts: list[ExecRecord] = []
        strays: list[ExecRecord] = []
        lost: list[Lost] = []
        lost_attempts = lost_strays = 0
        for entry in self._entries_of(start, end):
            if entry.hidden:
                continue
            event, record = entry.event, entry.record
            if record is not None and ignored is not None and ignored(record):
                ignored_ones += entry.owner is owner and event.error is None
                continue
            if entry.stray_of is not None:
                if event.error is None and record is not None:
                    strays.append(record)
                elif event.error is None:
                    lost_strays += 1
            elif entry.owner is not owner:
                continue
            elif record is None:
                if event.error is None:
                    lost.append(entry.lost)
                else:
                    lost_attempts += 1
            else:
                (records if event.error is None else attempts).append(record)
        return replace(
            self.losses(start, end),
            records=tuple(records),
            attempts=tuple(attempts),
            strays=tuple(strays),
            lost=tuple(lost),
            lost_attempts=lost_attempts,
            lost_strays=lost_strays,
            ignored=ignored_ones,
            filtered=ignored is not None,
        )

    def is_quiet(self, start: int, end: int) -> bool:
        """Whether it is certain that nothing was entered from ``start`` to before ``end``, whoever's it would be: then
        evidence of any owner is empty, and complete. False where that takes a closer look."""
        known = self.known
        if known.held or known.settled or known.late or self.blind or known.complete_to < end:
            return False
        if len(self._log) != known.placed or (self._entries and self._entries[-1].event.entered >= start):
            return False
        return not [gap for gap in known.gaps if gap.overlaps(start, end)]

    def tally(self, start: int, end: int, owner: Owner | None) -> tuple[list[Command], Evidence]:
        """The commands of the records that :meth:`evidence` would have, and what is missing; no attempt, and no
        stray."""
        commands: list[Command] = []
        lost: list[Lost] = []
        for entry in self._entries_of(start, end):
            event = entry.event
            if entry.owner is owner and entry.stray_of is None and event.error is None and not entry.hidden:
                if event.command is None:
                    lost.append(entry.lost)
                else:
                    commands.append(event.command)
        return commands, replace(self.losses(start, end), lost=tuple(lost))

    def state(self, end: int) -> object:
        """Equal to what it was if nothing has changed that was entered before ``end``, and nothing was entered since:
        then evidence of a window up to now, losses apart, is what it was."""
        self._stop_waiting_for_what_is_looked_at(end)
        last = self._entries[-1].event.entered if self._entries else 0
        return None if last >= end else (self.known.placed, self._changes)

    def _stop_waiting_for_what_is_looked_at(self, end: int) -> None:
        self._take_back()
        if self._awaited is None or end > self._awaited:  # somebody looks in between
            self.stop_waiting()

    def _entries_of(self, start: int, end: int) -> list[Entry]:
        """All that was entered from ``start`` to before ``end``."""
        self._stop_waiting_for_what_is_looked_at(end)
        low, high = (bisect_right(self._entries, time - 1, key=_ENTERED) for time in (start, end))
        return self._entries[low:high]

    def losses(self, start: int, end: int) -> Evidence:
        """Why events of a stretch of time may be missing, and it is not known whose; nothing else."""
        every = (*self.known.gaps, self.known.late, self.blind)
        gaps = [gap for gap in every if gap is not None and gap.overlaps(start, end)]
        why = [gap.why for gap in gaps if gap.most is None]
        if bisect_left(self._doubtful, start) < bisect_left(self._doubtful, end):
            why.append(_DOUBTFUL)
        return Evidence(unknown=tuple(dict.fromkeys(why)), gaps=tuple(gap for gap in gaps if gap.most is not None))

    @property
    def size(self) -> int:
        """How much it keeps, in pieces of some hundred bytes each."""
        return len(self._entries) + len(self._images) + len(self._ended) + len(self._spans)

    def lighter(self, since: int, running: Running, listed_at: int) -> Timeline:
        """Another that knows all of this which can still be asked for, to be used from now on in its stead.

        ``since`` is where the first window begins that is not final. ``running`` are the processes of the tree that had
        not ended at ``listed_at``: what comes is the work of those, or of what they or the root fork from then on.
        """
        self._take_back()
        known = self.known
        if known.held or known.settled or known.late or self.blind:
            return self  # what comes may be of others
        if known.complete_to < listed_at or not running.are_all:
            return self
        images = {process.image for process in running.listed}
        # Of a process whose own record has vanished it is not known what has forked it.
        vanished = any(one.own_exec and one.image not in self._images for one in running.listed)
        own = [e for image, e in self._images.items() if vanished or image in images or e.event.at >= listed_at]
        # What the next exec of a process names: what it ran before, and what has forked it.
        kept = [entry for one in own for entry in (one, one.above) if entry is not None]
        branches = {entry.event.branch for entry in kept}
        # Of a process that runs what is not known here, only this is known of its branch: it was there by then.
        moment = max((one.since or 0 for one in running.listed if one.image not in self._images), default=-1)
        starts = {bisect_right(self._spans, branch.born, key=_BEGIN) - 1 for branch in branches}
        first = bisect_right(self._spans, min(since, listed_at), key=_BEGIN) - 1
        news = self._log[self._told : known.placed]
        return replace(
            self,
            known=known._replace(placed=len(news)),
            _spans=[
                span
                for index, span in enumerate(self._spans)
                if index >= first or index in starts or span.start <= moment or span.end is None
            ],
            _entries=self._entries[bisect_left(self._entries, since, key=_ENTERED) :],
            _log=news,
            _told=0,
            _images={entry.image: entry for entry in kept},
            _ended={
                branch: at
                for branch, at in self._ended.items()
                if branch in branches or branch.born <= moment or at >= listed_at
            },
            _exits={},  # their execs were lost
        )

    def forget(self) -> None:
        """Starts anew in a forked child: what the parent's tree ran is not the child's."""
        self._changes += 1
        self._entries.clear()
        self._log.clear()
        self._told = 0
        self._images.clear()
        self._ended.clear()
        self._exits.clear()
        self._doubtful.clear()
        self.known = Known()
