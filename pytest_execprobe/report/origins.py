"""Where the programs of a report come from: looked up where it was recorded, and shown from then on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ..origin.origin import Origin, here
from ..timeline.program import files
from ..timeline.record import ExecRecord
from .model import Document


def with_origins(document: Document) -> Document:
    """The same, with the origins of what its runs have executed: on the machine where they have, when they are over."""
    runs = []
    for index, run in enumerate(document.runs):
        paths = {path: None for record in _of_run(document, index) for path in files(record) if path is not None}
        runs.append(replace(run, origins={path: here().origin(path) for path in sorted(paths)}))
    return replace(document, runs=tuple(runs))


def _of_run(document: Document, index: int) -> Iterator[ExecRecord]:
    """One of each command."""
    records = (record for unit in document.units if unit.run == index for record in unit.all_records)
    return iter({id(record._command): record for record in records}.values())


def table(document: Document) -> list[tuple[str, int, Origin | None]]:
    """Files, how often each was executed, and where it comes from (None: not looked up, or not the same in all runs).
    Those that no package owns come first, then what is not known, then what is odd."""
    counts: Counter[str] = Counter()
    origins: dict[str, Origin | None] = {}
    for unit in document.units:
        known = document.runs[unit.run].origins or {}
        for record in unit.all_records:
            path = record._command.file
            if path is None:
                continue
            counts[path] += 1
            if origins.setdefault(path, known.get(path)) != known.get(path):
                origins[path] = None
    rows = [(path, count, origins[path]) for path, count in counts.items()]
    return sorted(rows, key=lambda row: (_rank(row[2]), -row[1], row[0]))


def _rank(origin: Origin | None) -> int:
    if origin is None or origin.owned is None:
        return 1
    return 0 if not origin.owned else 2 if origin.remarks else 3
