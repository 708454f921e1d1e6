"""Stops as they come, one after the other, for as long as they do: each is taken by one system call.

waitpid(2) waits for nothing else. What comes at a descriptor meanwhile ends it by a signal, which does nothing if it
arrives just before that has begun. So a timer sends another, again and again.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from typing import Callable, Tuple


class Arrivals:
    def __init__(self) -> None:
        self._is_over = False
        self._others = select.epoll()
        for number in (signal.SIGIO, signal.SIGALRM):
            signal.signal(number, self._end)

    def end_by(self, fd: int) -> None:
        """What comes at this socket ends them."""
        self._others.register(fd, select.EPOLLIN)
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)

    def _end(self, *_: object) -> None:
        self._is_over = True

    def within(
        self, seconds: float, take: Callable[[int, int], bool], await_stop: Callable[[], Tuple[int, int]]
    ) -> None:
        """Those of so long, each given to ``take`` as os.waitpid() has it, until that says that it has enough."""
        self._is_over = False
        if self._others.poll(0):
            return
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
        try:
            while not self._is_over:
                tid, status = await_stop()
                if tid < 0 or take(tid, status):  # it was a signal, or there is nothing left that could stop
                    return
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
