"""Serves the probe to clients: each watches the tree of its own process, and asks for what happened in it."""

from __future__ import annotations

import os
import selectors
import socket
import time
from typing import Any, Dict, List, Optional, Set, Tuple

from . import handshake, peers, wire
from .admission import Admission
from .backlog import Outgoing
from .clients import Client, Pending
from .delivery import Delivery
from .errors import ProbeError
from .life import Life
from .priority import Precedence
from .probe import Probe
from .quotas import RUN_LIMITS, Limits, Quotas
from .registration import Registration
from .stopping import Stopping

_MAX_TIMEOUT = 3600.0
_READ = 8192  # bytes of requests that are taken in at once: all of them are answered before more are read
_RECHECK = 0.01  # a wakeup can be missed where an exec's entry was; then this bounds the delay
_NO_INTEREST = 0
_ROUNDS = 16  # of records, before all else has a turn
_RECONCILING = 0.5  # seconds for what is in the making to be recorded


class Server:
    """One probe and its clients.

    ``run()`` returns when all of them have ended or closed their connection. Forked children of clients do not keep it:
    a test may leave some behind. Those that have not said yet what they are do.
    """

    def __init__(
        self,
        probe: Probe,
        first: Optional[socket.socket],
        listener: socket.socket,
        welcome: Dict[str, Any],
        precedence: Precedence,
        limits: Limits = RUN_LIMITS,
    ) -> None:
        self._probe = probe
        self._welcome = welcome
        self._precedence = precedence
        self._selector = selectors.DefaultSelector()
        self._clients: Set[Client] = set()
        self._quotas = Quotas(limits)
        self._delivery = Delivery(probe, self._quotas)
        self._registration = Registration(probe, self._delivery, precedence, limits, self._send)
        self._stopping = Stopping(probe, limits)
        self._life: Optional[Life] = None
        self._collect = self._delivery.collect
        for fd in probe.fds():
            self._selector.register(fd, selectors.EVENT_READ, self._collect)
        probe.interrupt_for(listener.fileno())
        uid = None if first is None else peers.credentials(first)[1]
        self._admission = Admission(listener, self._selector, self._quotas, uid, self._add)
        if first is not None:
            self._admission.let_in(first)

    def run(self) -> None:
        while self._is_needed():
            self._precedence.review()
            self._admission.resume()
            self._serve()
            waiting = [client for client in self._clients if client.pending]
            if waiting:
                # Woken up from now on, and looked at once more after that: so the last exec can't slip through between.
                self._probe.want_wakeup(True)
                self._delivery.collect()
                for client in waiting:
                    self._quotas.run(client.user, lambda: self._answer(client))  # noqa: B023
            waiting = [client for client in waiting if client.pending]
            if not waiting:
                self._probe.want_wakeup(False)
            if not self._is_alone or self._is_needed():  # the last may have gone just now, for what it has asked
                self._wait(waiting)

    @property
    def _is_alone(self) -> bool:
        """Whether no client is left for whom it stays."""
        return all(client.child for client in self._clients)

    def _wait(self, waiting: List[Client]) -> None:
        """Does what is to be done next. By records alone nothing changes but for those who wait for some, and they can
        come one by one: then each would cost a look at everything."""
        patience = self._patience(waiting)
        ends = None if patience is None else time.monotonic() + patience
        for _ in range(1 if waiting or self._is_alone else _ROUNDS):  # alone, any record may be the last to stay for
            left = None if ends is None else max(0.0, ends - time.monotonic())
            # To collect may go on for as long as nothing else comes: so not after something else that has.
            ready = sorted(self._selector.select(left), key=lambda event: event[0].data is not self._collect)
            is_over = not ready or left == 0
            for key, _ in ready:
                key.data()
                is_over = is_over or key.data is not self._collect
            if is_over:
                return

    def _is_needed(self) -> bool:
        self._stopping.review()
        for _ in range(handshake.BACKLOG):
            if self._stopping.is_leaving or not self._is_alone:
                return True
            if not self._admission.accept():  # a client may have connected just before the last one went
                break
        return self._probe.must_stay  # else strangers connect on and on, and came first

    def _patience(self, waiting: List[Client]) -> Optional[float]:
        """Seconds until there is something to do, if nothing comes from outside. None: never."""
        users = self._quotas.users.values()
        claims = [client.claim_ends for user in users for client in user.claims]
        due = [
            *(user.waits() for user in users if user.ready),
            *(max(_RECHECK, client.user.waits()) for client in waiting),
            *(max(0.0, ends - time.monotonic()) for ends in claims if ends != float("inf")),
            *([_RECHECK] if self._stopping.is_leaving else ()),
            *self._admission.waits(),
            *self._precedence.waits(),
        ]
        return min(due, default=None)

    def abandon(self, reason: str, code: str = "helper-failed") -> None:
        """Sends every client why the probe is gone."""
        for client in self._clients:
            try:
                client.sock.setblocking(False)
                client.sock.send(wire.failed(code, reason))
            except OSError:
                pass

    # ---- answers ----

    def _answer(self, client: Client) -> None:
        """What it waits for, if that is there."""
        pending = client.pending
        if pending is None:
            return
        expired = time.monotonic() >= pending.deadline
        if pending.is_wait:
            if client.backlog.size or client.unplaced or expired:
                self._finish(client, pending._replace(at=0, before=0), in_flight=0)
            return
        before = self._probe.counts()
        in_flight = self._probe.in_flight(pending.before, client.root)
        if in_flight and not expired:
            return
        counts = self._delivery.reconcile()
        if counts is None and not expired:
            client.reconciling = client.reconciling or time.monotonic()
            if time.monotonic() < client.reconciling + _RECONCILING:
                return  # a program of the probe may have been preempted, and this process be in its way
        self._delivery.charge_losses(client, counts)
        # Nothing was in flight when this was read, and all that has ended until then is here.
        is_quiet = counts is not None and before.entered == before.ended
        now = (counts.seen, before.entered) if counts is not None and is_quiet else (-1, -1)
        self._finish(client, pending, in_flight=in_flight, now=now)

    def _finish(self, client: Client, pending: Pending, in_flight: int, now: Tuple[int, int] = (-1, -1)) -> None:
        for frame in client.backlog.frames(pending.request):
            client.out.add(*frame)
        done = {
            "at": pending.at,
            "in_flight": in_flight,
            "unplaced": client.unplaced,
            "skipped": client.skipped,
            "unbounded": client.unbounded,
            # They were entered after this: all before is settled. When is unknown.
            "unplaced_from": client.settled if client.unplaced else 0,
            "seen": now[0],
            "entered": now[1],
        }
        if pending.before and not in_flight:
            client.settled = pending.before
        client.pending = None
        client.reconciling = 0.0
        client.start_batch()
        self._send(client, wire.frame(wire.SYNCED, pending.request, done))

    def _send(self, client: Client, data: bytes) -> None:
        client.out.add(data)
        self._flush(client)

    def _flush(self, client: Client) -> None:
        try:
            client.out.send(client.sock)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        self._delivery.account(client)
        self._attend(client)

    def _attend(self, client: Client) -> None:
        """Has the selector wait for what comes next from it, with back-pressure: while it does not read, it is not read
        from, and none of its requests is looked at; nor is it read from while it has requests."""
        if not client.is_open:
            return
        wanted = selectors.EVENT_READ
        if client.out:
            wanted = selectors.EVENT_WRITE
        elif client.requests:
            wanted = _NO_INTEREST
            if not client.is_ready:
                client.is_ready = True
                client.user.ready.append(client)
        if client.interest == wanted:
            return
        if wanted == _NO_INTEREST:
            self._selector.unregister(client.sock)
        elif client.interest == _NO_INTEREST:
            self._selector.register(client.sock, wanted, lambda: self._read(client))
        else:
            self._selector.modify(client.sock, wanted, lambda: self._read(client))
        client.interest = wanted

    # ---- requests ----

    def _read(self, client: Client) -> None:
        if client.out:
            self._flush(client)
            return
        try:
            data = client.sock.recv(_READ)
            if not data:
                self._drop(client)
                return
            client.requests += client.reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, wire.WireError):
            self._drop(client)
            return
        # One at once where it is no other user's turn before: this is what a run's helper does all the time.
        if client.requests and len(self._quotas.users) == 1:
            self._quotas.run(client.user, lambda: self._request_of(client))
        self._attend(client)

    def _serve(self) -> None:
        """One request of each user who has any and whose turn it is, so that no user waits behind another's flood."""
        for user in list(self._quotas.users.values()):
            if user.ready and not user.waits():
                client = user.ready.popleft()
                client.is_ready = False
                if client.is_open and client.requests and not client.out:
                    self._quotas.run(user, lambda: self._request_of(client))  # noqa: B023
                    self._attend(client)
            for client in [client for client in user.claims if client.claim_ends <= time.monotonic()]:
                self._send(client, wire.failed("busy", "the process did not take on its name in time"))
                self._drop(client)

    def _request_of(self, client: Client) -> None:
        try:
            self._request(client, client.requests.popleft())
        except wire.WireError:
            self._drop(client)

    def _request(self, client: Client, frame: wire.Frame) -> None:
        fields = frame.json()
        client.reconciling = 0.0
        client.pending = None  # a client that asks again no longer waits for the last answer
        if frame.type == wire.CLAIM:
            self._registration.claim(client, frame.request, fields)
        elif frame.type == wire.ARM:
            self._registration.arm(client, frame.request, fields)
        elif not client.armed:
            self._send(client, wire.frame(wire.ERROR, frame.request, {"reason": "there is no root yet"}))
        elif frame.type == wire.PAGES:
            self._give_pages(client, frame.request)
        elif frame.type == wire.RUNNING:
            self._list_running(client, frame.request, wire.whole(fields, "since"))
        elif frame.type == wire.STOP:
            self._enforce(client, frame.request, fields)
        else:
            timeout, now = wire.number(fields, "timeout", 0, _MAX_TIMEOUT), time.monotonic_ns()
            client.pending = Pending(
                request=frame.request,
                # What is begun while it is on its way need not be over.
                before=min(wire.whole(fields, "asked", 1), now) if "asked" in fields else now,
                at=now,
                deadline=time.monotonic() + timeout,
                is_wait=frame.type == wire.WAIT,
            )
            self._answer(client)  # most have nothing to wait for, and need no wakeup

    def _enforce(self, client: Client, request: int, fields: Dict[str, Any]) -> None:
        """Raises WireError."""
        try:
            self._stopping.take(client, fields)
            self._send(client, wire.frame(wire.STOPPING, request))
        except ProbeError as error:
            why = {"reason": error.reason, "code": error.code, "remedy": error.remedy}
            self._send(client, wire.frame(wire.ERROR, request, why))

    def _give_pages(self, client: Client, request: int) -> None:
        """Not where several users share the helper: the counters are those of all."""
        page = self._probe.page
        data = wire.frame(wire.PAGES_GIVEN, request, {"cpus": page.cpus if page else 0})
        if page is not None and self._quotas.limits.share is None and not client.out:
            try:
                self._life = self._life or Life()
                data = data[socket.send_fds(client.sock, [data], [page.fd, self._life.fd]) :]
            except OSError:
                pass  # it has to ask each time
        self._send(client, data)

    def _list_running(self, client: Client, request: int, since: int) -> None:
        """A client can ask for its own tree alone."""
        running = self._probe.running(client.root, since)
        living = [] if running is None else running.listed
        listed = sorted(living, key=lambda process: (process.forked, process.pid))[: wire.LISTED]
        done = {
            "count": 1 if running is None else len(living),
            "all": running is not None and running.are_all,
            "listed": [
                [*process[:2], *process[3:7], process.comm.decode("utf-8", "surrogateescape")] for process in listed
            ],
        }
        self._send(client, wire.frame(wire.PROCESSES, request, done))

    # ---- clients ----

    def _add(self, sock: socket.socket) -> None:
        client = Client(sock, self._quotas.user(peers.credentials(sock)[1]))
        client.user.clients += 1
        self._clients.add(client)
        self._probe.interrupt_for(sock.fileno())
        self._selector.register(client.pidfd, selectors.EVENT_READ, lambda: self._drop(client))
        self._send(client, wire.frame(wire.WELCOME, 0, self._welcome))

    def _drop(self, client: Client) -> None:
        """Closes its connection."""
        if not client.is_open:
            return
        if self._life is not None:
            self._life.let_go()  # first: by that it sees that the counters need not be its tree's any more
        client.is_open = False
        self._clients.discard(client)
        if client.interest != _NO_INTEREST:
            self._selector.unregister(client.sock)
        self._selector.unregister(client.pidfd)
        os.close(client.pidfd)
        client.sock.close()
        client.requests.clear()
        client.start_batch()
        client.out = Outgoing()
        self._delivery.account(client)
        client.user.clients -= 1
        self._stopping.leave(client)
        self._registration.leave(client)
        self._stopping.review()
