"""What ``execprobe run`` makes of events: a recording of a command's tree."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from fakes import FakeSource, exec_event, tick

from pytest_execprobe.cli.limits import Allowed
from pytest_execprobe.cli.recording import Recording
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.source.events import Branch, Running


@pytest.fixture(params=[False, True], ids=["counted", "kept"])
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether all records are kept, or they are only counted."""
    return bool(request.param)


def patterns(*texts: str) -> tuple:  # type: ignore[type-arg]
    return tuple(compile_pattern(text) for text in texts)


def recording_of(source: FakeSource | None, *, whole: bool = False, limits: Allowed = Allowed()) -> Recording:  # noqa: B008
    return Recording(source, "the command", None if whole else limits.concern)


def started(*, whole: bool = False) -> tuple[FakeSource, Recording]:
    source = FakeSource()
    return source, recording_of(source, whole=whole)


def end(recording: Recording) -> None:
    """The command has ended, and the rest is taken in."""
    recording.end(1)
    recording.finish(1)


def test_all_that_runs_is_counted(whole: bool) -> None:
    source, recording = started(whole=whole)
    top = source.runs("sh")
    source.runs("true", by=top)
    assert [(seen.record.program, seen.parent) for seen in recording.look(1)] == [("sh", None), ("true", "sh")]
    source.runs("true", by=top)
    source.runs("missing", by=top, error="ENOENT")
    assert [(seen.record.program, seen.parent) for seen in recording.look(1)] == [("true", "sh")]
    end(recording)
    assert recording.programs == Counter({"true": 2, "sh": 1})
    assert (recording.execs, recording.lost) == (3, 0)
    assert recording.evidence().missing == 0
    assert [one.program for one in recording.evidence().records] == (["sh", "true", "true"] if whole else [])
    assert source.closed


@pytest.mark.parametrize("forks", [True, False])
def test_program_that_executes_itself_is_known_however_late(whole: bool, forks: bool) -> None:
    """What it is called stands in argv[0] alone, and counts if what is above it, known before, is the same file."""
    source = FakeSource()
    recording = recording_of(source, whole=whole, limits=Allowed(deny=patterns("sleep")))
    busybox = source.runs("busybox", "sh")
    for _ in range(3):
        recording.look(1)
    source.happens(
        exec_event(
            at=(at := tick()), entered=at, pid=busybox.pid + 1 if forks else busybox.pid, branch=busybox.branch,
            parent=(busybox.pid, busybox.at) if forks else None,
            previous=None if forks else (busybox.pid, busybox.at),
            ppid=1, path="/usr/bin/busybox", executable="/usr/bin/busybox", argv=("sleep", "0"),
        )
    )  # fmt: skip
    recording.look(1)
    end(recording)
    (broken,) = Allowed(deny=patterns("sleep")).broken(recording.evidence(), recording.execs)
    assert (broken.holds, broken.headline) == (False, "sleep must not run, but it ran once")


def test_what_the_process_had_before_is_not_the_commands(whole: bool) -> None:
    source = FakeSource(unadopted=3)
    before = source.runs("before")
    adopted = exec_event(at=tick(), entered=tick(), pid=7, branch=Branch(born=0, top=7, thread=1), path="/bin/adopted")
    recording = recording_of(source, whole=whole)
    source.runs("below", by=before)
    source.happens(adopted)
    source.runs("true")
    assert [seen.record.program for seen in recording.look(1)] == ["true"]
    assert recording.evidence().missing == 0


def test_what_runs_after_the_end_is_not_the_commands(whole: bool) -> None:
    source, recording = started(whole=whole)
    top = source.runs("sh")
    recording.end(1)
    source.runs("late", by=top)
    recording.finish(1)
    assert recording.programs == Counter({"sh": 1})


def test_lost_execs_are_counted(whole: bool) -> None:
    source, recording = started(whole=whole)
    top = source.runs("sh")
    source.runs("x", by=top, lost=True)
    recording.look(1)
    source.runs("x", by=top, lost=True)
    end(recording)
    found = recording.evidence()
    assert (recording.execs, recording.lost, found.missing, found.surely_lost) == (1, 2, 2, 2)


def test_records_that_belong_nowhere_are_a_bound(whole: bool) -> None:
    source, recording = started(whole=whole)
    source.unplaced = 3
    recording.look(1)
    recording.look(1)
    end(recording)
    assert (recording.evidence().surely_lost, recording.evidence().missing) == (0, 3)
    assert recording.evidence().why == ("3 records more were lost than can be told apart: raise --buffer-pages",)


def test_an_exec_that_is_in_flight_at_last_is_a_bound(whole: bool) -> None:
    source, recording = started(whole=whole)
    source.in_flight = 1
    recording.look(1)
    end(recording)
    assert (recording.evidence().surely_lost, recording.evidence().missing) == (0, 1)
    assert "raise --timeout" in recording.evidence().why[0]


def test_an_exec_that_was_in_flight_and_came(whole: bool) -> None:
    source, recording = started(whole=whole)
    entered = tick()
    source.in_flight = 1
    recording.look(1)
    source.in_flight = 0
    at = tick()
    source.happens(
        exec_event(at=at, entered=entered, pid=9, branch=Branch(entered, 9, 1), path="/bin/slow", argv=("slow",))
    )
    end(recording)
    assert recording.programs == Counter({"slow": 1})
    assert recording.evidence().missing == 0


def test_a_helper_that_is_lost_makes_it_unknown(whole: bool) -> None:
    source, recording = started(whole=whole)
    source.runs("sh")
    assert len(recording.look(1)) == 1
    source.runs("true")
    source.broken = "it died"
    assert recording.look(1) == []
    assert source.closed
    assert recording.look(1) == []
    end(recording)
    assert recording.programs == Counter({"sh": 1})
    assert recording.evidence().unknown == ("the probe helper was lost: it died",)


def test_the_helpers_of_runs_below_are_not_counted(whole: bool) -> None:
    source, recording = started(whole=whole)
    top = source.runs("pytest")
    name = f"pytest-execprobe-{'0' * 32}"
    argv = ("-I", "-B", "/x/pytest_execprobe/helper", "--connect", name, "--bpf", "/x/bpf")
    helper = source.runs("python3", *argv, by=top)
    recording.look(1)
    below = source.runs("modprobe", by=helper)
    source.runs("sh", by=below)
    source.runs("true", by=top)
    source.runs("curl", *argv, by=top, argv0="python3")  # argv[0] is what its caller likes
    end(recording)
    assert recording.programs == Counter({"pytest": 1, "true": 1, "curl": 1})


def test_processes_that_have_not_ended(whole: bool) -> None:
    """Those that were only forked, too, of which there is no exec."""
    source, recording = started(whole=whole)
    top = source.runs("sh")
    daemon = source.runs("a-daemon-of-a-long-name", by=top)
    gone = source.runs("x", by=top, lost=True)
    left = [source.leaves(daemon), source.leaves(forked_from=daemon), source.leaves(gone, comm="lost-one")]
    left.append(source.leaves())
    source.unlisted = 3
    recording.look(1)
    source.exits(top)
    end(recording)
    running, more = recording.still_running()
    assert source.asked_since == recording.began
    assert [(one.pid, one.program, one.own_exec, one.since_ns) for one in running] == [
        (left[0].pid, "a-daemon-of-a-long-name", True, daemon.at),
        (left[1].pid, "a-daemon-of-a-long-name", False, left[1].since),
        (left[2].pid, "lost-one", True, gone.at),
        (left[3].pid, None, False, left[3].since),
    ]
    assert more == 3


def test_what_was_forked_from_a_process_that_has_ended_has_the_name_that_the_kernel_gave_it() -> None:
    source, recording = started()
    top = source.runs("a-shell-of-a-long-name")
    source.leaves(forked_from=top)
    source.exits(top)
    recording.look(1)
    end(recording)
    assert [one.program for one in recording.still_running()[0]] == ["a-shell-of-a-lo"]


def test_a_helper_of_a_run_below_is_not_waited_for() -> None:
    source, recording = started()
    name = f"pytest-execprobe-{'0' * 32}"
    argv = ("-I", "-B", "/x/pytest_execprobe/helper", "--connect", name, "--bpf", "/x/bpf")
    helper = source.runs("python3", *argv, by=source.runs("pytest"))
    source.leaves(forked_from=helper)  # it has made itself a daemon
    recording.look(1)
    recording.end(1)
    assert recording.still_running() == ((), 0)


def test_what_runs_before_it_is_known_that_nothing_is_left_counts() -> None:
    """Or the recording would end with a hole: after it, nothing lives that could be in the answer."""
    source, recording = started()
    asked = source.running

    def runs_and_ends(since: int, timeout: float) -> Running:
        source.exits(source.runs("ls"))
        return asked(since, timeout)

    source.running = runs_and_ends  # type: ignore[method-assign]
    end(recording)
    assert recording.programs == Counter({"ls": 1})


def test_a_helper_that_is_lost_when_it_is_asked_what_is_left() -> None:
    source, recording = started()
    source.leaves(source.runs("sh"))
    recording.look(1)
    recording.look_for_running(1)
    source.broken = "it died"
    end(recording)
    assert recording.still_running() == ((), 0)
    assert recording.evidence().unknown == ("the probe helper was lost: it died",)


def test_an_end_that_arrives_before_its_exec() -> None:
    """CPUs are read in turn."""
    source, helper = FakeSource(), FakeSource()
    recording = recording_of(source)
    brief = helper.runs("brief")
    source.exits(brief)
    recording.look(1)
    source.happens(brief)
    recording.look(1)
    assert recording.programs == Counter({"brief": 1})
    assert not recording._known_processes._programs


def test_nothing_piles_up_where_nothing_is_kept() -> None:
    source = FakeSource()
    limits = Allowed(at_most=3, allow=patterns("true"), deny=patterns("curl"))
    recording = recording_of(source, limits=limits)
    for _ in range(20):
        for _ in range(20):
            source.exits(source.runs("true"))
        recording.look(1)
    source.runs("curl", "-o", "x")
    recording.look(1)
    assert recording.programs == Counter({"true": 400, "curl": 1})
    assert len(recording.timeline._entries) == 1
    assert [one.program for one in recording.evidence().records] == ["curl"]


def test_without_a_source_nothing_is_recorded() -> None:
    recording = recording_of(None)
    assert recording.look(1) == []
    end(recording)
    assert recording.execs == 0


# ---- how processes ended ----


def ends(recording: Recording) -> list[tuple[str, str]]:
    return [(end.program, end.how) for end in recording.new_ends]


def test_what_ended_otherwise_than_with_0_is_said_once(whole: bool) -> None:
    source, recording = started(whole=whole)
    shell = source.runs("sh")
    good, bad, crashed = source.runs("true", by=shell), source.runs("false", by=shell), source.runs("x", by=shell)
    source.exits(good)
    recording.look(1)
    assert ends(recording) == []
    source.exits(bad, 1 << 8)
    source.exits(crashed, 11)
    recording.look(1)
    assert ends(recording) == [("false", "exit 1"), ("x", "SIGSEGV")]
    recording.look(1)
    assert ends(recording) == []
    source.exits(shell, 3 << 8)
    recording.finish(1)
    assert ends(recording) == [("sh", "exit 3")]
    assert recording.bad_ends == {("false", "exit 1"): 1, ("x", "SIGSEGV"): 1, ("sh", "exit 3"): 1}


def test_an_end_that_arrives_before_its_exec_is_its_own() -> None:
    """CPUs are read in turn."""
    source, recording = started(whole=True)
    shell = source.runs("sh")
    late = source.runs("false", by=shell)
    source._new.remove(late)
    source.exits(late, 1 << 8)
    recording.look(1)
    assert ends(recording) == []
    source.happens(late)
    recording.look(1)
    assert ends(recording) == [("false", "exit 1")]


def test_process_that_became_another_ends_as_that() -> None:
    source, recording = started(whole=True)
    env = source.runs("env")
    become = dataclasses.replace(
        env, at=tick(), entered=tick(), previous=(env.pid, env.at), command=source.runs("make").command
    )
    source.happens(become)
    source.exits(become, 2 << 8)
    recording.look(1)
    assert ends(recording) == [("make", "exit 2")]
