"""What strace saw: the truth that the probe's log is compared with."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import select
import shutil
import signal
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_execprobe import ExecLog, ExecRecord, IncompleteLogError

_TIMEOUT = 120  # seconds
_CLONE = {"x86_64": 56, "aarch64": 220}  # the system call's number
_CLONE_UNTRACED = 0x00800000  # uapi/linux/sched.h

#: What starts strace.
Popen = Callable[..., Any]


class Exec(NamedTuple):
    """An execve or execveat that has ended. ``error`` is the errno's name of one that failed."""

    path: str
    error: str | None = None


#: The execs of each process, in their order.
Processes = Mapping[int, Sequence[Exec]]


class Traced(NamedTuple):
    pid: int  # strace's own
    processes: Processes


def strace(
    command: Sequence[str | Path], output: Path, *, cwd: Path | None = None, popen: Popen = subprocess.Popen
) -> Traced:
    """Runs a command under strace, which writes to ``output``. Skips the test where there is none."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("the truth that these tests compare with comes from strace, and there is none")
    options = ["-f", "-o", output, "-xx", "-s", "4096", "-e", "trace=execve,execveat", "-e", "signal=none"]
    with popen([program, *options, *command], cwd=cwd, stdout=subprocess.DEVNULL) as process:
        try:
            status = process.wait(_TIMEOUT)
        finally:
            process.kill()
    if status != 0:
        raise RuntimeError(f"status {status} of {command} under strace:\n{output.read_text()}")
    return Traced(process.pid, parse(output.read_text().splitlines()))


class Untraced:
    """As Popen, but of a process that is not traced with the test's own: strace can't trace what has a tracer."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path | None, stdout: int) -> None:
        assert stdout == subprocess.DEVNULL
        argv = [os.fspath(word) for word in command]
        null = os.open(os.devnull, os.O_WRONLY)
        self.pid = ctypes.CDLL(None).syscall(_CLONE[platform.machine()], _CLONE_UNTRACED | signal.SIGCHLD, 0, 0, 0, 0)
        if self.pid == 0:
            try:
                os.dup2(null, 1)
                os.chdir(cwd or ".")
                os.execv(argv[0], argv)
            finally:
                os._exit(1)
        os.close(null)
        self._status: int | None = None

    def wait(self, timeout: float) -> int:
        pidfd = os.pidfd_open(self.pid)
        try:
            if not select.select([pidfd], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("strace", timeout)
        finally:
            os.close(pidfd)
        self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def kill(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)

    def __enter__(self) -> Untraced:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is None:
            os.waitpid(self.pid, 0)


_LINE = re.compile(r"(?P<pid>\d+) +(?P<event>.*)")
_CALL = re.compile(r"(?P<name>execve|execveat)\((?P<arguments>.*)")
_RESUMED = re.compile(r"<\.\.\. execve(at)? resumed>(?P<rest>.*)")
_SUPERSEDED = re.compile(r"\+\+\+ superseded by execve in pid (?P<thread>\d+) \+\+\+")
_BROKEN_OFF = re.compile(r" *<(unfinished|pid changed to \d+) \.\.\.>$")
_RESULT = re.compile(r"\) += (?P<value>-?\d+|\?)(?: (?P<error>E[A-Z0-9]+)\b.*)?$")
_PATH = re.compile(r'(?:(?P<fd>AT_FDCWD|\d+), )?"(?P<path>(?:\\x[0-9a-f]{2})*)", ')
_OTHER = re.compile(r"\+\+\+ (exited with|killed by) .* \+\+\+|\[ Process PID=\d+ runs in (32|64) bit mode\. \]")


def parse(lines: Iterable[str]) -> Processes:
    """The execs in the output of ``strace -f -xx -e trace=execve,execveat``.

    A thread that succeeds becomes the process; the failures of other threads than the first stand under their own
    numbers. Raises ValueError for what it does not understand: a truth must not have holes.
    """
    processes: defaultdict[int, list[Exec]] = defaultdict(list)
    begun: dict[int, str] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"not a line of strace -f: {line!r}")
        pid, event = int(match["pid"]), match["event"]
        if _CALL.match(event):
            call = event
        elif resumed := _RESUMED.fullmatch(event):
            call = begun.pop(pid) + resumed["rest"]
        elif superseded := _SUPERSEDED.fullmatch(event):
            begun[pid] = begun.pop(int(superseded["thread"]))
            continue
        elif _OTHER.fullmatch(event):
            continue
        else:
            raise ValueError(f"not understood: {line!r}")
        if _BROKEN_OFF.search(call):
            begun[pid] = _BROKEN_OFF.sub("", call)
        elif (ended := _exec(call)) is not None:
            processes[pid].append(ended)
    return processes


def _exec(call: str) -> Exec | None:
    """None for a call that did not come to an end, because the process did."""
    match, result = _CALL.fullmatch(call), _RESULT.search(call)
    path = _PATH.match(match["arguments"]) if match else None
    if path is None or result is None:
        raise ValueError(f"not understood: {call!r}")
    if result["value"] == "?":
        return None
    name = bytes.fromhex(path["path"].replace("\\x", "")).decode("utf-8", "surrogateescape")
    if path["fd"] not in (None, "AT_FDCWD") and not name.startswith("/"):
        name = f"/dev/fd/{path['fd']}" + (f"/{name}" if name else "")  # as the kernel calls it
    return Exec(name, result["error"])


def attempts_of(log: ExecLog) -> tuple[ExecRecord, ...] | None:
    """None by ptrace, which does not show them."""
    try:
        return log.attempts
    except IncompleteLogError as error:
        if "ptrace" not in str(error):
            raise
        return None


def without_failures(processes: Processes) -> Processes:
    kept = {pid: [one for one in execs if one.error is None] for pid, execs in processes.items()}
    return {pid: execs for pid, execs in kept.items() if execs}


def processes_of(log: ExecLog, *, without: int | None = None) -> Processes:
    """The same of a log: what succeeded and, where it shows that, what failed. ``without`` leaves out one process."""
    processes: defaultdict[int, list[Exec]] = defaultdict(list)
    both: list[ExecRecord] = [*log.records, *(attempts_of(log) or ())]
    records = sorted(both, key=lambda record: record.timestamp_ns)
    for record in records:
        if record.pid != without:
            processes[record.pid].append(Exec(str(record.path), record.error))
    return processes


def shapes(processes: Processes) -> Counter[tuple[Exec, ...]]:
    """How many processes did what: equal for two runs, although the pids are not."""
    return Counter(tuple(execs) for execs in processes.values())
