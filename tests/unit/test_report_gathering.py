"""A report that is put together from what comes of tests: what has no record of its own."""

from __future__ import annotations

from pytest_execprobe.names import Folders
from pytest_execprobe.report.document import Breach
from pytest_execprobe.report.gathering import Assembly


def test_a_test_that_has_told_of_nothing_has_a_portable_name_too() -> None:
    """As of a worker that crashed: all that is known is pytest's report."""
    names = ["test_it.py::test_a[/scratch/x]", "test_it.py::test_a[/home/me/x]"]
    assembly = Assembly(folders=Folders(home="/home/me", temporary="/scratch"))
    for name in names:
        assembly.begin_try("gw0", name, "test_it.py", 3)
        assembly.outcome("gw0", name, "call", "failed")
        assembly.breach(name, Breach(f"of {name}"))
    document = assembly.document(
        exit_status=1,
        probe="",
        ignored={},
        filtered=False,
        unknown=(),
        gaps={},
        not_checked={names[0]: "it crashed"},
        left_out=(),
        names={},
    )
    assert [unit.name for unit in document.units] == ["test_it.py::test_a[$TMPDIR/x]", "test_it.py::test_a[~/x]"]
    assert [unit.not_checked for unit in document.units] == ["it crashed", None]
    assert [[breach.headline for breach in unit.breaches] for unit in document.units] == [[f"of {n}"] for n in names]
    assert not document.runs[0].breaches
