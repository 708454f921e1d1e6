"""As whom the helper compiles: as nobody, where that can be had and nobody can read the source."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_execprobe.helper import privilege

NOBODY = 65534


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Those that this process, root for all it knows, has become."""
    became: list[int] = []
    monkeypatch.setattr(privilege, "_libc", SimpleNamespace(prctl=lambda *_: 0))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "seteuid", became.append)
    return became


def test_root_becomes_nobody(users: list[int]) -> None:
    privilege.become_nobody(__file__)
    assert users == [NOBODY]


def test_it_stays_root_where_nobody_can_not_read_the_source(users: list[int], tmp_path: Path) -> None:
    privilege.become_nobody(str(tmp_path / "not there"))
    assert users == [NOBODY, 0]


def test_it_stays_root_where_there_is_no_nobody(users: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def seteuid(user: int) -> None:
        if user == NOBODY:
            raise OSError
        users.append(user)

    monkeypatch.setattr(os, "seteuid", seteuid)
    privilege.become_nobody(__file__)
    assert users == [0]


def test_it_stays_root_where_that_would_take_its_capabilities(
    users: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privilege, "_libc", SimpleNamespace(prctl=lambda *_: -1))
    privilege.become_nobody(__file__)
    assert users == []


def test_another_user_stays_that(users: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    privilege.become_nobody(__file__)
    assert users == []
