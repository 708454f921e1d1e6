"""A report as annotations of a GitHub workflow: commands that a job prints, one a line.

GitHub shows ten errors and ten warnings of a step and drops the rest without a word. So no more are made, the most
important come first, and the last says how many are left out.
"""

from collections.abc import Iterable, Sequence

from .digest import PlacedBreach, cut, found, missing, shown_lines
from .model import Document

_SHOWN = 10  # of a kind and step
_TITLE = 200
_MESSAGE = 4000


def annotations(document: Document) -> list[str]:
    """Broken and undecided rules as errors, what was not recorded as warnings; nothing where all is well."""
    errors = [_breach(item) for item in found(document) if item.excused is None]
    warnings = [_command("warning", "execprobe: incomplete", why) for why in missing(document)]
    return [*_shown("error", errors, "broken or undecided rules"), *_shown("warning", warnings, "reasons")]


def _breach(item: PlacedBreach) -> str:
    text = "\n".join(dict.fromkeys([item.where, *shown_lines(item.breach.text or item.breach.headline)]))
    return _command("error", f"execprobe: {item.breach.headline}", text, *item.place)


def _shown(kind: str, every: Sequence[str], what: str) -> Iterable[str]:
    shown = every if len(every) <= _SHOWN else every[: _SHOWN - 1]
    yield from shown
    if len(every) > len(shown):
        yield _command(kind, "execprobe", f"{len(every) - len(shown)} more {what}: the report has them all")


def _command(kind: str, title: str, message: str, file: str | None = None, line: int | None = None) -> str:
    properties = [] if file is None else [f"file={_property(file)}"]
    if file is not None and line is not None:
        properties.append(f"line={line}")
    properties.append(f"title={_property(cut(title, _TITLE))}")
    return f"::{kind} {','.join(properties)}::{_data(cut(message, _MESSAGE))}"


def _data(text: str) -> str:
    """As GitHub decodes it: a line feed within a message is %0A. Control characters are escaped before."""
    text = "\n".join(shown_lines(text))
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
