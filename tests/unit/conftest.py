"""A helper of which the kernel side is played."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fakes import FakeProbe
from serving import PATIENCE, Client, Helper, Setter

from pytest_execprobe.helper import delivery, peers, server


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


@pytest.fixture
def client(helper: Helper) -> Client:
    """The first, which is a root."""
    return helper.first.arm()


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Setter:
    """Sets how many bytes are kept for all clients."""
    return lambda size: monkeypatch.setattr(delivery, "_QUEUE_BYTES", size)


@pytest.fixture
def peers_are(monkeypatch: pytest.MonkeyPatch) -> Setter:
    """Has whoever connects be this user."""
    real = peers.credentials
    return lambda uid: monkeypatch.setattr(peers, "credentials", lambda sock: (real(sock)[0], uid, uid))


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, no helper is through with making its probe."""
    event, real = threading.Event(), server.Server.run
    monkeypatch.setattr(server.Server, "run", lambda self: event.wait(PATIENCE) and real(self))
    return event
