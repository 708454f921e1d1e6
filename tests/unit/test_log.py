"""ExecLog, ExecProbe and watch, over a source of events that a test plays."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeRun, FakeSource, FixedWindow, evidence, log_of, record

from pytest_execprobe import ExecLog, ExecProbe, IncompleteLogError
from pytest_execprobe.source.events import Batch
from pytest_execprobe.timeline.evidence import Evidence


@pytest.fixture
def run() -> FakeRun:
    """A run in the call of its first test."""
    run = FakeRun()
    run.begin()
    return run


@pytest.fixture
def probe(run: FakeRun) -> ExecProbe:
    return ExecProbe(run.recorder)


# ---- reading ----


def test_reads_of_what_ran(run: FakeRun, probe: ExecProbe) -> None:
    git = run.source.runs("git", "push")
    run.source.runs("ssh", by=git)
    run.source.runs("git", "tag")
    assert [found.argv for found in probe.records] == [("git", "push"), ("ssh",), ("git", "tag")]
    assert isinstance(probe.records, tuple)
    assert probe.programs == ["git", "ssh", "git"]
    assert probe.counts == {"git": 2, "ssh": 1}
    assert isinstance(probe.counts, Counter)
    assert probe.counts.most_common(1) == [("git", 2)]
    assert (probe.count(), probe.count("git"), probe.count(["git", "tag"]), probe.count("curl")) == (3, 2, 1, 0)
    assert probe.tree().count("\n") == 5
    assert probe.complete is True
    assert probe.lost == 0
    assert probe.partial == probe.records


def test_direct_is_what_the_tests_own_process_spawned(run: FakeRun, probe: ExecProbe) -> None:
    git = run.source.runs("git")
    run.source.runs("ssh", by=git)
    assert probe.direct.programs == ["git"]
    assert probe.programs == ["git", "ssh"]
    assert probe.direct.direct.programs == ["git"]
    probe.direct.assert_not_ran("ssh")
    with pytest.raises(AssertionError, match="ssh must not run"):
        probe.assert_not_ran("ssh")


def test_every_read_synchronises(run: FakeRun, probe: ExecProbe) -> None:
    reads: list[Callable[[], object]] = [
        lambda: probe.records,
        lambda: probe.attempts,
        lambda: probe.programs,
        lambda: probe.counts,
        lambda: probe.count(),
        lambda: probe.strays,
        lambda: probe.tree(),
        lambda: probe.complete,
        lambda: probe.lost,
        lambda: probe.partial,
        lambda: probe.direct.records,
        lambda: probe.assert_nothing_ran(),
        lambda: probe.assert_not_ran("git"),
        lambda: probe.assert_only_ran("git"),
        lambda: probe.assert_count(0),
        lambda: probe.assert_at_most(0),
        lambda: probe.assert_at_least(0),
        lambda: probe.assert_ran("git", times=0),
        lambda: probe.assert_sequence(),
    ]
    for read in reads:
        before = run.source.syncs
        read()
        assert run.source.syncs > before


def test_a_log_held_on_to_is_live(run: FakeRun, probe: ExecProbe) -> None:
    direct = probe.direct
    assert direct.programs == []
    run.source.runs("git")
    assert direct.programs == ["git"]


def test_attempts_are_the_failures_alone(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git", error="ENOENT")
    run.source.runs("git")
    assert [(failed.program, failed.error) for failed in probe.attempts] == [("git", "ENOENT")]
    assert probe.programs == ["git"]
    probe.assert_count(1)


def test_strays_are_in_no_other_list() -> None:
    run = FakeRun()
    run.begin("test_a")
    launcher = run.source.runs("launcher")
    run.source.ends(launcher)
    run.end()
    run.begin("test_b")
    run.source.runs("stray", by=launcher)
    run.source.runs("own")
    probe = ExecProbe(run.recorder)
    assert probe.programs == ["own"]
    assert [stray.program for stray in probe.strays] == ["stray"]
    assert probe.strays[0].begun_by == "test_a"
    probe.assert_not_ran("stray")


# ---- truth and equality ----


def test_truth_of_a_log_is_a_type_error(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git")
    for log in (probe, probe.direct, log_of(), log_of(record("git"))):
        with pytest.raises(TypeError, match="neither true nor false"):
            bool(log)
        with pytest.raises(TypeError):
            assert not log


def test_equality_of_logs_is_identity() -> None:
    window = FixedWindow(Evidence())
    log, other = ExecLog(window), ExecLog(window)
    assert log == log
    assert log != other
    assert (log == []) is False
    assert (log == ["git"]) is False
    assert len({log, other}) == 2


def test_misspelt_names_are_attribute_errors(probe: ExecProbe) -> None:
    for name in ("called", "assert_not_run", "program", "assert_any_call"):
        with pytest.raises(AttributeError):
            getattr(probe, name)
    with pytest.raises(TypeError):
        len(probe)  # type: ignore[arg-type]


def test_repr_names_the_window_and_reads_nothing(run: FakeRun, probe: ExecProbe) -> None:
    before = run.source.syncs
    assert repr(probe) == "<ExecProbe of the call phase>"
    assert repr(probe.direct) == "<ExecLog of the call phase>"
    assert run.source.syncs == before


# ---- incomplete logs ----

READS: dict[str, Callable[[ExecLog], object]] = {
    "records": lambda log: log.records,
    "programs": lambda log: log.programs,
    "counts": lambda log: log.counts,
    "count": lambda log: log.count(),
    "count of a pattern": lambda log: log.count("git"),
    "tree": lambda log: log.tree(),
    "direct": lambda log: log.direct.records,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize(
    "log",
    [log_of(record("git"), lost=1), log_of(record("git"), unknown="it died"), log_of(lost=2, unknown="it died")],
    ids=["known", "unknown", "both"],
)
def test_reads_of_an_incomplete_log_raise(log: ExecLog, read: Callable[[ExecLog], object]) -> None:
    with pytest.raises(IncompleteLogError, match="missing from the log"):
        read(log)


@pytest.mark.parametrize(
    ("log", "lost", "partial"),
    [
        (log_of(record("git"), lost=2), 2, ["git"]),
        (log_of(record("git"), lost=2, unknown="it died"), None, ["git"]),
        (log_of(unknown="it died"), None, []),
    ],
)
def test_what_can_be_read_of_an_incomplete_log(log: ExecLog, lost: int | None, partial: list[str]) -> None:
    assert log.complete is False
    assert log.lost == lost
    assert [found.program for found in log.partial] == partial


def test_incomplete_is_no_assertion_error() -> None:
    assert not issubclass(IncompleteLogError, AssertionError)


def test_count_of_a_pattern_that_a_cut_argv_leaves_open_raises() -> None:
    log = log_of(record("git", "add", "file", truncated=True))
    assert log.complete
    assert log.count("git") == 1
    with pytest.raises(IncompleteLogError, match="how often argv:git add file-42 ran"):
        log.count(["git", "add", "file-42"])


def test_lost_exec_taints_its_log_and_not_the_next(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git")
    run.source.runs("lost", lost=True)
    assert (probe.complete, probe.lost) == (False, 1)
    run.end()
    run.begin("test_b")
    assert (ExecProbe(run.recorder).complete, ExecProbe(run.recorder).lost) == (True, 0)


def test_lost_attempts_taint_the_attempts_alone(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git")
    run.source.runs("gpg", error="ENOENT", lost=True)
    assert probe.programs == ["git"]
    probe.assert_only_ran("git")
    with pytest.raises(IncompleteLogError, match="1 failed attempt"):
        _ = probe.attempts


def test_lost_execs_do_not_taint_the_attempts(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git", lost=True)
    run.source.runs("gpg", error="ENOENT")
    assert [failed.program for failed in probe.attempts] == ["gpg"]
    with pytest.raises(IncompleteLogError):
        _ = probe.records


def test_attempts_of_an_unknown_number_of_events_raise() -> None:
    with pytest.raises(IncompleteLogError, match="it died"):
        _ = log_of(unknown="it died").attempts


def test_attempts_that_are_not_recorded_raise_and_are_no_empty_tuple() -> None:
    log = ExecLog(FixedWindow(evidence(record("git")), attempts_refused="they were not asked for"))
    with pytest.raises(IncompleteLogError, match="cannot tell which execs failed: they were not asked for"):
        _ = log.attempts
    assert log.programs == ["git"]


def test_attempts_that_a_source_does_not_record() -> None:
    run = FakeRun(FakeSource(attempts_refused="they were not asked for"))
    run.begin()
    with pytest.raises(IncompleteLogError, match="they were not asked for"):
        _ = ExecProbe(run.recorder).attempts


def test_strays_may_be_lost_too() -> None:
    log = ExecLog(FixedWindow(evidence(record("git"), lost_strays=1)))
    assert log.programs == ["git"]
    with pytest.raises(IncompleteLogError, match="earlier tests"):
        _ = log.strays


def test_certainly_false_check_wins_over_an_undecided_one() -> None:
    log = log_of(record("git"), lost=1)
    with pytest.raises(AssertionError, match="git must not run"):
        log.assert_not_ran("curl", "git")


def test_execs_in_flight_make_a_log_incomplete_until_they_are_over(run: FakeRun, probe: ExecProbe) -> None:
    run.source.in_flight = 1
    with pytest.raises(IncompleteLogError, match="in flight"):
        _ = probe.records
    run.source.in_flight = 0
    assert probe.records == ()


# ---- when the source is lost ----


def test_lost_source_makes_the_running_test_incomplete_and_the_next_gets_a_new_one() -> None:
    first, second = FakeSource(), FakeSource()
    run = FakeRun(first, second)
    run.begin("test_a")
    probe = ExecProbe(run.recorder)
    first.runs("git")
    assert probe.programs == ["git"]
    first.broken = "it died"
    assert probe.complete is False
    assert probe.lost is None
    assert [found.program for found in probe.partial] == ["git"]
    probe.assert_ran("git")
    with pytest.raises(IncompleteLogError, match="it died"):
        probe.assert_not_ran("curl")
    assert first.closed
    run.end()

    run.recorder.ensure()
    run.begin("test_b")
    second.runs("gpg")
    after = ExecProbe(run.recorder)
    assert after.programs == ["gpg"]
    assert after.complete
    # A window that spans the loss is not healed by that.
    spanning = run.recorder.open_window("the run")
    spanning.start = first.armed_at
    assert ExecLog(spanning).lost is None


def test_log_that_was_closed_before_the_loss_stays_complete(run: FakeRun, probe: ExecProbe) -> None:
    with probe.watch() as log:
        run.source.runs("git")
    run.source.broken = "it died"
    assert not probe.complete
    assert log.programs == ["git"]


def test_what_ran_before_the_probe_was_armed_is_not_known(run: FakeRun) -> None:
    window = run.recorder.windows["call"]
    assert ExecLog(window).records == ()
    window.start = run.source.armed_at - 1
    with pytest.raises(IncompleteLogError, match="armed only after"):
        _ = ExecLog(window).records


def test_processes_that_could_not_be_adopted_make_logs_incomplete() -> None:
    run = FakeRun(FakeSource(unadopted=2))
    run.begin()
    with pytest.raises(IncompleteLogError, match="2 processes"):
        ExecProbe(run.recorder).assert_nothing_ran()


# ---- phases ----


def test_probe_is_the_setup_so_far_and_then_the_call() -> None:
    run = FakeRun()
    run.recorder.in_use = True
    run.recorder.begin_test("test_a")
    run.recorder.begin_phase("setup")
    probe = ExecProbe(run.recorder)
    run.source.runs("in_setup")
    assert probe.programs == ["in_setup"]
    for phase in ("call", "teardown"):
        with pytest.raises(RuntimeError, match=f"{phase} has not begun"):
            getattr(probe, phase)
    run.recorder.end_phase()
    run.recorder.begin_phase("call")
    run.source.runs("in_call")
    assert probe.programs == ["in_call"]
    run.recorder.end_phase()
    run.recorder.begin_phase("teardown")
    run.source.runs("in_teardown")
    assert probe.programs == ["in_call"]
    assert (probe.setup.programs, probe.call.programs) == (["in_setup"], ["in_call"])
    assert probe.teardown.programs == ["in_teardown"]
    assert [found.phase for found in (*probe.setup.records, *probe.teardown.records)] == ["setup", "teardown"]


def test_closed_phase_never_changes(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git")
    run.recorder.end_phase()
    before = probe.call.records
    run.recorder.begin_phase("teardown")
    run.source.runs("gpg")
    _ = probe.teardown.records
    run.source.broken = "it died"
    _ = probe.teardown.complete
    assert probe.call.records == before
    assert probe.call.complete


def test_setups_log_ends_with_the_setup_where_the_probe_is_first_used_in_the_call() -> None:
    # request.getfixturevalue("execprobe"): until then nothing said that this test would use its log.
    run = FakeRun()
    run.recorder.begin_test("test_a")
    run.recorder.begin_phase("setup")
    run.source.runs("in_setup")
    run.recorder.end_phase()
    run.recorder.begin_phase("call")
    run.source.runs("in_call")
    run.recorder.in_use = True
    probe = ExecProbe(run.recorder)
    assert probe.programs == ["in_call"]
    assert probe.setup.programs == ["in_setup"]
    with pytest.raises(ValueError, match="closed"):
        probe.setup.wait_for("in_setup")


def test_probe_kept_beyond_its_test_never_shows_another_tests_execs(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git")
    run.end()
    run.begin("test_b")
    run.source.runs("curl")
    assert probe.programs == ["git"]
    probe.assert_not_ran("curl")


# ---- watch ----


def test_watch_holds_what_its_block_ran(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("before")
    with probe.watch() as log:
        assert isinstance(log, ExecLog)
        run.source.runs("git")
        assert log.programs == ["git"]
        run.source.runs("gpg")
    run.source.runs("after")
    assert log.programs == ["git", "gpg"]
    assert probe.programs == ["before", "git", "gpg", "after"]


def test_watches_nest(run: FakeRun, probe: ExecProbe) -> None:
    with probe.watch(at_most=3) as outer:
        run.source.runs("a")
        with probe.watch(at_most=1, allow=["b"]) as inner:
            run.source.runs("b")
        run.source.runs("c")
    assert inner.programs == ["b"]
    assert outer.programs == ["a", "b", "c"]


def test_inner_watchs_failure_passes_through_the_outer_one(run: FakeRun, probe: ExecProbe) -> None:
    with pytest.raises(AssertionError, match="only b may run"), probe.watch(deny=["a"]), probe.watch(allow=["b"]):
        run.source.runs("a")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"at_most": 1}, "at most 1 exec allowed, but 2 ran"),
        ({"at_most": 0}, "at most 0 execs allowed, but 2 ran"),
        ({"per_program": {"git": 1}}, "git may run at most once, but it ran 2 times"),
        ({"per_program": {"sh": 1, ("git", "push"): 0}}, "argv:git push may run at most 0 times, but it ran once"),
        ({"allow": ["gpg", "sh"]}, "only gpg, sh may run, but git ran"),
        ({"allow": []}, "nothing must run, but git ran"),
        ({"deny": ["gpg", "git"]}, "git must not run, but it ran 2 times"),
        ({"deny": (name for name in ("git",))}, "git must not run"),
        ({"at_most": 9, "allow": ["*"], "deny": ["git"]}, "git must not run"),
    ],
)
def test_limits_of_a_watch_are_checked_on_leaving_it(
    run: FakeRun, probe: ExecProbe, limits: dict[str, object], message: str
) -> None:
    reached: list[str] = []

    def block() -> None:
        with probe.watch(**limits):  # type: ignore[arg-type]
            run.source.runs("git", "push")
            run.source.runs("git", "tag")
            reached.append("the end of the block")
        reached.append("what follows")

    with pytest.raises(AssertionError) as caught:
        block()
    assert reached == ["the end of the block"]
    assert str(caught.value).splitlines()[0].startswith(message)
    assert "in the watch block" in str(caught.value)


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"at_most": 2},
        {"per_program": {"git": 2, "curl": 0}},
        {"allow": ["git"]},
        {"allow": ("/usr/bin/*",)},
        {"deny": ["curl"]},
    ],
    ids=repr,
)
def test_watch_within_its_limits_passes(run: FakeRun, probe: ExecProbe, limits: dict[str, object]) -> None:
    with probe.watch(**limits) as log:  # type: ignore[arg-type]
        run.source.runs("git", "push")
        run.source.runs("git", "tag")
    assert log.count() == 2


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, AssertionError])
def test_block_that_raises_keeps_its_own_error(run: FakeRun, probe: ExecProbe, error: type[BaseException]) -> None:
    logs: list[ExecLog] = []

    def block() -> None:
        with probe.watch(at_most=0, allow=[], deny=["git"]) as log:
            logs.append(log)
            run.source.runs("git")
            raise error("mine")

    with pytest.raises(error, match="mine"):
        block()
    (log,) = logs
    assert log.programs == ["git"]
    with pytest.raises(ValueError, match="closed"):
        log.wait_for("git")


@pytest.mark.parametrize(("limits", "what"), [({"deny": []}, "deny"), ({"per_program": {}}, "per_program")], ids=repr)
def test_watch_with_a_limit_that_limits_nothing_is_refused(
    probe: ExecProbe, limits: dict[str, object], what: str
) -> None:
    with pytest.raises(ValueError, match=f"^{what} is empty, and .* nothing: leave it out$"):
        probe.watch(**limits)  # type: ignore[arg-type]


def test_watch_that_can_not_be_decided_is_incomplete(run: FakeRun, probe: ExecProbe) -> None:
    with pytest.raises(IncompleteLogError, match="whether curl ran"), probe.watch(deny=["curl"]):
        run.source.runs("git", lost=True)


def test_watch_decides_a_number_in_spite_of_unknown_names(run: FakeRun, probe: ExecProbe) -> None:
    with probe.watch(at_most=1) as log:
        run.source.runs("git", lost=True)
    assert log.lost == 1
    run.source.runs("git", lost=True)
    assert log.lost == 1
    with pytest.raises(AssertionError, match="at most 0 execs"), probe.watch(at_most=0):
        run.source.runs("git", lost=True)


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"allow": "git"}, TypeError),
        ({"deny": "git"}, TypeError),
        ({"deny": b"git"}, TypeError),
        ({"allow": [42]}, TypeError),
        ({"allow": 42}, TypeError),
        ({"deny": [""]}, ValueError),
        ({"at_most": -1}, ValueError),
        ({"at_most": True}, TypeError),
        ({"at_most": "2"}, TypeError),
        ({"at_most": 1.5}, TypeError),
        ({"per_program": {"git": -1}}, ValueError),
        ({"per_program": {"git": "2"}}, TypeError),
        ({"per_program": {"": 1}}, ValueError),
        ({"per_program": ["git"]}, TypeError),
        ({"per_program": 2}, TypeError),
    ],
    ids=repr,
)
def test_bad_limit_is_an_error_before_the_block(
    probe: ExecProbe, limits: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        probe.watch(**limits)  # type: ignore[arg-type]


def test_limits_have_names(probe: ExecProbe) -> None:
    with pytest.raises(TypeError):
        probe.watch(2)  # type: ignore[misc]


def test_watch_closed_log_never_changes(run: FakeRun, probe: ExecProbe) -> None:
    with probe.watch() as log:
        run.source.runs("git")
    before = (log.records, log.direct.records, log.tree())
    run.source.runs("gpg")
    _ = probe.records
    run.end()
    assert (log.records, log.direct.records, log.tree()) == before
    assert all(old is new for old, new in zip(before[0], log.records, strict=True))


# ---- wait_for ----


def test_wait_for_counts_earlier_ones_and_returns_the_last(run: FakeRun, probe: ExecProbe) -> None:
    for branch in ("a", "b", "c"):
        run.source.runs("git", branch)
    assert probe.wait_for("git").argv == ("git", "a")
    assert probe.wait_for("git", times=2).argv == ("git", "b")
    assert probe.wait_for(["git", "c"]).argv == ("git", "c")


def test_wait_for_waits_until_so_many_have_run(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git", "early")
    run.source.waits = [
        lambda: run.source.runs("curl"),
        None,
        lambda: run.source.runs("git", "late"),
        lambda: run.source.runs("git", "too late"),
    ]
    assert probe.wait_for("git", times=2, timeout=60).argv == ("git", "late")
    assert len(run.source.waits) == 1


def test_wait_for_what_does_not_come_is_a_timeout(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git")
    with pytest.raises(TimeoutError) as caught:
        probe.wait_for("curl", timeout=0)
    assert str(caught.value).splitlines()[0] == "curl must run, but it did not run within 0 s"
    assert "/usr/bin/git" in str(caught.value)
    with pytest.raises(TimeoutError, match="git must run at least 2 times, but it ran once within 0 s"):
        probe.wait_for("git", times=2, timeout=0)


@pytest.mark.parametrize(
    ("pattern", "kwargs", "error"),
    [
        ("", {}, ValueError),
        (42, {}, TypeError),
        ("git", {"times": 0}, ValueError),
        ("git", {"times": -1}, ValueError),
        ("git", {"times": True}, TypeError),
        ("git", {"times": 1.5}, TypeError),
    ],
)
def test_wait_for_nonsense(probe: ExecProbe, pattern: object, kwargs: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        probe.wait_for(pattern, timeout=0, **kwargs)  # type: ignore[arg-type]


def test_wait_for_on_a_closed_log_is_a_value_error(run: FakeRun, probe: ExecProbe) -> None:
    with probe.watch() as log:
        run.source.runs("git")
    for closed in (log, log.direct):
        with pytest.raises(ValueError, match="closed"):
            closed.wait_for("git")


def test_wait_for_what_may_be_lost_is_incomplete(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("git", lost=True)
    with pytest.raises(IncompleteLogError, match="whether curl ran"):
        probe.wait_for("curl", timeout=0)
    with pytest.raises(TimeoutError):
        probe.wait_for("curl", times=2, timeout=0)


def test_wait_for_finds_what_it_waits_for_in_an_incomplete_log(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("lost", lost=True)
    run.source.waits = [lambda: run.source.runs("git")]
    assert probe.wait_for("git", timeout=60).program == "git"


def test_wait_for_is_incomplete_if_the_source_is_lost_meanwhile(run: FakeRun, probe: ExecProbe) -> None:
    def die() -> None:
        run.source.broken = "it died"

    run.source.waits = [die]
    with pytest.raises(IncompleteLogError, match="it died"):
        probe.wait_for("git", timeout=60)


def test_loss_in_an_answer_to_a_wait_is_not_forgotten(run: FakeRun, probe: ExecProbe) -> None:
    # An answer to a wait proves nothing complete, and yet may report that records were lost.
    def lose() -> None:
        run.source.unplaced = 3
        run.source.runs("git")

    run.source.waits = [lose]
    assert probe.wait_for("git", timeout=60).program == "git"
    assert probe.complete is False
    with pytest.raises(IncompleteLogError, match="3 records"):
        probe.assert_not_ran("curl")


# ---- forked children ----


def fork(run: FakeRun) -> None:
    """As if this were a forked child: the source is its parent's."""
    run.source.pid = os.getppid()
    run.recorder.after_fork()


def test_forked_child_of_a_test_that_uses_its_log_is_a_root_of_its_own(run: FakeRun, probe: ExecProbe) -> None:
    run.source.runs("of the parent")
    _ = probe.records
    parents, child = run.source, FakeSource()
    parents.child = child
    fork(run)
    assert parents.closed
    assert parents.childs_were_adopted is False  # it has had no time to start any
    child.runs("of the child")
    assert probe.programs == ["of the child"]
    assert probe.complete


def test_forked_child_never_writes_to_its_parents_source(run: FakeRun, probe: ExecProbe) -> None:
    child = run.source.child = FakeSource()
    before = run.source.syncs
    fork(run)
    _ = probe.records
    with probe.watch():
        pass
    assert run.source.syncs == before
    assert child.syncs > 0


def test_forked_child_that_can_not_be_registered_knows_nothing(run: FakeRun, probe: ExecProbe) -> None:
    run.source.child = "the helper is gone"
    fork(run)
    assert probe.lost is None
    with pytest.raises(IncompleteLogError, match="the helper is gone"):
        probe.assert_nothing_ran()


def test_forked_child_of_a_test_without_a_log_asks_for_nothing() -> None:
    run = FakeRun()
    run.begin(in_use=False)
    run.source.child = "must not be asked"
    fork(run)
    assert not run.source.closed
    assert run.source.syncs == 0


def test_forked_child_that_registers_late_does_not_claim_to_know_what_it_ran_before() -> None:
    # It was forked before it was known that its test would use the log, and ran a program since.
    run = FakeRun()
    run.begin(in_use=False)
    parents = run.source
    fork(run)
    parents.runs("curl")  # by the child: only the parent's tree holds it
    parents.child = FakeSource()
    run.recorder.in_use = True
    probe = ExecProbe(run.recorder)
    assert probe.lost is None
    assert parents.childs_were_adopted is True
    with pytest.raises(IncompleteLogError):
        probe.assert_not_ran("curl")


def test_forked_child_is_not_held_up_by_what_a_thread_of_its_parent_was_reading(
    run: FakeRun, probe: ExecProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, answered, seen = threading.Event(), threading.Event(), []

    def never_answered(timeout: float, taken: object) -> Batch:  # noqa: ARG001
        reading.set()
        answered.wait(20)
        return Batch(())

    monkeypatch.setattr(run.source, "sync", never_answered)
    parents = threading.Thread(target=lambda: probe.complete, daemon=True)
    parents.start()
    assert reading.wait(20)
    fork(run)
    childs = threading.Thread(target=lambda: seen.append(probe.programs), daemon=True)
    childs.start()
    childs.join(5)
    came_back = not childs.is_alive()
    answered.set()
    childs.join(20)
    parents.join(20)
    assert came_back
    assert seen == [[]]


def test_forked_child_begins_tests_of_its_own() -> None:
    run = FakeRun()
    run.begin("test_a", in_use=False)
    run.end()
    child = run.source.child = FakeSource()
    fork(run)
    run.recorder.ensure()
    run.begin("test_b")
    child.runs("git")
    assert ExecProbe(run.recorder).programs == ["git"]
    assert ExecProbe(run.recorder).complete


# ---- what no log shows ----


def test_probe_helpers_of_other_runs_are_in_no_log(run: FakeRun, probe: ExecProbe) -> None:
    helper = (
        "python3",
        "-I",
        "-B",
        "/site-packages/pytest_execprobe/helper",
        "--connect",
        "pytest-execprobe-01",
        "--bpf",
        "/y",
    )
    sudo = run.source.runs("sudo", "-n", "--", *helper)
    run.source.runs("python3", *helper[1:], by=sudo)
    run.source.runs("python3", "-m", "pytest")
    assert [found.argv for found in probe.records] == [("python3", "-m", "pytest")]


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), -1, "5", None, True])
def test_wait_for_takes_a_number_of_seconds(run: FakeRun, probe: ExecProbe, timeout: Any) -> None:
    before = run.source.syncs
    with pytest.raises(ValueError, match="timeout is a number of seconds"):
        probe.wait_for("git", timeout=timeout)
    assert run.source.syncs == before


def test_exception_that_breaks_into_a_read_leaves_the_log_whole(
    run: FakeRun, probe: ExecProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A signal's: what the source had already handed over got nowhere.
    def breaks(timeout: float, taken: object) -> Batch:
        FakeSource.sync(run.source, timeout, taken)
        raise KeyboardInterrupt

    run.source.runs("git")
    with monkeypatch.context() as patch:
        patch.setattr(run.source, "sync", breaks)
        with pytest.raises(KeyboardInterrupt):
            _ = probe.records
    run.source.runs("gpg")
    assert probe.programs == ["git", "gpg"]
    assert not run.source.closed
