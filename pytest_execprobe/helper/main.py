"""The helper's life: become a daemon, connect back to its starter, make the probe, give up privilege, serve."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from . import bounds, handshake, peers, privilege, wire
from .bpf.attach import ROUTES, kernel_version
from .bpf.build import look_for_bcc
from .bpf.probe import BpfProbe, BpfSettings
from .errors import ProbeError
from .priority import Precedence
from .probe import Probe
from .process import capture_output, close_others, explain
from .server import Server


class Options(NamedTuple):
    connect: str = ""  # abstract socket on which the client waits
    backend: str = "bpf"
    address: Optional[str] = None  # what it serves, for those to find whom it traces
    bpf: str = ""  # folder of execprobe.c
    attempts: str = "auto"
    pages: int = BpfSettings().pages
    procs: int = BpfSettings().procs


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError("%r is none of %s" % (text, ", ".join(choices)))
        return text

    return read


_OPTIONS: Dict[str, Callable[[str], Any]] = {
    "--connect": str,
    "--backend": _one_of("bpf", "ptrace"),
    "--address": str,
    "--bpf": str,
    "--attempts": _one_of(*ROUTES, "seccomp"),
    "--pages": bounds.number(1, 1 << 20),
    "--procs": bounds.number(1, 1 << 22),
}

#: What is traced waits at each stop for its tracer: one of the same real-time priority would wait for what is traced.
_BEFORE_TRACED = 2

#: Why an interpreter can't run it, where another may: those who wait for a helper go on to wait.
_NOT_HERE = ("no-bcc", "wrong-bcc")


def main(argv: Sequence[str]) -> None:
    options = _parse(argv)
    close_others((0, 1, 2))  # a pipe that a test leaves to its children would not end before this process does
    user, place = _take_place()
    try:
        tokens = handshake.read_tokens()
    except handshake.HandshakeError as error:
        sys.exit("execprobe-helper: %s" % error)
    starter = _become_daemon()
    try:
        first, listener = handshake.connect(options.connect, tokens)
    except (handshake.HandshakeError, OSError):
        os._exit(1)  # there is no peer to say so to
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = capture_output()
    try:
        if options.backend == "ptrace":
            server = _make_tracing_server(options, starter, first, listener)
        else:
            look_for_bcc()
            server = _make_server(options, user, place, first, listener)
    except Exception as error:
        _fail(first, listener, *explain(error, output))
    try:
        server.run()
    except Exception as error:
        import traceback  # which a start has no need of

        server.abandon("%s: %s (%s)" % (type(error).__name__, error, traceback.format_exc().splitlines()[-3].strip()))
    os._exit(0)  # not through atexit: the kernel takes the probe down with the process, at once


def _parse(argv: Sequence[str]) -> Options:
    """By hand: it takes as long to load argparse, and for that to look for translations, as half of the probe."""
    values: Dict[str, Any] = {}
    for name, text in zip(argv[::2], [*argv[1::2], ""]):
        try:
            values[name] = _OPTIONS[name](text)
        except KeyError:
            sys.exit("execprobe-helper: there is no option %s" % name)
        except Exception as error:
            sys.exit("execprobe-helper: %s: %s" % (name, error))
    options = Options(**{name[2:]: value for name, value in values.items()})
    if not options.connect or (options.backend == "bpf" and not options.bpf):
        sys.exit("execprobe-helper: --connect and --bpf are needed")
    return options


def _take_place() -> "Tuple[Optional[int], int]":
    """Who has had this started through sudo, and which of that user's helpers it is: before it waits, as root."""
    user = bounds.sudo_user()
    try:
        return user, 0 if user is None else bounds.take_place(user)
    except ProbeError as error:
        bounds.write_for(2, handshake.refusal(error.code, error.reason, error.remedy))
        sys.exit(handshake.REFUSED)


def _make_server(
    options: Options, user: Optional[int], place: int, first: socket.socket, listener: socket.socket
) -> Server:
    if user is not None:
        bounds.check(user, options.pages, options.procs)
    probe = BpfProbe(options.bpf, BpfSettings(options.attempts, options.pages, options.procs))
    precedence = Precedence(place < bounds.REAL_TIME and privilege.take_precedence(), returns=user is None)
    _, uid, gid = peers.credentials(first)
    privilege.ensure_visible_processes()
    route = privilege.route()
    left = privilege.give_up(uid, gid, kernel_version())
    return Server(probe, first, listener, _welcome(probe, listener, route, left), precedence)


def _make_tracing_server(options: Options, starter: int, first: socket.socket, listener: socket.socket) -> Server:
    from .ptrace import watchdog  # which a start with privilege has no need of
    from .ptrace.probe import PtraceProbe

    probe = PtraceProbe(starter, filtered=options.attempts == "seccomp")
    watchdog.begin()
    precedence = Precedence(privilege.take_precedence(_BEFORE_TRACED), priority=_BEFORE_TRACED)
    words = "user %d" % os.geteuid() if os.geteuid() else "root"
    return Server(probe, first, listener, _welcome(probe, listener, "started by its user", words), precedence)


def _welcome(probe: Probe, listener: socket.socket, route: str, left: str) -> Dict[str, Any]:
    return dict(
        probe.describe(),
        route=route,
        privilege=left,
        address=os.fsdecode(listener.getsockname()).lstrip("\0"),
        pid=os.getpid(),
        python=sys.executable,
    )


def _become_daemon() -> int:
    """Leaves the client's session, and its children: a test that waits for any child must not meet this process.
    Returns who has started it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that ends with this process may send it before setsid()
    starter = os.getppid()
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    return starter


def _fail(first: socket.socket, listener: socket.socket, code: str, reason: str, remedy: str) -> None:
    """Sends why to the client, and to those that have connected meanwhile: a helper of theirs would fail, too."""
    _, uid, _ = peers.credentials(first)
    data = wire.failed(code, reason, remedy)
    with contextlib.suppress(OSError):  # it has gone
        first.setblocking(False)
        first.send(data)
    if code not in _NOT_HERE:
        peers.refuse_all(listener, uid, data, handshake.BACKLOG)
    os._exit(1)
