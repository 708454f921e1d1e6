"""Under which names an exec is known: pure functions over what was recorded of it."""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .record import ExecRecord

#: Links of the kernel's own, whose names say nothing of the file that they lead to.
_DESCRIPTOR = re.compile(
    r"(/proc/[^/]+/root)*/(dev/(stdin|stdout|stderr)|proc/(self|thread-self|\d+)(/task/\d+)?/(fd/\d+|exe|map_files/[^/]+))"
)


def names_descriptor(path: str, cwd: str | None) -> bool:
    """Whether a path, executed in a working directory, leads to a file by a descriptor or as ``/proc/self/exe``."""
    path = absolute(path, cwd) or path
    if not ("/proc/" in path or "/dev/" in path):  # most are told by this, and soon
        return False
    return _DESCRIPTOR.fullmatch(posixpath.normpath(re.sub(r"^/+dev/+fd(?=/)", "/proc/self/fd", path))) is not None


def absolute(path: str, cwd: str | None) -> str | None:
    """A path from the root on; None where the working directory is not known."""
    if not path.startswith("/"):
        if cwd is None:
            return None
        path = f"{cwd}/{path}"
    return "/" + path.lstrip("/")


def program_name(path: str | None, executable: str | None, cwd: str | None) -> str | None:
    """What a program is called: by its path, so that a link keeps its own name (busybox), except where the path says
    nothing of the file."""
    if path is None:
        return None
    if names_descriptor(path, cwd):
        return None if executable is None else base(executable)
    return base(path)


def base(path: str) -> str:
    """The last component; a memfd's name is one."""
    return path if path.startswith("memfd:") else posixpath.basename(path) or path


def called(record: ExecRecord) -> str | None:
    """argv[0], where it tells what was executed and the path does not: None elsewhere.

    That is so of a descriptor, and of a program that executes its own file again: busybox runs its tools like that.
    """
    if record.interpreter is not None or not record.argv or record.path is None:
        return None
    above = (record.parent, record._previous)
    itself = record.executable is not None and record.executable in {other.executable for other in above if other}
    return record.argv[0] if itself or names_descriptor(record.path, record.cwd) else None


def described(record: ExecRecord) -> str:
    """The command line, and argv[0] where that is not what the path says."""
    text = record.command_line
    if record.interpreter is None and record.argv and record.path is not None:
        argv0 = record.argv[0]
        if base(argv0) != base(record.path):
            text += f"  (argv[0]: {shlex.quote(argv0)})"
    return text


def files(record: ExecRecord) -> list[str | None]:
    """What an exec has loaded or read, by every path that is known of it; None for each that is there and not known."""
    found = [record.executable]
    if record.interpreter is not None:
        found += [record.script, record.interpreter, *((None,) if record._nested is None else record._nested)]
    return found
