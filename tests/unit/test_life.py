"""The word that shows whether a process lives, on the kernel that is there."""

from __future__ import annotations

import mmap
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from pytest_execprobe.helper import life, wire


class Living:
    """A process that holds one end of a pipe and its life, in shared memory."""

    def __init__(self) -> None:
        here, there = socket.socketpair()
        self.pipe, end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                its = life.Life()
                os.close(self.pipe)
                socket.send_fds(there, [b"!"], [its.fd])
                here.close()
                there.close()
                signal.pause()
            finally:
                os._exit(1)
        os.close(end)
        _, (self.fd,), _, _ = socket.recv_fds(here, 1, 1)
        here.close()
        there.close()
        self.memory = mmap.mmap(self.fd, mmap.PAGESIZE, prot=mmap.PROT_READ)
        self.word = self.memory[: wire.LIFE]

    def end(self, number: int) -> None:
        os.kill(self.pid, number)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        os.close(self.pipe)


@pytest.fixture
def living() -> Iterator[Living]:
    made = Living()
    yield made
    made.end(signal.SIGKILL)


def test_it_can_be_read_and_not_written(living: Living) -> None:
    assert any(living.word)
    assert living.memory[: wire.LIFE] == living.word
    with pytest.raises(OSError, match="not permitted"):
        mmap.mmap(living.fd, mmap.PAGESIZE)
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(living.fd, b"!", 0)
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(living.fd, 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_changes_before_any_file_is_closed(number: int) -> None:
    """So that a probe is there as long as it has not."""
    for _ in range(50):
        made = Living()
        os.kill(made.pid, number)
        assert os.read(made.pipe, 1) == b""  # closed
        assert made.memory[: wire.LIFE] != made.word
        made.end(number)
