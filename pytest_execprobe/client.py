"""The plugin's end of the wire: starts a probe helper, registers this process as a root, and pulls its events."""

from __future__ import annotations

import errno
import itertools
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import O_CLOEXEC, O_RDWR, SEEK_SET
from pathlib import Path
from select import POLLIN
from socket import AF_UNIX, SO_SNDTIMEO, SOCK_STREAM, SOL_SOCKET
from typing import TYPE_CHECKING, Any, NamedTuple

from . import children, clock, meeting, originals
from .connection import Connection, Gone
from .decode import decode, running
from .errors import ProbeObstructed, ProbeUnavailable, SourceLost
from .events import LAST, Batch, Blind, Event, Orphan, Orphans, Running
from .helper import handshake, wire
from .launch import (
    PYTHON_VARIABLE,
    Launched,
    bpf_folder,
    helper_command,
    helper_environment,
    interpreters,
    no_interpreter,
    privilege_route,
)

if TYPE_CHECKING:
    from _socket import socket

_NAMED_BY = f"--execprobe-python, {PYTHON_VARIABLE} or ini execprobe_python"
_START_TIMEOUT = 120.0  # seconds; loading takes half a second here, and ten under an emulated CPU
_CALL_TIMEOUT = 10.0  # seconds that the helper has to call, once its launcher has ended
_WELCOME_TIMEOUT = 30.0  # seconds; a helper that runs already answers at once, unless it is just starting
_ANSWER_GRACE = 2.0  # seconds that an answer may be late beyond what was asked for
_MAX_FRAME = wire.MAX_REPLY + (64 << 10)
_LAST_WORDS = 0.5  # seconds to read what a helper has said before it hung up; it is there already
_PYTHON = re.compile(r"(platform-)?python[0-9.]*")
_CALLED = re.compile(f"{meeting.PREFIX}[0-9a-f]+")
_PROOF_TIMEOUT = 2.0  # seconds that who calls has to show that it is the helper
_ROOM_TIMEOUT = 10.0  # seconds to wait for room in a run's helper's queue, which is empty most of the time
_TRIES = 20  # at one name to find a run's helper, or to start it, while those of others come and go
_NAMES = 50  # that strangers may have taken
_PAUSE = 0.01  # seconds
#: What a helper, or who was to start it, says where that is not for good.
_OBSTRUCTED = ("busy", "obstructed")


@dataclass(frozen=True)
class HelperSettings:
    """How to run the helper; None is its own default.

    ``shared`` is a secret of the processes of a run (:func:`meeting.new_secret`): the first starts a helper, and the
    others use that, whatever their own settings are. ``address`` is that of a helper that runs already, a path or ``@``
    and an abstract name: then none is started. ``environment`` is what to start it with, None for this process's own as
    it is then.
    """

    python: str | None = None
    attempts: str | None = None
    pages: int | None = None
    procs: int | None = None
    shared: str | None = None
    address: str | None = None
    environment: Mapping[str, str] | None = field(default=None, compare=False, repr=False)


def is_helper(argv: tuple[str, ...] | None) -> bool:
    """Whether a command line is that of a probe helper, with or without sudo before it: no user's log shows one.

    All of it must be so, and not some words in it: what a shell is given as further arguments hides nothing.
    """
    if argv is not None and argv[1:3] == ("-n", "--") and originals.basename(argv[0]) == "sudo":
        argv = argv[3:]
    return (
        argv is not None
        and len(argv) >= 6
        and _PYTHON.fullmatch(originals.basename(argv[0])) is not None
        and argv[1:3] == ("-I", "-B")
        and argv[3].endswith("/pytest_execprobe/helper")
        and argv[4] == "--connect"
        and _CALLED.fullmatch(argv[5]) is not None
    )


def start_helper(settings: HelperSettings) -> HelperSource:
    """A helper that watches this process. Raises ProbeUnavailable with the reason and the remedy."""
    return _reach(settings, lambda source, timeout: source.register(fresh=False, timeout=timeout))


def hold_helper(settings: HelperSettings) -> HelperSource:
    """Keeps a helper alive for others until it is closed: this process is not watched. Raises ProbeUnavailable."""
    return _reach(settings, lambda source, timeout: source.greet(timeout))


_Enter = Callable[["HelperSource", float], None]


class _WrongInterpreter(Exception):
    """This interpreter has no BCC; another may."""


class _Nobody(Exception):
    """No helper listens, or it was just ending."""


class _Stranger(SourceLost):
    """Another user's process listens there, or nobody lets this one in: it need not be a helper."""


# ---- a helper that runs already ----


def _reach(settings: HelperSettings, enter: _Enter) -> HelperSource:
    """A helper as the settings ask for, once ``enter`` was through with it."""
    here = originals.platform
    if here != "linux":
        raise ProbeUnavailable(f"execprobe: needs Linux, and this is {here}: BPF is a part of the Linux kernel")
    try:
        return _find(settings, enter)
    except OSError as error:  # not the helper's, but this process's own
        raise ProbeUnavailable(f"execprobe: {_lacking(error)}") from error


def _lacking(error: OSError) -> str:
    if error.filename is not None and not str(error.filename).startswith("/proc/"):
        return (
            f"user {originals.geteuid()} can't run {error.filename}, which starts the helper: {error.strerror}. Mend"
            f" that, or name another interpreter: {_NAMED_BY}"
        )
    return (
        f"this process lacks what it takes to have a helper: {error}. It needs /proc, may have to start a program, and"
        " opens five files: has a test, or a limit (ulimit -n), taken one of these away?"
    )


def _find(settings: HelperSettings, enter: _Enter) -> HelperSource:
    if settings.address is not None:
        return _use_running(settings.address, enter)
    if settings.shared is None:
        return _start(settings, _listen_anew(), enter)
    for name in itertools.islice(meeting.names(settings.shared), _NAMES):
        source = _find_at(name, settings, enter)
        if source is not None:
            return source
    raise ProbeObstructed(
        f"execprobe: this run's helper could neither be reached nor started at any of {_NAMES} addresses: other"
        " processes have taken them. Run without -n, or report this"
    )


def _listen_anew() -> socket:
    while True:
        listener = meeting.listen(meeting.new_name())
        if listener is not None:  # as always: it is random
            return listener


def _find_at(name: str, settings: HelperSettings, enter: _Enter) -> HelperSource | None:
    """The run's helper, where that listens at this name or can be started there; None if the name is a stranger's."""
    for _ in range(_TRIES):
        try:
            return _connect("\0" + name, enter, _START_TIMEOUT, _ROOM_TIMEOUT)
        except _Nobody:
            pass
        except _Stranger:
            return None
        except SourceLost as error:
            raise ProbeObstructed(
                f"execprobe: this run's helper, at @{name}, is of no use: {error}. Start pytest again: each run takes"
                " other names"
            ) from error
        listener = meeting.listen(name)
        if listener is not None:
            return _start(settings, listener, enter)
        originals.poll().poll(1000 * _PAUSE)  # another process has just bound it, and does not listen yet
    return None


def _use_running(address: str, enter: _Enter) -> HelperSource:
    # A test may change the folder, and a child that it forks is to find the helper all the same.
    place = "\0" + address[1:] if address.startswith("@") else originals.abspath(address)
    try:
        return _connect(place, enter, _WELCOME_TIMEOUT, _WELCOME_TIMEOUT)
    except (_Nobody, SourceLost) as error:
        kind = ProbeObstructed if isinstance(error, SourceLost) else ProbeUnavailable
        raise kind(
            f"execprobe: there is no helper to be used at {address} (--execprobe-helper): {error}. Name one that runs,"
            " or leave the option out: then pytest starts one of its own"
        ) from error


def _connect(place: str, enter: _Enter, timeout: float, room_timeout: float) -> HelperSource:
    """Raises _Nobody where another helper may be had, SourceLost where what listens is none."""
    try:
        sock = _connection(place, room_timeout)
    except PermissionError as error:
        raise _Nobody(
            "its socket does not let this user in (Permission denied): who may use it is made a member of the socket's"
            " group, and logs in anew"
        ) from error
    except OSError as error:
        raise _Nobody(f"nobody could be reached there ({error.strerror or error})") from error
    source = HelperSource(sock, originals.getpid(), place)
    try:
        enter(source, timeout)
    except Gone as error:
        source.close()
        raise _Nobody("who listened there hung up") from error
    except _WrongInterpreter as error:
        source.close()
        raise _Nobody(f"who listened there could not start ({error})") from error
    except BaseException:
        source.close()
        raise
    return source


def _connection(place: str, timeout: float) -> socket:
    """A connection to whoever listens there, if that is root or this user: names can be read by all, and taken.

    A run's helper listens at a socket that was made by who started it, and a service at root's. Raises OSError if
    nobody listens, SourceLost if a stranger does, or nobody has room for this one in time.
    """
    sock = originals.socket(AF_UNIX, SOCK_STREAM)
    try:
        wire.take_no_descriptors(sock)
        _connect_whole(sock, place, timeout)
        _, uid, _ = wire.credentials(sock)
        if not _is_trusted(uid):
            raise _Stranger(
                f"who listens there is user {uid}, and only root or this user, {originals.geteuid()}, is taken for a"
                " helper"
            )
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_whole(sock: socket, place: str, timeout: float) -> None:
    deadline = clock.monotonic() + timeout
    while (remaining := deadline - clock.monotonic()) > 0:
        # Not by settimeout(), with which this would have to ask again and again: who waits in the kernel has a place in
        # its queue.
        sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, _timeval(max(remaining, 0.001)))
        try:
            sock.connect(place)
            sock.getpeername()
        except BlockingIOError:
            break
        except OSError as error:
            # A signal breaks into it, and Python takes that for a connection that is on its way.
            if error.errno != errno.ENOTCONN:
                raise
        else:
            sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, _timeval(0))
            return
    raise _Stranger("as many as can wait to be let in do so, and none is")


def _timeval(seconds: float) -> bytes:
    """As setsockopt() takes it; all zeros are for ever."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))


def _is_trusted(uid: int) -> bool:
    return uid in (0, originals.geteuid())


# ---- a helper that is started ----


def _start(settings: HelperSettings, listener: socket, enter: _Enter) -> HelperSource:
    """A helper that serves this socket. Those who wait there meanwhile are told why if none can be had."""
    try:
        try:
            bpf = bpf_folder()
            prefix = privilege_route("pytest", environment=settings.environment)
            tried: list[str] = []
            for python in interpreters(settings.python, _NAMED_BY, settings.environment):
                try:
                    return _start_with(python, prefix, bpf, settings, listener, enter)
                except _WrongInterpreter as error:
                    tried.append(f"{python}: {error}")
            raise no_interpreter(tried, "--execprobe-python")
        except ProbeUnavailable as error:
            code = "obstructed" if isinstance(error, ProbeObstructed) else "not-started"
            meeting.refuse(listener, originals.geteuid(), code, str(error).removeprefix("execprobe: "))
            raise
    finally:
        listener.close()


def _start_with(
    python: str, prefix: list[str], bpf: Path, settings: HelperSettings, served: socket, enter: _Enter
) -> HelperSource:
    name = meeting.new_name()
    command = helper_command(prefix, python, "--connect", name, "--bpf", str(bpf))
    for option, value in (
        ("--attempts", settings.attempts),
        ("--pages", settings.pages),
        ("--procs", settings.procs),
    ):
        if value is not None:
            command += [option, str(value)]
    tokens = handshake.new_tokens()
    words = originals.memfd_create("execprobe-stderr")
    try:
        listener = originals.socket(AF_UNIX, SOCK_STREAM)
        try:
            wire.take_no_descriptors(listener)
            listener.bind("\0" + name)
            listener.listen(1)
            proof = handshake.as_standard_input(tokens)
            try:
                process = Launched(command, helper_environment(settings.environment), proof, words)
            finally:
                originals.close(proof)
            sock = _await_call(process, listener, lambda sock: handshake.admit(sock, tokens, served, _PROOF_TIMEOUT))
        finally:
            listener.close()
        if sock is None:
            said = originals.pread(words, 2000, 0).decode("utf-8", "replace").strip()
            raise _not_started(process, prefix, said)
    finally:
        originals.close(words)
    source = HelperSource(sock, originals.getpid())
    try:
        enter(source, _START_TIMEOUT)
    except SourceLost as error:
        source.close()
        raise ProbeObstructed(f"execprobe: the probe helper was lost while it started: {error}") from error
    except BaseException:
        source.close()
        raise
    return source


def _await_call(process: Launched, listener: socket, admit: Callable[[socket], bool]) -> socket | None:
    """The helper's connection; None if its launcher failed, or the helper has not called.

    The launcher (python, or sudo) ends at once: the helper itself becomes a daemon, no child of this process, so
    that a test which waits for any child does not meet it. Raises ProbeObstructed if others were in its way.
    """
    deadline = clock.monotonic() + _START_TIMEOUT
    strangers = 0
    launcher = originals.pidfd_open(process.pid)
    try:
        watched = originals.poll()
        watched.register(listener, POLLIN)
        watched.register(launcher, POLLIN)
        while (remaining := deadline - clock.monotonic()) > 0:
            ready = [fd for fd, _ in watched.poll(remaining * 1000)]
            if listener.fileno() in ready:
                sock = wire.accept(listener)
                _, uid, _ = wire.credentials(sock)
                if _is_trusted(uid) and admit(sock):
                    process.reap()
                    return sock
                sock.close()
                strangers += 1
            elif launcher in ready:
                if process.reap() != 0:
                    return None
                watched.unregister(launcher)
                # The helper has left it and is about to call; a program that is no Python has not, and nobody will.
                deadline = min(deadline, clock.monotonic() + _CALL_TIMEOUT)
    finally:
        originals.close(launcher)
    _give_up_waiting(process, strangers)
    return None


def _give_up_waiting(process: Launched, strangers: int) -> None:
    running = process.give_up()
    if running or strangers:
        why = "is still on its way" if running else "has not called back"
        others = f", while {strangers} other processes called in its place" if strangers else ""
        raise ProbeObstructed(f"execprobe: the probe helper was started and {why}{others}. Start pytest again")


def _not_started(process: Launched, prefix: list[str], said: str) -> Exception:
    refusal = handshake.read_refusal(process.reap(), said)
    if refusal is not None:
        return _refused(refusal)
    if prefix and "sudo:" in said:
        return ProbeUnavailable(
            f"execprobe: the probe needs privilege, and sudo refused it without a password ({said.splitlines()[-1]})."
            " Run pytest as root, or allow this user to run the helper without one (docs/privilege.md has the line)"
        )
    last = said.splitlines()[-1] if said else f"it ended with status {process.reap()}"
    return _WrongInterpreter(f"the helper did not start ({last})")


class _Loss(NamedTuple):
    """Records that were lost, and it is not known whose they were."""

    number: int
    since: int
    until: int
    passed_over: int
    unbounded: bool


class _Inbox(NamedTuple):
    """What has come from the helper. It is replaced as a whole, so that an exception which breaks in leaves the old one
    or the new one."""

    #: As the socket has given it, and not cut into frames yet.
    received: list[bytes]
    #: Of a frame that has not come whole.
    rest: bytes
    #: What was received, in this order; only the first ``kept`` count, for behind them may be what was broken off.
    journal: list[Event | _Loss]
    kept: int = 0
    #: The last frame of another kind, and the one that says that the helper has failed.
    answer: wire.Frame | None = None
    failure: wire.Frame | None = None
    #: The mark of the last batch, and how much of the journal was in it.
    given: tuple[object, int] = (None, 0)


class HelperSource:
    """A connection to a helper, which watches the tree of the process that made it.

    ``place`` is where the helper was found; without it, it is where the helper says.

    An exception can break into any of this, as that of a signal's handler does: then the connection can still be used,
    and what comes for the request that was broken off is taken in with the next.
    """

    def __init__(self, sock: socket, pid: int, place: str | None = None) -> None:
        self._connection = Connection(sock)
        self._place = place
        self.pid = pid
        self._lock = originals.RLock()
        self._request = 0
        self._inbox = _Inbox([], b"", [])
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
        """Hears who the helper is. From then on, and until this is closed, it stays: a connection holds it.

        Raises ProbeUnavailable if the helper has no probe or refuses, SourceLost if it is gone.
        """
        deadline = clock.monotonic() + timeout
        while (welcome := self._inbox.failure or self._inbox.answer) is None:
            self._take_in(deadline)
        fields = _fields(welcome)
        if welcome.type == wire.FAILED:
            raise _refused(fields)
        if welcome.type != wire.WELCOME:
            raise SourceLost("it did not say who it is")
        self.description = fields
        refused = fields.get("attempts_refused")
        self.attempts_refused = None if refused is None else str(refused)

    def register(self, *, fresh: bool, timeout: float, child: bool = False) -> None:
        """Makes this process a root. ``fresh``: it has just been forked and has no descendants to adopt. ``child``: it
        was forked by a root, and is not what the helper is there for.

        Raises ProbeUnavailable if the helper has no probe or refuses, SourceLost if it is gone.
        """
        deadline = clock.monotonic() + timeout
        self.greet(timeout)
        before = clock.monotonic_ns()
        name = self._ask(wire.CLAIM, {"child": child}, deadline).get("name")
        if not isinstance(name, str) or not name.isalnum() or len(name) > 15:
            raise SourceLost("it gave no name to take on")
        _take_name_for_a_moment(name)
        # What is forked from here on is followed.
        fresh = fresh or (not child and children.has_none())
        armed = self._ask(wire.ARM, {"fresh": fresh, **({} if child else children.to_be_sent())}, deadline)
        after = clock.monotonic_ns()
        try:
            self.root = int(wire.number(armed, "root", 1, 1 << 63))
            self.armed_at = int(wire.number(armed, "armed_at", 1, 1 << 63))
            self.unadopted = int(wire.number(armed, "unadopted", 0, 1 << 32))
            self.orphans = _orphans(armed)
            self.hidden = armed.get("hidden") is True
        except wire.WireError as error:
            raise SourceLost(str(error)) from error
        # Asked only now: a child that /proc did not show has ended before, and so is counted.
        if armed.get("childless") is True and not child and children.has_left_none():
            self.orphans = Orphans()
        if not before <= self.armed_at <= after:
            raise ProbeUnavailable(
                "execprobe: this process's CLOCK_MONOTONIC is not the kernel's, as in a time namespace: execs could not"
                " be told to belong to one test or another. Run pytest outside the time namespace"
            )

    def in_child(self, *, fresh: bool, timeout: float) -> HelperSource:
        """For a forked child: a connection of its own, as a root inside the old one. ``fresh``: it has no child yet."""
        self.close()
        place = self._place or "\0" + str(self.description.get("address"))
        try:
            source = HelperSource(_connection(place, timeout), originals.getpid(), place)
            try:
                source.register(fresh=fresh, timeout=timeout, child=True)
            except BaseException:
                source.close()
                raise
        except (OSError, ProbeUnavailable, SourceLost, _WrongInterpreter) as error:
            raise SourceLost(f"a forked child could not be registered: {error}") from error
        return source

    # ---- events ----

    def sync(self, timeout: float, taken: object = LAST) -> Batch:
        return self._pull(wire.SYNC, timeout, taken)

    def wait(self, timeout: float, taken: object = LAST) -> Batch:
        return self._pull(wire.WAIT, timeout, taken)

    def running(self, since: int, timeout: float) -> Running:
        with self._lock:
            deadline = clock.monotonic() + timeout + _ANSWER_GRACE
            try:
                return running(self._ask(wire.RUNNING, {"since": since}, deadline))
            except wire.WireError as error:
                raise SourceLost(f"it sent what can't be read: {error}") from error

    def close(self) -> None:
        self._connection.close()

    def part(self, timeout: float) -> None:
        """Closes it, and remembers what of the tree goes on: the next helper of this process is told."""
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
            self._drop(taken)
            asked = clock.monotonic_ns()
            deadline = asked / 1e9 + timeout + _ANSWER_GRACE
            done = self._ask(type, {"timeout": timeout}, deadline)
            try:
                complete_to = int(wire.number(done, "at", 0, 1 << 63))
                under_way = int(wire.number(done, "under_way", 0, 1 << 32))
            except wire.WireError as error:
                raise SourceLost(str(error)) from error
            answered = clock.monotonic_ns()
            if type == wire.SYNC and not asked <= complete_to <= answered:
                raise SourceLost(
                    "its CLOCK_MONOTONIC is not this process's, as where it was started in a time namespace: what it"
                    " calls complete need not be"
                )
            return self._batch(complete_to, under_way)

    def _drop(self, taken: object) -> None:
        """Forgets what the caller has taken in."""
        inbox = self._inbox
        mark, number = inbox.given
        if taken is mark or taken is LAST:
            journal = inbox.journal[number : inbox.kept]
            self._inbox = inbox._replace(journal=journal, kept=len(journal), given=(None, 0))

    def _batch(self, complete_to: int, under_way: int) -> Batch:
        """All that has come and has not been taken in."""
        inbox, mark = self._inbox, object()
        entries = inbox.journal[: inbox.kept]
        losses = [entry for entry in entries if isinstance(entry, _Loss)]
        batch = Batch(
            tuple(entry for entry in entries if not isinstance(entry, _Loss)),
            complete_to,
            under_way,
            unplaced=sum(loss.number for loss in losses),
            unplaced_from=min((loss.since for loss in losses), default=0),
            unplaced_to=max((loss.until for loss in losses), default=0),
            passed_over=sum(loss.passed_over for loss in losses),
            unbounded=any(loss.unbounded for loss in losses),
            mark=mark,
        )
        self._inbox = inbox._replace(given=(mark, inbox.kept))
        return batch

    # ---- frames ----

    def _ask(self, type: int, payload: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Sends a request and returns the fields of its answer. Events on the way are kept for the next batch."""
        self._request += 1
        request = self._request
        try:
            self._connection.send(wire.frame(type, request, payload), self._inbox.received, deadline)
        except Gone as error:
            self._hear_last_words()
            raise Gone(self._failure() or str(error)) from error
        while True:
            answer, failure = self._inbox.answer, self._failure()
            if answer is not None and answer.request == request:  # not of one that an exception broke off
                break
            if failure is not None:
                raise SourceLost(failure)
            self._take_in(deadline)
        fields = _fields(answer)
        if answer.type == wire.ERROR:
            raise SourceLost(f"it refused: {fields.get('reason')}")
        return fields

    def _failure(self) -> str | None:
        """Why the helper has failed, if it has said so."""
        return None if self._inbox.failure is None else _why_failed(_fields(self._inbox.failure))

    def _hear_last_words(self) -> None:
        deadline = clock.monotonic() + _LAST_WORDS
        try:
            while self._inbox.failure is None:
                self._take_in(deadline)
        except SourceLost:
            pass

    def _take_in(self, deadline: float) -> None:
        """Receives, unless what was received before has still to be taken in."""
        inbox = self._inbox
        if not inbox.received:
            self._connection.receive(inbox.received, deadline)
        del inbox.journal[inbox.kept :]
        answer, failure = inbox.answer, inbox.failure
        try:
            frames, rest = wire.cut(inbox.rest + b"".join(inbox.received), wire.REPLIES, _MAX_FRAME)
            for frame in frames:
                if frame.type == wire.EVENTS:
                    records = wire.split_events(frame.payload)
                    decoded = [decode(record, self.root, lost) for record, lost in records]
                    inbox.journal.extend([event for event in decoded if event is not None])
                elif frame.type == wire.FAILED:
                    failure = frame
                else:
                    answer = frame
                if frame.type == wire.SYNCED and self.root:
                    inbox.journal.extend(_losses(frame))
        except wire.WireError as error:
            raise SourceLost(f"it sent what can't be read: {error}") from error
        if [entry for entry in inbox.journal[inbox.kept :] if isinstance(entry, (Blind, _Loss))]:
            self._has_lost_sight = True  # what could not be followed was not, for all that is known
        self._inbox = inbox._replace(received=[], rest=rest, kept=len(inbox.journal), answer=answer, failure=failure)


def _losses(frame: wire.Frame) -> list[_Loss]:
    """What the end of an answer says of lost records. Raises WireError."""
    fields = frame.json()
    number = int(wire.number(fields, "unplaced", 0, 1 << 63))
    since = int(wire.number(fields, "unplaced_from", 0, 1 << 63))
    passed_over = int(wire.number(fields, "passed_over", 0, number))
    unbounded = fields.get("unbounded") is not False
    return [_Loss(number, since, clock.monotonic_ns(), passed_over, unbounded)] if number else []


def _fields(frame: wire.Frame) -> dict[str, Any]:
    try:
        return frame.json()
    except wire.WireError as error:
        raise SourceLost(f"it sent what can't be read: {error}") from error


def _refused(fields: dict[str, Any]) -> Exception:
    """What a helper that has no probe says."""
    reason, remedy = str(fields.get("reason")), str(fields.get("remedy"))
    if fields.get("code") in ("no-bcc", "wrong-bcc"):
        return _WrongInterpreter(reason)
    kind = ProbeObstructed if fields.get("code") in _OBSTRUCTED else ProbeUnavailable
    return kind(f"execprobe: {reason}" + (f". To mend it: {remedy}" if remedy else ""))


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
        pid = None if fields["pid"] is None else int(wire.number(fields, "pid", 1, 1 << 32))
        found.append(Orphan(pid, wire.number(fields, "age", 0, 1 << 40), command))
    return Orphans(int(wire.number(armed, "orphans", len(found), 1 << 32)), tuple(found))


def _why_failed(fields: dict[str, Any]) -> str:
    return f"it {'ended' if fields.get('code') == 'service-ended' else 'failed'}: {fields.get('reason')}"


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
