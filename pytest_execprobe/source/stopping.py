"""What is to be stopped before it runs, as a helper takes it: names of programs, and files by the kernel's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import O_CLOEXEC, O_PATH
from typing import Any, NamedTuple

from .._util import originals
from .._util.paths import on_disk, real

_LONGEST = 255  # bytes, as helper.stopping has it
_DENIALS = 256  # likewise
_MOST = 3800  # characters of one request, which has 4096 bytes, and these are its longest part


class StopError(Exception):
    """Something can't be stopped before it runs. The message says why, and what to do."""


class Denials(NamedTuple):
    """See :mod:`pytest_execprobe.helper.stopping`."""

    names: tuple[str, ...] = ()
    files: tuple[tuple[int, int], ...] = ()
    places: tuple[tuple[int, int, str], ...] = ()

    def parts(self) -> Iterator[dict[str, Any]]:
        """In requests, of which there is at least one."""
        part: dict[str, Any] = {"names": [], "files": [], "places": []}
        size = 0
        for kind, entries in self._asdict().items():
            for entry in entries:
                length = len(originals.json_dumps(entry)) + 2
                if size + length > _MOST:
                    yield {**part, "more": True}
                    part, size = {"names": [], "files": [], "places": []}, 0
                part[kind].append(entry)
                size += length
        yield {**part, "more": False}


def check(text: str) -> None:
    """Whether a pattern is one that can be enforced: a name, or an absolute path. Raises ValueError."""
    form = text.partition(":")[0] if ":" in text else ""
    is_other = form.isidentifier() and form != "memfd"  # as patterns have it
    if is_other or set(text) & set("*?[") or ("/" in text and text[0] != "/"):
        raise ValueError(
            f"{text!r} can't be enforced: only names and absolute paths of programs can, without * ? [ ]. Write those,"
            " or leave it to a rule that is not enforced"
        )
    if len(on_disk(text)) > _LONGEST:
        raise ValueError(f"{text!r} can't be enforced: it is longer than {_LONGEST} bytes. Write the program's name")


def resolve(patterns: Iterable[str], *, by_stat: bool) -> Denials:
    """The files of patterns as they are now. ``by_stat``: by the numbers of stat(2), as a tracer has them, and not by
    the kernel's own. Raises StopError."""
    names: dict[str, None] = {}
    files: dict[tuple[int, int], None] = {}
    places: dict[tuple[int, int, str], None] = {}
    for text in patterns:
        names[text] = None
        if not text.startswith("/"):
            continue
        path = real(text)
        folder, _, name = path.rpartition("/")
        try:
            device, number = _numbers(folder or "/", by_stat=by_stat)
            places[device, number, name] = None
        except FileNotFoundError:
            raise StopError(
                f"{text} can't be stopped before it runs, for there is no folder {folder}: deny it by its name, {name}"
            ) from None
        except OSError as error:
            raise StopError(f"{text} can't be stopped before it runs: {folder}: {error.strerror}") from None
        try:
            files[_numbers(path, by_stat=by_stat)] = None
        except FileNotFoundError:
            pass  # what comes to be there has its place
        except OSError as error:
            raise StopError(f"{text} can't be stopped before it runs: {error.strerror}") from None
    if len(names) + len(files) + len(places) > _DENIALS:
        raise StopError(f"more is to be stopped than can be: {_DENIALS} names, of which a path is three")
    return Denials(tuple(names), tuple(files), tuple(places))


def _numbers(path: str, *, by_stat: bool) -> tuple[int, int]:
    """Of a file's file system, and its own there: of btrfs and overlayfs stat(2) has others than the kernel. Raises
    OSError, and StopError."""
    descriptor = originals.open_file(on_disk(path), O_PATH | O_CLOEXEC)
    try:
        if by_stat:
            found = originals.fstat(descriptor)
            return found.st_dev, found.st_ino
        lines = originals.read_bytes(f"/proc/self/fdinfo/{descriptor}").splitlines()
        said = dict(line.split(b":", 1) for line in lines if b":" in line)
        if b"ino" not in said:  # before Linux 5.14
            raise StopError(f"{path} can't be stopped before it runs, for this kernel does not say which file it is")
        return _device(said[b"mnt_id"].strip()), int(said[b"ino"])
    finally:
        originals.close(descriptor)


def _device(mount: bytes) -> int:
    """The number of what is mounted there. Raises OSError."""
    for line in originals.read_bytes("/proc/self/mountinfo").splitlines():
        fields = line.split()
        if fields[0] == mount:
            major, minor = fields[2].split(b":")
            return int(major) << 20 | int(minor)
    raise FileNotFoundError(f"mount {mount.decode()}")
