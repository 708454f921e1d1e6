"""Where the processes of a run meet their helper: names in the abstract namespace, that nobody can take beforehand.

They are made of a secret that the processes of one run have, and stand nowhere until a socket is bound to them. Whoever
takes one that has become free meets none of the run's processes there: they go on to the next.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import itertools
from collections.abc import Iterator
from socket import AF_UNIX, SOCK_STREAM
from typing import TYPE_CHECKING

from . import originals
from .helper import wire
from .helper.handshake import BACKLOG

if TYPE_CHECKING:
    from _socket import socket

PREFIX = "pytest-execprobe-"


def new_secret() -> str:
    """For ``HelperSettings.shared``."""
    return originals.random_hex(16)


def names(secret: str) -> Iterator[str]:
    """Without end, and the same for all who have the secret."""
    for number in itertools.count():
        yield PREFIX + hmac.new(secret.encode(), b"%d" % number, hashlib.sha256).hexdigest()[:32]


def new_name() -> str:
    return next(names(new_secret()))


def listen(name: str) -> socket | None:
    """A socket that listens there; None if another process has taken the name."""
    listener = originals.socket(AF_UNIX, SOCK_STREAM)
    try:
        wire.take_no_descriptors(listener)
        listener.bind("\0" + name)
        listener.listen(BACKLOG)
    except BaseException as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return None
        raise
    return listener


def refuse(listener: socket, uid: int, code: str, reason: str) -> None:
    """Tells those who wait there for a helper that there will be none."""
    data = wire.frame(wire.FAILED, 0, {"code": code, "reason": reason, "remedy": ""})
    wire.refuse_all(listener, uid, data, BACKLOG)
