"""The plugin's end of the wire: registers this process as a root with a helper, and pulls its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import O_CLOEXEC, O_RDWR, SEEK_SET
from typing import TYPE_CHECKING, Any, NamedTuple

from .._util import clock, originals
from ..errors import ProbeUnavailable, SourceLost
from ..helper import wire
from . import children, filtering, meeting, pages, tracing
from .decode import Commands, decode, running
from .events import LAST, Batch, Ended, Event, Exec, Orphan, Orphans, Running
from .launch import WrongInterpreter, refused
from .pages import Pages
from .stopping import StopError, resolve
from .transport import Connection, Refused, fields

if TYPE_CHECKING:
    from _socket import socket

_ANSWER_GRACE = 2.0  # seconds that an answer may be late beyond what was asked for
_COMPILE_TIMEOUT = 120.0  # seconds until what stops programs is there, where it is compiled for the first time
_EXCLUDED = (
    "execprobe: --execprobe-untraced and --execprobe-attempts=seccomp exclude each other under ptrace: what is not"
    " traced could execute nothing. Leave one of them out, or run where BPF can be had"
)
_OF_TREE = {Exec, Ended}


class _Loss(NamedTuple):
    """Records that were lost, and it is not known whose they were."""

    number: int
    since: int
    until: int
    skipped: int
    unbounded: bool


class HelperSource:
    """A connection to a helper, which watches the tree of the process that made it.

    ``place`` is where the helper was found; without it, it is where the helper says.

    An exception can break into any of this, as that of a signal's handler does: then the connection can still be used,
    and what comes for the request that was broken off is taken in with the next.
    """

    def __init__(self, sock: socket, pid: int, place: str | None = None) -> None:
        self._connection = Connection(sock, self._read)
        self._place = place
        self.pid = pid
        self._lock = originals.RLock()
        self._commands = Commands()
        self._pages: Pages | None = None
        #: Up to when they have shown nothing new: nothing was lost before, which the helper can't know.
        self._settled = 0
        self.root = 0
        self.armed_at = 0
        self.unadopted = 0
        self.orphans = Orphans()
        self.hidden = False
        self._has_lost_sight = False
        self.attempts_refused: str | None = None
        #: What the helper says of itself: BCC's version, attach points, remaining privilege.
        self.description: dict[str, Any] = {}

    # ---- becoming a root ----

    def greet(self, timeout: float) -> None:
        """Reads who the helper is. From then on, and until this is closed, it stays: a connection holds it.

        Raises ProbeUnavailable if the helper has no probe or refuses, SourceLost if it is gone.
        """
        deadline = clock.monotonic() + timeout
        welcome = self._connection.greeting(deadline)
        said = fields(welcome)
        if welcome.type == wire.FAILED:
            raise refused(said)
        if welcome.type != wire.WELCOME:
            raise SourceLost("it did not say who it is")
        self.description = said
        why = said.get("attempts_refused")
        self.attempts_refused = None if why is None else str(why)

    def register(self, *, fresh: bool, timeout: float, child: bool = False, untraced: Sequence[str] = ()) -> None:
        """Makes this process a root. ``fresh``: it has just been forked and has no descendants to adopt. ``child``: it
        was forked by a root, and is not what the helper is there for. ``untraced``: programs that a tracer is to let
        go, by :func:`tracing.untraced_pattern`.

        Raises ProbeUnavailable if the helper has no probe or refuses, SourceLost if it is gone.
        """
        deadline = clock.monotonic() + timeout
        self.greet(timeout)
        traces = self.description.get("backend") == "ptrace"
        if traces:
            tracing.let_trace(int(wire.number(self.description, "pid", 1, 1 << 32)))
            self.description["untraced"] = [*untraced]
            if untraced and self.description.get("attempts"):
                raise ProbeUnavailable(_EXCLUDED)
        before = clock.monotonic_ns()
        for tries_left in (2, 1, 0):
            name = self._claim(deadline, child=child, untraced=untraced)
            if not traces:  # which knows a process by its connection
                _take_name_for_a_moment(name)
            # What is forked from here on is followed.
            fresh = fresh or (not child and children.has_none())
            left = {} if child else children.to_be_sent()
            try:
                armed = self._connection.ask(wire.ARM, {"fresh": fresh, **left}, deadline)
                break
            except Refused as error:
                if not tries_left or error.said.get("again") is not True:
                    raise
        after = clock.monotonic_ns()
        try:
            self.root = wire.whole(armed, "root", 1)
            self.armed_at = wire.whole(armed, "armed_at", 1)
            self.unadopted = wire.whole(armed, "unadopted", 0, 1 << 32)
            self.orphans = _orphans(armed)
            self.hidden = armed.get("hidden") is True
        except wire.WireError as error:
            raise SourceLost(str(error)) from error
        if traces and self._place is None and self.description.get("attempts"):
            self._filter(fresh or armed.get("childless") is True)
        said, descriptors = self._connection.ask_for_descriptors(wire.PAGES, deadline)
        self._pages = pages.given(descriptors, wire.whole(said, "cpus", 0, 1 << 16))
        # Asked only now: a child that /proc did not show has ended before, and so is counted.
        if armed.get("childless") is True and not child and children.has_left_none():
            self.orphans = Orphans()
        if not before <= self.armed_at <= after:
            raise ProbeUnavailable(
                "execprobe: this process's CLOCK_MONOTONIC is not the kernel's, as in a time namespace: execs could not"
                " be assigned to one test or another. Run pytest outside the time namespace"
            )

    def _claim(self, deadline: float, *, child: bool, untraced: Sequence[str]) -> str:
        """Gives the name to take on. Raises ProbeUnavailable and SourceLost."""
        try:
            name = self._connection.ask(wire.CLAIM, {"child": child, "untraced": [*untraced]}, deadline).get("name")
        except Refused as error:
            raise refused(error.said) if "code" in error.said else error from None
        if not isinstance(name, str) or not name.isalnum() or len(name) > 15:
            raise SourceLost("it gave no name to take on")
        return name

    def _filter(self, has_no_child: bool) -> None:
        """Others than who has started the helper have the filter of that."""
        filtering.filter_execs()
        if not has_no_child:
            self.attempts_refused = "what this process had started before the probe has no filter that shows them"

    def in_child(self, *, fresh: bool, timeout: float) -> HelperSource:
        """A connection of its own, as a root inside the old one."""
        self.close()
        place = self._place or "\0" + str(self.description.get("address"))
        try:
            source = HelperSource(meeting.connect(place, timeout), originals.getpid(), place)
            return source.entered(lambda: source.register(fresh=fresh, timeout=timeout, child=True))
        except (OSError, ProbeUnavailable, SourceLost, WrongInterpreter) as error:
            raise SourceLost(f"a forked child could not be registered: {error}") from error

    def entered(self, enter: Callable[[], None]) -> HelperSource:
        """This source, once it was entered; closed if that has failed."""
        try:
            enter()
        except BaseException:
            self.close()
            raise
        return self

    # ---- events ----

    def sync(self, timeout: float, taken: object = LAST) -> Batch:
        return self._pull(wire.SYNC, timeout, taken)

    def wait(self, timeout: float, taken: object = LAST) -> Batch:
        return self._pull(wire.WAIT, timeout, taken)

    def running(self, since: int, timeout: float) -> Running:
        with self._lock:
            deadline = clock.monotonic() + timeout + _ANSWER_GRACE
            try:
                return running(self._connection.ask(wire.RUNNING, {"since": since}, deadline))
            except wire.WireError as error:
                raise SourceLost(f"it sent what can't be read: {error}") from error

    def stop(self, patterns: Sequence[str], since: int, timeout: float) -> None:
        refused = self.description.get("stops_refused", "the probe helper can't stop programs")
        if patterns and refused is not None:
            raise StopError(f"nothing can be stopped before it runs here: {refused}")
        denials = resolve(patterns, by_stat=self.description.get("backend") == "ptrace")
        with self._lock:
            patience = max(timeout, _COMPILE_TIMEOUT) if patterns else timeout
            deadline = clock.monotonic() + patience + _ANSWER_GRACE
            for part in denials.parts():
                try:
                    self._connection.ask(wire.STOP, {"since": since, **part}, deadline)
                except Refused as error:
                    remedy = error.said.get("remedy")
                    why = str(error.said.get("reason")) + (f". Fix: {remedy}" if remedy else "")
                    raise StopError(f"nothing can be stopped before it runs: {why}") from error

    def close(self) -> None:
        self._connection.close()

    def part(self, timeout: float) -> None:
        """Closes it, and remembers what of the tree goes on: the next helper of this process is sent that."""
        try:
            if self._knows_all():
                parting = children.Parting()
                running = self.running(0, timeout)
                self.sync(timeout)  # it would bring what could not be followed until then
                if self._knows_all() and running.count == len(running.listed):
                    parting.remember([(process.pid, process.kernel_pid) for process in running.listed])
        except SourceLost:
            pass
        finally:
            self.close()

    def _knows_all(self) -> bool:
        """Whether every process that this one has started and that has not ended is followed."""
        return not (self.unadopted or self.orphans.count or self.hidden or self._has_lost_sight)

    def _pull(self, type: int, timeout: float, taken: object) -> Batch:
        with self._lock:
            self._connection.forget(taken)
            asked = clock.monotonic_ns()
            if type == wire.SYNC and self.shows_nothing_new(asked, taken):
                return Batch((), asked, mark=taken)
            life = b"" if self._pages is None else self._pages.life
            deadline = asked / 1e9 + timeout + _ANSWER_GRACE
            done = self._connection.ask(type, {"timeout": timeout, "asked": asked}, deadline)
            try:
                at = wire.whole(done, "at")
                in_flight = wire.whole(done, "in_flight", 0, 1 << 32)
                sums = [wire.whole(done, name, -1, 1 << 63) for name in ("seen", "entered")]
            except wire.WireError as error:
                raise SourceLost(str(error)) from error
            answered = clock.monotonic_ns()
            if type == wire.SYNC and not asked <= at <= answered:
                raise SourceLost(
                    "its CLOCK_MONOTONIC is not this process's, as where it was started in a time namespace: what it"
                    " calls complete need not be"
                )
            if type == wire.SYNC and self._pages is not None:
                self._pages.expect([] if -1 in sums else sums, life)
            kept, mark = self._connection.kept()
            events, losses = _parted(kept)
            return Batch(
                events,
                min(asked, at),
                in_flight,
                unplaced=sum(loss.number for loss in losses),
                unplaced_from=max(self._settled, min(loss.since for loss in losses)) if losses else 0,
                unplaced_to=max((loss.until for loss in losses), default=0),
                skipped=sum(loss.skipped for loss in losses),
                unbounded=any(loss.unbounded for loss in losses),
                mark=mark,
            )

    def shows_nothing_new(self, until: int, taken: object) -> bool:
        if self._pages is None or not self._pages.show_nothing_new() or not self._connection.has_taken(taken):
            return False
        self._settled = until
        return True

    def _read(self, frame: wire.Frame) -> Sequence[Event | _Loss]:
        """What is kept of a frame until it is in a batch that was taken in. Raises WireError."""
        if frame.type in (wire.EVENTS, wire.PACKED):
            found: Sequence[Event | _Loss] = decode(wire.events_of(frame), self.root, self._commands)
        else:
            found = _losses(frame) if frame.type == wire.SYNCED and self.root else []
        if not _OF_TREE.issuperset(map(type, found)):
            self._has_lost_sight = True  # what could not be followed was not, for all that is known
        return found


def _parted(kept: Sequence[Event | _Loss]) -> tuple[tuple[Event, ...], list[_Loss]]:
    """Mostly there is no loss, which is soon seen."""
    losses = [one for one in kept if isinstance(one, _Loss)] if _Loss in set(map(type, kept)) else []
    return tuple([one for one in kept if not isinstance(one, _Loss)] if losses else kept), losses  # type: ignore[arg-type]


def _losses(frame: wire.Frame) -> list[_Loss]:
    """What the end of an answer says of lost records. Raises WireError."""
    fields = frame.json()
    number = wire.whole(fields, "unplaced")
    since = wire.whole(fields, "unplaced_from")
    skipped = wire.whole(fields, "skipped", 0, number)
    unbounded = fields.get("unbounded") is not False
    return [_Loss(number, since, clock.monotonic_ns(), skipped, unbounded)] if number else []


def in_words(description: Mapping[str, Any]) -> str:
    """What a probe helper says of itself, in a line."""
    if description.get("backend") == "ptrace":
        rights = "" if description.get("privilege") == "root" else "setuid programs run without their privilege, and "
        instead = description.get("instead")
        untraced = ", ".join(map(str, description.get("untraced") or ()))
        return (
            f"ptrace on Linux {description.get('kernel')}, by {description.get('privilege')}: {rights}no debugger runs"
            + (f" but these, untraced: {untraced}" if untraced else "")
            + ("; failed execs by a seccomp filter, which stays" if description.get("attempts") else "")
            + (f"; no BPF: {instead}" if instead else "")
        )
    begun = " and ".join(map(str, description.get("entry") or ())) or "nothing"
    failed = description.get("attempts")
    return (
        f"BCC {description.get('bcc')} on Linux {description.get('kernel')}; execs by sched_process_exec, their begin"
        f" by {begun}, failed ones {f'by {failed}' if failed else 'not recorded'}; helper {description.get('route')},"
        f" now {description.get('privilege')}"
    )


def _orphans(armed: dict[str, Any]) -> Orphans:
    """Of an ARMED. Raises WireError."""
    listed = armed.get("listed")
    if not isinstance(listed, list) or len(listed) > wire.ORPHANS_LISTED:
        raise wire.WireError("the field 'listed' must be a list of a few processes")
    found = []
    for one in listed:
        if not isinstance(one, list) or len(one) != 3:
            raise wire.WireError("an orphan is a list of three")
        fields = dict(zip(("pid", "age", "command"), one, strict=True))
        command = fields["command"]
        if command is not None and (not isinstance(command, str) or len(command) > wire.COMMAND_MAX):
            raise wire.WireError("an orphan's command line must be a short text")
        pid = None if fields["pid"] is None else wire.whole(fields, "pid", 1, 1 << 32)
        found.append(Orphan(pid, wire.number(fields, "age", 0, 1 << 40), command))
    return Orphans(wire.whole(armed, "orphans", len(found), 1 << 32), tuple(found))


def _take_name_for_a_moment(name: str) -> None:
    """Shows the kernel side which process this is: it sees the task that takes the name, whatever its pid is."""
    file = originals.open_file("/proc/thread-self/comm", O_RDWR | O_CLOEXEC)
    try:
        old = originals.pread(file, 32, 0).rstrip(b"\n")
        originals.write(file, name.encode())
        originals.lseek(file, 0, SEEK_SET)
        originals.write(file, old)
    finally:
        originals.close(file)
