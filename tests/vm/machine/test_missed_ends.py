"""The kernel tells the end of so many system calls at a time by kretprobe, and of no more: who keeps that many going
could hide how those of others end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from leases import begin_exec, kept_from_opening
from programs import Programs
from recording import workers

from pytest_execprobe.source.connect import HelperSettings

pytestmark = pytest.mark.usefixtures("kernel")

MANY = 40  # as many as a kretprobe has instances for ten CPUs, twice over


def test_attempts_of_which_the_end_was_missed_are_known_to_be_missing(
    programs: Programs, helper: HelperSettings, tmp_path: Path
) -> None:
    slow = tmp_path / "slow"
    shutil.copy(programs.minimal, slow)
    with workers(1) as (worker,):
        assert worker.ask(f"record {helper.address and helper.address[1:]}").isdecimal()
        worker.ask("fail /nowhere/before")
        assert worker.ask("failed") == "1 0"
        with kept_from_opening(slow):
            children = [begin_exec(slow) for _ in range(MANY)]
            worker.ask("fail /nowhere/meanwhile")
            known, lost = map(int, worker.ask("failed").split())
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        assert (known, lost) in ((1, 0), (0, 1))
        print(f"{lost} lost")
        worker.ask("fail /nowhere/after")
        assert worker.ask("failed") == "1 0"
