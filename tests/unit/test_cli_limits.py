"""What a command may execute: certain breaches first, and what is not known never passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import evidence, record

from pytest_execprobe.cli.limits import Allowed
from pytest_execprobe.cli.recording import NewExec
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.timeline.evidence import Evidence


def patterns(*texts: str) -> tuple:  # type: ignore[type-arg]
    return tuple(compile_pattern(text) for text in texts)


def test_what_was_forbidden_by_a_link_that_is_gone_by_the_end(tmp_path: Path) -> None:
    (tmp_path / "between").symlink_to("real")
    (tmp_path / "cc").symlink_to("between")
    runs = [record("cc", path=f"{tmp_path}/cc", executable=f"{tmp_path}/real") for _ in range(3)]
    shown: list[NewExec] = []
    for look in (
        lambda limits, run: limits.concern(run),
        lambda limits, run: limits.looking(shown.extend)([NewExec(run, None)]),
    ):
        limits = Allowed(deny=patterns("curl", "between"))
        look(limits, runs[0])
        (tmp_path / "cc").rename(tmp_path / "gone")
        look(limits, runs[1])
        (tmp_path / "gone").rename(tmp_path / "cc")
        look(limits, runs[2])
        (tmp_path / "cc").rename(tmp_path / "gone")
        (broken,) = limits.broken(evidence(*runs), 3)
        (tmp_path / "gone").rename(tmp_path / "cc")
        assert (broken.headline, broken.marked) == ("between must not run, but it ran 2 times", (runs[0], runs[2]))
    assert [new.record for new in shown] == runs


GIT, SH, CUT = record("git"), record("sh"), record("git", "push", truncated=True)
Broken = list[tuple[bool | None, str]]


@pytest.mark.parametrize(
    ("limits", "found", "ran", "broken"),
    [
        (Allowed(), evidence(unknown="gap", lost=3), 5, []),
        (Allowed(at_most=2), evidence(GIT, SH), 2, []),
        (Allowed(at_most=1), evidence(GIT, SH), 2, [(False, "exec budget exceeded: 2 execs, at most 1 allowed")]),
        (Allowed(at_most=0), evidence(), 1, [(False, "exec budget exceeded: 1 exec, at most 0 allowed")]),
        (Allowed(at_most=3), evidence(lost=1), 2, []),
        (Allowed(at_most=2), evidence(lost=1), 2, [(False, "exec budget exceeded: 3 execs, at most 2 allowed")]),
        (Allowed(at_most=2), evidence(unknown="gap"), 2, [(None, "whether at most 2 execs ran")]),
        (Allowed(at_most=1), evidence(unknown="gap"), 2, [(False, "exec budget exceeded: 2 execs, at most 1 allowed")]),
        (Allowed(allow=patterns("git", "sh")), evidence(GIT, SH), 2, []),
        (Allowed(allow=patterns("git")), evidence(GIT, SH), 2, [(False, "only git may run, but sh ran")]),
        (Allowed(allow=patterns("git")), evidence(lost=1), 2, [(None, "whether only git ran")]),
        (Allowed(allow=patterns("argv:git push x")), evidence(CUT), 1, [(None, "whether only argv:git push x ran")]),
        (Allowed(deny=patterns("curl")), evidence(GIT, SH), 2, []),
        (Allowed(deny=patterns("sh")), evidence(GIT, SH), 2, [(False, "sh must not run, but it ran once")]),
        (Allowed(deny=patterns("curl")), evidence(lost=1), 2, [(None, "whether curl ran")]),
        (Allowed(deny=patterns("curl")), evidence(unknown="gap"), 2, [(None, "whether curl ran")]),
        (
            Allowed(at_most=9, allow=patterns("git"), deny=patterns("curl", "sh")),
            evidence(GIT, SH, lost=1),
            2,
            [
                (False, "only git may run, but sh ran"),
                (False, "sh must not run, but it ran once"),
                (None, "whether curl ran"),
            ],
        ),
    ],
)
def test_limits(limits: Allowed, found: Evidence, ran: int, broken: Broken) -> None:
    verdicts = limits.broken(found, ran)
    assert [(one.holds, one.question if one.holds is None else one.headline) for one in verdicts] == broken
    # Of records that do not concern them, only the number matters.
    few = evidence(*filter(limits.concern, found.records), lost=len(found.lost), unknown=found.unknown)
    assert [(one.holds, one.headline, one.question) for one in limits.broken(few, ran)] == [
        (one.holds, one.headline, one.question) for one in verdicts
    ]


def test_which_limits_look_above_an_exec() -> None:
    assert Allowed(allow=patterns("subtree:git")).need_ancestors
    assert Allowed(deny=patterns("git", "subtree:argv:git push")).need_ancestors
    assert not Allowed(at_most=1, allow=patterns("git"), deny=patterns("re:subtree")).need_ancestors


def test_who_asked_for_what_was_not_to_run() -> None:
    shell = record("sh", path="/bin/sh", argv=("/bin/sh", "-c", "ls"))  # the command itself, which anybody can call so
    allowed = Allowed(allow=patterns("git"))
    (breach,) = allowed.breaches(evidence(record("uname", "-p"), shell), 2, 0)
    hints = [line for line in breach.text.splitlines() if "hint" in line]
    assert hints == ["  hint  `uname -p` is what platform.processor() asks, and so does platform.platform()"]
