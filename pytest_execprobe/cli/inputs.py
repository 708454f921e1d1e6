"""What a command is given: stored reports, as files or folders of them, and budgets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .._util.text import printable
from ..baseline.model import Baseline
from ..baseline.read import BaselineError, read_baseline
from ..report.model import Document, RunsDiffer, merged
from .terminal import CommandError


def read_all(paths: Iterable[str], say: Callable[[str], None] = lambda _: None) -> list[Document]:
    """The reports of files and folders; a file that is named twice, or reached by links, is taken once. Raises
    CommandError."""
    from ..report import read
    from ..report.redacted import redacted

    files: dict[str, Path] = {}
    for file in (file for given in paths for file in _files(Path(given))):
        files.setdefault(os.path.realpath(file), file)
    documents = []
    for path in files.values():
        say(printable(str(path)))
        try:
            documents.append(redacted(read.read(path)))
        except read.DocumentError as error:
            raise CommandError(str(error)) from None
    return documents


def is_among(path: Path, given: Iterable[str]) -> bool:
    """Whether a file is one of those that a command is to read."""
    there = os.path.realpath(path)
    return any(os.path.realpath(file) == there for one in given for file in _files(Path(one)))


def read_budget(path: Path) -> Baseline:
    """Raises CommandError."""
    try:
        return read_baseline(path)
    except BaselineError as error:
        raise CommandError(str(error)) from None


def merge(documents: Iterable[Document]) -> Document:
    """All of them as one. Raises CommandError."""
    try:
        return merged(documents)
    except RunsDiffer as error:
        raise CommandError(str(error)) from None


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    # A trace ends with .json, too, and can't be read again.
    found = sorted(file for file in _walk(path) if re.search(r"(?<!\.trace)\.json$", file.name, re.IGNORECASE))
    if not found:
        raise CommandError(f"{path}: there is no stored report (*.json) in this folder")
    yield from found


def _walk(path: Path) -> Iterator[Path]:
    """All files below a folder, those of each folder once: links may lead round in circles."""

    def fail(error: OSError) -> None:
        # What is left out unseen could be what is beyond a budget.
        raise CommandError(f"{error.filename}: this folder can't be read ({error.strerror or error})")

    seen: set[str] = set()
    for folder, folders, names in os.walk(path, onerror=fail, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(folder, name) for name in names)
