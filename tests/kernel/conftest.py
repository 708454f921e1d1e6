from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import installed, open_folder, wheel
from programs import programs
from releases import release

from pytest_execprobe.helper.bpf.attach import kernel_version

REALTIME = Path("/sys/kernel/realtime")  # there on kernels with PREEMPT_RT alone

__all__ = ["installed", "open_folder", "programs", "release", "wheel"]


@pytest.fixture(scope="session", autouse=True)
def usual_umask() -> Iterator[None]:
    """What is made for other users they can read, whatever the umask of whoever runs the tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def stops(request: pytest.FixtureRequest) -> None:
    """For tests in which BPF stops programs: it refuses to where a signal of its own can be late."""
    by_ptrace = "backend" in request.fixturenames and request.getfixturevalue("backend") == "ptrace"
    if not by_ptrace and REALTIME.exists() and kernel_version() < (6, 19):
        pytest.skip("on this kernel a signal of BPF's can be late, and it is refused to stop programs by one")


@pytest.fixture
def losing(pytester: pytest.Pytester) -> pytest.Pytester:
    """Inner suites can import ``lose_helper``, which waits for the helper's end: after a signal alone it goes on for a
    moment, and what it says then is true."""
    pytester.makepyfile(lose=Path(__file__).parent.parent.joinpath("compat/inside/lose.py").read_text())
    return pytester
