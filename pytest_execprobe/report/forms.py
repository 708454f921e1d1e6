"""The forms in which a report is written to a file: which form a path asks for, and how the file comes to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from .._util.collector import postponed
from ..files import write_atomically
from .json import pieces
from .model import Document


class FormUnavailable(Exception):
    """This installation can't write a form. The message says what to install."""


class ReportNotWritten(OSError):
    """A report could not be written. The message has the path and the reason."""


@dataclass(frozen=True)
class Form:
    """A form of reports."""

    #: How the names of its files end.
    ending: str
    #: What it is, in words.
    what: str
    #: Its text, piece by piece.
    pieces: Callable[[Document], Iterator[str]]
    #: The module that it needs, and the extra that brings it.
    needs: tuple[str, str] | None = None

    def render(self, document: Document) -> str:
        return "".join(self.pieces(document))


def _rendered(module: str) -> Callable[[Document], Iterator[str]]:
    """By a module that is imported when it is used: a run that writes no report is not to wait for it."""

    def rendered(document: Document) -> Iterator[str]:
        yield import_module(f".{module}", __package__).render(document)

    return rendered


_ALL = (
    Form(".json", "JSON, which can be read again", pieces),
    Form(".html", "a page for a browser", _rendered("html"), needs=("jinja2", "html")),
    Form(".md", "Markdown, for the summary of a CI job", _rendered("markdown")),
    Form(".trace.json", "a trace, for Perfetto", _rendered("trace")),
    Form(".sarif", "SARIF, for code scanning", _rendered("sarif")),
)

#: By ending.
FORMS = {form.ending: form for form in _ALL}


def form_of(path: str | PathLike[str]) -> Form:
    """The form that a path's ending asks for. Raises ValueError, which names the endings that there are."""
    name = Path(path).name.lower()
    # The longest first, since one ending ends with another.
    for ending in sorted(FORMS, key=len, reverse=True):
        if name.endswith(ending):
            return FORMS[ending]
    endings = ", ".join(f"{form.ending} ({form.what})" for form in _ALL)
    raise ValueError(f"{path}: a report's name ends with its form, which is one of {endings}")


def check_available(form: Form) -> None:
    """Raises FormUnavailable where what the form needs is not installed."""
    if form.needs is None:
        return
    module, extra = form.needs
    if find_spec(module) is None:
        raise FormUnavailable(
            f"a report as {form.ending} needs {module}, which is not installed: pip install 'pytest-execprobe[{extra}]'"
        )


def write(document: Document, path: str | PathLike[str]) -> None:
    """Writes a report in the form that the path's ending asks for, all of it or nothing; missing folders are made.

    Raises ValueError for another ending, FormUnavailable, and ReportNotWritten.
    """
    form = form_of(path)
    check_available(form)
    try:
        with postponed:  # it makes very much that is no garbage until it is written
            write_atomically(Path(path), form.pieces(document))
    except OSError as error:
        raise ReportNotWritten(f"{path}: the report can't be written ({error.strerror or error})") from error
