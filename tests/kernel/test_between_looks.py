"""What happens between two looks of the tracer at what it traces. Each is made to happen there, by a helper that waits
for it or that is stopped meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import held_forks
import pytest
from faulty import change_helper
from leases import kept_from_opening
from recording import recording, stopped

from pytest_execprobe.source.connect import HelperSettings

pytestmark = [pytest.mark.exec_budget(100), pytest.mark.own_helper]

PTRACE = HelperSettings(backend="ptrace")
_PR_SET_CHILD_SUBREAPER = 36


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{name}:")).split()[1]


# ---- a thread executes something, and so has the number of the first from then on ----

#: Has a thread that is not the first execute the program, as soon as a line comes, or the first thread is traced.
EXECUTES = """
import os, sys, threading, time
def traced():
    while "TracerPid:\\t0\\n" in open(f"/proc/self/task/{os.getpid()}/status").read():
        pass
def execute():
    print(threading.get_native_id(), flush=True)
    sys.stdin.buffer.raw.read(1) if sys.argv[1] == "told" else traced()
    os.execv(sys.argv[2], sys.argv[2:])
threading.Thread(target=execute).start()
time.sleep(60)
"""


def executing(when: str, *command: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-S", "-c", EXECUTES, when, *command]
    return subprocess.Popen(words, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


_SEIZED = "                    seized.add(tid)\n"
_WAITS = """
                    ends = time.monotonic() + 10
                    while len(new) > 1 and len(os.listdir("/proc/%d/task" % pid)) > 1 and time.monotonic() < ends:
                        time.sleep(0.001)
"""


def test_who_executes_while_its_threads_are_seized_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thread is, and ends by that; the other one, which has its number then, was not yet."""
    change_helper(tmp_path, monkeypatch, {"ptrace/tracer.py": {_SEIZED: _SEIZED + _WAITS}})
    with executing("traced", "/bin/sh", "-c", "read _; /bin/true; :") as process:
        assert process.stdout is not None
        process.stdout.readline()
        with recording(PTRACE) as made:
            process.communicate(b"\n")
            assert made.execprobe.count("true") == 1
            assert made.execprobe.complete


_BELOW = "self._tasks[tid] for tid in process.tids]"
_LOOK = "        call = self.system_call()\n"
_GONE = """
        if self.tid != self.process.pid:
            os.close(os.open({}, os.O_CREAT, 0o666))
            while os.path.exists("/proc/%d" % self.tid):
                time.sleep(0.001)
"""


def test_who_executes_between_the_looks_at_its_threads_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thread is looked at before, the other one when it has the first's number, and its own has gone."""
    program, looked = tmp_path / "slow", tmp_path / "looked"
    shutil.copy("/bin/true", program)
    changes = {
        "ptrace/tracer.py": {_BELOW: _BELOW.replace("process.tids", "sorted(process.tids)")},
        "ptrace/outside.py": {_LOOK: _GONE.format(repr(str(looked))) + _LOOK},
    }
    change_helper(tmp_path, monkeypatch, changes)
    with recording(PTRACE) as made, executing("told", str(program)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        thread = int(process.stdout.readline())
        with kept_from_opening(program):
            process.stdin.write(b"\n")
            until(lambda: b"lease" in Path(f"/proc/{process.pid}/task/{thread}/wchan").read_bytes())
            counts: list[int] = []
            counting = threading.Thread(target=lambda: counts.append(made.execprobe.count("slow")))
            counting.start()
            until(looked.exists)
        counting.join()
        assert counts == [1]


# ---- what forks ----


@pytest.fixture
def can_hold_forks() -> None:
    try:
        os.close(held_forks.watch_forks())
    except OSError as error:
        pytest.skip(f"this process can't watch its forks: {error}")


@pytest.mark.usefixtures("can_hold_forks")
def test_what_forks_while_it_is_seized_has_its_child_followed() -> None:
    """The child is not in /proc yet when its parent is traced, and is not traced by that."""
    words = [sys.executable, "-S", held_forks.__file__]
    with subprocess.Popen(words, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.write(b".")
        until(lambda: b"userfaultfd" in Path(f"/proc/{process.pid}/wchan").read_bytes())
        with recording(PTRACE) as made:
            process.communicate(b".")
            assert made.execprobe.programs == ["true"]


_CLAIM = '"""The process is known by its connection, and is a root from now on. Raises ProbeError."""\n'
_FORKS = """
        ends = time.monotonic() + (0 if os.path.exists({0}) else 10)
        os.close(os.open({0}, os.O_CREAT, 0o666))
        while time.monotonic() < ends and not any(
            "userfaultfd" in open("/proc/%d/task/%s/wchan" % (pid, tid)).read()
            for tid in os.listdir("/proc/%d/task" % pid)
        ):
            time.sleep(0.001)
"""


@contextlib.contextmanager
def forking_when(there: Path) -> Iterator[Callable[[], None]]:
    """A thread forks once that file is there. What is yielded has the child execute true, and waits for its end."""
    begins, begin = os.pipe()
    children: list[int] = []

    def fork() -> None:
        until(there.exists)
        children.append(os.fork())
        if children == [0]:
            os.close(begin)
            os.read(begins, 1)
            os.execv("/bin/true", ["true"])

    def execute() -> None:
        thread.join()
        os.write(begin, b".")
        os.waitpid(children[0], 0)

    thread = threading.Thread(target=fork)
    thread.start()
    try:
        yield execute
    finally:
        os.close(begins)
        os.close(begin)


@pytest.mark.usefixtures("can_hold_forks")
def test_a_thread_that_forks_while_the_probe_is_armed_has_its_child_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed = tmp_path / "armed"
    change_helper(tmp_path, monkeypatch, {"ptrace/probe.py": {_CLAIM: _CLAIM + _FORKS.format(repr(str(armed)))}})
    with held_forks.held_forks(0.1), forking_when(armed) as execute, recording(PTRACE) as made:
        execute()
        assert made.execprobe.programs == ["true"]
        assert made.execprobe.complete


# ---- who ends, or is killed ----

_ENTERED = "        entered = put(found.kernels, root, top)\n"
_ENDS = """
        if not os.path.exists({0}):
            os.close(os.open({0}, os.O_CREAT, 0o666))
            os.kill(found.here, 9)
            while not has_ended(pidfd):
                time.sleep(0.001)
            time.sleep(2 * _REUSED)
"""


def test_where_what_was_there_before_ends_while_it_is_entered_there_is_a_second_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number could be another's by then, which would be in the tree."""
    ended = tmp_path / "ended"
    change_helper(tmp_path, monkeypatch, {"identity.py": {_ENTERED: _ENTERED + _ENDS.format(repr(str(ended)))}})
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
        made = stack.enter_context(recording(PTRACE))
        assert ended.exists()
        subprocess.run(["true"], check=True)
        assert made.execprobe.programs == ["true"]
        assert made.execprobe.complete


def test_what_was_forked_before_and_is_killed_as_soon_as_it_has_executed_is_an_exec() -> None:
    """A helper that is stopped meanwhile does not see the stop of the exec."""
    (begins, begin), (ends, end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(begin)
        os.read(begins, 1)
        os.execv("/bin/sleep", ["sleep", "60"])  # which closes the other pipe
    os.close(end)
    with recording(PTRACE) as made:
        with stopped(made.helper):
            os.write(begin, b".")
            assert os.read(ends, 1) == b""
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        (record,) = made.execprobe.records
        assert (record.pid, record.signal) == (child, signal.SIGKILL)
        assert made.execprobe.complete


@contextlib.contextmanager
def subreaper() -> Iterator[None]:
    """This process takes in what its tree leaves behind."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


def test_what_is_forked_by_who_is_killed_at_that_is_not_taken_for_its_reapers() -> None:
    """A branch of the tests' own process would count for the test that runs."""
    with recording(PTRACE) as made:
        command = ["sh", "-c", "read _; (/bin/echo; :) & wait"]
        with subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as forks:
            assert forks.stdin is not None
            assert made.execprobe.programs == ["sh"]
            children = Path(f"/proc/{forks.pid}/task/{forks.pid}/children")
            with subreaper(), stopped(made.helper):  # whose parent it is not, for it has begun before
                forks.stdin.write(b"\n")
                until(lambda: children.read_text() and status(forks.pid, "State") == "t")
                child = int(children.read_text())
                forks.kill()
                until(lambda: int(status(child, "PPid")) == os.getpid())
        os.waitpid(child, 0)
        _, echo = made.execprobe.records
        assert echo.program == "echo"
        assert echo.parent is not None
        assert echo.parent.program == "sh"
