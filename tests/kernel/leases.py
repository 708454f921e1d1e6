"""Files that nobody gets open for a while, so that an exec of them takes as long as the test wants it to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def kept_from_opening(program: Path) -> Iterator[None]:
    """Whoever opens this file waits until the end of this: also who executes it."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # by which the kernel would tell of it
    try:
        with program.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            try:
                yield
            finally:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)  # closing is not enough: children hold it, too
    finally:
        signal.signal(signal.SIGIO, before)


def begin_exec(program: Path) -> int:
    """A child that is in its execve by now, and does not get any further."""
    child = os.fork()
    if child == 0:
        try:
            os.execv(program, [str(program)])
        finally:
            os._exit(127)
    while b"lease" not in Path(f"/proc/{child}/wchan").read_bytes():
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it has got further, and has ended"
        os.sched_yield()
    return child
