from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import installed, open_folder, wheel
from programs import programs

__all__ = ["installed", "open_folder", "programs", "wheel"]


@pytest.fixture(scope="session", autouse=True)
def usual_umask() -> Iterator[None]:
    """What is made for other users they can read, whatever the umask of whoever runs the tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def losing(pytester: pytest.Pytester) -> pytest.Pytester:
    """Inner suites can import ``lose_helper``, which waits for the helper's end: after a signal alone it goes on for a
    moment, and what it says then is true."""
    pytester.makepyfile(lose=Path(__file__).parent.parent.joinpath("compat/inside/lose.py").read_text())
    return pytester
