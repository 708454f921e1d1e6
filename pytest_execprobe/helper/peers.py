"""Who is at the other end of a unix socket, by the kernel's word."""

from __future__ import annotations

import _socket
import contextlib
import errno
import functools
import posix
import struct
from socket import SO_PEERCRED, SOL_SOCKET
from typing import Optional, Tuple

# Held by no name that a test could replace.
_new_socket = functools.partial(_socket.socket)
_CREDENTIALS = struct.Struct("iII")

# asm-generic/socket.h, since Linux 6.5 and 6.16.
_SO_PEERPIDFD, _SO_PASSRIGHTS = 77, 83


def take_descriptors(sock: _socket.socket, wanted: bool) -> None:
    """Unless ``wanted``: has the kernel refuse descriptors that a peer sends, on this socket or on all that connect to
    it from now on.

    They would be closed here, and to close what another user has opened can take as long as that user likes: a TCP
    connection lingers. Before Linux 6.16 there is no such refusal.
    """
    with contextlib.suppress(OSError):
        sock.setsockopt(SOL_SOCKET, _SO_PASSRIGHTS, wanted)


def pidfd_of(sock: _socket.socket) -> Tuple[int, bool]:
    """The process that has connected, and whether it is certainly that: before Linux 6.5 its number alone is known, and
    another may have that by now. Raises OSError if it has ended."""
    try:
        return sock.getsockopt(SOL_SOCKET, _SO_PEERPIDFD), True
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return posix.pidfd_open(credentials(sock)[0]), False


def credentials(sock: _socket.socket) -> Tuple[int, int, int]:
    """(pid, uid, gid) of the process at the other end of a unix socket, by the kernel's word."""
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid, gid


def may_connect(sock: _socket.socket, uid: Optional[int]) -> bool:
    """Whether the other end is root or this user (None: any): all can read an abstract address, in /proc/net/unix."""
    return uid is None or credentials(sock)[1] in (0, uid)


def accept(listener: _socket.socket) -> _socket.socket:
    """The next that connects. Raises OSError."""
    return _new_socket(fileno=listener._accept()[0])  # type: ignore[attr-defined]


def refuse_all(listener: _socket.socket, uid: Optional[int], data: bytes, at_most: int) -> None:
    """Sends this to those that wait to be let in, as root or this user (None: any), and closes their connections: at
    most to so many, for strangers can connect on and on."""
    listener.setblocking(False)
    with contextlib.suppress(OSError):  # none is left
        for _ in range(at_most):
            sock = accept(listener)
            with contextlib.suppress(OSError):
                if may_connect(sock, uid):
                    sock.setblocking(False)
                    sock.send(data)
            sock.close()
