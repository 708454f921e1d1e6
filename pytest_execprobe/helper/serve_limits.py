"""How much of a helper one user may have, where several users share it."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Deque, NamedTuple, Optional, Set


class Limits(NamedTuple):
    """None is no limit."""

    clients: int = 256
    clients_per_user: Optional[int] = None
    claims_per_user: Optional[int] = None  # at a time; who asks for more waits for his turn
    claim_time: Optional[float] = None  # seconds within which a name must have been taken on
    adoption_time: Optional[float] = None  # seconds to find what a process has started before
    share: Optional[float] = None  # of the helper's time, in the long run
    burst: float = 2.0  # seconds of it at once
    room_per_user: bool = False  # whether what is kept is divided among users first, and then among their processes


#: The helper of one run has one user, who can harm nobody but himself.
RUN_LIMITS = Limits()


class User:
    """What one user has of the helper."""

    def __init__(self, uid: int, limits: Limits) -> None:
        self.uid = uid
        self.clients = 0
        self.kept = 0  # bytes
        self.claims: Set[Any] = set()  # clients that have a name to take on
        self.is_granting = False
        self.claiming: Deque[Any] = deque()  # clients that wait for one, with the number of their request
        self.ready: Deque[Any] = deque()  # clients whose requests have been read
        self._share = limits.share
        self._burst = limits.burst
        self._credit = limits.burst
        self._at = time.monotonic()

    def charge(self, seconds: float) -> None:
        """For what has been done for this user."""
        if self._share is not None:
            self._refill(self._share)
            self._credit -= seconds

    def waits(self) -> float:
        """Seconds until something may be done for this user again; 0 is now."""
        if self._share is None:
            return 0.0
        self._refill(self._share)
        return max(0.0, -self._credit / self._share)

    def is_idle(self) -> bool:
        """Whether there is nothing to remember."""
        if self._share is not None:
            self._refill(self._share)
        return not self.clients and self._credit >= self._burst

    def _refill(self, share: float) -> None:
        now = time.monotonic()
        self._credit = min(self._burst, self._credit + (now - self._at) * share)
        self._at = now
