"""Faults of the helper, of the connection to it and of its buffers: each is told, and none reads as "nothing ran"."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty import Between, HangUp, between, change_helper, change_source, preempt_programs
from leases import begin_exec, kept_from_opening
from programs import Programs
from recording import Recording, recording, stop, watched_to_its_end

from pytest_execprobe import ExecLog, ExecProbe, IncompleteLogError
from pytest_execprobe._util import clock
from pytest_execprobe.errors import SourceLost
from pytest_execprobe.helper import wire
from pytest_execprobe.helper.bpf import attach
from pytest_execprobe.source import connect
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.connect import HelperSettings

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(10000), pytest.mark.own_helper]


def spawn(program: Path, times: int = 1, *arguments: str) -> None:
    for _ in range(times):
        os.waitpid(os.posix_spawn(program, [str(program), *arguments], {}), 0)


def next_test(made: Recording) -> ExecProbe:
    """The fixture of another test, to the beginning of its call."""
    made.recorder.end_phase()
    made.recorder.begin_phase("teardown")
    made.recorder.end_phase()
    made.recorder.end_test()
    made.recorder.ensure()
    made.recorder.begin_test("the next")
    made.recorder.in_use = True
    made.recorder.begin_phase("setup")
    made.recorder.end_phase()
    made.recorder.begin_phase("call")
    return ExecProbe(made.recorder)


def assert_untold(log: ExecLog, why: str) -> None:
    """Nothing that could be said of this log is said, but why not."""
    assert log.lost is None
    for check in (log.assert_nothing_ran, lambda: log.assert_not_ran("ls"), lambda: log.assert_at_most(5)):
        with pytest.raises(IncompleteLogError, match=why):
            check()


def assert_one_in_flight(log: ExecLog, why: str) -> None:
    """Nothing ran, or at most one exec did."""
    log.assert_at_most(1)
    for check in (log.assert_nothing_ran, lambda: log.assert_not_ran("ls"), lambda: log.assert_count(1)):
        with pytest.raises(IncompleteLogError, match=why):
            check()
    with pytest.raises(AssertionError):
        log.assert_at_least(2)
    assert (log.lost, log.complete) == (None, False)


def assert_exact(log: ExecLog, program: Path) -> None:
    """Of a log in which one program ran."""
    assert (log.programs, log.lost) == ([program.name], 0)


# ---- the helper is stopped, slow, killed ----


@contextlib.contextmanager
def later(seconds: float, do: Callable[[], None]) -> Iterator[None]:
    timer = threading.Timer(seconds, do)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.bpf  # what it traces can't start anything meanwhile
def test_stopped_for_less_than_the_timeout_it_is_waited_for(programs: Programs) -> None:
    with recording() as made:
        helper = made.helper
        stop(helper)
        spawn(programs.minimal)
        with later(0.3, lambda: os.kill(helper, signal.SIGCONT)):
            assert_exact(made.execprobe, programs.minimal)


@pytest.mark.bpf  # likewise
def test_what_it_was_stopped_in_for_longer_stays_unknown_and_the_next_test_is_right(
    programs: Programs,
) -> None:
    with recording() as made:
        stopped = made.helper
        with made.execprobe.watch() as before:
            spawn(programs.minimal)
        with made.impatient(), made.execprobe.watch() as log, made.helper_stopped():
            spawn(programs.minimal)
            assert_untold(log, "it did not answer in time")
        assert_untold(log, "it did not answer in time")
        assert_exact(before, programs.minimal)
        with made.execprobe.watch() as after:  # by now it would answer
            spawn(programs.minimal)
        assert_untold(after, "The next test gets a new one")
        log = next_test(made)
        spawn(programs.minimal)
        assert_exact(log, programs.minimal)
        assert made.helper != stopped


@pytest.mark.bpf  # a spawn keeps Python's lock, without which the one that it waits for does not go on
def test_a_slow_one_costs_time_and_nothing_else(programs: Programs) -> None:
    """It gets to run for a few milliseconds at a time, and is stopped for several times as long."""
    with recording() as made:
        helper, over, pulses = made.helper, threading.Event(), 0

        def slow() -> None:
            nonlocal pulses
            while not over.wait(0.004):
                os.kill(helper, signal.SIGSTOP)
                over.wait(0.02)
                os.kill(helper, signal.SIGCONT)
                pulses += 1

        thread = threading.Thread(target=slow)
        thread.start()
        try:
            logs = []
            while pulses < 20 and thread.is_alive():
                with made.execprobe.watch() as log:
                    spawn(programs.minimal)
                logs.append(log)
        finally:
            over.set()
            thread.join()
        for log in logs:
            assert_exact(log, programs.minimal)
        made.execprobe.assert_ran("minimal", times=len(logs))


@pytest.fixture
def middle() -> Iterator[Between]:
    with between() as made:
        yield made


def test_killed_between_a_record_and_its_synchronisation(middle: Between, programs: Programs) -> None:
    with recording(HelperSettings(address=middle.address)) as made:

        def kill(frame: wire.Frame, data: bytes) -> bytes:
            if frame.type == wire.SYNC:
                with watched_to_its_end(middle.helper):
                    os.kill(middle.helper, signal.SIGKILL)
            return data

        middle.asked = kill
        with made.execprobe.watch() as log:
            spawn(programs.minimal)
        assert_untold(log, "it died")
        assert log.partial == ()


def test_killed_between_its_events_and_the_word_that_these_are_all(middle: Between, programs: Programs) -> None:
    with recording(HelperSettings(address=middle.address)) as made:
        said = []

        def kill(frame: wire.Frame, data: bytes) -> bytes:
            said.append(frame.type)
            if frame.type != wire.SYNCED:
                return data
            with watched_to_its_end(middle.helper):
                os.kill(middle.helper, signal.SIGKILL)
            raise HangUp

        with made.execprobe.watch() as log:  # which may ask something itself, to begin
            middle.said = kill
            spawn(programs.minimal)
        assert said == [wire.EVENTS, wire.SYNCED]
        assert_untold(log, "it died")


# ---- the helper runs out of memory, or breaks ----


@pytest.mark.bpf
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_out_of_memory(limit: str, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets no page more once it probes, and is given 300 execs with all that an argv can be."""
    with monkeypatch.context() as patch:
        no_more = f"import resource; resource.setrlimit(resource.{limit}, (4096, resource.RLIM_INFINITY))"
        precedence = "    precedence = Precedence(place"
        thread = "_thread.start_new_thread(load_slowest, ())"
        alone = {thread: "load_slowest()"}  # else there would be the thread's 64 MB, which these limits have counted
        change_helper(tmp_path, patch, {"main.py": {precedence: f"    {no_more}\n{precedence}"}, "bpf/load.py": alone})
        made = Recording(HelperSettings(), 30)
    try:
        spawn(programs.minimal, 300, *["x" * 1000] * 15)
        assert not made.execprobe.complete
        assert_untold(made.execprobe, "MemoryError|it died|can be told apart")
        if made.recorder.source is not None:
            made.kill_helper()
        log = next_test(made)
        spawn(programs.minimal)
        assert_exact(log, programs.minimal)
    finally:
        made.recorder.close()


@pytest.mark.bpf
def test_a_record_that_is_not_taken_from_its_buffer_is_missed(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_helper(
        tmp_path,
        monkeypatch,
        {
            "bpf/probe.py": {
                "_PROCS_MAX = 32768\n": "import itertools\n_PROCS_MAX, _number = 32768, itertools.count()\n",
                "wire.pieces(ring.take())": "wire.pieces(b''.join(wire.event(one)"
                " for one, _ in wire.split_events(ring.take()) if next(_number) != 2))",
            }
        },
    )
    with recording() as made:
        with made.execprobe.watch() as before:
            spawn(programs.minimal)  # an exec, and an exit
        with made.execprobe.watch() as log:
            spawn(programs.minimal)
            spawn(programs.minimal)
        assert_exact(before, programs.minimal)
        assert log.lost is None
        for check in (lambda: log.assert_not_ran("ls"), lambda: log.assert_count(2), lambda: log.assert_at_most(2)):
            with pytest.raises(IncompleteLogError, match="records more were lost than can be told apart"):
                check()


@pytest.mark.bpf
@pytest.mark.parametrize("place", ["7", "proc->recorded"], ids=["none", "another's"])
def test_an_exec_whose_record_is_not_found_again_is_lost(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The helper may write over the process's entry, in which its place is, while it adopts it."""
    change_source(tmp_path, monkeypatch, {"place = proc ? proc->recorded - 1": f"place = proc ? {place}"})
    preempt_programs(tmp_path, monkeypatch)
    with recording() as made, made.execprobe.watch() as log:
        spawn(programs.minimal)
        with pytest.raises(IncompleteLogError, match="can be told apart"):
            log.assert_nothing_ran()


@pytest.mark.bpf
def test_an_end_for_which_there_is_no_memory_is_lost(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it may be in use where programs are preempted."""
    change_source(
        tmp_path, monkeypatch, {"if (!record) {\n        count_loss(KIND_EXIT)": "{\n        count_loss(KIND_EXIT)"}
    )
    with recording() as made, made.execprobe.watch() as log:
        spawn(programs.minimal)
        with pytest.raises(IncompleteLogError, match="can be told apart"):
            log.assert_count(1)


@pytest.mark.bpf
def test_what_a_fallback_has_done_does_not_stand_for_the_next_exec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same process, where the kernel has skipped the program that sees it begin, too."""
    unseen = {
        "\nAT(on_exec, ": "\nAT(on_exec, if (0) ",
        "    proc->recorded = 0;\n    exec->tgid": "    exec->tgid",
    }
    change_source(tmp_path, monkeypatch, unseen)
    preempt_programs(tmp_path, monkeypatch)
    with recording() as made, made.execprobe.watch() as log:
        subprocess.run(["env", "env", "true"], check=True)
        assert log.programs == ["env", "env", "true"]


@pytest.mark.bpf
@pytest.mark.parametrize("skipped", ["on_exec", "on_newtask", "on_exit"])
def test_what_a_program_is_skipped_for_its_fallback_does(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skipped: str
) -> None:
    """As it happens on kernels that can preempt programs: here the first of the two never does anything."""
    change_source(tmp_path, monkeypatch, {f"\nAT({skipped}, ": f"\nAT({skipped}, if (0) "})
    with recording() as made, made.execprobe.watch() as blind:
        spawn(programs.minimal)
        if attach.kernel_version() < attach._PREEMPTED:
            seen = [(record.program, record.exit_code) for record in blind.records]
            assert seen == ([("minimal", None)] if skipped == "on_exit" else [])
    preempt_programs(tmp_path, monkeypatch)
    with recording() as made, made.execprobe.watch() as log:
        spawn(programs.minimal)
        assert [(record.program, record.exit_code) for record in log.records] == [("minimal", 0)]


@pytest.mark.bpf
@pytest.mark.parametrize(
    "missed", ["int tracepoint_enter_execve(struct sys_enter_args *ctx)\n{", "record_failed_exec(ctx, "]
)
def test_a_failed_exec_of_which_the_beginning_or_the_end_was_missed_is_a_lost_attempt(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missed: str
) -> None:
    bpf = tmp_path / "bpf"
    shutil.copytree(connect.bpf_folder(), bpf)
    source = (bpf / "execprobe.c").read_text()
    at = source.index(missed, source.index("/* By system-call tracepoint"))
    instead = missed + "\n    return 1;" if missed.endswith("{") else "(void)(ctx, "
    (bpf / "execprobe.c").write_text(source[:at] + instead + source[at + len(missed) :])
    monkeypatch.setattr(connect, "bpf_folder", lambda: bpf)
    with recording(HelperSettings(attempts="tracepoint")) as made, made.execprobe.watch() as log:
        with pytest.raises(FileNotFoundError):
            os.posix_spawn("/nowhere/program", ["program"], {})
        with pytest.raises(IncompleteLogError):
            print(log.attempts)
        spawn(programs.minimal)
        assert log.programs == ["minimal"]


def test_an_exception_in_the_helper_is_told(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_helper(
        tmp_path,
        monkeypatch,
        {
            "delivery.py": {
                "            counts = self._probe.reconcile()\n": "            counts = self._probe.no_such_thing()\n"
            }
        },
    )
    with recording() as made:
        spawn(programs.minimal)
        assert_untold(made.execprobe, "the probe helper was lost: it failed: AttributeError: .*no_such_thing")


# ---- what the client receives ----


def hang_up(last: bytes) -> bytes:
    raise HangUp(last)


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "closed": (lambda _: hang_up(b""), "it died"),
    "garbage": (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak this protocol"),
    "half a frame, then silence": (lambda data: data[: len(data) // 2], "it did not answer in time"),
    "a header alone, then silence": (lambda data: data[: wire.HEADER.size], "it did not answer in time"),
    "half a frame, then closed": (lambda data: hang_up(data[: len(data) // 2]), "it died"),
    "2 GiB": (lambda _: wire.HEADER.pack(b"xp", wire.VERSION, wire.EVENTS, 1, 1 << 31), "2147483648 bytes is over"),
    "another version": (lambda data: data[:2] + b"\x63" + data[3:], "speaks version 99 of this protocol"),
    "an unknown type": (lambda data: data[:3] + b"\xee" + data[4:], "type 238 is not expected"),
    "another's request": (lambda data: data[:4] + b"\xff\xff\xff\x00" + data[8:], "it did not answer in time"),
}


# Events may belong to a request that was broken off: they are kept, whatever their number.
@pytest.mark.parametrize(
    ("where", "fault"),
    [(wire.EVENTS, fault) for fault in BROKEN if fault != "another's request"]
    + [(wire.SYNCED, fault) for fault in BROKEN],
    ids=lambda value: {wire.EVENTS: "instead of events", wire.SYNCED: "after the events"}.get(value, value),
)
def test_what_breaks_on_the_way_to_the_client(middle: Between, programs: Programs, fault: str, where: int) -> None:
    breaks, complaint = BROKEN[fault]
    with recording(HelperSettings(address=middle.address)) as made:
        broken = False

        def break_it(frame: wire.Frame, data: bytes) -> bytes:
            nonlocal broken
            if broken:
                return b""
            broken = frame.type == where
            return breaks(data) if broken else data

        middle.said = break_it
        with made.impatient(), made.execprobe.watch() as log:
            spawn(programs.minimal)
        assert broken
        assert_untold(log, complaint)
        middle.said = lambda _, data: data
        log = next_test(made)
        spawn(programs.minimal)
        assert_exact(log, programs.minimal)


@pytest.mark.parametrize("seconds", [-100, -0.5, 0.5, 100])
def test_a_helper_whose_clock_is_another_vouches_for_nothing(
    middle: Between, programs: Programs, seconds: float
) -> None:
    """As in a time namespace: what it calls complete is another time than a window's."""
    with recording(HelperSettings(address=middle.address)) as made:

        def shift(frame: wire.Frame, data: bytes) -> bytes:
            if frame.type != wire.SYNCED:
                return data
            fields = frame.json()
            return wire.frame(frame.type, frame.request, {**fields, "at": fields["at"] + int(seconds * 1e9)})

        middle.said = shift
        with made.execprobe.watch() as log:
            spawn(programs.minimal)
        assert_untold(log, "CLOCK_MONOTONIC")


# ---- what the helper receives ----

NONSENSE = {
    "closed": b"",
    "garbage": b"GET / HTTP/1.1\r\n\r\n",
    "half a frame, then closed": wire.frame(wire.SYNC, 9, {"timeout": 1})[:-3],
    "2 GiB": wire.HEADER.pack(wire.MAGIC, wire.VERSION, wire.SYNC, 9, 1 << 31),
    "another version": wire.HEADER.pack(wire.MAGIC, 99, wire.SYNC, 9, 0),
    "a reply": wire.frame(wire.SYNCED, 9, {"at": 1, "in_flight": 0, "unplaced": 0, "skipped": 0, "unplaced_from": 0}),
    "no JSON": wire.raw_frame(wire.SYNC, 9, b"\xff"),
}


@pytest.fixture
def made() -> Iterator[Recording]:
    with recording() as made:
        yield made


def another_root(made: Recording) -> HelperSource:
    """A second client of the same helper."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect("\0" + made.source.description["address"])
    source = HelperSource(sock, os.getpid())
    source.register(fresh=True, timeout=30)
    return source


@pytest.mark.parametrize("fault", NONSENSE)
def test_a_peer_that_breaks_off_is_dropped_alone(made: Recording, programs: Programs, fault: str) -> None:
    peer = another_root(made)
    with made.execprobe.watch() as log:
        peer._connection.stream.sock.settimeout(30)
        if NONSENSE[fault]:
            peer._connection.stream.sock.sendall(NONSENSE[fault])
        spawn(programs.minimal)
        if fault.endswith("closed"):
            peer._connection.stream.sock.shutdown(socket.SHUT_WR)
        while peer._connection.stream.sock.recv(1 << 16):  # until it is hung up on
            pass
    assert_exact(log, programs.minimal)
    with pytest.raises(SourceLost):
        peer.sync(1)
    peer.close()


def test_a_peer_that_stops_in_the_middle_of_a_frame_keeps_nobody_waiting(made: Recording, programs: Programs) -> None:
    peer = another_root(made)
    request = wire.frame(wire.SYNC, 9, {"timeout": 0})
    peer._connection.stream.sock.sendall(request[:-1])
    for _ in range(20):
        with made.execprobe.watch() as log:
            spawn(programs.minimal)
        assert_exact(log, programs.minimal)
    peer._connection.stream.sock.sendall(request[-1:])  # it is still a peer
    while (answer := peer._connection._inbox.answer) is None or answer.request != 9:
        peer._connection._take_in(clock.monotonic() + 30)
    assert answer.type == wire.SYNCED
    peer.close()


# ---- buffers and maps that are full ----

BURST = 500  # with their ends fewer than the list of what was lost can hold


def burst(programs: Programs, cpus: set[int] | None = None) -> None:
    """So many execs of minimal, by one process on each of these CPUs or all, and one of storm."""
    everywhere = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cpus or everywhere)
        subprocess.run([programs.storm, programs.minimal, str(BURST)], check=True)
    finally:
        os.sched_setaffinity(0, everywhere)


@pytest.mark.bpf
def test_full_at_the_very_end_of_a_test(programs: Programs) -> None:
    """The last that a test does, and the window closes at once; the helper comes to it only then."""
    with recording(HelperSettings(pages=1)) as made:
        helper = made.helper
        spawn(programs.minimal)
        stop(helper)
        burst(programs)
        with later(0.2, lambda: os.kill(helper, signal.SIGCONT)):
            made.recorder.end_phase()
        found = made.recorder.windows["call"].evidence()
        assert found.missing is not None
        assert found.missing > BURST // 2
        assert len(found.records) + found.missing == 1 + 1 + BURST
        log = next_test(made)
        spawn(programs.minimal)
        assert_exact(log, programs.minimal)


@pytest.mark.bpf
def test_full_without_being_stopped(programs: Programs) -> None:
    """However much such a helper keeps up with: what it took and what it lost is all that there was."""
    with recording(HelperSettings(pages=1)) as made:
        with made.execprobe.watch() as log:
            burst(programs)
        with made.execprobe.watch() as after:
            spawn(programs.minimal)
        assert log.lost is not None
        assert len(log.partial) + log.lost == BURST + 1
        assert_exact(after, programs.minimal)


@pytest.mark.bpf
def test_a_burst_at_the_end_never_passes_a_rule(pytester: pytest.Pytester, programs: Programs) -> None:
    pytester.makepyfile(
        f"""
        import os, signal, subprocess, threading, pytest

        STORM = [{str(programs.storm)!r}, {str(programs.minimal)!r}, "{BURST}"]

        def burst(request):
            armed = request.config.pluginmanager.get_plugin("execprobe-armed")
            helper = armed.recorder.source.description["pid"]
            os.kill(helper, signal.SIGSTOP)
            subprocess.run(STORM, check=True)
            threading.Timer(0.2, lambda: os.kill(helper, signal.SIGCONT)).start()

        @pytest.mark.exec_deny("ls")
        def test_deny(request):
            burst(request)

        @pytest.mark.exec_budget({BURST})
        def test_one_too_many(request):
            burst(request)

        @pytest.mark.exec_budget({BURST + 1})
        def test_as_many_as_allowed(request):
            burst(request)

        @pytest.mark.exec_budget(1)
        @pytest.mark.exec_deny("ls")
        def test_next():
            subprocess.run([{str(programs.minimal)!r}], check=True)
        """
    )
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--execprobe-buffer-pages=1", "--execprobe-timeout=30", timeout=120
    )
    result.assert_outcomes(errors=1, failed=1, passed=2)
    result.stdout.fnmatch_lines(["*cannot tell whether ls ran*", f"*exec budget exceeded: {BURST + 1} execs*"])


@pytest.mark.bpf
@pytest.mark.may_skip
def test_full_on_one_cpu_only(programs: Programs) -> None:
    """What ran elsewhere while it was full is in its window, whole."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("execprobe: it takes two CPUs for one to be quiet")
    with recording(HelperSettings(pages=1)) as made:
        with made.helper_stopped():
            storm = made.recorder.open_window("the storm")  # to be read when the helper runs again
            burst(programs, {cpus[0]})
            storm.end = clock.monotonic_ns()
            calm = made.recorder.open_window("the calm")
            try:
                os.sched_setaffinity(0, {cpus[1]})
                spawn(programs.minimal)
            finally:
                os.sched_setaffinity(0, set(cpus))
            calm.end = clock.monotonic_ns()
        lost = storm.evidence()
        assert lost.missing is not None
        assert lost.missing > BURST // 2
        assert len(lost.records) + lost.missing == BURST + 1
        found = calm.evidence()
        assert ([record.program for record in found.records], found.missing) == (["minimal"], 0)


@pytest.mark.bpf
def test_a_process_that_finds_no_room_is_told_and_not_watched(programs: Programs) -> None:
    with recording(HelperSettings(procs=1)) as made:
        spawn(programs.minimal)
        assert_untold(made.execprobe, "the map of watched processes was full")
        assert_untold(next_test(made), "the map of watched processes was full")  # it may be one that still runs


@pytest.mark.bpf
def test_a_client_that_finds_no_room_is_refused() -> None:
    code = "import sys; from pytest_execprobe.source.connect import *;start_helper(HelperSettings(address=sys.argv[1]))"
    with recording(HelperSettings(procs=1)) as made:
        address = "@" + made.source.description["address"]
        refused = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "there is no room to watch this process: it is in 6 watched trees already, or too many" in refused.stderr


@pytest.mark.bpf
def test_what_was_there_before_and_finds_no_room_is_told(programs: Programs) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            process = stack.enter_context(subprocess.Popen(["sh", "-c", "read line"], stdin=subprocess.PIPE))
            assert process.stdin is not None
            stack.callback(process.stdin.close)
        with recording(HelperSettings(procs=2)) as made:
            assert_untold(made.execprobe, "are older than the probe and can't be followed")
    with recording() as made:
        spawn(programs.minimal)
        assert_exact(made.execprobe, programs.minimal)


# ---- execs that take their time ----

BY_TRACEPOINT = HelperSettings(attempts="tracepoint")  # it sees an exec before its file is opened


@pytest.mark.bpf
def test_an_exec_that_takes_longer_than_the_timeout(programs: Programs, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    shutil.copy(programs.minimal, slow)
    with recording(BY_TRACEPOINT, timeout=0.2) as made:
        with kept_from_opening(slow):
            with made.execprobe.watch() as log:
                child = begin_exec(slow)
            assert_one_in_flight(log, "1 execs were still in flight after the wait for them: raise --execprobe-timeout")
        assert os.waitpid(child, 0)[1] == 0
        assert_one_in_flight(log, "still in flight")  # it has been told
        with made.execprobe.watch() as after:
            spawn(programs.minimal)
        assert_exact(after, programs.minimal)
        assert made.execprobe.programs == ["slow", "minimal"]


@pytest.mark.bpf
def test_more_execs_in_flight_than_can_be_noted(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_helper(tmp_path, monkeypatch, {"bpf/probe.py": {'{"procs": settings.procs}': '{"execs_in_flight": 1}'}})
    slow = tmp_path / "slow"
    shutil.copy(programs.minimal, slow)
    with recording(BY_TRACEPOINT, timeout=0.2) as made:
        with kept_from_opening(slow):
            child = begin_exec(slow)
            spawn(programs.minimal)
        os.waitpid(child, 0)
        assert made.execprobe.lost is None
        with pytest.raises(IncompleteLogError, match="the map of execs in flight was full"):
            made.execprobe.assert_not_ran("ls")
        log = next_test(made)
        spawn(programs.minimal)
        assert_exact(log, programs.minimal)
