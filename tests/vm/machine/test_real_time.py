"""All CPUs are kept busy by processes of a higher real-time priority than the helper's."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from programs import Programs
from recording import recording

from pytest_execprobe import IncompleteLogError
from pytest_execprobe.source.connect import HelperSettings

pytestmark = pytest.mark.usefixtures("kernel")

EXECS = 10
LONGEST = 60.0  # seconds: nothing goes on for ever, should the test's process get no time at all
PRIORITY = 50


def keep_busy(cpu: int) -> int:
    busy, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.sched_setaffinity(0, {cpu})
            end = time.monotonic() + LONGEST
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
            os.write(tell, b"!")
            while time.monotonic() < end:
                pass
        finally:
            os._exit(0)
    os.close(tell)
    assert os.read(busy, 1), "it could not become so"
    os.close(busy)
    return pid


@contextlib.contextmanager
def busy_cpus() -> Iterator[None]:
    """What is left for ordinary processes is the twentieth part that the kernel keeps for them."""
    hogs = [keep_busy(cpu) for cpu in sorted(os.sched_getaffinity(0))]
    try:
        yield
    finally:
        for hog in hogs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(hog, signal.SIGKILL)
            os.waitpid(hog, 0)


def spawn(programs: Programs) -> None:
    for _ in range(EXECS):
        os.waitpid(os.posix_spawn(str(programs.minimal), ["minimal"], {}), 0)


def test_late_and_complete(programs: Programs, helper: HelperSettings) -> None:
    with recording(helper, timeout=2 * LONGEST) as made:
        with made.execprobe.watch() as log, busy_cpus():
            spawn(programs)
        assert log.programs == ["minimal"] * EXECS


def test_too_late_is_not_nothing(programs: Programs, helper: HelperSettings) -> None:
    """Who does not wait for it learns that the answer is missing."""
    with recording(helper, timeout=0.2) as made, busy_cpus():
        spawn(programs)
        with pytest.raises(IncompleteLogError, match="it did not answer in time"):
            made.execprobe.assert_not_ran("ls")
