"""What the checks look at: files, programs and this process's own standing. A test gives them another machine."""

from __future__ import annotations

import os
import platform
import pwd
import resource
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...source.launch import PYTHON_VARIABLE, helper_environment, interpreters

_PATIENCE = 60.0  # seconds; sudo may ask a directory service, and importing bcc takes ten under an emulated CPU

_LINKS = 40  # that a path may lead through, as in the kernel

# Bits of a capability set.
SETGID, SETUID, DAC_READ_SEARCH, IPC_LOCK, SYS_ADMIN, PERFMON, BPF = (1 << bit for bit in (6, 7, 2, 14, 21, 38, 39))


@dataclass(frozen=True)
class Answer:
    """How a program ended, as in subprocess (negative: by a signal), and what it said. None: it could not be run."""

    status: int | None
    out: str = ""
    err: str = ""

    @property
    def last_words(self) -> str:
        lines = (self.err.strip() or self.out.strip()).splitlines()
        if lines:
            return lines[-1].strip()
        if self.status is not None and self.status < 0:
            return f"it was ended by signal {-self.status}"
        return f"it ended with status {self.status}"


@dataclass(frozen=True)
class Machine:
    """Everything under ``root``, and this process's environment. Nothing here raises for what is missing."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    release: str = field(default_factory=platform.release)
    architecture: str = field(default_factory=platform.machine)
    uid: int = field(default_factory=os.geteuid)
    gid: int = field(default_factory=os.getegid)
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    page: int = field(default_factory=lambda: os.sysconf("SC_PAGE_SIZE"))
    #: Soft limits of this process, which the helper inherits; None is unlimited.
    locked_memory: int | None = field(default_factory=lambda: _limit(resource.RLIMIT_MEMLOCK))
    open_files: int | None = field(default_factory=lambda: _limit(resource.RLIMIT_NOFILE))

    # ---- files ----

    def read(self, path: str) -> str | None:
        """A file's text without blanks at its ends; None if it can't be read."""
        try:
            return (self.root / path.lstrip("/")).read_bytes().decode("utf-8", "replace").strip()
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.root / path.lstrip("/"))

    def link(self, path: str) -> str | None:
        """Where a symbolic link points."""
        try:
            return os.readlink(self.root / path.lstrip("/"))
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """The number that a file holds."""
        try:
            return int(self.read(path) or "")
        except ValueError:
            return None

    def fields(self, path: str, separator: str) -> dict[str, str]:
        """The fields of a file of lines such as ``NAME: VALUE``."""
        lines = (line.partition(separator) for line in (self.read(path) or "").splitlines())
        return {name.strip(): value.strip().strip("\"'") for name, found, value in lines if found}

    def changeable(self, installed: Path) -> Path | None:
        """The first part of a path of this installation, or of what is below it, that anyone but root can change or
        replace; None where there is none. Wherever ``root`` is."""
        below = (Path(folder, name) for folder, folders, files in os.walk(installed) for name in (*folders, *files))
        return next(filter(_open_to_others, (*_way_to(installed), *below)), None)

    # ---- programs ----

    def which(self, name: str) -> str | None:
        """A program on PATH."""
        for folder in self.environ.get("PATH", os.defpath).split(os.pathsep):
            path = os.path.join(folder, name)
            here = self.root / path.lstrip("/")
            if folder.startswith("/") and os.path.isfile(here) and os.access(here, os.X_OK):
                return path
        return None

    def run(self, command: Sequence[str]) -> Answer:
        """Runs a program as the helper is run: without input and next to no environment."""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=helper_environment(),
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(None, err=f"it did not end within {_PATIENCE:.0f} seconds")
        except OSError as error:
            return Answer(None, err=f"it can't be run: {error.strerror}")
        return Answer(done.returncode, *(text.decode("utf-8", "replace") for text in (done.stdout, done.stderr)))

    def interpreters(self, named: str | None) -> list[str]:
        """Those that would be tried for the helper, in their order. Raises ProbeUnavailable."""
        return interpreters(named, f"--python or {PYTHON_VARIABLE}")

    # ---- this process ----

    @property
    def user(self) -> str | None:
        """The user's name; None: there is no such user on this machine, as in many containers."""
        users = (line.split(":") for line in (self.read("etc/passwd") or "").splitlines())
        here = next((words[0] for words in users if len(words) > 2 and words[2] == str(self.uid)), None)
        if here is not None or self.root != Path("/"):
            return here
        try:
            return pwd.getpwuid(self.uid).pw_name  # of a directory service
        except KeyError:
            return None

    def standing(self, name: str) -> str | None:
        """A field of /proc/self/status."""
        return self.fields("proc/self/status", ":").get(name)

    def capabilities(self, name: str) -> int:
        """One of this process's sets: CapEff, CapAmb, CapBnd."""
        try:
            return int(self.standing(name) or "0", 16)
        except ValueError:
            return 0

    @property
    def packages(self) -> str | None:
        """``apt-get`` or ``dnf``, whichever is this distribution's, or at least there."""
        words = self.fields("etc/os-release", "=")
        family = {words.get("ID", ""), *words.get("ID_LIKE", "").split()}
        for program, names in (("apt-get", {"debian", "ubuntu"}), ("dnf", {"fedora", "rhel", "centos"})):
            if family & names:
                return program
        return next((name for name in ("apt-get", "dnf") if self.which(name)), None)

    def as_root(self, command: str) -> str:
        """A command that needs root, as this user can give it."""
        if self.uid == 0:
            return command
        return f"sudo {command}" if self.which("sudo") else f"as root: {command}"

    def install(self, apt: str, dnf: str, otherwise: str) -> str:
        """The command that installs a package, or words where that is not known."""
        if self.packages is None:
            return otherwise
        return self.as_root(f"{self.packages} install {apt if self.packages == 'apt-get' else dnf}")


def _way_to(path: Path) -> Iterator[Path]:
    """All folders on the way, and links, and what these lead to."""
    todo = [path]
    for _ in range(_LINKS):
        if not todo:
            return
        path = todo.pop()
        for part in (*reversed(path.parents), path):
            yield part
            if part.is_symlink():
                todo.append(part.parent / os.readlink(part) / path.relative_to(part))
                break


def _open_to_others(path: Path) -> bool:
    """Whether anyone but root owns it or may write there. Also if it is sticky: what root has put there is removed when
    it is old, and its name is anybody's then."""
    try:
        status = os.lstat(path)
    except OSError:
        return True
    if status.st_uid != 0:
        return True
    if stat.S_ISLNK(status.st_mode):
        return False  # who may replace it is a matter of its folder
    return bool(status.st_mode & 0o022) or (os.geteuid() != 0 and os.access(path, os.W_OK))


def _limit(which: int) -> int | None:
    soft, _ = resource.getrlimit(which)
    return None if soft == resource.RLIM_INFINITY else soft
