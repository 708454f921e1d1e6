"""An exception that breaks into a read, as a signal's handler raises it, at every step of the interpreter's that is not
as the one before it: nothing is lost, nothing is counted twice, and the connection goes on.

The server is the helper's own, over a probe that the test plays; the connection is a real one.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import itertools
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest
from fakes import CountingProbe, FakeRun, FakeSource, event_of, kernel_record
from serving import Helper

from pytest_execprobe import ExecRecord, IncompleteLogError
from pytest_execprobe._util.text import Style
from pytest_execprobe.cli import recording
from pytest_execprobe.errors import SourceLost
from pytest_execprobe.helper import wire
from pytest_execprobe.log import log
from pytest_execprobe.log.log import ExecLog
from pytest_execprobe.log.probe import ExecProbe
from pytest_execprobe.source import client, decode, pages, transport
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.command import Command
from pytest_execprobe.source.events import Exec
from pytest_execprobe.source.transport import Connection
from pytest_execprobe.timeline import entry, feed, lighter, recorder, spans, timeline, windows
from pytest_execprobe.timeline.recorder import Recorder

#: Where something is kept. What only computes may as well have raised where it was called.
_OF_TIMELINES = (entry, feed, lighter, recorder, spans, timeline, windows)
STATEFUL = {module.__file__ for module in (client, decode, log, pages, recording, transport, *_OF_TIMELINES)}


#: The steps that are tried. Of what goes through the same code in several ways, each second one, in turn the odd and
#: the even, and all of them by `make test-long`.
ALL, ODD, EVEN = range(1, 100_000), range(1, 100_000, 2), range(2, 100_000, 2)


class Broken(BaseException):
    pass


def apart(do: Callable[[], object]) -> Iterator[object]:
    """Does it where what is being handled ends with it.

    It is broken into while a handler is left, too, where no signal's exception comes. Then the interpreter would go on
    to handle it for ever, and each later traceback show it.
    """
    yield do()


#: Instructions that only look, or only move what is the frame's own: an exception before one and one after it leave the
#: same behind. (What they may run of Python has steps of its own.)
_LOOKS = re.compile(
    r"LOAD_(FAST|CONST|GLOBAL|NAME|DEREF|CLOSURE|SMALL_INT|COMMON_CONSTANT)|PUSH_NULL|PRECALL|KW_NAMES|COPY$|SWAP"
    r"|NOP|RESUME|NOT_TAKEN|EXTENDED_ARG|CACHE|ROT_|DUP_|POP_TOP|IS_OP|COMPARE_OP|BUILD_(TUPLE|LIST|CONST_KEY_MAP|SLICE)"
    r"|POP_JUMP_|MAKE_FUNCTION"
)


@functools.cache
def changes_before(code: CodeType) -> frozenset[int]:
    """The instructions before which something can be other than before the last one: what state there is, or who
    handles an exception."""
    found = set()
    handled = dis._parse_exception_table(code) if sys.version_info >= (3, 11) else ()  # type: ignore[attr-defined]
    before, handlers_before = "", None
    for instruction in dis.get_instructions(code):
        handlers = [entry.target for entry in handled if entry.start <= instruction.offset < entry.end]
        if instruction.is_jump_target or not _LOOKS.match(before) or handlers != handlers_before:
            found.add(instruction.offset)
        before, handlers_before = instruction.opname, handlers
    return frozenset(found)


def breaks_at(step: int, do: Callable[[], object]) -> bool:
    """Whether it was broken into, at that step: before a function, or before an instruction."""
    left = step

    def of_frame(frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG001
        nonlocal left
        code = frame.f_code
        if code.co_filename not in STATEFUL:
            return None
        if (left := left - 1) == 0:
            raise Broken
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        changes = changes_before(code)

        def at_instruction(frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG001
            nonlocal left
            if frame.f_lasti in changes and event == "opcode" and (left := left - 1) == 0:
                raise Broken
            return at_instruction

        return at_instruction

    before = sys.gettrace()
    sys.settrace(of_frame)
    try:
        next(apart(do))
    except Broken:
        return True
    finally:
        sys.settrace(before)
    return False


def every_step(
    do: Callable[[], object], check: Callable[[], object], prepare: Callable[[], object], steps: Iterable[int] = ALL
) -> int:
    """Breaks into it at one step after the other, and has it checked each time that all is as it should be."""
    for step in steps:
        prepare()
        broken = breaks_at(step, do)
        check()
        if not broken:
            return step
    raise AssertionError


def by_halves(*ways: tuple[object, ...]) -> list[Any]:
    """Each with the half of the steps that it tries, and once more with all."""
    halves = [(*way, half) for way, half in zip(ways, itertools.cycle([ODD, EVEN]))]
    return [*halves, *(pytest.param(*way, ALL, marks=pytest.mark.long) for way in ways)]


class Played:
    """A recorder over a helper whose kernel the test plays."""

    def __init__(self) -> None:
        self.probe = CountingProbe()
        self.helper = Helper(self.probe)
        self.source = HelperSource(self.helper.connect().sock, os.getpid())
        self.source.register(fresh=True, timeout=30)
        self.recorder = Recorder(lambda: self.source, style=Style(), timeout=30)
        self.recorder.ensure()
        self.recorder.begin_test("the test")
        self.recorder.in_use = True
        self.recorder.begin_phase("call")
        self._pids = itertools.count(1000)
        self.arrived: list[int] = []
        self.unplaced = 0
        self.execs(0, 0)

    def execs(self, number: int = 1, lost: int = 1) -> None:
        """So many, each of a process that has ended, in a new window; and so many of which no more is known."""
        self.window = self.recorder.open_window("the window")
        self.begun = len(self.arrived)
        self.lost = lost
        records: list[bytes] = []
        for _ in range(number + lost):
            pid, now = next(self._pids), time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            slot = (self.source.root, now, pid, 1)
            ran = kernel_record(at=now, entered=now, pid=pid, slot=slot)
            if len(records) == 2 * number:
                self.probe.drop(ran[: wire.HEAD.size])
                continue
            self.arrived.append(pid)
            ended = kernel_record(wire.KIND_EXIT, at=now + 1, previous_at=now, pid=pid, error=3 << 8, slot=slot)
            records += [ran, ended]
        self.probe.submit(*records)

    def check(self) -> None:
        """After a read that nothing breaks into."""
        found = self.window.evidence()
        assert self.recorder.source is self.source
        assert [record.pid for record in found.records] == self.arrived[self.begun :]
        assert {record.exit_code for record in found.records} <= {3}
        assert (len(found.lost), found.unknown) == (self.lost, ())

    def check_new(self) -> None:
        assert sorted(entry.event.pid for entry in self.recorder.take_new() if entry.record) == self.arrived

    def close(self) -> None:
        self.recorder.close()
        self.helper.stop()
        self.probe.close()


@pytest.fixture
def played() -> Iterator[Played]:
    played = Played()
    yield played
    played.close()


READS: dict[str, Callable[[Played], object]] = {
    "records": lambda played: ExecLog(played.window).partial,
    "tally": lambda played: played.window.tally(),
    "wait_for": lambda played: ExecLog(played.window).wait_for("git"),
    "wait": lambda played: played.window.wait(0),
}


@pytest.mark.parametrize(
    ("read", "chunk", "steps"),
    by_halves(("records", 1 << 18), ("records", 200), ("tally", 1 << 18), ("wait_for", 1 << 18), ("wait", 1 << 18)),
)
def test_a_read_that_is_broken_into_loses_nothing(
    played: Played, read: str, chunk: int, steps: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the answer is cut on the way."""
    monkeypatch.setattr(transport, "_CHUNK", chunk)
    assert every_step(lambda: READS[read](played), played.check, played.execs, steps) > 500
    played.check_new()


def test_a_read_that_asks_nothing_and_is_broken_into_overlooks_nothing(played: Played) -> None:
    asked: list[int] = []
    ask = played.source._connection.ask
    played.source._connection.ask = lambda type, *rest: asked.append(type) or ask(type, *rest)  # type: ignore

    def check() -> None:
        played.check()
        played.execs()
        played.check()

    def prepare() -> None:
        played.check()
        played.execs(0, 0)
        asked.clear()

    def read() -> None:
        print(ExecLog(played.window).partial)
        assert asked == []

    assert every_step(read, check, prepare) > 200
    played.check_new()


class Trickling:
    """A socket that takes a few bytes at a time."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def send(self, data: bytes) -> int:
        return int(self._sock.send(data[:7]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_a_request_that_was_sent_in_part_is_completed(played: Played) -> None:
    played.source._connection.stream.sock = Trickling(played.source._connection.stream.sock)  # type: ignore[assignment]
    steps = every_step(played.recorder.sync, played.check, lambda: played.execs(1, 0))
    assert steps > 500


def test_answers_that_are_not_read_keep_no_request_from_being_sent(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper whose answers are not read reads no requests, and hundreds of those fill the buffers, too."""

    def breaks(self: object, deadline: float) -> None:  # noqa: ARG001
        raise Broken

    played.execs(0, 0)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "_take_in", breaks)
        for _ in range(1500):
            window, begun = played.window, played.begun
            played.execs()
            played.window, played.begun = window, begun
            with pytest.raises(Broken):
                print(ExecLog(played.window).partial)
    played.lost = 1500
    played.check()


def test_what_the_helper_could_not_attribute_is_reported_once(played: Played) -> None:
    def check() -> None:
        played.recorder.sync()
        gaps, known = played.recorder.timeline.known.gaps, played.recorder.timeline.known.unattributed
        assert [gap.why.partition(" ")[0] for gap in known] == ["3"] * played.unplaced
        assert len(gaps) == len(known) + 1  # what was before the probe

    def prepare() -> None:
        played.probe.drop(unlisted=3)
        played.unplaced += 1

    every_step(played.recorder.sync, check, prepare)


def test_new_entries_are_given_once(played: Played) -> None:
    """Where an exception breaks into that, whoever asks for them can't tell, and says so."""
    given: list[int] = []

    def take() -> None:
        given.extend(entry.event.pid for entry in played.recorder.take_new() if entry.record)

    for _ in range(50):
        played.execs()
        with contextlib.suppress(Broken):
            breaks_at(300, lambda: ExecLog(played.window).partial)
        played.check()
        take()
    assert sorted(given) == played.arrived


def test_a_command_whose_reading_is_broken_into_is_read_whole() -> None:
    record = kernel_record(
        wire.KIND_ATTEMPT, error=2, dirfd=5, path=b"git\0", components=b"", cwd=b"", slot=(1, 9, 9, 9)
    )
    command = Command()

    def prepare() -> None:
        nonlocal command
        event = event_of(record, 1, False)
        assert isinstance(event, Exec)
        assert event.command is not None
        command = event.command

    def check() -> None:
        assert (command.path, command.program, command.argv) == ("/dev/fd/5/git", "git", ("git", "fetch"))

    assert every_step(lambda: command.argv, check, prepare) > 50


# ---- the phases of a test ----

STAGES: list[Callable[[Recorder], object]] = [
    lambda recorder: recorder.begin_test("broken"),
    lambda recorder: recorder.begin_phase("setup"),
    lambda recorder: recorder.end_phase(),
    lambda recorder: recorder.begin_phase("call"),
    lambda recorder: recorder.end_phase(),
    lambda recorder: recorder.begin_phase("teardown"),
    lambda recorder: recorder.end_phase(),
    lambda recorder: recorder.end_test(),
]


#: Each phase ends by the same steps, hundreds of them: what is forgotten then matters once, and what is not, once.
@pytest.mark.parametrize(
    ("stage", "much", "steps"),
    by_halves(
        *((stage, recorder._MUCH) for stage in range(len(STAGES)) if stage not in (4, 6)),
        *((stage, 0) for stage in range(len(STAGES)) if stage not in (2, 4)),
    ),
)
def test_a_test_that_is_broken_into_takes_nothing_from_the_next(
    stage: int, much: int, steps: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_MUCH", much)
    run = FakeRun()
    names = map("program{}".format, itertools.count())
    ran: list[str] = []

    def runs() -> str:
        ran.append(next(names))
        run.source.runs(ran[-1])
        return ran[-1]

    def prepare() -> None:
        for before in STAGES[:stage]:
            before(run.recorder)
            run.recorder.in_use = True
            runs()

    def check() -> None:
        for after in STAGES[stage + 1 :]:
            runs()
            # What has not begun is not ended: pytest's hooks do not come to it.
            if after is not STAGES[stage + 1] or "begin_phase" not in STAGES[stage].__code__.co_names:
                with contextlib.suppress(AssertionError):  # likewise
                    after(run.recorder)
        run.begin("next")
        own = runs()
        assert ExecProbe(run.recorder).programs == [own]
        run.end()
        found = run.recorder.windows["call"].evidence()
        assert ([record.program for record in found.records], found.unknown, found.strays) == ([own], (), ())
        check_new = run.recorder.take_new()
        assert sorted(entry.record.program for entry in check_new if entry.record) == sorted(ran)  # type: ignore[type-var]
        ran.clear()

    every_step(lambda: STAGES[stage](run.recorder), check, prepare, steps)


# ---- where a source is lost, and had again ----


def test_losing_a_source_is_never_overlooked() -> None:
    """At no step may a window seem to be complete: something has run, and the source can't say so."""
    for step in itertools.count(1):
        run = FakeRun()
        run.begin()
        run.source.runs("git")
        run.source.broken = "it died"
        broken = breaks_at(step, run.recorder.sync)
        found = run.recorder.windows["call"].evidence()
        assert found.unknown, step
        run.end()
        with contextlib.suppress(Broken):
            run.recorder.ensure()
        run.begin("next")
        run.source.runs("git")
        assert ExecProbe(run.recorder).programs == ["git"]
        if not broken:
            break


def test_having_one_again_is_never_overlooked() -> None:
    for step in itertools.count(1):
        run = FakeRun()
        run.begin()
        run.source.broken = "it died"
        run.end()
        broken = breaks_at(step, run.recorder.ensure)
        run.recorder.ensure()
        run.begin("next")
        run.source.runs("git")
        assert ExecProbe(run.recorder).programs == ["git"]
        assert run.recorder.losses().why
        if not broken:
            break


# ---- execprobe run ----


@pytest.mark.parametrize(("whole", "steps"), by_halves((True,), (False,)))
def test_a_look_that_is_broken_into_loses_nothing(whole: bool, steps: range) -> None:
    def keep(record: ExecRecord) -> bool:
        return record.program == "sh"

    for step in steps:
        source = FakeSource()
        recorded = recording.Recording(source, "the command", None if whole else keep)
        for _ in range(2):
            shell = source.runs("sh")
            source.runs("true", by=shell)
            source.runs("gone", lost=True)
            source.exits(shell, 1 << 8)
            broken = breaks_at(step, functools.partial(recorded.look, 1))
            recorded.look(1)
        assert (recorded.programs, recorded.lost) == ({"sh": 2, "true": 2}, 2)
        found = recorded.evidence()
        kept = {"sh": 2, "true": 2} if whole else {"sh": 2}
        assert (Counter(record.program for record in found.records), found.unknown) == (kept, ())
        running = recorded._known_processes._programs.values()
        assert Counter(runs.program for runs in running) == {"true": 2, "?": 2}
        assert recorded.bad_ends == {("sh", "exit 1"): 2}
        if not broken:
            break


def test_a_look_that_finds_its_source_lost_says_so_wherever_it_is_broken_into() -> None:
    for step in itertools.count(1):
        source = FakeSource()
        recorded = recording.Recording(source, "the command", None)
        source.runs("sh")
        recorded.look(1)
        source.broken = "it died"
        broken = breaks_at(step, functools.partial(recorded.look, 1))
        recorded.finish(1)
        assert recorded.programs == {"sh": 1}
        assert recorded.evidence().unknown == ("the probe helper was lost: it died",)
        if not broken:
            break


# ---- reads within reads ----


def test_a_read_by_what_breaks_into_a_read_is_refused(played: Played) -> None:
    """As by a signal's handler. The read that it came into fails with it, and the next has all."""
    read: list[type[BaseException]] = []

    def handler(frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG001
        if frame.f_code is in_the_middle():
            sys.settrace(None)
            try:
                print(ExecLog(played.window).programs)
            except IncompleteLogError as error:
                read.append(type(error))
                raise
        return None

    def in_the_middle() -> CodeType:
        return Connection._take_in.__code__

    played.execs(2, 0)
    sys.settrace(handler)
    try:
        with pytest.raises(IncompleteLogError, match="was read by what broke into a read of it"):
            print(ExecLog(played.window).programs)
    finally:
        sys.settrace(None)
    assert len(read) == 1
    played.check()


def test_a_helper_that_does_not_answer_is_still_lost(played: Played) -> None:
    """And what comes after the patience is over is not waited for again."""
    with pytest.raises(SourceLost, match="did not answer in time"):
        played.source._connection.ask(wire.WAIT, {"timeout": 600}, time.monotonic() + 0.1)
