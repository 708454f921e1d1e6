"""What a process knows of its children. Each test is in a process that has had none: a fork of this one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from pytest_execprobe.source import children


@pytest.fixture
def afresh() -> Callable[[Callable[[], bool]], bool]:
    """Asks it of a process that has had no child."""

    def ask(question: Callable[[], bool]) -> bool:
        pid = os.fork()
        if pid == 0:
            status = 2
            try:
                status = 0 if question() else 1
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) in (0, 1)
        return status == 0

    return ask


Ask = Callable[[Callable[[], bool]], bool]


def child(*, waits: bool = True, stays: bool = False) -> int:
    pid = os.fork()
    if pid == 0:
        if stays:
            signal.pause()
        os._exit(0)
    if waits:
        os.waitpid(pid, 0)
    return pid


def test_who_has_had_no_child_has_left_none(afresh: Ask) -> None:
    assert afresh(lambda: children.has_left_none() and children.has_none())


def test_child_that_has_ended_may_have_left_something(afresh: Ask) -> None:
    def ended() -> bool:
        child()
        return children.has_left_none() or children.has_none()

    assert not afresh(ended)


def test_child_that_is_not_waited_for_is_there(afresh: Ask) -> None:
    def zombie() -> bool:
        pid = child(waits=False)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return children.has_none()

    assert not afresh(zombie)


def test_nothing_is_known_where_children_are_not_counted(afresh: Ask) -> None:
    def forgotten() -> bool:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        return children.has_left_none()

    assert not afresh(forgotten)


def test_another_thread_could_be_just_waiting_for_a_child(afresh: Ask) -> None:
    def idle() -> bool:
        threading.Thread(target=signal.pause, daemon=True).start()
        return children.has_left_none() and not children.has_none()

    assert afresh(idle)


def test_launchers_leave_nothing_but_helpers(afresh: Ask) -> None:
    def launched() -> bool:
        for _ in range(3):
            assert children.reap_launcher(child(waits=False)) == 0
        before = children.has_left_none() and children.has_none()
        child()
        return before and not children.has_left_none()

    assert afresh(launched)


def test_launcher_that_another_thread_has_waited_for_is_a_child_like_others(afresh: Ask) -> None:
    def taken() -> bool:
        assert children.reap_launcher(child()) is None
        return children.has_left_none()

    assert not afresh(taken)


def test_fork_knows_nothing_of_its_parents_children(afresh: Ask) -> None:
    def asked() -> bool:
        children.reap_launcher(child(waits=False))
        pid = os.fork()
        if pid == 0:
            os._exit(0 if children.has_none() and children._here().since == 0 else 1)
        return os.waitpid(pid, 0)[1] == 0

    assert afresh(lambda: children.look() is None and asked())


def test_look_remembers_the_time_until_which_there_was_no_child(afresh: Ask) -> None:
    def looked() -> bool:
        assert children.to_be_sent() == {}
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        children.look()
        child()
        sent = children.to_be_sent()
        assert int(before * children._HZ) <= sent["since"] <= time.clock_gettime(time.CLOCK_BOOTTIME) * children._HZ
        return sent["begun"] == children._begun("self") and sent["left"] == ()

    assert afresh(looked)


@pytest.mark.parametrize("how", ["ended", "alive", "thread", "ignored"])
def test_look_that_proves_nothing_is_not_remembered(afresh: Ask, how: str) -> None:
    def looked() -> bool:
        if how == "ended":
            child()
        elif how == "alive":
            child(waits=False, stays=True)
        elif how == "thread":
            threading.Thread(target=signal.pause, daemon=True).start()
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        children.look()
        for pid in map(int, open(f"/proc/self/task/{os.getpid()}/children").read().split()):  # noqa: SIM115
            os.kill(pid, signal.SIGKILL)
        return children.to_be_sent() == {}

    assert afresh(looked)


def test_what_a_probe_leaves_is_known_to_the_next(afresh: Ask) -> None:
    def parted() -> bool:
        child()
        parting = children.Parting()
        gone, stays = child(), child(waits=False, stays=True)
        try:
            parting.remember([(gone, 70001), (stays, 70002)])
            sent = children.to_be_sent()
            assert sent["left"] == ((70002, children._begun(str(stays))),)
            assert sent["since"] < sent["left"][0][1]
            return not children.has_left_none()
        finally:
            os.kill(stays, signal.SIGKILL)

    assert afresh(parted)


def test_where_a_probe_leaves_nothing_only_later_children_count(afresh: Ask) -> None:
    def parted() -> bool:
        child()
        assert not children.has_left_none()
        children.Parting().remember([])
        before = children.has_left_none()
        child()
        return before and not children.has_left_none()

    assert afresh(parted)


@pytest.mark.parametrize("how", ["unknown number", "hidden", "too many"])
def test_what_is_left_is_known_whole_or_not_at_all(afresh: Ask, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def parted() -> bool:
        child()
        parting = children.Parting()
        left: list[tuple[int | None, int]] = [(None, 70001)]
        if how == "hidden":
            monkeypatch.setattr(children, "_begun", lambda _: None)
            left = [(1, 1)]
        elif how == "too many":
            left = [(os.getpid(), 70000 + number) for number in range(children.MOST_LEFT + 1)]
        parting.remember(left)
        return children.to_be_sent() != {} or children.has_left_none()

    assert not afresh(parted)
