"""Stored reports that a command is given: files, and folders of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..record import printable
from ..report.document import Document
from .terminal import CommandError


def read_all(paths: Iterable[str], tell: Callable[[str], None] = lambda _: None) -> list[Document]:
    """The reports of files and folders; a file that is named twice is taken once. Raises CommandError."""
    from ..report import codec

    documents = []
    for path in dict.fromkeys(file for given in paths for file in _files(Path(given))):
        tell(printable(str(path)))
        try:
            documents.append(codec.read(path))
        except codec.DocumentError as error:
            raise CommandError(str(error)) from None
    return documents


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    # A trace ends so too, and can't be read again.
    found = sorted(file for file in path.rglob("*.json") if not file.name.endswith(".trace.json"))
    if not found:
        raise CommandError(f"{path}: there is no stored report (*.json) in this folder")
    yield from found
