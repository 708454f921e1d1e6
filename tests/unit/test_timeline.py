"""Whose exec it is: events made by hand, and the windows that they must be found in."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fakes import evidence, exec_event, record
from hypothesis import given
from hypothesis import strategies as st

from pytest_execprobe import ExecRecord
from pytest_execprobe.source.events import Batch, Blind, Branch, Ended, Event, Exec
from pytest_execprobe.timeline.evidence import Evidence, Lost
from pytest_execprobe.timeline.record import Phase
from pytest_execprobe.timeline.spans import Owner, Span
from pytest_execprobe.timeline.timeline import Timeline

_pids = itertools.count(100)


class Story:
    """A timeline in whole milliseconds (as plain numbers)."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.owners: dict[str, Owner] = {}
        self._spans: dict[str, list[Span]] = {}

    def test(self, name: str, start: int, call: int, teardown: int, end: int) -> Owner:
        """A whole test, its phases without a gap between them."""
        owner = self.begin(name, start)
        for phase, at, until in (("setup", start, call), ("call", call, teardown), ("teardown", teardown, end)):
            self.phase(owner, phase, at, until)  # type: ignore[arg-type]
        owner.ended = end
        return owner

    def begin(self, name: str, start: int) -> Owner:
        self.owners[name] = Owner(name, is_test=True, began=start)
        return self.owners[name]

    def phase(self, owner: Owner, phase: Phase, start: int, end: int | None = None) -> Span:
        span = self.timeline.spans.open(owner, phase, start)
        if end is not None:
            self.timeline.spans.close(span, end)
        return span

    def fixture(self, name: str, start: int, end: int) -> Owner:
        owner = self.owners[name] = Owner(name, is_test=False, began=start, ended=end)
        self.timeline.spans.close(self.timeline.spans.open(owner, None, start), end)
        return owner

    def happens(self, *events: Event, complete_to: int | None = None, **more: int) -> None:
        """A batch that vouches for its own events, where it is not said up to when it vouches."""
        if complete_to is None:
            complete_to = max((event.entered for event in events if isinstance(event, Exec)), default=0)
        self.timeline.add(Batch(events, complete_to, **more))

    def seen(self, start: int, end: int, owner: str | None) -> list[str | None]:
        return [found.program for found in self.evidence(start, end, owner).records]

    def strays(self, start: int, end: int, owner: str | None) -> list[str | None]:
        return [found.program for found in self.evidence(start, end, owner).strays]

    def evidence(self, start: int, end: int, owner: str | None) -> Evidence:
        return self.timeline.evidence(start, end, None if owner is None else self.owners[owner])

    def only(self, start: int, end: int, owner: str | None) -> ExecRecord:
        (found,) = self.evidence(start, end, owner).records
        return found


def branch(born: int) -> Branch:
    return Branch(born=born, top=next(_pids), thread=1)


def ran(
    program: str,
    entered: int,
    of: Branch | None = None,
    *,
    at: int | None = None,
    by: Exec | None = None,
    previous: Exec | None = None,
    top: bool = False,
    lost: bool = False,
    **more: object,
) -> Exec:
    """An exec of a branch: of one that begins with it, unless said."""
    if of is None:
        of, top = (branch(entered), True) if by is None else (by.branch, False)
    pid = previous.pid if previous else of.top if top else next(_pids)
    event = exec_event(
        at=entered if at is None else at,
        entered=entered,
        pid=pid,
        branch=of,
        parent=None if by is None else (by.pid, by.at),
        previous=None if previous is None else (previous.pid, previous.at),
        path=f"/usr/bin/{program}",
        executable=f"/usr/bin/{program}",
        argv=(program,),
    )
    return replace(event, **more, **({"command": None} if lost else {}))  # type: ignore[arg-type]


@pytest.fixture
def empty() -> Story:
    return Story()


@pytest.fixture
def story() -> Story:
    """One that begins with a test, whose phases begin at 100, 110 and 190, and which ends at 200."""
    story = Story()
    story.test("test_a", 100, 110, 190, 200)
    return story


# ---- a test's own ----


def test_what_a_test_runs_is_its_own_alone(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    story.happens(ran("git", 150), ran("gpg", 250))
    assert story.seen(100, 200, "test_a") == ["git"]
    assert story.seen(200, 300, "test_b") == ["gpg"]
    assert story.seen(200, 300, "test_a") == []
    assert story.strays(200, 300, "test_b") == []


@pytest.mark.parametrize(
    ("entered", "phase"),
    [(100, "setup"), (109, "setup"), (110, "call"), (189, "call"), (190, "teardown"), (199, "teardown")],
)
def test_phases_follow_each_other_without_a_gap(story: Story, entered: int, phase: str) -> None:
    story.happens(ran("git", entered))
    found = story.only(100, 200, "test_a")
    assert found.phase == phase
    windows = {"setup": (100, 110), "call": (110, 190), "teardown": (190, 200)}
    assert {name for name, span in windows.items() if story.seen(*span, "test_a")} == {phase}


def test_time_of_entry_decides_and_not_that_of_success(story: Story) -> None:
    story.happens(ran("git", 189, at=195), ran("gpg", 195, at=205))
    assert story.seen(110, 190, "test_a") == ["git"]
    assert story.seen(190, 200, "test_a") == ["gpg"]
    assert story.evidence(110, 190, "test_a").records[0].timestamp_ns == 189


def test_window_holds_its_first_moment_and_not_its_last(story: Story) -> None:
    story.happens(*(ran(f"p{at}", at) for at in (149, 150, 159, 160)))
    assert story.seen(150, 160, "test_a") == ["p150", "p159"]
    assert story.seen(150, 150, "test_a") == []


def test_grandchildren_count_with_their_branch(story: Story) -> None:
    shell = ran("sh", 150)
    story.happens(shell, ran("git", 160, by=shell))
    assert story.seen(110, 190, "test_a") == ["sh", "git"]


def test_branch_begun_in_setup_counts_in_the_phase_that_is_running(story: Story) -> None:
    daemon = ran("daemon", 105)
    story.happens(daemon, ran("worker", 150, by=daemon), ran("reaper", 195, by=daemon))
    assert story.seen(100, 110, "test_a") == ["daemon"]
    assert story.seen(110, 190, "test_a") == ["worker"]
    assert story.seen(190, 200, "test_a") == ["reaper"]


# ---- wider fixtures ----


def test_wider_fixtures_window_takes_its_execs_out_of_the_setup(empty: Story) -> None:
    test = empty.begin("test_a", 100)
    setup = empty.phase(test, "setup", 100)
    empty.fixture("fixture 'db'", 120, 140)
    empty.timeline.spans.close(setup, 150)
    empty.phase(test, "call", 150, 190)
    empty.happens(ran("before", 110), ran("initdb", 130), ran("after", 145), ran("call", 160))
    assert empty.seen(100, 150, "test_a") == ["before", "after"]
    assert empty.seen(100, 150, "fixture 'db'") == ["initdb"]
    assert empty.seen(150, 190, "test_a") == ["call"]


def test_one_wider_fixture_within_another_and_one_after_it(empty: Story) -> None:
    test = empty.begin("test_a", 100)
    setup = empty.phase(test, "setup", 100)
    outer = empty.owners["outer"] = Owner("outer", is_test=False, began=110)
    span = empty.timeline.spans.open(outer, None, 110)
    empty.fixture("inner", 120, 130)
    empty.timeline.spans.close(span, 140)
    empty.fixture("next", 150, 160)
    empty.timeline.spans.close(setup, 170)
    empty.happens(*(ran(f"p{at}", at) for at in (105, 115, 125, 135, 145, 155, 165)))
    assert empty.seen(0, 999, "test_a") == ["p105", "p145", "p165"]
    assert empty.seen(0, 999, "outer") == ["p115", "p135"]
    assert empty.seen(0, 999, "inner") == ["p125"]
    assert empty.seen(0, 999, "next") == ["p155"]


def test_branch_begun_by_a_wider_fixture_counts_for_the_running_test(empty: Story) -> None:
    test = empty.begin("test_a", 100)
    setup = empty.phase(test, "setup", 100)
    empty.fixture("fixture 'server'", 110, 120)
    empty.timeline.spans.close(setup, 130)
    empty.phase(test, "call", 130, 200)
    test.ended = 200
    empty.test("test_b", 200, 210, 290, 300)
    server = ran("server", 115)
    empty.happens(server, ran("in_setup", 125, by=server), ran("in_a", 150, by=server), ran("in_b", 250, by=server))
    assert empty.seen(0, 999, "fixture 'server'") == ["server"]
    assert empty.seen(0, 999, "test_a") == ["in_setup", "in_a"]
    assert empty.seen(0, 999, "test_b") == ["in_b"]
    assert empty.only(0, 999, "test_b").begun_by == "fixture 'server'"
    assert empty.only(0, 999, "test_b").phase == "call"


def test_tests_own_branch_stays_its_own_while_a_wider_fixture_is_set_up(empty: Story) -> None:
    test = empty.begin("test_a", 100)
    setup = empty.phase(test, "setup", 100)
    daemon = ran("daemon", 105)
    empty.fixture("fixture 'db'", 110, 120)
    empty.timeline.spans.close(setup, 130)
    empty.happens(daemon, ran("initdb", 114), ran("worker", 115, by=daemon))
    assert empty.seen(100, 130, "test_a") == ["daemon", "worker"]
    assert empty.seen(100, 130, "fixture 'db'") == ["initdb"]
    assert empty.evidence(106, 130, "test_a").records[0].phase == "setup"


def test_what_a_fixture_left_behind_is_never_a_stray(empty: Story) -> None:
    empty.fixture("fixture 'server'", 50, 60)
    empty.test("test_a", 100, 110, 190, 200)
    launcher = ran("launcher", 55)
    empty.happens(launcher, Ended(58, launcher.branch.top, launcher.branch))
    empty.happens(ran("daemon", 150, by=launcher))
    assert empty.seen(100, 200, "test_a") == ["daemon"]
    assert empty.strays(100, 200, "test_a") == []


# ---- what outlives its test ----


def test_branch_whose_top_still_runs_when_its_test_ends_is_shared(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    pool = ran("pool", 150)
    story.happens(pool, ran("worker", 250, by=pool))
    assert story.seen(200, 300, "test_b") == ["worker"]
    assert story.only(200, 300, "test_b").begun_by == "test_a"
    assert story.only(200, 300, "test_b").phase == "call"
    assert story.seen(200, 300, "test_a") == []
    assert story.strays(200, 300, "test_b") == []


@pytest.mark.parametrize("lost", [False, True])
def test_what_another_test_began_in_its_call_is_not_left_running_by_this_ones(story: Story, lost: bool) -> None:
    story.test("test_b", 200, 210, 290, 300)
    pool, own = ran("pool", 150), ran("own", 250)
    more = [ran(name, 295, by=by, lost=lost) for name, by in (("worker", pool), ("child", own))]
    story.happens(pool, own, *more)
    left = story.evidence(290, 300, "test_b").begun_in("call")
    assert (len(left.records), len(left.lost)) == ((0, 1) if lost else (1, 0))
    assert [record.program for record in left.records] == ([] if lost else ["child"])


def test_branch_is_shared_even_after_its_top_has_ended_in_a_later_test(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    story.test("test_c", 300, 310, 390, 400)
    pool = ran("pool", 150)
    story.happens(pool, Ended(260, pool.branch.top, pool.branch), ran("orphan", 350, by=pool))
    assert story.seen(300, 400, "test_c") == ["orphan"]
    assert story.strays(300, 400, "test_c") == []


def test_branch_whose_top_ended_with_its_test_leaves_strays(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    launcher = ran("launcher", 150)
    story.happens(launcher, Ended(160, launcher.branch.top, launcher.branch), ran("daemon", 170, by=launcher))
    story.happens(ran("stray", 250, by=launcher), ran("own", 260))
    assert story.seen(100, 200, "test_a") == ["launcher", "daemon"]
    assert story.seen(200, 300, "test_b") == ["own"]
    assert story.strays(200, 300, "test_b") == ["stray"]
    (stray,) = story.evidence(200, 300, "test_b").strays
    assert stray.begun_by == "test_a"


def test_strays_are_in_every_window_of_their_time_and_in_no_other(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    launcher = ran("launcher", 150)
    story.happens(launcher, Ended(160, launcher.branch.top, launcher.branch), ran("stray", 250, by=launcher))
    assert story.strays(240, 260, "test_b") == ["stray"]
    assert story.strays(260, 300, "test_b") == []
    assert story.strays(100, 200, "test_a") == []


def test_end_of_a_top_and_the_stray_may_come_in_one_batch_in_any_order(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    launcher = ran("launcher", 150)
    story.happens(ran("stray", 250, by=launcher), launcher, Ended(160, launcher.branch.top, launcher.branch))
    assert story.strays(200, 300, "test_b") == ["stray"]
    assert story.seen(200, 300, "test_b") == []


def test_pid_that_comes_back_is_another_branch(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    first, second = Branch(150, top=77, thread=1), Branch(170, top=77, thread=1)
    story.happens(ran("old", 150, first), Ended(160, first.top, first), ran("new", 170, second))
    story.happens(ran("shared", 250, second), ran("stray", 251, first))
    assert story.seen(200, 300, "test_b") == ["shared"]
    assert story.strays(200, 300, "test_b") == ["stray"]


def test_stray_between_tests_belongs_to_no_window_of_a_test(story: Story) -> None:
    story.test("test_b", 220, 230, 290, 300)
    launcher = ran("launcher", 150)
    story.happens(launcher, Ended(160, launcher.branch.top, launcher.branch), ran("stray", 210, by=launcher))
    assert story.seen(0, 999, "test_b") == []
    assert story.seen(200, 220, None) == []
    assert story.strays(200, 220, None) == ["stray"]


# ---- adopted, and outside tests ----


def test_adopted_processes_count_for_whoever_is_running(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    adopted = Branch(born=0, top=50, thread=0)
    story.happens(ran("git", 150, adopted), Ended(160, adopted.top, adopted), ran("gpg", 250, adopted))
    assert story.seen(100, 200, "test_a") == ["git"]
    assert story.seen(200, 300, "test_b") == ["gpg"]
    assert story.strays(0, 999, "test_b") == []
    assert story.only(200, 300, "test_b").begun_by is None


def test_exec_between_tests_is_no_tests(story: Story) -> None:
    story.test("test_b", 220, 230, 290, 300)
    story.happens(ran("git", 210))
    assert story.seen(0, 999, "test_a") == story.seen(0, 999, "test_b") == []
    assert story.seen(200, 220, None) == ["git"]
    assert story.only(200, 220, None).phase is None
    assert story.only(200, 220, None).begun_by is None


def test_moment_in_which_a_test_ends_is_no_longer_its_own(story: Story) -> None:
    story.happens(ran("late", 200))
    assert story.seen(0, 999, "test_a") == []
    assert story.seen(200, 220, None) == ["late"]


def test_branch_begun_before_any_test_counts_for_the_running_one(story: Story) -> None:
    collected = ran("server", 50)
    story.happens(collected, ran("worker", 150, by=collected))
    assert story.seen(100, 200, "test_a") == ["worker"]


# ---- order and lineage ----


def test_records_are_in_order_of_entry_however_they_are_delivered() -> None:
    shuffled = random.Random(7)
    for _ in range(20):
        story = Story()
        story.test("test_a", 0, 0, 1000, 1000)
        events = [ran(f"p{at}", at, at=at + shuffled.randrange(30)) for at in range(1, 200, 5)]
        shuffled.shuffle(events)
        for first in range(0, len(events), 7):
            story.happens(*events[first : first + 7])
        assert story.seen(0, 1000, "test_a") == [f"p{at}" for at in range(1, 200, 5)]


def test_parent_previous_depth_and_direct(story: Story) -> None:
    env = ran("env", 120)
    python = ran("python3", 121, env.branch, previous=env)
    shell = ran("sh", 130, by=python)
    git = ran("git", 140, by=shell)
    story.happens(git, shell, python, env)
    records = {found.program: found for found in story.evidence(100, 200, "test_a").records}
    assert records["env"].parent is None
    assert records["env"]._lineage.previous is None
    assert records["python3"].parent is None
    assert records["python3"]._lineage.previous is records["env"]
    assert records["sh"].parent is records["python3"]
    assert records["git"].parent is records["sh"]
    assert [records[name].depth for name in ("env", "python3", "sh", "git")] == [1, 1, 2, 3]
    assert [records[name]._lineage.direct for name in ("env", "python3", "sh", "git")] == [True, True, False, False]
    assert not any(found._lineage.lost for found in records.values())


def test_child_that_was_forked_and_not_execd_is_no_level_of_its_own(story: Story) -> None:
    forked = branch(115)
    story.happens(ran("git", 120, forked))  # by a grandchild: the top has never exec'd
    found = story.only(100, 200, "test_a")
    assert (found.parent, found.depth, found._lineage.direct) == (None, 1, False)


def test_parent_that_is_delivered_in_a_later_batch_is_found_all_the_same(empty: Story) -> None:
    # A buffer per CPU: what a child runs can be drained before what its parent ran.
    empty.test("test_a", 100, 110, 190, 200)
    shell = ran("sh", 120)
    empty.happens(ran("git", 130, by=shell), complete_to=110)
    assert empty.seen(100, 200, "test_a") == []
    empty.happens(shell, complete_to=150)
    above, below = empty.evidence(100, 200, "test_a").records
    assert below.parent is above
    assert below.depth == 2
    assert not below._lineage.lost


def test_lost_parent_leaves_the_lineage_open(story: Story) -> None:
    shell = ran("sh", 120, lost=True)
    git = ran("git", 130, by=shell)
    story.happens(shell, git, ran("ssh", 140, by=git))
    first, second = story.evidence(100, 200, "test_a").records
    assert (first.parent, first._lineage.lost) == (None, True)
    assert (second.parent, second._lineage.lost) == (first, False)


def test_parent_from_before_the_probe_is_above_the_tree_and_not_lost(story: Story) -> None:
    story.timeline.armed_at = 90
    story.happens(replace(ran("git", 120), parent=(1, 80), previous=(2, 70)))
    found = story.only(100, 200, "test_a")
    assert (found.parent, found._lineage.previous, found._lineage.lost, found.depth) == (None, None, False, 1)


def test_parent_may_belong_to_an_earlier_test(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    pool = ran("pool", 150)
    story.happens(pool)
    story.happens(ran("worker", 250, by=pool))
    parent = story.only(200, 300, "test_b").parent
    assert parent is not None
    assert parent.program == "pool"


def test_records_are_equal_by_the_identity_of_the_exec(story: Story) -> None:
    same = branch(120)
    story.happens(ran("git", 120, same, top=True), ran("git", 130, same, top=True))
    first, second = story.evidence(100, 200, "test_a").records
    again = story.evidence(100, 200, "test_a").records[0]
    assert first == again
    assert hash(first) == hash(again)
    assert first != second
    assert first != "git"
    assert {first, second, again} == {first, second}


def test_failed_attempts_are_apart(story: Story) -> None:
    story.happens(ran("git", 120, error="ENOENT"), ran("git", 121), ran("gpg", 250, error="EACCES"))
    found = story.evidence(100, 200, "test_a")
    assert [(attempt.program, attempt.error) for attempt in found.attempts] == [("git", "ENOENT")]
    assert [(success.program, success.error) for success in found.records] == [("git", None)]


def test_failed_attempt_is_no_parent(story: Story) -> None:
    failed = ran("git", 120, error="ENOENT")
    story.happens(failed, ran("gpg", 130, by=failed))
    assert story.only(100, 200, "test_a").parent is None


def test_hidden_records_are_in_no_list(story: Story) -> None:
    story.timeline.hides = lambda command: command.program == "helper"
    launcher = ran("helper", 50)
    above = ran("helper", 120)
    story.happens(above, ran("git", 130), ran("helper", 140, error="ENOENT"), launcher, ran("python3", 150, by=above))
    story.happens(ran("python3", 160, previous=above))
    found = story.timeline.evidence(0, 999, story.owners["test_a"])
    assert [success.program for success in found.records] == ["git"]
    assert found.attempts == ()


# ---- losses ----


@pytest.mark.parametrize(("entered", "window"), [(109, 0), (110, 1), (189, 1), (190, 2)])
def test_lost_exec_is_missing_from_exactly_its_window(story: Story, entered: int, window: int) -> None:
    story.happens(ran("git", entered, lost=True), ran("gpg", 150))
    missing = [story.evidence(*span, "test_a").missing for span in ((100, 110), (110, 190), (190, 200))]
    assert missing == [int(index == window) for index in range(3)]
    assert story.evidence(*((100, 110), (110, 190), (190, 200))[window], "test_a").lost == (
        Lost(entered, True, ("setup", "call", "teardown")[window]),
    )


def test_lost_exec_is_its_branchs(story: Story) -> None:
    story.test("test_b", 200, 210, 290, 300)
    launcher = ran("launcher", 150)
    story.happens(launcher, Ended(160, launcher.branch.top, launcher.branch))
    story.happens(ran("stray", 250, by=launcher, lost=True))
    found = story.evidence(200, 300, "test_b")
    assert found.missing == 0
    assert found.lost_strays == 1


def test_lost_attempt_does_not_taint_what_ran(story: Story) -> None:
    story.happens(ran("git", 120, error="ENOENT", lost=True))
    found = story.evidence(100, 200, "test_a")
    assert found.missing == 0
    assert found.lost_attempts == 1


def test_direct_is_what_the_tests_own_process_spawned(story: Story) -> None:
    shell, lost = ran("sh", 120), ran("lost", 130, lost=True)
    story.happens(shell, ran("git", 125, by=shell), lost, ran("below", 135, by=lost, lost=True))
    found = story.evidence(100, 200, "test_a")
    assert found.missing == 2
    direct = found.only_direct()
    assert [success.program for success in direct.records] == ["sh"]
    assert direct.lost == (Lost(130, True, "call"),)


def test_direct_keeps_what_is_not_known() -> None:
    direct = evidence(record("git"), record("gpg", direct=False), lost=1, unknown="lost").only_direct()
    assert direct.missing is None
    assert len(direct.records) == 1


@pytest.mark.parametrize(
    ("start", "end", "complete"),
    [(100, 150, True), (100, 151, False), (151, 160, False), (900, 901, False)],
)
def test_blindness_lasts(empty: Story, start: int, end: int, complete: bool) -> None:
    empty.test("test_a", 0, 0, 1000, 1000)
    empty.happens(Blind(150, moment=False, why="the map was full"), complete_to=1000)
    found = empty.evidence(start, end, "test_a")
    assert (found.missing == 0) is complete
    assert found.unknown == (() if complete else ("the map was full",))


def untraced(of: Branch, at: int) -> Blind:
    return Blind(at, moment=False, why="it ran untraced", branch=of)


def is_complete(story: Story, start: int, end: int, owner: str) -> bool:
    return story.evidence(start, end, owner).missing == 0


def test_blindness_in_a_branch_that_has_ended_with_its_test_is_that_tests(empty: Story) -> None:
    empty.test("test_a", 100, 110, 190, 200)
    empty.test("test_b", 200, 210, 290, 300)
    of = branch(120)
    empty.happens(untraced(of, 130), Ended(180, of.top, of), complete_to=300)
    assert is_complete(empty, 100, 130, "test_a")
    assert not is_complete(empty, 120, 131, "test_a")
    assert not is_complete(empty, 190, 200, "test_a")  # something below it may go on
    assert is_complete(empty, 200, 300, "test_b")
    assert empty.evidence(200, 300, "test_b").lost_strays
    assert not empty.evidence(100, 130, "test_a").lost_strays
    assert not empty.timeline.is_quiet(200, 300)  # of strays nothing is known


@pytest.mark.parametrize("ended", [None, 201])
def test_blindness_in_a_branch_that_goes_on_is_whoever_runs(empty: Story, ended: int | None) -> None:
    empty.test("test_a", 100, 110, 190, 200)
    empty.test("test_b", 200, 210, 290, 300)
    of = branch(120)
    empty.happens(untraced(of, 130), *([] if ended is None else [Ended(ended, of.top, of)]), complete_to=300)
    assert not is_complete(empty, 200, 300, "test_b")
    assert not is_complete(empty, 290, 300, "test_b")


def test_blindness_in_a_branch_that_no_test_has_begun_is_whoever_runs(empty: Story) -> None:
    empty.fixture("server", 10, 20)
    empty.test("test_a", 100, 110, 190, 200)
    for of in (branch(15), branch(0), branch(50)):
        story = empty
        story.happens(untraced(of, 130), Ended(140, of.top, of), complete_to=300)
        assert not is_complete(story, 150, 160, "test_a")
        story.timeline.known = story.timeline.known._replace(gaps=())


def test_blindness_in_a_branch_that_ended_before_a_test_that_goes_on(empty: Story) -> None:
    owner = empty.begin("test_a", 100)
    empty.phase(owner, "call", 100)
    of = branch(120)
    empty.happens(untraced(of, 130), Ended(140, of.top, of), complete_to=300)
    assert not is_complete(empty, 200, 300, "test_a")


def test_blindness_of_an_owner_that_is_spared(empty: Story) -> None:
    owner = empty.test("test_a", 100, 110, 190, 200)
    of = branch(120)
    empty.happens(untraced(of, 130), Ended(180, of.top, of), complete_to=300)
    assert empty.timeline.losses(0, 300).why == ("it ran untraced",)
    assert empty.timeline.losses(0, 300, lambda one: one is owner).why == ()
    assert empty.timeline.losses(0, 300, lambda one: one is not owner).why == ("it ran untraced",)


@pytest.mark.parametrize(
    ("start", "end", "complete"),
    [(100, 150, True), (100, 151, False), (150, 160, False), (151, 160, True)],
)
def test_moment_of_blindness_poisons_one_window(empty: Story, start: int, end: int, complete: bool) -> None:
    empty.test("test_a", 0, 0, 1000, 1000)
    empty.happens(Blind(150, moment=True, why="the map was full"))
    assert (empty.evidence(start, end, "test_a").missing == 0) is complete


@pytest.mark.parametrize(
    ("start", "end", "complete"),
    [(100, 140, True), (100, 141, False), (140, 160, False), (160, 175, False), (174, 180, False), (175, 180, True)],
)
def test_unplaced_loss_poisons_the_windows_that_it_can_belong_to(
    empty: Story, start: int, end: int, complete: bool
) -> None:
    empty.test("test_a", 0, 0, 1000, 1000)
    empty.happens(complete_to=170, unplaced=3, unplaced_from=140, unplaced_to=175)
    assert (empty.evidence(start, end, "test_a").missing == 0) is complete


def test_loss_of_a_known_number_bounds_what_is_missing_from_the_windows_that_it_can_belong_to(story: Story) -> None:
    story.happens(ran("git", 120, lost=True), complete_to=150, unplaced=3, unplaced_from=90, unplaced_to=160)
    story.happens(complete_to=180, unplaced=4, unplaced_from=155, unplaced_to=185)
    setup, call = story.evidence(100, 110, "test_a"), story.evidence(110, 190, "test_a")
    assert [(part.surely_lost, part.missing) for part in (setup, call)] == [(0, 3), (1, 8)]
    # What overlaps both is lost from one of them.
    both = Evidence.merged([setup, call])
    assert (both.surely_lost, both.missing, len(both.why)) == (1, 8, 2)
    assert both.only_direct().missing == 8
    assert (both.without(lambda _: False).surely_lost, both.without(lambda _: False).missing) == (0, 8)
    assert (both.begun_in("call").missing, both.begun_in("setup").missing) == (1, 0)


def test_loss_without_a_bound_has_none(story: Story) -> None:
    story.happens(complete_to=150, unplaced=1, unplaced_from=90, unplaced_to=160, unbounded=True)
    assert story.evidence(100, 110, "test_a").missing is None


def left_running_or_not(story: Story, *more: Event) -> None:
    """A branch of test_a execs during test_b and test_c, and records were lost in test_a."""
    story.test("test_a", 100, 110, 190, 200)
    story.happens(complete_to=205, unplaced=1, unplaced_from=90, unplaced_to=205)
    story.test("test_b", 210, 220, 290, 300)
    story.test("test_c", 310, 320, 390, 400)
    of = branch(150)
    story.happens(ran("curl", 250, of), *more, ran("top", 350, of, top=True), complete_to=400)


def test_lost_end_of_a_top_leaves_open_whether_a_branch_is_shared(empty: Story) -> None:
    """Whether curl is test_b's or a stray hangs on it. The top itself, in test_c, still runs when it execs."""
    left_running_or_not(empty)
    assert empty.evidence(200, 210, None).missing == 1  # the gap itself
    assert empty.evidence(210, 300, "test_b").missing is None
    assert "still running at its end" in empty.evidence(210, 300, "test_b").unknown[0]
    assert empty.evidence(310, 400, "test_c").missing == 0
    assert empty.seen(310, 400, "test_c") == ["top"]


def test_end_of_a_top_that_arrived_leaves_nothing_open(story: Story) -> None:
    kept, left = branch(150), branch(160)
    story.happens(Ended(170, left.top, left), complete_to=205, unplaced=1, unplaced_from=90, unplaced_to=205)
    story.test("test_b", 210, 220, 290, 300)
    story.happens(Ended(240, kept.top, kept), ran("server", 250, kept), ran("curl", 260, left), complete_to=300)
    assert story.evidence(210, 300, "test_b").missing == 0
    assert story.seen(210, 300, "test_b") == ["server"]
    assert story.strays(210, 300, "test_b") == ["curl"]


def test_branch_that_was_begun_after_the_loss_is_not_affected(story: Story) -> None:
    story.happens(complete_to=120, unplaced=1, unplaced_from=90, unplaced_to=120)
    story.test("test_b", 210, 220, 290, 300)
    story.happens(ran("worker", 250, branch(150)), complete_to=300)
    assert story.evidence(210, 300, "test_b").missing == 0
    assert story.seen(210, 300, "test_b") == ["worker"]


def test_what_the_kernel_passed_over_is_called_so(empty: Story) -> None:
    empty.happens(complete_to=170, unplaced=2, skipped=2, unplaced_from=140, unplaced_to=175)
    (why,) = empty.timeline.evidence(100, 170, None).why
    assert "the kernel skipped the probe 2 times" in why
    empty.happens(complete_to=205, unplaced=2, skipped=1, unplaced_from=180, unplaced_to=205)
    (why,) = empty.timeline.evidence(190, 205, None).why
    assert "raise --execprobe-buffer-pages" in why


def test_unattributed_loss_in_an_answer_to_a_wait_poisons_all_since(empty: Story) -> None:
    # A wait's batch proves nothing complete, and the loss is later than what an earlier one proved.
    empty.test("test_a", 0, 0, 1000, 1000)
    empty.happens(complete_to=100)
    empty.happens(unplaced=3, unplaced_from=100, unplaced_to=170)
    assert empty.evidence(150, 160, "test_a").missing == 3
    empty.happens(complete_to=200)
    assert empty.evidence(150, 160, "test_a").missing == 3
    assert empty.evidence(50, 100, "test_a").missing == 0


def test_execs_in_flight_leave_a_gap_that_heals_with_the_next_complete_batch(story: Story) -> None:
    slow = ran("slow", 140, at=180)
    story.happens(ran("git", 120), complete_to=150, in_flight=1)
    assert story.seen(100, 160, "test_a") == ["git"]
    assert (story.evidence(100, 160, "test_a").surely_lost, story.evidence(100, 160, "test_a").missing) == (0, 1)
    assert story.evidence(150, 160, "test_a").missing == 0
    story.happens(slow, complete_to=0)  # a wait's batch, which proves nothing complete
    assert story.evidence(100, 160, "test_a").missing == 1
    story.happens(complete_to=185)
    assert story.evidence(100, 190, "test_a").missing == 0
    assert story.seen(100, 190, "test_a") == ["git", "slow"]


def test_loss_does_not_heal(story: Story) -> None:
    story.happens(ran("git", 120, lost=True), Blind(130, moment=True, why="full"), complete_to=150)
    story.happens(complete_to=160)
    story.happens(complete_to=170)
    assert story.evidence(100, 125, "test_a").missing == 1
    assert story.evidence(100, 190, "test_a").missing is None


def test_reason_is_given_once_however_often_it_applies(story: Story) -> None:
    story.happens(*(Blind(at, moment=True, why="full") for at in range(120, 130)), Blind(140, moment=True, why="late"))
    assert story.evidence(100, 200, "test_a").unknown == ("full", "late")


def test_complete_to_never_goes_back(empty: Story) -> None:
    empty.happens(complete_to=150)
    empty.happens(complete_to=0)
    assert empty.timeline.complete_to == 150


def test_forgetting_leaves_nothing_of_the_past(story: Story) -> None:
    story.happens(ran("git", 120), ran("gpg", 130, lost=True), Blind(140, moment=False, why="full"))
    story.happens(complete_to=150, in_flight=1)
    story.timeline.forget()
    found = story.evidence(0, 999, "test_a")
    assert (found.records, found.missing) == ((), 0)


def test_what_an_exception_broke_into_is_not_taken_in_and_can_be_taken_in_again(
    empty: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At each step: tests/unit/test_interruptions.py. Here, in the middle of a batch.
    empty.test("test_a", 100, 110, 190, 200)
    empty.happens(complete_to=120)
    add, left = empty.timeline._add, iter([False, True])

    def breaks(*args: Any) -> None:
        if next(left):
            raise KeyboardInterrupt
        add(*args)

    batch = (ran("git", 130), ran("gpg", 140), Ended(145, 7, branch(130)))
    with monkeypatch.context() as patch:
        patch.setattr(empty.timeline, "_add", breaks)
        with pytest.raises(KeyboardInterrupt):
            empty.happens(*batch, complete_to=150)
    assert empty.timeline.complete_to == 120
    assert empty.evidence(110, 190, "test_a").records == ()
    empty.happens(*batch, complete_to=150)
    assert [record.program for record in empty.evidence(110, 150, "test_a").records] == ["git", "gpg"]
    assert len(empty.timeline.take_new()) == 2


@pytest.mark.parametrize("entered", [140, 150])
def test_exec_event_that_arrives_too_late_is_never_slipped_in(story: Story, entered: int) -> None:
    story.happens(complete_to=150)
    assert story.evidence(110, 150, "test_a").missing == 0
    story.happens(ran("git", entered), complete_to=160)
    assert story.evidence(110, 155, "test_a").missing is None


@pytest.mark.parametrize(
    ("status", "code", "signal"), [(0, 0, None), (255 << 8, 255, None), (9, None, 9), (11 | 0x80, None, 11)]
)
def test_record_knows_how_its_process_ended(story: Story, status: int, code: int | None, signal: int | None) -> None:
    git = ran("git", 150)
    story.happens(git, Ended(180, git.pid, git.branch, (git.pid, git.at), status))
    found = story.only(100, 200, "test_a")
    assert (found.exit_code, found.signal, found.duration_ns) == (code, signal, 30)


def test_exec_whose_beginning_was_not_seen_poisons_all_that_it_can_have_begun_in(story: Story) -> None:
    story.happens(complete_to=120)
    story.happens(dataclasses.replace(ran("git", 140), entry_unseen=True), complete_to=150)
    assert story.evidence(110, 120, "test_a").missing == 0
    assert story.evidence(125, 145, "test_a").missing is None
    assert story.evidence(145, 150, "test_a").missing == 0


def test_what_an_adopted_process_ran_before_is_not_known(story: Story) -> None:
    story.happens(exec_event(at=130, entered=130, pid=7, branch=Branch(born=0, top=7, thread=0), path="/bin/ls"))
    found = story.only(100, 200, "test_a")
    assert found._lineage.lost
    assert found.depth is None


# ---- what is left out ----


def by_name(*names: str) -> Callable[[ExecRecord], bool]:
    return lambda found: found.program in names


def test_ignored_ones_are_left_out_and_counted(empty: Story) -> None:
    owner = empty.test("test_a", 100, 110, 190, 200)
    empty.test("test_b", 200, 210, 290, 300)
    empty.happens(ran("git", 120), ran("sh", 130), ran("git", 140), ran("git", 150, error="ENOENT"), ran("git", 250))
    found = empty.timeline.evidence(100, 300, owner, ignored=by_name("git"))
    assert [each.program for each in found.records] == ["sh"]
    assert found.attempts == ()
    assert found.ignored == 2  # those of this test that succeeded
    assert found.filtered


def test_ignored_strays_are_left_out_too(story: Story) -> None:
    owner = story.test("test_b", 200, 210, 290, 300)
    left = branch(120)
    story.happens(Ended(130, left.top, left), ran("git", 220, left), ran("sh", 230, left))
    found = story.timeline.evidence(200, 300, owner, ignored=by_name("git"))
    assert [each.program for each in found.strays] == ["sh"]
    assert found.ignored == 0


def test_hidden_ones_are_not_even_counted(empty: Story) -> None:
    owner = empty.test("test_a", 100, 110, 190, 200)
    empty.timeline.hides = lambda command: command.program == "git"
    empty.happens(ran("git", 120))
    found = empty.timeline.evidence(100, 200, owner, ignored=by_name("git"))
    assert (found.records, found.ignored) == ((), 0)


def test_a_lost_exec_may_have_been_an_ignored_one(empty: Story) -> None:
    owner = empty.test("test_a", 100, 110, 190, 200)
    empty.happens(ran("git", 120, lost=True))
    assert not empty.evidence(100, 200, "test_a").filtered
    assert empty.evidence(100, 200, "test_a").surely_lost == 1
    found = empty.timeline.evidence(100, 200, owner, ignored=by_name("sh"))
    assert (found.missing, found.surely_lost) == (1, 0)


def test_without_some_records() -> None:
    git, sh = record("git"), record("sh")
    whole = evidence(git, sh, lost=1, unknown="it died")
    rest = whole.without(by_name("git"))
    assert rest == replace(whole, records=(sh,), left_out=(git,), filtered=True)
    assert (rest.missing, rest.surely_lost) == (None, 0)


# ---- several windows together ----


def test_merged_evidence_has_all_of_its_parts() -> None:
    records = [record() for _ in range(6)]
    first = Evidence(
        records=(records[0],),
        attempts=(records[1],),
        strays=(records[2],),
        lost=(Lost(1, True),),
        lost_attempts=1,
        lost_strays=2,
        unknown=("full", "late"),
        ignored=3,
    )
    second = Evidence(
        records=(records[3],),
        attempts=(records[4],),
        strays=(records[5],),
        lost=(Lost(2, False),),
        lost_attempts=10,
        lost_strays=20,
        unknown=("late", "died"),
        ignored=30,
        left_out=(records[5],),
        filtered=True,
    )
    assert Evidence.merged(part for part in (first, second)) == Evidence(
        records=(records[0], records[3]),
        attempts=(records[1], records[4]),
        strays=(records[2], records[5]),
        lost=(Lost(1, True), Lost(2, False)),
        lost_attempts=11,
        lost_strays=22,
        unknown=("full", "late", "died"),
        left_out=(records[5],),
        ignored=33,
        filtered=True,
    )
    assert not Evidence.merged([first, first]).filtered


def test_of_nothing_merged_nothing_is_missing() -> None:
    assert Evidence.merged([]) == Evidence()


# ---- new_entries ----


def new_entries(story: Story) -> list[tuple[str | None, str | None, str | None, str | None]]:
    """(program, whose it is, whose stray it is, where its branch began) of what is new."""
    return [
        (
            entry.record.program if entry.record else None,
            entry.owner.name if entry.owner else None,
            entry.stray_of.name if entry.stray_of else None,
            entry.begun_in.owner.name if entry.begun_in else None,
        )
        for entry in story.timeline.take_new()
    ]


def test_new_entries_are_given_once(story: Story) -> None:
    story.happens(ran("git", 120), ran("sh", 130))
    assert new_entries(story) == [("git", "test_a", None, "test_a"), ("sh", "test_a", None, "test_a")]
    assert new_entries(story) == []
    story.happens(ran("gpg", 140))
    assert new_entries(story) == [("gpg", "test_a", None, "test_a")]


def test_new_entries_say_whose_each_is(empty: Story) -> None:
    empty.fixture("server", 50, 60)
    empty.test("test_a", 100, 110, 190, 200)
    empty.test("test_b", 210, 220, 290, 300)
    left, running = branch(120), branch(130)
    empty.happens(Ended(140, left.top, left))
    empty.happens(ran("server", 55), ran("left", 230, left), ran("running", 240, running), ran("hook", 205))
    assert sorted(new_entries(empty)) == [
        ("hook", None, None, None),
        ("left", None, "test_a", "test_a"),
        ("running", "test_b", None, "test_a"),
        ("server", "server", None, "server"),
    ]


def test_failed_attempts_are_no_new_entries(story: Story) -> None:
    story.happens(ran("git", 120, error="ENOENT"))
    assert new_entries(story) == []


def test_lost_execs_are_new_entries(story: Story) -> None:
    story.happens(ran("git", 120, lost=True))
    assert new_entries(story) == [(None, "test_a", None, "test_a")]


def test_what_has_no_place_yet_is_no_new_entry(story: Story) -> None:
    story.happens(ran("git", 150), complete_to=140)
    assert new_entries(story) == []
    story.happens(complete_to=160)
    assert [program for program, *_ in new_entries(story)] == ["git"]


def test_a_forked_child_has_no_new_entries_of_its_parent(story: Story) -> None:
    story.happens(ran("git", 150))
    story.timeline.forget()
    assert new_entries(story) == []


# ---- a test's protocol around its phases ----


def protocol(story: Story) -> None:
    """A test whose hooks have a span of their own, as a run has it: 90 to 210, its phases from 100 to 200."""
    around = Owner("hooks of test_a", is_test=True, began=90)
    story.owners["around"] = around
    span = story.timeline.spans.open(around, None, 90)
    story.test("test_a", 100, 110, 190, 200)
    around.ended = 210
    story.timeline.spans.close(span, 210)


def test_what_runs_around_the_phases_is_not_the_phases(empty: Story) -> None:
    protocol(empty)
    empty.happens(ran("before", 95), ran("git", 150), ran("after", 205))
    assert empty.seen(0, 300, "test_a") == ["git"]
    assert empty.seen(0, 300, "around") == ["before", "after"]


def test_what_a_hook_began_before_them_counts_for_the_phases(empty: Story) -> None:
    protocol(empty)
    server = branch(95)
    empty.happens(ran("server", 96, server), ran("worker", 150, server), ran("worker", 205, server))
    assert empty.seen(0, 300, "test_a") == ["worker"]
    assert empty.seen(0, 300, "around") == ["server", "worker"]


def test_so_it_does_while_a_wider_fixture_is_set_up(empty: Story) -> None:
    around = Owner("hooks of test_a", is_test=True, began=90)
    outer = empty.timeline.spans.open(around, None, 90)
    owner = empty.begin("test_a", 100)
    span = empty.phase(owner, "setup", 100)
    empty.fixture("fixture", 120, 140)
    server = branch(95)
    empty.happens(ran("worker", 130, server), ran("own", 135), complete_to=150)
    empty.timeline.spans.close(span, 200)
    empty.timeline.spans.close(outer, 210)
    assert empty.seen(0, 300, "test_a") == ["worker"]
    assert empty.seen(0, 300, "fixture") == ["own"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=12))
def test_what_is_the_innermost_span_is_so_for_all_of_its_stretch(steps: list[tuple[bool, int]]) -> None:
    """Spans begin and end one in the other, some at the same moment, and some go on."""
    timeline, now, opened = Timeline(), 0, list[Span]()
    for begins, later in steps:
        now += later
        if begins:
            opened.append(timeline.spans.open(Owner("one", is_test=False, began=now), None, now))
        elif opened:
            timeline.spans.close(opened.pop(), now)
    for time in range(now + 3):
        stretch = timeline.spans.at(time)
        assert stretch.start <= time < stretch.end
        assert stretch.span is None or stretch.span.covers(time)
        for other in range(stretch.start, min(stretch.end, now + 3)):
            assert timeline.spans.at(other) == stretch


# ---- forks of the root without an exec ----


def test_what_a_fork_without_an_exec_has_started_names_that_fork(story: Story) -> None:
    worker = branch(120)
    one, two = ran("git", 130, worker), ran("gpg", 140, worker)
    below = ran("ssh", 150, by=one)
    again = ran("sh", 160, worker, previous=two)
    own = ran("curl", 170)
    story.happens(one, two, below, again, own)
    records = story.evidence(110, 190, "test_a").records
    forks = {record.program: record._lineage.fork for record in records}
    fork = f"{worker.top}.{worker.born}"
    assert forks == {"git": fork, "gpg": fork, "ssh": None, "sh": fork, "curl": None}
    assert [record.depth for record in records] == [1, 1, 2, 1, 1]


def test_of_what_was_there_before_no_fork_is_known(story: Story) -> None:
    """It may have executed something by then."""
    story.happens(ran("git", 130, Branch(born=0, top=7, thread=0)))
    assert story.only(110, 190, "test_a")._lineage.fork is None


# ---- ends by a signal ----


@pytest.mark.parametrize(("status", "killed"), [(11, True), (6 | 0x80, True), (9, True), (1 << 8, False), (0, False)])
def test_ends_by_a_signal_are_found_once_whichever_arrives_first(story: Story, status: int, killed: bool) -> None:
    git, gpg = ran("git", 120), ran("gpg", 130)
    story.happens(git)
    ends = [Ended(160, one.pid, one.branch, (one.pid, one.at), status) for one in (git, gpg)]
    story.happens(*ends)
    assert len(story.timeline.killed) == killed  # the other's exec is not there yet
    story.happens(gpg)
    story.happens()
    found = [entry.event for entry in story.timeline.killed.values()]
    assert found == ([git, gpg] if killed else [])
    story.timeline.forget()
    assert not story.timeline.killed
