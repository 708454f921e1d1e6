"""What asks the system for something while tests run, bound before a test can replace it.

Tests and their plugins replace functions of :mod:`os`, :mod:`time`, :mod:`socket`, :mod:`subprocess` and the like:
``mock.patch`` and pytest-socket in the module, pyfakefs and freezegun wherever a module holds one, pytest-subprocess in
every module that has a ``Popen``, gevent and eventlet for good. What is taken from the C modules behind those, and held
by a ``functools.partial``, they do not reach. The plugin imports this module when pytest loads it, and whatever runs
from then on to the last report has such functions from here; tests/unit/test_originals.py sees to that.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import _thread
import errno
import fcntl as _fcntl
import functools
import hashlib
import hmac
import importlib.util
import json
import os
import posix
import posixpath
import resource as _resource
import shlex
import stat as _stat
import sys
import time as _time
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., Any])


def _bound(function: _F) -> _F:
    return cast(_F, functools.partial(function))


def _if_built(name: str) -> Any:
    """What is missing where Python was built for an older libc: to call it says so, and not to import this."""

    def missing(*_: object) -> NoReturn:
        raise OSError(errno.ENOSYS, f"this Python was built without os.{name}")

    return _bound(getattr(posix, name, missing))


def _copy(name: str) -> Any:
    """A module made once more: no other holds it, and in it is nothing that was replaced before."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- this process ----

#: The interpreter and its platform, as they were when pytest loaded the plugin.
executable: str = sys.executable
platform: str = sys.platform
#: The environment as it is; a test may have changed what is in it.
environ = os.environ

sysconf = _bound(posix.sysconf)
uname = _bound(posix.uname)
getcwd = _bound(posix.getcwd)
getpid = _bound(posix.getpid)
geteuid = _bound(posix.geteuid)
getegid = _bound(posix.getegid)
getsignal = _bound(_signal.getsignal)
getrusage = _bound(_resource.getrusage)
get_ident = _bound(_thread.get_ident)
get_native_id = _bound(_thread.get_native_id)
exc_info = _bound(sys.exc_info)
frame = _bound(sys._getframe)
RLock = _thread.RLock
register_at_fork = _bound(posix.register_at_fork)

# ---- other processes ----

posix_spawn = _bound(posix.posix_spawn)
waitpid = _bound(posix.waitpid)
wait4 = _bound(posix.wait4)
waitid = _bound(posix.waitid)
kill = _bound(posix.kill)
pidfd_open = _if_built("pidfd_open")
socket = _socket.socket
#: Of a copy: gevent and eventlet leave none in ``select``. (select() takes no descriptor beyond 1023.)
poll = _bound(_copy("select").poll)

# ---- time ----

clock_gettime_ns = _bound(_time.clock_gettime_ns)
_gmtime, _strftime = _bound(_time.gmtime), _bound(_time.strftime)
_CLOCK_REALTIME_COARSE = 5  # time-machine replaces what is behind the functions, but for CLOCK_REALTIME alone


def utc_now() -> str:
    """As ISO 8601 has it, in whole seconds."""
    return _strftime("%Y-%m-%dT%H:%M:%SZ", _gmtime(clock_gettime_ns(_CLOCK_REALTIME_COARSE) // 10**9))


# ---- files ----

strerror = _bound(posix.strerror)
access = _bound(posix.access)
close = _bound(posix.close)
dup = _bound(posix.dup)
fcntl = _bound(_fcntl.fcntl)
flock = _bound(_fcntl.flock)
fchmod = _bound(posix.fchmod)
fsencode, fspath = _bound(os.fsencode), _bound(posix.fspath)
fstat = _bound(posix.fstat)
fsync = _bound(posix.fsync)
listdir = _bound(posix.listdir)
lseek = _bound(posix.lseek)
mkdir = _bound(posix.mkdir)
memfd_create = _if_built("memfd_create")
open_file = _bound(posix.open)
readlink = _bound(posix.readlink)
pread = _bound(posix.pread)
read = _bound(posix.read)
replace = _bound(posix.replace)
rmdir = _bound(posix.rmdir)
stat = _bound(posix.stat)
unlink = _bound(posix.unlink)
write = _bound(posix.write)
_urandom = _bound(posix.urandom)
_scandir = _bound(posix.scandir)

Path = str | os.PathLike[str]


def random_hex(length: int) -> str:
    """So many random bytes, in hexadecimal digits."""
    return _urandom(length).hex()


def read_bytes(path: Path | bytes) -> bytes:
    """All of a file. Raises OSError."""
    descriptor = open_file(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: read(descriptor, 1 << 20), b""))
    finally:
        close(descriptor)


def exists(path: Path) -> bool:
    return _mode(path) is not None


def is_file(path: Path | bytes) -> bool:
    return _stat.S_ISREG(_mode(path) or 0)


def is_folder(path: Path | bytes) -> bool:
    return _stat.S_ISDIR(_mode(path) or 0)


def _mode(path: Path | bytes) -> int | None:
    try:
        return stat(path).st_mode
    except (OSError, ValueError):  # ValueError: there is a NUL in it
        return None


def files_below(folder: str, is_skipped: Callable[[str], bool] = lambda _: False) -> Iterator[str]:
    """The paths of all files in a folder and those below it, save in those whose name ``is_skipped``. No link to a
    folder is followed, and what can't be read holds nothing."""
    try:
        entries = list(_scandir(folder))
    except OSError:
        return
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            yield entry.path
        elif not is_skipped(entry.name):
            yield from files_below(entry.path, is_skipped)


def which(name: str, path: str | None = None) -> str | None:
    """The program that a name or path stands for. ``path`` are the folders to look in, by default those of PATH."""
    if path is None:
        path = environ.get("PATH", os.defpath)
    folders = [""] if "/" in name else path.split(":")
    found = (join(folder, name) for folder in folders)
    return next((path for path in found if is_file(path) and access(path, posix.X_OK)), None)


# ---- what the code under test calls, too ----

json_dumps, json_loads = _bound(json.dumps), _bound(json.loads)
quote, split = _bound(shlex.quote), _bound(shlex.split)
new_hash = _bound(hashlib.new)
sha256, hmac_digest = _bound(hashlib.sha256), _bound(hmac.digest)


# ---- paths ----

_paths = _copy("posixpath")
_paths.os = types.SimpleNamespace(**vars(os))  # what they ask the system by


def _own(function: _F) -> _F:
    """Of the copy, what has the name that this has there: its own name may be another (3.15's normpath is posix's)."""
    name = next(name for name, value in vars(posixpath).items() if value is function)
    return _bound(cast(_F, getattr(_paths, name)))


abspath = _own(posixpath.abspath)
basename = _own(posixpath.basename)
dirname = _own(posixpath.dirname)
expanduser = _own(posixpath.expanduser)
join = _own(posixpath.join)
lexists = _own(posixpath.lexists)
normpath = _own(posixpath.normpath)
realpath = _own(posixpath.realpath)
relpath = _own(posixpath.relpath)
