"""The helper's server: a probe that a test plays, clients on socket pairs, and no privilege.

Every wait is bounded by PATIENCE, which only a failure reaches.
"""

from __future__ import annotations

import itertools
import mmap
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from fakes import CountingProbe, FakeProbe, kernel_record
from serving import PATIENCE, WELCOME, Client, Helper, Setter, eventually, of, pid_of, registered

from pytest_execprobe.helper import backlog, delivery, peers, registration, server, wire
from pytest_execprobe.helper.probe import Counts, Missed, Page, Process
from pytest_execprobe.helper.quotas import RUN_LIMITS, Limits
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.events import Exec
from pytest_execprobe.timeline.timeline import Timeline

# ---- becoming a root ----


def test_client_is_welcomed_and_becomes_a_root(helper: Helper, probe: FakeProbe) -> None:
    frame = helper.first.expect(wire.WELCOME)
    assert frame.json() == WELCOME
    helper.first.send(wire.CLAIM)
    name = helper.first.expect(wire.CLAIMED).json()["name"]
    request = helper.first.send(wire.ARM, fresh=True)
    armed = helper.first.expect(wire.ARMED)
    assert armed.request == request
    fields = armed.json()
    assert probe.claims == {fields["root"]: name.encode()}
    assert (fields["pid"], fields["unadopted"]) == (os.getpid(), 0)
    assert 0 < fields["armed_at"] <= time.monotonic_ns()


def test_each_root_has_a_number_and_a_name_of_its_own(helper: Helper, probe: FakeProbe) -> None:
    roots = {helper.first.arm().root, helper.connect().arm().root, helper.connect().arm().root}
    assert len(roots) == len(set(probe.claims.values())) == 3
    assert 0 not in roots


@pytest.mark.parametrize("type", [wire.SYNC, wire.WAIT, wire.ARM, wire.RUNNING])
def test_request_before_there_is_a_root_is_an_error_and_no_hanging(helper: Helper, type: int) -> None:
    request = helper.first.welcome().send(type, timeout=0)
    refusal = helper.first.expect(wire.ERROR)
    assert refusal.request == request
    assert refusal.json()["reason"]


def test_probe_is_told_what_is_to_run_untraced(helper: Helper, probe: FakeProbe) -> None:
    helper.first.claim(untraced=["gdb", "*/x"])
    assert [*probe.left.values()] == [["gdb", "*/x"]]


@pytest.mark.parametrize("wrong", ["gdb", ["gdb", 1], {}, None])
def test_what_is_to_run_untraced_is_a_list_of_texts(helper: Helper, wrong: object) -> None:
    helper.first.welcome().send(wire.CLAIM, untraced=wrong)
    assert helper.first.receive() is None


def test_root_for_which_there_is_no_room_is_refused(helper: Helper, probe: FakeProbe) -> None:
    probe.full = True
    helper.first.claim()
    helper.first.send(wire.ARM, fresh=True)
    assert "no room" in helper.first.refused()
    helper.first.send(wire.SYNC, timeout=0)
    helper.first.expect(wire.ERROR)


# ---- which processes have not ended ----


def process(pid: int, born: int = 1, comm: bytes = b"sleep") -> Process:
    return Process(seen=pid + 1000, pid=pid, born=born, forked=pid, image_pid=7, image_at=9, own_exec=True, comm=comm)


def running(client: Client, since: int = 0) -> tuple[int, list[list[Any]]]:
    request = client.send(wire.RUNNING, since=since)
    answer = client.expect(wire.PROCESSES)
    assert answer.request == request
    fields = answer.json()
    return fields["count"], fields["listed"]


def test_a_client_sees_its_own_tree_alone(helper: Helper, probe: FakeProbe) -> None:
    a, b = helper.first.arm(), helper.connect().arm()
    probe.living = {a.root: [process(6, born=5), process(5, born=3, comm=b"\xff")], b.root: [process(7)]}
    assert running(a) == (2, [[1005, 5, 5, 7, 9, True, "\udcff"], [1006, 6, 6, 7, 9, True, "sleep"]])
    assert running(a, since=4) == (1, [[1006, 6, 6, 7, 9, True, "sleep"]])
    assert running(b)[0] == 1
    assert running(helper.connect().arm()) == (0, [])


def test_a_list_of_processes_is_bounded_and_their_number_is_not(client: Client, probe: FakeProbe) -> None:
    probe.living[client.root] = [process(pid) for pid in range(3000, 0, -1)]
    count, listed = running(client)
    assert (count, len(listed)) == (3000, wire.LISTED)
    assert [one[1] for one in listed] == list(range(1, wire.LISTED + 1))  # the oldest


def test_processes_that_can_not_be_listed_are_there(client: Client, probe: FakeProbe) -> None:
    probe.living[client.root] = None
    assert running(client) == (1, [])


def test_name_that_another_process_has_taken_makes_no_root_in_a_run_either(helper: Helper, probe: FakeProbe) -> None:
    helper.first.claim()
    probe.claimant += 1
    helper.first.send(wire.ARM, fresh=True)
    assert "taken on by another process" in helper.first.refused()
    assert probe.forgotten == [1]


# ---- answers ----


def test_sync_brings_what_happened_once(client: Client, probe: FakeProbe) -> None:
    record = of(client.root, pid=5)
    probe.submit(record)
    events, done = client.sync()
    assert events == [(record, False)]
    assert (done["in_flight"], done["unplaced"]) == (0, 0)
    assert client.sync()[0] == []


def test_sync_is_complete_to_when_it_was_asked(client: Client) -> None:
    before = time.monotonic_ns()
    _, done = client.sync()
    assert before <= done["at"] <= time.monotonic_ns()


def test_records_go_to_their_root_and_to_no_other(helper: Helper, probe: FakeProbe) -> None:
    a, b, c = helper.first.arm(), helper.connect().arm(), helper.connect().arm()
    probe.submit(of(a.root, pid=1), of(b.root, pid=2), of(a.root, pid=3), of(b.root, pid=3), of(99, pid=4))
    assert a.pids() == [1, 3]
    assert b.pids() == [2, 3]
    assert c.pids() == []


def test_sync_waits_for_execs_in_flight_of_its_own_tree(helper: Helper, probe: FakeProbe) -> None:
    a, b = helper.first.arm(), helper.connect().arm()
    probe.entering = [(1, (a.root,))]
    a.send(wire.SYNC, timeout=600)
    assert b.pids() == []  # is none of b's business
    probe.submit(of(a.root, pid=7))
    probe.entering = []
    probe.ring()
    events, done = a.answer()
    assert [pid_of(record) for record, _ in events] == [7]
    assert done["in_flight"] == 0


def test_sync_does_not_wait_for_execs_that_were_entered_after_it(client: Client, probe: FakeProbe) -> None:
    probe.entering = [(time.monotonic_ns() + 10**12, (client.root,))]
    assert client.sync(timeout=600)[1]["in_flight"] == 0


def test_sync_waits_for_no_exec_that_was_entered_while_it_was_on_its_way(client: Client, probe: FakeProbe) -> None:
    asked = time.monotonic_ns()
    probe.entering = [(asked + 1, (client.root,))]
    assert client.sync(asked=asked)[1]["in_flight"] == 0
    assert client.sync(asked=asked + 1)[1]["in_flight"] == 1
    assert client.sync()[1]["in_flight"] == 1


def test_sync_that_was_asked_later_than_now_is_of_now(client: Client, probe: FakeProbe) -> None:
    later = time.monotonic_ns() + 10**12
    probe.entering = [(later, (client.root,))]
    _, done = client.sync(asked=later)
    assert done["in_flight"] == 0
    assert done["at"] <= time.monotonic_ns()


def test_what_is_there_is_collected_before_a_request_is_read(
    client: Client, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe may go on to collect until a request comes, and this one would have come already."""
    drain, reconcile, in_flight, log = probe.drain, probe.reconcile, probe.in_flight, []
    answering, go_on = threading.Event(), threading.Event()

    def drained() -> None:
        log.append("drain")
        drain()

    def asked(before: int, root: int) -> int:
        log.append("request")
        return in_flight(before, root)

    def reconciled() -> Counts | None:
        found = reconcile()
        answering.set()
        assert go_on.wait(60)
        return found

    for name, function in {"drain": drained, "in_flight": asked, "reconcile": reconciled}.items():
        monkeypatch.setattr(probe, name, function)
    client.send(wire.SYNC, timeout=0)
    assert answering.wait(60)
    client.send(wire.SYNC, timeout=0)
    probe.ring()
    go_on.set()
    client.answer()
    client.answer()
    assert log[:4] == ["request", "drain", "drain", "request"]


def test_sync_whose_time_is_up_says_how_many_are_in_flight(client: Client, probe: FakeProbe) -> None:
    probe.entering = [(1, (client.root,)), (2, (client.root, 99)), (3, (99,))]
    assert client.sync(timeout=0)[1]["in_flight"] == 2


def test_wait_is_answered_by_what_is_new(helper: Helper, probe: FakeProbe) -> None:
    client, other = helper.first.arm(), helper.connect().arm()
    client.send(wire.WAIT, timeout=600)
    probe.submit(of(other.root, pid=6))
    probe.submit(of(client.root, pid=7))
    events, done = client.answer()
    assert [pid_of(record) for record, _ in events] == [7]
    assert done["at"] == 0


def test_wait_is_answered_at_once_by_what_is_there(helper: Helper, probe: FakeProbe) -> None:
    a, b = helper.first.arm(), helper.connect().arm()
    probe.submit(of(a.root, pid=7), of(b.root, pid=7))
    assert b.pids() == [7]
    a.send(wire.WAIT, timeout=600)
    assert len(a.answer()[0]) == 1


def pages(client: Client, cpus: int = 3) -> list[int]:
    """What a client is given that asks for the counters' memory."""
    client.send(wire.PAGES)
    data, given, _, _ = socket.recv_fds(client.sock, 4096, 2)
    (frame,) = wire.Reader(wire.REPLIES, 4096).feed(data)
    assert (frame.type, frame.json()) == (wire.PAGES_GIVEN, {"cpus": cpus})
    return list(given)


def test_a_client_is_given_the_counters_and_what_shows_that_they_count(helper: Helper, probe: FakeProbe) -> None:
    assert pages(helper.first.arm(), cpus=0) == []  # of a probe that has none
    probe.page = Page(os.memfd_create("counters"), 3)
    counters, alive = pages(helper.first)
    assert os.path.samestat(os.fstat(counters), os.fstat(probe.page.fd))
    with mmap.mmap(alive, mmap.PAGESIZE, prot=mmap.PROT_READ) as memory:
        assert any(memory[: wire.LIFE])
    for descriptor in (counters, alive, probe.page.fd):
        os.close(descriptor)


def test_it_shows_that_a_client_was_let_go_before_its_root_is_forgotten(
    helper: Helper, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the counters need not be its tree's any more."""
    probe.page = Page(os.memfd_create("counters"), 3)
    client, seen = helper.first.arm(), list[bytes]()
    given = pages(client)
    with mmap.mmap(given[1], mmap.PAGESIZE, prot=mmap.PROT_READ) as memory:
        before = memory[: wire.LIFE]
        monkeypatch.setattr(probe, "forget_root", lambda _: seen.append(memory[: wire.LIFE]))
        helper.connect().arm().sync()  # another comes, and is no matter
        assert memory[: wire.LIFE] == before
        client.sock.shutdown(socket.SHUT_RDWR)
        assert eventually(lambda: seen != [])
    assert seen[0] != before
    for descriptor in (*given, probe.page.fd):
        os.close(descriptor)


def test_users_who_share_a_helper_do_not_see_what_the_others_do(probe: FakeProbe) -> None:
    probe.page = Page(os.memfd_create("counters"), 3)
    helper = Helper(probe, limits=Limits(share=0.5))
    assert pages(helper.first.arm()) == []
    helper.stop()
    os.close(probe.page.fd)


def test_what_is_lost_later_is_not_laid_to_what_was_read_without_asking() -> None:
    """Nothing was missing then."""
    probe = CountingProbe()
    helper = Helper(probe)
    source = HelperSource(helper.connect().sock, os.getpid())
    source.register(fresh=True, timeout=PATIENCE)
    source.sync(PATIENCE)
    read = source.sync(PATIENCE).complete_to
    probe.drop(unlisted=3)
    lost = source.sync(PATIENCE)
    assert (lost.unplaced, lost.unplaced_from >= read) == (3, True)
    helper.stop()
    probe.close()


def test_an_answer_says_what_the_counters_are_while_nothing_more_happens(client: Client, probe: FakeProbe) -> None:
    _, done = client.sync()
    assert (done["seen"], done["entered"]) == (0, 0)
    probe.entering.append((time.monotonic_ns(), (99,)))  # of another tree, and still in flight
    _, done = client.sync()
    assert (done["seen"], done["entered"]) == (-1, -1)


def test_wait_whose_time_is_up_is_answered_without_events(client: Client) -> None:
    client.send(wire.WAIT, timeout=0)
    nothing = {"at": 0, "in_flight": 0, "unplaced": 0, "skipped": 0, "unplaced_from": 0, "unbounded": False}
    assert client.answer() == ([], {"request": 3, **nothing, "seen": -1, "entered": -1})


def test_two_requests_in_one_packet(client: Client, probe: FakeProbe) -> None:
    probe.submit(of(client.root, pid=7))
    client.sock.sendall(wire.frame(wire.SYNC, 50, {"timeout": 0}) + wire.frame(wire.SYNC, 51, {"timeout": 0}))
    events, done = client.answer()
    assert ([pid_of(record) for record, _ in events], done["request"]) == ([7], 50)
    events, done = client.answer()
    assert (events, done["request"]) == ([], 51)


def test_requests_have_their_turn_while_records_come_on_and_on() -> None:
    class Flooded(FakeProbe):
        drains = 0

        def drain(self) -> None:
            super().drain()
            self.drains += 1
            self.ring()

    probe, at = Flooded(), []
    probe.on_reconcile = lambda: at.append(probe.drains)
    helper = Helper(probe)
    client = helper.first.arm()
    client.sock.sendall(b"".join(wire.frame(wire.SYNC, request, {"timeout": 0}) for request in range(50, 54)))
    assert [client.answer()[1]["request"] for _ in range(4)] == [50, 51, 52, 53]
    assert max(after - before for before, after in itertools.pairwise(at)) < 4
    helper.stop()
    probe.close()


def test_a_client_that_asks_again_no_longer_waits_for_the_last_answer(client: Client, probe: FakeProbe) -> None:
    client.sock.sendall(wire.frame(wire.WAIT, 50, {"timeout": 600}) + wire.frame(wire.SYNC, 51, {"timeout": 0}))
    assert client.answer()[1]["request"] == 51
    probe.submit(of(client.root, pid=7))
    assert client.pids() == [7]


def test_two_clients_wait_at_once(helper: Helper, probe: FakeProbe) -> None:
    a, b = helper.first.arm(), helper.connect().arm()
    a.send(wire.WAIT, timeout=600)
    b.send(wire.WAIT, timeout=600)
    probe.submit(of(b.root, pid=2))
    assert len(b.answer()[0]) == 1
    probe.submit(of(a.root, pid=1))
    assert len(a.answer()[0]) == 1


# ---- losses ----


def test_dropped_record_comes_as_its_head(helper: Helper, probe: FakeProbe) -> None:
    a, b = helper.first.arm(), helper.connect().arm()
    head = of(a.root, pid=7)[: wire.HEAD.size]
    probe.drop(head)
    assert a.sync()[0] == [(head, True)]
    assert a.sync()[0] == []
    events, done = b.sync()
    assert (events, done["unplaced"]) == ([], 0)


def test_unlisted_loss_comes_to_every_client_once(helper: Helper, probe: FakeProbe) -> None:
    a, b = helper.first.arm(), helper.connect().arm()
    probe.drop(unlisted=3)
    assert [client.sync()[1]["unplaced"] for client in (a, b, a, b)] == [3, 3, 0, 0]


def test_client_that_comes_after_a_loss_does_not_get_it(helper: Helper, probe: FakeProbe) -> None:
    a = helper.first.arm()
    probe.drop(unlisted=3)
    assert a.sync()[1]["unplaced"] == 3
    assert helper.connect().arm().sync()[1]["unplaced"] == 0


def test_counters_that_do_not_add_up_are_a_loss(client: Client, probe: FakeProbe) -> None:
    probe.reconciles = False
    assert client.sync()[1]["unplaced"] > 0
    probe.reconciles = True
    assert client.sync()[1]["unplaced"] == 0


def test_loss_whose_number_is_a_bound_and_loss_whose_number_is_none(client: Client, probe: FakeProbe) -> None:
    probe.drop(unlisted=3)
    assert client.sync()[1]["unbounded"] is False
    probe.drop(unlisted=1, blind=1)  # a process that is not followed
    assert [client.sync()[1]["unbounded"] for _ in range(2)] == [True, False]
    probe.reconciles = False
    assert client.sync()[1]["unbounded"] is True


@pytest.mark.parametrize(
    ("kind", "unbounded"),
    [(wire.KIND_EXEC, False), (wire.KIND_EXIT, False), (wire.KIND_UNFOLLOWED, True), (wire.KIND_UNTRACED, True)],
)
def test_head_for_which_there_is_no_room(
    client: Client, probe: FakeProbe, kind: int, unbounded: bool, room: Setter
) -> None:
    room(0)
    probe.submit(kernel_record(kind=kind, slot=(client.root, 1, 1, 1)))
    done = client.sync()[1]
    assert (done["unplaced"], done["unbounded"]) == (1, unbounded)


def test_what_is_in_the_making_is_waited_for(client: Client, probe: FakeProbe) -> None:
    tries: list[float] = []

    def reconcile() -> None:
        tries.append(time.monotonic())
        probe.reconciles = len(tries) > 2
        if probe.reconciles:
            probe.submit(of(client.root, pid=7))

    probe.on_reconcile = reconcile
    events, done = client.sync(PATIENCE)
    assert (len(events), done["unplaced"], len(tries)) == (1, 0, 3)


def told(client: Client) -> tuple[int, int]:
    _, done = client.sync()
    return done["unplaced"], done["skipped"]


def test_what_the_kernel_skipped_comes_to_every_client_once(helper: Helper, probe: FakeProbe) -> None:
    a, b = helper.first.arm(), helper.connect().arm()
    probe.skips = Missed(0, 2, 0)
    assert [told(client) for client in (a, b, a, b)] == [(2, 2), (2, 2), (0, 0), (0, 0)]
    probe.skips = Missed(0, 0, 1)
    probe.drop(unlisted=1)
    assert [told(client) for client in (b, a)] == [(2, 1), (2, 1)]


def test_a_probe_that_has_missed_a_fork_is_given_up(helper: Helper, probe: FakeProbe) -> None:
    helper.first.arm()
    probe.skips = Missed(1, 0, 0)
    helper.first.send(wire.SYNC, timeout=0)
    assert helper.first.receive() is None
    assert isinstance(helper.error, delivery.ProbeDamagedError)
    assert "where a process began (1 times)" in str(helper.error)
    helper.error = None


def test_a_root_that_was_lost_again_at_once_is_none(helper: Helper, probe: FakeProbe) -> None:
    probe.overwritten = True
    helper.first.claim()
    helper.first.send(wire.ARM, fresh=True)
    assert "try again" in helper.first.refused()
    assert probe.forgotten == [1]


def test_a_root_that_comes_after_it_was_forgotten_is_forgotten_again(
    helper: Helper, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "_LATE", 0.0)
    helper.first.arm()
    second = helper.connect().arm()
    order: list[tuple[str, object]] = []
    monkeypatch.setattr(probe, "withdraw", lambda name: order.append(("withdraw", name)))
    monkeypatch.setattr(probe, "forget_root", lambda root: order.append(("forget", root)))
    third = helper.connect()
    name = third.claim()
    third.sock.close()
    root = second.root + 1
    assert eventually(lambda: order == [("withdraw", name), ("forget", root), ("forget", root)])


def test_loss_poisons_every_window_in_which_it_can_have_been(helper: Helper, probe: FakeProbe) -> None:
    source, timeline = registered(helper.first), Timeline()
    timeline.add(source.sync(PATIENCE))
    start = time.monotonic_ns()
    probe.drop(unlisted=3)
    end = time.monotonic_ns() + 1
    timeline.add(source.sync(PATIENCE))
    assert timeline.evidence(start, end, None).missing == 3
    after = time.monotonic_ns()
    timeline.add(source.sync(PATIENCE))
    assert timeline.evidence(after, time.monotonic_ns(), None).missing == 0


def test_loss_during_a_synchronisation_poisons_the_window_after_it(helper: Helper, probe: FakeProbe) -> None:
    # It came after what the answer says it is complete to, and in no later answer does it come again.
    source, timeline, lost = registered(helper.first), Timeline(), []

    def lose() -> None:
        probe.on_reconcile = None
        probe.drop(unlisted=3)
        lost.append(time.monotonic_ns())

    timeline.add(source.sync(PATIENCE))
    probe.on_reconcile = lose
    timeline.add(source.sync(PATIENCE))
    timeline.add(source.sync(PATIENCE))
    assert timeline.evidence(lost[0], lost[0] + 1, None).missing == 3


def test_loss_of_what_was_entered_before_the_last_loss_poisons_its_own_window(helper: Helper, probe: FakeProbe) -> None:
    # An exec is entered, the head of another lost record comes, and then the exec's record is lost without one.
    source, timeline = registered(helper.first), Timeline()
    other = helper.connect().arm()
    timeline.add(source.sync(PATIENCE))
    entered = time.monotonic_ns()
    probe.drop(of(other.root)[: wire.HEAD.size])
    assert [lost for _, lost in other.sync()[0]] == [True]
    probe.drop(unlisted=1)
    timeline.add(source.sync(PATIENCE))
    assert timeline.evidence(entered, entered + 1, None).missing == 1


def test_loss_that_a_wait_brings_poisons_its_window(helper: Helper, probe: FakeProbe) -> None:
    source, timeline = registered(helper.first), Timeline()
    timeline.add(source.sync(PATIENCE))
    probe.drop(unlisted=3)
    lost = time.monotonic_ns()
    probe.submit(of(source.root))
    timeline.add(source.wait(PATIENCE))
    timeline.add(source.sync(PATIENCE))
    assert timeline.evidence(lost, lost + 1, None).missing == 3


# ---- bounds ----


def test_more_than_there_is_room_for_is_packed_and_nothing_lost(
    helper: Helper, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch, room: Setter
) -> None:
    """Also where it came for several clients, record by record."""
    room(16_000_000)
    monkeypatch.setattr(backlog, "_LOOSE", 2_000_000)
    alone = helper.first.arm()
    for number in range(1, 15_001, 1_500):  # each as much as a buffer may hold
        probe.submit(*(of(alone.root, pid=pid, size=1_000) for pid in range(number, number + 1_500)))
        assert eventually(lambda: not probe.has_submitted)
    assert helper.server._delivery.kept < 5_000_000
    events, done = alone.sync()
    assert ([pid_of(record) for record, lost in events if not lost], done["unplaced"]) == ([*range(1, 15_001)], 0)
    helper.connect().arm()
    probe.submit(*(of(alone.root, pid=pid, size=1_000) for pid in range(1, 15_001)))
    assert alone.pids() == [*range(1, 15_001)]


def test_a_client_that_is_alone_sees_no_more_than_others_do(
    helper: Helper, client: Client, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    (user,) = helper.server._quotas.users.values()
    failed = kernel_record(wire.KIND_ATTEMPT, uid=7, slot=(client.root, 1, 1, 1), argv=b"secret\0", error=2)
    for uid, is_shown in ((0, True), (8, False), (7, True)):
        monkeypatch.setattr(user, "uid", uid)
        probe.submit(failed, of(client.root))
        (shown, _), _ = client.sync()[0]
        assert (b"secret" in shown) is is_shown


def test_what_was_for_one_that_has_gone_is_for_no_other(helper: Helper, probe: FakeProbe) -> None:
    first, second = helper.first.arm(), helper.connect().arm()
    first.sock.close()
    assert eventually(lambda: probe.forgotten == [first.root])
    probe.submit(of(first.root, pid=6), of(second.root, pid=7))
    assert second.pids() == [7]


def test_queue_that_is_not_read_shrinks_its_records_to_lost_heads(
    helper: Helper, probe: FakeProbe, room: Setter
) -> None:
    room(200_000)  # half of it, as long as the other has nothing
    a, b = helper.first.arm(), helper.connect().arm()
    probe.submit(*(of(a.root, pid=pid, size=10_000) for pid in range(1, 31)))
    assert b.pids() == []
    events, done = a.sync()
    assert [pid_of(record) for record, _ in events] == [*range(1, 31)]
    assert [lost for _, lost in events] == sorted(lost for _, lost in events)
    assert 5 <= sum(not lost for _, lost in events) <= 10
    assert all(len(record) == wire.HEAD.size for record, lost in events if lost)
    assert done["unplaced"] == 0


def test_queue_that_is_full_of_heads_counts_what_it_no_longer_holds(
    helper: Helper, probe: FakeProbe, room: Setter
) -> None:
    room(10_000)
    a, b = helper.first.arm(), helper.connect().arm()
    probe.submit(*(of(a.root, pid=pid, size=1_000) for pid in range(1, 501)))
    assert b.pids() == []
    events, done = a.sync()
    assert sum(len(record) for record, _ in events) <= 2 * 10_000 + wire.HEAD.size
    assert len(events) + done["unplaced"] == 500
    assert a.sync()[1]["unplaced"] == 0


def test_one_that_never_asks_leaves_room_for_each_of_many(helper: Helper, probe: FakeProbe, room: Setter) -> None:
    room(1_000_000)
    hog, *others = [helper.first.arm(), *(helper.connect().arm() for _ in range(8))]
    probe.submit(*(of(hog.root, pid=pid, size=1_000) for pid in range(1, 5_001)))
    assert others[0].pids() == []
    for other in others:
        probe.submit(*(of(other.root, pid=pid, size=1_000) for pid in range(1, 26)))
    assert all(other.pids() == [*range(1, 26)] for other in others)
    events, done = hog.sync()
    assert len(events) + done["unplaced"] == 5_000
    assert sum(not lost for _, lost in events) == pytest.approx(
        500_000 / len(wire.event(of(hog.root, size=1_000))), abs=1
    )


def test_all_that_is_kept_together_is_bounded(helper: Helper, probe: FakeProbe, room: Setter) -> None:
    room(300_000)
    clients = [helper.first.arm(), *(helper.connect().arm() for _ in range(5))]
    probe.submit(*(of(client.root, pid=pid, size=2_000) for pid in range(1, 501) for client in clients))
    answers = [client.sync() for client in clients[:1]]
    assert eventually(
        lambda: helper.server._delivery.kept == sum(client.backlog.size for client in helper.server._clients)
    )
    answers += [client.sync() for client in clients[1:]]
    kept = sum(len(record) for events, _ in answers for record, _ in events)
    assert 150_000 < kept <= 300_000
    assert [len(events) + done["unplaced"] for events, done in answers] == [500] * 6
    assert eventually(lambda: helper.server._delivery.kept == 0)


def test_what_is_kept_for_a_client_goes_with_it(helper: Helper, probe: FakeProbe, room: Setter) -> None:
    room(100_000)
    helper.first.arm()
    second = helper.connect().arm()
    probe.submit(*(of(second.root, size=1_000) for _ in range(100)))
    assert helper.first.pids() == []
    assert helper.server._delivery.kept > 0
    second.sock.close()
    assert eventually(lambda: probe.forgotten == [second.root])
    assert eventually(lambda: helper.server._delivery.kept == 0)


def test_queue_is_empty_again_once_it_was_read(client: Client, probe: FakeProbe, room: Setter) -> None:
    room(10_000)
    for _ in range(5):
        probe.submit(*(of(client.root, size=5_000) for _ in range(5)))
        client.sync()
    probe.submit(of(client.root, pid=7))
    assert client.pids() == [7]


def test_full_queue_costs_the_other_roots_nothing(helper: Helper, probe: FakeProbe, room: Setter) -> None:
    room(50_000)
    a, b = helper.first.arm(), helper.connect().arm()
    read: list[int] = []
    for pid in range(1, 21):  # b reads as they come, a never does
        probe.submit(*(of(root, pid=pid, size=10_000) for root in (a.root, b.root)))
        read += b.pids()
    assert read == [*range(1, 21)]
    events, _ = a.sync()
    assert {lost for _, lost in events} == {False, True}


def test_client_that_never_reads_costs_the_others_nothing(helper: Helper, probe: FakeProbe) -> None:
    a, b = helper.first.arm(), helper.connect().arm()
    probe.submit(*[of(a.root, size=15_000)] * 400)
    a.send(wire.SYNC, timeout=0)  # more than a socket holds, and it is never read
    for pid in range(1, 20):
        probe.submit(of(b.root, pid=pid), of(a.root, pid=pid))
        assert b.pids() == [pid]
    events = a.answer()[0] + a.sync()[0]
    assert len(events) == 419
    assert not any(lost for _, lost in events)


def test_flood_of_requests_is_not_taken_in_while_its_answers_are_not_read(helper: Helper) -> None:
    a, b = helper.first.arm(), helper.connect().arm()
    a.sock.setblocking(False)
    flood = wire.frame(wire.SYNC, 1, {"timeout": 0}) * 1000
    sent = 0
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            sent += a.sock.send(flood[sent % len(flood) :])
        except BlockingIOError:
            # Full for now: for good, if the server has turned to another client since and it is full still.
            b.sync()
            b.sync()
            try:
                sent += a.sock.send(flood[sent % len(flood) :])
            except BlockingIOError:
                break
        assert sent < 64 << 20
        assert time.monotonic() < deadline
    assert b.pids() == []
    a.sock.settimeout(PATIENCE)
    for _ in range(sent // (len(flood) // 1000)):
        a.answer()


def test_flood_of_events_is_delivered_whole_to_who_reads(client: Client, probe: FakeProbe) -> None:
    probe.submit(*(of(client.root, pid=pid, size=pid % 500) for pid in range(1, 20_001)))
    assert client.pids() == [*range(1, 20_001)]


# ---- peers ----


def test_client_of_another_user_is_refused(helper: Helper, peers_are: Setter) -> None:
    helper.first.arm()
    peers_are(os.geteuid() + 4242)
    stranger = helper.connect()
    assert f"can't use a helper of user {os.geteuid()}" in stranger.expect(wire.FAILED).json()["reason"]
    assert stranger.receive() is None
    assert helper.first.pids() == []


def test_one_client_more_than_can_be_served_is_refused(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper.server._quotas, "limits", RUN_LIMITS._replace(clients=2))
    helper.first.arm()
    helper.connect().arm()
    third = helper.connect()
    assert "serves 2 processes already" in third.expect(wire.FAILED).json()["reason"]
    assert third.receive() is None
    assert helper.first.pids() == []


def test_stranger_is_never_made_a_root(helper: Helper, probe: FakeProbe, peers_are: Setter) -> None:
    helper.first.arm()
    peers_are(os.geteuid() + 4242)
    stranger = helper.connect()
    try:
        stranger.send(wire.CLAIM)
        while (frame := stranger.receive()) is not None:
            assert frame.type != wire.CLAIMED
    except OSError:
        pass  # it was closed already
    assert list(probe.claims) == [helper.first.root]


@pytest.mark.parametrize("uid", [0, os.geteuid()])
def test_second_client_may_be_the_firsts_user_or_root(helper: Helper, uid: int, peers_are: Setter) -> None:
    helper.first.arm()
    peers_are(uid)
    assert helper.connect().arm().pids() == []


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        wire.HEADER.pack(wire.MAGIC, 9, wire.SYNC, 1, 0),
        wire.HEADER.pack(wire.MAGIC, wire.VERSION, wire.EVENTS, 1, 0),
        wire.HEADER.pack(wire.MAGIC, wire.VERSION, wire.SYNC, 1, 1 << 31),
        wire.HEADER.pack(wire.MAGIC, wire.VERSION, wire.SYNC, 1, wire.MAX_REQUEST + 1),
        wire.raw_frame(wire.SYNC, 1, b"not json"),
        wire.raw_frame(wire.SYNC, 1, b"[]"),
        wire.frame(wire.SYNC, 1),
        wire.frame(wire.SYNC, 1, {"timeout": "1"}),
        wire.frame(wire.SYNC, 1, {"timeout": -1}),
        wire.frame(wire.RUNNING, 1),
        wire.frame(wire.RUNNING, 1, {"since": -1}),
        wire.frame(wire.RUNNING, 1, {"since": True}),
        wire.frame(wire.SYNC, 1, {"timeout": 1e9}),
        wire.raw_frame(wire.SYNC, 1, b'{"timeout": NaN}'),
        wire.raw_frame(wire.SYNC, 1, b'{"timeout": Infinity}'),
        wire.frame(wire.CLAIM, 1),
    ],
    ids=lambda nonsense: ascii(nonsense[:40]),
)
def test_client_that_talks_nonsense_is_dropped_and_the_others_are_served(helper: Helper, nonsense: bytes) -> None:
    helper.first.arm()
    second = helper.connect().arm()
    second.sock.sendall(nonsense)
    assert second.receive() is None
    assert helper.first.pids() == []


def test_half_a_frame_is_waited_for(helper: Helper) -> None:
    helper.first.arm()
    second = helper.connect().arm()
    data = wire.frame(wire.SYNC, 9, {"timeout": 0})
    for at in range(len(data)):
        second.sock.sendall(data[at : at + 1])
        assert helper.first.pids() == []
    assert second.answer()[1]["request"] == 9


# ---- the end ----


def test_helper_outlives_its_first_client_and_ends_with_its_last(helper: Helper, probe: FakeProbe) -> None:
    helper.first.arm()
    second, third = helper.connect().arm(), helper.connect().arm()
    helper.first.sock.close()
    assert eventually(lambda: probe.forgotten == [helper.first.root])
    probe.submit(of(second.root, pid=7), of(helper.first.root, pid=8))
    assert (second.pids(), third.pids()) == ([7], [])
    second.sock.close()
    assert eventually(lambda: len(probe.forgotten) == 2)
    assert third.pids() == []
    third.sock.close()
    assert helper.has_ended()


def test_client_does_not_notice_that_the_first_goes_while_it_waits(helper: Helper, probe: FakeProbe) -> None:
    helper.first.arm()
    second = helper.connect().arm()
    probe.entering = [(1, (second.root,))]
    second.send(wire.SYNC, timeout=600)
    helper.first.sock.close()
    assert eventually(lambda: probe.forgotten == [helper.first.root])
    probe.submit(of(second.root, pid=7))
    probe.entering = []
    probe.ring()
    assert [pid_of(record) for record, _ in second.answer()[0]] == [7]


def test_helper_ends_even_while_a_forked_child_waits(helper: Helper, probe: FakeProbe) -> None:
    helper.first.arm()
    child = helper.connect().arm(child=True)
    probe.entering = [(1, (child.root,))]
    child.send(wire.SYNC, timeout=600)
    helper.first.sock.close()
    assert helper.has_ended()


def test_forked_child_does_not_keep_the_helper_and_another_client_does(helper: Helper, probe: FakeProbe) -> None:
    helper.first.arm()
    child, other = helper.connect().arm(child=True), helper.connect().arm()
    helper.first.sock.close()
    assert eventually(lambda: probe.forgotten == [helper.first.root])
    probe.submit(of(child.root, pid=7))
    assert child.pids() == [7]
    other.sock.close()
    assert helper.has_ended()


def test_client_that_is_no_root_keeps_the_helper(helper: Helper, probe: FakeProbe) -> None:
    holder = helper.connect().welcome()
    child = helper.connect().arm(child=True)
    helper.first.sock.close()
    probe.submit(of(child.root, pid=7))
    assert child.pids() == [7]
    holder.sock.close()
    assert helper.has_ended()


@pytest.mark.parametrize("child", [1, "true", None, [True]])
def test_only_who_says_so_in_plain_words_is_a_child(helper: Helper, child: object) -> None:
    helper.connect().claim(child=child)
    assert not any(client.child for client in helper.server._clients)


def test_whoever_connected_before_the_last_client_went_is_let_in(probe: FakeProbe, ready: threading.Event) -> None:
    """As while the probe is being made: the client that had it started may be gone when it is ready."""
    helper = Helper(probe)
    helper.first.sock.close()
    second = helper.connect()
    ready.set()
    assert second.arm().pids() == []
    helper.stop()


@pytest.mark.exec_budget(1)
def test_helper_whose_first_client_is_gone_before_it_is_ready_serves_the_others(
    probe: FakeProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone, and its pid with it: there is no pidfd to be had."""
    with subprocess.Popen(["true"]) as gone:
        pass
    started = threading.Event()
    real_run, real_pidfd = server.Server.run, peers.pidfd_of

    def ended(_: socket.socket) -> tuple[int, bool]:
        return os.pidfd_open(gone.pid), True

    monkeypatch.setattr(server.Server, "run", lambda self: started.wait(PATIENCE) and real_run(self))
    monkeypatch.setattr(peers, "pidfd_of", ended)
    helper = Helper(probe)
    monkeypatch.setattr(peers, "pidfd_of", real_pidfd)
    assert helper.first.receive() is None
    second = helper.connect()
    started.set()
    assert second.arm().pids() == []
    helper.stop()


def test_strangers_who_connect_on_and_on_do_not_keep_it(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    helper.first.arm()
    monkeypatch.setattr(helper.server._admission, "accept", lambda: True)  # it refuses one, and there is the next
    helper.first.sock.close()
    assert helper.has_ended()


def test_helper_goes_on_when_another_client_closes(helper: Helper, probe: FakeProbe) -> None:
    helper.first.arm()
    second = helper.connect().arm()
    name = probe.claims[second.root]
    second.sock.close()
    assert eventually(lambda: probe.forgotten == [second.root])
    assert name in probe.withdrawn
    probe.submit(of(second.root), of(helper.first.root, pid=7))
    assert helper.first.pids() == [7]


def test_client_that_closes_without_reading_its_answer(helper: Helper, probe: FakeProbe) -> None:
    helper.first.arm()
    second = helper.connect().arm()
    probe.submit(*[of(second.root, size=15_000)] * 400)
    second.send(wire.SYNC, timeout=0)
    second.sock.close()
    assert eventually(lambda: probe.forgotten == [second.root])
    assert helper.first.pids() == []


@pytest.mark.exec_budget(1)
def test_client_whose_process_has_ended_is_gone_though_a_child_holds_its_socket(
    helper: Helper, probe: FakeProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper.first.arm()
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE) as process:
        monkeypatch.setattr(peers, "credentials", lambda _: (process.pid, os.geteuid(), os.getegid()))
        monkeypatch.setattr(peers, "pidfd_of", lambda _: (os.pidfd_open(process.pid), True))
        probe.claimant = process.pid
        second = helper.connect().arm()  # it is this process that holds the socket
    assert process.returncode == 0
    assert second.receive() is None
    assert eventually(lambda: probe.forgotten == [second.root])


def test_abandoned_clients_learn_why(helper: Helper) -> None:
    clients = [helper.first.arm(), helper.connect().arm()]
    clients[0].pids()
    helper.server.abandon("it broke")
    for client in clients:
        assert client.expect(wire.FAILED).json() == {"code": "helper-failed", "reason": "it broke", "remedy": ""}


# ---- both ends together ----


def test_source_and_server_understand_each_other(helper: Helper, probe: FakeProbe) -> None:
    source = registered(helper.first)
    assert source.description == WELCOME
    assert (source.attempts_refused, source.unadopted) == ("they were not asked for", 0)
    probe.submit(of(source.root, pid=7), of(99, pid=8))
    probe.drop(of(source.root, pid=9)[: wire.HEAD.size])
    batch = source.sync(PATIENCE)
    events = [event for event in batch.events if isinstance(event, Exec)]
    assert [(event.pid, event.lost) for event in events] == [(7, False), (9, True)]
    assert batch.complete_to > source.armed_at
    assert source.wait(0).complete_to == 0


def test_source_that_holds_learns_who_the_helper_is_and_is_no_root(helper: Helper, probe: FakeProbe) -> None:
    source = HelperSource(helper.first.sock, os.getpid())
    source.greet(PATIENCE)
    assert (source.description, source.attempts_refused) == (WELCOME, "they were not asked for")
    assert probe.claims == {}


def test_sources_child_is_a_child(helper: Helper, probe: FakeProbe) -> None:
    source = HelperSource(helper.connect().sock, os.getpid(), helper.address)
    source.register(fresh=True, timeout=PATIENCE)
    child = source.in_child(fresh=True, timeout=PATIENCE)
    assert eventually(lambda: probe.forgotten == [source.root])
    probe.submit(of(child.root, pid=7))
    assert len(child.sync(PATIENCE).events) == 1
    helper.first.sock.close()
    assert helper.has_ended()
    child.close()
