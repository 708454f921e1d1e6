"""Real-time priority, for as long as this process needs little of a CPU.

With it, buffers are emptied while all CPUs are busy. What it takes then it takes from all others, and users can make
work: by processes of theirs that fail to execute something as fast as they can, or by requests. So under sustained load
this process becomes one like others, and takes priority again when that is over, if it may.
"""

from __future__ import annotations

import time
from typing import List

from . import privilege
from .quotas import Bucket

_SHARE, _BURST = 0.25, 1.0  # of one CPU in the long run, and seconds at once
_SOON = 0.001  # seconds; what is reckoned by fractions may lack one


class Precedence:
    def __init__(self, held: bool, returns: bool = True, priority: int = 1) -> None:
        """``held``: this process has it. ``returns``: it may take it again. Where it has become the user whose work it
        does it may not: that user can take for it what it may take, at any time."""
        self._priority = priority
        self._may_have = self.held = held
        self._returns = returns
        self._bucket = Bucket(_SHARE, _BURST)
        self._spent = time.thread_time()

    def review(self) -> None:
        """To be called again and again."""
        if not self._may_have:
            return
        spent = time.thread_time()
        self._bucket.charge(spent - self._spent, debt=_BURST)
        self._spent = spent
        if self.held and self._bucket.waits() > 0:
            privilege.leave_precedence(for_good=not self._returns)
            self.held, self._may_have = False, self._returns
        elif not self.held and self._bucket.fills() == 0:
            self._may_have = self.held = privilege.take_precedence(self._priority)

    def waits(self) -> List[float]:
        """Seconds until it can be taken again, if it can."""
        return [] if self.held or not self._may_have else [self._bucket.fills() + _SOON]
