"""Rules for the whole suite, from the command line and ini files; and what is forbidden in vain."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest

from .._util import originals
from ..rules.markers import MARKERS
from .conftests import conftests
from .options import blamed_for, file_of, flag, folder_of, given, of_python, spelling, whole

if TYPE_CHECKING:
    from ..baseline.model import Baseline
    from ..log.pattern import Pattern
    from ..rules.advice import Stands
    from ..rules.rule import Rule


def suite_rules(config: pytest.Config, from_ini: bool) -> Iterable[Rule]:
    for name, marker in (("budget", "exec_budget"), ("allow", "exec_allow"), ("deny", "exec_deny")):
        values = given(config, name, from_ini)
        if values is None:
            continue
        from ..log.checks import LISTED, listed
        from ..rules.advice import Place
        from ..rules.rule import RuleError, make_rule

        spelt, blamed = spelling(config, name, from_ini), blamed_for(config, name, from_ini)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        if name == "allow" and values == ([] if from_ini else [""]):
            marker, values, kwargs = "exec_none", [""], {"phases": ("call",)}
        else:
            _refuse_empty(name, values, blamed)
            number = whole(config, name, values[-1], from_ini) if name == "budget" else None
            args = [*patterns_of(config, name, values, from_ini)] if number is None else [number]
        enforce = name == "deny" and flag(config, "enforce")
        for value in values if enforce else ():
            _check_enforced(value, blamed)
        try:
            rule = make_rule(marker, args, kwargs, "", enforce=enforce)
        except RuleError as error:  # pragma: no cover - its parts were checked
            raise pytest.UsageError(f"{blamed}: {error}") from None
        where = f"in {file_of(config)}" if from_ini else "on the command line"
        stands: Stands = "file" if from_ini else "option"
        place = Place(stands, where.removeprefix("in "), spelt)
        # Of many the first: a rule is named in one line.
        text = " ".join(f"{spelt}={value}" for value in values)
        text = f"{spelt}={listed(values)}" if from_ini or len(values) > LISTED else text
        yield replace(rule, text=text, where=where, place=place)


def _refuse_empty(name: str, values: list[str], blamed: str) -> None:
    """No rule limits nothing without a word."""
    if not values:
        raise pytest.UsageError(f"{blamed} is empty, and forbids nothing: name a program, or take the line out")
    if name == "allow" and "" in values:
        raise pytest.UsageError(f"{blamed}: an empty pattern allows nothing, and so stands alone: leave out the others")


def _check_enforced(value: str, blamed: str) -> None:
    from ..source.stopping import check

    try:
        check(value)
    except ValueError as error:
        raise pytest.UsageError(f"{blamed}: {error}") from None


def ignored_in_vain(forbidden: Iterable[tuple[Pattern, str]], ignore: Iterable[tuple[Pattern, str]]) -> Iterator[str]:
    """What is ignored is in no log, so that no rule can forbid it. Told of names, which can be compared. With each
    pattern where it is forbidden, or how it is spelt."""
    from fnmatch import fnmatchcase

    ignore = [*ignore]
    for other, spelt in ignore:
        if not other.text.replace("subtree:", "").strip("*/"):
            yield f"{spelt} ignores every program, so that no rule limits anything: name those that are meant"
    for pattern, where in forbidden:
        for other, spelt in ignore:
            name, glob = _name_of(pattern.text), _all_of(other.text)
            covered = name is not None and glob is not None and fnmatchcase(name, glob)
            without_flag = f"re:(?-s:{other.text.removeprefix('re:')})"  # of re.compile(), which matches less
            if covered or pattern.text in (other.text, without_flag):
                yield (
                    f"{pattern} is forbidden {where}, and {spelt} has it ignored, so that nothing forbids it: take one"
                    " of them out"
                )


def unread(collector: pytest.Collector, result: Iterable[pytest.Item | pytest.Collector]) -> Iterator[str]:
    """Markers that stand where pytest reads none, in a folder's conftest.py or __init__.py: they limit nothing."""
    modules: list[object] = []
    if isinstance(collector, pytest.Directory):
        conftest = str(collector.path / "conftest.py")
        modules = [module for file, module in conftests(collector.config) if file == conftest]
    elif any(isinstance(node, (pytest.Class, pytest.Function)) for node in result):
        package = getattr(getattr(collector, "obj", None), "__package__", None) or ""
        names = package.split(".")
        modules = [sys.modules.get(".".join(names[: at + 1])) for at in range(len(names))]
    for module in modules:
        marks = getattr(module, "pytestmark", ())
        found = [mark for mark in (marks if isinstance(marks, (list, tuple)) else [marks]) if _is_ours(mark)]
        file = str(getattr(module, "__file__", None)) if found else ""
        # Where it is a file of tests, too, those have its marks.
        if found and not any(map(PurePath(file).match, of_python(collector.config, "python_files"))):
            yield (
                f"{originals.relpath(file, collector.config.invocation_params.dir)}: pytest reads no marks there, so"
                f" that {found[0].name} limits nothing: write it in each module, or for all tests as an option, or add"
                " it in pytest_collection_modifyitems"
            )


def _is_ours(mark: Any) -> bool:
    return getattr(mark, "name", None) in MARKERS


def _name_of(text: str) -> str | None:
    """The name that the programs have of which a pattern is, whatever they are given; None where it says none."""
    if text.startswith(("re:", "subtree:", "from:", "unowned:")):
        return None
    name = _program_of(text).rpartition("/")[2]
    return None if set(name) & set("*?[") else name


def _all_of(text: str) -> str | None:
    """The name, as a glob, of which a pattern has all execs; None where it has some by what they are given, or where
    they lie."""
    *_, text = text.split("subtree:")
    glob = _program_of(text)
    has_more = text.startswith(("re:", "from:", "unowned:")) or (
        text.startswith("argv:") and len(originals.split(text)) > 1
    )
    return None if has_more or "/" in glob else glob


def _program_of(text: str) -> str:
    return originals.split(text.removeprefix("argv:"))[0] if text.startswith("argv:") else text


def denied(rules: Iterable[Rule]) -> Iterator[tuple[Pattern, str]]:
    """What rules forbid by name or pattern, and where they stand."""
    return ((pattern, rule.where) for rule in rules if rule.kind == "deny" for pattern in rule.patterns)


def denied_by(baseline: Baseline) -> Iterator[tuple[Pattern, str]]:
    """What a baseline forbids, and that of which it limits a sum."""
    of_sums = [sums.programs for sums in baseline.sums]
    for rows in (*baseline.tables, *of_sums):
        for key, pattern in rows.alone.items():
            most = rows.limits[key].most
            if most == 0 or rows in of_sums:
                yield pattern, f"{f'beyond {most} ' if most else ''}in {baseline.path.name}"


def patterns_of(config: pytest.Config, name: str, values: Iterable[str], from_ini: bool) -> Iterable[Pattern]:
    blamed, start = blamed_for(config, name, from_ini), folder_of(config, from_ini)
    for value in values:
        from ..log.patterns import compile_pattern

        if value.startswith(("['", '["')):
            raise pytest.UsageError(
                f"{blamed}: {value} is a list, which there is in TOML alone: write each pattern on a line, or in an"
                " option, of its own"
            )
        try:
            yield compile_pattern(value, start, of_file=from_ini)
        except ValueError as error:
            raise pytest.UsageError(f"{blamed}: {error}") from None
