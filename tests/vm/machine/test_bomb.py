"""A program that starts itself over and over, until no process can be had: what was recorded and what is known to be
lost are together what was executed, by the program's own count."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from recording import recording

from pytest_execprobe import ExecLog
from pytest_execprobe.source.connect import HelperSettings

pytestmark = pytest.mark.usefixtures("kernel")

SOURCE = Path(__file__).with_name("bomb.c")
NOBODY = 65534
DEPTH, WIDTH = 4, 6
MOST = sum(WIDTH**depth for depth in range(DEPTH + 1))
PROCESSES = 80


@pytest.fixture
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("the program that these tests run is in C, and there is no gcc")
    program = tmp_path_factory.mktemp("bomb") / "bomb"
    command = [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCE)]
    subprocess.run(command, check=True, timeout=300)
    return program


def explode(bomb: Path) -> int:
    """By a user who may not have many processes. How many times it was executed."""
    # By descriptors: the folders of tests are closed to other users.
    with bomb.open("rb") as program, bomb.with_name("counted").open("wb") as counted:
        os.fchmod(counted.fileno(), 0o666)
        path, count = (f"/proc/self/fd/{file.fileno()}" for file in (program, counted))
        command = [path, *map(str, (DEPTH, WIDTH, PROCESSES)), count]
        descriptors = [program.fileno(), counted.fileno()]
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        subprocess.run(command, pass_fds=descriptors, check=True, timeout=300, **user)
        return os.fstat(counted.fileno()).st_size


def test_all_are_recorded(bomb: Path, helper: HelperSettings) -> None:
    with recording(helper, timeout=120) as made:
        with made.execprobe.watch() as log:
            executed = explode(bomb)
        check(log, executed)
        assert log.lost == 0


def test_what_is_not_is_known_to_be_lost(bomb: Path) -> None:
    """Into one page for each CPU, which nobody reads meanwhile."""
    with recording(HelperSettings(pages=1), timeout=120) as made:
        with made.execprobe.watch() as log, made.helper_stopped():
            executed = explode(bomb)
        check(log, executed)
        assert log.lost


def check(log: ExecLog, executed: int) -> None:
    assert PROCESSES < executed < MOST, "it was to run out of processes"
    assert log.lost is not None
    assert len(log.partial) + log.lost == executed
    log.assert_count(executed)
    assert {record.program for record in log.partial} == {"bomb"}
