"""Records of one kind are asked about once, and what makes a difference to a pattern makes another kind."""

from __future__ import annotations

import pytest
from fakes import altered, evidence, log_of, record

from pytest_execprobe import ExecRecord, subtree
from pytest_execprobe.log.checks import answers
from pytest_execprobe.log.pattern import Side
from pytest_execprobe.log.patterns import PatternLike, compile_pattern


def again(first: ExecRecord, **fields: object) -> ExecRecord:
    """Another exec of the same command."""
    serial = record()._identity
    return altered(first, _identity=serial, **{"parent": None, "previous": None, **fields})


def crowd() -> list[ExecRecord]:
    """A few commands, each in several places of the tree."""
    git, make = record("git", "fetch"), record("make")
    busybox = record("sh", path="/proc/self/exe", executable="/bin/busybox", argv=("sh",))
    applet = record("applet", path="/proc/self/exe", executable="/bin/busybox", argv=("sleep", "1"))
    records = [git, make, busybox, applet]
    for above in (None, git, make, busybox, record("env", lineage_lost=True)):
        for command in (git, make, busybox, applet, record("curl", argv=None)):
            records.append(again(command, parent=above, direct=above is None))
            records.append(again(command, previous=above, lost=above is None))
    return records


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    "pattern", ["git", "sh", "sleep", "/bin/busybox", "re:fetch", "argv:git *", subtree("git"), subtree("sh"), "curl"]
)
def test_every_record_has_the_answer_that_it_has_by_itself(pattern: PatternLike, side: Side) -> None:
    compiled, records = compile_pattern(pattern), crowd()
    found = answers(evidence(*records), [compiled], side)
    alone = [compiled.match(one, side) for one in records]
    assert found.every == alone
    for answer in (True, False, None):
        assert found.count(answer) == alone.count(answer)
        assert found.those(answer) == tuple(one for one, its in zip(records, alone, strict=True) if its is answer)
        assert (answer in found) == (answer in alone)


def test_one_command_is_looked_at_once() -> None:
    git = record("git")
    seen: list[ExecRecord] = []
    found = evidence(git, *(again(git) for _ in range(99)), record("gpg")).kinds().ask(seen.append)
    assert [one.program for one in seen] == ["git", "gpg"]
    assert len(found.every) == 101


def test_marked_rows_keep_their_numbers_and_their_parents() -> None:
    make = record("make")
    run = [again(make) for _ in range(50)]
    below = record("curl", parent=run[20])
    with pytest.raises(AssertionError) as caught:
        log_of(*run, below).assert_not_ran("curl")
    assert "> 51 " in str(caught.value)
    assert " #21 " in str(caught.value)
