"""A process that has connected to the helper, and what the helper has for it."""

from __future__ import annotations

import socket
from collections import deque
from typing import Deque, List, NamedTuple, Optional

from . import peers, wire
from .backlog import Backlog, Outgoing
from .probe import Denial
from .quotas import User


class Pending(NamedTuple):
    """A SYNC or WAIT that has not been answered."""

    request: int
    before: int  # monotonic ns: execs entered up to here must be over
    at: int  # when it was taken in, for the client to compare clocks
    deadline: float  # time.monotonic()
    is_wait: bool  # then it is answered by whatever is new


class Client:
    """Raises OSError where its process has ended."""

    def __init__(self, sock: socket.socket, user: User) -> None:
        self.sock = sock
        self.user = user
        self.pid, _, _ = peers.credentials(sock)
        # An open socket is no proof of life: a forked child may hold it. The process itself is watched.
        self.pidfd, self.is_certain = peers.pidfd_of(sock)
        self.is_open = True
        self.reader = wire.Reader(wire.REQUESTS, wire.MAX_REQUEST)
        self.requests: Deque[wire.Frame] = deque()
        self.is_ready = False  # is in its user's list of those
        self.interest = 0  # what the selector watches its socket for
        self.out = Outgoing()
        self.has_claimed = False
        self.claim_ends = float("inf")  # time.monotonic()
        self.root = 0
        self.name = b""
        self.armed = False
        self.child = False
        self.untraced: List[str] = []
        self.denied: List[Denial] = []  # of a STOP of which more is to come
        self.pending: Optional[Pending] = None
        self.reconciling = 0.0  # time.monotonic(), since the counts do not add up; 0 if they do
        self.kept = 0  # bytes: what is queued, and what was sent and is not read
        self.settled = 0  # monotonic ns: all that was entered up to here has been delivered, or charged to it as lost
        self.start_batch()

    def start_batch(self) -> None:
        """All that there was has been sent."""
        self.backlog = Backlog()
        self.unplaced = 0  # events that were lost, and it is not known whose they were
        self.unbounded = False  # more may be lost than the unplaced
        self.skipped = 0  # of the unplaced: what the kernel has skipped the probe for
