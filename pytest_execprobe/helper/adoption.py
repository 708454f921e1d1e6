"""What a process had started before it became a root: found in /proc, because nothing was followed then."""

from __future__ import annotations

import os
from typing import Callable, Dict, List, NamedTuple, Set, Tuple

_ADOPTION_ROUNDS = 50


def adopt_descendants(
    adopt: Callable[[int, int, int], bool], root: int, pid: int, kernel_pid: int, childless: bool
) -> int:
    """Puts what a process had already started into its tree; how many there are, or may be, that could not be.

    Looked for again until nothing new is found: a process that is being adopted may fork meanwhile. ``childless``: no
    child of it has ended, so that unless one is there it has left no orphans.
    """
    adopted: Set[int] = {pid}
    failed: Set[int] = set()
    for _ in range(_ADOPTION_ROUNDS):
        table = _processes()
        found = [item for item in _descendants(table, pid) if item[0] not in adopted]
        if not found:
            orphans = [] if childless and adopted == {pid} else _orphans(table, pid, adopted)
            return len(failed) + len(orphans)
        for child, top in found:
            adopted.add(child)
            # In another pid namespace than the kernel's first, the numbers in /proc are not the kernel's.
            if pid != kernel_pid or not adopt(child, root, top):
                failed.add(child)
    return max(1, len(failed))  # they fork faster than they can be found


class _Process(NamedTuple):
    comm: bytes
    parent: int
    started: int  # clock ticks since boot
    uid: int
    session: int  # its leader's pid, and no other process's while the session lasts


def _processes() -> Dict[int, _Process]:
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as file:
                    uid = os.fstat(file.fileno()).st_uid
                    head, _, tail = file.read().rpartition(b")")
                fields = tail.split()
                comm = head.partition(b"(")[2]
                table[int(name)] = _Process(comm, int(fields[1]), int(fields[19]), uid, int(fields[3]))
            except (OSError, IndexError, ValueError):
                continue  # it has ended
    return table


def _orphans(table: Dict[int, _Process], pid: int, adopted: Set[int]) -> List[int]:
    """Processes that may have been started by this one's tree and left behind: then nothing leads to them any more.

    What a later process of the same user is, whose parent has gone, can't be told, unless its session is somebody
    else's. Helpers are known.
    """
    client = table.get(pid)
    # Who takes in the orphans here: init, or nearer by a manager of the user's session.
    reapers = {1}
    above = client
    while above is not None and above.parent in table:
        if table[above.parent].comm == b"systemd":
            reapers.add(above.parent)
        above = table[above.parent]
    return [
        other
        for other, process in table.items()
        if client is not None
        and process.parent in reapers
        and process.uid == client.uid
        and process.started >= client.started
        and other not in adopted
        and not _is_foreign(table, process.session, pid, adopted, reapers)
        and _may_exec(other)
    ]


def _is_foreign(table: Dict[int, _Process], session: int, pid: int, adopted: Set[int], reapers: Set[int]) -> bool:
    """Whether a session is certainly not this process's, nor one that a descendant of it has begun.

    A session other than one's own is joined by being forked in it alone, so its members descend from its leader.
    """
    client = table[pid]
    above = session
    if session == 0 != client.session:  # its leader is outside of this pid namespace: nobody in here can begin that
        return True
    if session == client.session or above not in table or table[above].session != session:
        return False
    while above in table and above not in reapers and above not in adopted:
        if table[above].started < client.started:
            return True
        above = table[above].parent  # its true parent, for orphans have a reaper
    return False


def _may_exec(pid: int) -> bool:
    """Neither a helper, nor ended: without memory there is no command line."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    is_helper = b"--connect" in words and any(word.endswith(b"/pytest_execprobe/helper") for word in words)
    return words != [b""] and not is_helper


def _descendants(table: Dict[int, _Process], pid: int) -> List[Tuple[int, int]]:
    """(process, child of ``pid`` that it descends from), this process itself left out."""
    children: Dict[int, List[int]] = {}
    for other, process in table.items():
        children.setdefault(process.parent, []).append(other)
    result: List[Tuple[int, int]] = []
    todo = [(child, child) for child in children.get(pid, ())]
    while todo:
        child, top = todo.pop()
        if child == os.getpid():
            continue
        result.append((child, top))
        todo += [(grandchild, top) for grandchild in children.get(child, ())]
    return result
