"""The helper as a service: one probe for all users that its socket lets in, until a signal ends it.

``python3 -I -B .../helper serve`` runs it in the foreground. It listens on a socket that it makes, or on one that
systemd hands over (socket units); it notifies systemd when it is ready, if asked to. It ends at SIGTERM and SIGINT.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import resource
import selectors
import signal
import socket
import sys
import traceback
from typing import Any, Dict, Iterator, List, NoReturn, Optional

from . import bounds, handshake, peers, privilege, wire
from .bpf.attach import ROUTES, kernel_version
from .bpf.build import look_for_bcc
from .bpf.probe import BpfProbe, BpfSettings
from .errors import ProbeError
from .listening import Janitor, listener_of
from .priority import Precedence
from .probe import Probe
from .process import FIRST_PID_NAMESPACE, bpf_folder, capture_output, explain, sees_all, wake_at
from .quotas import Limits
from .server import Server

DEFAULT_SOCKET = "/run/execprobe/execprobe.sock"

_OTHER_FILES = 64  # descriptors that are opened for a moment; clients take two each, and keep them
_CLIENTS_MAX = 900  # roots are 1024 in the kernel side's map
_REFUSED = 2  # exit status: there is no service to be had here


def main(argv: Optional[List[str]] = None) -> NoReturn:
    wakeup = wake_at(signal.SIGINT, signal.SIGTERM)
    options = _parse(argv)
    listener: Optional[socket.socket] = None
    janitor: Optional[Janitor] = None
    with _captured() as words:
        try:
            _check_surroundings()
            look_for_bcc()
            listener, janitor, where = listener_of(options)
            service = _make_service(options, listener, wakeup)
            refusal = None
        except Exception as error:
            refusal = explain(error, words)
    if refusal is not None:
        _refuse(listener, *refusal)
        if janitor is not None:
            janitor.sweep()
        _end(_REFUSED)
    with contextlib.suppress(OSError):
        print("execprobe: serving at %s (%s)" % (where, service.in_words()), flush=True)
    _notify("READY=1\nSTATUS=serving at %s\n" % where)
    status = 0
    try:
        service.run()
        _notify("STOPPING=1\n")
        service.abandon("the service was stopped", "service-ended")
    except Exception as error:
        traceback.print_exc()
        service.abandon("%s: %s" % (type(error).__name__, error))
        status = 1
    if janitor is not None:
        janitor.sweep()
    _end(status)


def _end(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # not through atexit: the kernel takes the probe down with the process, at once


# ---- options ----


def _parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="helper serve", description=__doc__, allow_abbrev=False)
    parser.add_argument("--socket", default=DEFAULT_SOCKET, metavar="PATH")
    parser.add_argument("--mode", type=_mode, metavar="OCTAL", help="of the socket (default 0660)")
    parser.add_argument("--group", metavar="NAME", help="of the socket")
    parser.add_argument("--user", default="nobody", metavar="NAME", help="the user that root becomes once it probes")
    parser.add_argument("--bpf", metavar="FOLDER", help="folder of execprobe.c")
    parser.add_argument("--attempts", choices=ROUTES, default="auto")
    parser.add_argument("--pages", type=bounds.number(1, 1 << 20), default=BpfSettings().pages)
    parser.add_argument("--procs", type=bounds.number(64, 1 << 22), default=BpfSettings().procs)
    parser.add_argument("--max-clients", type=bounds.number(1, _CLIENTS_MAX), default=512)
    parser.add_argument("--max-clients-per-user", type=bounds.number(1, _CLIENTS_MAX), default=128)
    return parser.parse_args(argv)


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise argparse.ArgumentTypeError("%r is no mode such as 0660" % text)
    return mode


# ---- the probe, and what becomes of privilege ----


def _check_surroundings() -> None:
    if os.stat("/proc/self/ns/pid").st_ino != FIRST_PID_NAMESPACE:
        raise ProbeError(
            "pid-namespace",
            "in a PID namespace, as in a container, it is unknown which process a user may watch",
            "run the service outside: its socket can be mounted into containers",
        )


def _make_service(options: argparse.Namespace, listener: socket.socket, wakeup: int) -> "Service":
    # Without root this stays the same user, which must not have in its hands what the next one loads with privilege.
    settings = BpfSettings(options.attempts, options.pages, options.procs, keeps=os.geteuid() == 0)
    probe = BpfProbe(options.bpf or bpf_folder("execprobe.c"), settings)
    precedence = Precedence(privilege.take_precedence())
    clients = _make_room(options.max_clients)
    try:
        user = pwd.getpwnam(options.user)
    except KeyError:
        raise ProbeError("bad-user", "there is no user %s" % options.user, "name another: --user") from None
    route = privilege.route()
    left = privilege.give_up(user.pw_uid, user.pw_gid, kernel_version())
    if not sees_all():
        raise ProbeError(
            "hidden-processes",
            "/proc hides other users' processes from the service (hidepid), so that it can't see what a process that"
            " registers has started before",
            "give the service a /proc that shows them; in a systemd unit, the group that /proc's gid= option names"
            " (SupplementaryGroups=), and no ProtectProc=",
        )
    welcome = dict(probe.describe(), route=route, privilege=left, pid=os.getpid(), python=sys.executable)
    limits = Limits(
        clients=clients,
        clients_per_user=options.max_clients_per_user,
        claims_per_user=16,
        stopping_per_user=8,
        claim_time=10.0,
        adoption_time=2.0,
        share=0.5,
        room_per_user=True,
    )
    return Service(probe, listener, welcome, precedence, limits, wakeup)


def _make_room(clients: int) -> int:
    """For so many clients' descriptors; how many there is room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = len(os.listdir("/proc/self/fd")) + _OTHER_FILES  # the probe, with some for each CPU, is there already
    wanted = 2 * clients + others
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        clients = min(clients, (soft - others) // 2)
    if clients < 1:
        raise ProbeError("no-files", "%d open files are too few" % soft, "raise its limit: LimitNOFILE=")
    return clients


class Service(Server):
    """A server whose clients are of several users who do not trust each other."""

    def __init__(
        self,
        probe: Probe,
        listener: socket.socket,
        welcome: Dict[str, Any],
        precedence: Precedence,
        limits: Limits,
        wakeup: int,
    ) -> None:
        super().__init__(probe, None, listener, welcome, precedence, limits)
        self._is_over = False
        self._selector.register(wakeup, selectors.EVENT_READ, self._stop)

    def in_words(self) -> str:
        welcome = self._welcome
        entry = ", ".join(welcome["entry"])
        late = "" if self._precedence.held else ", without real-time priority"
        return "BCC %s, Linux %s, %s; %s%s" % (welcome["bcc"], welcome["kernel"], entry, welcome["privilege"], late)

    def _is_needed(self) -> bool:
        return not self._is_over

    def _stop(self) -> None:
        self._is_over = True


# ---- words ----


@contextlib.contextmanager
def _captured() -> Iterator[int]:
    """While the probe is made."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    try:
        yield capture_output()
    finally:
        for fd, copy in enumerate(kept, 1):
            os.dup2(copy, fd)
            os.close(copy)


def _refuse(listener: Optional[socket.socket], code: str, reason: str, remedy: str) -> None:
    """Says why there is no service, also to those that have connected meanwhile."""
    sys.stderr.write("execprobe: %s%s\n" % (reason, ". Fix: " + remedy if remedy else ""))
    _notify("STATUS=%s\n" % reason.splitlines()[0])
    if listener is not None:
        peers.refuse_all(listener, None, wire.failed(code, reason, remedy), handshake.BACKLOG)


def _notify(state: str) -> None:
    """Notifies systemd, as sd_notify(3) describes it, if it has asked for that."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), address)
