"""How a starter and the helper that it has started know each other.

The starter waits at a name that all can read, and root itself can be made to connect there: a user that may start a
helper can have it connect to another user's. So there are two tokens, which the starter alone has thought up and which
reach its helper by standard input: sudo hands that on, and no other process can read it. The helper shows the one when
it connects, and the starter answers with the other. A token is worth nothing once it was shown.

With its token the starter hands over the socket that the helper is to serve. So it is the starter that has bound its
name, before that stood anywhere, and nothing privileged listens at a name of another's choice.
"""

from __future__ import annotations

import _socket
import functools
import os
import posix
import select
import socket
import struct
import time
from _operator import _compare_digest as compare_digest  # hmac has it from there, and loads OpenSSL
from json import dumps, loads
from socket import SCM_RIGHTS, SOL_SOCKET
from typing import Any, Dict, NamedTuple, Optional, Tuple

BACKLOG = 256  # that may wait to be let in while the probe is being made: as many as there may be clients
REFUSED = 75  # exit status of a helper that does not connect to its starter: it has written why

_SIZE = 32  # characters of a token: 128 bits
_PATIENCE = 30.0  # seconds that the helper waits for what the starter has to say

_DESCRIPTOR = struct.Struct("i")
_lseek, _write = functools.partial(posix.lseek), functools.partial(posix.write)
_urandom = functools.partial(posix.urandom)


class HandshakeError(Exception):
    """The peer did not show the token."""


class Tokens(NamedTuple):
    of_helper: bytes
    of_starter: bytes


def new_tokens() -> Tokens:
    return Tokens(_urandom(_SIZE // 2).hex().encode(), _urandom(_SIZE // 2).hex().encode())


def refusal(code: str, reason: str, remedy: str) -> bytes:
    """What such a helper writes on standard error."""
    return dumps({"code": code, "reason": reason, "remedy": remedy}).encode() + b"\n"


# ---- the starter, beside tests: they may replace what is in os and socket, and what a name here holds ----


def read_refusal(status: int, said: str) -> Optional[Dict[str, Any]]:
    """Of a launcher that has ended with this status: code, reason and remedy, or None if it is no refusal."""
    try:
        fields = loads(said.splitlines()[-1]) if status == REFUSED and said else None
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def put_down(tokens: Tokens, file: int) -> None:
    """For the helper's standard input: a file needs no writer, and so none that could be kept waiting."""
    _write(file, tokens.of_helper + tokens.of_starter)
    _lseek(file, 0, 0)


def admit(sock: _socket.socket, tokens: Tokens, listener: _socket.socket, timeout: float) -> bool:
    """Whether it is the helper that has connected, within so many seconds. Then it has the listening socket."""
    try:
        sock.settimeout(timeout)
        if not compare_digest(sock.recv(_SIZE), tokens.of_helper):  # so little is sent, and comes, as a whole
            return False
        sock.sendmsg([tokens.of_starter], [(SOL_SOCKET, SCM_RIGHTS, _DESCRIPTOR.pack(listener.fileno()))])
    except OSError:
        return False
    return True


# ---- the helper ----


def read_tokens(fd: int = 0) -> Tokens:
    """Raises HandshakeError if they are not there."""
    deadline, text = time.monotonic() + _PATIENCE, b""
    while len(text) < 2 * _SIZE:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(fd, 2 * _SIZE - len(text)) if ready else b""
        if not data:
            raise HandshakeError("its starter's tokens are not on standard input: it is started by pytest-execprobe")
        text += data
    return Tokens(text[:_SIZE], text[_SIZE:])


def connect(name: str, tokens: Tokens) -> "Tuple[socket.socket, socket.socket]":
    """A connection to the starter, and the listening socket from it. Raises OSError, HandshakeError."""
    first = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    first.connect("\0" + name)
    first.settimeout(_PATIENCE)
    first.sendall(tokens.of_helper)
    token, descriptors, _, _ = socket.recv_fds(first, _SIZE, 1)
    try:
        if not compare_digest(token, tokens.of_starter) or len(descriptors) != 1:
            raise HandshakeError("what waits there is not the starter")
        listener = socket.socket(fileno=descriptors[0])
    except (HandshakeError, OSError):
        for fd in descriptors:
            os.close(fd)
        raise
    listener.set_inheritable(False)
    if not is_listening(listener):
        raise HandshakeError("expected a listening unix stream socket from the starter")
    listener.setblocking(False)
    first.setblocking(True)
    return first, listener


def is_listening(listener: socket.socket) -> bool:
    return (
        listener.family == socket.AF_UNIX
        and listener.type == socket.SOCK_STREAM
        and bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    )
