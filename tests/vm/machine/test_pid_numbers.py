"""Pid numbers that come round, several times, among few: no log has what somebody else ran under the same number."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs
from recording import recording, workers

from pytest_execprobe.source.connect import HelperSettings

pytestmark = pytest.mark.usefixtures("kernel")

PID_MAX = Path("/proc/sys/kernel/pid_max")
FEW = 400
ROUNDS = 300
OTHERS = 5


@pytest.fixture(autouse=True)
def few_numbers() -> Iterator[None]:
    before = PID_MAX.read_text()
    PID_MAX.write_text(str(FEW))
    yield
    PID_MAX.write_text(before)


def test_of_others_and_ours_in_turn(programs: Programs, helper: HelperSettings) -> None:
    """A watched process's children and those of one that is not watched take numbers from each other."""
    seen_pids: list[int] = []
    with workers(1) as (worker,):
        assert worker.ask(f"record {helper.address and helper.address[1:]}").isdecimal()
        for number in range(ROUNDS):
            worker.ask(f"run ours{number}")
            for _ in range(OTHERS):
                pid = os.posix_spawn(str(programs.minimal), ["others"], {})
                seen_pids.append(pid)
                os.waitpid(pid, 0)
        assert worker.ask("seen") == " ".join([*(f"ours{number}" for number in range(ROUNDS)), "0"])
    assert len(seen_pids) > 2 * len(set(seen_pids)), "the numbers did not come round"


def test_within_one_log(programs: Programs, helper: HelperSettings) -> None:
    """Processes of one tree have the number of an earlier one each: who is whose child stays right."""
    times = 3 * FEW
    shell = "i=0; while [ $i -lt 3 ]; do $0; i=$((i+1)); done; :"
    with recording(helper) as made:
        with made.execprobe.watch() as log:
            for _ in range(times // 4):
                argv = ["sh", "-c", shell, str(programs.minimal)]
                os.waitpid(os.posix_spawn("/bin/sh", argv, {}), 0)
        records = log.records
        assert [record.program for record in records] == ["sh", "minimal", "minimal", "minimal"] * (times // 4)
        assert len({record.pid for record in records}) < times / 2, "the numbers did not come round"
        shells = records[::4]
        for number, record in enumerate(records):
            assert record.parent is (None if number % 4 == 0 else shells[number // 4])
