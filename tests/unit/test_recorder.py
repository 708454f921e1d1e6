"""The recorder: spans, what is ignored, what is new, and since when all is known."""

from __future__ import annotations

import pytest
from fakes import FakeRun, FakeSource

from pytest_execprobe._util.text import Style
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.log.pattern import ignoring
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.source.events import Ended
from pytest_execprobe.timeline import recorder
from pytest_execprobe.timeline.recorder import Recorder


def recorder_of(source: FakeSource, *ignore: str) -> Recorder:
    """In the call of a test."""
    patterns = [compile_pattern(text) for text in ignore]
    made = Recorder(lambda: source, style=Style(), timeout=1.0, ignores=ignoring(patterns))
    made.ensure()
    made.begin_test("test_a")
    made.begin_phase("call")
    return made


def new_entries(run: FakeRun) -> list[tuple[str | None, str | None]]:
    """(program, whose it is) of what is new."""
    run.recorder.sync()
    return [
        (entry.record.program if entry.record else None, entry.owner.name if entry.owner else None)
        for entry in run.recorder.take_new()
    ]


# ---- spans ----


def test_what_runs_in_a_span_is_its_own_alone() -> None:
    run = FakeRun()
    run.begin()
    run.source.runs("git")
    span = run.recorder.open_span("fixture", "setup")
    run.source.runs("server")
    run.recorder.close_span(span)
    window = run.recorder.window_of(span, "the set-up of fixture")
    run.source.runs("gpg")
    found = window.evidence()
    assert [(each.program, each.phase, each.begun_by) for each in found.records] == [("server", "setup", "fixture")]
    assert (window.label, window.closed) == ("the set-up of fixture", True)
    assert [each.program for each in run.recorder.windows["call"].evidence().records] == ["git", "gpg"]


def test_span_around_a_test() -> None:
    run = FakeRun()
    span = run.recorder.open_span("test_a", None, is_test=True)
    run.source.runs("before")
    run.begin("test_a")
    run.source.runs("git")
    run.end()
    run.source.runs("after")
    run.recorder.close_span(span)
    window = run.recorder.window_of(span, "test_a")
    assert [each.program for each in window.evidence().records] == ["before", "after"]
    assert span.owner.is_test


# ---- what is ignored ----


def test_ignored_ones_are_in_no_window() -> None:
    source = FakeSource()
    recorder = recorder_of(source, "git", "argv:sh -c")
    for words in (("git", "fetch"), ("sh", "-c", "x"), ("sh", "x"), ("gpg",)):
        source.runs(*words)
    source.runs("git", error="ENOENT")
    found = recorder.windows["call"].evidence()
    assert [each.program for each in found.records] == ["sh", "gpg"]
    assert found.attempts == ()
    assert (found.ignored, found.filtered) == (2, True)


def test_where_nothing_is_to_be_ignored_a_lost_exec_counts() -> None:
    source = FakeSource()
    recorder = recorder_of(source)
    source.runs("git", lost=True)
    found = recorder.windows["call"].evidence()
    assert (found.filtered, found.surely_lost) == (False, 1)


def test_what_may_be_one_to_ignore_is_not_ignored() -> None:
    source = FakeSource()
    recorder = recorder_of(source, "argv:git fetch")
    source.runs("git", cut=True)
    source.runs("git")
    assert [each.program for each in recorder.windows["call"].evidence().records] == ["git", "git"]


# ---- what is new ----


def test_new_entries_are_given_once_and_with_their_owners() -> None:
    run = FakeRun()
    run.source.runs("hook")
    run.begin("test_a")
    run.source.runs("git")
    run.source.runs("sh", error="ENOENT")
    run.source.runs("gpg", lost=True)
    assert new_entries(run) == [("hook", None), ("git", "test_a"), (None, "test_a")]
    assert new_entries(run) == []


@pytest.mark.parametrize("python", ["python3", "python3.14t", "python3.13td", "python3-dbg"])
def test_helpers_of_other_runs_are_no_new_entries(python: str) -> None:
    run = FakeRun()
    run.begin("test_a")
    words = ("-I", "-B", "/x/pytest_execprobe/helper", "--connect", "pytest-execprobe-01")
    helper = run.source.runs(python, *words)
    run.source.runs("uname", by=helper)
    run.source.runs("git")
    assert new_entries(run) == [("git", "test_a")]


def test_what_is_called_like_a_helper_is_none() -> None:
    run = FakeRun()
    run.begin("test_a")
    words = ("-I", "-B", "/x/pytest_execprobe/helper", "--connect", "pytest-execprobe-01")
    run.source.runs("curl", *words, argv0="python3")
    assert new_entries(run) == [("curl", "test_a")]


# ---- since when all is known ----


def test_nothing_is_missing_from_the_time_before_the_probe() -> None:
    run = FakeRun()
    assert run.recorder.since > run.source.armed_at
    assert run.recorder.losses().why == ()


def test_lost_source_is_a_reason_from_then_on() -> None:
    run = FakeRun()
    since = run.recorder.since
    run.begin()
    run.source.broken = "it died"
    run.end()
    (why,) = run.recorder.losses().why
    assert "it died" in why
    run.recorder.ensure()
    assert run.recorder.losses().why == (why,)
    assert run.recorder.since == since


def test_where_there_never_was_a_source_nothing_is_known() -> None:
    def refuse() -> FakeSource:
        raise ProbeUnavailable("no BCC")

    recorder = Recorder(refuse, style=Style(), timeout=1.0)
    with pytest.raises(ProbeUnavailable):
        recorder.ensure()
    assert (recorder.since, recorder.was_armed) == (0, False)
    assert recorder.losses().why != ()


# ---- asking no more than needed ----


def test_a_source_is_not_asked_for_what_is_known() -> None:
    run = FakeRun()
    run.begin()
    run.source.runs("git")
    run.end()
    asked = run.source.syncs
    for window in run.recorder.windows.values():
        window.evidence()
    assert run.source.syncs == asked


def test_it_is_asked_again_where_an_exec_was_in_flight() -> None:
    run = FakeRun()
    run.begin(in_use=False)
    run.source.in_flight = 1
    run.end()
    run.source.in_flight = 0
    assert run.recorder.windows["call"].evidence().missing == 0


# ---- what has not ended ----


def test_processes_that_have_not_ended() -> None:
    run = FakeRun()
    run.begin()
    shell = run.source.runs("sh")
    left = [run.source.leaves(run.source.runs("sleep", by=shell)), run.source.leaves(forked_from=shell)]
    name = f"pytest-execprobe-{'0' * 32}"
    argv = ("-I", "-B", "/x/pytest_execprobe/helper", "--connect", name, "--bpf", "/x/bpf")
    run.source.leaves(forked_from=run.source.runs("python3", *argv, by=shell))  # of a run below
    left.append(run.source.leaves(comm="before"))
    run.source.unlisted = 2
    run.end()
    run.recorder.sync()
    running, more = run.recorder.running()
    assert [process for process, _ in running] == left
    assert [record and record.program for _, record in running] == ["sleep", "sh", None]
    assert more == 2
    assert run.source.asked_since == 1  # what was there before the probe has no owner


def test_a_helper_that_is_lost_when_it_is_asked_what_has_not_ended() -> None:
    run = FakeRun()
    run.begin()
    run.source.leaves(run.source.runs("sleep"))
    run.end()
    run.source.broken = "it died"
    assert run.recorder.running() == ([], 0)
    assert "it died" in run.recorder.losses().why[0]
    assert run.recorder.running() == ([], 0)


def test_a_long_run_forgets_what_can_not_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_MUCH", 50)
    run = FakeRun()
    run.begin("first")
    server = run.source.runs("server")
    run.source.leaves(server)
    kept = run.recorder.windows["call"]
    sizes = []
    for number in range(40):
        run.end()
        assert run.recorder.take_new()
        run.begin(f"test_{number}")
        sizes.append(run.recorder.timeline.size)
        for program in ("make", "cc", "ld"):
            run.source.ends(run.source.runs(program))
        child = run.source.runs("git", by=server)
    assert max(sizes) < 100
    assert [record.program for record in kept.evidence().records] == ["server"]  # which is read only now
    (record,) = [one for one in run.recorder.windows["call"].evidence().records if one.pid == child.pid]
    assert record.parent is not None
    assert (record.parent.program, record.begun_by, record._lineage.lost) == ("server", "first", False)
    assert run.recorder.losses().why == ()


def test_what_an_open_window_holds_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_MUCH", 10)
    run = FakeRun()
    run.begin()
    window = run.recorder.open_window("the block")
    for _ in range(20):
        run.source.ends(run.source.runs("git"))
    run.end()
    run.recorder.take_new()
    run.begin("test_b")
    assert len(window.evidence().records) == 20


def test_what_was_not_added_up_yet_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_MUCH", 10)
    run = FakeRun()
    for number in range(20):
        run.begin(f"test_{number}")
        run.source.ends(run.source.runs("git"))
        run.end()
    assert [entry.owner and entry.owner.name for entry in run.recorder.take_new()] == [f"test_{n}" for n in range(20)]


def test_a_tally_says_what_the_evidence_says() -> None:
    run = FakeRun()
    run.begin()
    shell = run.source.runs("sh")
    run.source.runs("git", by=shell, lost=True)
    run.source.runs("curl", error="ENOENT")
    late = run.source.runs("daemon", by=shell)
    run.source.ends(shell)
    call = run.recorder.windows["call"]
    run.end()
    run.begin("test_b")
    run.source.runs("rm", by=late)
    following = run.recorder.windows["call"]
    run.end()
    for window, number in ((call, 2), (following, 0)):
        tallied, losses = window.tally()
        evidence = window.evidence()
        assert tallied == evidence.commands
        assert len(tallied) == number
        assert (losses.lost, losses.missing) == (evidence.lost, evidence.missing)
        assert window.tally()[0] == tallied


def test_what_is_read_again_is_what_it_was_until_something_happens() -> None:
    run = FakeRun()
    run.begin()
    window = run.recorder.windows["call"]
    shell = run.source.runs("sh")
    first = window.evidence()
    assert window.evidence() is first
    run.source.runs("git")
    second = window.evidence()
    assert [record.program for record in second.records] == ["sh", "git"]
    run.source.happens(Ended(shell.at + 7, shell.pid, shell.branch, (shell.pid, shell.at), 0))
    third = window.evidence()
    assert [record.duration_ns for record in third.records] == [7, None]
    assert window.evidence() is third
    run.source.unplaced = 1
    assert window.evidence().missing == 1
    assert window.evidence().records == third.records
    run.source.broken = "it died"
    assert any("it died" in why for why in window.evidence().why)


def test_what_was_entered_after_a_read_is_in_the_next() -> None:
    """Although the read's synchronisation has brought it already."""
    run = FakeRun()
    run.begin()
    window = run.recorder.windows["call"]
    run.source.meanwhile = lambda: run.source.runs("git")
    assert window.evidence().records == ()
    assert [record.program for record in window.evidence().records] == ["git"]


def test_nothing_is_forgotten_where_more_may_be_running_than_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_MUCH", 10)
    run = FakeRun()
    run.source.unlisted = 1
    run.begin()
    shell = run.source.runs("sh")
    for number in range(20):
        run.end()
        run.begin(f"test_{number}")
    run.source.runs("git", by=shell)
    (record,) = run.recorder.windows["call"].evidence().records
    assert record.parent is not None


# ---- the end ----


def test_in_the_end_only_what_closed_windows_have_is_kept() -> None:
    run = FakeRun()
    run.begin()
    run.source.runs("git")
    closed, never_read, still_open = (run.recorder.open_window("a block") for _ in range(3))
    run.source.runs("gpg")
    run.recorder.close_window(closed)
    never_read.end = closed.end
    run.recorder.forget()
    assert [record.program for record in closed.evidence().records] == ["gpg"]
    for window in (never_read, still_open, run.recorder.windows["call"]):
        evidence = window.evidence()
        assert (evidence.records, evidence.missing) == ((), None)
        assert evidence.unknown == ("the run is over, and the probe closed",)
    assert run.recorder.timeline.size == len(run.recorder.timeline.spans)
