"""Between two looks of the tracer's the world may change: each of these gaps is widened in turn, at random, while
processes begin, execute something, are stopped and are killed. None of that may be missing from a complete log."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from recording import Recording, recording

from pytest_execprobe.source import launch
from pytest_execprobe.source.connect import HelperSettings

pytestmark = [pytest.mark.exec_budget(5000), pytest.mark.own_helper]

#: Of ptrace/calls.py, ptrace/statuses.py and ``os``: what looks, or acts on what was seen.
LOOKS = (
    *("seize", "interrupt", "is_thread_of", "resume", "go_to_end_of_call", "event_message", "registers"),
    *("stack_pointer", "is_interrupted", "read_ahead", "read_memory", "open_in", "process_info"),
    *("look_at_stop", "take_stop", "await_stop", "is_zombie", "has_executed"),
    *("fields_of", "status_of", "ids_of", "tracer_of"),
    *("os.waitpid", "os.listdir", "os.kill", "os.pread", "os.pidfd_open"),
)
ALWAYS = "look_at_stop", "after"  # all others with `make test-long`
#: Has one of them wait before it does its work, or afterwards, four times out of ten.
WAITS = """

import sys
from random import Random as _Random
from time import sleep as _sleep


def _waiting(look, is_before, chance):
    def waits():
        if chance.random() < 0.4:
            _sleep(chance.uniform(0.001, 0.013))

    def waiting(*args, **keywords):
        if is_before:
            waits()
        found = look(*args, **keywords)
        if not is_before:
            waits()
        return found

    return waiting


def _wait_at(name, is_before, seed):
    of = os if name.startswith("os.") else sys.modules[__name__]
    name = name.removeprefix("os.")
    if hasattr(of, name):
        setattr(of, name, _waiting(getattr(of, name), is_before, _Random(seed)))


"""


# ---- what goes on meanwhile: each says how many execs it makes ----


def killed_at_once(_: random.Random, __: Recording) -> int:
    for _ in range(5):
        with subprocess.Popen(["sleep", "60"]) as process:
            process.kill()
    return 5


def killed_and_read(chance: random.Random, made: Recording) -> int:
    before = made.execprobe.count()
    for number in range(1, 5):
        with subprocess.Popen(["sleep", "60"]) as process:
            assert chance.random() < 0.5 or made.execprobe.count() == before + number
            process.kill()
            assert chance.random() < 0.5 or made.execprobe.count() == before + number
        assert made.execprobe.records[-1].signal == signal.SIGKILL
    return 4


def killed_before_it_executes(_: random.Random, __: Recording) -> int:
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            signal.pause()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return 0


def in_the_background(_: random.Random, __: Recording) -> int:
    subprocess.run(["sh", "-c", "for i in 1 2 3; do (/bin/true) & /bin/true; done; wait"], check=True)
    return 7


def by_threads(_: random.Random, __: Recording) -> int:
    threads = [threading.Thread(target=lambda: [subprocess.run(["true"], check=True) for _ in range(4)]) for _ in "123"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 12


def by_a_daemon(_: random.Random, __: Recording) -> int:
    read, write = os.pipe()
    subprocess.run(["sh", "-c", "(sleep 0.02; /bin/true; exec /bin/true) &"], stdout=write, check=True)
    os.close(write)
    assert os.read(read, 1) == b""  # it has ended
    os.close(read)
    return 4


def one_after_the_other(_: random.Random, __: Recording) -> int:
    subprocess.run(["sh", "-c", "exec sh -c 'exec sh -c \"exec true\"'"], check=True)
    return 4


def stopped_and_continued(chance: random.Random, _: Recording) -> int:
    with subprocess.Popen(["sh", "-c", "/bin/true; /bin/true; exit 3"]) as process:
        for _ in range(5):
            process.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0, 0.003))
            process.send_signal(signal.SIGCONT)
        assert process.wait() == 3
    return 3


def at_once(_: random.Random, __: Recording) -> int:
    pids = []
    for status in range(6):
        pid = os.fork()
        if pid == 0:
            os.execv("/bin/sh", ["sh", "-c", f"/bin/true; exit {status}"])
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [*range(6)]
    return 12


def left_by_what_ends(_: random.Random, made: Recording) -> int:
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            os.execv("/bin/true", ["true"])
        os._exit(0)
    os.waitpid(pid, 0)
    while made.source.running(0, 30).count:
        pass
    return 1


def misses(_: random.Random, __: Recording) -> int:
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            subprocess.run(["/nonexistent/program"], check=False)
    return 0


WORK: tuple[Callable[[random.Random, Recording], int], ...] = (
    *(killed_at_once, killed_at_once, killed_at_once, killed_and_read, killed_before_it_executes),
    *(in_the_background, by_threads, by_a_daemon, one_after_the_other, stopped_and_continued, at_once),
    *(left_by_what_ends, misses),
)


@pytest.mark.parametrize("attempts", ["off", "seccomp"], ids=["plain", "with a filter"])
@pytest.mark.parametrize(
    ("look", "when"),
    [
        pytest.param(look, when, marks=() if (look, when) == ALWAYS else pytest.mark.long)
        for look, when in itertools.product(LOOKS, ["before", "after"])
    ],
)
def test_nothing_is_missed_in_a_gap(look: str, when: str, attempts: str, tmp_path: Path) -> None:
    """In a process of its own, for one that has a filter keeps its tracer."""
    code = f"import sys; sys.path[:] = {sys.path!r}; import test_gaps; test_gaps.check(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, look, when, attempts, str(tmp_path)], check=True)


def check(look: str, when: str, attempts: str, folder: str) -> None:
    seed = f"{look} {when} {attempts}"
    copy = Path(folder) / "pytest_execprobe" / "helper"  # it is known by the end of this path
    shutil.copytree(launch.HELPER, copy)
    for module in ("calls", "statuses")[: 1 if look.startswith("os.") else 2]:
        with (copy / "ptrace" / f"{module}.py").open("a") as file:
            file.write(f"{WAITS}_wait_at({look!r}, {when == 'before'}, {seed!r})\n")
    launch.HELPER = copy
    chance, number = random.Random(seed), 0
    with recording(HelperSettings(backend="ptrace", attempts=attempts), 120) as made:
        for work in chance.choices(WORK, k=30):
            number += work(chance, made)
            assert made.execprobe.count() == number, (seed, work)
            assert made.execprobe.complete, (seed, work)
        assert made.source.running(0, 30).count == 0
        last = {record.pid: record for record in made.execprobe.records}
        assert all((record.exit_code is None) != (record.signal is None) for record in last.values())
