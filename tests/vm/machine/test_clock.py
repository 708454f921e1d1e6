"""The wall clock is set forwards and back, a day at a time, while a log is open. Logs go by another clock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs
from recording import recording

from pytest_execprobe.report import read as reading
from pytest_execprobe.source.connect import HelperSettings

pytestmark = pytest.mark.usefixtures("kernel")

DAY = 24 * 60 * 60


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """It goes on as if nobody had set it."""
    ahead = time.time() - time.monotonic()
    yield
    time.clock_settime(time.CLOCK_REALTIME, ahead + time.monotonic())


def step(seconds: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


def spawn(program: Path, name: str) -> None:
    os.waitpid(os.posix_spawn(str(program), [name], {}), 0)


def test_windows_keep_their_execs(programs: Programs, helper: HelperSettings) -> None:
    with recording(helper) as made:
        spawn(programs.minimal, "before")
        with made.execprobe.watch() as log:
            spawn(programs.minimal, "first")
            step(DAY)
            spawn(programs.minimal, "second")
            assert len(log.records) == 2
            step(-2 * DAY)
            spawn(programs.minimal, "third")
        step(DAY)
        spawn(programs.minimal, "after")
        assert [record.argv for record in log.records] == [("first",), ("second",), ("third",)]
        times = [record.timestamp_ns for record in made.execprobe.records]
        assert len(times) == 5
        assert times == sorted(times)
        assert times[-1] - times[0] < DAY * 10**9
        assert all(record.duration_ns is None or record.duration_ns < DAY * 10**9 for record in log.records)


def test_waiting_is_as_long_as_it_was_to_be(programs: Programs, helper: HelperSettings) -> None:
    """Neither is a wait over at once because the clock was set forwards, nor for ever because it was set back."""
    with recording(helper) as made:
        for seconds in (DAY, -DAY):
            started = time.monotonic()
            spawn(programs.minimal, "minimal")
            step(seconds)
            made.execprobe.wait_for("minimal", timeout=60)
            with pytest.raises(TimeoutError):
                made.execprobe.wait_for("nothing", timeout=0.2)
            assert 0.2 <= time.monotonic() - started < 60


def test_the_report_of_a_run(pytester: pytest.Pytester, helper: HelperSettings) -> None:
    """A test that sets the clock back has not run before it began."""
    pytester.makepyfile(
        f"""
        import os, time

        def test_step(execprobe):
            for seconds in ({DAY}, {-2 * DAY}, {DAY}):
                os.waitpid(os.posix_spawn("/bin/true", ["true"], {{}}), 0)
                time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
            execprobe.assert_count(3, "true")
        """
    )
    options = ["-p", "no:cacheprovider", f"--execprobe-helper={helper.address}", "--execprobe-report=r.json"]
    result = pytester.runpytest_subprocess(*options, timeout=600)
    result.assert_outcomes(passed=1)
    (unit,) = [unit for unit in reading.read(pytester.path / "r.json").units if unit.records]
    assert [record.program for record in unit.records] == ["true"] * 3
    for record in unit.records:
        assert record.duration_ns is not None
        assert 0 <= record.duration_ns < DAY * 10**9
