"""Settings as they are written in the files in which pytest is configured. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .._util import originals

#: Where there is no file yet.
FILE = "pytest.ini"
_SECTIONS = {"setup.cfg": "[tool:pytest]", "pyproject.toml": "[tool.pytest.ini_options]"}
_NATIVE = re.compile(r"^\s*\[tool\.pytest\]", re.M)


def section_of(file: str, text: str = "") -> str:
    """The head of pytest's section in a file of that name. ``text`` is what stands in it."""
    return "[tool.pytest]" if file == "pyproject.toml" and _NATIVE.search(text) else _SECTIONS.get(file, "[pytest]")


def is_toml(file: str) -> bool:
    return file.endswith(".toml")


def entry(file: str, value: str) -> str:
    """One value as it stands in a file of that name."""
    # JSON has no more escapes in its strings than TOML has, but leaves a DEL as it is.
    return str(originals.json_dumps(value)).replace("\x7f", r"\u007f") if is_toml(file) else value


def listed_in(file: str, setting: str, values: Iterable[tuple[str, str]]) -> list[str]:
    """The lines of a setting that has several values, each with the reason for it, which may be empty."""
    if is_toml(file):
        lines = [f"    {entry(file, value)},{f'  # {reason}' if reason else ''}" for value, reason in values]
        return [f"{setting} = [", *lines, "]"]
    # What follows a value in an ini file is a part of it, so a reason has a line of its own.
    pairs = ([f"    # {reason}"] * bool(reason) + [f"    {value}"] for value, reason in values)
    return [f"{setting} =", *(line for pair in pairs for line in pair)]


def single_in(file: str, setting: str, value: int, reason: str) -> list[str]:
    """The lines of a setting that is a number."""
    if is_toml(file):
        return [f'{setting} = "{value}"  # {reason}']
    return [f"# {reason}", f"{setting} = {value}"]
