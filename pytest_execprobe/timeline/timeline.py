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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from ..source.command import Command
from ..source.events import Batch, Branch, Ended, Exec, Image
from .calls import Calls
from .crashes import is_killed
from .entry import Entry
from .evidence import Evidence, Gap, Lost
from .progress import Progress, parted
from .record import ExecRecord
from .spans import NO_STRETCH, Owner, Span, Spans

_DOUBTFUL = (
    "records were lost that may say whether what an earlier test started was still running at its end: raise"
    " --execprobe-buffer-pages"
)

# Of C, so that bisect and insort are one call of the interpreter's: an exception comes before or after it.
ENTERED = attrgetter("event.entered")
_AT = attrgetter("at")


@dataclass(eq=False)
class Timeline:
    """All that is known of one root's tree.

    An exception can break into any of this, as that of a signal's handler does. What is known changes in one step, at
    the end; what was changed before it is taken back, or done again and then the same.
    """

    #: Since when the root is watched.
    armed_at: int = 0
    known: Progress = field(default_factory=Progress)
    quiet_to: int = 0  # up to when nothing has happened since the last batch
    #: Since when there is no source, and why.
    blind: Gap | None = None
    #: What is in no window, with all that is below it.
    hides: Callable[[Command], bool] = lambda _: False
    spans: Spans = field(default_factory=Spans)
    calls: Calls = field(default_factory=Calls)
    _entries: list[Entry] = field(default_factory=list)  # by the time of entry
    _log: list[Entry] = field(default_factory=list)  # as they have found their place
    _taken: int = 0  # how many of those
    _images: dict[Image, Entry] = field(default_factory=dict)
    _ended: dict[Branch, int] = field(default_factory=dict)
    _exits: dict[Image, Ended] = field(default_factory=dict)  # of execs that have no place yet
    #: When execs were entered that are shared or strays: the end of their branch's top may be lost.
    _doubtful: list[int] = field(default_factory=list)
    _changes: int = 0  # in what was known of an entry already
    killed: dict[Image, Entry] = field(default_factory=dict)  # until they are taken
    killed_forks: dict[Image, Ended] = field(default_factory=dict)  # likewise
    awaited: int | None = None  # when the span begins that what has settled waits for
    _calm: tuple[Progress | None, int] = (None, 0)  # what was known, since when nothing was entered or is missing

    @property
    def complete_to(self) -> int:
        """Up to when everything is known."""
        return max(self.known.complete_to, self.quiet_to)

    def add_gap(self, gap: Gap) -> None:
        self.known = self.known._replace(gaps=(*self.known.gaps, gap))

    # ---- events ----

    def add(self, batch: Batch) -> None:
        """Takes a batch in, as a whole: if an exception breaks in, it has still to be taken in."""
        self._take_back()
        known = self.known._replace(complete_to=self.complete_to)
        if batch.is_quiet and not known.has_pending:
            self.known = known.after_quiet(batch)
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
                    self.calls.of(event.branch)
                if event.image is not None:
                    ends.append(event)
                elif is_killed(event.status):
                    self.killed_forks[event.pid, event.at] = event
            else:
                gaps.append(Gap(event.at, event.at + 1 if event.moment else None, event.why, branch=event.branch))
        promised = known.complete_to if known.late is None else 0
        new = known.after(batch, execs, gaps)
        self._place(new, new.complete_to, promised, ends)

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

    def _place(self, known: Progress, until: int | None, promised: int, ends: Sequence[Ended] = ()) -> None:
        # CPUs are read in turn, so that a child's record can come a batch before its parent's. Up to the moment that a
        # batch vouches for, all are there.
        ready, held = parted(known.held, None if until is None else until + 1)
        gaps = []
        for event in ready:
            if event.entry_unseen:
                gaps.append(Gap(promised, event.at, "the kernel did not report when an exec began"))
            elif event.entered <= promised:  # no window of that time may have been called complete
                why = "an exec event arrived later than the kernel's counts allow: please report this"
                gaps.append(Gap(event.entered, until, why))
        gone_on = known._replace(gaps=(*known.gaps, *gaps), held=held, settled=(*known.settled, *ready))
        self._assign_settled(gone_on, ends)

    def stop_waiting(self) -> None:
        self.awaited = None
        if self.known.settled:
            self._take_back()
            self._assign_settled(self.known)

    def _assign_settled(self, known: Progress, ends: Sequence[Ended] = ()) -> None:
        """From then on that is known."""
        ready, left = parted(known.settled, self.awaited)
        # What was looked up for one is mostly true for the next.
        entered = born = NO_STRETCH
        branch = parent = above = begun_in = None
        above_lost = False
        hides: dict[int, bool] = {}
        for event in sorted(ready, key=_AT):
            if not entered.start <= event.entered < entered.end:
                entered = self.spans.at(event.entered)
            if event.branch is not branch:
                branch = event.branch
                if not born.start <= branch.born < born.end:
                    born = self.spans.at(branch.born)
                begun_in = born.span if branch.born else None
            if above is None or event.parent is not parent:
                parent = event.parent
                above, above_lost = self._image(parent)
            if (hidden := hides.get(id(event.command))) is None:
                hidden = hides[id(event.command)] = event.command is not None and self.hides(event.command)
            self._add(event, known, entered.span, begun_in, above, above_lost, hidden)
        self._end_all(ends)
        self.known = known._replace(settled=left, placed=len(self._log))
        for event in ready if self._exits else ():  # only now, for it may have had to be done again
            if event.error is None:
                self._exits.pop((event.pid, event.at), None)

    def _add(
        self,
        event: Exec,
        known: Progress,
        span: Span | None,
        begun_in: Span | None,
        above: Entry | None,
        above_lost: bool,
        hidden: bool,
    ) -> None:
        owner, stray_of, span = self._assign(event, span, begun_in, known)
        # What an adopted process ran before the probe was there is not known.
        above_lost = above_lost or (event.parent is None and event.branch.born == 0)
        previous, previous_lost = (None, False) if event.previous is None else self._image(event.previous)
        nearest = previous or above
        hidden = hidden or (nearest is not None and nearest.hidden)
        depth = None if above_lost else 1 if above is None else above.depth and above.depth + 1
        image, call = (event.pid, event.at), self.calls.of_exec(event)
        entry = Entry(event, owner, stray_of, span, begun_in, above, previous, hidden, above_lost, previous_lost,
                      depth, image, call)  # fmt: skip
        self._log.append(entry)  # first, so that it is known what to take back
        if event.error is None:
            self._images[image] = entry
            if self._exits and image in self._exits:
                self._end_all([self._exits[image]])
        if self._entries and self._entries[-1].event.entered > event.entered:
            insort(self._entries, entry, key=ENTERED)
        else:
            self._entries.append(entry)

    @property
    def has_new(self) -> bool:
        return bool(self._taken < self.known.placed or self.killed or self.killed_forks)

    def take_new(self) -> list[Entry]:
        """The execs that have found their place since this was last asked."""
        new = self.placed_since(self._taken)
        self._taken = self.known.placed
        return new

    def placed_since(self, number: int) -> list[Entry]:
        """The execs that have found their place since there were so many ``known.placed``."""
        return [entry for entry in self._log[number : self.known.placed] if entry.event.error is None]

    def _assign(
        self, event: Exec, span: Span | None, begun_in: Span | None, known: Progress
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
        if (
            ended is None
            and event.pid != event.branch.top
            and known.may_have_lost_end(event.branch.born, beginner.ended)
        ):
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

    def entry_of(self, image: Image | None) -> Entry | None:
        """That of an image, None if there is none, or it was lost."""
        return self._image(image)[0]

    def _end_all(self, ends: Sequence[Ended]) -> None:
        """Lets the records of execs know how their processes ended, once both are here."""
        self._changes += len(ends)  # first: then what was seen before is not taken for what is known now
        for end in ends:
            assert end.image is not None
            entry = self._images.get(end.image)
            if entry is None:
                self._exits[end.image] = end
                continue
            entry.end(end)
            if end.status and is_killed(end.status):
                self.killed[end.image] = entry

    # ---- windows ----

    def evidence(
        self, start: int, end: int, owner: Owner | None, ignored: Callable[[ExecRecord], bool] | None = None
    ) -> Evidence:
        """What is known of an owner's execs entered from ``start`` to before ``end``. Those that are ``ignored`` are
        counted besides."""
        records: list[ExecRecord] = []
        attempts: list[ExecRecord] = []
        strays: list[ExecRecord] = []
        lost: list[Lost] = []
        left_out: list[ExecRecord] = []
        lost_attempts = lost_strays = 0
        for entry in self._entries_of(start, end):
            if entry.hidden:
                continue
            record, failed = entry.record, entry.event.error is not None
            if record is not None and ignored is not None and ignored(record):
                left_out += [record] if entry.owner is owner and not failed else []
            elif entry.stray_of is not None:
                if record is not None and not failed:
                    strays.append(record)
                lost_strays += record is None and not failed
            elif entry.owner is not owner:
                continue
            elif record is not None:
                (attempts if failed else records).append(record)
            elif failed:
                lost_attempts += 1
            else:
                lost.append(entry.lost)
        return replace(
            self.losses(start, end),
            records=tuple(records),
            attempts=tuple(attempts),
            strays=tuple(strays),
            lost=tuple(lost),
            lost_attempts=lost_attempts,
            lost_strays=lost_strays + sum(gap.branch is not None and gap.start < end for gap in self.known.gaps),
            ignored=len(left_out),
            left_out=tuple(left_out),
            filtered=ignored is not None,
        )

    def is_quiet(self, start: int, end: int) -> bool:
        """Whether it is certain that nothing was entered from ``start`` to before ``end``, whoever's it would be: then
        evidence of any owner is empty, and complete. False where that takes a closer look."""
        known = self.known
        if self.complete_to < end or known.has_pending or self.blind:
            return False
        if len(self._log) != known.placed or (self._entries and self._entries[-1].event.entered >= start):
            return False
        gaps = [gap for gap in known.gaps if gap.end is None or gap.end > start]
        if not gaps and (self._calm[0] is not known or start < self._calm[1]):
            self._calm = known, start
        return not any(gap.overlaps(start, end) for gap in gaps)

    def is_calm(self, start: int) -> bool:
        """Whether it is certain that nothing has happened from ``start`` on, if nothing has since the last batch."""
        known, since = self._calm
        return known is self.known and since <= start and self.blind is None

    def tally(self, start: int, end: int, owner: Owner | None) -> tuple[list[Command], Evidence]:
        """The commands of the records that :meth:`evidence` would have, and what is missing; no attempt or stray."""
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
        return None if last >= end else (self.known.placed, self._changes, self.calls.unsettled)

    def _stop_waiting_for_what_is_looked_at(self, end: int) -> None:
        self._take_back()
        if self.awaited is None or end > self.awaited:
            self.stop_waiting()

    def _entries_of(self, start: int, end: int) -> list[Entry]:
        """All that was entered from ``start`` to before ``end``."""
        self._stop_waiting_for_what_is_looked_at(end)
        low, high = (bisect_right(self._entries, time - 1, key=ENTERED) for time in (start, end))
        return self._entries[low:high]

    def losses(self, start: int, end: int, spares: Callable[[Owner], bool] = lambda _: False) -> Evidence:
        """Why events of a stretch of time may be missing, and it is not known whose; nothing else. ``spares`` says of
        an owner that it does not matter if all of them were that one's."""
        every = (*self._others_gaps(spares), self.known.late, self.blind)
        gaps = [gap for gap in every if gap is not None and gap.overlaps(start, end)]
        why = [gap.why for gap in gaps if gap.most is None]
        if bisect_left(self._doubtful, start) < bisect_left(self._doubtful, end):
            why.append(_DOUBTFUL)
        return Evidence(unknown=tuple(dict.fromkeys(why)), gaps=tuple(gap for gap in gaps if gap.most is not None))

    def _others_gaps(self, spares: Callable[[Owner], bool]) -> Iterator[Gap]:
        """Those that may be of an owner that is not spared. What is missing in a branch whose top had ended when its
        test did is that test's, and after that a stray of it."""
        for gap in self.known.gaps:
            branch = gap.branch
            beginner = branch and self.spans.only_owner(branch.born, self._ended.get(branch))
            if beginner is None:
                yield gap
            elif not spares(beginner):
                yield replace(gap, end=beginner.ended)

    @property
    def size(self) -> int:
        """How much it keeps, in pieces of some hundred bytes each."""
        return len(self._entries) + len(self._images) + len(self._ended) + len(self.spans) + len(self.calls)

    def forget(self) -> None:
        """In a forked child: what the parent's tree ran is not the child's."""
        self._changes += 1
        self._taken = 0
        for known in (self._entries, self._log, self._images, self._ended, self._exits, self._doubtful, self.calls):
            known.clear()
        self.killed, self.killed_forks = {}, {}
        self.known, self.quiet_to = Progress(), 0
