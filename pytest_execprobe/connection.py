"""The socket to a helper, used so that an exception can break in anywhere and nothing is lost, nor sent twice.

A signal's handler may raise after any call, and what the call has returned is gone then: the bytes that were received,
or the number of those that were sent. So the call itself stores them: ``list.extend(map(call, ...))`` is one call of
C's, and before it returns the result is in the list. If a signal interrupts it, nothing was transferred.
"""

from __future__ import annotations

from select import POLLIN, POLLOUT
from typing import TYPE_CHECKING

from . import clock, originals
from .errors import SourceLost

if TYPE_CHECKING:
    from _socket import socket

_CHUNK = 1 << 18


class Gone(SourceLost):
    """The helper ended, or closed the connection."""


class _Outgoing:
    """A request, and how many bytes of it each call has sent."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sent: list[int] = []


class Connection:
    def __init__(self, sock: socket) -> None:
        self.sock = sock
        self._file = _identity(sock.fileno())
        self._outgoing = _Outgoing(b"")
        sock.settimeout(0)

    def send(self, data: bytes, into: list[bytes], deadline: float) -> None:
        """Sends all of it, and what is left of the last before; what has come meanwhile may be appended to ``into``.
        Raises SourceLost.

        If an exception breaks in, what was not sent is sent with the next.
        """
        self._flush(into, deadline)
        self._outgoing = _Outgoing(data)
        self._flush(into, deadline)

    def _flush(self, into: list[bytes], deadline: float) -> None:
        outgoing = self._outgoing
        while (at := sum(outgoing.sent)) < len(outgoing.data):
            self._check()
            try:
                outgoing.sent.extend(map(self.sock.send, (outgoing.data[at:],)))
            except BlockingIOError:
                # The helper reads nothing while its answers are not read: those of hundreds of reads that were broken
                # off fill the buffers.
                if self._wait(POLLIN | POLLOUT, deadline, "it did not take a request in time") & POLLIN:
                    self._receive(into)
            except OSError as error:
                raise Gone(f"it died ({error.strerror})") from error

    def receive(self, into: list[bytes], deadline: float) -> None:
        """Appends what has come, at least a byte. Raises SourceLost."""
        self._check()
        self._wait(POLLIN, deadline, "it did not answer in time")
        self._receive(into)

    def _receive(self, into: list[bytes]) -> None:
        try:
            into.extend(map(self.sock.recv, (_CHUNK,)))
        except OSError as error:
            raise Gone(f"it died ({error.strerror})") from error
        if not into[-1]:
            raise Gone("it died")

    def _wait(self, events: int, deadline: float, too_late: str) -> int:
        """Until it is ready for one of these, and for which. Raises SourceLost."""
        poll = originals.poll()
        poll.register(self.sock.fileno(), events)
        ready = poll.poll(1000 * max(0.001, deadline - clock.monotonic()))
        if not ready:
            raise SourceLost(too_late)
        return int(ready[0][1])

    def _check(self) -> None:
        # A test may have closed every descriptor and opened files in their place: never write into one of those.
        if not self._is_ours():
            raise SourceLost("its connection was closed by the program under test")

    def close(self) -> None:
        try:
            if self._is_ours():
                self.sock.close()
            else:
                self.sock.detach()  # the number is another file's by now
        except OSError:
            pass

    def _is_ours(self) -> bool:
        return _identity(self.sock.fileno()) == self._file


def _identity(fd: int) -> tuple[int, int] | None:
    """What a descriptor refers to, None if nothing."""
    try:
        status = originals.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino
