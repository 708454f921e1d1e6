"""Rewrites a baseline from what a run has used, and keeps what people wrote into it: comments, ranges, patterns.

Pure, save for tomlkit, of the extra ``baseline``, which reads TOML with its comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AbstractTable, Comment, Table

from .._util import originals
from ..files import locked, write_atomically
from .changes import Changes, Seen, renames
from .model import OUTSIDE, SECTIONS, Baseline, Limit, Section, covers, is_pattern, is_wildcard
from .read import ANY_NUMBER, VERSION, BaselineError, parse_baseline

_HEADER = f"""\
# Which programs each test may run, and how often at most.
# Written by pytest --execprobe-baseline=FILE --execprobe-update, to be reviewed like code. Comments, ranges and the
# tables aliases, everywhere, patterns, total and packages are yours: an update keeps them.
version = {VERSION}
"""


@dataclass
class _Row:
    key: str
    value: str
    comments: list[str] = field(default_factory=list)  # in lines of their own above it
    comment: str = ""  # in the same line, with the space before it


@dataclass
class _Table:
    rows: list[_Row] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)  # above its header
    comment: str = ""  # behind it
    was_empty: bool = False


_Tables = dict[Section, dict[str, _Table]]


def rewrite(
    baseline: Baseline,
    seen: Mapping[Section, Mapping[str, Seen]],
    obsolete: Mapping[Section, Iterable[str]],
    *,
    renamed: Mapping[Section, Mapping[str, str]] = {},
    only_add: bool = False,
) -> Changes:
    """Updates the file itself, atomically. ``baseline`` is what it said when the run began: what has been done to it
    since is kept, or if it can't be, the file is. Raises OSError or BaselineError."""
    with locked(baseline.path):  # another run may be at it
        while True:
            raw = _content(baseline.path)
            old = None if raw is None else raw.replace("\r\n", "\n")
            if originals.is_file(baseline.path):
                baseline = parse_baseline(old or "", baseline.path)
            elif baseline != Baseline(baseline.path):
                raise BaselineError("it was removed while the tests ran; a new one would lack what people wrote in it")
            text, changes = updated(old, baseline, seen, obsolete, renamed=renamed, only_add=only_add)
            if _content(baseline.path) == raw:  # else a run that could not wait, or a person, has changed it since
                break
        if text != old:
            write_atomically(baseline.path, text if raw == old else text.replace("\n", "\r\n"))
    return changes


def _content(path: Path) -> str | None:
    return originals.read_bytes(path).decode() if originals.exists(path) else None


def updated(
    text: str | None,
    baseline: Baseline,
    seen: Mapping[Section, Mapping[str, Seen]],
    obsolete: Mapping[Section, Iterable[str]],
    *,
    renamed: Mapping[Section, Mapping[str, str]] = {},
    only_add: bool = False,
) -> tuple[str, Changes]:
    """The new text of the file, and what has changed in it.

    ``text`` is the old one, ``baseline`` what it says. Tables that are ``renamed`` keep all that is in them, what is
    ``obsolete`` is removed. What was not seen stays, and with ``only_add`` so does all that was there.
    """
    head, tables, tail = _parsed(text)
    changes = Changes()
    gone: dict[Section, list[str]] = {section: [] if only_add else [*obsolete.get(section, ())] for section in SECTIONS}
    for section in SECTIONS:
        there, found = tables[section], seen.get(section, {})
        for old, new in renamed.get(section, {}).items():
            if old in there and new not in there:
                there[new] = there.pop(old)
                changes.renamed.append((old, new))
            elif old in there and not only_add:  # its test has a table by the new name
                gone[section].append(old)
        there_still = [name for name in gone[section] if name in there]
        unknown = {name: what for name, what in found.items() if name not in there}
        for old, new in renames(baseline, section, there_still, unknown).items():
            there[new] = there.pop(old)
            gone[section].remove(old)
            changes.renamed.append((old, new))
        for name in gone[section]:
            if there.pop(name, None) is not None:
                changes.gone.append((name, ""))
        for name, what in found.items():
            _update(there, name, what, baseline, section, only_add, changes)
        wide = [name for name in there if is_wildcard(name)]
        tables[section] = {
            name: table
            for name, table in sorted(there.items())
            # An empty table says that nothing may run: where a person wrote it, or another table would apply.
            if table.rows or table.was_empty or any(name != other and covers(other, name) for other in wide)
        }
    return _written(head, tables, tail), changes


def _update(
    tables: dict[str, _Table],
    name: str,
    seen: Seen,
    baseline: Baseline,
    section: Section,
    only_add: bool,
    changes: Changes,
) -> None:
    key = name if name in tables else baseline.table(section, name) or name
    # It is also about others, which may not have been seen; what fixtures and the collection run depends on the tests.
    shared = key != name or section != "tests"
    lowers = seen.whole and not (shared or only_add)
    table = tables.setdefault(key, _Table())
    for row in [*table.rows]:
        limit = _limit(row)
        count = seen.usage.get(row.key, 0)
        if limit.most is None:
            continue
        if count > limit.most:
            row.value = str(count) if limit.least is None else f"[{limit.least}, {count}]"
            changes.raised.append((key, row.key))
        elif lowers and limit.least is None and count < limit.most:
            if row.key in seen.left_out:
                changes.kept.append((key, row.key))
            elif row.key in seen.usage:  # what is below the top of a subtree is in its row, and does not count
                if limit.most > max(count, 1):
                    row.value = str(max(count, 1))
                    changes.lowered.append((key, row.key))
            else:
                table.rows.remove(row)
                changes.gone.append((key, row.key))
    there = {row.key for row in table.rows}
    listed = [key for key, _ in baseline.patterns]
    order = {key: index for index, key in enumerate(listed)}
    for program, count in sorted(seen.usage.items(), key=lambda used: (order.get(used[0], len(listed)), used[0])):
        if program not in there and count:
            by_chance = seen.by_chance.get(program, 0)  # it may not come in time
            value = str(count) if not by_chance else f"[{max(0, count - by_chance)}, {count}]"
            value = f'"{ANY_NUMBER}"' if section == "around" and name == OUTSIDE else value
            table.rows.append(_Row(program, value))
            changes.new.append((key, program))
    # Patterns are tried in their order, so those that are there keep it. Names come after them, sorted.
    table.rows.sort(key=lambda row: (not is_pattern(row.key), "" if is_pattern(row.key) else row.key))


def _limit(row: _Row) -> Limit:
    value = tomlkit.parse(f"value = {row.value}").unwrap()["value"]
    if isinstance(value, list):
        return Limit(most=value[1], least=value[0])
    return Limit(None if value == ANY_NUMBER else value)


# ---- TOML ----


def _parsed(text: str | None) -> tuple[str, _Tables, list[str]]:
    """The part that is not ours, the tables that are, and the comments at the end."""
    tables: _Tables = {section: {} for section in SECTIONS}
    if text is None:
        return _HEADER, tables, []
    text, above = _without_comments_above_headers(text)
    pending: list[str] = []  # other comments between the last row of a table and the next
    head = tomlkit.parse(text)
    for key, item in [*head.body]:
        name = None if key is None else key.key
        if name in SECTIONS and isinstance(item, AbstractTable):
            # Its own header is written only where nothing is in it, so that what stands there goes to what is next.
            pending += above.pop(repr([name]), "").splitlines()
            if not (isinstance(item, Table) and item.is_super_table()):  # which has no header, but that of its first
                pending += filter(None, [item.trivia.comment])
            for inner, table in _body(item):
                if isinstance(table, AbstractTable) and inner is not None:
                    made, after = _table(table)
                    made.comments, pending = [*pending, *above.get(repr([name, inner]), "").splitlines()], after
                    known = tables[name].setdefault(inner, made)
                    if known is not made:  # with dotted keys, each row is a table of its own
                        made.rows[0].comments[:0] = made.comments
                        known.rows += made.rows
                elif isinstance(table, Comment):
                    pending.append(table.trivia.comment)
    for section in SECTIONS:
        head.pop(section, None)
    return _with_comments_above_headers(head.as_string(), above), tables, pending


_HEADER_LINE = r"^\[[^\[].*\][ \t]*(?:#.*)?$"
_ABOVE = re.compile(rf"((?:^[ \t]*#.*\n)+)({_HEADER_LINE})", re.M)


def _without_comments_above_headers(text: str) -> tuple[str, dict[str, str]]:
    """To TOML, the comment above a header is the end of the table before, so that it would stay behind when the tables
    are sorted. Returns the text without them, and what they are, by the header's path."""
    above: dict[str, str] = {}

    def take(match: re.Match[str]) -> str:
        above[_path(match[2])] = match[1]
        return match[2]

    return _ABOVE.sub(take, text), above


def _with_comments_above_headers(text: str, above: dict[str, str]) -> str:
    return re.sub(_HEADER_LINE, lambda header: above.get(_path(header[0]), "") + header[0], text, flags=re.M)


def _path(header: str) -> str:
    """What a header opens, however it is quoted."""
    names, table = [], tomlkit.parse(header).unwrap()
    while table:
        (name,) = table
        names.append(name)
        table = table[name]
    return repr(names)


def _body(table: AbstractTable) -> list[tuple[str | None, Any]]:
    return [(None if key is None else key.key, item) for key, item in table.value.body]


def _table(table: AbstractTable) -> tuple[_Table, list[str]]:
    """A table, and the comments after its last row, which stand above the next."""
    trivia = table.trivia
    made, pending = _Table(comment=trivia.comment and trivia.comment_ws + trivia.comment), list[str]()
    for key, item in _body(table):
        if isinstance(item, Comment):
            pending.append(item.trivia.comment)
        elif key is not None:
            trivia = item.trivia
            made.rows.append(
                _Row(key, item.as_string(), pending, trivia.comment and trivia.comment_ws + trivia.comment)
            )
            pending = []
    made.was_empty = not made.rows
    return made, pending


def _written(head: str, tables: _Tables, tail: list[str]) -> str:
    blocks = [head.rstrip("\n")]
    for section in SECTIONS:
        if not tables[section]:
            blocks.append(f"[{section}]")
        for name, table in tables[section].items():
            lines = [*table.comments, f"[{section}.{_key(name)}]{table.comment}"]
            for row in table.rows:
                lines += [*row.comments, f"{_key(row.key)} = {row.value}{row.comment}"]
            blocks.append("\n".join(lines))
    if tail:
        blocks.append("\n".join(tail))
    return "\n\n".join(blocks) + "\n"


def _key(key: str) -> str:
    return tomlkit.key(key).as_string()
