"""The files that a run's report is written to, when it is over, and again where something has changed how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .._util import originals
from ..files import remove_file

if TYPE_CHECKING:
    from ..report.model import Document


class Reports:
    """Those that the user has asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._written: tuple[Document, pytest.Session] | None = None
        self._handled = originals.exc_info()[1]  # by what runs pytest
        for path in paths:
            # A run that is killed is not to leave an earlier run's report behind. Whether it can be is reported later.
            with suppress(OSError):
                remove_file(path)

    def write(self, document: Document, session: pytest.Session) -> Iterator[tuple[Path, str]]:
        """Of each its path, and why it can't be written, "" if it was."""
        document = self._with_origins(document)
        self._written = document, session
        for path in self._paths:
            yield path, _write(document, path)

    def _with_origins(self, document: Document) -> Document:
        """Those forms that show where programs come from have it looked up."""
        names = [path.name.lower().removesuffix(".trace.json") for path in self._paths]
        if not any(name.endswith((".json", ".html")) for name in names):
            return document
        from ..report.origins import with_origins

        return with_origins(document)

    def end(self) -> None:
        """When the last hook has had its say of how the run ends. No report is to have an exit status that the run has
        not: there is none where an exception of a hook ends it."""
        if self._written is None:
            return
        document, session = self._written
        exit_status = int(session.exitstatus or 0) if originals.exc_info()[1] is self._handled else None
        if document.runs[0].exit_status == exit_status:
            return
        document = replace(document, runs=(replace(document.runs[0], exit_status=exit_status),))
        for path in self._paths:
            # What is no file has been read, and one that is not there any more has been moved.
            if originals.is_file(path) and _write(document, path):
                with suppress(OSError):
                    remove_file(path)


def _write(document: Document, path: Path) -> str:
    from ..report.forms import write  # few runs have a report

    try:
        write(document, path)
    except OSError as error:  # its message has the path
        return str(error)
    return ""
