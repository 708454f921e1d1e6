"""What a source of events brings, before it is decided whose exec it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from .command import Command

#: Names an image: the process, and the time of its exec.
Image = tuple[int, int]


class Branch(NamedTuple):
    """A child of the root and all below it. ``born`` is 0 where it was there before the root was watched."""

    born: int
    top: int
    thread: int


# Not frozen, nor is Ended: there are very many, and that would double the time to make one.


@dataclass(slots=True)
class Exec:
    """A successful exec, or with ``error`` a failed one. Without a ``command`` nothing else is known: it was lost.

    Numbers of processes are the kernel's, save ``ppid`` and ``seen_pid``: those are what the root sees.
    """

    at: int
    entered: int
    pid: int
    branch: Branch
    parent: Image | None = None
    previous: Image | None = None
    seen_pid: int | None = None  # None: the same as ``pid``
    ppid: int | None = None
    uid: int = 0
    gid: int = 0
    error: str | None = None
    entry_unseen: bool = False  # then ``entered`` is ``at``
    command: Command | None = None
    stopped: int = 0  # 1: killed before it ran, as this root wanted; 2: as another one did alone

    @property
    def lost(self) -> bool:
        return self.command is None


@dataclass(slots=True)
class Ended:
    """A process has ended. ``image`` is what it ran, if it had exec'd, and ``status`` is as wait() has it."""

    at: int
    pid: int
    branch: Branch
    image: Image | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Blind:
    """From ``at`` on (or around it, if ``moment``) execs may have taken place that left no trace at all."""

    at: int
    moment: bool
    why: str
    #: In which branch, where it is known that it is no other.
    branch: Branch | None = None


Event = Exec | Ended | Blind


class Batch(NamedTuple):
    """What is new since the last batch.

    ``complete_to``: every exec entered up to this time (ns) is in a batch, save at most ``in_flight`` ones, which took
    longer than was waited; 0 where the batch proves nothing of the kind. At most ``unplaced`` events, between
    ``unplaced_from`` and ``unplaced_to``, were lost and it is not known whose they were, or more if that is
    ``unbounded``; the kernel had ``skipped`` the probe for so many of them. ``mark`` is the batch's own.
    """

    events: tuple[Event, ...]
    complete_to: int = 0
    in_flight: int = 0
    unplaced: int = 0
    unplaced_from: int = 0
    unplaced_to: int = 0
    skipped: int = 0
    unbounded: bool = False
    mark: object = None

    @property
    def is_quiet(self) -> bool:
        """Whether it says that nothing has happened, and nothing else."""
        return self[:1] + self[2:-1] == _QUIET


_QUIET = Batch(())[:1] + Batch(())[2:-1]  # without ``complete_to`` and ``mark``
#: For the mark of the last batch that was given.
LAST: Final = object()


@dataclass(frozen=True, slots=True)
class Process:
    """One that has not ended. ``pid`` is what the root sees, None if that is not known; ``kernel_pid`` the kernel's."""

    pid: int | None
    kernel_pid: int
    #: What it runs, None if that is what was there before the root was watched.
    image: Image | None
    #: The name of that, as its exec gave it: 15 bytes at most, "" if not known.
    comm: str
    #: Whether it has executed that itself, and does not only run what it was forked from.
    own_exec: bool
    #: When it executed that, or else was forked, in ns; None if not known.
    since: int | None


@dataclass(frozen=True, slots=True)
class Running:
    """The processes of a tree that have not ended, without the root: how many, and the first of them."""

    count: int
    listed: tuple[Process, ...] = ()
    #: Whether it is certain that there were no others than those listed.
    are_all: bool = False


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process of this user's that has lost its parent. ``pid`` is what the root sees, None if that is not known;
    ``age`` is how long it had been there when the root was watched, in seconds; ``command`` its command line, cut, None
    if that can't be shown."""

    pid: int | None
    age: float
    command: str | None


@dataclass(frozen=True, slots=True)
class Orphans:
    """Processes that the root's tree may have left behind before it was watched: how many, and the first of them."""

    count: int = 0
    listed: tuple[Orphan, ...] = ()


class Source(Protocol):
    """Where events come from: the helper, or in tests a fake. All methods raise SourceLost.

    ``taken`` is the mark of the last batch that was taken in. An exception may break in between a batch and its place,
    so what was in a batch is in the next again, as long as it is not said to have been taken in.
    """

    #: The process that made it, whose tree is watched.
    pid: int
    #: Since when, ns.
    armed_at: int
    #: How many processes that were there before could not be adopted.
    unadopted: int
    #: What may have been one of those, or a process of other work.
    orphans: Orphans
    #: Whether processes are hidden from the helper, so that there may be more of either.
    hidden: bool
    #: Why failed attempts are not recorded, None if they are.
    attempts_refused: str | None

    @property
    def description(self) -> Mapping[str, Any]:
        """What the helper says of itself."""

    def sync(self, timeout: float, taken: object = LAST) -> Batch:
        """Everything up to now."""

    def wait(self, timeout: float, taken: object = LAST) -> Batch:
        """As soon as something is new, or an empty batch after ``timeout`` seconds."""

    def running(self, since: int, timeout: float) -> Running:
        """What has not ended, of the branches of its tree that were begun from ``since`` on. That there is nothing is
        certain: then nothing of them can execute anything any more."""

    def stop(self, patterns: Sequence[str], since: int, timeout: float) -> None:
        """Has what goes by these names and paths killed before it runs, from when this returns on, and nothing else any
        more. Branches that were begun before ``since`` (ns) count while their top process lives. Raises StopError where
        that can't be had."""

    def close(self) -> None: ...

    def part(self, timeout: float) -> None:
        """Closes it, and remembers what of the tree goes on, for the next source of this process."""

    def shows_nothing_new(self, until: int, taken: object) -> bool:
        """Whether memory shows that all which was entered until a moment that has passed (ns) is here, and was taken in
        by the mark ``taken``."""

    def in_child(self, *, fresh: bool, timeout: float) -> Source:
        """For a forked child, ``fresh`` if it has no child yet: a source of its own."""
