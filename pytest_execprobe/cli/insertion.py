"""Lines put into a file of pytest's configuration, and nothing else of it changed. Pure."""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Sequence
from typing import Any

from ..rules.configured import is_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there


class NotInserted(Exception):
    """Why it was not, for the user."""


def inserted(name: str, text: str, section: str, lines: Sequence[str]) -> str:
    """The text of a file of that name with lines at the end of a section, which is made where there is none. Raises
    NotInserted where that would change anything else, or a setting is there already."""
    end = "\r\n" if "\r\n" in text else "\n"
    every = text.splitlines(keepends=True)
    heads = [at for at, line in enumerate(every) if re.split(r"\s*[#;]", line)[0].strip() == section]
    if not heads and _read(name, text, section)[1] is None:
        above = text + end * (bool(text) and not text.endswith(("\n", "\r"))) + end * bool(text.strip())
        new = above + "".join(f"{line}{end}" for line in (section, *lines))
        _check(name, text, new, section)
        return new
    if len(heads) != 1:
        raise NotInserted(f"{name} has no {section} of its own line")
    after = next((at for at in range(heads[0] + 1, len(every)) if every[at].startswith("[")), len(every))
    while after > heads[0] + 1 and (not every[after - 1].strip() or every[after - 1].startswith(("#", ";"))):
        after -= 1  # what stands before the next section is that one's
    before = "".join(every[:after])
    before += "" if before.endswith(("\n", "\r")) else end
    new = before + "".join(f"{line}{end}" for line in lines) + "".join(every[after:])
    _check(name, text, new, section)
    return new


def _check(name: str, old: str, new: str, section: str) -> None:
    """That it is the same but for what is new."""
    rest, before = _read(name, old, section)
    table = before or {}
    there = [key for key in _OURS if key in table]
    if there:
        raise NotInserted(f"{name} has {', '.join(there)} already")
    rest_after, after = _read(name, new, section)
    if rest != rest_after or table != {key: value for key, value in (after or {}).items() if key not in _OURS}:
        raise NotInserted(f"something else of {name} would change with it")


_OURS = ("execprobe_allow", "execprobe_ignore", "execprobe_budget")


def _read(name: str, text: str, section: str) -> tuple[Any, dict[str, Any] | None]:
    """All of a file but pytest's section, and that, or None where there is none. Raises NotInserted."""
    try:
        return _parsed(name, text, section)
    except (configparser.Error, tomllib.TOMLDecodeError) as error:
        raise NotInserted(f"{name} can't be read with it: {error}".splitlines()[0]) from None


def _parsed(name: str, text: str, section: str) -> tuple[Any, dict[str, Any] | None]:
    if not is_toml(name):
        parser = configparser.RawConfigParser(strict=True, comment_prefixes=("#", ";"), delimiters=("=", ":"))
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(text)
        head = section.strip("[]")
        rest = {other: dict(parser[other]) for other in parser if other != head}
        return rest, dict(parser[head]) if parser.has_section(head) else None
    return _without(tomllib.loads(text), section.strip("[]").split("."))


def _without(data: dict[str, Any], path: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """All but the table of that path, and that. What has nothing else is left out: a table makes those above it."""
    first, *below = path
    if not isinstance(data.get(first), dict):
        return data, None
    rest = {key: value for key, value in data.items() if key != first}
    if not below:
        return rest, data[first]
    inner, table = _without(data[first], below)
    return {**rest, **({first: inner} if inner else {})}, table
