"""The socket of a service: where it may be made, and what is believed of one that systemd hands over."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
from pathlib import Path

import pytest

from pytest_execprobe.helper import listening
from pytest_execprobe.helper.errors import ProbeError


def test_socket_has_its_mode_from_the_beginning(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "socket")
    with listening.listen_at(path, 0o640, os.getegid()):
        found = os.stat(path)
        assert stat.S_ISSOCK(found.st_mode)
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o640, os.getegid())
        assert stat.S_IMODE(os.stat(tmp_path / "new").st_mode) == 0o755


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listening.listen_at(path, 0o600, -1).close()
    before = os.stat(path).st_ino, os.stat(path).st_ctime_ns
    with listening.listen_at(path, 0o600, -1), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(path)
        assert (os.stat(path).st_ino, os.stat(path).st_ctime_ns) != before


@pytest.mark.parametrize("crowded", [False, True])
def test_socket_of_a_living_service_stays(tmp_path: Path, crowded: bool) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as living, contextlib.ExitStack() as callers:
        living.bind(path)
        living.listen(0)
        for _ in range(2 if crowded else 0):
            caller = callers.enter_context(socket.socket(socket.AF_UNIX))
            caller.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                caller.connect(path)
        with pytest.raises(ProbeError, match="a service is there already"):
            listening.listen_at(path, 0o600, -1)
        assert os.path.exists(path)


def test_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "socket").write_text("precious")
    with pytest.raises(ProbeError, match="is no socket"):
        listening.listen_at(str(tmp_path / "socket"), 0o600, -1)
    assert (tmp_path / "socket").read_text() == "precious"


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_folder_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ProbeError, match="other users can write to"):
        listening.listen_at(str(folder / "socket"), 0o600, -1)


@pytest.mark.parametrize(
    ("path", "why"), [("/proc/nowhere/socket", "No such file"), ("/tmp/" + "x" * 200 + "/socket", "path too long")]
)
def test_socket_that_can_not_be_made_is_said_to_be_so(path: str, why: str, tmp_path: Path) -> None:
    place = path.replace("/tmp", str(tmp_path))
    with pytest.raises(ProbeError, match=f"no socket can be made at .*{why}"):
        listening.listen_at(place, 0o600, -1)


def test_group_that_is_not_there() -> None:
    with pytest.raises(ProbeError, match="there is no group no-such-group"):
        listening._gid("no-such-group")


def test_socket_of_systemds_is_meant_for_this_process_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert listening._passed_socket() is None
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    with pytest.raises(ProbeError, match="handed over 2 sockets"):
        listening._passed_socket()


@pytest.mark.parametrize("listens", [True, False])
def test_socket_of_systemds_is_a_listening_one(monkeypatch: pytest.MonkeyPatch, listens: bool) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    with socket.socket(socket.AF_UNIX) as made:
        if listens:
            made.bind("\0pytest-execprobe-test-" + secrets.token_hex(8))
            made.listen()
        monkeypatch.setattr(listening, "_FIRST_PASSED", os.dup(made.fileno()))
        if not listens:
            with pytest.raises(ProbeError, match="no unix stream socket"):
                listening._passed_socket()
            return
        passed = listening._passed_socket()
        assert passed is not None
        with passed:
            assert passed.getsockname() == made.getsockname()
            assert not passed.get_inheritable()
