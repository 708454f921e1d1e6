"""A report that is put together from what comes of tests: what has no record of its own."""

from __future__ import annotations

import pytest
from fakes import FakeRun

from pytest_execprobe._util.names import Folders
from pytest_execprobe.report.assembly import Assembly
from pytest_execprobe.report.collect import Gatherer
from pytest_execprobe.report.model import Document, ReportedBreach
from pytest_execprobe.source.events import Ended
from pytest_execprobe.timeline.entry import Entry
from pytest_execprobe.timeline.evidence import Evidence, Gap
from pytest_execprobe.timeline.record import ExecRecord
from pytest_execprobe.timeline.spans import Owner


def document_of(assembly: Assembly, **more: object) -> Document:
    nothing = {"exit_status": 1, "probe": "", "ignored": {}, "filtered": False, "unknown": (), "gaps": {}}
    left = {"not_checked": {}, "left_out": (), "names": {}}
    return assembly.document(**{**nothing, **left, **more})  # type: ignore[arg-type]


def test_a_test_that_has_told_of_nothing_has_a_portable_name_too() -> None:
    """As of a worker that crashed: all that is known is pytest's report."""
    names = ["test_it.py::test_a[/scratch/x]", "test_it.py::test_a[/home/me/x]"]
    assembly = Assembly(folders=Folders(home="/home/me", temporary="/scratch"))
    for name in names:
        assembly.begin_try("gw0", name, "test_it.py", 3)
        assembly.outcome("gw0", name, "call", "failed")
        assembly.breach(name, ReportedBreach(f"of {name}"))
    document = document_of(assembly, not_checked={names[0]: "it crashed"})
    assert [unit.name for unit in document.units] == ["test_it.py::test_a[$TMPDIR/x]", "test_it.py::test_a[~/x]"]
    assert [unit.not_checked for unit in document.units] == ["it crashed", None]
    assert [[breach.headline for breach in unit.breaches] for unit in document.units] == [[f"of {n}"] for n in names]
    assert not document.runs[0].breaches


@pytest.mark.parametrize(("outcome", "shown", "finished"), [("xfailed", "xfailed", 1), ("error", "error", 0)])
def test_a_test_whose_process_was_killed_is_over_if_that_was_expected(outcome: str, shown: str, finished: int) -> None:
    """pytest-forked has one report of it, of no phase."""
    assembly = Assembly()
    assembly.outcome(None, "a", "???", outcome)
    assert (assembly.outcomes(), assembly.finished) == ({"a": shown}, finished)


def test_a_gap_that_several_phases_overlap_is_one() -> None:
    gatherer, owner, other = Gatherer(), Owner("a", is_test=True, began=0), Owner("b", is_test=True, began=9)
    gap, later = Gap(0, 9, "it was full", 3), Gap(9, 12, "it was full", 2)
    gatherer.unit(owner, "test")
    gatherer.unit(other, "test")
    for of, *gaps in ((owner, gap), (owner, gap, later), (other, later)):
        gatherer.losses(of, Evidence(gaps=tuple(gaps), unknown=("it died",) if of is other else ()))
    assembly = Assembly()
    assembly.take("gw0", gatherer.export())
    units = document_of(assembly).units
    assert [(unit.name, unit.gaps, unit.unknown) for unit in units] == [
        ("a", {"it was full": 5}, ()),
        ("b", {"it was full": 2}, ("it died",)),
    ]


def tell(run: FakeRun, gatherer: Gatherer, assembly: Assembly, *ignored: str) -> list[Entry]:
    """All that is new."""
    run.recorder.sync()
    told = run.recorder.take_new()
    for entry in told:
        owner = entry.stray_of or entry.owner
        assert owner is not None
        gatherer.unit(owner, "test")
        if entry.event.command is None or entry.event.command.program not in ignored:
            gatherer.exec(entry, owner, stray=entry.stray_of is not None)
    assembly.take("gw0", gatherer.export())
    return told


def test_a_report_says_what_a_log_says() -> None:
    run, gatherer, assembly = FakeRun(), Gatherer(), Assembly()
    run.begin()
    shell = run.source.runs("sh", "-c", "x")
    run.source.ends(run.source.runs("git", "fetch", by=shell))
    below = run.source.runs("server", by=shell)
    run.source.runs("gone", by=shell, lost=True)
    told = tell(run, gatherer, assembly, "sh")
    run.source.ends(shell)
    run.end()
    run.begin("test_b")
    run.source.runs("curl", by=below)
    run.source.runs("git", "fetch")
    told += tell(run, gatherer, assembly)
    first, second = document_of(assembly).units
    assert [record.program for record in first.records] == ["git", "server"]
    assert (first.lost, [record.program for record in first.strays]) == (1, ["curl"])
    own = [entry.record for entry in told if entry.record is not None]
    stored = (*first.records, *first.strays, *second.records)
    assert [record.program for record in own] == ["sh", *(record.program for record in stored)]
    for record, other in zip(own[1:], stored, strict=True):
        for name in set(ExecRecord.__slots__) - {"_command"}:
            assert getattr(other, name) == getattr(record, name), name
        assert other._command == record._command
    (curl,) = first.strays
    assert curl.parent is first.records[1]
    assert curl.parent.parent is not None
    assert (curl.parent.parent.program, curl.depth) == ("sh", 3)  # which is ignored, and above


def test_what_was_told_of_as_above_others_and_counts_itself() -> None:
    run, gatherer, assembly = FakeRun(), Gatherer(), Assembly()
    run.begin()
    shell = run.source.runs("sh")
    run.source.runs("git", by=shell)
    run.recorder.sync()
    above, below = run.recorder.take_new()
    assert above.owner is not None
    gatherer.unit(above.owner, "test")
    for entry in (below, above):
        gatherer.exec(entry, above.owner, stray=False)
    assembly.take(None, gatherer.export())
    (unit,) = document_of(assembly).units
    assert [record.program for record in unit.records] == ["git", "sh"]
    assert unit.records[0].parent is unit.records[1]


def test_how_it_ended_is_told_when_it_has() -> None:
    run, gatherer, assembly = FakeRun(), Gatherer(), Assembly()
    run.begin()
    env = run.source.runs("env")
    tell(run, gatherer, assembly)
    run.source.happens(Ended(env.at + 5, env.pid, env.branch, (env.pid, env.at), 3 << 8))
    tell(run, gatherer, assembly)
    (record,) = document_of(assembly).units[0].records
    assert (record.exit_code, record.duration_ns) == (3, 5)
    assert gatherer.export() == ""
