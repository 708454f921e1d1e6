"""The connection to a helper: bytes, frames, and numbered requests. What the frames mean is not known here.

An exception can break in anywhere, as that of a signal's handler does: nothing is lost then, nor sent twice.
"""

from __future__ import annotations

from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, SOL_SOCKET
from collections.abc import Callable, Sequence
from select import POLLIN, POLLOUT
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from .._util import clock, originals
from .._util.collector import postponed
from ..errors import SourceLost
from ..helper import peers, wire
from .events import LAST

if TYPE_CHECKING:
    from _socket import socket

_T = TypeVar("_T")
_CHUNK = 1 << 18
_MAX_FRAME = wire.MAX_REPLY + (64 << 10)
_SO_COOKIE = 57  # uapi/asm-generic/socket.h, since Linux 4.12
_TWO_DESCRIPTORS = CMSG_SPACE(8)
_LAST_WORDS = 0.5  # seconds to read what a helper has sent before it closed the connection


class Refused(SourceLost):
    """``said``: its words, with a code where there is a remedy."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(f"it refused: {said.get('reason')}")
        self.said = said


class Gone(SourceLost):
    """The helper ended, or closed the connection."""


# ---- bytes ----


class _Outgoing:
    """A request, and how many bytes of it each call has sent."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sent: list[int] = []


class Stream:
    """The socket.

    After any call an exception can break in, and what the call has returned is gone then: the bytes that were received,
    or the number of those that were sent. So the call itself stores them: ``list.extend(map(call, ...))`` is one call
    of C's, and before it returns the result is in the list. If a signal interrupts it, nothing was transferred.
    """

    def __init__(self, sock: socket) -> None:
        self.sock = sock
        self._cookie = _cookie(sock)
        self._outgoing = _Outgoing(b"")
        #: Descriptors that have come, where they are expected: then no exception may break in.
        self.given: list[int] | None = None
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
            if self.given is None:
                into.extend(map(self.sock.recv, (_CHUNK,)))
            else:
                data, ancillary, *_ = self.sock.recvmsg(_CHUNK, _TWO_DESCRIPTORS, MSG_CMSG_CLOEXEC)
                into.append(data)
                for _, _, numbers in ancillary:
                    self.given += memoryview(numbers).cast("i")
        except OSError as error:
            raise Gone(f"it died ({error.strerror})") from error
        if not into[-1]:
            raise Gone("it died")

    def _wait(self, events: int, deadline: float, too_late: str) -> int:
        """Until it is ready for one of these, and for which. Raises SourceLost."""
        poll = originals.poll()
        poll.register(self.sock.fileno(), events)
        try:
            ready = poll.poll(1000 * max(0.001, deadline - clock.monotonic()))
        except OSError as error:  # where a process may open no file at all
            raise SourceLost(f"it can't be waited for ({error.strerror})") from error
        if not ready:
            raise SourceLost(too_late)
        return int(ready[0][1])

    def _check(self) -> None:
        # A test may have closed every descriptor and opened files in their place: never write into one of those.
        if not self.is_ours():
            raise SourceLost("its connection was closed by the program under test")

    def close(self) -> None:
        try:
            if self.is_ours():
                self.sock.close()
            else:
                self.sock.detach()  # the number is another file's by now
        except OSError:
            pass

    def is_ours(self) -> bool:
        return _cookie(self.sock) == self._cookie


def _cookie(sock: socket) -> bytes | None:
    """The kernel's own number of a socket; None if the descriptor is no socket's any more."""
    try:
        return sock.getsockopt(SOL_SOCKET, _SO_COOKIE, 8)
    except OSError:
        return None


# ---- frames, requests and answers ----


class _Inbox(NamedTuple):
    """What has come from the helper. It is replaced as a whole, so that an exception which breaks in leaves the old one
    or the new one."""

    #: As the socket has given it, and not cut into frames yet.
    received: list[bytes]
    #: Of a frame that has not come whole.
    rest: bytes
    #: What frames have brought, in this order. The first ``kept`` count: behind them may be what was broken off.
    journal: list[Any]
    kept: int = 0
    #: The last frame that is no part of an answer, and the one that says that the helper has failed.
    answer: wire.Frame | None = None
    failure: wire.Frame | None = None
    #: The mark of what was given last, and how much of the journal that was.
    given: tuple[object, int] = (None, 0)


class Connection(Generic[_T]):
    """Sends requests, and keeps what answers bring. ``read`` makes that of a frame, and raises WireError.

    Requests are numbered, so that an answer to one that was broken off is not taken for another's; what it brings is
    kept with the rest.
    """

    def __init__(self, sock: socket, read: Callable[[wire.Frame], Sequence[_T]]) -> None:
        self.stream = Stream(sock)
        self._read = read
        self._request = 0
        self._inbox = _Inbox([], b"", [])

    def greeting(self, deadline: float) -> wire.Frame:
        """What the helper says unasked: who it is, or FAILED. Raises SourceLost."""
        while (said := self._inbox.failure or self._inbox.answer) is None:
            self._take_in(deadline)
        return said

    def ask(self, type: int, payload: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Sends a request and returns the fields of its answer. Raises SourceLost."""
        self._request += 1
        request = self._request
        try:
            self.stream.send(wire.frame(type, request, payload), self._inbox.received, deadline)
        except Gone as error:
            self._read_last_words()
            raise Gone(self._failure() or str(error)) from error
        answer = self._answer(request)
        if answer is None:
            self._take_in(deadline)  # what is waited for; the rest comes at once
            with postponed:
                while (answer := self._answer(request)) is None:
                    self._take_in(deadline)
        said = fields(answer)
        if answer.type == wire.ERROR:
            raise Refused(said)
        return said

    def _answer(self, request: int) -> wire.Frame | None:
        """If it has come, and is not of one that an exception broke off. Raises SourceLost."""
        answer, failure = self._inbox.answer, self._failure()
        if answer is not None and answer.request == request:
            return answer
        if failure is not None:
            raise SourceLost(failure)
        return None

    def ask_for_descriptors(self, type: int, deadline: float) -> tuple[dict[str, Any], list[int]]:
        """The same, with the descriptors that come with the answer. If an exception breaks in, the connection can't be
        used any more. Raises SourceLost."""
        given = self.stream.given = []
        try:
            peers.take_descriptors(self.stream.sock, wanted=True)
            said = self.ask(type, {}, deadline)
            peers.take_descriptors(self.stream.sock, wanted=False)
        except BaseException:
            for descriptor in given:
                originals.close(descriptor)
            raise
        finally:
            self.stream.given = None
        return said, given

    def has_taken(self, taken: object) -> bool:
        """Whether nothing has been received that was not taken in, by the mark ``taken``."""
        inbox = self._inbox
        if inbox.journal:
            self.forget(taken)
            inbox = self._inbox
        return not (inbox.received or inbox.rest or inbox.journal) and inbox.failure is None

    def kept(self) -> tuple[list[_T], object]:
        """What has come and was not forgotten, and a mark to forget it by."""
        inbox, mark = self._inbox, object()
        kept = inbox.journal[: inbox.kept]
        self._inbox = inbox._replace(given=(mark, inbox.kept))
        return kept, mark

    def forget(self, mark: object) -> None:
        """What was given with this mark or, with LAST, what was given last. Another mark is of what was forgotten."""
        inbox = self._inbox
        last, number = inbox.given
        if mark is last or mark is LAST:
            journal = inbox.journal[number : inbox.kept]
            self._inbox = inbox._replace(journal=journal, kept=len(journal), given=(None, 0))

    def close(self) -> None:
        self.stream.close()

    def _failure(self) -> str | None:
        """Why the helper has failed, if it has said so."""
        if self._inbox.failure is None:
            return None
        said = fields(self._inbox.failure)
        return f"it {'ended' if said.get('code') == 'service-ended' else 'failed'}: {said.get('reason')}"

    def _read_last_words(self) -> None:
        deadline = clock.monotonic() + _LAST_WORDS
        try:
            while self._inbox.failure is None:
                self._take_in(deadline)
        except SourceLost:
            pass

    def _take_in(self, deadline: float) -> None:
        """Receives, unless what was received before has still to be taken in."""
        inbox = self._inbox
        if not inbox.received:
            self.stream.receive(inbox.received, deadline)
        del inbox.journal[inbox.kept :]
        answer, failure = inbox.answer, inbox.failure
        try:
            frames, rest = wire.cut(inbox.rest + b"".join(inbox.received), wire.REPLIES, _MAX_FRAME)
            for frame in frames:
                inbox.journal.extend(self._read(frame))
                if frame.type == wire.FAILED:
                    failure = frame
                elif frame.type not in (wire.EVENTS, wire.PACKED):
                    answer = frame
        except wire.WireError as error:
            raise SourceLost(f"it sent what can't be read: {error}") from error
        self._inbox = inbox._replace(received=[], rest=rest, kept=len(inbox.journal), answer=answer, failure=failure)


def fields(frame: wire.Frame) -> dict[str, Any]:
    """Of a control frame. Raises SourceLost."""
    try:
        return frame.json()
    except wire.WireError as error:
        raise SourceLost(f"it sent what can't be read: {error}") from error
