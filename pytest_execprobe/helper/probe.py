"""What the server asks of a probe, whichever way that watches the kernel.

Times are CLOCK_MONOTONIC in nanoseconds. Numbers of processes are the kernel's own, where nothing else is said.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Protocol, Set

from . import wire


class Counts(NamedTuple):
    """Sums over all CPUs, and over the trees of all roots. Of records: made are those ``seen``, each is then
    ``submitted`` or ``dropped``."""

    submitted: int
    dropped: int
    unlisted: int  # dropped, and not even their heads are left
    seen: int
    entered: int  # execs that were begun
    ended: int  # of those, the ones that are done or have failed
    blind: int  # of the unlisted: each stands for any number of execs


class Missed(NamedTuple):
    """How often the kernel has skipped the probe."""

    forks: int
    execs: int
    exits: int


class Claimed(NamedTuple):
    """A process that has taken on a name that was claimed."""

    armed_at: int
    pid: int
    refused: bool  # it is in as many trees already as it can be
    reapers: Optional[Set[int]]  # its ancestors that take in orphans; None: any may
    whole: bool = False  # whether all that it has started is in its tree


class Process(NamedTuple):
    """A process of a root's tree that has not ended."""

    seen: int  # its pid as the root sees it; 0: not known
    pid: int
    born: int  # when its branch left the root; 0: before the root was watched
    forked: int  # when it was forked itself, likewise
    image_pid: int  # what it runs
    image_at: int  # 0: what was there before the root was watched
    own_exec: bool  # whether it has executed that itself, and does not only run what it was forked from
    comm: bytes  # of what it runs, as its exec has named it


class Running(NamedTuple):
    """Such processes, and whether it is certain that there were no others."""

    listed: List[Process]
    are_all: bool


class Page(NamedTuple):
    """Memory in which ``wire.COUNTERS`` of each CPU stand as they are now."""

    fd: int
    cpus: int


class Denial(NamedTuple):
    """What must not run, as in :mod:`.stopping` and struct denial of bpf/abi.h: a name or a path (both numbers 0), a
    file (no name), or what has a name in a folder."""

    device: int
    inode: int
    name: bytes


class Enforced(NamedTuple):
    """What is stopped for a root."""

    uid: int  # whose processes may be killed: those of this user; 0: all
    since: int  # branches that were begun before count while their top process lives
    denials: FrozenSet[Denial]


class Probe(Protocol):
    """Follows roots: processes, and all that these fork. It needs privilege to be made and none to be used, and knows
    nothing of clients."""

    def describe(self) -> Dict[str, Any]:
        """What it is, for people: the fields ``bcc``, ``kernel``, ``entry``, ``attempts``, ``attempts_refused`` and
        ``stops_refused``: why nothing can be stopped before it runs, None if it can."""

    @property
    def page(self) -> Optional[Page]:
        """The counters, for others to read. None where something can happen that they do not show."""

    # ---- records ----

    def fds(self) -> List[int]:
        """Become readable when there is something to drain."""

    def want_wakeup(self, wanted: bool) -> None:
        """Whether the end of every exec is to make :meth:`fds` readable."""

    def interrupt_for(self, fd: int) -> None:
        """A socket at which something may come while :meth:`drain` waits for more: then it is to end. A probe whose
        does not wait has nothing to do."""

    def drain(self) -> None:
        """Takes in what the kernel side has recorded."""

    def take(self) -> List[wire.Piece]:
        """What was drained since the last call."""

    def take_dropped(self) -> List[bytes]:
        """The heads of records that found no room."""

    # ---- how much there should be ----

    def counts(self) -> Counts: ...

    def in_flight(self, before: int, root: int) -> int:
        """How many execs, at most, are neither done nor failed, of those that were entered up to ``before`` in this
        root's tree. 0 is certain, and so is that there are some."""

    def reconcile(self) -> Optional[Counts]:
        """Drains until all that was submitted is here; the counts that it was reconciled with, None if that can't be
        reached."""

    def missed(self) -> Missed:
        """How often the kernel has skipped the probe since the last call, or fewer times than that."""

    # ---- roots, and what descends from them ----

    def claim(self, name: bytes, root: int, pid: int) -> bool:
        """Makes whichever process takes on this name a root, or ``pid`` at once, which has asked for that; False if
        there are too many such names. Raises ProbeError where the process can't be watched."""

    def leave(self, root: int, patterns: List[str]) -> None:
        """Programs of a root's tree that do not work where they are watched: names and paths, as fnmatch has them. A
        probe that is in nobody's way watches them all the same."""

    def stop(self, root: int, enforced: Enforced) -> None:
        """From now on, kills what is executed below a root before it runs, in the place of what was to be. Raises
        ProbeError."""

    def withdraw(self, name: bytes) -> None:
        """Ends a claim, taken or not. A name that is taken on at this very moment can still become a root."""

    @property
    def must_stay(self) -> bool:
        """Whether there are processes that can do nothing without this one, though it has no client."""

    def claimed(self, root: int) -> Optional[Claimed]:
        """Who has become this root, None before it took on its name."""

    def holds(self, pid: int, root: int) -> bool:
        """Whether a process is in a root's tree."""

    def adopt(self, pid: int, root: int, top: int) -> bool:
        """Puts a process that was there before into a root's tree, in the branch of ``top``; False if it can't be."""

    def forget_root(self, root: int) -> None:
        """Follows it no longer; a root for which something is stopped only when nothing is any more."""

    def running(self, root: int, since: int) -> Optional[Running]:
        """The processes of a root's tree that have not ended, of the branches that left it from ``since`` on. None if
        there are some that can't be listed. An empty list is certain, but for what it was to :meth:`leave`."""

    def kernel_pid(self, pid: int) -> Optional[int]:
        """The kernel's number of a process that has this number here; 0 if there is none, None if that is unknown."""
