"""Who asked for a command that no one wrote: a line under a breach. Pure.

A row is here if the arguments alone say who asks, and a person would hardly write them. Each was measured: with the
libraries and tools that are there by tests/kernel/test_real_askers.py, else in the version that
tests/unit/test_askers.py has. docs/what-runs.md has more of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from .._util.text import printable
from ..timeline.kinds import Kinds
from ..timeline.record import ExecRecord
from .checks import names

_MOST = 3  # lines under one breach
_LOOKED_AT = 1000  # records that are not of one kind
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*t?")


@dataclass(frozen=True)
class Asker:
    """A command, and who asks it."""

    #: How it is shown; one word alone as the program is called. The first word is the program's name, ``python`` any
    #: Python's; the rest are its arguments, if there is no expression for those.
    command: str
    #: It follows the command.
    said: str
    #: A regular expression for all of the arguments, with a space between.
    arguments: str | None = None
    #: Path and argv[0] that Python calls it by: the tests' own process, as what is below that can be anything.
    called: tuple[str, str] | None = None
    #: Whether all that is below it runs because of it, too: it runs nothing that is a user's.
    covers: bool = False
    #: Other names of the program.
    aliases: tuple[str, ...] = ()

    def asks(self, record: ExecRecord, *, of_python: bool) -> bool:
        """Whether a record of this program is this command, for certain."""
        if record._command.arguments is None or record.argv_truncated:
            return False
        if self.called is not None:
            is_direct = of_python and record._lineage.direct
            if not is_direct or (record.path, *(record._command.argv or ())[:1]) != self.called:
                return False
        given = " ".join(record._command.arguments)
        if self.arguments is None:
            return given == self.command.partition(" ")[2]
        return re.fullmatch(self.arguments, given, re.DOTALL) is not None


_LIBRARY = "ctypes.util.find_library()"
_DISTRO = "is what distro asks, and pip, which has it within (so venv does, too)"
_FLAGS = r"(?:-\S+ )*"
_KEYRING = "-l(?:Security|CoreServices|Foundation)"
_GCC = "is a part of GCC: subtree: with the compiler that runs it (gcc, g++, cc, gfortran) has them all"

#: Of a program, the first that fits counts.
ASKERS = (
    # ---- the standard library ----
    Asker("uname -p", "is what platform.processor() asks, and so does platform.platform()"),
    Asker(
        "file -b python",
        "is what platform.architecture() asks of its interpreter",
        rf"-b (?:.*/)?{_PYTHON.pattern}",
    ),
    Asker(
        "gcc -Wl,-t -o … -lSecurity",
        f"is what keyring asks by {_LIBRARY}, as it loads its backend for macOS",
        rf"-Wl,-t -o \S+ {_KEYRING}",
        covers=True,
        aliases=("cc",),
    ),
    Asker(
        "ld -t -o /dev/null -lSecurity",
        f"is what keyring asks by {_LIBRARY}, as it loads its backend for macOS",
        rf"-t (?:-L \S+ )*-o /dev/null {_KEYRING}",
    ),
    Asker("gcc -Wl,-t -o … -l…", f"is what {_LIBRARY} asks", r"-Wl,-t -o \S+ -l\S+", covers=True, aliases=("cc",)),
    Asker("ld -t -o /dev/null -l…", f"is what {_LIBRARY} asks", r"-t (?:-L \S+ )*-o /dev/null -l\S+"),
    Asker("objdump -p -j .dynamic", f"is what {_LIBRARY} asks", r"-p -j \.dynamic .+"),
    Asker("ldconfig -p", f"may come from {_LIBRARY}, or from PyInstaller"),
    Asker(
        "python -c 'from multiprocessing.resource_tracker …'",
        "is multiprocessing's resource tracker",
        rf"{_FLAGS}-c from multiprocessing\.resource_tracker import main; ?main\(.*",
    ),
    Asker(
        "python -c 'from multiprocessing.forkserver …'",
        "is multiprocessing's fork server",
        rf"{_FLAGS}-c from multiprocessing\.forkserver import main; ?main\(.*",
    ),
    Asker(
        "python -c 'from multiprocessing.spawn …'",
        "is a worker of multiprocessing (start method spawn)",
        rf"{_FLAGS}-c from multiprocessing\.spawn import spawn_main; ?spawn_main\(.* --multiprocessing-fork",
    ),
    Asker(
        "python -m ensurepip",
        "is how venv installs pip (venv's with_pip=False, or --without-pip, does without)",
        "-I?m ensurepip --upgrade --default-pip",
        covers=True,
    ),
    Asker(
        "sh -c",
        "is how subprocess with shell=True, and so os.popen(), executes a command",
        "-c .*",
        called=("/bin/sh", "/bin/sh"),
    ),
    Asker("sh -c", "is how os.system() executes a command", "-c .*", called=("/bin/sh", "sh")),
    # ---- libraries ----
    Asker("lscpu --parse=core", "is how loky counts physical cores, for joblib and scikit-learn"),
    Asker(
        "python -c 'from loky.backend.resource_tracker …'",
        "is a resource tracker of loky's (joblib has it within)",
        rf"{_FLAGS}-c from (?:joblib\.externals\.)?loky\.backend\.resource_tracker import main; ?main\(.*",
    ),
    Asker(
        "python -m loky.backend.popen_loky_posix",
        "is a worker of loky's (joblib has it within)",
        rf"{_FLAGS}-m (?:joblib\.externals\.)?loky\.backend\.popen_loky_posix .*",
    ),
    Asker(
        "python -c 'import sys;exec(eval(sys.stdin.readline()))'",
        "is a worker of execnet's, as pytest-xdist has them",
        rf"{_FLAGS}-c import sys;exec\(eval\(sys\.stdin\.readline\(\)\)\)",
    ),
    Asker("lsb_release -a", _DISTRO, covers=True),
    Asker("uname -rs", _DISTRO),
    Asker("python cpuinfo.py --json", "is py-cpuinfo, which runs itself again", r".*/cpuinfo\.py --json", covers=True),
    Asker("sysctl machdep.cpu hw.cpufrequency", "is what py-cpuinfo asks, though only macOS could answer"),
    Asker("dmesg -a", "is what py-cpuinfo asks, though only a BSD could answer"),
    Asker("fc-list --help", "is what matplotlib asks where it has no font cache yet"),
    Asker(r"fc-list --format=%{file}\n", "is what matplotlib asks where it has no font cache yet"),
    Asker("python -m ipykernel_launcher", "is the kernel of a notebook", rf"{_FLAGS}-m ipykernel_launcher -f .*"),
    Asker("node cli.js run-driver", "is Playwright's driver", r".*/playwright/driver/package/cli\.js run-driver"),
    Asker("selenium-manager", "is what selenium asks for a browser and its driver", ".*", covers=True),
    Asker("git version", "may come from the import of GitPython"),
    Asker("jspawnhelper", "is how a Java VM executes each program", ".*"),
    # ---- packaging ----
    Asker(
        "python _in_process.py",
        "is a build back end, as pip and build run one",
        r"(?:\S*/)?pyproject_hooks/_in_process/_in_process\.py .*",
    ),
    Asker(
        "python _py_info_collect.py",
        "is what virtualenv asks an interpreter",
        rf"{_FLAGS}\S*/python_discovery/_py_info_collect\.py.*",
        covers=True,
    ),
    Asker(
        "python -c '… VIRTUALENV_PIP_WHEEL …' download",
        "is virtualenv, which updates its pip behind (not with --no-periodic-update)",
        r"-c .*os\.environ\['VIRTUALENV_PIP_WHEEL'\].* download .*",
        covers=True,
    ),
    Asker("rustc --version", "may come from pip, for its user agent", covers=True),
    Asker("ld-linux-x86-64.so.2 --version", "may come from uv, which asks which libc this is"),
    Asker("openssl sha512", "may come from torch.compile, which hashes a header by it", r"sha512 \S+"),
    Asker("uv self version --output-format json", "is what nox asks as it starts, whichever backend it is to use"),
    # ---- tools ----
    Asker(
        "python -c '… normalize = …'",
        "is pyright, which asks a project's Python for its paths",
        r"(?:-I )?-c import os, os\.path, sys; normalize = .*",
    ),
    Asker(
        "git maintenance run --auto", "is what git runs by itself", r"maintenance run --auto(?: --\S+)*", covers=True
    ),
    Asker("git gc --auto", "is what git runs by itself", r"gc --auto(?: --\S+)*", covers=True),
    Asker("sh -c git-upload-pack", "is git's other side, of a clone, fetch or pull", "-c git-upload-pack '.*"),
    Asker("sh -c git-receive-pack", "is git's other side, of a push", "-c git-receive-pack '.*"),
    Asker("cc1", _GCC, ".*", covers=True, aliases=("cc1plus", "collect2", "f951")),
    Asker("dpkg --print-foreign-architectures", "is what apt asks"),
)

_OF_PROGRAM: dict[str, list[Asker]] = {}
for _asker in ASKERS:
    for _name in (_asker.command.partition(" ")[0], *_asker.aliases):
        _OF_PROGRAM.setdefault(_name, []).append(_asker)


def asked_by(records: Iterable[ExecRecord], *, of_python: bool = True) -> list[str]:
    """A line for each known asker of some records, a few at most. Where one above a record in the process tree explains
    it, that one counts. ``of_python``: whether the windows' own process runs Python."""
    found: dict[str, _Explained] = {}
    above = _Above(of_python)
    for record in Kinds([*records], in_tree=True).first[:_LOOKED_AT]:
        higher = _higher(record)
        reason = record if higher is None else above.topmost(higher) or record
        asker = _asker_of(reason, of_python)
        if asker is not None:
            explained = found.setdefault(asker.said, _Explained(asker.said))
            explained.commands[asker.command if " " in asker.command else reason.program or "?"] = None
            (explained.itself if reason is record else explained.below).append(record)
    return [explained.line for explained in found.values()][:_MOST]


@dataclass
class _Explained:
    """What one asker explains: commands, by records of theirs and of what is below them."""

    said: str
    commands: dict[str, None] = field(default_factory=dict)
    itself: list[ExecRecord] = field(default_factory=list)
    below: list[ExecRecord] = field(default_factory=list)

    @property
    def line(self) -> str:
        first, *others = (f"`{command}`" for command in self.commands)
        more = f" (and {', '.join(others)})" if others else ""
        where = "" if self.itself else f", above {names(self.below)},"
        return printable(f"{first}{more}{where} {self.said}")


def _asker_of(record: ExecRecord, of_python: bool) -> Asker | None:
    program = record.program or ""
    name = "python" if _PYTHON.fullmatch(program) else program
    return next((asker for asker in _OF_PROGRAM.get(name, ()) if asker.asks(record, of_python=of_python)), None)


def _higher(record: ExecRecord) -> ExecRecord | None:
    """What a process was before, or what forked it."""
    return record._lineage.previous or record.parent


class _Above:
    """The topmost of a record and those above it that explains what is below it, each looked at once."""

    def __init__(self, of_python: bool) -> None:
        self._of_python = of_python
        self._known: dict[ExecRecord, ExecRecord | None] = {}

    def topmost(self, record: ExecRecord) -> ExecRecord | None:
        way: list[ExecRecord] = []
        at: ExecRecord | None = record
        while at is not None and at not in self._known:
            way.append(at)
            at = _higher(at)
        found = None if at is None else self._known[at]
        for one in reversed(way):
            if found is None:
                asker = _asker_of(one, self._of_python)
                found = one if asker is not None and asker.covers else None
            self._known[one] = found
        return found
