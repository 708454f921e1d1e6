"""One end of a connection to a server, frame by frame."""

from __future__ import annotations

import socket

from pytest_execprobe.helper import wire

PATIENCE = 10.0  # seconds that an answer may take


class Talker:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self.root = 0
        self._reader = wire.Reader(wire.REPLIES, wire.MAX_REPLY + (64 << 10))
        self._frames: list[wire.Frame] = []

    def receive(self) -> wire.Frame | None:
        """The next frame, None once the server has hung up."""
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
        assert frame is not None, "the server has hung up"
        assert frame.type == type, frame
        return frame
