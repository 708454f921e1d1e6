"""For inner suites: takes the probe away in the middle of a test."""

from __future__ import annotations

import functools
import os
import select
import signal
from typing import Any

import pytest

# A test may have replaced what is in the modules.
_close, _kill, _pidfd_open, _select = map(functools.partial, (os.close, os.kill, os.pidfd_open, select.select))


def lose_helper(config: pytest.Config) -> None:
    """Kills the helper that records this process, and waits for its end."""
    armed: Any = config.pluginmanager.get_plugin("execprobe-armed")
    pid = armed.recorder.description["pid"]
    pidfd = _pidfd_open(pid)
    try:
        _kill(pid, signal.SIGKILL)
        assert _select([pidfd], [], [], 30)[0]
    finally:
        _close(pidfd)
