"""The processes that run what a command has executed, and how others of them ended. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .._util.text import printable
from ..log.ends import signal_name
from ..source.events import Ended, Event, Exec, Image


class BadEnd(NamedTuple):
    """The end of a process, otherwise than with exit status 0."""

    at: int
    #: The process as the command sees it.
    pid: int
    program: str
    #: ``exit 1``, ``SIGSEGV``.
    how: str


class _Runs(NamedTuple):
    """What a process runs."""

    since: int
    program: str
    pid: int


class _Over(NamedTuple):
    """A process that has ended just now, with its status where the exec that it ended with has not arrived yet."""

    at: int
    program: str | None = None
    status: int | None = None


class Processes:
    """Those that run a program which the command has executed."""

    def __init__(
        self,
        programs: Mapping[int, _Runs] | None = None,
        over: Mapping[int, _Over] | None = None,
        bad: Counter[tuple[str, str]] | None = None,
        new_bad: tuple[BadEnd, ...] = (),
    ) -> None:
        self._programs = programs or {}
        self._over = over or {}  # those of the last look
        #: How often which programs ended how, otherwise than with exit status 0; and what is new of that.
        self.bad = Counter() if bad is None else bad
        self.new_bad = new_bad

    @property
    def images(self) -> list[Image]:
        """What they run."""
        return [(pid, runs.since) for pid, runs in self._programs.items()]

    def after(self, events: Iterable[Event]) -> Processes:
        """Those that run when this has happened."""
        programs, over = dict(self._programs), dict[int, _Over]()
        new: list[BadEnd] = []
        for event in sorted(events, key=lambda event: event.at):
            if isinstance(event, Ended):
                runs = programs.get(event.pid)
                is_known = runs is not None and event.image == (event.pid, runs.since)
                status = event.status if event.image is not None and not is_known else None
                over[event.pid] = _Over(event.at, None if runs is None else runs.program, status)
                if runs is not None and runs.since < event.at:
                    del programs[event.pid]
                    new += _bad(event.at, event.status, runs) if is_known else []
            elif isinstance(event, Exec) and event.error is None:
                name = "?" if event.command is None else event.command.program or "?"
                seen = event.pid if event.seen_pid is None else event.seen_pid
                runs = _Runs(event.at, printable(name), seen)
                # CPUs are read in turn: that it has ended may have arrived before.
                ended = self._over.get(event.pid, _Over(0))
                if ended.at < event.at:
                    programs[event.pid] = runs
                else:
                    new += _bad(ended.at, ended.status, runs)
        if not new:
            return Processes(programs, over, self.bad)
        return Processes(programs, over, self.bad + Counter((one.program, one.how) for one in new), tuple(new))

    def program(self, pid: int) -> str | None:
        """What a process runs, or ran when it ended just now."""
        runs = self._programs.get(pid)
        return self._over.get(pid, _Over(0)).program if runs is None else runs.program

    def program_of(self, image: Image | None) -> str | None:
        """What an image is, while the process that has executed it runs it."""
        runs = None if image is None else self._programs.get(image[0])
        return runs.program if runs is not None and (image or (0, 0))[1] == runs.since and runs.program != "?" else None


def _bad(at: int, status: int | None, runs: _Runs) -> list[BadEnd]:
    if not status:
        return []
    number = status & 0x7F
    return [BadEnd(at, runs.pid, runs.program, signal_name(number) if number else f"exit {status >> 8 & 0xFF}")]
