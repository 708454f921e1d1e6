"""Calls by which Python code spawns something, and which of them has made a branch of the process tree.

A branch and a call belong together by the thread that forked and the time at which it did, and by the number of the
process where the call has returned one. What could be another's is no one's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from operator import attrgetter

from ..source.events import Branch, Exec, Running
from .site import CallSite

_BEFORE = attrgetter("before")
_NO_MARK = memoryview(b"\0")


@dataclass(eq=False, slots=True)
class Call:
    """One of them, from before it can fork to after that. Times are of CLOCK_MONOTONIC, in nanoseconds."""

    thread: int  # the kernel's number, in this process's PID namespace
    site: CallSite | None
    outer: Call | None  # in the middle of which the same thread has begun it, as a handler of forks does
    before: int
    after: int | None = None  # None while it goes on
    pid: int | None = None  # that it has returned
    mark: tuple[memoryview, int] | None = None  # of one by fork(): where its child puts its number, 0 before
    is_exec: bool = False  # it replaces this process, if it does not fail
    #: What was born while it went on, and no call within it did: branches, and what this process sees as the number of
    #: each one's top, None where that is not known. Each with who says so: another run's probe has its own times.
    claims: tuple[tuple[Calls, Branch, int | None], ...] = ()

    def covers(self, time: int) -> bool:
        return self.before <= time and (self.after is None or time <= self.after)

    def claim(self, calls: Calls, branch: Branch, seen: int | None) -> None:
        others = (claim for claim in self.claims if claim[:2] != (calls, branch))
        self.claims = (*others, (calls, branch, seen))

    def is_claimed(self, calls: Calls) -> bool:
        return any(claim[0] is calls for claim in self.claims)

    def forget_mark(self) -> None:
        """The mark is to be another's."""
        if self.mark is not None:
            self.pid, self.mark = self.mark[0][self.mark[1]] or self.pid, (_NO_MARK, 0)

    def site_of(self, branch: Branch) -> CallSite | None:
        """Where a branch was spawned, if it is certain that this call has done that, and no code within it."""
        if self.after is None:
            return None
        if self.mark is not None:
            self.pid = self.mark[0][self.mark[1]] or self.pid
            if self.pid is None:  # Python's own child executes nothing before it has said who it is
                return None
        who = next((calls for calls, other, _ in self.claims if other == branch), None)
        possible = [
            other
            for calls, other, seen in self.claims
            if calls is who and (None in (seen, self.pid) or seen == self.pid)
        ]
        return self.site if possible == [branch] else None


@dataclass(eq=False)
class Calls:
    """Those of a process that a timeline follows. ``inbox`` is where any thread notes one as it begins."""

    inbox: deque[Call] = field(default_factory=deque)
    #: Whether the kernel's numbers of processes are known to be those that this process sees.
    same_numbers: bool = False
    _open: dict[int, list[Call]] = field(default_factory=dict)  # by thread, those that have no branch yet
    _made: dict[Branch, Call] = field(default_factory=dict)
    _last: tuple[Branch, Call | None] | None = None  # what was looked up for one is mostly true for the next
    #: Those that have made a branch and go on: where that was spawned is certain once they are over.
    _unsettled: set[Call] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.inbox) + len(self._made) + sum(map(len, self._open.values()))

    def of_exec(self, event: Exec) -> Call | None:
        """The call that may have made an exec's branch."""
        branch, last = event.branch, self._last
        top = branch.top
        if not top:
            return self._of_own(event)
        if event.pid == top:
            # Of what was lost, another number may be seen than the kernel's.
            return self.of(branch, event.seen_pid or (None if event.command is None else event.pid))
        if last is None or last[0] is not branch:
            last = self._last = branch, self.of(branch)
        return last[1]

    def _of_own(self, event: Exec) -> Call | None:
        """Of what this process itself has failed to execute."""
        call = self._around(event.branch.thread, event.entered) if event.branch.thread else None
        if call is None or not call.is_exec:
            return None
        call.claim(self, event.branch, None)
        return call

    def of(self, branch: Branch, seen: int | None = None) -> Call | None:
        """The call that may have made a branch. ``seen``: what this process sees as the number of its top, None where
        that is not known."""
        known = self._made.get(branch)
        if known is not None and seen is None:
            return known
        if not branch.born or not branch.thread:  # it was there before, or is this process itself
            return None
        call = known or self._around(branch.thread, branch.born)
        if call is not None:
            self._made[branch] = call
            if call.after is None:
                self._unsettled.add(call)
            call.claim(self, branch, branch.top if self.same_numbers else seen)
        return call

    @property
    def unsettled(self) -> int:
        """How many go on of which a branch is known already, as another thread's does while this one looks."""
        if self._unsettled:
            self._unsettled = {call for call in self._unsettled if call.after is None}
        return len(self._unsettled)

    def _around(self, thread: int, time: int) -> Call | None:
        """The innermost one of a thread in which a moment lies."""
        self._take_in()
        calls = self._open.get(thread, ())
        at = bisect_right(calls, time, key=_BEFORE)
        call = calls[at - 1] if at else None
        while call is not None and not call.covers(time):
            call = call.outer
        return call

    def _take_in(self) -> None:
        """What is new; and those go that have their branch, by which what else comes of that is found."""
        if self.inbox:
            self._keep(lambda call: call.after is None or not call.is_claimed(self))
        # An exception may come between: then the next finds what this one has left.
        while self.inbox:
            call = self.inbox[0]
            calls = self._open.setdefault(call.thread, [])
            if not calls or calls[-1] is not call:
                calls.append(call)
            self.inbox.popleft()

    def _keep(self, wanted: Callable[[Call], bool]) -> None:
        kept = {thread: [call for call in calls if wanted(call)] for thread, calls in self._open.items()}
        self._open = {thread: calls for thread, calls in kept.items() if calls}

    def lighten(self, running: Running, branches: Container[Branch], listed_at: int) -> None:
        """Forgets what can't be asked for any more: of branches those that are not listed, and whose top is not; and of
        calls those that were over when processes were listed, and have forked none of them."""
        self._take_in()
        self._last = None
        tops = {process.kernel_pid for process in running.listed}
        forks = sorted(process.since for process in running.listed if process.since and not process.own_exec)
        self._made = {branch: call for branch, call in self._made.items() if branch in branches or branch.top in tops}
        self._keep(
            lambda call: (
                call.after is None
                or call.after >= listed_at
                or bisect_left(forks, call.before) < bisect_right(forks, call.after)
            )
        )

    def clear(self) -> None:
        self.inbox.clear()
        self._unsettled.clear()
        self._open, self._made, self._last = {}, {}, None
