"""Another user of BPF on the machine is preempted in the middle of a call, and for that long the kernel runs no BPF
program on its CPU. What the probe has missed in that time must not be missing silently."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs
from recording import recording

from pytest_execprobe.source.connect import HelperSettings

pytestmark = pytest.mark.usefixtures("kernel")

EXECS = 200
CPU = 1


@pytest.fixture
def hammer() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    command = ["/usr/bin/python3", str(Path(__file__).with_name("hammer.py")), str(CPU)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "reading\n"
            os.sched_setaffinity(0, {CPU})
            yield
        finally:
            os.sched_setaffinity(0, before)
            process.kill()


@pytest.mark.usefixtures("hammer")
def test_what_was_missed_is_known_to_be_missing(programs: Programs, helper: HelperSettings) -> None:
    with recording(helper, timeout=30) as made:
        with made.execprobe.watch() as log:
            for _ in range(EXECS):
                os.waitpid(os.posix_spawn(str(programs.minimal), ["minimal"], {}), 0)
        print(f"{len(log.partial)} of {EXECS} recorded, {log.lost} known to be lost")
        assert log.lost is None or len(log.partial) + log.lost == EXECS
