"""Whose exec is it, against a model that sees everything: random process trees, random tests, and what CPUs deliver.

The world below is played step by step: processes fork, exec and end, tests and fixtures begin and end. It knows who
runs and which processes live, and so can say by the five rules whose each exec is (``World.verdict``). What it gives
the timeline is what the kernel side would: a queue of records for each CPU, some lost, cut into batches anywhere.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from fakes import exec_event
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_execprobe import ExecRecord
from pytest_execprobe.source import events
from pytest_execprobe.source.events import Batch, Branch, Ended, Event, Image
from pytest_execprobe.timeline.entry import Entry
from pytest_execprobe.timeline.lighter import lighter
from pytest_execprobe.timeline.record import Phase
from pytest_execprobe.timeline.spans import Owner, Span
from pytest_execprobe.timeline.timeline import Timeline

CPUS = 3
PHASES: tuple[Phase, ...] = ("setup", "call", "teardown")


# ---- the world ----


@dataclass(eq=False)
class Who:
    """A test, a wider fixture, or the hooks around a test, and when it ended."""

    name: str
    is_test: bool
    ended: int | None = None


@dataclass(eq=False)
class Ran:
    """An exec, as it really was."""

    program: str
    process: Process
    entered: int
    running: tuple[tuple[Who, Phase | None], ...]  # outermost first
    at: int = 0
    error: bool = False
    parent: Ran | None = None
    previous: Ran | None = None
    lost: bool = False  # of its record the head alone was left
    gone: bool = False  # not even that


@dataclass(eq=False)
class Process:
    pid: int
    branch: Branch
    top: Process | None  # None: it is the top itself
    begun: tuple[tuple[Who, Phase | None], ...]  # who ran when its branch left the root
    adopted: bool
    parent: Ran | None = None
    image: Ran | None = None
    in_flight: Ran | None = None
    ended: int | None = None
    end_gone: bool = False
    forked: int = 0

    def top_ended(self) -> int | None:
        return (self.top or self).ended


@dataclass(eq=False)
class Open:
    who: Who
    owner: Owner
    span: Span | None
    phase: Phase | None


@dataclass(eq=False)
class Window:
    who: Who | None
    owner: Owner | None
    start: int
    end: int


@dataclass(eq=False)
class Told:
    """A record in a CPU's queue. ``due``: by when it happened, for who vouches for a time vouches for this."""

    due: int
    event: Event


@dataclass(eq=False)
class World:
    timeline: Timeline = field(default_factory=Timeline)
    now: int = 1000
    processes: list[Process] = field(default_factory=list)
    execs: list[Ran] = field(default_factory=list)
    stack: list[Open] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    queues: list[list[Told]] = field(default_factory=lambda: [[] for _ in range(CPUS)])
    vouched: int = 0
    settled: int = 0
    unplaced: int = 0
    pids: itertools.count[int] = field(default_factory=lambda: itertools.count(10))
    names: itertools.count[int] = field(default_factory=itertools.count)
    between: tuple[Who, Owner, Phase, int] | None = None  # phases: the next one, and since when it counts
    #: (when it happened, from when to when it was missing) of records of which nothing is left.
    losses: list[tuple[int, int, int]] = field(default_factory=list)
    lost_now: list[int] = field(default_factory=list)
    arrived: list[Entry] = field(default_factory=list)
    final: int = 0  # how many windows were closed when something was forgotten last

    def __post_init__(self) -> None:
        self.timeline.armed_at = 500
        for _ in range(2):  # what was there before the probe
            pid = next(self.pids)
            self.processes.append(Process(pid, Branch(0, pid, 0), None, (), adopted=True))

    def tick(self) -> int:
        self.now += 1
        return self.now

    # ---- who runs ----

    def running(self) -> tuple[tuple[Who, Phase | None], ...]:
        open_ones = [(one.who, one.phase) for one in self.stack]
        if self.between is not None:
            who, _, phase, _ = self.between
            open_ones.append((who, phase))
        return tuple(open_ones)

    def _open(self, who: Who, owner: Owner, phase: Phase | None, start: int) -> None:
        self.stack.append(Open(who, owner, self.timeline.spans.open(owner, phase, start), phase))

    def _close(self, end: int) -> Open:
        last = self.stack.pop()
        assert last.span is not None
        self.timeline.spans.close(last.span, end)
        self.windows.append(Window(last.who, last.owner, last.span.start, end))
        return last

    def test_goes_on(self, choice: int) -> None:
        """The next step of a test's protocol, whichever that is."""
        if self.between is not None:
            who, owner, phase, start = self.between
            self.tick()
            self.between = None
            self._open(who, owner, phase, start)
            self.timeline.stop_waiting()
            return
        current = self.stack[-1] if self.stack else None
        if current is None or (not current.owner.is_test and len(self.stack) == 1 and choice % 2):
            self._begin_test(around=choice % 3 == 0)
        elif not current.owner.is_test or current.phase is None:
            self._end(current)
        else:
            end = self.tick()
            closed = self._close(end)
            place = PHASES.index(current.phase)
            if place == 2:
                closed.owner.ended = closed.who.ended = end
            else:
                self.timeline.awaited = end
                self.between = (closed.who, closed.owner, PHASES[place + 1], end)

    def next_test(self, choice: int) -> None:
        """To the end of the running test, and to the beginning of another."""
        while self.stack or self.between:
            self.test_goes_on(0)
        self.test_goes_on(choice)

    def _begin_test(self, around: bool) -> None:
        name = f"test_{next(self.names)}"
        if around:
            began = self.tick()
            hooks = Owner(f"hooks of {name}", is_test=True, began=began)
            self._open(Who(hooks.name, is_test=True), hooks, None, began)
        began = self.tick()
        self._open(Who(name, is_test=True), Owner(name, is_test=True, began=began), "setup", began)

    def _end(self, current: Open) -> None:
        end = self.tick()
        self._close(end)
        current.owner.ended = current.who.ended = end

    def fixture_begins(self) -> None:
        if self.between is None and len(self.stack) < 4:
            began = self.tick()
            name = f"fixture_{next(self.names)}"
            self._open(Who(name, is_test=False), Owner(name, is_test=False, began=began), "setup", began)

    def fixture_ends(self) -> None:
        if self.stack and not self.stack[-1].owner.is_test:
            self._end(self.stack[-1])

    # ---- processes ----

    def alive(self, choice: int) -> Process | None:
        """One of those that can do something, the youngest if ``choice`` is 0."""
        there = [process for process in self.processes if process.ended is None and process.in_flight is None]
        return there[-1 - choice % len(there)] if there else None

    def fork(self, choice: int) -> None:
        """By the root if ``choice`` is 0, else by a process."""
        born, pid = self.tick(), next(self.pids)
        creator = self.alive(choice - 1) if choice else None
        if creator is None:
            made = Process(pid, Branch(born, pid, 1), None, self.running(), adopted=False, forked=born)
        else:
            parent = creator.image or creator.parent
            top = creator.top or creator
            made = Process(pid, creator.branch, top, creator.begun, creator.adopted, parent, forked=born)
        self.processes.append(made)

    def orphan(self, *, gone: bool = False) -> None:
        """A child of the root leaves a child behind."""
        self.fork(0)
        self.fork(1)
        self.end(1, gone=gone)

    def enter(self, choice: int) -> None:
        process = self.alive(choice)
        if process is not None:
            entered = self.tick()
            running = self.running()
            process.in_flight = Ran(f"p{len(self.execs)}", process, entered, running)
            process.in_flight.parent, process.in_flight.previous = process.parent, process.image

    def finish(self, choice: int, *, error: bool, lost: bool, gone: bool = False) -> None:
        entering = [process for process in self.processes if process.in_flight is not None]
        if not entering:
            return
        process = entering[choice % len(entering)]
        ran = process.in_flight
        assert ran is not None
        process.in_flight = None
        ran.at, ran.error, ran.lost, ran.gone = self.tick(), error, lost or gone, gone
        self.execs.append(ran)
        if not error:
            process.image = ran
        known = None if ran.lost else f"/bin/{ran.program}"
        event = exec_event(
            at=ran.at,
            entered=ran.entered,
            pid=process.pid,
            branch=process.branch,
            parent=image_of(ran.parent),
            previous=image_of(ran.previous),
            path=known,
            executable=known,
            argv=None if ran.lost else (ran.program,),
            error="ENOENT" if error else None,
            lost=ran.lost,
        )
        self._queue(choice, ran.entered, event, gone)

    def end(self, choice: int, *, gone: bool = False) -> None:
        process = self.alive(choice)
        if process is not None:
            process.ended, process.end_gone = self.tick(), gone
            event = Ended(
                process.ended, process.pid, process.branch, image_of(process.image), process.pid << 8 & 0xFF00
            )
            self._queue(choice, process.ended, event, gone)

    def _queue(self, choice: int, due: int, event: Event, gone: bool) -> None:
        if gone:
            self.unplaced += 1
            self.lost_now.append(due)
        else:
            self.queues[choice % CPUS].append(Told(due, event))

    # ---- what is delivered ----

    def deliver(self, choice: int, *, vouch: bool, patient: bool = True) -> None:
        """A batch. One that vouches has all of a stretch of time, and of what came after that as much as there was."""
        until = 0
        in_flight = 0
        if vouch:
            if patient:
                while any(process.in_flight for process in self.processes):
                    self.finish(0, error=False, lost=False)
            until = max(self.vouched, self.now - choice % 5)
            in_flight = sum(
                process.in_flight is not None and process.in_flight.entered <= until for process in self.processes
            )
            self.vouched = until
        given: list[Event] = []
        for cpu, queue in enumerate(self.queues):
            needed = max((place + 1 for place, arrived in enumerate(queue) if arrived.due <= until), default=0)
            taken = needed + (choice + cpu) % (len(queue) - needed + 1)
            given += [arrived.event for arrived in queue[:taken]]
            del queue[:taken]
        at = self.tick()
        loss = (self.unplaced, self.settled, at) if self.unplaced else (0, 0, 0)
        self.losses += [(due, self.settled, at) for due in self.lost_now]
        self.unplaced, self.lost_now = 0, []
        self.timeline.add(Batch(tuple(given), until, in_flight, *loss))
        if vouch and not in_flight:
            self.settled = until

    def closes(self) -> None:
        """All ends, and all is delivered."""
        while self.stack or self.between:
            self.test_goes_on(0)
        self.tick()
        for _ in range(2):  # the first may leave something for later
            self.deliver(0, vouch=True)

    def forget(self, choice: int, *, really: bool) -> None:
        """As between two tests: what can't be asked for any more. What runs is listed before all is taken in, and goes
        on in between: by ``choice`` the youngest executes, or leaves a child behind, or
        one of the root's does."""
        listed_at = self.tick()
        listed = tuple(
            events.Process(
                process.pid,
                process.pid,
                image=image_of(process.image or process.parent),
                comm="",
                own_exec=process.image is not None,
                since=(process.image.at if process.image else process.forked) or None,
            )
            for process in self.processes
            if process.ended is None
        )
        if choice % 2:
            self.enter(0)
            self.finish(0, error=False, lost=False)
        if choice % 3 == 1:
            self.fork(1)
            self.end(1)
        if choice % 5 == 2:
            self.orphan()
        self.deliver(0, vouch=True, patient=False)
        self.arrived += self.timeline.take_new()
        since = min((one.span.start for one in self.stack if one.span is not None), default=self.now)
        if really:
            self.timeline = lighter(self.timeline, since, events.Running(len(listed), listed, are_all=True), listed_at)
        self.final = len(self.windows)

    # ---- the rules ----

    @staticmethod
    def verdict(ran: Ran) -> tuple[Who | None, Who | None, Phase | None]:
        """(whom it counts for, whose stray it is, the phase)"""
        process = ran.process
        innermost, phase = ran.running[-1] if ran.running else (None, None)
        beginner = process.begun[-1][0] if process.begun else None
        # 5. What was there before the probe, and 2. what a wider fixture began, counts for whoever is running.
        if process.adopted or beginner is None or not beginner.is_test:
            return innermost, None, phase
        # 2. What a test began counts for it while it lasts; a fixture that is set up meanwhile takes nothing from it.
        if beginner.ended is None or ran.entered < beginner.ended:
            tests = [(who, its_phase) for who, its_phase in ran.running if who.is_test]
            who, phase = tests[-1] if tests else (beginner, None)
            return who, None, phase
        # 3. A branch whose top still ran when its test ended is shared. 4. What is left otherwise is a stray.
        ended = process.top_ended()
        if ended is None or ended > beginner.ended:
            return innermost, None, phase
        return None, beginner, phase

    def is_doubtful(self, ran: Ran) -> bool:
        """Whether it may be shared or a stray, because what would tell of the end of its branch's top may be lost."""
        process, top = ran.process, ran.process.top
        beginner = process.begun[-1][0] if process.begun else None
        if top is None or process.adopted or beginner is None or not beginner.is_test or beginner.ended is None:
            return False
        if ran.entered < beginner.ended or (top.ended is not None and top.ended <= beginner.ended and not top.end_gone):
            return False
        return any(start <= beginner.ended and process.branch.born < end for _, start, end in self.losses)


def image_of(ran: Ran | None) -> Image | None:
    return None if ran is None else (ran.process.pid, ran.at)


# ---- worlds ----

_USUAL = (
    *("idle", "root", "root", "fork", "fork", "enter", "finish", "run", "run", "run", "run", "fail", "end", "end"),
    *("orphan", "orphan", "test", "test", "next", "next", "fixture", "over", "part", "sync", "sync", "rush"),
)


def steps_of(*more: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    choices = st.one_of(st.integers(0, 2), st.integers(0, 30))
    return st.lists(st.tuples(st.sampled_from([*_USUAL, *more]), choices), min_size=30, max_size=70)


steps = steps_of()
lossy_steps = steps_of("loss", "loss")
vanishing_steps = steps_of("loss", "gone", "silent", "quiet", "quiet")
Steps = Sequence[tuple[str, int]]


def played(given_steps: Steps, *, deliveries: bool = True, forgets: bool = True) -> World:
    world = World()
    for kind, choice in given_steps:
        if kind == "fork":
            world.fork(choice)
        elif kind == "root":
            world.fork(0)
        elif kind in ("orphan", "quiet"):
            world.orphan(gone=kind == "quiet")
        elif kind == "enter":
            world.enter(choice)
        elif kind in ("finish", "fail"):
            world.finish(choice, error=kind == "fail", lost=False)
        elif kind in ("run", "loss", "gone"):
            world.enter(choice)
            world.finish(choice, error=False, lost=kind != "run", gone=kind == "gone")
        elif kind in ("end", "silent"):
            world.end(choice, gone=kind == "silent")
        elif kind == "test":
            world.test_goes_on(choice)
        elif kind == "next":
            world.next_test(choice)
        elif kind == "fixture":
            world.fixture_begins()
        elif kind == "over":
            world.fixture_ends()
        elif kind == "forget":
            world.forget(choice, really=forgets)
        elif kind == "idle":
            world.tick()
        elif deliveries:
            world.deliver(choice, vouch=kind != "part", patient=kind == "sync")
        else:
            world.tick()
            if kind == "sync":
                while any(process.in_flight for process in world.processes):
                    world.finish(0, error=False, lost=False)
    world.closes()
    return world


def name_of(owner: Owner | Who | None) -> str | None:
    return None if owner is None else owner.name


def identity(ran: Ran) -> Image:
    return ran.process.pid, ran.at


def check_record(record: ExecRecord, ran: Ran, who: Who | None, phase: Phase | None) -> None:
    process = ran.process
    assert (record.program, record.timestamp_ns, record.pid) == (ran.program, ran.entered, process.pid)
    assert record.phase == phase
    begun_by, begun_in = (process.begun[-1][0], process.begun[-1][1]) if process.begun else (None, None)
    assert record.begun_by == name_of(begun_by)
    assert record._lineage.begun_in == begun_in
    assert record._lineage.shared is (begun_by is not None and begun_by is not who)
    assert record._lineage.direct is (process.top is None)
    parent_hidden = ran.parent.lost if ran.parent else process.adopted
    assert record.parent == (None if ran.parent is None or ran.parent.lost else record.parent)
    assert (record.parent._identity if record.parent else None) == (
        identity(ran.parent) if ran.parent and not ran.parent.lost else None
    )
    assert (record._lineage.previous._identity if record._lineage.previous else None) == (
        identity(ran.previous) if ran.previous and not ran.previous.lost else None
    )
    assert record._lineage.lost is (parent_hidden or (ran.previous is not None and ran.previous.lost))
    assert record.depth == depth(ran)
    is_last = process.image is ran and process.ended is not None and not process.end_gone
    assert record.exit_code == (process.pid & 0xFF if is_last and not ran.error else None)


def depth(ran: Ran) -> int | None:
    if ran.parent is None:
        return None if ran.process.adopted else 1
    above = None if ran.parent.lost else depth(ran.parent)
    return None if above is None else above + 1


def check_window(
    world: World, window: Window, truth: Sequence[tuple[Ran, Who | None, Who | None, Phase | None]]
) -> None:
    evidence = world.timeline.evidence(window.start, window.end, window.owner)
    inside = [arrived for arrived in truth if window.start <= arrived[0].entered < window.end]
    own = [ran for ran, who, stray_of, _ in inside if stray_of is None and who is window.who]
    strays = [ran for ran, _, stray_of, _ in inside if stray_of is not None and not ran.error]

    def known(execs: list[Ran]) -> list[str]:
        return [ran.program for ran in execs if not ran.lost]

    assert [record.program for record in evidence.records] == known([ran for ran in own if not ran.error])
    assert [record.program for record in evidence.attempts] == known([ran for ran in own if ran.error])
    assert [record.program for record in evidence.strays] == known(strays)
    missing = [ran for ran in own if ran.lost and not ran.error]
    assert [(lost.timestamp_ns, lost.direct) for lost in evidence.lost] == [
        (ran.entered, ran.process.top is None) for ran in missing
    ]
    assert evidence.lost_attempts == sum(ran.lost and ran.error for ran in own)
    assert evidence.lost_strays == sum(ran.lost for ran in strays)


def every_window(world: World) -> list[Window]:
    """Those that were, and of some of their owners others: the first half, the rest, and all of the time."""
    found = [*world.windows, Window(None, None, 0, world.now + 1)]
    for window in world.windows:
        middle = (window.start + window.end) // 2
        found += [
            Window(window.who, window.owner, window.start, middle),
            Window(window.who, window.owner, middle, window.end),
            Window(window.who, window.owner, 0, world.now + 1),
        ]
    return found


def truth_of(world: World) -> list[tuple[Ran, Who | None, Who | None, Phase | None]]:
    return [(ran, *world.verdict(ran)) for ran in sorted(world.execs, key=lambda ran: ran.entered)]


#: A story of each rule, and whose its last exec is and whose stray: so that the model can't agree by knowing nothing.
STORIES: dict[str, tuple[str | None, str | None]] = {
    "run0 run0": (None, None),
    "root test1 test1 run2": ("test_0", None),
    "test1 root run": ("test_0", None),
    "fixture root test1 run": ("test_1", None),
    "test1 root fixture run": ("test_0", None),
    "test1 root next1 run": ("test_1", None),
    "test1 root fork1 end1 next1 run": (None, "test_0"),
    "test1 root fork1 next1 end1 run": ("test_1", None),
    "run next1 run": ("test_0", None),
}


def steps_in(story: str) -> Steps:
    return [(re.sub(r"\d", "", word), int(re.sub(r"\D", "", word) or 0)) for word in story.split()]


def with_stories(test: Callable[[Steps], None]) -> Callable[[Steps], None]:
    for story in STORIES:
        test = example(steps_in(story))(test)
    return test


@pytest.mark.parametrize("story", STORIES)
def test_the_model_knows_the_rules(story: str) -> None:
    world = played(steps_in(story))
    who, stray_of, _ = world.verdict(world.execs[-1])
    assert (name_of(who), name_of(stray_of)) == STORIES[story]


thorough = settings(deadline=None, max_examples=100)


@thorough
@with_stories
@given(st.one_of(steps, lossy_steps))
def test_every_exec_is_whose_the_rules_say(given_steps: Steps) -> None:
    world = played(given_steps)
    truth = truth_of(world)
    by_identity = {identity(ran): ran for ran in world.execs}
    arrived = world.timeline.take_new()
    assert sorted((entry.event.pid, entry.event.at) for entry in arrived) == sorted(
        identity(ran) for ran in world.execs if not ran.error
    )
    for entry in arrived:
        ran = by_identity[entry.event.pid, entry.event.at]
        who, stray_of, phase = world.verdict(ran)
        assert (name_of(entry.owner), name_of(entry.stray_of)) == (name_of(who), name_of(stray_of)), ran.program
        if entry.record is not None:
            check_record(entry.record, ran, who, phase)
    for window in every_window(world):
        check_window(world, window, truth)


@thorough
@with_stories
@given(steps)
def test_what_was_not_lost_is_complete(given_steps: Steps) -> None:
    """No cut, no order and no wait makes a log incomplete for good."""
    world = played(given_steps)
    assert world.timeline.known.gaps == ()
    assert world.timeline.losses(0, world.now + 1).why == ()
    assert all(world.timeline.evidence(w.start, w.end, w.owner).missing == 0 for w in every_window(world))


@thorough
@with_stories
@given(st.one_of(steps, lossy_steps))
def test_how_events_are_cut_into_batches_makes_no_difference(given_steps: Steps) -> None:
    """All that is known at the end, to the last field, is the same whether it came piece by piece or at once."""
    in_pieces, at_once = played(given_steps), played(given_steps, deliveries=False)
    # Deliveries tick, too; so times go by their order, and the worlds are the same but for that.
    assert by_order(in_pieces) == by_order(at_once)


def by_order(world: World) -> list[tuple[object, ...]]:
    return described(world.timeline._entries)


def described(entries: Iterable[Entry]) -> list[tuple[object, ...]]:
    return [
        (
            record.program,
            record.pid,
            record.parent and record.parent.program,
            record._lineage.previous and record._lineage.previous.program,
            record.depth,
            record.phase,
            record.begun_by,
            record._lineage.begun_in,
            record._lineage.direct,
            record._lineage.shared,
            record._lineage.lost,
            record.exit_code,
            record.error,
            name_of(entry.owner),
            name_of(entry.stray_of),
        )
        for entry in entries
        if (record := entry.record) is not None
    ]


#: Of what lives on when its test is forgotten: shared, strays, below what has ended, and below what has vanished.
FORGOTTEN = (
    "test1 root run next1 forget0 run next1 forget0 run",
    "test1 root run fork1 end1 next1 forget0 fork1 run next1 forget0 run",
    "root run fork1 run end1 forget0 run fork1 run",
    "root run forget3 run",
    "test1 forget2 next1 run",
    "root run forget1 run run",
    "test1 root fork1 next1 forget1 next1 run run",
    "test1 root fork1 end1 next1 forget0 next1 forget0 run fork1 run",
    "fixture root run fork1 over test1 forget0 run next1 forget0 run run",
    "root run fork1 gone end1 next1 forget0 run run",
)


def with_forgotten(test: Callable[[Steps], None]) -> Callable[[Steps], None]:
    for story in FORGOTTEN:
        test = example(steps_in(story))(test)
    return test


@settings(thorough, max_examples=200)
@with_forgotten
@given(st.one_of(steps_of("forget", "forget"), steps_of("forget", "loss", "gone", "silent", "quiet")))
def test_what_is_forgotten_makes_no_difference(given_steps: Steps) -> None:
    """To the last field of what comes after it, and of what was there."""
    forgetful, other = played(given_steps), played(given_steps, forgets=False)
    assert all_entries(forgetful) == all_entries(other)
    for window, same in zip(forgetful.windows[forgetful.final :], other.windows[other.final :], strict=True):
        assert seen_in(forgetful, window) == seen_in(other, same)


@thorough
@given(st.one_of(steps_of("forget", "forget"), steps_of("forget", "loss")))
def test_what_comes_after_something_was_forgotten_is_whose_the_rules_say(given_steps: Steps) -> None:
    world = played(given_steps)
    truth = truth_of(world)
    for window in world.windows[world.final :]:
        check_window(world, window, truth)


def all_entries(world: World) -> list[tuple[object, ...]]:
    world.arrived += world.timeline.take_new()
    return described(world.arrived)


def seen_in(world: World, window: Window) -> tuple[object, ...]:
    evidence = world.timeline.evidence(window.start, window.end, window.owner)
    seen = (evidence.records, evidence.attempts, evidence.strays, evidence.why)
    return (*seen, len(evidence.lost), evidence.lost_attempts, evidence.lost_strays)


def test_a_long_run_keeps_no_more_than_a_short_one() -> None:
    sizes = []
    for tests in (20, 200):
        world = played([step for _ in range(tests) for step in steps_in("next1 root run end0 root run fork1 run end0")])
        assert world.timeline.size > tests
        for process in [*world.processes]:
            process.ended = process.ended or world.tick()
        world.forget(0, really=True)
        sizes.append(world.timeline.size)
    assert sizes[0] == sizes[1] < 10


@thorough
@with_stories
@given(vanishing_steps)
def test_where_records_vanish_a_window_that_could_have_had_them_is_incomplete_and_no_other(given_steps: Steps) -> None:
    """A window is complete only if all that the rules give to it is in it, and incomplete only for a reason."""
    world = played(given_steps)
    truth = truth_of(world)
    doubtful = {ran.entered for ran in world.execs if world.is_doubtful(ran)}
    for window in every_window(world):
        unknown = world.timeline.losses(window.start, window.end).why
        vanished = any(window.start <= due < window.end for due, _, _ in world.losses)
        can_be = any(start < window.end and window.start < end for _, start, end in world.losses)
        can_be |= any(window.start <= entered < window.end for entered in doubtful)
        assert not vanished or unknown, "something is missing, and the log is called complete"
        assert can_be or not unknown, "nothing can be missing, and the log is called incomplete"
        if not unknown:
            # Whom it counts for is right even where the end of a branch's top went unseen.
            check_window(world, window, truth)
        evidence = world.timeline.evidence(window.start, window.end, window.owner)
        if not evidence.unknown:
            missing = sum(is_missing_from(world, window, ran) for ran in world.execs)
            assert evidence.missing is not None
            assert evidence.surely_lost <= missing <= evidence.missing


def is_missing_from(world: World, window: Window, ran: Ran) -> bool:
    """Whether an exec that counts for a window is not among its records."""
    who, stray_of, _ = world.verdict(ran)
    counts = stray_of is None and name_of(who) == name_of(window.owner)
    return ran.lost and not ran.error and counts and window.start <= ran.entered < window.end
