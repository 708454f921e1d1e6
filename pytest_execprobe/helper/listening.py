"""The socket of a service: made where no other user can put one, or handed over by systemd; removed in the end."""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import grp
import os
import signal
import socket
import stat
import time
from typing import Iterator, Optional, Tuple

from . import handshake, peers, privilege
from .errors import ProbeError

_FIRST_PASSED = 3  # SD_LISTEN_FDS_START


def listener_of(options: argparse.Namespace) -> "Tuple[socket.socket, Optional[Janitor], str]":
    """A listening socket, what removes it (None: whatever made it), and where it is in words.

    All of that while this is still privileged: clients see the credentials of the process that has called listen().
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
    return listener, Janitor(path), "%s, mode %04o" % (path, mode)


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
    peers.take_descriptors(listener, wanted=False)
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

    By a file that no other user can open: that is all that it takes to lock one.
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
    """Makes a folder, if it is not there. A user that can write to it, or rename it, could put another socket in the
    place of this one. From the first folder on: in one that no other user can write to, none exchanges the next."""
    names = list(filter(None, folder.split("/")))
    for depth in range(len(names) + 1):
        place, is_last = "/" + "/".join(names[:depth]), depth == len(names)
        if is_last:
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o755)
        status = os.lstat(place)
        # In a sticky folder such as /tmp no user renames what is another's.
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
            pass  # as many as can wait to be let in do so: the service lives
        raise ProbeError("address-taken", "a service is there already: %s" % path, "stop that, or name another")


def _listen(path: str, mode: int, gid: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        peers.take_descriptors(listener, wanted=False)
        before = os.umask(0o777)  # none may connect before its mode is set
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


class Janitor:
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
