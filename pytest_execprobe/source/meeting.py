"""Where the processes of a run meet their helper: names in the abstract namespace, that none can take beforehand.

They are made of a secret that the processes of one run have, and stand nowhere until a socket is bound to them. Whoever
takes one that has become free meets none of the run's processes there: they go on to the next.
"""

from __future__ import annotations

import errno
import itertools
import struct
from collections.abc import Iterator
from socket import AF_UNIX, SO_SNDTIMEO, SOCK_STREAM, SOL_SOCKET
from typing import TYPE_CHECKING

from .._util import clock, originals
from ..errors import SourceLost
from ..helper import peers, wire
from ..helper.handshake import BACKLOG

if TYPE_CHECKING:
    from _socket import socket

PREFIX = "pytest-execprobe-"
_TIMEVAL = struct.Struct("@ll")


class Stranger(SourceLost):
    """Another user's process listens there, or this one is not let in: it need not be a helper."""


def new_secret() -> str:
    """For ``HelperSettings.shared``."""
    return originals.random_hex(16)


def names(secret: str) -> Iterator[str]:
    """Without end, and the same for all who have the secret."""
    for number in itertools.count():
        yield PREFIX + originals.hmac_digest(secret.encode(), b"%d" % number, "sha256").hex()[:32]


def new_name() -> str:
    return next(names(new_secret()))


def listen(name: str) -> socket | None:
    """A socket that listens there; None if another process has taken the name."""
    listener = originals.socket(AF_UNIX, SOCK_STREAM)
    try:
        peers.take_descriptors(listener, wanted=False)
        listener.bind("\0" + name)
        listener.listen(BACKLOG)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return None
        raise
    return listener


def refuse(listener: socket, uid: int, code: str, reason: str) -> None:
    """Sends those that wait there for a helper why there will be none."""
    peers.refuse_all(listener, uid, wire.failed(code, reason), BACKLOG)


def connect(place: str, timeout: float) -> socket:
    """A connection to whoever listens there, if that is root or this user: names can be read by all, and taken.

    A run's helper listens at a socket that was made by who started it, and a service at root's. Raises OSError if
    no process listens, SourceLost if a stranger does, or there is no room for this one in time.
    """
    sock = originals.socket(AF_UNIX, SOCK_STREAM)
    try:
        peers.take_descriptors(sock, wanted=False)
        _connect_whole(sock, place, timeout)
        _, uid, _ = peers.credentials(sock)
        if not is_trusted(uid):
            raise Stranger(
                f"the process that listens there is user {uid}'s, and only one of root's or of this user's,"
                f" {originals.geteuid()}, is taken for a helper"
            )
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_whole(sock: socket, place: str, timeout: float) -> None:
    deadline = clock.monotonic() + timeout
    while (remaining := deadline - clock.monotonic()) > 0:
        # Not by settimeout(), with which this would have to ask again and again: who waits in the kernel has a place in
        # its queue.
        sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, _timeval(max(remaining, 0.001)))
        try:
            sock.connect(place)
            sock.getpeername()
        except BlockingIOError:
            break
        except OSError as error:
            # A signal breaks into it, and Python takes that for a connection that is on its way.
            if error.errno != errno.ENOTCONN:
                raise
        else:
            sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, _timeval(0))
            return
    raise Stranger("as many as can wait to be let in do so, and none is")


def _timeval(seconds: float) -> bytes:
    """As setsockopt() takes it; all zeros are for ever."""
    return _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1e6))


def is_trusted(uid: int) -> bool:
    return uid in (0, originals.geteuid())
