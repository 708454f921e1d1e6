"""How a helper is found, or started: none ever is."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from fakes import FakeProbe
from serving import PATIENCE, WELCOME, Helper, of

from pytest_execprobe.errors import ProbeObstructed, ProbeUnavailable, SourceLost
from pytest_execprobe.helper import peers, wire
from pytest_execprobe.source import connect as connect_module
from pytest_execprobe.source import meeting
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.connect import HelperSettings, hold_helper, start_helper


@contextlib.contextmanager
def listening(address: str, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """A process that listens there, and does this with the first that connects."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        listener.settimeout(PATIENCE)

        def run() -> None:
            with listener.accept()[0] as sock:
                listener.close()  # as when a helper ends, the name is free
                serve(sock)
                with contextlib.suppress(OSError):
                    while sock.recv(4096):  # until the peer has closed it
                        pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        thread.join(PATIENCE)
        assert not thread.is_alive()


def hang_up(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[HelperSettings]:
    """What a helper was to be started with. None ever is."""
    settings: list[HelperSettings] = []

    def start(given: HelperSettings, listener: socket.socket, enter: object) -> HelperSource:  # noqa: ARG001
        settings.append(given)
        listener.close()
        raise ProbeUnavailable("none is started here")

    monkeypatch.setattr(connect_module, "_start", start)
    return settings


def test_names_of_a_run_follow_from_its_secret_alone() -> None:
    a, b = (set(itertools.islice(meeting.names(secret), 50)) for secret in ("a", "b"))
    assert len(a | b) == 100
    assert a == set(itertools.islice(meeting.names("a"), 50))
    assert all(re.fullmatch("pytest-execprobe-[0-9a-f]{32}", name) for name in a)
    assert meeting.new_secret() != meeting.new_secret()


def test_helper_that_listens_already_is_used(helper: Helper, started: list[HelperSettings]) -> None:
    for settings in (
        HelperSettings(shared=helper.secret, backend="bpf"),
        HelperSettings(address="@" + helper.address[1:], backend="bpf"),
    ):
        source = start_helper(settings)
        assert (source.description, source.attempts_refused) == (WELCOME, "they were not asked for")
        assert source.sync(PATIENCE).complete_to > source.armed_at > 0
        source.close()
    assert started == []


def test_helper_at_a_path_is_used_by_a_forked_child_too(
    probe: FakeProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    helper = Helper(probe, "helper.sock")
    source = start_helper(HelperSettings(address="helper.sock"))
    monkeypatch.chdir("/")
    child = source.in_child(fresh=True, timeout=PATIENCE)
    probe.submit(of(child.root))
    assert len(child.sync(PATIENCE).events) == 1
    child.close()
    helper.stop()


def test_helper_that_is_still_starting_is_waited_for(started: list[HelperSettings]) -> None:
    secret, late = meeting.new_secret(), threading.Event()

    def greet(sock: socket.socket) -> None:
        assert late.wait(PATIENCE)
        sock.sendall(wire.frame(wire.WELCOME, 0, WELCOME))

    with listening("\0" + next(meeting.names(secret)), greet), ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold_helper, HelperSettings(shared=secret, backend="bpf"))
        assert not held.done()
        late.set()
        held.result(PATIENCE).close()
    assert started == []


def first_place(settings: HelperSettings) -> str:
    assert settings.shared is not None
    return "\0" + next(meeting.names(settings.shared))


def test_helper_that_is_just_ending_is_succeeded_by_another(started: list[HelperSettings]) -> None:
    settings = HelperSettings(shared=meeting.new_secret(), backend="bpf")
    with listening(first_place(settings), hang_up), pytest.raises(ProbeUnavailable, match="none is started here"):
        start_helper(settings)
    assert started == [settings]


@pytest.mark.parametrize("listens", [False, True], ids=["bound", "listening, and its queue full"])
def test_name_that_another_has_taken_is_left_to_it(
    started: list[HelperSettings], monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    monkeypatch.setattr(connect_module, "_ROOM_TIMEOUT", 0.05)
    settings = HelperSettings(shared=meeting.new_secret(), backend="bpf")
    place = first_place(settings)
    with socket.socket(socket.AF_UNIX) as taken, socket.socket(socket.AF_UNIX) as waits:
        taken.bind(place)
        if listens:
            taken.listen(0)
            waits.connect(place)
        with pytest.raises(ProbeUnavailable, match="none is started here"):
            start_helper(settings)
    assert started == [settings]


def test_helper_that_cannot_be_had_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keeps it away: it is no reason to skip a test."""
    monkeypatch.setattr(connect_module, "_PAUSE", 0)
    tries: list[str] = []
    monkeypatch.setattr(meeting, "listen", lambda name: tries.append(name))
    with pytest.raises(ProbeObstructed, match=r"neither be reached nor started at any of 50 addresses"):
        start_helper(HelperSettings(shared="secret", backend="bpf"))
    assert list(dict.fromkeys(tries)) == list(itertools.islice(meeting.names("secret"), 50))
    assert len(tries) <= 1000


def failing(code: str, reason: str, remedy: str = "") -> Callable[[socket.socket], None]:
    data = wire.frame(wire.FAILED, 0, {"code": code, "reason": reason, "remedy": remedy})
    return lambda sock: sock.sendall(data)


@pytest.mark.parametrize(
    ("code", "obstructed"), [("no-privilege", False), ("not-started", False), ("busy", True), ("obstructed", True)]
)
def test_reason_why_a_shared_helper_could_not_start_reaches_all(
    started: list[HelperSettings], code: str, obstructed: bool
) -> None:
    settings = HelperSettings(shared=meeting.new_secret(), backend="bpf")
    with (
        listening(first_place(settings), failing(code, "the kernel refused a BPF map", "run as root")),
        pytest.raises(
            ProbeUnavailable, match=r"^execprobe: the kernel refused a BPF map\. Fix: run as root$"
        ) as refusal,
    ):
        start_helper(settings)
    assert isinstance(refusal.value, ProbeObstructed) is obstructed
    assert started == []


@pytest.mark.parametrize("kind", [ProbeUnavailable, ProbeObstructed])
def test_a_process_that_waits_for_a_helper_learns_from_its_starter_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch, kind: type[ProbeUnavailable]
) -> None:
    settings = HelperSettings(shared=meeting.new_secret(), backend="bpf")
    waiting = threading.Event()

    def refuse(*_: object, **__: object) -> list[str]:
        assert waiting.wait(PATIENCE)
        raise kind("execprobe: there is no sudo")

    def connect(sock: socket.socket, place: str, timeout: float) -> None:
        real(sock, place, timeout)
        waiting.set()

    real = meeting._connect_whole
    monkeypatch.setattr(connect_module, "privilege_route", refuse)
    monkeypatch.setattr(meeting, "_connect_whole", connect)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(hold_helper, settings) for _ in range(2)]
        errors = [call.exception(PATIENCE) for call in calls]
    assert [(type(error), str(error)) for error in errors] == [(kind, "execprobe: there is no sudo")] * 2


def test_shared_helper_in_an_interpreter_without_bcc_is_no_reason_to_give_up(started: list[HelperSettings]) -> None:
    settings = HelperSettings(shared=meeting.new_secret(), backend="bpf")
    with (
        listening(first_place(settings), failing("wrong-bcc", "not the BPF Compiler Collection")),
        pytest.raises(ProbeUnavailable, match="none is started here"),
    ):
        start_helper(settings)
    assert started == [settings]


@pytest.mark.parametrize("begin", [start_helper, hold_helper])
@pytest.mark.parametrize(
    ("serve", "complaint"),
    [
        (lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak this protocol"),
        (lambda sock: sock.sendall(wire.frame(wire.SYNCED, 0)), "did not say who it is"),
        (lambda sock: sock.sendall(wire.raw_frame(wire.WELCOME, 0, b"[]")), "not a JSON object"),
        (lambda _: None, "did not answer in time"),
        (hang_up, "closed the connection"),
    ],
    ids=["HTTP", "another frame", "no fields", "silence", "closed"],
)
def test_what_is_no_helper_is_refused_in_words(
    begin: Callable[[HelperSettings], HelperSource],
    serve: Callable[[socket.socket], None],
    complaint: str,
    started: list[HelperSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connect_module, "_WELCOME_TIMEOUT", 0.3)
    address = str(tmp_path / "socket")
    with listening(address, serve), pytest.raises(ProbeUnavailable) as refusal:
        begin(HelperSettings(address=address))
    assert f"no helper to be used at {address} (--execprobe-helper): " in str(refusal.value)
    assert complaint in str(refusal.value)
    assert "leave the option out" in str(refusal.value)
    assert started == []


def test_where_none_listens_nothing_is_started(started: list[HelperSettings], tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.touch()
    for address, why in (
        (f"@{meeting.new_name()}", "Connection refused"),
        (str(plain), "Connection refused"),
        (str(tmp_path / "nothing"), "No such file"),
        (str(tmp_path / ("x" * 200)), "too long"),
    ):
        with pytest.raises(ProbeUnavailable, match=f"{re.escape(address)} .*--execprobe-helper.*{why}"):
            start_helper(HelperSettings(address=address, shared=meeting.new_secret()))
    assert started == []


@pytest.mark.parametrize("uid", [os.geteuid() + 4242, 65534 if os.geteuid() != 65534 else 65533])
def test_impostor_is_not_taken_for_a_helper_wherever_a_client_connects(
    helper: Helper, started: list[HelperSettings], monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    real = peers.credentials
    source = HelperSource(helper.connect().sock, os.getpid(), helper.address)
    source.register(fresh=True, timeout=PATIENCE)
    # The clients' call alone: the helper goes by the module's, of its own.
    fake = types.SimpleNamespace(**{**vars(peers), "credentials": lambda sock: (real(sock)[0], uid, uid)})
    monkeypatch.setattr(meeting, "peers", fake)
    for begin in (start_helper, hold_helper):
        with pytest.raises(
            ProbeObstructed,
            match=f"the process that listens there is user {uid}'s, and only one of root's or of this user's",
        ):
            begin(HelperSettings(address="@" + helper.address[1:], backend="bpf"))
    assert started == []
    with pytest.raises(SourceLost, match=f"could not be registered: the process that listens there is user {uid}'s"):
        source.in_child(fresh=True, timeout=PATIENCE)
    with pytest.raises(ProbeUnavailable, match="none is started here"):  # at the run's next name
        start_helper(HelperSettings(shared=helper.secret, backend="bpf"))
    assert started == [HelperSettings(shared=helper.secret, backend="bpf")]


def test_client_for_which_there_is_no_room_to_wait_is_let_in_when_there_is(
    started: list[HelperSettings], probe: FakeProbe, ready: threading.Event
) -> None:
    helper = Helper(probe, backlog=0)
    helper.connect()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold_helper, HelperSettings(shared=helper.secret, backend="bpf"))
        assert not wait([held], 0.1).done  # the helper lets none in
        ready.set()
        held.result(PATIENCE).close()
    assert started == []
    helper.stop()


def test_signals_do_not_pass_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python takes a connect() that a signal broke off for one that goes on by itself, as with TCP."""
    settings = HelperSettings(address="@" + meeting.new_name())
    monkeypatch.setattr(connect_module, "_WELCOME_TIMEOUT", 0.5)
    signals = []
    before = signal.signal(signal.SIGALRM, lambda *_: signals.append(1))
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as waits:
        full.bind("\0" + settings.address[1:])  # type: ignore[index]
        full.listen(0)
        waits.connect("\0" + settings.address[1:])  # type: ignore[index]
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        try:
            with pytest.raises(ProbeObstructed, match="as many as can wait to be let in do so"):
                hold_helper(settings)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert signals
