"""Who connects to the helper, and whether it becomes a client."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from typing import Callable, List, Optional, Tuple

from . import peers, wire
from .quotas import Bucket, Quotas

#: Of one CPU, for refusing connections: in the long run, and seconds at once.
_REFUSING, _REFUSING_AT_ONCE = 0.03, 0.02
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.1  # seconds


class Admission:
    """Accepts connections, of root and the user ``uid`` (None: of any), and has ``add`` make clients of them."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        quotas: Quotas,
        uid: Optional[int],
        add: Callable[[socket.socket], None],
    ) -> None:
        self._listener = listener
        self._selector = selector
        self._quotas = quotas
        self._uid = uid
        self._add = add
        self._paused_until = 0.0  # time.monotonic(), 0 while connections are accepted
        self._refusals = Bucket(_REFUSING, _REFUSING_AT_ONCE)
        self._listen()

    def accept(self) -> bool:
        """Accepts one connection. False if there is none."""
        before = time.thread_time()
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._pause(_PAUSE)  # or the selector would return at once, and for ever
            return False
        if not self._admit(sock):
            # A refused peer can come again at once, and cost more than it pays. Those who wait are let in in turn.
            self._refusals.charge(time.thread_time() - before)
            self._pause(self._refusals.waits())
        return True

    def waits(self) -> List[float]:
        """Seconds until :meth:`resume` has something to do, if it will."""
        return [max(0.0, self._paused_until - time.monotonic())] if self._paused_until else []

    def resume(self) -> None:
        """Ends a pause whose time is up."""
        if self._paused_until and time.monotonic() >= self._paused_until:
            self._paused_until = 0.0
            self._listen()

    def _pause(self, seconds: float) -> None:
        """Accepts no connection for so long."""
        if seconds > 0 and not self._paused_until:
            self._paused_until = time.monotonic() + seconds
            self._selector.unregister(self._listener)

    def _listen(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ, self.accept)

    def _admit(self, sock: socket.socket) -> bool:
        """Whether there is a new client."""
        clients = self._quotas.clients
        if self._quotas.limits.share is None:
            self.let_in(sock)
        else:
            user = self._quotas.user(peers.credentials(sock)[1])
            if user.waits():
                _refuse(sock, "busy", "user %d has exceeded its quota of the helper's time: try again" % user.uid)
            else:
                self._quotas.run(user, lambda: self.let_in(sock))
        return self._quotas.clients > clients

    def let_in(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            refusal = self._why_not(sock)
            if refusal is not None:
                _refuse(sock, *refusal)
            else:
                self._add(sock)
        except OSError:
            sock.close()  # it has gone

    def _why_not(self, sock: socket.socket) -> Optional[Tuple[str, str]]:
        """Why a peer is not let in: a code, ``busy`` where that passes, and the reason."""
        pid, uid, _ = peers.credentials(sock)
        if pid == 0:
            return "refused", (
                "the helper runs in a PID namespace that this process is not in. Start the helper where pytest runs, or"
                " outside of that"
            )
        if not peers.may_connect(sock, self._uid):
            return "refused", "user %d can't use a helper of user %s" % (uid, self._uid)
        limits, user = self._quotas.limits, self._quotas.users.get(uid)
        if self._quotas.clients >= limits.clients:
            return "busy", "the helper serves %d processes already, and no more" % limits.clients
        limit = limits.clients_per_user
        if limit is not None and user is not None and user.clients >= limit:
            return "busy", "the helper serves %d processes of user %d already, and no more" % (limit, uid)
        return None


def _refuse(sock: socket.socket, code: str, reason: str) -> None:
    with contextlib.suppress(OSError), sock:
        sock.setblocking(False)
        sock.send(wire.failed(code, reason))
