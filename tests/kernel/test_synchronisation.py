"""What has just been started is in the log, although it may still be on its way into its program.

The calls that start a program return before its execve is over, more often than not. Nothing here waits for the
program, nor sleeps: a log that did not wait for the kernel misses some of these in every run.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from programs import Programs

from pytest_execprobe import ExecProbe

pytestmark = pytest.mark.exec_budget(2100)


@pytest.fixture(params=[200, pytest.param(2000, marks=pytest.mark.long)])
def times(request: pytest.FixtureRequest) -> int:
    """More than half of all starts return before the exec is over: in a hundred some do, whatever the machine does."""
    return int(request.param)


#: Starts a program, and returns what waits for its end.
Start = Callable[[Path], Callable[[], int]]


def waiting_for(pid: int) -> Callable[[], int]:
    return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def by_popen(program: Path) -> Callable[[], int]:
    return subprocess.Popen([program]).wait


def by_posix_spawn(program: Path) -> Callable[[], int]:
    return waiting_for(os.posix_spawn(program, [program], {}))


@pytest.fixture
def by_vfork(programs: Programs) -> Start:
    spawn = ctypes.CDLL(str(programs.vfork_library)).spawn_by_vfork
    spawn.argtypes = [ctypes.c_char_p]
    spawn.restype = ctypes.c_int
    return lambda program: waiting_for(spawn(os.fsencode(program)))


@pytest.fixture(params=["popen", "posix_spawn", "vfork"])
def start(request: pytest.FixtureRequest, by_vfork: Start) -> Start:
    return {"popen": by_popen, "posix_spawn": by_posix_spawn, "vfork": by_vfork}[request.param]


def test_run_is_never_missed(execprobe: ExecProbe, programs: Programs, times: int) -> None:
    minimal, missed = programs.minimal, 0
    for _ in range(times):
        with execprobe.watch() as log:
            subprocess.run([minimal], check=True)
            missed += log.programs != ["minimal"]
    assert missed == 0
    execprobe.assert_count(times)


def test_what_runs_is_never_missed(execprobe: ExecProbe, programs: Programs, start: Start, times: int) -> None:
    """The log is read before the program is waited for."""
    minimal, missed = programs.minimal, 0
    for _ in range(times):
        with execprobe.watch() as log:
            wait = start(minimal)
            missed += log.programs != ["minimal"]
        assert wait() == 0
    assert missed == 0
    execprobe.assert_count(times)


def test_threads_miss_nothing_of_their_own(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, times: int
) -> None:
    """They start programs at once and read one log at once."""
    threads, each = 4, times // 4

    def start_and_count(number: int) -> int:
        program = tmp_path / f"minimal-{number}"
        program.symlink_to(programs.minimal)
        missed = 0
        for expected in range(1, each + 1):
            wait = by_popen(program)
            missed += execprobe.count(program.name) != expected
            assert wait() == 0
        return missed

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(start_and_count, range(threads))) == [0] * threads
    execprobe.assert_count(threads * each)


def test_what_runs_belongs_to_the_window_that_started_it(
    execprobe: ExecProbe, programs: Programs, start: Start, times: int
) -> None:
    """Closing the window synchronises too, and what was entered in it is in it, even if it ends in the next."""
    minimal, misplaced = programs.minimal, 0
    for _ in range(times):
        with execprobe.watch() as first:
            wait = start(minimal)
        with execprobe.watch() as second:
            pass
        misplaced += (first.programs, second.programs) != (["minimal"], [])
        assert wait() == 0
    assert misplaced == 0
