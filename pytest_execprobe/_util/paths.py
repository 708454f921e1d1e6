"""What the path of a program says of it, and what not. Pure."""

from __future__ import annotations

import re

from . import originals

# Links of the kernel's own, whose names say nothing of the file or folder that they lead to. /proc may be mounted in
# other places, too, and stands elsewhere for whoever has another root folder.
_PROCESS = r".*/proc/(?:self|thread-self|\d+)(?:/task/\d+)?"
_DESCRIPTOR = re.compile(rf"{_PROCESS}/(?:fd/\d+|exe|map_files/[^/]+)|.*/dev/(?:fd/\d+|stdin|stdout|stderr)", re.DOTALL)
LIKE_A_DESCRIPTOR = re.compile(r"\d+|exe|stdin|stdout|stderr|[0-9a-f]+-[0-9a-f]+")
_THROUGH = re.compile(rf"(?:{_PROCESS}/(?:fd/\d+|cwd|root)|.*/dev/fd/\d+)/.+", re.DOTALL)


def as_recorded(text: originals.Path) -> str:
    """A name or path of Python's own, which goes by the locale, as records have it: bytes taken for UTF-8."""
    text = originals.fspath(text)
    if text.isascii():
        return text
    try:
        return originals.fsencode(text).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text


def on_disk(path: str) -> bytes:
    """A path that records, or patterns, have, to ask the system for: whatever the locale."""
    return path.encode("utf-8", "surrogateescape")


def real(path: str) -> str:
    """A path without links. One that no file can have, as a report may say, has none."""
    try:
        return originals.realpath(on_disk(path)).decode("utf-8", "surrogateescape")
    except ValueError:
        return path


def names_descriptor(path: str, cwd: str | None) -> bool:
    """Whether a path, executed in a working directory, leads to a file by a descriptor or as ``/proc/self/exe``."""
    plain = _plain(path, cwd)
    return plain is not None and _DESCRIPTOR.fullmatch(plain) is not None


def leads_through_descriptor(path: str, cwd: str | None) -> bool:
    """Whether it names a file in a folder that is named by a descriptor, as of execveat(), or ``/proc/PID/cwd``."""
    plain = _plain(path, cwd)
    return plain is not None and _THROUGH.fullmatch(plain) is not None


def _plain(path: str, cwd: str | None) -> str | None:
    """The path without what says nothing, if it can be one of these; most are not, as is soon seen."""
    path = absolute(path, cwd) or path
    if not ("/proc/" in path or "/dev/" in path):
        return None
    path = re.sub(r"/(?:\.?/)+", "/", path)
    return originals.normpath(path.replace("/dev/fd/../", "/proc/self/"))


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
        return None if executable is None else name_of(executable)
    return base(path)


def base(path: str) -> str:
    """The last component."""
    return originals.basename(path) or path


def name_of(file: str) -> str:
    """A resolved file's name: the last component, and all of it where the file is in no folder (a memfd)."""
    return base(file) if file.startswith("/") else file
