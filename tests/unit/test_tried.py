"""The table of what was tried keeps a row for each name, the latest, and the names are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests/versions/tried.py"
PAGE = """# A page

| name | version | what came of it | on |
| --- | --- | --- | --- |
| Linux 6.1 | 6.1.0-57 | 40 passed | 2026-11-30 |
| python3.9 | Python 3.9.1 | 1 passed | 2026-11-30 |

And so on.
"""


def put(page: Path, *row: str) -> list[str]:
    """The rows of the table then, without their dates."""
    subprocess.run([sys.executable, SCRIPT, page, *row], check=True)
    return [line.rsplit("|", 2)[0].strip("| ") for line in page.read_text().splitlines() if line.startswith("| ")][2:]


@pytest.mark.exec_budget(2)
def test_a_row_is_replaced_or_comes_where_it_belongs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert put(page, "python3.10", "Python 3.10.13", "pure: 9 passed") == [
        "Linux 6.1 | 6.1.0-57 | 40 passed",
        "python3.9 | Python 3.9.1 | 1 passed",
        "python3.10 | Python 3.10.13 | pure: 9 passed",
    ]
    assert put(page, "Linux 6.1", "6.1.0-58", "1 failed,\n39 passed | so")[0] == (
        "Linux 6.1 | 6.1.0-58 | 1 failed, 39 passed \\| so"
    )
    assert page.read_text().endswith("|\n\nAnd so on.\n")


@pytest.mark.exec_budget(1)
def test_a_page_without_the_table_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n")
    with pytest.raises(subprocess.CalledProcessError):
        put(page, "python3.10", "Python 3.10.13", "pure: 9 passed")
    assert page.read_text() == "# A page\n"


def names_of(table: str) -> list[str]:
    lines = (ROOT / table).read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def test_what_the_page_lists_can_be_run_again() -> None:
    rows = [line for line in (ROOT / "docs/versions.md").read_text().splitlines() if line.startswith("| ")]
    found = {row.split("|")[1].strip() for row in rows[2:]}
    assert found
    assert found <= {*names_of("tests/versions/table"), *(f"Linux {name}" for name in names_of("tests/vm/kernels"))}


@pytest.mark.parametrize(("name", "version"), [("python3.14", "3.14.2"), ("python3.14t", "3.14.2t")])
@pytest.mark.exec_budget(500)
def test_a_python_of_pyenvs_is_found_by_its_name(tmp_path: Path, name: str, version: str) -> None:
    place = tmp_path / ".pyenv" / "versions" / version / "bin" / name
    place.parent.mkdir(parents=True)
    place.symlink_to("/bin/true")  # it runs
    found = subprocess.run(
        [ROOT / "tests/versions/run", "--list"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{name:15} {place}\n" in found.stdout
