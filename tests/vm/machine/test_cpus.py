"""A CPU that comes up after the buffers were opened has none. What runs there is counted, never missing silently."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs
from recording import Recording, recording

from pytest_execprobe import IncompleteLogError

pytestmark = pytest.mark.usefixtures("kernel")

ONLINE = Path("/sys/devices/system/cpu/cpu1/online")
EXECS = 20


@pytest.fixture(autouse=True)
def cpus() -> Iterator[None]:
    """All are back when the test ends, and its process may use them all."""
    before = os.sched_getaffinity(0)
    yield
    set_online(True)
    os.sched_setaffinity(0, before)


def set_online(online: bool) -> None:
    if ONLINE.read_text().strip() != str(int(online)):
        ONLINE.write_text(str(int(online)))


def spawn_on(cpu: int, program: Path) -> None:
    os.sched_setaffinity(0, {cpu})
    for _ in range(EXECS):
        os.waitpid(os.posix_spawn(str(program), [str(program)], {}), 0)


def check_counted(made: Recording, programs: Programs) -> None:
    """20 execs on CPU 0 are there; of 20 on CPU 1, which has no buffer, it is known that they are missing."""
    with made.execprobe.watch() as log:
        spawn_on(0, programs.minimal)
        spawn_on(1, programs.minimal)
    assert log.lost == EXECS
    assert [record.program for record in log.partial] == ["minimal"] * EXECS
    log.assert_count(2 * EXECS)
    with pytest.raises(IncompleteLogError, match=f"{EXECS} execs missing"):
        log.assert_not_ran("ls")
    with made.execprobe.watch() as elsewhere:
        spawn_on(0, programs.minimal)
    assert elsewhere.programs == ["minimal"] * EXECS


def test_brought_up_later(programs: Programs) -> None:
    set_online(False)
    with recording() as made:
        set_online(True)
        check_counted(made, programs)


def test_gone_and_come_back(programs: Programs) -> None:
    """What was recorded there before is kept."""
    with recording() as made:
        with made.execprobe.watch() as before:
            spawn_on(1, programs.minimal)
            os.sched_setaffinity(0, {0})
            set_online(False)
            spawn_on(0, programs.minimal)
        assert before.programs == ["minimal"] * 2 * EXECS
        set_online(True)
        check_counted(made, programs)
