"""The helper as a service: one probe for all users that its socket lets in, until it is told to end.

``python3 -I -B .../helper serve`` runs it in the foreground. It listens on a socket that it makes, or on one that
systemd hands over (socket units); it tells systemd when it is ready, if asked to. It ends at SIGTERM and SIGINT.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import grp
import os
import pwd
import resource
import selectors
import signal
import socket
import stat
import sys
import time
import traceback
from typing import Any, Dict, Iterator, List, NoReturn, Optional, Tuple

from . import bounds, handshake, privilege, wire
from .bpf import probe
from .bpf.attach import ROUTES, kernel_version
from .bpf.build import look_for_bcc
from .errors import ProbeError
from .priority import Precedence
from .quotas import Limits
from .server import Server

DEFAULT_SOCKET = "/run/execprobe/execprobe.sock"

_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # the kernel's fixed number for it
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START
_OTHER_FILES = 64  # descriptors that are opened for a moment; clients take two each, and keep them
_CLIENTS_MAX = 900  # roots are 1024 in the kernel side's map
_REFUSED = 2  # exit status: there is no service to be had here


def main(argv: Optional[List[str]] = None) -> NoReturn:
    wakeup = _hear_signals()
    options = _parse(argv)
    listener: Optional[socket.socket] = None
    janitor: Optional[_Janitor] = None
    with _captured() as words:
        try:
            _check_surroundings()
            look_for_bcc()
            listener, janitor, where = _listener(options)
            service = _make_service(options, listener, wakeup)
            refusal = None
        except ProbeError as error:
            refusal = (error.code, error.reason + _last_words(words), error.remedy)
        except Exception as error:
            refusal = ("helper-failed", "%s: %s" % (type(error).__name__, error) + _last_words(words), "")
    if refusal is not None:
        _refuse(listener, *refusal)
        if janitor is not None:
            janitor.sweep()
        _end(_REFUSED)
    _say("execprobe: serving at %s (%s)" % (where, service.in_words()))
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


# ---- what it is told ----


def _parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="helper serve", description=__doc__, allow_abbrev=False)
    parser.add_argument("--socket", default=DEFAULT_SOCKET, metavar="PATH")
    parser.add_argument("--mode", type=_mode, metavar="OCTAL", help="of the socket (default 0660)")
    parser.add_argument("--group", metavar="NAME", help="of the socket")
    parser.add_argument("--user", default="nobody", metavar="NAME", help="whom root becomes once it probes")
    parser.add_argument("--bpf", default=_bpf_folder(), metavar="FOLDER", help="folder of execprobe.c")
    parser.add_argument("--attempts", choices=ROUTES, default="auto")
    parser.add_argument("--pages", type=bounds.number(1, 1 << 20), default=probe.Settings().pages)
    parser.add_argument("--procs", type=bounds.number(64, 1 << 22), default=probe.Settings().procs)
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


def _bpf_folder() -> str:
    """In the package when it was installed, beside it in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.join(package, "bpf")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(package), "bpf")


# ---- the socket ----


def _listener(options: argparse.Namespace) -> "Tuple[socket.socket, Optional[_Janitor], str]":
    """A listening socket, who removes it (None: whoever made it), and where it is in words.

    All of that while this is still privileged: the kernel tells clients whose process has called listen().
    """
    passed = _passed_socket()
    if passed is not None:
        if options.mode is not None or options.group is not None:
            raise ProbeError(
                "bad-socket",
                "the socket was handed over by systemd, and its mode and group are those of its unit",
                "leave --mode and --group out, and set SocketMode= and SocketGroup= there",
            )
        return passed, None, os.fsdecode(passed.getsockname()) or "a socket of systemd's"
    mode = 0o660 if options.mode is None else options.mode
    listener = listen_at(os.path.abspath(options.socket), mode, _gid(options.group))
    path = os.fsdecode(listener.getsockname())
    return listener, _Janitor(path), "%s, mode %04o" % (path, mode)


def _passed_socket() -> Optional[socket.socket]:
    """systemd's socket activation: as sd_listen_fds(3) describes it, and one socket."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "")
    if count != "1":
        raise ProbeError("bad-socket", "systemd handed over %s sockets" % (count or "no"), "name one in the unit")
    try:
        listener = socket.socket(fileno=_FIRST_PASSED)
        listens = handshake.is_listening(listener)
    except OSError as error:
        raise ProbeError("bad-socket", "what systemd handed over is no socket (%s)" % error, "") from error
    if not listens:
        listener.detach()
        raise ProbeError(
            "bad-socket", "what systemd handed over is no unix stream socket", "use ListenStream= with a path"
        )
    # listen() is not called again: clients trust root, who has called it.
    listener.set_inheritable(False)
    listener.setblocking(False)
    wire.take_no_descriptors(listener)
    return listener


def _gid(group: Optional[str]) -> int:
    if group is None:
        return -1
    try:
        return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ProbeError("bad-socket", "there is no group %s" % group, "make it: groupadd %s" % group) from None


def listen_at(path: str, mode: int, gid: int) -> socket.socket:
    """A socket there. That of a service that has died is replaced, that of a living one is not. Raises ProbeError."""
    try:
        # Links on the way may be exchanged at any time: from here on there are none.
        folder, name = os.path.split(path)
        folder = os.path.realpath(folder)
        path = os.path.join(folder, name)
        _make_checked(folder)
        with _locked(path + ".lock"):
            _remove_stale(path)
            return _listen(path, mode, gid)
    except OSError as error:
        raise ProbeError(
            "bad-socket", "no socket can be made at %s: %s" % (path, error.strerror or error), "name another: --socket"
        ) from error


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Of services that start at once one looks whether another is there, and begins to listen, before the next does.

    By a file that nobody else can open: that is all that it takes to lock one.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(500):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.01)
        else:
            raise OSError(errno.EBUSY, "another process holds a lock on %s" % path)
        yield
    finally:
        os.close(fd)


def _make_checked(folder: str) -> None:
    """Makes a folder, if it is not there. Who else can write to it, or rename it, could put a socket of his own in the
    place of this one.

    From the first folder on: in one that nobody else can write to, nobody exchanges the next.
    """
    names = list(filter(None, folder.split("/")))
    for depth in range(len(names) + 1):
        place, is_last = "/" + "/".join(names[:depth]), depth == len(names)
        if is_last:
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o755)
        status = os.lstat(place)
        # In a sticky folder such as /tmp nobody renames what is another's.
        open_to_all = status.st_mode & 0o022 and (is_last or not status.st_mode & stat.S_ISVTX)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if status.st_uid not in (0, os.geteuid()) or open_to_all:
            raise ProbeError(
                "bad-socket",
                "other users can write to %s, and could put a socket of their own there" % place,
                "use a folder that only root can write to, such as /run/execprobe",
            )


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ProbeError("bad-socket", "%s is there, and is no socket" % path, "remove it, or name another")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # as many as can wait to be let in do so: somebody lives there
        raise ProbeError("address-taken", "a service is there already: %s" % path, "stop that, or name another")


def _listen(path: str, mode: int, gid: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        wire.take_no_descriptors(listener)
        before = os.umask(0o777)  # nobody may call before it is as it is to be; nor could he, before listen()
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        try:
            os.chown(path, -1, gid)
            os.chmod(path, mode)
            listener.listen(handshake.BACKLOG)
        except BaseException:
            os.unlink(path)
            raise
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


class _Janitor:
    """A process that removes the socket when the service has ended, however it has.

    The service can't: it is an ordinary user by then, and the folder is root's. This keeps its user, without any
    capability if that is root; it reads nothing but the end of a pipe.
    """

    def __init__(self, path: str) -> None:
        made = os.lstat(path)
        folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        watched, self._alive = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._wait(watched, folder, os.path.basename(path), (made.st_dev, made.st_ino))
            finally:
                os._exit(0)
        os.close(watched)
        os.close(folder)

    def _wait(self, watched: int, folder: int, name: str, made: Tuple[int, int]) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.dup2(watched, 0)
        os.dup2(folder, 1)
        os.closerange(2, 1 + max(map(int, os.listdir("/proc/self/fd"))))
        privilege.keep_no_capability()
        os.read(0, 1)
        found = os.stat(name, dir_fd=1, follow_symlinks=False)
        if (found.st_dev, found.st_ino) == made:
            os.unlink(name, dir_fd=1)

    def sweep(self) -> None:
        """Now, and waits until it is done."""
        os.close(self._alive)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


# ---- the probe, and what becomes of privilege ----


def _check_surroundings() -> None:
    if os.stat("/proc/self/ns/pid").st_ino != _FIRST_PID_NAMESPACE:
        raise ProbeError(
            "pid-namespace",
            "in a pid namespace, as in a container, it can't be told which process a user may watch",
            "run the service outside: its socket can be mounted into containers",
        )


def _make_service(options: argparse.Namespace, listener: socket.socket, wakeup: int) -> "Service":
    # Who is not root stays the same user, and must not have in its hands what the next one loads with privilege.
    keeps = os.geteuid() == 0
    made = probe.Probe(options.bpf, probe.Settings(options.attempts, options.pages, options.procs, keeps))
    precedence = Precedence(privilege.take_precedence())
    clients = _make_room(options.max_clients)
    try:
        user = pwd.getpwnam(options.user)
    except KeyError:
        raise ProbeError("bad-user", "there is no user %s" % options.user, "name another: --user") from None
    route = privilege.route()
    left = privilege.give_up(user.pw_uid, user.pw_gid, kernel_version())
    if not os.path.exists("/proc/1/stat"):
        raise ProbeError(
            "hidden-processes",
            "/proc hides other users' processes from the service (hidepid), so that it can't see what a process that"
            " registers has started before",
            "give the service a /proc that shows them; in a systemd unit, the group that /proc's gid= option names"
            " (SupplementaryGroups=), and no ProtectProc=",
        )
    welcome = dict(made.describe(), route=route, privilege=left, pid=os.getpid(), python=sys.executable)
    limits = Limits(
        clients=clients,
        clients_per_user=options.max_clients_per_user,
        claims_per_user=16,
        claim_time=10.0,
        adoption_time=2.0,
        share=0.5,
        room_per_user=True,
    )
    return Service(made, listener, welcome, precedence, limits, wakeup)


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
        made: probe.Probe,
        listener: socket.socket,
        welcome: Dict[str, Any],
        precedence: Precedence,
        limits: Limits,
        wakeup: int,
    ) -> None:
        super().__init__(made, None, listener, welcome, precedence, limits)
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

    def _may_call(self, sock: socket.socket) -> bool:  # noqa: ARG002
        return True  # the socket's mode has let him in


# ---- signals and words ----


def _hear_signals() -> int:
    """Becomes readable at a signal to end."""
    wakeup, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return wakeup


@contextlib.contextmanager
def _captured() -> Iterator[int]:
    """BCC's compiler and the verifier write to standard output and error; kept for the reason of a failure."""
    sys.stdout.flush()
    sys.stderr.flush()
    output = os.memfd_create("execprobe-output")
    kept = os.dup(1), os.dup(2)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        yield output
    finally:
        for fd, copy in enumerate(kept, 1):
            os.dup2(copy, fd)
            os.close(copy)


def _last_words(output: int) -> str:
    text = os.pread(output, 1 << 16, max(0, os.fstat(output).st_size - (1 << 16))).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if "error" in line.lower() or "denied" in line.lower()]
    return ": " + "; ".join(lines[-3:]) if lines else ""


def _say(words: str) -> None:
    with contextlib.suppress(OSError):
        print(words, flush=True)


def _refuse(listener: Optional[socket.socket], code: str, reason: str, remedy: str) -> None:
    """Says why there is no service, to those who have called meanwhile too."""
    sys.stderr.write("execprobe: %s%s\n" % (reason, ". To mend it: " + remedy if remedy else ""))
    _notify("STATUS=%s\n" % reason.splitlines()[0])
    data = wire.frame(wire.FAILED, 0, {"code": code, "reason": reason[:4000], "remedy": remedy})
    if listener is not None:
        wire.refuse_all(listener, None, data, handshake.BACKLOG)


def _notify(state: str) -> None:
    """Tells systemd, as sd_notify(3) describes it; nobody if it has not asked."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), address)
