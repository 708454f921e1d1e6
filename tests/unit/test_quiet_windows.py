"""Windows in which nothing was executed: where a timeline is certain of that, and where it takes a closer look."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes import FakeRun, exec_event

from pytest_execprobe import IncompleteLogError
from pytest_execprobe._util import clock
from pytest_execprobe.log.probe import ExecProbe
from pytest_execprobe.source.events import Batch, Blind, Branch, Ended, Exec
from pytest_execprobe.timeline import recorder
from pytest_execprobe.timeline.evidence import NOTHING, Evidence, Gap
from pytest_execprobe.timeline.spans import Owner
from pytest_execprobe.timeline.timeline import Timeline

START, END = 100, 200


def timeline(*events: Exec | Blind, **batch: int) -> Timeline:
    """One that has events, and all up to the window's end."""
    made = Timeline()
    made.add(Batch(events, **{"complete_to": END, **batch}))
    return made


def at(entered: int, *, born: int = 0, lost: bool = False, error: str | None = None) -> Exec:
    return exec_event(entered, entered, 7, Branch(born, 7, 1), lost=lost, path="/usr/bin/git", error=error)


def hidden() -> Timeline:
    made = Timeline(hides=lambda _: True)
    made.add(Batch((at(150),), END))
    return made


def stray() -> Timeline:
    made = Timeline()
    owner = Owner("test_a", is_test=True, began=10)
    made.spans.close(made.spans.open(owner, "call", 10), 50)
    owner.ended = 50
    made.add(Batch((Ended(60, 7, Branch(20, 7, 1)), at(150, born=20)), END))
    return made


def blind() -> Timeline:
    made = timeline()
    made.blind = Gap(150, None, "it died")
    return made


def waiting() -> Timeline:
    made = Timeline()
    made.awaited = 120
    made.add(Batch((at(150),), END))
    return made


def broken_into() -> Timeline:
    """An exception came when an exec had found its place, and before that was known."""
    made = timeline(at(50))
    made.known = made.known._replace(placed=0)
    return made


QUIET = {
    "nothing at all": timeline(),
    "before it": timeline(at(99)),
    "lost before it": timeline(at(99, lost=True)),
    "a gap that ends with its beginning": timeline(Blind(99, True, "why")),
    "a quiet batch after another": timeline(at(99)),
}
NOT_QUIET: dict[str, Callable[[], Timeline]] = {
    "in it": lambda: timeline(at(150)),
    "at its beginning": lambda: timeline(at(START)),
    "at its last moment": lambda: timeline(at(END - 1)),
    "lost in it": lambda: timeline(at(150, lost=True)),
    "a failed one": lambda: timeline(at(150, error="ENOENT")),
    "one of a helper": hidden,
    "a stray": stray,
    "a gap": lambda: timeline(Blind(150, True, "why")),
    "a gap without an end": lambda: timeline(Blind(50, False, "why")),
    "lost, and not known whose": lambda: timeline(unplaced=1, unplaced_from=120, unplaced_to=130),
    "in flight": lambda: timeline(in_flight=1),
    "no probe": blind,
    "nothing vouches for its end": lambda: timeline(complete_to=END - 1),
    "one that waits for the next phase": waiting,
    "one that was broken into": broken_into,
}


@pytest.mark.parametrize("case", QUIET)
def test_of_what_is_quiet_all_is_known(case: str) -> None:
    made = QUIET[case]
    assert made.is_quiet(START, END)
    assert made.evidence(START, END, None) == Evidence() == NOTHING


@pytest.mark.parametrize("case", NOT_QUIET)
def test_what_is_not_quiet(case: str) -> None:
    assert not NOT_QUIET[case]().is_quiet(START, END)


@pytest.mark.parametrize(
    "batch",
    [
        Batch((at(150),), 200),
        Batch((), 200, in_flight=1),
        Batch((), 200, unplaced=1),
        Batch((), 200, skipped=1),
        Batch((), 200, unbounded=True),
    ],
)
def test_a_batch_with_anything_in_it_is_not_quiet(batch: Batch) -> None:
    assert not batch.is_quiet
    assert Batch((), 200, mark=object()).is_quiet


def test_a_quiet_batch_vouches_and_forgets_nothing() -> None:
    made = timeline(at(50), Blind(60, True, "why"), unplaced=1, unplaced_from=70, unplaced_to=80)
    before, mark = made.known, object()
    made.add(Batch((), 300, mark=mark))
    assert made.known == before._replace(complete_to=300, mark=mark)
    made.add(Batch((), 0, mark=mark))  # of a wait, which vouches for nothing
    assert made.known.complete_to == 300


@pytest.mark.parametrize("why", ["late", "held"])
def test_a_quiet_batch_is_taken_in_where_something_waits_for_it(why: str) -> None:
    made = timeline(at(150), in_flight=1) if why == "late" else timeline(at(250))
    made.add(Batch((), 300))
    assert made.known.late is None
    assert len(made.evidence(START, 300, None).records) == 1
    assert made.losses(START, 300) == Evidence()


# ---- windows ----


@pytest.mark.parametrize(("in_use", "asked"), [(True, 4), (False, 1)], ids=["read once", "not read"])
def test_how_often_is_asked_where_nothing_runs(in_use: bool, asked: int) -> None:
    run = FakeRun()
    run.begin(in_use=in_use)
    if in_use:
        assert run.recorder.windows["call"].evidence() is NOTHING
    run.end()
    assert run.source.syncs == asked
    assert all(window.is_quiet for window in run.recorder.windows.values())
    assert run.source.syncs == asked


def test_a_phase_is_not_quiet_because_another_is() -> None:
    run = FakeRun()
    run.begin()
    run.source.runs("git")
    run.end()
    assert {phase: window.is_quiet for phase, window in run.recorder.windows.items()} == {
        "setup": True,
        "call": False,
        "teardown": True,
    }
    assert not run.recorder.were_quiet


def test_what_a_phase_held_is_known_when_the_run_has_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_MUCH", 0)
    run = FakeRun()
    run.recorder._heavy = 0
    run.begin("test_a", in_use=False)
    run.source.runs("git")
    kept = run.recorder.windows["call"]
    run.end()
    run.begin("test_b")
    run.end()
    run.begin("test_c")
    assert [one.program for one in kept.evidence().records] == ["git"]


def test_so_it_is_where_its_test_was_broken_off_and_the_one_before_was_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_MUCH", 0)
    run = FakeRun()
    run.recorder._heavy = 0
    run.begin("test_a", in_use=False)
    run.end()
    assert run.recorder.were_quiet
    run.begin("test_b", in_use=False)
    assert not run.recorder.were_quiet
    run.source.runs("git")
    kept = run.recorder.windows["call"]
    for name in ("test_c", "test_d"):
        run.begin(name)
        run.end()
    assert [one.program for one in kept.evidence().records] == ["git"]


def test_an_exec_between_two_reads_is_seen() -> None:
    run = FakeRun()
    run.begin()
    probe = ExecProbe(run.recorder)
    assert probe.count() == 0
    run.source.runs("git")
    assert probe.count() == 1
    with probe.watch() as log:
        assert log.count() == 0
    assert log.complete


# ---- what memory shows ----


@pytest.fixture
def calm() -> FakeRun:
    """A run that knows of all that has happened, and whose source's memory shows that nothing has since."""
    run = FakeRun()
    run.begin()
    assert run.recorder.windows["call"].evidence() is NOTHING
    run.source.shows_nothing, run.source.syncs = True, 0
    return run


def now() -> int:
    return clock.monotonic_ns()


def test_nobody_is_asked_where_memory_shows_that_nothing_has_happened(calm: FakeRun) -> None:
    probe = ExecProbe(calm.recorder)
    assert (probe.count(), probe.records, probe.programs, calm.source.syncs) == (0, (), [], 0)
    calm.end()
    assert calm.recorder.were_quiet
    calm.begin("test_b")
    calm.end()
    assert calm.recorder.were_quiet
    assert calm.source.syncs == 0


def test_spans_of_tests_that_run_nothing_are_forgotten_once_there_are_many(
    calm: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_MUCH", 10)
    calm.recorder._heavy = 10
    for number in range(20):
        calm.begin(f"test_{number}")
        calm.end()
        assert calm.recorder.were_quiet
    assert len(calm.recorder.timeline.spans) < 20


def test_what_memory_shows_is_known(calm: FakeRun) -> None:
    until = now()
    assert calm.recorder.is_quiet(calm.recorder.windows["call"].start, until)
    assert calm.recorder.knows(until)
    assert calm.recorder.timeline.complete_to == until
    calm.source.shows_nothing = False
    assert calm.recorder.is_quiet(calm.recorder.windows["call"].start, until)
    assert calm.source.syncs == 0
    calm.recorder.sync()
    assert calm.recorder.timeline.complete_to > until


def test_memory_that_shows_something_is_not_enough(calm: FakeRun) -> None:
    start = calm.recorder.windows["call"].start
    assert calm.recorder.is_quiet(start, now())
    calm.source.shows_nothing = False
    calm.source.runs("git")
    assert not calm.recorder.is_quiet(start, now())
    assert ExecProbe(calm.recorder).programs == ["git"]


def test_what_arrives_later_than_memory_has_vouched_for_is_a_gap(calm: FakeRun) -> None:
    start, until = calm.recorder.windows["call"].start, now()
    assert calm.recorder.is_quiet(start, until)
    calm.recorder.timeline.add(Batch((at(until),), until + 1))
    (why,) = calm.recorder.timeline.losses(start, until + 1).unknown
    assert "arrived later than the kernel's counts allow" in why


def test_memory_says_nothing_of_what_came_before(calm: FakeRun) -> None:
    """A window in which something ran stays what it is, however quiet it has been since."""
    calm.source.runs("git")
    calm.recorder.sync()
    began = now()
    assert not calm.recorder.is_quiet(calm.recorder.windows["call"].start, began)
    assert calm.recorder.is_quiet(began, now())
    assert not calm.recorder.is_quiet(calm.recorder.windows["call"].start, now())
    assert ExecProbe(calm.recorder).programs == ["git"]


def test_memory_says_nothing_of_a_gap(calm: FakeRun) -> None:
    began = now()
    calm.recorder.timeline.add_gap(Gap(began, None, "why"))
    assert not calm.recorder.is_quiet(began, now())
    with pytest.raises(IncompleteLogError):
        ExecProbe(calm.recorder).count()


def test_memory_says_nothing_of_what_no_source_watches(calm: FakeRun) -> None:
    calm.recorder.timeline.blind = Gap(now(), None, "it died")
    assert not calm.recorder.is_quiet(calm.recorder.windows["call"].start, now())


def test_the_memory_of_a_lost_source_shows_nothing(calm: FakeRun) -> None:
    calm.recorder.source = None
    assert not calm.recorder.is_quiet(now(), now() + 1)
    assert not calm.recorder.knows(now())


def test_the_memory_of_a_parents_source_shows_nothing(calm: FakeRun) -> None:
    calm.source.pid -= 1
    calm.source.child = "not now"
    assert not calm.recorder.is_quiet(calm.recorder.windows["call"].start, now())


@pytest.mark.parametrize("pending", ["held", "late"])
def test_memory_says_nothing_of_what_is_still_to_come(calm: FakeRun, pending: str) -> None:
    """The counters are as they were when something was begun that was not over, or has not found its place."""
    timeline, began = calm.recorder.timeline, now()
    if pending == "held":
        timeline.add(Batch((at(began + 10**9),), began))
    else:
        timeline.add(Batch((), began, in_flight=1))
    assert not calm.recorder.knows(now())
    assert not timeline.is_calm(began)


def test_a_read_within_a_read_is_refused_where_nothing_has_happened(calm: FakeRun) -> None:
    nested: list[BaseException] = []

    def read() -> None:
        try:
            ExecProbe(calm.recorder).count()
        except IncompleteLogError as error:
            nested.append(error)

    calm.source.meanwhile = read
    calm.recorder.sync()
    assert len(nested) == 1
    assert calm.recorder.is_quiet(calm.recorder.windows["call"].start, now())
