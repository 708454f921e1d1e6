"""Reads of a log where nothing has happened: they ask nobody, and are as true as those that ask."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from programs import Programs
from recording import Recording, recording

from pytest_execprobe import IncompleteLogError
from pytest_execprobe.helper import wire

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(1000), pytest.mark.own_helper]


@pytest.fixture
def made() -> Iterator[Recording]:
    with recording() as made:
        made.execprobe.count()
        yield made


@pytest.fixture
def asked(made: Recording, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The requests that are sent; not those of the run that this test is in."""
    sent: list[int] = []
    connection = made.source._connection
    ask = connection.ask

    def counted(type: int, *rest: object) -> object:
        sent.append(type)
        return ask(type, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(connection, "ask", counted)
    return sent


def spawn(program: object) -> None:
    os.waitpid(os.posix_spawn(str(program), [str(program)], {}), 0)


@pytest.mark.bpf
def test_nothing_is_asked_where_nothing_has_happened(made: Recording, asked: list[int]) -> None:
    for _ in range(100):
        before = time.monotonic_ns()
        made.execprobe.assert_nothing_ran()
        assert made.recorder.knows(before)
    assert asked == []


@pytest.mark.bpf
def test_what_has_happened_is_asked_for_once(made: Recording, asked: list[int], programs: Programs) -> None:
    for number in range(1, 21):
        spawn(programs.minimal)
        assert made.execprobe.count() == number
        assert [record.exit_code for record in made.execprobe.records] == [0] * number
    assert 20 <= len(asked) <= 40  # the end of a process may have come just after an answer
    asked.clear()
    assert made.execprobe.count() == 20
    assert asked in ([], [wire.SYNC])
    asked.clear()
    assert made.execprobe.count() == 20
    assert asked == []


def test_an_end_alone_is_asked_for(made: Recording) -> None:
    reading, writing = os.pipe()
    child = os.posix_spawn("/bin/cat", ["cat"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)])
    assert made.execprobe.records[0].exit_code is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert made.execprobe.records[0].signal == signal.SIGKILL
    os.close(reading)
    os.close(writing)


def test_what_is_executed_in_another_tree_makes_it_ask(made: Recording, asked: list[int], programs: Programs) -> None:
    child = os.fork()
    if child == 0:
        try:
            spawn(programs.minimal)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert made.execprobe.programs == ["minimal"]
    assert asked


def test_a_forked_child_has_a_log_of_its_own(made: Recording, programs: Programs) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            made.execprobe.assert_nothing_ran()
            made.execprobe.assert_nothing_ran()
            spawn(programs.minimal)
            if made.execprobe.programs == ["minimal"]:
                status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert made.execprobe.programs == ["minimal"]


def test_a_root_that_has_gone_hides_none_of_those_inside_it(made: Recording, programs: Programs) -> None:
    """A child with a log of its own forks another, and gives its own up."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            made.execprobe.assert_nothing_ran()
            (registered, here), (gone, there) = os.pipe(), os.pipe()
            if (grandchild := os.fork()) == 0:
                made.execprobe.assert_nothing_ran()
                os.write(here, b"!")
                os.read(gone, 1)
                for _ in range(2):  # it may see in one look that the other has hung up and that it is asked this
                    made.source.running(0, 30)
                spawn(programs.minimal)
                status = made.execprobe.programs != ["minimal"]
            else:
                os.read(registered, 1)
                made.source.close()
                os.write(there, b"!")
                status = os.waitpid(grandchild, 0)[1]
        finally:
            os._exit(bool(status))
    assert os.waitpid(child, 0)[1] == 0
    assert made.execprobe.programs == ["minimal"]


def test_a_helper_that_was_killed_vouches_for_nothing(made: Recording) -> None:
    made.kill_helper()
    with pytest.raises(IncompleteLogError, match="helper was lost"):
        made.execprobe.assert_nothing_ran()


@pytest.mark.bpf
def test_a_helper_that_is_stopped_is_not_needed_to_know_that_nothing_ran(
    made: Recording, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its probe goes on counting."""
    with made.helper_stopped(), monkeypatch.context() as patch:
        patch.setattr(made.recorder, "timeout", 0.1)
        made.execprobe.assert_nothing_ran()
        spawn(programs.minimal)
        with pytest.raises(IncompleteLogError):
            made.execprobe.assert_nothing_ran()


def read_until_it_raises(made: Recording) -> None:
    for _ in range(10**6):
        made.execprobe.assert_nothing_ran()


def test_a_connection_that_the_test_has_closed_vouches_for_nothing(made: Recording) -> None:
    """For the helper, who sees it closed, ends the watch: what runs until then is counted, and not what runs after."""
    os.close(made.source._connection.stream.sock.fileno())
    with pytest.raises(IncompleteLogError, match="closed by the program under test"):
        read_until_it_raises(made)
    with pytest.raises(IncompleteLogError, match="closed by the program under test"):
        made.execprobe.assert_nothing_ran()


def test_a_client_that_the_helper_has_let_go_knows_nothing(made: Recording) -> None:
    stream = made.source._connection.stream
    stream.sock.send(b"this is no frame")  # for which it hangs up
    with pytest.raises(IncompleteLogError, match="helper was lost"):
        read_until_it_raises(made)
