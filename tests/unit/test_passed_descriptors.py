"""Descriptors that a stranger sends along: the receiver has to close them, which can take any time."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.helper import listening, peers
from pytest_execprobe.source import connect, meeting
from pytest_execprobe.source.connect import HelperSettings, start_helper

KERNEL = tuple(int(number) for number in platform.release().split("-")[0].split(".")[:2])

pytestmark = [pytest.mark.may_skip, pytest.mark.skipif(KERNEL < (6, 16), reason="this kernel refuses no descriptors")]


@contextlib.contextmanager
def at_a_path(folder: Path) -> Iterator[socket.socket]:
    with listening.listen_at(str(folder / "socket"), 0o600, -1) as listener:
        yield listener


@contextlib.contextmanager
def of_systemds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket"))
        made.listen()
        monkeypatch.setattr(listening, "_FIRST_PASSED", os.dup(made.fileno()))
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        passed = listening._passed_socket()
        assert passed is not None
        with passed:
            yield passed


@contextlib.contextmanager
def of_a_run() -> Iterator[socket.socket]:
    listener = meeting.listen(meeting.new_name())
    assert listener is not None
    with socket.socket(fileno=listener.detach()) as made:
        yield made


def send_one(sock: socket.socket) -> None:
    with open(os.devnull) as file:
        socket.send_fds(sock, [b"x"], [file.fileno()])


@pytest.mark.parametrize("whose", ["a service's", "systemd's", "a run's"])
def test_none_can_be_sent_to_a_helper(whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listeners = {
        "a service's": lambda: at_a_path(tmp_path),
        "systemd's": lambda: of_systemds(tmp_path, monkeypatch),
        "a run's": of_a_run,
    }
    with listeners[whose]() as listener, socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(listener.getsockname())
        with pytest.raises(PermissionError):  # before it is let in, and afterwards
            send_one(stranger)
        listener.setblocking(True)
        sock, _ = listener.accept()
        with sock:
            with pytest.raises(PermissionError):
                send_one(stranger)
            stranger.sendall(b"words")
            assert sock.recv(100) == b"words"


def test_none_can_be_sent_to_who_looks_for_a_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[OSError | None] = []

    def judge(sock: socket.socket) -> tuple[int, int, int]:  # at this moment the stranger has its chance
        stranger, _ = listener.accept()
        with stranger:
            try:
                send_one(stranger)
                sent.append(None)
            except OSError as error:
                sent.append(error)
        return real(sock)

    real = peers.credentials
    monkeypatch.setattr(peers, "credentials", judge)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + meeting.new_name())
        listener.listen()
        meeting.connect(os.fsdecode(listener.getsockname()), 10).close()
    (error,) = sent
    assert error is not None
    assert error.errno == errno.EPERM


#: In an interpreter's place: sends one to who waits for the helper.
SENDS = """#!{python}
import os, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect("\\0" + sys.argv[sys.argv.index("--connect") + 1])
    try:
        socket.send_fds(sock, [b"x"], [1])
    except PermissionError:
        sys.exit("none is taken")
sys.exit("one was taken")
"""


@pytest.mark.exec_budget(1)
def test_none_can_be_sent_to_who_starts_a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "privilege_route", lambda *_, **__: [])
    program = tmp_path / "python"
    program.write_text(SENDS.format(python=sys.executable))
    program.chmod(0o755)
    with pytest.raises(ProbeUnavailable, match="none is taken"):
        start_helper(HelperSettings(python=str(program), backend="bpf"))
