"""What it takes to start something with privilege: an interpreter that has BCC, and a way to become root."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from fcntl import F_DUPFD_CLOEXEC
from os import P_PID, POSIX_SPAWN_DUP2, WEXITED, WNOHANG, WNOWAIT, X_OK, defpath
from pathlib import Path
from signal import SIGKILL, SIGPIPE, SIGXFSZ
from typing import TYPE_CHECKING, Any

from .._util import originals
from ..errors import ProbeObstructed, ProbeUnavailable
from . import children, meeting

if TYPE_CHECKING:
    from .command import Command

#: Names another interpreter to run the helper, one whose ``bcc`` is BCC.
PYTHON_VARIABLE = "EXECPROBE_PYTHON"

_PACKAGE = Path(originals.realpath(__file__)).parents[1]
#: What is run with privilege: a folder with a ``__main__.py``.
HELPER = _PACKAGE / "helper"

_INTERPRETERS = ("/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3")
_PYTHON = re.compile(r"(platform-)?python[0-9.]*(t?d?|-dbg)")  # free-threaded, of debugging
_CALLED = re.compile(f"{meeting.PREFIX}[0-9a-f]+")
_CAPABILITIES = (1 << 39) | (1 << 21)  # CAP_BPF, CAP_SYS_ADMIN
#: What a helper, or who was to start it, says where that is not for good.
_OBSTRUCTED = ("busy", "obstructed")


class WrongInterpreter(Exception):
    """This interpreter has no BCC; another may."""


def bpf_folder() -> Path:
    """Where ``execprobe.c`` is: in the package when it was installed, beside it in a checkout."""
    for folder in (_PACKAGE / "bpf", _PACKAGE.parent / "bpf"):
        source = folder / "execprobe.c"
        try:
            originals.stat(source)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ProbeUnavailable(
                f"execprobe: user {originals.geteuid()} can't reach its BPF source, {source} ({error.strerror}):"
                " install pytest-execprobe where that user can read it. Or has a test become another user?"
            ) from error
        return folder
    raise ProbeUnavailable("execprobe: its BPF source, bpf/execprobe.c, is missing: reinstall pytest-execprobe")


# Of these functions ``environment`` is where variables are looked up; None: in this process's own, as it is now.


def interpreters(named: str | None, named_by: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Those that may have BCC, the likeliest first, or the one that the user names. ``named_by`` says how."""
    named = named or _variable(environment, PYTHON_VARIABLE)
    if named:
        path = originals.which(named, _variable(environment, "PATH"))
        if path is None:
            raise ProbeUnavailable(f"execprobe: {named} is no program ({named_by})")
        return [path]
    found: dict[str, str] = {}
    for path in (*_INTERPRETERS, originals.executable):
        if path and originals.access(path, X_OK):
            # Links of one interpreter are one candidate, but a venv's is another, with modules of its own.
            found.setdefault(path if path == originals.executable else originals.realpath(path), path)
    return list(found.values())


def no_interpreter(tried: Sequence[str], option: str) -> ProbeUnavailable:
    """What to say when none of them had BCC. ``tried`` says of each why not."""
    return ProbeUnavailable(
        "execprobe: no Python with BCC was found ("
        + "; ".join(tried or ["no interpreter in " + ", ".join(_INTERPRETERS)])
        + "). Install the distro's BCC (Debian, Ubuntu: apt install python3-bpfcc; Fedora, RHEL: dnf install"
        f" python3-bcc), or name an interpreter that has it: {option} or {PYTHON_VARIABLE}"
    )


def privilege_route(who: str, *, may_ask: bool = False, environment: Mapping[str, str] | None = None) -> list[str]:
    """What to put before the helper's command line. ``who`` is what else could be run as root, in words; ``may_ask``:
    there is a user whom sudo may ask for a password."""
    if originals.geteuid() == 0 or _effective_capabilities() & _CAPABILITIES:
        return []
    sudo = originals.which("sudo", _variable(environment, "PATH"))
    if sudo is None:
        raise ProbeUnavailable(
            f"execprobe: user {originals.geteuid()} has no privilege to probe, and there is no sudo. Run {who} as root,"
            " give it CAP_BPF and CAP_PERFMON, or install sudo and allow it without a password"
        )
    return [sudo, "--"] if may_ask else [sudo, "-n", "--"]


def helper_command(prefix: Sequence[str], python: str, *arguments: str) -> list[str]:
    # -I keeps the user's environment and folders out of the import path; -B writes no bytecode as root.
    return [*prefix, python, "-I", "-B", str(HELPER), *arguments]


def refused(fields: dict[str, Any]) -> Exception:
    """What a helper that has no probe says."""
    reason, remedy = str(fields.get("reason")), str(fields.get("remedy"))
    if fields.get("code") in ("no-bcc", "wrong-bcc"):
        return WrongInterpreter(reason)
    kind = ProbeObstructed if fields.get("code") in _OBSTRUCTED else ProbeUnavailable
    return kind(f"execprobe: {reason}" + (f". Fix: {remedy}" if remedy else ""))


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


def executes_helper(command: Command) -> bool:
    """Whether an exec is one of a helper. What was loaded is looked at, too: argv[0] says what its caller likes."""
    loaded = originals.basename(command.executable or "")
    return is_helper(command.argv) and ("python" in loaded or "sudo" in loaded)


def helper_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    cache = _variable(environment, "XDG_CACHE_HOME")  # sudo does not pass it on, and root has a folder of its own
    passed = {"PATH": _variable(environment, "PATH") or defpath, "LANG": "C.UTF-8"}
    return {**passed, "XDG_CACHE_HOME": cache} if cache else passed


def _variable(environment: Mapping[str, str] | None, name: str) -> str | None:
    return (originals.environ if environment is None else environment).get(name)


class Launcher:
    """What starts a helper, with what it is to read, and a file for all that it writes.

    Not by :mod:`subprocess`: what is in it, and what it calls, a test may have replaced.
    """

    def __init__(self) -> None:
        #: Its exit status, once it is known; 0 if another thread has taken it.
        self.status: int | None = None
        #: Stored by the call itself, for an exception that breaks in would lose what that returns (see ``transport``).
        self._pids: list[int] = []

    @property
    def pid(self) -> int:
        return self._pids[0]

    def start(self, command: Sequence[str], environment: Mapping[str, str], given: int, output: int) -> None:
        # Copies, which are none of the first three: a test may have closed those.
        copies = [originals.fcntl(fd, F_DUPFD_CLOEXEC, 3) for fd in (given, output)]
        spawn = functools.partial(
            originals.posix_spawn,
            file_actions=[(POSIX_SPAWN_DUP2, copies[fd > 0], fd) for fd in range(3)],
            setsigdef=(SIGPIPE, SIGXFSZ),  # which Python ignores
        )
        try:
            self._pids.extend(map(spawn, (command[0],), ([*command],), (environment,)))
        finally:
            for fd in copies:
                originals.close(fd)

    def reap(self) -> int:
        """Waits for its end, and returns its exit status."""
        if self.status is None:
            self.status = children.reap_launcher(self.pid) or 0
        return self.status

    def give_up(self) -> bool:
        """Ends it, if it runs still and is not root's, as sudo is. Whether it ran."""
        running = False
        if self._pids and self.status is None:
            with contextlib.suppress(ChildProcessError, PermissionError):
                running = originals.waitid(P_PID, self.pid, WEXITED | WNOHANG | WNOWAIT) is None
                if not running:
                    self.reap()
                    return False
                originals.kill(self.pid, SIGKILL)
                # Its usage is not known, so that what others have left is unknown from then on.
                originals.waitpid(self.pid, 0)
        return running


def _effective_capabilities() -> int:
    try:
        for line in originals.read_bytes("/proc/self/status").decode(errors="replace").splitlines():
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    except OSError:
        pass
    return 0
