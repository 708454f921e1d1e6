"""Which programs are to be killed at the stop of their exec: none of their instructions has run, and none will."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Dict, Iterator, Optional

from ..probe import Denial, Enforced
from . import image, statuses
from .tree import Slot, Tracee, Tree

#: As bpf/execprobe.c has it: the path says nothing of the file, so that argv[0] does.
_DESCRIPTOR = re.compile(rb"/proc/(?:.*/fd/[^/]*|.*exe)|/dev/(?:.*/)?fd/[^/]*", re.DOTALL)


class Stops:
    """What is stopped for each root."""

    def __init__(self) -> None:
        self._roots: Dict[int, Enforced] = {}

    def set(self, root: int, enforced: Enforced) -> None:
        if enforced.denials:
            self._roots[root] = enforced
        else:
            self.forget(root)

    @property
    def any(self) -> bool:
        return bool(self._roots)

    def has(self, root: int) -> bool:
        return root in self._roots

    def forget(self, root: int) -> None:
        self._roots.pop(root, None)

    def found(self, tree: Tree, process: Tracee, read: image.Image, ids: Optional[statuses.Ids]) -> int:
        """Whose rules stop what a process has just executed: bit N, those of the root of its slot N."""
        enforced = [
            (1 << number, one)
            for number, slot in enumerate(process.slots)
            for one in [self._roots.get(slot.root)]
            if one is not None and _counts(tree, slot, one.since)
        ]
        if not enforced or ids is None:
            return 0
        names = set(_denials(process.pid, read))
        stops = (bit for bit, one in enforced if one.uid in (0, ids.uid) and not names.isdisjoint(one.denials))
        return sum(stops)


def _counts(tree: Tree, slot: Slot, since: int) -> bool:
    """Whether what a branch executes counts for what is running: one that was begun before may be what is left of
    something that has ended."""
    top = tree.processes.get(slot.top)
    return slot.born >= since or (top is not None and slot in top.slots)


def _denials(pid: int, found: image.Image) -> Iterator[Denial]:
    """All by which what a process has executed can be denied."""
    path, interpreter = found.stack.path, found.interpreter
    for called in (path, interpreter):
        if called:
            yield from _names(called)
    argv = found.stack.argv
    if path and interpreter is None and argv and _DESCRIPTOR.fullmatch(path):
        argv0 = argv.partition(b"\0")[0]
        yield Denial(0, 0, _base(argv0))
        if argv0.startswith(b"-"):  # a login shell
            yield Denial(0, 0, _base(argv0[1:]))
    root = b"/proc/%d/root" % pid
    yield from _of_file(b"/proc/%d/exe" % pid, found.executable, root)
    for script in found.scripts:
        if script is not None:
            yield from _of_file(root + script, script, root)


def _names(path: bytes) -> Iterator[Denial]:
    yield Denial(0, 0, path)
    yield Denial(0, 0, _base(path))


def _base(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _of_file(file: bytes, path: Optional[bytes], root: bytes) -> Iterator[Denial]:
    """By its name, as what has that name in its folder, and as itself: other names of it are hard links. ``path`` is
    where it lies below ``root``, as far as that is known."""
    if path is not None:
        yield Denial(0, 0, _base(path))
    with contextlib.suppress(OSError):  # it has gone meanwhile
        found = os.stat(file)
        yield Denial(found.st_dev, found.st_ino, b"")
        if path is not None and path.startswith(b"/"):
            folder = os.stat(root + os.path.dirname(path))
            yield Denial(folder.st_dev, folder.st_ino, _base(path))
