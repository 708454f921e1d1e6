"""The public API as a user's type checker sees it. mypy reads this file, and nobody runs it."""

from __future__ import annotations

import re
from collections import Counter

from typing_extensions import assert_type

from pytest_execprobe import ANY, ExecLog, ExecProbe, ExecRecord, IncompleteLogError, subtree


def test_reads(execprobe: ExecProbe) -> None:
    assert_type(execprobe.records, tuple[ExecRecord, ...])
    assert_type(execprobe.attempts, tuple[ExecRecord, ...])
    assert_type(execprobe.strays, tuple[ExecRecord, ...])
    assert_type(execprobe.partial, tuple[ExecRecord, ...])
    assert_type(execprobe.programs, list[str])
    assert_type(execprobe.counts, Counter[str])
    assert_type(execprobe.count("git"), int)
    assert_type(execprobe.lost, int | None)
    assert_type(execprobe.complete, bool)
    assert_type(execprobe.tree(), str)
    execprobe.assert_all_succeeded()
    execprobe.assert_all_succeeded("git", ["gpg", ANY])
    execprobe.assert_no_shell()
    assert_type(execprobe.direct, ExecLog)
    assert_type(execprobe.setup, ExecLog)
    assert_type(execprobe.wait_for("git", times=2, timeout=1.0), ExecRecord)


def test_patterns(execprobe: ExecProbe) -> None:
    arguments = ["git", "push"]
    execprobe.assert_ran("git", re.compile("push"), arguments, ("git", ANY), subtree(["git", "push"]), times=1)
    execprobe.assert_sequence("git", frozenset({"gzip", "tar"}))
    execprobe.assert_at_most(3, subtree(subtree("git")))
    execprobe.assert_ran(b"git")  # type: ignore[arg-type]
    execprobe.assert_at_most("3")  # type: ignore[arg-type]


def test_watch(execprobe: ExecProbe) -> None:
    with execprobe.watch(at_most=1, per_program={"git": 2}, allow=["git"], deny=("curl", subtree("sh"))) as log:
        assert_type(log, ExecLog)


def test_records(record: ExecRecord, error: IncompleteLogError) -> Exception:
    assert_type(record.program, str | None)
    assert_type(record.argv, tuple[str, ...] | None)
    assert_type(record.parent, ExecRecord | None)
    assert_type(record.timestamp_ns, int)
    return error
