"""What a process had started before is searched for while others execute: what they do is taken in meanwhile."""

from __future__ import annotations

import itertools
from unittest import mock

import pytest

from pytest_execprobe.helper import registration
from pytest_execprobe.helper.adoption import Search
from pytest_execprobe.helper.probe import Claimed
from pytest_execprobe.helper.quotas import Limits
from pytest_execprobe.helper.registration import Registration

SEARCHED = 0.001  # seconds from one look at the clock to the next
COLLECTED = 0.02  # as long as a tracer stays at it


def test_most_of_a_long_search_is_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes each time to take in what there is."""
    collected = mock.Mock()
    looks = itertools.count(1)

    def search(*args: object) -> Search:
        (*_, tick) = args
        for _ in range(100):
            tick()  # type: ignore[operator]
        return Search()

    monkeypatch.setattr(registration, "adopt_descendants", search)
    monkeypatch.setattr(registration.identity, "is_connected", lambda *_: True)
    clock = mock.Mock(monotonic=lambda: SEARCHED * next(looks) + COLLECTED * collected.call_count)
    monkeypatch.setattr(registration, "time", clock)
    client, probe, sent = mock.Mock(root=1, pid=7), mock.Mock(), mock.Mock()
    client.user.claims, client.user.is_granting = {client}, True
    probe.claimed.return_value, probe.kernel_pid.return_value = Claimed(0, 7, False, None, False), 7
    registers = Registration(probe, mock.Mock(collect=collected), mock.Mock(), Limits(), sent)
    registers.arm(client, 1, {})
    assert sent.call_count == 1
    assert client.armed is True
    assert 5 <= collected.call_count <= 20
