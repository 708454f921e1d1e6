"""What the helper makes of the kernel side's maps, counters and misses, where these change while it reads them."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import kernel_proc

from pytest_execprobe.helper import wire
from pytest_execprobe.helper.bpf import library, probe
from pytest_execprobe.helper.bpf.attach import FALLBACKS
from pytest_execprobe.helper.bpf.load import LoadedMap, possible_cpus
from pytest_execprobe.helper.bpf.unit import Map
from pytest_execprobe.helper.probe import Counts, Page

PID, ROOT, TOP = 7, 3, 7


def bare(**maps: Any) -> probe.BpfProbe:
    made = object.__new__(probe.BpfProbe)
    made._tables = maps
    return made


class Memory:
    """The counters' memory. Each copy of it finds one exec more, of two CPUs, in flight or over."""

    def __init__(self) -> None:
        self.copies = 0

    def __getitem__(self, part: slice) -> bytes:
        self.copies += 1
        counted = dict.fromkeys(Counts._fields, self.copies)
        return wire.COUNTERS.pack(*counted.values()) * 2


def test_what_is_counted_last_is_read_last() -> None:
    """Or an exec that is counted as seen, and not as submitted yet, would not be missed."""
    made = bare()
    made._counters = Memory()  # type: ignore[assignment]
    counts = made.counts()
    assert (counts.submitted, counts.dropped, counts.unlisted, counts.ended) == (2, 2, 2, 2)
    assert (counts.seen, counts.entered, counts.blind) == (4, 4, 4)


class InFlight:
    """The map of execs in flight: its list is read anew each time, and some that it has are gone when they are read."""

    def __init__(self, listed: Callable[[], list[tuple[int, int | None]]]) -> None:
        self._listed = listed
        self._entries: dict[bytes, int | None] = {}

    def __iter__(self) -> Iterator[bytes]:
        for task, at in self._listed():
            key = struct.pack("<Q", task)
            self._entries[key] = at
            yield key

    def get(self, key: bytes) -> bytes | None:
        at = self._entries[key]
        return None if at is None else probe._ENTERED.pack(at, PID)


def in_flight(monkeypatch: pytest.MonkeyPatch, entered: int, listed: Callable[[], list[tuple[int, int | None]]]) -> int:
    """So many have been entered and have not ended; there is a list of (task, time) that is read anew each time."""
    made = bare(execs_in_flight=InFlight(listed))
    monkeypatch.setattr(made, "counts", lambda: Counts(*[0] * 7)._replace(entered=entered))
    monkeypatch.setattr(made, "_proc", lambda _: None)
    return made.in_flight(time.monotonic_ns() - 10**9, ROOT)


def test_an_exec_that_is_counted_and_not_listed_yet_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_flight(monkeypatch, 1, lambda: [(1, 0)]) == 0  # another tree's
    assert in_flight(monkeypatch, 1, list) == 1
    assert in_flight(monkeypatch, 2, lambda: [(1, 0), (1, 0)]) == 1  # the list began anew while it was read
    assert in_flight(monkeypatch, 1, lambda: [(1, None)]) == 1  # it has ended since the list was read, or so it seems
    later = time.monotonic_ns() + 10**12
    assert in_flight(monkeypatch, 1, lambda: [(2, later)]) == 1  # that one was entered after the count


@pytest.fixture
def procs() -> dict[bytes, bytes]:
    """What is in the map of processes."""
    return {}


class Updated:
    """That map, with the rules of its updates."""

    def __init__(self, entries: dict[bytes, bytes]) -> None:
        self._entries = entries

    def set(self, key: bytes, value: bytes, flags: int = 0) -> bool:
        there = key in self._entries
        if (flags == probe._BPF_NOEXIST and there) or (flags == probe._BPF_EXIST and not there):
            return False
        self._entries[key] = value
        return True


def of_roots(*roots: int) -> bytes:
    return kernel_proc([(root, 0, 0, 0) for root in roots])


def adopting(procs: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch, gone: tuple[int, ...] = ()) -> probe.BpfProbe:
    made = bare(procs=Updated(procs))
    monkeypatch.setattr(made, "_proc", lambda pid: procs.get(struct.pack("<I", pid)))
    monkeypatch.setattr(made, "claimed", lambda root: None if root in gone else "a root")
    return made


def test_adoption_does_not_undo_a_registration_at_the_same_moment(
    procs: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = adopting(procs, monkeypatch)
    read = made._proc
    key = struct.pack("<I", PID)

    def registers_then(pid: int) -> bytes | None:
        found = read(pid)
        procs.setdefault(key, of_roots(9))  # just after it was read
        return found

    monkeypatch.setattr(made, "_proc", registers_then)
    assert made.adopt(PID, ROOT, TOP)
    assert probe.roots_of(procs[key]) == [9, ROOT]


def test_what_is_in_the_tree_already_is_not_entered_twice(
    procs: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forked since its root is watched, and found in /proc, too: its execs would count twice."""
    key = struct.pack("<I", PID)
    procs[key] = of_roots(9, ROOT)
    assert adopting(procs, monkeypatch).adopt(PID, ROOT, TOP)
    assert probe.roots_of(procs[key]) == [9, ROOT]


def test_a_root_that_has_gone_leaves_its_place(procs: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    key = struct.pack("<I", PID)
    procs[key] = of_roots(*range(10, 10 + wire.SLOTS))
    assert not adopting(procs, monkeypatch).adopt(PID, ROOT, TOP)
    assert adopting(procs, monkeypatch, gone=(12,)).adopt(PID, ROOT, TOP)
    assert probe.roots_of(procs[key])[2] == ROOT


# ---- which processes have not ended ----


class Procs:
    """BCC's library, with the map of processes in it, which a test changes at a step of its reading; keys come in the
    order of the list."""

    def __init__(self, *pids: int) -> None:
        self.entries = {pid: kernel_proc([(ROOT, 100, pid, 1)], forked=pid) for pid in pids}
        self.order = list(pids)
        self.forks = 0
        self.steps = 0
        self.at: dict[int, Callable[[], None]] = {}

    def fork(self, child: int, *, place: int) -> None:
        self.order.insert(place, child)
        self.entries[child] = kernel_proc([(ROOT, 100, child, 1)], forked=child)
        self.forks += 1

    def end(self, pid: int) -> None:
        self.order.remove(pid)
        del self.entries[pid]

    def bpf_get_first_key(self, _fd: int, key: Any, _size: int) -> int:
        return self._give(key, 0)

    def bpf_get_next_key(self, _fd: int, key: Any, after: Any) -> int:
        self.steps += 1
        self.at.pop(self.steps, lambda: None)()
        # As the kernel does: from the beginning, where it has gone meanwhile.
        (last,) = struct.unpack("<I", key.raw)
        return self._give(after, self.order.index(last) + 1 if last in self.order else 0)

    def _give(self, key: Any, place: int) -> int:
        if place >= len(self.order):
            return -1
        key.raw = struct.pack("<I", self.order[place])
        return 0


def read_from(table: Procs) -> Any:
    return LoadedMap(table, Map("procs", 1, 4, 0, 0, 0), 5)  # type: ignore[arg-type]


def living(monkeypatch: pytest.MonkeyPatch, table: Procs, *, ended: tuple[int, ...] = (), level: int = 0) -> list[int]:
    found = running(monkeypatch, table, ended=ended, level=level)
    assert found is not None
    assert found.are_all  # nothing was forked meanwhile, at last
    return [process.pid for process in found.listed]


def running(
    monkeypatch: pytest.MonkeyPatch, table: Procs, *, ended: tuple[int, ...] = (), level: int = 0
) -> probe.Running | None:
    made = bare(procs=read_from(table))
    made._pid_namespace = probe._PidNamespace(0, probe.FIRST_PID_NAMESPACE, 1)
    monkeypatch.setattr(made, "_proc", table.entries.get)
    monkeypatch.setattr(made, "_forks", lambda _: (table.forks, level))

    def kill(pid: int, _signal: int) -> None:
        if pid in ended:
            raise ProcessLookupError
        raise PermissionError  # the helper is another user by now

    monkeypatch.setattr(probe.os, "kill", kill)
    return made.running(ROOT, 50)


def test_the_processes_of_a_tree_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Procs(21, 22, 23)
    table.entries[22] = kernel_proc([(9, 100, 22, 1)])  # in another's tree
    table.entries[23] = kernel_proc([(9, 100, 23, 1), (ROOT, 100, 23, 1)])
    table.order += [24, 25]
    table.entries[24] = kernel_proc([(ROOT, 49, 24, 1)])  # of a branch that was there before
    table.entries[25] = kernel_proc([(ROOT, 100, 0, 0)])  # the root itself
    assert living(monkeypatch, table) == [21, 23]


def test_a_child_that_is_put_where_the_list_was_read_already_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent has ended when its own turn comes: the list is empty, and something lives."""
    table = Procs(20, 21)
    table.entries[20] = kernel_proc([(9, 100, 20, 1)])

    def fork_and_end() -> None:
        table.fork(19, place=0)
        table.end(21)

    table.at[1] = fork_and_end
    assert living(monkeypatch, table) == [19]


def test_a_list_that_is_not_empty_may_lack_what_was_forked_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Procs(20, 21)

    def fork_and_end() -> None:
        table.fork(19, place=0)
        table.end(21)

    table.at[1] = fork_and_end
    found = running(monkeypatch, table)
    assert found is not None
    assert [process.pid for process in found.listed] == [20]
    assert not found.are_all


def test_nothing_lives_when_the_last_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Procs(20, 21)
    table.at[1] = lambda: table.end(21)
    assert living(monkeypatch, table) == [20]
    table.end(20)
    assert living(monkeypatch, table) == []


def test_what_forks_on_and_on_is_there_and_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Procs(20)
    table.entries[20] = kernel_proc([(9, 100, 20, 1)])
    made = bare(procs=read_from(table))
    forks = iter(range(1000))
    monkeypatch.setattr(made, "_proc", table.entries.get)
    monkeypatch.setattr(made, "_forks", lambda _: (next(forks), 0))
    assert made.running(ROOT, 0) is None


def test_a_process_whose_end_the_kernel_skipped_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert living(monkeypatch, Procs(20, 21), ended=(20,)) == [21]
    assert living(monkeypatch, Procs(20, 21), ended=(20, 21)) == []


def test_a_process_is_numbered_as_the_root_sees_it() -> None:
    slots = [(9, 100, 20, 1), (ROOT, 200, 21, 1)]
    value = kernel_proc(slots, image=(7, 300), own_exec=True, forked=250, comm=b"sleep\0rest", seen=(20, 3))
    found = probe._in_tree(20, value, ROOT, 1)
    assert found == probe.Process(3, 20, 200, 250, 7, 300, True, b"sleep")
    # Adopted ones have no such number; it is the kernel's where the root is in the first namespace.
    adopted = kernel_proc([(ROOT, 0, 21, 0)])
    assert [made and made.seen for made in (probe._in_tree(20, adopted, ROOT, level) for level in (0, 1))] == [20, 0]
    assert probe._in_tree(20, value, 4, 1) is None


@pytest.mark.parametrize("twice", [False, True])
def test_counters_are_not_given_where_the_kernel_can_skip_the_probe(twice: bool) -> None:
    """For they do not show it."""
    made = bare(counts=SimpleNamespace(fd=5))
    made._attached = SimpleNamespace(twice=twice)  # type: ignore[assignment]
    assert made.page == (None if twice else Page(5, possible_cpus()))


# ---- what the kernel skipped both of two programs for ----

PROGRAMS = [name + end for name in FALLBACKS for end in ("", "_fallback")]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    """By program."""
    numbers: dict[str, int | None] = dict.fromkeys(PROGRAMS, 0)
    monkeypatch.setattr(library, "misses", lambda _, name: numbers[name])
    return numbers


def loaded(*, twice: bool) -> probe.BpfProbe:
    made = object.__new__(probe.BpfProbe)
    made._lib = SimpleNamespace()  # type: ignore[assignment]
    made._looks = {}
    programs = {name: name for name in PROGRAMS}
    made._attached = SimpleNamespace(twice=twice, loaded=SimpleNamespace(programs=programs))  # type: ignore[assignment]
    made.missed()
    return made


def test_a_single_program_misses_what_it_is_skipped_for(counted: dict[str, int | None]) -> None:
    made = loaded(twice=False)
    counted.update(on_exec=2, on_newtask=1)
    assert [made.missed(), made.missed()] == [(1, 2, 0), (0, 0, 0)]
    counted["on_exec"] = None  # older kernels do not say
    made = loaded(twice=False)
    assert made.missed() == (0, 0, 0)


def test_of_two_programs_each_makes_up_for_the_other(counted: dict[str, int | None]) -> None:
    made = loaded(twice=True)
    counted["on_exec"] = 5
    assert made.missed() == (0, 0, 0)
    made.missed()
    made.missed()
    counted["on_exec_fallback"] = 3
    assert made.missed() == (0, 0, 0)


def test_what_both_are_skipped_for_is_missed(counted: dict[str, int | None]) -> None:
    made = loaded(twice=True)
    counted.update(on_exit=1, on_exit_fallback=1)
    assert made.missed() == (0, 0, 1)


@pytest.mark.parametrize(
    ("first", "second"), [("on_newtask", "on_newtask_fallback"), ("on_newtask_fallback", "on_newtask")]
)
def test_what_is_missed_between_two_readings_is_found_with_the_next_look(
    counted: dict[str, int | None], first: str, second: str
) -> None:
    made = loaded(twice=True)
    counted[first] = 1
    assert made.missed() == (0, 0, 0)
    counted[second] = 1
    assert made.missed().forks == 1


def test_a_kernel_that_must_say_and_does_not_is_believed_nothing(counted: dict[str, int | None]) -> None:
    made = loaded(twice=True)
    counted["on_exec_fallback"] = None
    with pytest.raises(OSError, match="does not say"):
        made.missed()


def test_no_more_of_what_was_dropped_is_read_at_once_than_there_is_room_for() -> None:
    """Others may add to it faster than it is read."""
    left = [bytes(wire.NESTED.size + wire.HEAD.size)] * 4
    queue = SimpleNamespace(max_entries=3, pop=left.pop)
    assert bare(dropped=queue).take_dropped() == []  # without a root
    assert len(left) == 1
