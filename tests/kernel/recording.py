"""A recorder of a test's own, beside the one that the outer pytest has: to stop, starve and kill its helper."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator

from pytest_execprobe.client import HelperSettings, HelperSource, start_helper
from pytest_execprobe.log import ExecProbe
from pytest_execprobe.recorder import Recorder
from pytest_execprobe.render import Style


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

    @property
    def source(self) -> HelperSource:
        source = self.recorder._source
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

    @contextlib.contextmanager
    def helper_stopped(self) -> Iterator[None]:
        pid = self.helper
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def recording(settings: HelperSettings = HelperSettings(), timeout: float = 30) -> Iterator[Recording]:  # noqa: B008
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
        assert select.select([pidfd], [], [], 30)[0], f"process {pid} goes on"
    finally:
        os.close(pidfd)
