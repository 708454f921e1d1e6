"""What was there before: descendants, and what may have been one."""

from __future__ import annotations

import pytest

from pytest_execprobe.helper import adoption


def test_orphans_are_what_nothing_leads_to_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "_may_exec", lambda pid: pid != 300)
    process = adoption._Process
    table = {
        1: process(b"init", 0, 1, 0, 1),
        70: process(b"sshd", 1, 10, 0, 70),
        80: process(b"systemd", 1, 10, 1000, 80),  # the manager of the user's session
        90: process(b"bash", 80, 20, 1000, 90),
        100: process(b"python3", 90, 50, 1000, 90),  # the client
        110: process(b"server", 100, 55, 1000, 110),  # its child, with a session of its own
        200: process(b"sh", 80, 60, 1000, 90),
        201: process(b"sh", 1, 60, 1000, 90),
        202: process(b"sh", 1, 40, 1000, 90),  # older than the client
        203: process(b"cron", 1, 60, 0, 90),  # another user's
        204: process(b"sleep", 90, 60, 1000, 90),  # the shell's own
        205: process(b"sh", 1, 60, 1000, 90),  # in the tree already
        300: process(b"python3", 1, 60, 1000, 90),  # a helper
        # By session: of the client's child, of nobody who is left, its own; of an older process, of a later login.
        400: process(b"sh", 1, 60, 1000, 110),
        401: process(b"sh", 1, 60, 1000, 399),
        402: process(b"sh", 1, 60, 1000, 402),
        403: process(b"sh", 1, 60, 1000, 70),
        404: process(b"bash", 70, 57, 1000, 404),
        405: process(b"sh", 1, 60, 1000, 404),
        406: process(b"bash", 1, 57, 1000, 406),  # a session whose leader is an orphan itself
        407: process(b"sh", 1, 60, 1000, 406),
        408: process(b"sh", 1, 60, 1000, 0),  # put into this container, or pid namespace, from outside
    }
    found = sorted(adoption._orphans(table, 100, {100, 110, 205}))
    assert found == [200, 201, 400, 401, 402, 406, 407]


def test_a_client_from_outside_of_the_pid_namespace_may_have_left_what_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adoption, "_may_exec", lambda _: True)
    process = adoption._Process
    table = {
        1: process(b"init", 0, 1, 0, 1),
        100: process(b"python3", 0, 50, 0, 0),
        200: process(b"sh", 1, 60, 0, 0),
    }
    assert adoption._orphans(table, 100, {100}) == [200]


def test_descendants_by_the_child_that_they_descend_from() -> None:
    process = adoption._Process
    table = {
        1: process(b"init", 0, 1, 0, 1),
        100: process(b"python3", 1, 50, 0, 1),
        200: process(b"sh", 100, 60, 0, 1),
        201: process(b"sh", 100, 60, 0, 1),
        210: process(b"ls", 200, 60, 0, 1),
        211: process(b"ls", 210, 60, 0, 1),
        300: process(b"ls", 1, 60, 0, 1),
    }
    assert sorted(adoption._descendants(table, 100)) == [(200, 200), (201, 201), (210, 200), (211, 200)]


@pytest.mark.parametrize(("childless", "child", "expected"), [(True, False, 0), (False, False, 1), (True, True, 1)])
def test_who_never_had_a_child_has_left_no_orphans(
    monkeypatch: pytest.MonkeyPatch, childless: bool, child: bool, expected: int
) -> None:
    process = adoption._Process
    table = {
        1: process(b"init", 0, 1, 0, 1),
        100: process(b"python3", 1, 50, 0, 1),
        200: process(b"sh", 1, 60, 0, 1),
    }
    if child:
        table[210] = process(b"sh", 100, 60, 0, 1)
    monkeypatch.setattr(adoption, "_may_exec", lambda _: True)
    monkeypatch.setattr(adoption, "_processes", lambda: table)
    assert adoption.adopt_descendants(lambda *_: True, 1, 100, 100, childless) == expected
