from __future__ import annotations

import os
from collections.abc import Iterator

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
