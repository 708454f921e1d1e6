"""For inner suites: takes the probe away in the middle of a test."""

from __future__ import annotations

import os
import select
import signal
from typing import Any

import pytest


def lose_helper(config: pytest.Config) -> None:
    """Kills the helper that records this process, and waits for its end."""
    armed: Any = config.pluginmanager.get_plugin("execprobe-armed")
    pid = armed._recorder.description["pid"]
    pidfd = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        assert select.select([pidfd], [], [], 30)[0]
    finally:
        os.close(pidfd)
