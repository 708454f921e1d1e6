"""Other tracers of execs, for the workloads that ``execprobe run`` is measured by."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pairs import Trouble
from sides import environment, started

_START = 30.0  # seconds
_END = 10.0  # seconds that a tracer is given to end, before it is killed
_PATHS = 'tracepoint:sched:sched_process_exec { printf("%s\\n", str(args->filename)); }'

STRACE = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=execve,execveat", "-e", "signal=none")
#: What is put before a workload's command.
WRAPPERS = {"strace": STRACE, "strace --seccomp-bpf": (*STRACE, "--seccomp-bpf")}
#: What runs beside it, and sees all of the machine.
WATCHERS: dict[str, Sequence[str]] = {
    "bpftrace, paths": ("bpftrace", "-B", "line", "-e", _PATHS),
    "execsnoop": ("execsnoop",),
    "execsnoop-bpfcc": ("execsnoop-bpfcc",),
}
#: They read tracepoints' numbers from tracefs. Where nobody has mounted it, they are shown one of their own.
_TRACEFS = 'mount -t debugfs none /sys/kernel/debug; mount -t tracefs none /sys/kernel/tracing; exec "$@"'


def missing() -> dict[str, str]:
    """The peers that are not installed, and what that means for the table."""
    commands = {name: words[0] for name, words in {**WRAPPERS, **WATCHERS}.items()}
    return {name: f"{command} is not installed" for name, command in commands.items() if _program(command) is None}


def wrapped(name: str, command: Sequence[str | Path | int]) -> list[str | Path | int]:
    return [*WRAPPERS[name], *command]


@contextlib.contextmanager
def watching(name: str, folder: Path, marker: Path) -> Iterator[None]:
    """The watcher has told of an exec of ``marker``, so it sees what runs from now on."""
    program, *words = WATCHERS[name]
    path = _program(program)
    command = [path or program, *words]
    if os.geteuid() == 0 and not Path("/sys/kernel/tracing/events").exists():
        command = ["unshare", "--mount", "sh", "-c", _TRACEFS, "sh", *command]
    output = folder / "watched.txt"
    env = environment({"PYTHONUNBUFFERED": "1"})
    with open(output, "wb") as file, started(command, stdout=file, stderr=subprocess.STDOUT, env=env) as process:
        _await(lambda: str(marker) in _told(output, marker), process, name, output)
        yield
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END)


def _told(output: Path, marker: Path) -> str:
    subprocess.run([marker], check=True)
    return output.read_text(errors="replace")


def _await(ready: Callable[[], bool], process: subprocess.Popen[str], name: str, output: Path) -> None:
    deadline = time.monotonic() + _START
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            said = output.read_text(errors="replace").strip().splitlines()
            raise Trouble(f"{name} did not start: {said[-1] if said else 'it said nothing'}")
        time.sleep(0.02)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
