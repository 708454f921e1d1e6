"""Reads a baseline: TOML, checked field by field, because people write it, and merges break it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._util import originals
from ..log.pattern import Pattern
from ..log.patterns import compile_pattern
from .model import COLLECTION, NAMELESS, OUTSIDE, SECTIONS, Baseline, Limit, Rows, Sums, is_pattern

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there

VERSION = 1
#: What runs around tests: the tables of the section "around".
AROUND = (COLLECTION, OUTSIDE)
#: The number of a row without a limit.
ANY_NUMBER = "any"


class BaselineError(ValueError):
    """The file is missing, damaged, or newer than this version. The message says where and what is right."""


def read_baseline(path: Path) -> Baseline:
    """Raises BaselineError."""
    try:
        text = originals.read_bytes(path).decode()
    except FileNotFoundError:
        raise BaselineError(f"there is no {path}: a run with --execprobe-update makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path} can't be read: {error}") from None
    return parse_baseline(text, path)


def parse_baseline(text: str, path: Path) -> Baseline:
    """Raises BaselineError."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers that are too long, and tables too deep
        raise BaselineError(f"{path} is damaged, and is left as it is: {error}") from None
    return _Reader(path).baseline(data)


_KNOWN = ("version", "aliases", "everywhere", "patterns", "total", "packages", *SECTIONS)


class _Reader:
    """Checks what TOML has given. Every error names the file and the place in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = originals.dirname(originals.abspath(path))

    def _wrong(self, where: str, what: str) -> BaselineError:
        return BaselineError(f"{self._path}: {where} {what}")

    def baseline(self, data: dict[str, Any]) -> Baseline:
        version = data.get("version")
        if isinstance(version, int) and version > VERSION:
            raise BaselineError(
                f"{self._path} is of version {version}, and this pytest-execprobe knows up to {VERSION}: use a newer"
                " one. The file is left as it is"
            )
        if version != VERSION or isinstance(version, bool):
            raise self._wrong("version", f"must be {VERSION}, and is {version!r}")
        for key in data:
            if key not in _KNOWN:
                raise self._wrong(key, f"is unknown: there are {', '.join(_KNOWN)}")
        aliases = self._table(data, "aliases")
        for glob, name in aliases.items():
            if not isinstance(name, str) or not name or not glob:
                raise self._wrong(f"aliases.{glob}", f"must be the name that its rows have, and is {name!r}")
        for name in self._table(data, "around"):
            if name not in AROUND:
                raise self._wrong(f'around."{name}"', f"is unknown: there are {' and '.join(map(repr, AROUND))}")
        return Baseline(
            path=self._path,
            aliases=aliases,
            everywhere=tuple(pattern for _, pattern in self._patterns(data, "everywhere")),
            patterns=tuple(self._patterns(data, "patterns")),
            sections={
                section: {
                    name: self._rows(rows, f'{section}."{name}"') for name, rows in self._table(data, section).items()
                }
                for section in SECTIONS
                if section in data
            },
            sums=tuple(self._all_sums(data)),
        )

    def _all_sums(self, data: dict[str, Any]) -> Iterator[Sums]:
        if "total" in data:
            yield self._sums(self._table(data, "total"), "", "total")
        for name, table in self._table(data, "packages").items():
            yield self._sums(table, self._package(name), f'packages."{name}"')

    def _package(self, name: str) -> str:
        """A folder, a file, or a class or test in it, as node ids name it."""
        path, colons, rest = name.partition("::")
        right = originals.normpath(path) if path else "."
        is_cut = colons and "" in rest.partition("[")[0].split("::")  # a parameter may have any text
        if right.startswith(("/", "..")) or not right.strip(".") or is_cut:
            raise self._wrong(f'packages."{name}"', "must be a folder or file, as node ids begin: tests/release")
        if path != right and path != f"{right}/" * (not colons):
            raise self._wrong(f'packages."{name}"', f"must be written as node ids are: {right}{colons}{rest}")
        return f"{right}{colons}{rest}"

    def _sums(self, table: object, name: str, where: str) -> Sums:
        if not isinstance(table, dict) or set(table) - {"at_most", "programs"} or not table:
            raise self._wrong(where, "has at_most, programs, or both, and nothing else")
        most = table.get("at_most")
        if most is not None and not _is_count(most):
            raise self._wrong(f"{where}.at_most", f"must be a whole number from 0 on, and is {most!r}")
        programs = self._rows(table.get("programs", {}), f"{where}.programs")
        free = [key for key, limit in programs.limits.items() if limit.most is None]
        if free:
            raise self._wrong(
                f"{where}.programs.{free[0]}", "limits nothing: what is not named here has no limit. Take it out"
            )
        if most is None and not programs.limits:
            raise self._wrong(
                f"{where}.programs", "is empty, so that it limits nothing: name a program, or take it out"
            )
        return Sums(name, most, programs)

    def _table(self, data: dict[str, Any], name: str) -> dict[str, Any]:
        table = data.get(name, {})
        if not isinstance(table, dict):
            raise self._wrong(name, f"must be a table, and is {table!r}")
        return table

    def _patterns(self, data: dict[str, Any], name: str) -> Iterator[tuple[str, Pattern]]:
        listed = data.get(name, [])
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise self._wrong(name, f"must be a list of patterns, and is {listed!r}")
        for text in listed:
            yield text, self._pattern(text, name)

    def _pattern(self, text: str, where: str) -> Pattern:
        try:
            return compile_pattern(text, self._folder, of_file=True)
        except ValueError as error:
            raise self._wrong(where, f"has a wrong pattern: {error}") from None

    def _rows(self, rows: object, where: str) -> Rows:
        if not isinstance(rows, dict):
            raise self._wrong(where, f"must be a table of programs and numbers, and is {rows!r}")
        limits = {key: self._limit(value, f"{where}.{key}") for key, value in rows.items()}
        alone = {key: self._pattern(key, where) for key in limits if key != NAMELESS}
        return Rows(limits, alone, tuple((key, pattern) for key, pattern in alone.items() if is_pattern(key)))

    def _limit(self, value: Any, where: str) -> Limit:
        if value == ANY_NUMBER:
            return Limit(None)
        if _is_count(value):
            return Limit(value)
        if isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] <= value[1]:
            return Limit(most=value[1], least=value[0])
        raise self._wrong(where, f'must be a number, a range [1, 3] or "any", and is {value!r}')


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
