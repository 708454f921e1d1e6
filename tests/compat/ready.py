"""A process that has imported pytest, and forks for each inner run: to import it anew is most of a small run.

As a program this is that process. A child of it is as ``python -m pytest`` would be, in a session of its own, but for
its command line in /proc and for its hashes, which are those of the other children.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MOST = 1 << 18  # bytes of a request
#: What Python, or its C library, reads as it starts, and no longer when it has been forked. (The path is set anew.)
_AT_START = ("PYTHON", "LANG", "LC_", "TZ", "LD_", "GLIBC_", "MALLOC_")


class Ready:
    """Runs pytest, one run at a time."""

    def __init__(self, process: socket.socket) -> None:
        self._process = process
        self._at_start = _at_start()

    def run(self, options: list[str], folder: Path, stdin: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
        """``python -m pytest`` with these options, until all that it has started has closed its streams, too."""
        from concurrent.futures import ThreadPoolExecutor  # here, for the other process has no need of it

        assert _at_start() == self._at_start, "Python is to start with another environment: use before=..."
        (given, end), *reading = os.pipe(), os.pipe(), os.pipe()
        os.write(end, stdin)  # a few lines, which a pipe holds
        theirs = [given, *(write for _, write in reading)]
        request = {"options": options, "folder": str(folder), "environment": dict(os.environ)}
        self._process.settimeout(timeout)
        socket.send_fds(self._process, [json.dumps(request).encode()], theirs)
        for descriptor in (end, *theirs):
            os.close(descriptor)
        with ThreadPoolExecutor() as pool:
            texts = [pool.submit(_read, read) for read, _ in reading]
            pid = int(self._process.recv(100))
            try:
                status = int(self._process.recv(100))
            except BaseException:
                os.killpg(pid, signal.SIGKILL)
                raise
            return subprocess.CompletedProcess(options, status, *(text.result() for text in texts))


@contextlib.contextmanager
def made_ready(*modules: str) -> Iterator[Ready]:
    """With ``modules`` imported, too. (No plugin: of what is imported already pytest rewrites no assertions.)"""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, __file__, str(theirs.fileno()), *modules]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Pipes, for so are the streams of its children, and Python looks at what they are as it starts.
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], **streams), ours:
        theirs.close()
        yield Ready(ours)


def _at_start() -> dict[str, str]:
    return {name: to for name, to in os.environ.items() if name.startswith(_AT_START) and name != "PYTHONPATH"}


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()


def _serve(control: socket.socket) -> dict[str, Any]:
    """What is to be run, each time in a child that has the streams for it."""
    while True:
        told, streams, _, _ = socket.recv_fds(control, _MOST, 3)
        if not told:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            control.close()
            for number, descriptor in enumerate(streams):
                os.dup2(descriptor, number)
                os.close(descriptor)
            return dict(json.loads(told))
        for descriptor in streams:
            os.close(descriptor)
        control.send(b"%d" % pid)
        control.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _become(options: list[str], folder: str, environment: dict[str, str]) -> None:
    """The rest of what ``python -m pytest`` does."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [os.getcwd(), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[1:] = options
    sys.orig_argv[1:] = ["-m", "pytest", *options]
    run = runpy._run_module_as_main  # type: ignore[attr-defined]
    globals().clear()  # they are those of __main__
    run("pytest")


if __name__ == "__main__":
    from _pytest.config import default_plugins

    for module in (*(f"_pytest.{name}" for name in default_plugins), *sys.argv[2:]):
        importlib.import_module(module)
    gc.freeze()
    _become(**_serve(socket.socket(fileno=int(sys.argv[1]))))
