"""What a process had started before it became a root: found in /proc, because nothing was followed then.

Three kinds of numbers are about. Those in /proc are of the PID namespace that it was mounted in: this process's own, or
(after ``unshare --pid`` without ``--mount-proc``) one above it. Those that system calls take and give here are of this
process's namespace. The kernel side knows only the kernel's own.
"""

from __future__ import annotations

import os
import shlex
import time
from typing import Callable, Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from . import wire

_ADOPTION_ROUNDS = 50
_HZ = os.sysconf("SC_CLK_TCK")

#: Says that there is no such process, or none that this one may look at. Whatever else goes wrong (no descriptor is
#: free) must not pass for that.
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)

#: Called at every step of whatever may take long. What it raises ends the search.
Tick = Callable[[], None]


class AdoptionError(Exception):
    """What a process had started before can't be watched safely."""


class Found(NamedTuple):
    """A process, by its number in /proc, to this process, and to the kernel."""

    in_proc: int
    here: int
    kernels: int


def _unhurried() -> None:
    """A tick for a search that may take as long as it does."""


class Known(NamedTuple):
    """What a process says of those that it had started."""

    begun: int  # when it had begun itself, in clock ticks since boot: that its clock is this process's
    since: int  # of what had begun before this, likewise, it had started none
    left: FrozenSet[Tuple[int, int]]  # but these: (the kernel's number, when it had begun)


class Orphan(NamedTuple):
    """A process that may be a descendant whose parent has ended."""

    pid: Optional[int]  # as the process sees it whose it may be
    age: float  # seconds
    command: Optional[str]  # None: its user may not see it


class Search(NamedTuple):
    """What has come of it."""

    unadopted: int = 0  # descendants that can't be followed
    orphans: int = 0
    listed: Tuple[Orphan, ...] = ()  # the first of those
    childless: bool = False  # whether no descendant was there
    hidden: bool = False  # whether processes are hidden from this one, so that there may be more of either


def adopt_descendants(
    adopt: Callable[[Found, int, int], bool],
    root: int,
    pid: int,
    kernel_pid: int,
    known: Optional[Known] = None,
    reapers: Optional[Set[int]] = None,
    to_kernels: Callable[[int], Optional[int]] = lambda pid: pid,
    tick: Tick = _unhurried,
) -> Search:
    """Puts what a process had already started into its tree.

    The process is ``pid`` here and ``kernel_pid`` to the kernel; ``to_kernels`` makes the one of the other, 0 for a
    process that has ended, and None where it can't. ``reapers`` are those of its ancestors, as the kernel numbers them,
    that take in orphans; None if any may be one. Looked for again until nothing new is found: a process that is
    being adopted may fork meanwhile. ``tick`` is called for every process that is looked at.
    """
    translated = _Translation(to_kernels)
    adopted: Set[int] = set()
    failed: Set[int] = set()
    hidden = not _sees_all()
    for _ in range(_ADOPTION_ROUNDS):
        table = _processes(tick)
        client = translated.in_proc(table, pid)
        if client is None or to_kernels(pid) != kernel_pid:
            # Whatever it has started, it is not to be found here.
            return Search(len(failed) + (not hidden), hidden=hidden)
        adopted.add(client)
        try:
            found = [item for item in _descendants(table, [client]) if item[0] not in adopted]
            if not found:
                since, left = _told(table, client, known)
                ours = [other for other in table if _is_left(other, table[other], left, translated)]
                found = [item for item in _descendants(table, ours, themselves=True) if item[0] not in adopted]
            if not found:
                above = _ancestors(table, client)
                nearer = {other for other in above if reapers is None or translated(other) in (None, *reapers)}
                orphans = _orphans(table, client, adopted, nearer, since, tick)
                listed = _listed(table, orphans, client)
                return Search(len(failed), len(orphans), listed, adopted == {client}, hidden)
        except _Torn:
            continue
        for child, top in found:
            tick()
            adopted.add(child)
            number = translated(child)
            if number == 0:
                continue  # it has ended
            here = translated.here(child)
            if not number or not here or not adopt(Found(child, here, number), root, translated(top) or 0):
                failed.add(child)
    return Search(max(1, len(failed)), hidden=hidden)  # they fork faster than they can be found


def _sees_all() -> bool:
    """Whether /proc hides no processes of other users from this one (hidepid)."""
    return os.path.exists("/proc/1/stat")


def _told(
    table: "Dict[int, _Process]", client: int, known: Optional[Known]
) -> "Tuple[int, FrozenSet[Tuple[int, int]]]":
    """Since when what has begun may be a process's own, and what else is."""
    begun = table[client].started
    if known is None or known.begun != begun:  # its clock is another, as in a time namespace
        return begun, frozenset()
    return max(begun, known.since), known.left


def _is_left(pid: int, process: "_Process", left: "FrozenSet[Tuple[int, int]]", translated: "_Translation") -> bool:
    return any(process.started == begun for _, begun in left) and (translated(pid), process.started) in left


class _Torn(Exception):
    """Processes have ended and begun while the table was read, so that one descends from itself by it."""


class _Translation:
    """From the numbers in /proc to the kernel's own."""

    def __init__(self, to_kernels: Callable[[int], Optional[int]]) -> None:
        self._to_kernels = to_kernels
        self._known: Dict[int, Optional[int]] = {}
        #: How far above this process's PID namespace that of /proc is; None where it is another one altogether.
        own = _numbers("self")
        self._above = len(own) - 1 if own else None

    def in_proc(self, table: "Dict[int, _Process]", pid: int) -> Optional[int]:
        """What a process that has this number here is in /proc; None if that can't be told."""
        if self._above is None:
            return None
        number = pid if self._above == 0 else _in_proc(pid)
        return number if number in table else None

    def __call__(self, number: int) -> Optional[int]:
        """The kernel's number of a process, which stays the same; 0 if it has ended, None if that can't be told."""
        if number not in self._known:
            self._known[number] = self._look_up(number)
        return self._known[number]

    def _look_up(self, number: int) -> Optional[int]:
        here = self.here(number)
        return self._to_kernels(here) if here else here

    def here(self, number: int) -> Optional[int]:
        """What this process calls it; 0 if it has ended, None if that can't be told."""
        if self._above == 0:
            return number
        numbers = _numbers(str(number))
        if not numbers:
            return 0
        if self._above is None or len(numbers) <= self._above:
            return None
        return numbers[self._above]


def _in_proc(pid: int) -> Optional[int]:
    """What /proc calls the process that has this number here; None if it is not there.

    Others can have the same number in namespaces beside this one, so it is asked for by a descriptor of the process.
    """
    try:
        pidfd = os.pidfd_open(pid)
        try:
            with open("/proc/self/fdinfo/%d" % pidfd, "rb") as file:
                fields = dict(line.split(b":", 1) for line in file if b":" in line)
        finally:
            os.close(pidfd)
        return int(fields[b"Pid"])
    except _GONE:
        return None
    except (KeyError, ValueError):
        return None


def _numbers(name: str) -> Tuple[int, ...]:
    """What a process is called in the PID namespace of /proc, and in each below that down to its own; nothing if it is
    not there."""
    try:
        with open("/proc/%s/status" % name, "rb") as file:
            fields = dict(line.split(b":", 1) for line in file if b":" in line)
        return tuple(map(int, fields.get(b"NSpid", fields[b"Pid"]).split()))
    except _GONE:
        return ()
    except (KeyError, ValueError):
        return ()


class _Process(NamedTuple):
    parent: int
    started: int  # clock ticks since boot
    session: int  # its leader's pid, and no other process's while the session lasts


def _processes(tick: Tick = _unhurried) -> Dict[int, _Process]:
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            tick()
            try:
                with open("/proc/%s/stat" % name, "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()  # behind its name, which can be anything
                table[int(name)] = _Process(int(fields[1]), int(fields[19]), int(fields[3]))
            except _GONE:
                continue
            except (IndexError, ValueError):
                continue  # it has ended
    return table


def real_user(pid: int) -> Optional[int]:
    """Who runs it, of a setuid program too. None if it has ended.

    The owner of files in /proc is another thing: root, of a process that is not dumpable.
    """
    try:
        with open("/proc/%d/status" % pid, "rb") as file:
            for line in file:
                if line.startswith(b"Uid:"):
                    return int(line.split()[1])
    except _GONE:
        pass
    return None


def is_zombie(pid: int) -> bool:
    """Whether it has ended, and keeps its number until its parent asks."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except _GONE:
        return True
    except IndexError:
        return True


def _line(table: Dict[int, _Process], pid: int) -> Iterator[int]:
    """A process, its parent, and so on."""
    for _ in range(len(table) + 1):
        if pid not in table:
            return
        yield pid
        pid = table[pid].parent
    raise _Torn


def _ancestors(table: Dict[int, _Process], pid: int) -> Iterator[int]:
    """Those in its own PID namespace: no others take in what it leaves behind."""
    level = len(_numbers(str(pid)))
    for above in _line(table, pid):
        if above != pid:
            if len(_numbers(str(above))) != level:
                return
            yield above


def _orphans(
    table: Dict[int, _Process],
    pid: int,
    adopted: Set[int],
    nearer: Set[int],
    since: int,
    tick: Tick = _unhurried,
) -> List[int]:
    """Processes that may have been started by this one's tree and left behind: then nothing leads to them any more.

    What a later process of the same user is, whose parent has gone, can't be told, unless its session is somebody
    else's. Helpers are known. ``nearer``: who takes in orphans before number 1 does. What has begun before ``since`` is
    none.
    """
    client, uid = table.get(pid), real_user(pid)
    reapers = _init(table, pid, tick) | nearer
    found = []
    for other, process in table.items():
        tick()
        if (
            client is not None
            and process.parent in reapers
            and process.started >= since
            and other not in adopted
            and real_user(other) == uid
            and not _is_foreign(table, process.session, pid, adopted, reapers)
            and _may_exec(other)
        ):
            found.append(other)
    return found


def _listed(table: Dict[int, _Process], orphans: List[int], client: int) -> Tuple[Orphan, ...]:
    """The first of them, for its user to look at."""
    now, uid = time.clock_gettime(time.CLOCK_BOOTTIME), real_user(client)
    level = len(_numbers(str(client)))

    def seen(pid: int) -> Optional[int]:
        numbers = _numbers(str(pid))
        return numbers[level - 1] if 0 < level <= len(numbers) else None

    return tuple(
        Orphan(seen(pid), max(0.0, now - table[pid].started / _HZ), _command_line(pid, uid))
        for pid in sorted(orphans, key=lambda pid: table[pid].started)[: wire.ORPHANS_LISTED]
    )


def _command_line(pid: int, uid: Optional[int]) -> Optional[str]:
    """Of a process, cut; None if this user could not read it: it is another's by now, or changes users."""
    try:
        if uid != 0 and os.stat("/proc/%d" % pid).st_uid != uid:
            return None
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = file.read(wire.COMMAND_MAX * 4).rstrip(b"\0").split(b"\0")
    except _GONE:
        return None
    text = " ".join(map(shlex.quote, (word.decode("utf-8", "backslashreplace") for word in words)))
    return text if len(text) <= wire.COMMAND_MAX else text[: wire.COMMAND_MAX - 1] + "\u2026"


def _init(table: Dict[int, _Process], pid: int, tick: Tick = _unhurried) -> Set[int]:
    """Number 1 of this process's PID namespace, or what may be that."""
    level = len(_numbers(str(pid)))
    if level < 2:
        return {1}

    def may_be(other: int) -> bool:
        tick()
        numbers = _numbers(str(other))
        return len(numbers) == level and numbers[-1] == 1

    for above in _line(table, pid):
        if may_be(above):
            return {above}
    return set(filter(may_be, table))  # it was put into its namespace from outside


def _is_foreign(table: Dict[int, _Process], session: int, pid: int, adopted: Set[int], reapers: Set[int]) -> bool:
    """Whether a session is certainly not this process's, nor one that a descendant of it has begun.

    A session other than one's own is joined by being forked in it alone, so its members descend from its leader.
    """
    client = table[pid]
    if session == 0 != client.session:  # its leader is outside of this pid namespace: nobody in here can begin that
        return True
    if session == client.session or session not in table or table[session].session != session:
        return False
    for above in _line(table, session):  # of true parents, for orphans have a reaper
        if above in reapers or above in adopted:
            return False
        if table[above].started < client.started:
            return True
    return False


def _may_exec(pid: int) -> bool:
    """Neither a helper nor ended."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = file.read().split(b"\0")
    except _GONE:
        return False
    is_helper = b"--connect" in words and any(word.endswith(b"/pytest_execprobe/helper") for word in words)
    return not is_helper and not is_zombie(pid)


def _descendants(table: Dict[int, _Process], of: Iterable[int], themselves: bool = False) -> List[Tuple[int, int]]:
    """(process, child of those given that it descends from), this process itself left out. ``themselves``: they count,
    too, and as such a child each."""
    met = set() if themselves else set(of)
    children: Dict[int, List[int]] = {}
    for other, process in table.items():
        children.setdefault(process.parent, []).append(other)
    result: List[Tuple[int, int]] = []
    tops = of if themselves else [child for pid in of for child in children.get(pid, ())]
    todo = [(top, top) for top in tops]
    helper = _numbers("self")[:1]
    while todo:
        child, top = todo.pop()
        if (child,) == helper:
            continue
        if child in met:
            raise _Torn
        met.add(child)
        result.append((child, top))
        todo += [(grandchild, top) for grandchild in children.get(child, ())]
    return result
