"""How a process finds the helper of its run, or starts one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from select import POLLIN
from socket import AF_UNIX, SOCK_STREAM
from typing import TYPE_CHECKING

from .._util import clock, originals
from ..errors import ProbeObstructed, ProbeUnavailable, SourceLost
from ..helper import handshake, peers
from . import meeting
from .launch import (
    PYTHON_VARIABLE,
    Launcher,
    WrongInterpreter,
    bpf_folder,
    helper_command,
    helper_environment,
    interpreters,
    no_interpreter,
    privilege_route,
    refused,
)

if TYPE_CHECKING:
    from _socket import socket

    from .client import HelperSource

_NAMED_BY = f"--execprobe-python, {PYTHON_VARIABLE} or ini execprobe_python"
_START_TIMEOUT = 120.0  # seconds; loading takes half a second here, and ten under an emulated CPU
_CONNECT_TIMEOUT = 10.0  # seconds that the helper has to connect, once its launcher has ended
_WELCOME_TIMEOUT = 30.0  # seconds; a helper that runs already answers at once, unless it is just starting
_PROOF_TIMEOUT = 2.0  # seconds that a peer has to show that it is the helper
_ROOM_TIMEOUT = 10.0  # seconds to wait for room in a run's helper's queue, which is empty most of the time
_TRIES = 20  # at one name to find a run's helper, or to start it, while those of others come and go
_NAMES = 50  # that strangers may have taken
_PAUSE = 0.01  # seconds


@dataclass(frozen=True)
class HelperSettings:
    """How to run the helper; None is its own default.

    ``shared`` is a secret of the processes of a run (:func:`meeting.new_secret`): the first starts a helper, and the
    others use that, whatever their own settings are. ``address`` is that of a helper that runs already, a path or ``@``
    and an abstract name: then none is started. ``backend`` is bpf, ptrace, or auto for BPF where that can be had and
    else ptrace. ``untraced`` are programs that ptrace is to let go. ``environment`` is what to start it with, None for
    this process's own.
    """

    python: str | None = None
    attempts: str | None = None
    pages: int | None = None
    procs: int | None = None
    shared: str | None = None
    address: str | None = None
    backend: str = "auto"
    untraced: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = field(default=None, compare=False, repr=False)
    #: What to do while a helper starts, in pieces: between them it is let in.
    meanwhile: Callable[[], Iterator[bool]] = field(default=lambda: iter(()), compare=False, repr=False)


def start_helper(settings: HelperSettings) -> HelperSource:
    """A helper that watches this process. Raises ProbeUnavailable with the reason and the remedy."""

    def register(source: HelperSource, timeout: float) -> None:
        source.register(fresh=False, timeout=timeout, untraced=settings.untraced)

    return _reach(settings, register)


def start_first_helper(settings: HelperSettings) -> HelperSource | ProbeUnavailable:
    """The same, before there is anything that could make use of it, so that the import of that can wait."""
    try:
        return start_helper(settings)
    except ProbeUnavailable as error:
        return error


def hold_helper(settings: HelperSettings) -> HelperSource:
    """Keeps a helper alive for others until it is closed: this process is not watched. Raises ProbeUnavailable."""
    return _reach(settings, lambda source, timeout: source.greet(timeout))


_Enter = Callable[["HelperSource", float], None]


class _NoHelper(Exception):
    """No helper listens, or it was just ending."""


def _source(sock: socket, place: str | None = None) -> HelperSource:
    from .client import HelperSource  # while the helper starts, which takes longer

    return HelperSource(sock, originals.getpid(), place)


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
    if settings.backend == "ptrace":
        return _trace(settings, enter, None)
    try:
        return _find_privileged(settings, enter)
    except ProbeObstructed:
        raise
    except ProbeUnavailable as error:
        if settings.backend == "bpf":
            raise
        why = str(error).removeprefix("execprobe: ")
    try:
        return _trace(settings, enter, why)
    except ProbeObstructed:
        raise
    except ProbeUnavailable as error:
        raise ProbeUnavailable(
            f"execprobe: {why}. Nor is there a probe without privilege: {str(error).removeprefix('execprobe: ')}"
        ) from None


def _find_privileged(settings: HelperSettings, enter: _Enter) -> HelperSource:
    if settings.shared is None:
        return _start(settings, _listen_anew()[0], enter)
    for name in itertools.islice(meeting.names(settings.shared), _NAMES):
        source = _find_at(name, settings, enter)
        if source is not None:
            return source
    raise ProbeObstructed(
        f"execprobe: this run's helper could neither be reached nor started at any of {_NAMES} addresses: other"
        " processes have taken them. Run without -n, or report this"
    )


def _listen_anew() -> tuple[socket, str]:
    while True:
        name = meeting.new_name()
        listener = meeting.listen(name)
        if listener is not None:  # as always: it is random
            return listener, name


def _find_at(name: str, settings: HelperSettings, enter: _Enter) -> HelperSource | None:
    """The run's helper, where that listens at this name or can be started there; None if the name is a stranger's."""
    for _ in range(_TRIES):
        try:
            return _connect("\0" + name, enter, _START_TIMEOUT, _ROOM_TIMEOUT)
        except _NoHelper:
            pass
        except meeting.Stranger:
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
    except (_NoHelper, SourceLost) as error:
        kind = ProbeObstructed if isinstance(error, SourceLost) else ProbeUnavailable
        raise kind(
            f"execprobe: there is no helper to be used at {address} (--execprobe-helper): {error}. Name one that runs,"
            " or leave the option out: then pytest starts one of its own"
        ) from error


def _connect(place: str, enter: _Enter, timeout: float, room_timeout: float) -> HelperSource:
    """Raises _NoHelper where another helper may be had, SourceLost where what listens is none."""
    from .transport import Gone

    try:
        sock = meeting.connect(place, room_timeout)
    except PermissionError as error:
        raise _NoHelper(
            "its socket does not let this user in (Permission denied): who may use it is made a member of the socket's"
            " group, and logs in anew"
        ) from error
    except OSError as error:
        raise _NoHelper(f"no process could be reached there ({error.strerror or error})") from error
    source = _source(sock, place)
    try:
        return source.entered(lambda: enter(source, timeout))
    except Gone as error:
        raise _NoHelper("the process that listened there closed the connection") from error
    except WrongInterpreter as error:
        raise _NoHelper(f"the process that listened there could not start ({error})") from error


# ---- a helper that traces ----


def _trace(settings: HelperSettings, enter: _Enter, instead: str | None) -> HelperSource:
    """One that watches without privilege. ``instead``: why there is none with it, None if it was not to be had.

    Each process has its own, for a tracer is one thread; but a process has only one: what a run starts whose processes
    are traced registers with the helper that traces it.
    """
    try:
        from . import tracing
    except ImportError as error:  # in a test that has become another user
        user = originals.geteuid()
        raise ProbeUnavailable(f"execprobe: user {user} can't read this package any more: {error}") from error

    source = None
    while source is None and (tracer := tracing.outer()) is not None:
        try:
            source = _connect("\0" + tracer.address, enter, _WELCOME_TIMEOUT, _WELCOME_TIMEOUT)
        except (_NoHelper, SourceLost) as error:
            if not tracing.has_ended(tracer.pid):
                raise ProbeUnavailable(
                    f"execprobe: the helper that traces this process, process {tracer.pid}, can't be reached: {error}"
                ) from error
    source = source or _start_tracing(settings, enter)
    source.description["instead"] = instead
    return source


def _start_tracing(settings: HelperSettings, enter: _Enter) -> HelperSource:
    # What the user names has BCC, and this has no need of that; but where it is all that is wanted, it is that.
    named = (settings.python if settings.backend == "ptrace" else None) or originals.executable or settings.python
    python = interpreters(named, _NAMED_BY, settings.environment)[0]
    listener, name = _listen_anew()
    try:
        return _start_with(python, [], ["--backend", "ptrace", "--address", name], settings, listener, enter)
    except WrongInterpreter as error:
        raise ProbeUnavailable(f"execprobe: {python}: {error}") from error
    finally:
        listener.close()


# ---- a helper that is started ----


def _start(settings: HelperSettings, listener: socket, enter: _Enter) -> HelperSource:
    """A helper that serves this socket. Those that wait there meanwhile are sent why if none can be had."""
    try:
        try:
            bpf = bpf_folder()
            prefix = privilege_route("pytest", environment=settings.environment)
            tried: list[str] = []
            for python in interpreters(settings.python, _NAMED_BY, settings.environment):
                try:
                    return _start_with(python, prefix, ["--bpf", str(bpf)], settings, listener, enter)
                except WrongInterpreter as error:
                    tried.append(f"{python}: {error}")
            raise no_interpreter(tried, "--execprobe-python")
        except ProbeUnavailable as error:
            code = "obstructed" if isinstance(error, ProbeObstructed) else "not-started"
            meeting.refuse(listener, originals.geteuid(), code, str(error).removeprefix("execprobe: "))
            raise
    finally:
        listener.close()


def _start_with(
    python: str, prefix: list[str], arguments: list[str], settings: HelperSettings, served: socket, enter: _Enter
) -> HelperSource:
    name = meeting.new_name()
    command = helper_command(prefix, python, "--connect", name, *arguments)
    for option in ("attempts", "pages", "procs"):
        value = getattr(settings, option)
        value = "always" if value == "seccomp" and "--bpf" in arguments else value  # a probe that sees them itself
        command += [] if value is None else [f"--{option}", str(value)]
    tokens = handshake.new_tokens()
    words = originals.memfd_create("execprobe-stderr")
    process = Launcher()
    try:
        listener = originals.socket(AF_UNIX, SOCK_STREAM)
        try:
            peers.take_descriptors(listener, wanted=False)
            listener.bind("\0" + name)
            listener.listen(1)
            proof = originals.memfd_create("execprobe-tokens")
            try:
                handshake.put_down(tokens, proof)
                process.start(command, helper_environment(settings.environment), proof, words)
            finally:
                originals.close(proof)
            pieces = settings.meanwhile()

            def admit(sock: socket) -> bool:
                return handshake.admit(sock, tokens, served, _PROOF_TIMEOUT)

            sock = _await_helper(process, listener, admit, pieces)
        finally:
            listener.close()
        if sock is None:
            said = originals.pread(words, 2000, 0).decode("utf-8", "replace").strip()
            raise _not_started(process, prefix, said)
        for _ in pieces:
            pass  # to the last
    except BaseException:
        process.give_up()  # or a test that waits for any child would meet it
        raise
    finally:
        originals.close(words)
    source = _source(sock)
    try:
        return source.entered(lambda: enter(source, _START_TIMEOUT))
    except SourceLost as error:
        raise ProbeObstructed(f"execprobe: the probe helper was lost while it started: {error}") from error


def _await_helper(
    process: Launcher, listener: socket, admit: Callable[[socket], bool], pieces: Iterator[bool]
) -> socket | None:
    """The helper's connection; None if its launcher failed, or the helper has not connected.

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
            ready = [fd for fd, _ in watched.poll(0 if next(pieces, False) else remaining * 1000)]
            if listener.fileno() in ready:
                sock = peers.accept(listener)
                _, uid, _ = peers.credentials(sock)
                if meeting.is_trusted(uid) and admit(sock):
                    process.reap()
                    return sock
                sock.close()
                strangers += 1
            elif launcher in ready:
                if process.reap() != 0:
                    return None
                watched.unregister(launcher)
                # The helper has left it and is about to connect, unless that was no Python.
                deadline = min(deadline, clock.monotonic() + _CONNECT_TIMEOUT)
    finally:
        originals.close(launcher)
    _give_up_waiting(process, strangers)
    return None


def _give_up_waiting(process: Launcher, strangers: int) -> None:
    running = process.give_up()
    if running or strangers:
        why = "is still on its way" if running else "has not connected"
        others = f", while {strangers} other processes connected in its place" if strangers else ""
        raise ProbeObstructed(f"execprobe: the probe helper was started and {why}{others}. Start pytest again")


def _not_started(process: Launcher, prefix: list[str], said: str) -> Exception:
    refusal = handshake.read_refusal(process.reap(), said)
    if refusal is not None:
        return refused(refusal)
    if prefix and "sudo:" in said:
        return ProbeUnavailable(
            f"execprobe: the probe needs privilege, and sudo refused it without a password ({said.splitlines()[-1]})."
            " Run pytest as root, or allow this user to run the helper without one (docs/privilege.md has the line)"
        )
    last = said.splitlines()[-1] if said else f"it ended with status {process.reap()}"
    return WrongInterpreter(f"the helper did not start ({last})")
