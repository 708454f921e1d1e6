"""The processes that are followed, and where each stands in the trees of roots."""

from __future__ import annotations

import operator
import re
from fnmatch import translate
from typing import Dict, Iterator, List, NamedTuple, Optional, Pattern, Set, Tuple

from .. import wire
from . import statuses


class Slot(NamedTuple):
    """Where a process stands below one root. A root's own slot has no top."""

    root: int
    born: int  # when the branch left the root, ns; 0: before the root was watched, or the root itself
    top: int  # the process that the root forked, 0: this is the root itself
    thread: int  # the thread of the root that forked it, as the root sees it, 0: not known


_TOP = operator.attrgetter("top")


class Tracee:
    """Of an image it is known by which process and when it was executed."""

    __slots__ = (
        "comm",
        "creator",
        "forked",
        "former",
        "had_threads",
        "image_at",
        "image_pid",
        "is_fresh",
        "own_exec",
        "parent_at",
        "parent_pid",
        "pid",
        "slots",
        "tids",
    )

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.tids: Set[int] = set()
        self.slots: List[Slot] = []
        self.image_pid = self.image_at = 0  # at 0: what was there when watching began
        self.parent_pid = self.parent_at = 0  # the image of its creator
        self.own_exec = False
        self.is_fresh = False  # whether it was forked, and has executed nothing, as far as is seen
        self.forked = 0  # ns; 0: before the root was watched
        self.comm = b""
        self.had_threads = False  # which have ended since its last exec
        self.former: Optional[Tracee] = None  # as it was before that, if that may have ended threads
        self.creator: Optional[Tracee] = None  # what has forked it, or what had forked that, if it has ended

    def slot(self, root: int) -> Optional[Slot]:
        return next((slot for slot in self.slots if slot.root == root), None)

    @property
    def is_top(self) -> bool:
        """Whether it begins a branch of some root."""
        return any(slot.top == self.pid for slot in self.slots)

    @property
    def is_below(self) -> bool:
        """Whether it descends from some root."""
        return any(map(_TOP, self.slots))


class Tree:
    """All of them, by pid, and the roots that are watched."""

    def __init__(self) -> None:
        self.processes: Dict[int, Tracee] = {}
        #: Of each root, how many PID namespaces its own is below that of /proc.
        self.levels: Dict[int, int] = {}
        self.has_levels = False  # whether any is below at all
        self._has_forgotten = False  # a root: until then no slot is of one that has gone
        self._left: Dict[int, List[Tuple[bool, Pattern[str]]]] = {}
        #: Of what was followed and is not any more, by pid, that which has not ended.
        self.untraced: Dict[int, Tracee] = {}
        #: What was forked, and is not seen to have executed anything; whether it had, when it was killed.
        self.fresh: Dict[int, bool] = {}
        #: Roots of whose trees something was.
        self.has_left: Set[int] = set()

    def begin(self, root: int, level: int) -> None:
        self.levels[root] = level
        self.has_levels = self.has_levels or level > 0

    def add(self, pid: int) -> Tracee:
        return self.processes.setdefault(pid, Tracee(pid))

    def below(self, root: int, *, untraced: bool = False, with_root: bool = False) -> Iterator[Tracee]:
        """The processes of a root's tree, but for the root itself, unless ``with_root``. ``untraced``: with those that
        are not followed any more."""
        for process in [*self.processes.values(), *(self.untraced.values() if untraced else ())]:
            slot = process.slot(root)
            if slot is not None and (slot.top or with_root):
                yield process

    def leave(self, root: int, patterns: List[str]) -> None:
        """Of a root, which programs are not to be followed: names, and absolute paths, as fnmatch has them."""
        if patterns:
            self._left[root] = [("/" in pattern, re.compile(translate(pattern))) for pattern in patterns]

    def forget_root(self, root: int) -> None:
        self.levels.pop(root, None)
        self._has_forgotten = True
        self._left.pop(root, None)
        self.has_left.discard(root)

    @property
    def leaves_any(self) -> bool:
        return bool(self._left)

    def is_left(self, process: Tracee, paths: List[str]) -> bool:
        """Whether a program that goes by these paths is not to be followed."""
        return any(
            pattern.match(path if is_path else path.rpartition("/")[2])
            for slot in process.slots
            for is_path, pattern in self._left.get(slot.root, ())
            for path in paths
        )

    def living(self, process: Tracee) -> List[Slot]:
        """Its slots, without those of roots that have gone."""
        if self._has_forgotten and any(slot.root not in self.levels for slot in process.slots):
            process.slots = [slot for slot in process.slots if slot.root in self.levels]
        return process.slots

    def descendants(self, process: Tracee) -> Optional[List[Tuple[Tracee, int]]]:
        """Those that live, whoever has taken them in, each with the last between it and this one that lives, too. None
        if there may be others: it was not followed from its fork on, or something of its tree runs untraced."""
        slots = self.living(process)
        is_followed = any(slot.top and 0 < slot.born <= process.forked for slot in slots)
        if not is_followed or any(slot.root in self.has_left for slot in slots):
            return None
        found = []
        for other in self.processes.values():
            top, above = other, other.creator
            while above is not None and above is not process:
                top, above = above if self._lives(above) else top, above.creator
            if above is not None:
                found.append((other, top.pid))
        return found

    def forker(self, parent: Tracee, ended: Optional[Tracee]) -> Tracee:
        """Who has forked a child of this parent: if what has ended descends from that, it has, and its child was taken
        in."""
        above = None if ended is None else ended.creator
        while above is not None and above is not parent:
            above = above.creator
        return parent if ended is None or above is None else ended

    def _lives(self, process: Tracee) -> bool:
        return self.processes.get(process.pid) is process

    def enter(self, process: Tracee, slot: Slot) -> bool:
        """False if it is in as many trees as it can be."""
        if process.slot(slot.root) is not None:
            return True  # it has been forked since the root is watched: twice in the tree, it would count twice
        if len(self.living(process)) >= wire.SLOTS:
            return False
        process.slots = [*process.slots, slot]
        return True

    def fork(self, parent: Tracee, pid: int, thread: int, at: int) -> Tracee:
        """A child of a process, forked by this thread of it."""
        child = self.processes[pid] = Tracee(pid)
        self.fresh[pid] = False
        child.image_pid = child.parent_pid = parent.image_pid
        child.image_at = child.parent_at = parent.image_at
        child.comm, child.forked, child.creator, child.is_fresh = parent.comm, at, parent, True
        # Of those that have ended none is kept for its own sake, or what forks on and on would leave a long line.
        while parent.creator is not None and not self._lives(parent.creator):
            parent.creator = parent.creator.creator
        child.slots = [
            slot if slot.top else Slot(slot.root, at, pid, self._seen(thread, slot.root))
            for slot in self.living(parent)
        ]
        return child

    def _seen(self, thread: int, root: int) -> int:
        """What a root calls a thread of its own, 0 where that is not known."""
        level = self.levels.get(root, 0)
        status = statuses.status_of(thread) if level and thread else None
        return thread if not level else 0 if status is None else status.number(level)

    def replace_roots(self, process: Tracee, thread: int, at: int) -> None:
        """A root that executes something begins a branch of its own."""
        process.slots = [
            slot if slot.top else Slot(slot.root, at, process.pid, thread) for slot in self.living(process)
        ]
