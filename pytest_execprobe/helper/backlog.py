"""What a client has not asked for yet, and what it was sent and has not read."""

from __future__ import annotations

from collections import deque
from itertools import islice
from socket import socket
from typing import Deque, Iterator, List

from . import wire

_AT_ONCE = 64  # parts that are sent by one call
_LOOSE = 16 << 20  # bytes that are kept as they came: what is read soon is not worth the time to pack it


class Backlog:
    """Events in order, of which the older ones are packed if they become many."""

    def __init__(self) -> None:
        self._packed: List[bytes] = []
        self._loose: Deque[wire.Buffer] = deque()
        self._loose_size = 0
        #: Bytes that are kept.
        self.size = 0

    def add(self, events: wire.Buffer) -> int:
        """``events`` are whole ones, of which as many as fit into a frame. How many bytes more are kept by that, which
        can be fewer than before."""
        before = self.size
        self._loose.append(events)
        self._loose_size += len(events)
        self.size += len(events)
        if self._loose_size > _LOOSE + wire.MAX_REPLY:
            self._pack()
        return self.size - before

    def _pack(self) -> None:
        oldest: List[wire.Buffer] = []
        size = 0
        while size + len(self._loose[0]) <= wire.MAX_REPLY:
            oldest.append(self._loose.popleft())
            size += len(oldest[-1])
        self._packed.append(wire.pack(b"".join(oldest)))
        self._loose_size -= size
        self.size += len(self._packed[-1]) - size

    def frames(self, request: int) -> Iterator[List[wire.Buffer]]:
        """All of it, for the client."""
        for packed in self._packed:
            yield [wire.raw_frame(wire.PACKED, request, packed)]
        yield from wire.event_frames(request, self._loose)


class Outgoing:
    """What is to be sent, copied by the kernel alone."""

    def __init__(self) -> None:
        self._parts: Deque[memoryview] = deque()
        self._size = 0

    def __len__(self) -> int:
        """Bytes."""
        return self._size

    def add(self, *parts: wire.Buffer) -> None:
        for part in parts:
            if part:
                self._parts.append(memoryview(part))
                self._size += len(part)

    def send(self, sock: socket) -> None:
        """As much of it as there is room for. Raises OSError, BlockingIOError where that is not all."""
        while self._parts:
            # Many at once, for the peer is woken up by each call.
            sent = sock.sendmsg(islice(self._parts, _AT_ONCE))
            self._size -= sent
            while sent:
                part = self._parts[0]
                if sent < len(part):
                    self._parts[0] = part[sent:]
                    break
                sent -= len(self._parts.popleft())
