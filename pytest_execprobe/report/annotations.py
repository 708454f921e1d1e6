"""A report as annotations of a GitHub workflow: commands that a job prints, one a line.

GitHub shows ten errors and ten warnings of a step and drops the rest without a word. So no more are made, the most
important come first, and the last says how many are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .digest import PlacedBreach, cut, found, missing, shown_lines
from .model import Document

_SHOWN = 10  # of a kind and step
_TITLE = 200
_MESSAGE = 4000


@dataclass(frozen=True)
class _Annotation:
    title: str
    message: str
    file: str | None = None
    line: int | None = None


def annotations(document: Document) -> list[str]:
    """Broken and undecided rules as errors, what was not recorded as warnings; nothing where all is well."""
    errors = [_breach(item) for item in found(document) if item.excused is None]
    warnings = [_Annotation("execprobe: incomplete", why) for why in missing(document)]
    return [*_commands("error", errors, "broken or undecided rules"), *_commands("warning", warnings, "reasons")]


def _breach(item: PlacedBreach) -> _Annotation:
    text = "\n".join(dict.fromkeys([item.where, *shown_lines(item.breach.text or item.breach.headline)]))
    title = f"execprobe: {item.breach.headline}"
    return _Annotation(title, text, *item.place)


def _commands(kind: str, every: Sequence[_Annotation], what: str) -> Iterable[str]:
    shown = every if len(every) <= _SHOWN else every[: _SHOWN - 1]
    yield from (_command(kind, annotation) for annotation in shown)
    if len(every) > len(shown):
        more = len(every) - len(shown)
        yield _command(kind, _Annotation("execprobe", f"{more} more {what}: the report has them all"))


def _command(kind: str, annotation: _Annotation) -> str:
    properties = []
    if annotation.file is not None:
        properties.append(f"file={_property(annotation.file)}")
        if annotation.line is not None:
            properties.append(f"line={annotation.line}")
    properties.append(f"title={_property(cut(annotation.title, _TITLE))}")
    return f"::{kind} {','.join(properties)}::{_data(cut(annotation.message, _MESSAGE))}"


def _data(text: str) -> str:
    """As GitHub decodes it: a line feed within a message is %0A. Control characters are escaped before."""
    text = "\n".join(shown_lines(text))
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
