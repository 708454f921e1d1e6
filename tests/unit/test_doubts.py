"""Why it is not certain that a whole tree is followed."""

from __future__ import annotations

from fakes import FakeSource

from pytest_execprobe.source.doubts import doubts
from pytest_execprobe.source.events import Orphan, Orphans


def test_nothing_is_said_without_a_doubt() -> None:
    assert list(doubts(FakeSource())) == []


def test_each_kind_has_a_reason_and_a_remedy() -> None:
    source = FakeSource(unadopted=1)
    source.hidden = True
    source.orphans = Orphans(7, (Orphan(12, 3.25, "sleep '1 2'\n"), Orphan(None, 0.5, None)))
    hidden, unadopted, orphans = doubts(source)
    assert "hidepid" in hidden
    assert "mount /proc without hidepid" in hidden
    assert unadopted.startswith("a process is older than the probe and can't be followed")
    assert "Start it in a fixture" in unadopted
    assert orphans.startswith("7 processes of this user were left behind by parents that have ended")
    assert r": pid 12 (sleep '1 2'\n), begun 3.2 s before the probe was armed; a process whose number" in orphans
    assert "known here, begun 0.5 s before the probe was armed; and 5 more. If it has, start that in a fix" in orphans


def test_one_of_each() -> None:
    source = FakeSource()
    source.orphans = Orphans(1, (Orphan(12, 3.0, "true"),))
    (orphan,) = doubts(source)
    assert orphan.startswith("a process of this user was left behind by parents that have ended, before the probe was")
    assert "has started it: pid 12 (true), begun 3.0 s before" in orphan
