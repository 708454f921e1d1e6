"""Writes what came of a run into the table of a page: tried.py PAGE NAME VERSION RESULT.

The row of that name is replaced; a new one comes where sorting puts it.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

HEAD = "| name | version | what came of it | on |\n| --- | --- | --- | --- |\n"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def order(row: str) -> list[str | int]:
    """Of a row's name: 3.9 comes before 3.10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", row.split("|")[1].strip())]


def put(page: str, name: str, version: str, result: str, date: str) -> str:
    """The page with this row in its table. Raises ValueError where it has none."""
    before, head, rest = page.partition(HEAD)
    if not head:
        raise ValueError(f"there is no table that begins with {HEAD.splitlines()[0]}")
    table, after = re.fullmatch(r"((?:\|[^\n]*\n)*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    begin = f"| {cell(name)} |"
    rows = [row for row in table.splitlines() if not row.startswith(begin)]
    rows.append(f"{begin} {cell(version)} | {cell(result)} | {date} |")
    return before + head + "".join(f"{row}\n" for row in sorted(rows, key=order)) + after


if __name__ == "__main__":
    path, *row = sys.argv[1:]
    Path(path).write_text(put(Path(path).read_text(), *row, time.strftime("%Y-%m-%d", time.gmtime())))
