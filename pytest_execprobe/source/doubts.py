"""Why it is not certain that all of a process's tree is followed: of what was there before, in words."""

from __future__ import annotations

from collections.abc import Iterator

from .._util.redaction import in_force
from .._util.text import printable
from .events import Orphan, Orphans, Source


def doubts(source: Source) -> Iterator[str]:
    """A reason for each kind, with what to do about it."""
    if source.hidden:
        yield (
            "/proc hides processes from the probe helper (hidepid), so that what was started before the probe can't be"
            " found: mount /proc without hidepid, or run pytest where the helper may mount one of its own (execprobe"
            " doctor says whether)"
        )
    if source.unadopted:
        count = "a process is" if source.unadopted == 1 else f"{source.unadopted} processes are"
        yield (
            f"{count} older than the probe and can't be followed: another user's, such as a setuid program's, one"
            " that forks on and on, or one of a PID namespace that /proc does not show. Start it in a fixture"
        )
    if source.orphans.count:
        yield _of_orphans(source.orphans)


def _of_orphans(orphans: Orphans) -> str:
    count = "a process of this user was" if orphans.count == 1 else f"{orphans.count} processes of this user were"
    named = "; ".join(map(_named, orphans.listed))
    more = orphans.count - len(orphans.listed)
    if named and more:
        named += f"; and {more} more"
    who = "it" if orphans.count == 1 else "them"
    return (
        f"{count} left behind by parents that have ended, before the probe was armed, so that it is unknown whether"
        f" this run has started {who}{': ' if named else ''}{named}. If it has, start"
        " that in a fixture; if other work has, run this again, or in a PID namespace of its own (unshare --pid)"
    )


def _named(orphan: Orphan) -> str:
    who = "a process whose number is not known here" if orphan.pid is None else f"pid {orphan.pid}"
    command = "" if orphan.command is None else f" ({printable(in_force().text(orphan.command, cut=True))})"
    return f"{who}{command}, begun {orphan.age:.1f} s before the probe was armed"
