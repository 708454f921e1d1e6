"""How long a command is recorded: until it has ended, or all that it has left running has."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

from .._util import clock
from .._util.text import printable
from ..log.checks import processes_word
from ..report.digest import cut
from ..timeline.program import STOPPED, described
from .child import Child
from .processes import BadEnd
from .recording import NewExec, Recording
from .terminal import Line, Terminal
from .totals import most

_POLL = 0.1  # seconds between two looks
_SELDOM = 10  # of these looks one, where none is waited for: what is recorded is sooner taken in when it is much

_SHOWN = 50  # execs that are shown at a time: to show more would take longer than to record them

Show = Callable[[Sequence[NewExec | BadEnd]], None]


def display(terminal: Terminal, began: int) -> Show:
    """Shows execs as they come, and what ends otherwise than with exit status 0, if standard error is a terminal.
    ``began`` is when the command did (ns)."""
    if not terminal.attended:
        return lambda _: None

    def show(news: Sequence[NewExec | BadEnd]) -> None:
        for new in news[:_SHOWN]:
            line = _line(new, began, terminal.width) if isinstance(new, NewExec) else _end(new, began)
            terminal.complain(*line)
        if len(news) > _SHOWN:
            terminal.complain((f"+ … {len(news) - _SHOWN:,} more", "dim"))

    return show


def _look(recording: Recording, look: Callable[[float], list[NewExec]], timeout: float) -> Sequence[NewExec | BadEnd]:
    """What is new of execs and bad ends, each at its time."""
    execs = look(timeout)
    if not recording.new_ends:
        return execs
    times = [(new.record.timestamp_ns, place) for place, new in enumerate(execs)]
    times += [(end.at, place) for place, end in enumerate(recording.new_ends, len(execs))]
    every: list[NewExec | BadEnd] = [*execs, *recording.new_ends]
    return [every[place] for _, place in sorted(times)]


def _end(end: BadEnd, began: int) -> Line:
    """When, which process, and how it ended."""
    head = f"+{(end.at - began) / 1e6:9.1f} ms {end.pid:>7} {cut(end.program, 12):<12} "
    return ((head, "dim"), (end.how, "bad"))


def _line(new: NewExec, began: int, width: int) -> Line:
    """When, which process, begun by which program, and the command line."""
    since = (new.record.timestamp_ns - began) / 1e6
    head = f"+{since:9.1f} ms {new.record.pid:>7} {cut(printable(new.parent or ''), 12):<12} "
    words = cut(printable(described(new.record) + STOPPED * new.record.stopped), max(20, width - len(head) - 1))
    program, blank, rest = words.partition(" ")
    return ((head, "dim"), (program, "strong"), blank + rest)


class Follower(threading.Thread):
    """Takes in what is new, until :meth:`stop`. ``timeout`` is how long, in seconds, an answer may take; no
    signal is to wait for that, so this is a thread. ``attended``: somebody watches what is shown."""

    def __init__(self, recording: Recording, show: Show, timeout: float, attended: bool = False) -> None:
        super().__init__(daemon=True)
        self._attended = attended
        self._recording = recording
        self._show = show
        self._timeout = timeout
        self._stopped = threading.Event()
        self._awaiting = threading.Event()
        self._nothing_left = threading.Event()
        self._left = ""

    def run(self) -> None:
        for turn in count(1):
            if self._stopped.wait(_POLL):
                return
            if turn % _SELDOM and not self._attended and not self._awaiting.is_set():
                continue  # the CPUs are the command's until then
            self._show(_look(self._recording, self._recording.look, self._timeout))
            if self._awaiting.is_set():
                self._look_for_running()

    def _look_for_running(self) -> None:
        self._recording.look_for_running(self._timeout)
        running, more = self._recording.still_running()
        programs = Counter(process.program or "?" for process in running)
        self._left = f"{processes_word(len(running) + more)}: {most(programs)}"
        if not running and not more:  # or the helper is lost
            self._nothing_left.set()

    def wait_for_the_rest(self, child: Child, patience: float, say: Callable[[str], None]) -> str | None:
        """Until nothing is left of the command's tree; if it was not waited for so long, how long it was."""
        began = clock.monotonic()
        self._awaiting.set()
        while self.is_alive() and not self._nothing_left.wait(_POLL):
            say(self._left)
            waited = clock.monotonic() - began
            interrupted = child.interrupted()
            if interrupted is not None:
                return f"{waited:.2f} s, until {interrupted}"
            if waited >= patience:
                return f"{patience:g} s"
        return None

    def finish(self) -> None:
        """Takes in the rest. What runs after this is not recorded."""
        self._stopped.set()
        self.join()
        self._recording.end(self._timeout)
        self._show(_look(self._recording, self._recording.finish, self._timeout))

    def stop(self) -> None:
        self._stopped.set()


def follow(child: Child, reader: Follower, patience: float | None, terminal: Terminal) -> str | None:
    """Until the command has ended, and then for as many seconds as there is ``patience`` until what it has left running
    has. If that was not enough: how long it was waited."""
    cut_off = None
    reader.start()
    try:
        while not child.wait(_POLL):
            pass
        if patience is not None:
            with terminal.working("waiting for what the command has left running (Ctrl-C ends this)") as say:
                cut_off = reader.wait_for_the_rest(child, patience, say)
    finally:
        reader.stop()
        child.release()
    reader.finish()
    return cut_off
