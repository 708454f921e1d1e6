"""The helper as a service: what it does for users who share it, with a probe that a test plays; and its socket."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from fakes import FakeProbe
from serving import PATIENCE, Client, Setter, eventually, of

from pytest_execprobe.helper import (
    admission,
    adoption,
    clients,
    handshake,
    identity,
    peers,
    privilege,
    proc,
    quotas,
    serve,
    wire,
)
from pytest_execprobe.helper.errors import ProbeError
from pytest_execprobe.helper.priority import Precedence

WELCOME = {"bcc": "fake", "kernel": "fake", "entry": ["fake"], "privilege": "none"}
LIMITS = quotas.Limits(
    clients=20, clients_per_user=6, claims_per_user=2, claim_time=600, share=None, room_per_user=True
)


class Running:
    def __init__(self, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch, limits: quotas.Limits) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._address = "\0pytest-execprobe-test-" + secrets.token_hex(8)
        self._listener.bind(self._address)
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._wakeup, self._tell = os.pipe()
        self.service = serve.Service(probe, self._listener, WELCOME, Precedence(False), limits, self._wakeup)
        self._uid = 1
        real = peers.credentials
        monkeypatch.setattr(peers, "credentials", lambda sock: (real(sock)[0], self._uid, self._uid))
        self.clients: list[Client] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.service.run()
            self.service.abandon("the service was stopped", "service-ended")
        except BaseException as error:
            self.error = error

    def call(self, uid: int) -> Client:
        """A client of a user that has been let in, or refused."""
        self._uid = uid
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self._address)
        client = Client(sock)
        self.clients.append(client)
        first = client.receive()
        assert first is not None
        client._frames.insert(0, first)
        return client

    def welcome(self, uid: int) -> Client:
        return self.call(uid).welcome()

    def stop(self) -> None:
        os.write(self._tell, b"!")
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop()
        for client in self.clients:
            client.sock.close()
        for left in list(self.service._clients):
            self.service._drop(left)
        self.service._selector.close()
        self._listener.close()
        os.close(self._wakeup)
        os.close(self._tell)
        if self.error is not None:
            raise self.error


@pytest.fixture
def limits() -> quotas.Limits:
    return LIMITS


@pytest.fixture
def running(probe: FakeProbe, monkeypatch: pytest.MonkeyPatch, limits: quotas.Limits) -> Iterator[Running]:
    running = Running(probe, monkeypatch, limits)
    yield running
    running.close()


# ---- users ----


def test_users_are_served_side_by_side_and_see_their_own(running: Running, probe: FakeProbe) -> None:
    a, b = running.welcome(1).arm(), running.welcome(2).arm()
    probe.submit(of(a.root), of(b.root), of(b.root))
    assert a.totals() == (1, 0, 0)
    assert b.totals() == (2, 0, 0)


def test_service_outlives_its_clients_and_ends_at_a_signal(running: Running) -> None:
    running.welcome(1).arm().sock.close()
    again = running.welcome(1).arm()
    running.stop()
    told = again.expect(wire.FAILED).json()
    assert (told["code"], told["reason"]) == ("service-ended", "the service was stopped")


def test_one_user_can_not_have_all_the_connections(running: Running) -> None:
    held = [running.welcome(1) for _ in range(6)]
    refused = running.call(1)
    assert "serves 6 processes of user 1 already" in refused.expect(wire.FAILED).json()["reason"]
    assert refused.receive() is None
    running.welcome(2).arm()
    held[0].sock.close()
    assert eventually(lambda: running.service._quotas.users[1].clients == 5)
    running.welcome(1)


def test_more_claims_than_a_user_may_have_wait_for_their_turn(running: Running, probe: FakeProbe) -> None:
    clients = [running.welcome(1) for _ in range(4)]
    for client in clients:
        client.send(wire.CLAIM)
    for client in clients[:2]:
        client.expect(wire.CLAIMED)
    other = running.welcome(2).arm()
    assert len(probe.claims) == 3
    clients[0].send(wire.ARM, fresh=True)
    clients[0].expect(wire.ARMED)
    clients[2].expect(wire.CLAIMED)
    clients[1].sock.close()
    clients[3].expect(wire.CLAIMED)
    assert other.totals() == (0, 0, 0)


def test_a_client_that_goes_while_it_waits_for_its_claim_is_skipped(running: Running, probe: FakeProbe) -> None:
    clients = [running.welcome(1) for _ in range(4)]
    for client in clients:
        client.send(wire.CLAIM)
    for client in clients[:2]:
        client.expect(wire.CLAIMED)
    clients[2].sock.close()
    assert eventually(lambda: running.service._quotas.users[1].clients == 3)
    clients[0].sock.close()
    clients[3].expect(wire.CLAIMED)
    assert len(probe.claims) == 3


@pytest.mark.parametrize("limits", [LIMITS._replace(claim_time=0.05)])
def test_claim_that_no_process_takes_ends(running: Running, probe: FakeProbe) -> None:
    client = running.welcome(1)
    client.claim()
    assert "did not take on its name" in client.expect(wire.FAILED).json()["reason"]
    assert client.receive() is None
    assert eventually(lambda: (probe.withdrawn, probe.forgotten) == ([probe.claims[1]], [1]))


def test_name_that_another_process_has_taken_makes_no_root(running: Running, probe: FakeProbe) -> None:
    probe.claimant += 1
    client = running.welcome(1)
    client.claim()
    probe.submit(of(1))
    client.send(wire.ARM, fresh=True)
    assert "taken on by another process" in client.refused()
    assert probe.forgotten == [1]
    client.send(wire.SYNC, timeout=0)
    assert client.refused() == "there is no root yet"
    assert running.service._delivery.by_root == {}


def test_name_that_the_number_of_an_ended_process_has_taken_makes_no_root(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = running.welcome(1)
    client.claim()
    monkeypatch.setattr(identity, "has_ended", lambda _: True)
    client.send(wire.ARM, fresh=True)
    assert "taken on by another process" in client.refused()


@pytest.mark.parametrize(("owner", "armed"), [(1, True), (2, False), (None, False)])
def test_where_a_peer_is_known_by_number_alone_it_must_be_its_users(
    running: Running, monkeypatch: pytest.MonkeyPatch, owner: int | None, armed: bool
) -> None:
    """As before Linux 6.5."""
    monkeypatch.setattr(peers, "pidfd_of", lambda _: (os.pidfd_open(os.getpid()), False))
    monkeypatch.setattr(proc, "real_user", lambda _: owner)
    client = running.welcome(1)
    client.claim()
    client.send(wire.ARM, fresh=True)
    client.expect(wire.ARMED if armed else wire.ERROR)


def test_flood_of_one_user_is_answered_in_turn_with_the_others(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    flooder, other = running.welcome(1).arm(), running.welcome(2).arm()
    served: list[int] = []
    began = threading.Event()
    finish = running.service._finish

    def finishing(client: clients.Client, *args: int, **fields: int) -> None:
        served.append(client.user.uid)
        if not began.is_set():
            other.send(wire.SYNC, timeout=0)
            began.set()
        finish(client, *args, **fields)

    monkeypatch.setattr(running.service, "_finish", finishing)
    flooder.sock.sendall(wire.frame(wire.SYNC, 1, {"timeout": 0}) * 200)
    assert began.wait(PATIENCE)
    other.expect(wire.SYNCED)
    assert served.index(2) < 5
    for _ in range(200):
        flooder.expect(wire.SYNCED)


@pytest.mark.parametrize("limits", [LIMITS._replace(share=0.5)])
def test_a_user_over_its_quota_waits_alone(running: Running) -> None:
    greedy = running.welcome(1)
    running.service._quotas.users[1].charge(3600)
    greedy.send(wire.CLAIM)
    other = running.welcome(2)
    other.claim()
    greedy.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        greedy.receive()
    # He is remembered, so that calling again gains nothing.
    greedy.sock.close()
    running._uid = 1
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(running._address)
        again = Client(sock)
        assert "user 1 has exceeded its quota" in again.expect(wire.FAILED).json()["reason"]
        assert again.receive() is None


@pytest.mark.parametrize("limits", [LIMITS._replace(share=0.5)])
def test_calling_is_charged_for(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    charged: list[int] = []
    monkeypatch.setattr(quotas.User, "charge", lambda user, _: charged.append(user.uid))
    running.welcome(1)
    assert eventually(lambda: charged == [1])
    running.welcome(2)
    assert eventually(lambda: charged == [1, 2])


def test_without_descriptors_connections_wait_and_nothing_spins(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float] = []
    door = running.service._admission
    real = door._listener.accept

    class Listener:
        def accept(self) -> object:
            calls.append(time.monotonic())
            if len(calls) < 4:
                raise OSError(errno.EMFILE, "Too many open files")
            return real()

    monkeypatch.setattr(door, "_listener", Deputy(door._listener, Listener().accept))
    running.welcome(1)
    assert len(calls) >= 4
    assert all(later - earlier >= admission._PAUSE / 2 for earlier, later in itertools.pairwise(calls[:4]))


class Deputy:
    """A socket with another accept()."""

    def __init__(self, sock: socket.socket, accept: Callable[[], object]) -> None:
        self._sock = sock
        self.accept = accept

    def fileno(self) -> int:
        return self._sock.fileno()


def test_shares_are_used_up_and_grow_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(quotas.time, "monotonic", lambda: now)
    user = quotas.User(1, LIMITS._replace(share=0.5, burst=2.0))
    user.charge(1.5)
    assert user.waits() == 0
    user.charge(1.5)
    assert user.waits() == pytest.approx(2.0)
    assert not user.is_idle()
    now = 3.0
    assert user.waits() == 0
    now = 100.0
    assert user.is_idle()
    user.charge(2.5)
    assert user.waits() == pytest.approx(1.0)


@pytest.mark.parametrize("limits", [LIMITS._replace(share=0.5, burst=2.0)])
def test_records_are_charged_to_whose_they_are(
    running: Running, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever it is whose request has them fetched; and no more than the user can pay before reads fail."""
    a, b, c = (running.welcome(uid).arm() for uid in (1, 2, 3))
    spent, drain = 0.0, probe.drain

    def takes_a_second_for_each() -> None:
        nonlocal spent
        spent += len(probe._submitted)
        drain()

    monkeypatch.setattr(time, "thread_time", lambda: spent)
    probe.drain = takes_a_second_for_each  # type: ignore[method-assign]
    users = running.service._quotas.users
    for _ in range(3):
        with probe._lock:
            probe._submitted += [of(a.root)] * 3 + [of(b.root)]
        assert c.totals() == (0, 0, 0)
    assert spent == 12
    assert 3 < users[1].waits() <= 4  # nine, and owes two
    assert 0 < users[2].waits() <= 2  # three
    assert users[3].waits() == 0
    assert b.totals() == (3, 0, 0)
    assert a.totals() == (9, 0, 0)


def test_precedence_is_left_under_load_and_taken_again_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = spent = 0.0
    asked: list[str] = []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "thread_time", lambda: spent)
    monkeypatch.setattr(privilege, "take_precedence", lambda priority: not asked.append(f"take {priority}"))
    monkeypatch.setattr(privilege, "leave_precedence", lambda for_good: asked.append(f"leave {for_good}"))
    tested = Precedence(True, priority=2)

    def load(share: float, seconds: float) -> None:
        nonlocal now, spent
        for _ in range(int(seconds * 10)):
            now, spent = now + 0.1, spent + share / 10
            tested.review()

    load(0.2, 100)
    load(1.0, 1.2)  # a burst
    load(0.2, 100)
    assert asked == []
    assert tested.waits() == []
    load(0.5, 5)
    assert (asked, tested.held) == (["leave False"], False)
    load(0.5, 100)
    load(0.3, 100)
    assert asked == ["leave False"]
    (wait,) = tested.waits()
    assert 0 < wait < 9
    now += wait
    tested.review()
    assert (asked, tested.held) == (["leave False", "take 2"], True)


def test_precedence_of_a_users_own_process_is_left_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the user can take for it what it may take. The limit goes first: in between that could be done."""
    asked: list[object] = []
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "thread_time", lambda: now)
    monkeypatch.setattr(privilege.resource, "setrlimit", lambda *limit: asked.append(limit))
    monkeypatch.setattr(os, "sched_setscheduler", lambda _, policy, __: asked.append(policy))
    tested = Precedence(True, returns=False)
    for _ in range(20):
        now += 0.1
        tested.review()
    left = [(resource.RLIMIT_RTPRIO, (0, 0)), os.SCHED_OTHER | os.SCHED_RESET_ON_FORK]
    assert (asked, tested.held, tested.waits()) == (left, False, [])
    now += 1000
    tested.review()
    assert (asked, tested.held) == (left, False)


@pytest.mark.parametrize(("most", "asked"), [(2, [2]), (1, [2, 1]), (0, [2, 1])])
def test_lower_priority_is_taken_where_a_higher_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, most: int, asked: list[int]
) -> None:
    made: list[int] = []

    def set_scheduler(_: int, __: int, param: os.sched_param) -> None:
        made.append(param.sched_priority)
        if param.sched_priority > most:
            raise PermissionError

    monkeypatch.setattr(privilege.resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(os, "sched_setscheduler", set_scheduler)
    assert privilege.take_precedence(2) is (most > 0)
    assert made == asked


def test_precedence_that_was_refused_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privilege, "take_precedence", lambda _: pytest.fail("it was"))
    tested = Precedence(False)
    tested.review()
    assert tested.waits() == []


# ---- what is kept ----


def test_one_user_leaves_half_of_the_room(running: Running, probe: FakeProbe, room: Setter) -> None:
    room(400_000)
    hogs = [running.welcome(1).arm() for _ in range(6)]
    other = running.welcome(2).arm()
    probe.submit(*(of(hog.root, size=1_000) for _ in range(500) for hog in hogs))
    probe.submit(*(of(other.root, size=1_000) for _ in range(40)))
    assert other.totals() == (40, 0, 0)
    assert sum(client.kept for client in running.service._clients if client.user.uid == 1) <= 210_000
    assert [sum(hog.totals()) for hog in hogs] == [500] * 6


def test_what_was_sent_and_is_not_read_counts_as_kept(running: Running, probe: FakeProbe, room: Setter) -> None:
    room(4_000_000)
    hogs, other = [running.welcome(1).arm() for _ in range(5)], running.welcome(2).arm()
    for hog in hogs:  # each has had its answer, and not read it; and is sent more
        probe.submit(*(of(hog.root, size=15_000) for _ in range(150)))
        assert other.totals() == (0, 0, 0)
        hog.send(wire.SYNC, timeout=0)
    assert other.totals() == (0, 0, 0)
    probe.submit(*(of(hog.root, size=15_000) for _ in range(150) for hog in hogs))
    assert other.totals() == (0, 0, 0)
    assert sum(client.backlog.size + len(client.out) for client in running.service._clients) <= 4_000_000
    for hog in hogs:
        hog.sock.close()
    assert eventually(lambda: running.service._delivery.kept == 0)


# ---- adoption ----


def found(pid: int) -> adoption.Found:
    return adoption.Found(pid, pid, pid)


@pytest.mark.parametrize(("uid", "entered"), [(os.geteuid() or 1, os.geteuid() != 0), (4242, False), (0, True)])
def test_only_the_users_own_processes_are_adopted(uid: int, entered: bool) -> None:
    asked: list[tuple[int, ...]] = []
    assert identity.enter(lambda *numbers: not asked.append(numbers), found(os.getpid()), 1, 9, uid) is entered
    assert asked == [(os.getpid(), 1, 9)] * entered


def test_process_that_ends_while_it_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), 19)  # until it is ended
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)

    def adopt(pid: int, root: int, top: int) -> bool:  # noqa: ARG001
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, 9)
            os.waitpid(child, 0)
        return True

    monkeypatch.setattr(identity, "_REUSED", 60)
    assert identity.enter(adopt, found(child), 1, child, os.geteuid()) is True
    # Its number is another process's by the time that one looks.
    ended = iter([False, True])
    monkeypatch.setattr(identity, "has_ended", lambda _: next(ended))
    with pytest.raises(adoption.AdoptionError, match="ended while it was entered"):
        identity.enter(adopt, found(os.getpid()), 1, 1, os.geteuid())


def test_what_had_ended_before_is_not_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that would take: whose end nobody asks for would refuse every try."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    monkeypatch.setattr(identity, "_REUSED", 0)
    assert identity.enter(lambda *_: True, found(child), 1, child, os.geteuid())
    os.waitpid(child, 0)


class Besieged(socket.socket):
    """With one more that connects, however many were accepted."""

    accepted = 0

    def _accept(self) -> tuple[int, object]:
        type(self).accepted += 1
        assert self.accepted < 10_000
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(self.getsockname())
            return super()._accept()  # type: ignore[misc]


def test_refusing_those_who_wait_comes_to_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    with Besieged(socket.AF_UNIX) as listener:
        listener.bind("\0pytest-execprobe-test-" + secrets.token_hex(8))
        listener.listen(handshake.BACKLOG)
        serve._refuse(listener, "no-bcc", "there is none", "")
    assert Besieged.accepted == handshake.BACKLOG
    assert "there is none" in capsys.readouterr().err


def test_room_is_made_for_clients_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe has some already, more of them the more CPUs there are."""
    wanted: list[tuple[int, int]] = []
    monkeypatch.setattr(serve.os, "listdir", lambda _: ["a descriptor"] * (128 - serve._OTHER_FILES))
    monkeypatch.setattr(serve.resource, "setrlimit", lambda _, limits: wanted.append(limits))
    monkeypatch.setattr(serve.resource, "getrlimit", lambda _: (1024, 4096))
    assert serve._make_room(512) == 512
    assert wanted == [(2 * 512 + 128, 4096)]
    monkeypatch.setattr(serve.resource, "getrlimit", lambda _: (256, 328))
    assert serve._make_room(512) == 100
    monkeypatch.setattr(serve.resource, "getrlimit", lambda _: (100, 100))
    with pytest.raises(ProbeError, match="open files are too few"):
        serve._make_room(512)
