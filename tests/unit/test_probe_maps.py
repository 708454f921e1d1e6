"""What the helper makes of the kernel side's maps, where these change while it reads them, or can't be read."""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_execprobe.helper import probe, wire
from pytest_execprobe.helper.probe import Counts

PID, ROOT, TOP = 7, 3, 7


def bare(**maps: Any) -> probe.Probe:
    made = object.__new__(probe.Probe)
    made._bcc = None
    made._bpf = maps
    return made


def test_counters_that_can_not_be_read_are_no_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_lookup", lambda *_: False)
    with pytest.raises(OSError, match="counters can't be read"):
        bare(counts=type("Table", (), {"total_cpu": 2})()).counts()


class Entry:
    def __init__(self, at: int) -> None:
        self.at = at
        self.tgid = PID


def under_way(monkeypatch: pytest.MonkeyPatch, entered: int, listed: Callable[[], list[tuple[int, int]]]) -> int:
    """So many have been entered and have not ended; there is a list of (task, time) that is read anew each time."""
    made = bare(
        entering=type("Table", (), {"items": lambda _: [(ctypes.c_uint64(task), Entry(at)) for task, at in listed()]})()
    )
    nothing = Counts(*[0] * len(Counts._fields))
    monkeypatch.setattr(made, "counts", lambda: nothing._replace(entered=entered))
    monkeypatch.setattr(made, "_proc", lambda _: b"")
    return made.under_way(time.monotonic_ns() - 10**9, lambda _: False)


def test_an_exec_that_is_counted_and_not_listed_yet_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert under_way(monkeypatch, 1, lambda: [(1, 0)]) == 0  # somebody else's
    assert under_way(monkeypatch, 1, list) == 1
    assert under_way(monkeypatch, 2, lambda: [(1, 0), (1, 0)]) == 1  # the list began anew while it was read
    later = time.monotonic_ns() + 10**12
    assert under_way(monkeypatch, 1, lambda: [(2, later)]) == 1  # that one was entered after the count


@pytest.fixture
def procs(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, bytes]:
    """The map of processes, with the rules of its updates."""
    entries: dict[bytes, bytes] = {}

    def update(_bcc: object, _table: object, key: bytes, value: bytes, flags: int = 0) -> bool:
        if (flags == probe._BPF_NOEXIST and key in entries) or (flags == probe._BPF_EXIST and key not in entries):
            return False
        entries[key] = value
        return True

    monkeypatch.setattr(probe, "_update", update)
    return entries


def of_roots(*roots: int) -> bytes:
    slots = [(root, 0, 0, 0) for root in roots] + [(0, 0, 0, 0)] * (wire.SLOTS - len(roots))
    return probe._PROC.pack(0, 0, 0, 0, 0, *(number for slot in slots for number in slot))


def adopting(procs: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch, gone: tuple[int, ...] = ()) -> probe.Probe:
    made = bare(procs=None)
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


def test_a_root_that_has_gone_leaves_its_place(procs: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    key = struct.pack("<I", PID)
    procs[key] = of_roots(*range(10, 10 + wire.SLOTS))
    assert not adopting(procs, monkeypatch).adopt(PID, ROOT, TOP)
    assert adopting(procs, monkeypatch, gone=(12,)).adopt(PID, ROOT, TOP)
    assert probe.roots_of(procs[key])[2] == ROOT
