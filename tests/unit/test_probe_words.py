"""What is said where the kernel refuses a probe."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from pytest_execprobe.helper.bpf.attach import refused


@pytest.mark.parametrize(
    ("uid", "level", "mend"),
    [
        (0, "3\n", "allow bpf"),
        (1000, "2\n", "CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH"),
        (1000, "3\n", "CAP_SYS_ADMIN: kernel.perf_event_paranoid is above 2"),
        (1000, None, "CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH"),
    ],
)
def test_what_would_be_enough(monkeypatch: pytest.MonkeyPatch, uid: int, level: str | None, mend: str) -> None:
    def opened(path: str, *_: Any) -> io.StringIO:
        assert path == "/proc/sys/kernel/perf_event_paranoid"
        if level is None:
            raise FileNotFoundError(path)
        return io.StringIO(level)

    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr("builtins.open", opened)
    error = refused("a perf buffer", "Permission denied")
    monkeypatch.undo()
    assert error.reason == "the kernel refused a perf buffer: Permission denied"
    assert mend in error.remedy
