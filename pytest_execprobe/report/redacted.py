"""A stored report without secrets in its texts: it may come from a run that has hidden none, or not these. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from .._util.apparent import HIDDEN
from .._util.redaction import in_force
from .model import Document, Run, Unit

_Part = TypeVar("_Part", Run, Unit)


def redacted(document: Document) -> Document:
    """By the rules in force. What a record executed stays as it was read: what shows that hides its secrets."""
    rules = in_force()
    if not rules.on:
        return document
    todo = {index for index, run in enumerate(document.runs) if rules.extra or not run.redacted}
    runs = (
        replace(_said(run, rules.text), command=rules.arguments(run.command), redacted=True) if index in todo else run
        for index, run in enumerate(document.runs)
    )
    units = (_unit(unit, rules.text) if unit.run in todo else unit for unit in document.units)
    return Document(tuple(runs), tuple(units))


def unclear(document: Document) -> Iterator[str]:
    """Why a pattern of arguments can be undecided, if some of them are hidden."""
    commands = {id(record._command): record._command for unit in document.units for record in unit.all_records}
    if any(command.redacted for command in commands.values()):
        yield (
            f"secrets in arguments are hidden in these reports ({HIDDEN}), so that a pattern of arguments can't be held"
            " against them: match on the program's name, or have them written with --execprobe-redact=none"
        )


def _unit(unit: Unit, text: Callable[[str], str]) -> Unit:
    said = _said(unit, text)
    if unit.kind != "command":
        return said
    for record in unit.all_records:
        if record.begun_by == unit.name:
            object.__setattr__(record, "begun_by", text(unit.name))  # no one else has them yet
    return replace(said, name=text(unit.name))


def _said(part: _Part, text: Callable[[str], str]) -> _Part:
    gaps: Counter[str] = Counter()  # several can be the same without their secrets
    for why, most in part.gaps.items():
        gaps[text(why)] += most
    return replace(
        part,
        breaches=tuple(
            replace(breach, headline=text(breach.headline), text=text(breach.text)) for breach in part.breaches
        ),
        unknown=tuple(map(text, part.unknown)),
        gaps=dict(gaps),
    )
