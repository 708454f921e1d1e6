"""A helper of which the kernel side is played."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes import FakeProbe
from serving import Helper


@pytest.fixture
def probe() -> Iterator[FakeProbe]:
    probe = FakeProbe()
    yield probe
    probe.close()


@pytest.fixture
def helper(probe: FakeProbe) -> Iterator[Helper]:
    helper = Helper(probe)
    yield helper
    helper.stop()
