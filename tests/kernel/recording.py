"""Recorders beside the one that the outer pytest has: of a test's own, to stop, starve and kill its helper, and of
processes of a run that share a helper."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_execprobe._util.text import Style
from pytest_execprobe.log.probe import ExecProbe
from pytest_execprobe.source import client
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.connect import HelperSettings, start_helper
from pytest_execprobe.timeline.recorder import Recorder


class Recording:
    """A recorder in the call of a test, its helper, and the fixture that a test would have."""

    def __init__(self, settings: HelperSettings, timeout: float) -> None:
        self.recorder = Recorder(lambda: start_helper(settings), style=Style(), timeout=timeout)
        self.recorder.ensure()
        self.recorder.begin_test("the test")
        self.recorder.begin_phase("setup")
        self.recorder.end_phase()
        self.recorder.in_use = True
        self.recorder.begin_phase("call")
        self.execprobe = ExecProbe(self.recorder)

    def registered_again(self, sources: contextlib.ExitStack) -> HelperSource:
        """A process can be a root more than once, by further connections: as deep as a pytest inside a pytest would
        be."""
        source = HelperSource(socket.socket(socket.AF_UNIX), os.getpid())
        sources.callback(source.close)
        source._connection.stream.sock.connect("\0" + self.source.description["address"])
        source.register(fresh=True, timeout=10)
        return source

    @property
    def source(self) -> HelperSource:
        source = self.recorder.source
        assert isinstance(source, HelperSource)
        return source

    @property
    def helper(self) -> int:
        """The helper's process id."""
        return int(self.source.description["pid"])

    def kill_helper(self) -> None:
        pid = self.helper
        with watched_to_its_end(pid):
            os.kill(pid, signal.SIGKILL)

    def helper_stopped(self) -> contextlib.AbstractContextManager[None]:
        return stopped(self.helper)

    @contextlib.contextmanager
    def impatient(self) -> Iterator[None]:
        """Meanwhile answers are not waited for as long: only where none comes, or a busy machine makes it late."""
        before, self.recorder.timeout = self.recorder.timeout, 0.2
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, "_ANSWER_GRACE", 0.2)
            yield
        self.recorder.timeout = before


AUTO = HelperSettings()  # BPF as root, and ptrace under test_under_ptrace.py


@contextlib.contextmanager
def recording(settings: HelperSettings = AUTO, timeout: float = 30) -> Iterator[Recording]:
    made = Recording(settings, timeout)
    try:
        yield made
    finally:
        made.recorder.close()


@contextlib.contextmanager
def watched_to_its_end(pid: int) -> Iterator[None]:
    """Waits, on leaving, until a process that is no child has ended."""
    pidfd = os.pidfd_open(pid)
    try:
        yield
        assert select.select([pidfd], [], [], 30)[0], f"process {pid} goes on:\n{what_it_does(pid)}"
    finally:
        os.close(pidfd)


def what_it_does(pid: int) -> str:
    """What it waits for, and each thread that it traces, to find out afterwards why it has not ended."""
    lines = []
    for folder in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.name == str(pid) or f"\nTracerPid:\t{pid}\n" in (folder / "status").read_text(errors="replace"):
                parts = [(folder / name).read_text(errors="replace").strip() for name in ("stat", "wchan", "syscall")]
                lines.append("; ".join([*parts, (folder / "cmdline").read_text(errors="replace").replace("\0", " ")]))
    return "\n".join(lines)


def stop(pid: int) -> None:
    """Stops a process that is no child, and waits until it has stopped: the signal alone does not say when."""
    os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + 30
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "Tt":
        assert time.monotonic() < until, f"process {pid} does not stop"
        time.sleep(0.001)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    stop(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def open_for_reader(fifo: Path, ends: int) -> int:
    """A FIFO opened for writing, once a process reads it. ``ends`` is a descriptor that can be read where none will."""
    while True:
        try:
            opened = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            assert not select.select([ends], [], [], 0.01)[0], f"who was to read {fifo} has ended"
        else:
            os.set_blocking(opened, True)
            return opened


_WORKER = """
import os, sys
from pytest_execprobe.source.connect import HelperSettings, hold_helper, start_helper
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.source.events import Exec

source = None
for line in sys.stdin:
    order, _, word = line.strip().partition(" ")
    if order in ("record", "hold"):
        try:
            source = {"record": start_helper, "hold": hold_helper}[order](HelperSettings(shared=word))
            print(source.description["pid"], flush=True)
        except ProbeUnavailable as error:
            print(error, flush=True)
    elif order == "run":
        os.waitpid(os.posix_spawn("/bin/true", [word], {}), 0)
        print(flush=True)
    elif order == "fail":
        try:
            os.posix_spawn(word, [word], {})
        except FileNotFoundError:
            print(flush=True)
    elif order == "failed":
        tries = [event.lost for event in source.sync(30).events if isinstance(event, Exec) and event.error is not None]
        print(tries.count(False), tries.count(True), flush=True)
    elif order == "seen":
        batch = source.sync(30)
        execs = sorted((event for event in batch.events if isinstance(event, Exec)), key=lambda event: event.at)
        print(*[event.command.argv[0] for event in execs], batch.unplaced, flush=True)
"""


class Worker:
    """Another process of a run, which does what it is told: as a worker of pytest-xdist's uses the run's helper."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, order: str) -> str:
        self.tell(order)
        return self.answer()

    def runs_and_sees(self, program: str) -> str:
        """What it sees once it has run this: the programs that ran, and how many execs were lost."""
        self.ask(f"run {program}")
        return self.ask("seen")

    def end(self) -> None:
        """It is killed, with nothing tidied up."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def workers(number: int) -> Iterator[list[Worker]]:
    made = [Worker() for _ in range(number)]
    try:
        yield made
    finally:
        for worker in made:
            worker.end()


@contextlib.contextmanager
def listener_of_another_user(address: str, uid: int = 65534) -> Iterator[None]:
    """Somebody else's process that listens there. It takes root to make one."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(address)
                listener.listen()
                os.write(tell, b"!")
                signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        assert os.read(ready, 1) == b"!"
        yield
    finally:
        os.close(ready)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
