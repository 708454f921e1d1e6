"""A report that is put together from what comes of tests: what has no record of its own."""

from __future__ import annotations

from pytest_execprobe.attribution import Evidence, Gap, Owner
from pytest_execprobe.names import Folders
from pytest_execprobe.report.document import Breach, Document
from pytest_execprobe.report.gathering import Assembly, Gatherer


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
        assembly.breach(name, Breach(f"of {name}"))
    document = document_of(assembly, not_checked={names[0]: "it crashed"})
    assert [unit.name for unit in document.units] == ["test_it.py::test_a[$TMPDIR/x]", "test_it.py::test_a[~/x]"]
    assert [unit.not_checked for unit in document.units] == ["it crashed", None]
    assert [[breach.headline for breach in unit.breaches] for unit in document.units] == [[f"of {n}"] for n in names]
    assert not document.runs[0].breaches


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
