"""Serves the probe to clients: each watches the tree of its own process, and asks for what happened in it.

Clients pull. What they have not asked for yet is kept here, up to a bound; past it records shrink to their heads
and are counted as lost, so that a client which never reads costs the others nothing.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import time
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from . import wire
from .adoption import adopt_descendants
from .probe import Probe, roots_of

_QUEUE_BYTES = 128 << 20  # for all clients
_MAX_CLIENTS = 256
BACKLOG = _MAX_CLIENTS  # who may wait to be let in while the probe is being made: as many as there may be clients
_MAX_TIMEOUT = 3600.0
_RECHECK = 0.01  # the bell can be missed where an exec's entry was; then this bounds the delay


class _Pending(NamedTuple):
    request: int
    before: int  # monotonic ns: execs entered up to here must be over
    deadline: float  # time.monotonic()
    news: bool  # a WAIT: answered by whatever is new


class _Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pid, _, _ = wire.credentials(sock)
        # An open socket is no proof of life: a forked child may hold it. The process itself is watched.
        self.pidfd = os.pidfd_open(self.pid)
        self.reader = wire.Reader(wire.REQUESTS, wire.MAX_REQUEST)
        self.out = bytearray()
        self.root = 0
        self.name = b""
        self.armed = False
        self.child = False
        self.pending: Optional[_Pending] = None
        self.queue: List[Tuple[bytes, bool]] = []
        self.queued = 0
        self.unplaced = 0
        self.settled = 0  # monotonic ns: all that was entered up to here has been delivered, or charged to it as lost


class Server:
    """One probe and its clients.

    ``run()`` returns when all of them have ended or hung up. Forked children of clients don't count: a test may leave
    some behind. Whoever has not said yet what it is does.
    """

    def __init__(self, probe: Probe, first: socket.socket, listener: socket.socket, welcome: Dict[str, Any]) -> None:
        self._probe = probe
        self._welcome = welcome
        self._selector = selectors.DefaultSelector()
        self._clients: Set[_Client] = set()
        self._by_root: Dict[int, _Client] = {}
        self._last_root = 0
        self._queued = 0  # bytes, of all clients
        self._dropped = 0
        self._unlisted = 0
        self._listener = listener
        for fd in probe.fds():
            self._selector.register(fd, selectors.EVENT_READ, self._collect)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        _, self._uid, _ = wire.credentials(first)
        self._let_in(first)

    def run(self) -> None:
        while self._is_needed():
            waiting = [client for client in self._clients if client.pending]
            if waiting:
                # Rung from now on, and looked at once more after that: so the last exec can't slip through between.
                self._probe.want_bell(True)
                self._collect()
                for client in waiting:
                    self._answer(client)
            waiting = [client for client in waiting if client.pending]
            if not waiting:
                self._probe.want_bell(False)
            for key, _ in self._selector.select(_RECHECK if waiting else None):
                key.data()

    def _is_needed(self) -> bool:
        while all(client.child for client in self._clients):
            if not self._accept():  # somebody may have called just before the last one went
                return False
        return True

    def abandon(self, reason: str) -> None:
        """Tells every client that the probe is gone."""
        for client in self._clients:
            try:
                client.sock.setblocking(False)
                client.sock.send(wire.frame(wire.FAILED, 0, {"code": "helper-failed", "reason": reason, "remedy": ""}))
            except OSError:
                pass

    # ---- records ----

    def _collect(self) -> None:
        self._probe.drain()
        self._route()
        counts = self._probe.counts()
        if counts.dropped != self._dropped:
            self._route_dropped()

    def _route(self) -> None:
        for record in self._probe.take():
            self._deliver(record, False)

    def _route_dropped(self) -> None:
        # The list is emptied after the counts are read: what it lacks of them is known to be unlisted.
        counts = self._probe.counts()
        for head in self._probe.take_dropped():
            self._deliver(head, True)
        unlisted = counts.unlisted - self._unlisted
        if unlisted:
            for client in self._by_root.values():
                client.unplaced += unlisted
        self._dropped, self._unlisted = counts.dropped, counts.unlisted

    def _deliver(self, record: bytes, lost: bool) -> None:
        for root in wire.SLOT_ROOTS.unpack_from(record, wire.SLOTS_AT):
            client = self._by_root.get(root)
            if client is None:
                continue
            kept, cut = record, lost
            # As much as is left, and for heads twice that. So one alone has half of all, many share, and whoever never
            # asks leaves room for the others.
            left = _QUEUE_BYTES - self._queued
            if client.queued + len(record) > left:
                kept, cut = record[: wire.HEAD.size], True
                if client.queued + len(kept) > 2 * left:
                    client.unplaced += 1
                    continue
            client.queue.append((kept, cut))
            client.queued += len(kept)
            self._queued += len(kept)

    # ---- answers ----

    def _answer(self, client: _Client) -> None:
        pending = client.pending
        if pending is None:
            return
        expired = time.monotonic() >= pending.deadline
        if pending.news:
            if client.queue or client.unplaced or expired:
                self._finish(client, pending.request, at=0, under_way=0)
            return
        root = client.root
        under_way = self._probe.under_way(pending.before, lambda proc: root in roots_of(proc))
        if under_way and not expired:
            return
        counts = self._probe.reconcile()
        self._route()
        if counts is None or counts.dropped != self._dropped:
            self._route_dropped()
        if counts is None:
            client.unplaced += 1
        self._finish(client, pending.request, at=pending.before, under_way=under_way)

    def _finish(self, client: _Client, request: int, at: int, under_way: int) -> None:
        for frame in wire.event_frames(request, client.queue):
            client.out += frame
        done = {
            "at": at,
            "under_way": under_way,
            "unplaced": client.unplaced,
            # They were entered after this: all before is settled. When, nobody knows.
            "unplaced_from": client.settled if client.unplaced else 0,
        }
        if at and not under_way:
            client.settled = at
        client.pending = None
        self._empty_queue(client)
        client.unplaced = 0
        self._send(client, wire.frame(wire.SYNCED, request, done))

    def _empty_queue(self, client: _Client) -> None:
        self._queued -= client.queued
        client.queue, client.queued = [], 0

    def _send(self, client: _Client, data: bytes) -> None:
        client.out += data
        self._flush(client)

    def _flush(self, client: _Client) -> None:
        try:
            while client.out:
                sent = client.sock.send(client.out)
                del client.out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        # While it does not read, it is not read from.
        wanted = selectors.EVENT_WRITE if client.out else selectors.EVENT_READ
        if self._selector.get_key(client.sock).events != wanted:
            self._selector.modify(client.sock, wanted, self._selector.get_key(client.sock).data)

    # ---- requests ----

    def _read(self, client: _Client) -> None:
        if client.out:
            self._flush(client)
            return
        try:
            data = client.sock.recv(65536)
            if not data:
                self._drop(client)
                return
            for frame in client.reader.feed(data):
                if client in self._clients:  # the answer to the last may have found nobody
                    self._request(client, frame)
        except BlockingIOError:
            pass
        except (OSError, wire.WireError):
            self._drop(client)

    def _request(self, client: _Client, frame: wire.Frame) -> None:
        fields = frame.json()
        client.pending = None  # whoever asks again no longer waits for the last answer
        if frame.type == wire.CLAIM:
            self._claim(client, frame.request, child=fields.get("child") is True)
        elif frame.type == wire.ARM:
            fresh, childless = fields.get("fresh") is True, fields.get("childless") is True
            self._arm(client, frame.request, fresh, childless)
        elif not client.armed:
            self._send(client, wire.frame(wire.ERROR, frame.request, {"reason": "there is no root yet"}))
        else:
            timeout = wire.number(fields, "timeout", 0, _MAX_TIMEOUT)
            client.pending = _Pending(
                request=frame.request,
                before=time.monotonic_ns(),
                deadline=time.monotonic() + timeout,
                news=frame.type == wire.WAIT,
            )
            self._answer(client)  # most have nothing to wait for, and need no bell

    def _claim(self, client: _Client, request: int, child: bool) -> None:
        if client.root:
            raise wire.WireError("a second root on one connection")
        client.child = child
        self._last_root += 1
        client.root = self._last_root
        client.name = secrets.token_hex(7).encode()
        self._by_root[client.root] = client
        if self._probe.claim(client.name, client.root):
            self._send(client, wire.frame(wire.CLAIMED, request, {"name": client.name.decode()}))
        else:
            self._send(client, wire.frame(wire.ERROR, request, {"reason": "too many processes register at once"}))

    def _arm(self, client: _Client, request: int, fresh: bool, childless: bool) -> None:
        claimed = self._probe.claimed(client.root) if client.root else None
        self._probe.withdraw(client.name)
        if claimed is None or claimed[2]:
            reason = (
                "the process's new name did not reach the probe"
                if claimed is None
                else "there is no room to watch this process: it is in %d watched trees already, or too many processes"
                " are watched" % wire.SLOTS
            )
            self._send(client, wire.frame(wire.ERROR, request, {"reason": reason}))
            return
        armed_at, pid, _ = claimed
        client.armed = True
        unadopted = 0
        if not fresh:
            unadopted = adopt_descendants(self._probe.adopt, client.root, client.pid, pid, childless)
        self._send(
            client,
            wire.frame(
                wire.ARMED,
                request,
                {"root": client.root, "armed_at": armed_at, "pid": pid, "unadopted": unadopted},
            ),
        )

    # ---- clients ----

    def _accept(self) -> bool:
        """Takes one call. False if nobody calls."""
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return False
        self._let_in(sock)
        return True

    def _let_in(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            if not may_call(sock, self._uid):
                sock.send(_refusal("user %d can't use a helper of user %d" % (wire.credentials(sock)[1], self._uid)))
                sock.close()
            elif len(self._clients) >= _MAX_CLIENTS:
                sock.send(_refusal("the helper serves %d processes already, and no more" % _MAX_CLIENTS))
                sock.close()
            else:
                self._add(sock)
        except OSError:
            sock.close()  # it has gone

    def _add(self, sock: socket.socket) -> None:
        client = _Client(sock)
        self._clients.add(client)
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._read(client))
        self._selector.register(client.pidfd, selectors.EVENT_READ, lambda: self._drop(client))
        self._send(client, wire.frame(wire.WELCOME, 0, self._welcome))

    def _drop(self, client: _Client) -> None:
        if client not in self._clients:
            return
        self._clients.discard(client)
        self._selector.unregister(client.sock)
        self._selector.unregister(client.pidfd)
        os.close(client.pidfd)
        client.sock.close()
        self._empty_queue(client)
        if client.root:
            del self._by_root[client.root]
            self._probe.withdraw(client.name)
            self._probe.forget_root(client.root)


def may_call(sock: socket.socket, uid: int) -> bool:
    """Whether the other end is root or the helper's user: anybody can read the address, in /proc/net/unix."""
    return wire.credentials(sock)[1] in (0, uid)


def _refusal(reason: str) -> bytes:
    return wire.frame(wire.FAILED, 0, {"code": "refused", "reason": reason, "remedy": ""})
