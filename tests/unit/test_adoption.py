"""What was there before: descendants, and what may have been one."""

from __future__ import annotations

import pytest

from pytest_execprobe.helper import adoption


def test_orphans_are_what_nothing_leads_to_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "_may_exec", lambda pid: pid != 300)
    process = adoption._Process
    table = {
        1: process(b"init", 0, 1, 0),
        80: process(b"systemd", 1, 10, 1000),  # the manager of the user's session
        90: process(b"bash", 80, 20, 1000),
        100: process(b"python3", 90, 50, 1000),  # the client
        200: process(b"sh", 80, 60, 1000),
        201: process(b"sh", 1, 60, 1000),
        202: process(b"sh", 1, 40, 1000),  # older than the client
        203: process(b"cron", 1, 60, 0),  # another user's
        204: process(b"sleep", 90, 60, 1000),  # the shell's own
        205: process(b"sh", 1, 60, 1000),  # in the tree already
        300: process(b"python3", 1, 60, 1000),  # a helper
    }
    assert sorted(adoption._orphans(table, 100, {100, 205})) == [200, 201]


def test_descendants_by_the_child_that_they_descend_from() -> None:
    process = adoption._Process
    table = {
        1: process(b"init", 0, 1, 0),
        100: process(b"python3", 1, 50, 0),
        200: process(b"sh", 100, 60, 0),
        201: process(b"sh", 100, 60, 0),
        210: process(b"ls", 200, 60, 0),
        211: process(b"ls", 210, 60, 0),
        300: process(b"ls", 1, 60, 0),
    }
    assert sorted(adoption._descendants(table, 100)) == [(200, 200), (201, 201), (210, 200), (211, 200)]
