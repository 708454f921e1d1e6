"""How much of a helper one user may have, where several users share it."""

from __future__ import annotations

import collections
import contextlib
import time
from collections import deque
from typing import Any, Callable, ContextManager, Counter, Deque, Dict, Iterator, NamedTuple, Optional, Set


class Limits(NamedTuple):
    """None is no limit."""

    clients: int = 256
    clients_per_user: Optional[int] = None
    claims_per_user: Optional[int] = None  # at a time; another has to wait
    stopping_per_user: Optional[int] = None  # processes for which programs are stopped
    claim_time: Optional[float] = None  # seconds within which a name must have been taken on
    adoption_time: Optional[float] = None  # seconds to find what a process has started before
    share: Optional[float] = None  # of the helper's time, in the long run
    burst: float = 2.0  # seconds of it at once
    room_per_user: bool = False  # whether what is kept is divided among users first, and then among their processes


#: The helper of one run has one user, who can harm no other.
RUN_LIMITS = Limits()


class Bucket:
    """A token bucket of seconds: a share of the time in the long run, and so many at once."""

    def __init__(self, share: float, burst: float) -> None:
        self._burst = burst
        self._share = share
        self._credit = burst
        self._at = time.monotonic()

    def charge(self, seconds: float, debt: float = float("inf")) -> None:
        """``debt``: at most so many are owed for these."""
        self._refill()
        self._credit = max(self._credit - seconds, min(self._credit, -debt))

    def waits(self) -> float:
        """Seconds until there is something in it; 0 is now."""
        self._refill()
        return max(0.0, -self._credit / self._share)

    def fills(self) -> float:
        """Seconds until it is full; 0 if it is."""
        self._refill()
        return (self._burst - self._credit) / self._share

    def _refill(self) -> None:
        now = time.monotonic()
        self._credit = min(self._burst, self._credit + (now - self._at) * self._share)
        self._at = now


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
        self._burst = limits.burst
        self._bucket = None if limits.share is None else Bucket(limits.share, limits.burst)

    def charge(self, seconds: float) -> None:
        """For what has been done for this user."""
        if self._bucket is not None:
            self._bucket.charge(seconds)

    def charge_records(self, seconds: float) -> None:
        """For records of what this user's processes execute, which can't be put off: no more is owed for them than can
        be had at once, so that reads are late and do not fail."""
        if self._bucket is not None:
            self._bucket.charge(seconds, debt=self._burst)

    def waits(self) -> float:
        """Seconds until something may be done for this user again; 0 is now."""
        return 0.0 if self._bucket is None else self._bucket.waits()

    def is_idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.clients and (self._bucket is None or self._bucket.fills() == 0)


class Quotas:
    """The users of a helper, and what they pay of its time."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.users: Dict[int, User] = {}
        #: Records by the user they are for, while they are fetched.
        self.brought: Counter[User] = collections.Counter()
        self._charged = 0.0  # seconds, to users for their records

    @property
    def clients(self) -> int:
        return sum(user.clients for user in self.users.values())

    def user(self, uid: int) -> User:
        if uid not in self.users:
            # Those who have gone are remembered until they have paid for what they had.
            self.users = {uid: user for uid, user in self.users.items() if not user.is_idle()}
            self.users[uid] = User(uid, self.limits)
        return self.users[uid]

    def run(self, user: User, do: Callable[[], None]) -> None:
        """Does this at the user's expense; not at all while the user has exceeded its quota."""
        if self.limits.share is None:
            do()
            return
        if user.waits():
            return
        before, charged = time.thread_time(), self._charged
        do()
        user.charge(time.thread_time() - before - (self._charged - charged))

    def shared(self) -> ContextManager[None]:
        """What is done in here is paid by those whose records it has ``brought``, each by its part, and by no other."""
        return contextlib.nullcontext() if self.limits.share is None else self._shared()

    @contextlib.contextmanager
    def _shared(self) -> Iterator[None]:
        self.brought.clear()
        before = time.thread_time()
        yield
        spent, total = time.thread_time() - before, sum(self.brought.values())
        for user, number in self.brought.items():
            user.charge_records(spent * number / total)
        self._charged += spent if total else 0.0
