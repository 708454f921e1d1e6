"""A helper's server in a thread, with a probe that a test plays; and its clients, frame by frame."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from fakes import FakeProbe, kernel_record

from pytest_execprobe.helper import server, wire
from pytest_execprobe.helper.priority import Precedence
from pytest_execprobe.helper.quotas import RUN_LIMITS, Limits
from pytest_execprobe.source import meeting
from pytest_execprobe.source.client import HelperSource

PATIENCE = 10.0  # seconds that an answer may take
WELCOME = {"bcc": "fake", "attempts_refused": "they were not asked for", "address": "nowhere"}

Events = list[tuple[bytes, bool]]
Setter = Callable[[int], None]


class Client:
    """One end of a connection to a server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self.root = 0
        self._reader = wire.Reader(wire.REPLIES, wire.MAX_REPLY + (64 << 10))
        self._frames: list[wire.Frame] = []
        self._requests = 0
        self._is_welcome = False

    def receive(self) -> wire.Frame | None:
        """The next frame, None once the server has closed the connection."""
        while not self._frames:
            try:
                data = self.sock.recv(1 << 18)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    def expect(self, type: int) -> wire.Frame:
        frame = self.receive()
        assert frame is not None, "the server has closed the connection"
        assert frame.type == type, frame
        return frame

    def refused(self) -> str:
        """Why it got none of what it has asked for."""
        return str(self.expect(wire.ERROR).json()["reason"])

    def send(self, type: int, **fields: Any) -> int:
        self._requests += 1
        self.sock.sendall(wire.frame(type, self._requests, fields))
        return self._requests

    def welcome(self) -> Client:
        if not self._is_welcome:
            self.expect(wire.WELCOME)
            self._is_welcome = True
        return self

    def claim(self, **fields: Any) -> bytes:
        """The name to take on."""
        self.welcome().send(wire.CLAIM, **fields)
        name = str(self.expect(wire.CLAIMED).json()["name"])
        assert name.isalnum()
        return name.encode()

    def arm(self, *, child: bool = False) -> Client:
        self.claim(child=child)
        self.send(wire.ARM, fresh=True)
        self.root = self.expect(wire.ARMED).json()["root"]
        return self

    def answer(self) -> tuple[Events, dict[str, Any]]:
        """The events up to the next SYNCED, and that."""
        events: Events = []
        while True:
            frame = self.receive()
            assert frame is not None, "the server has closed the connection"
            if frame.type == wire.SYNCED:
                return events, {"request": frame.request, **frame.json()}
            assert frame.type in (wire.EVENTS, wire.PACKED), frame
            events += wire.split_events(wire.events_of(frame))

    def sync(self, timeout: float = 0, **fields: int) -> tuple[Events, dict[str, Any]]:
        request = self.send(wire.SYNC, timeout=timeout, **fields)
        events, done = self.answer()
        assert done["request"] == request
        return events, done

    def pids(self) -> list[int]:
        """Of the whole records that a synchronisation brings."""
        return [pid_of(record) for record, lost in self.sync()[0] if not lost]

    def totals(self) -> tuple[int, int, int]:
        """Of what a synchronisation brings: whole records, heads of lost ones, and those that were only counted."""
        events, done = self.sync()
        lost = sum(lost for _, lost in events)
        return len(events) - lost, lost, done["unplaced"]


def pid_of(record: bytes) -> int:
    pid = wire.HEAD.unpack_from(record)[7]
    assert isinstance(pid, int)
    return pid


def of(root: int, pid: int = 1, size: int = 0) -> bytes:
    """A record of a process in its tree, with so many bytes of argv."""
    return kernel_record(slot=(root, 1, pid, 1), pid=pid, argv=b"x" * size)


class Helper:
    """A server in a thread, and the first client."""

    def __init__(
        self, probe: FakeProbe, address: str | None = None, backlog: int = 64, limits: Limits = RUN_LIMITS
    ) -> None:
        self.probe = probe
        here, there = socket.socketpair()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.secret = meeting.new_secret()
        self.address = address or "\0" + next(meeting.names(self.secret))
        self._listener.bind(self.address)
        self._listener.listen(backlog)
        self._listener.setblocking(False)
        precedence = Precedence(False)
        self.server = server.Server(probe, there, self._listener, WELCOME, precedence, limits)
        self.first = Client(here)
        self.clients = [self.first]
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.server.run()
        except BaseException as error:
            self.error = error
            for client in self.server._clients:  # as when the process ends: no client is to wait for it
                client.sock.shutdown(socket.SHUT_RDWR)

    def connect(self) -> Client:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        sock.connect(self.address)
        self.clients.append(Client(sock))
        return self.clients[-1]

    def has_ended(self) -> bool:
        self._thread.join(PATIENCE)
        return not self._thread.is_alive()

    def stop(self) -> None:
        for client in reversed(self.clients):
            client.sock.close()
        ended = self.has_ended()
        for left in list(self.server._clients):  # the process would have ended, and these with it
            os.close(left.pidfd)
            left.sock.close()
        self.server._selector.close()
        self._listener.close()
        assert ended, "the server did not end with its last client"
        if self.error is not None:
            raise self.error


def registered(client: Client) -> HelperSource:
    source = HelperSource(client.sock, os.getpid())
    source.register(fresh=True, timeout=PATIENCE)
    return source


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True
