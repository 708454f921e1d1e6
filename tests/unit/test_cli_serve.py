"""The command that runs a service: what it becomes. What that does is in test_serve.py and tests/kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_execprobe.cli import main, serve
from pytest_execprobe.cli.doctor.bcc import Interpreter, ask
from pytest_execprobe.cli.doctor.machine import Machine
from pytest_execprobe.source.launch import HELPER, bpf_folder

Capture = pytest.CaptureFixture[str]


class _Became(Exception):
    pass


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The command line that it has become, and the environment."""
    found: dict[str, object] = {}

    def execvpe(program: str, command: list[str], environment: dict[str, str]) -> None:
        found.update(program=program, command=command, environment=environment)
        raise _Became

    monkeypatch.setattr(os, "execvpe", execvpe)
    monkeypatch.setattr(serve, "interpreters", lambda *_: ["/no/bcc", "/with/bcc"])
    none = {"reason": "it has none"}
    monkeypatch.setattr(serve, "ask", lambda _, path: Interpreter(path, {} if path == "/with/bcc" else none))
    monkeypatch.setattr(serve, "privilege_route", lambda *_, **__: [])
    return found


def test_it_becomes_the_helper_under_the_first_python_with_bcc(
    became: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LD_PRELOAD", "")
    with pytest.raises(_Became):
        main(["serve"])
    assert became["command"] == [
        "/with/bcc", "-I", "-B", str(HELPER), "serve", "--bpf", str(bpf_folder()),
        "--socket=/run/execprobe/execprobe.sock",
    ]  # fmt: skip
    environment = became["environment"]
    assert isinstance(environment, dict)
    assert environment["LISTEN_FDS"] == "1"
    assert "LD_PRELOAD" not in environment


def test_options_are_handed_on(became: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--socket=s", "--mode=0600", "--group=g", "--user=u", "--attempts=off", "--buffer-pages=64"]
    options += ["--max-processes=1000", "--max-clients=10", "--max-clients-per-user=5"]
    with pytest.raises(_Became):
        main(["serve", *options])
    command = became["command"]
    assert isinstance(command, list)
    assert command[7:] == [
        f"--socket={tmp_path / 's'}", "--mode=0600", "--group=g", "--user=u", "--attempts=off", "--pages=64",
        "--procs=1000", "--max-clients=10", "--max-clients-per-user=5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--mode=8", "expected a mode such as 0660, not '8'"),
        ("--mode=1777", "expected a mode such as 0660, not '1777'"),
        ("--mode=", "expected a mode such as 0660, not ''"),
        ("--max-clients=0", "expected a whole number from 1 to 900, not '0'"),
        ("--max-clients=901", "expected a whole number from 1 to 900, not '901'"),
        ("--buffer-pages=²", "expected a whole number from 1 to 1048576, not '²'"),
    ],
)
def test_what_can_not_be_meant_is_said(option: str, said: str, became: dict[str, object], capsys: Capture) -> None:
    assert main(["serve", option]) == 2
    assert said in capsys.readouterr().err
    assert not became


def test_no_python_with_bcc(became: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(serve, "ask", lambda _, path: Interpreter(path, {"reason": "it has none"}))
    assert main(["serve"]) == 2
    assert "no Python with BCC was found (/no/bcc: it has none; /with/bcc: it has none)" in capsys.readouterr().err
    assert not became


def test_sudo_would_close_what_systemd_hands_over(
    became: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(serve, "privilege_route", lambda *_, **__: ["sudo", "-n", "--"])
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    assert main(["serve"]) == 2
    assert "sudo closes the socket that systemd has handed over" in capsys.readouterr().err
    assert not became
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    with pytest.raises(_Became):
        main(["serve"])


def test_program_that_can_not_be_run(
    became: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def execvpe(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "execvpe", execvpe)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == "execprobe: /with/bcc can't be run: No such file or directory\n"
    assert not became


@pytest.mark.exec_budget(1)
def test_an_interpreter_that_is_none() -> None:
    for path in ("/bin/true", "/nonexistent/python"):
        assert (ask(Machine(), path).reason or "").startswith("it runs no Python: ")
