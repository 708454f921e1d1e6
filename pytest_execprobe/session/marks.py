"""From pytest's marks to rules, each with the place where it stands.

pytest does not say where a mark was written, so it is looked for in the source: on what carries it, and where
something calls ``add_marker``. Where it is not found (a mark held in a variable) the place is that of the test, class
or module that carries it.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .._util import originals
from ..rules.advice import Place, Stands
from ..rules.markers import MARKERS
from ..rules.rule import Rule, RuleError, make_rule, written
from ..timeline.record import Phase
from .conftests import conftests

_Node = pytest.Item | pytest.Collector


class Markers:
    """Reads the rules of nodes, and remembers those it has read."""

    def __init__(self, start: Path, *, enforce: bool = False) -> None:
        self._start = start  # where pytest was started: paths are relative to it
        self._enforce = enforce  # every rule that denies
        self._known: dict[tuple[int, str, int], tuple[Rule, pytest.Mark]] = {}

    def levels(self, node: _Node, during: Phase | None = None) -> list[list[Rule]]:
        """The rules of a node and of those above it, the closest level first. Raises RuleError.

        ``during`` is the phase in which those have been added that it had not when this was last asked.
        """
        found = []
        parameters = list(getattr(getattr(node, "callspec", None), "marks", ()))
        if parameters:
            found.append([self._rule(node, mark, node, parametrized=True) for mark in _ours(parameters)])
        # By identity: a mark of a parameter may equal one of the function.
        own = [mark for mark in node.own_markers if not any(mark is other for other in parameters)]
        found.append([self._rule(node, mark, node, during) for mark in _ours(own)])
        above = node.parent
        while above is not None:
            found.append([self._rule(above, mark, node, during) for mark in _ours(above.own_markers)])
            above = above.parent
        return [rules for rules in found if rules]

    def _rule(
        self, node: _Node, mark: pytest.Mark, below: _Node, during: Phase | None = None, *, parametrized: bool = False
    ) -> Rule:
        """The rule of a mark that ``node`` has; ``below`` is what it was looked for."""
        kinds = {pytest.Module: "the module", pytest.Session: "the session"}  # whose own names say less
        kind = next((its for its in kinds if isinstance(node, its)), None)
        name = kinds[kind] if kind else getattr(node, "originalname", None) or node.name
        # One can be held in a variable, and stand in several places; of a function's tests it is the same.
        key = (id(mark), node.nodeid if kind else name, id(node.parent))
        if key not in self._known:
            added = not parametrized and not _stands_on(node, mark)
            line = self._additions(below, mark) if added else ""
            place = line or self._place(node, mark, parametrized)
            phase = f" in the {during} phase" if during else ""
            how = f"added to {name}{phase}" if line else f"added{phase} to {name}" if added else f"on {name}"
            where = f"{how}, {place}"
            try:
                rule = make_rule(mark.name, mark.args, mark.kwargs, where, enforce=self._enforce)
            except RuleError as error:
                raise RuleError(f"{place}: {error}") from None
            stands = "added" if added else "parameter" if parametrized else _stands(node)
            rule = replace(rule, place=Place(stands, where, mark.name))
            self._known[key] = (rule, mark)  # the mark is kept so that its id stays its own
        return self._known[key][0]

    def _place(self, node: _Node, mark: pytest.Mark, parametrized: bool) -> str:
        """``path:line`` of a mark."""
        file, carrier = _carrier(node, mark)
        found = None if carrier is None else _in_source(carrier, mark, parametrized)
        return self._written(file, found or getattr(carrier, "lineno", None) or 1)

    def _additions(self, node: _Node, mark: pytest.Mark) -> str:
        """Where a mark can have been added. Which of several it was can't be told."""
        return " or ".join([*dict.fromkeys(self._written(*place) for place in _added(node, mark))][:3])

    def _written(self, file: Path, line: int) -> str:
        path = originals.relpath(file, self._start)
        return f"{file if path.startswith('..') else path}:{line}"


def _ours(marks: Iterable[pytest.Mark]) -> list[pytest.Mark]:
    return [mark for mark in marks if mark.name in MARKERS]


def _stands(node: _Node) -> Stands:
    return "module" if isinstance(node, pytest.Module) else "class" if isinstance(node, pytest.Class) else "function"


def _stands_on(node: _Node, mark: pytest.Mark) -> bool:
    """Whether a mark is one of the test's function, class or module, and not one that was added to pytest's node."""
    carrier = getattr(node, "obj", None)
    return any(_carries(its, mark) for its in (carrier.__mro__ if isinstance(carrier, type) else (carrier,)))


def _carries(carrier: object, mark: pytest.Mark) -> bool:
    """Whether it is one of its own marks, of a class without those of its bases."""
    own = vars(carrier).get("pytestmark", ()) if isinstance(carrier, type) else getattr(carrier, "pytestmark", ())
    return any(mark is getattr(other, "mark", other) for other in (own if isinstance(own, list) else [own]))


def _added(node: _Node, mark: pytest.Mark) -> list[tuple[Path, int]]:
    """Where a mark can have been added to a test or what is above it: in the test and its fixtures, else anywhere in
    its file and those of its fixtures and hooks."""
    code = [getattr(inspect.unwrap(function), "__code__", None) for function in _functions_of(node)]
    near = [
        (Path(its.co_filename), _function_at(_tree(Path(its.co_filename)), its.co_firstlineno)) for its in code if its
    ]
    hooks = (Path(file) for file, _ in conftests(node.config))
    files = dict.fromkeys([Path(node.path), *(file for file, _ in near), *hooks])
    for places in (near, [(file, _tree(file)) for file in files]):
        found = [(file, line) for file, tree in places if tree is not None for line in _additions(tree, mark)]
        if found:
            return found
    return []


def _functions_of(node: _Node) -> list[Any]:
    """A test's own function, and those of its fixtures."""
    info = getattr(node, "_fixtureinfo", None)
    fixtures = [its.func for those in getattr(info, "name2fixturedefs", {}).values() for its in those]
    own = getattr(node, "obj", None) if isinstance(node, pytest.Function) else None
    return [getattr(function, "__func__", function) for function in (own, *fixtures) if function is not None]


def _additions(tree: ast.AST, mark: pytest.Mark) -> list[int]:
    """The lines on which a mark is added, best those where its arguments are the same."""
    likely: list[tuple[bool | None, int]] = []
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _attribute(call) in ("add_marker", "applymarker"):
            for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                likely += [(_says(use, mark), use.lineno) for use in _uses(argument, mark.name)]
                if isinstance(argument, ast.Constant) and argument.value == mark.name:
                    likely.append((not (mark.args or mark.kwargs), call.lineno))
    return next((lines for wanted in (True, None) if (lines := [line for says, line in likely if says is wanted])), [])


def _carrier(node: _Node, mark: pytest.Mark) -> tuple[Path, ast.AST | None]:
    """The file, and what in it carries a mark: a module, a class or a function."""
    file = Path(node.path)
    if isinstance(node, (pytest.Package, pytest.Dir)):
        file /= "__init__.py"
    if isinstance(node, pytest.Class):
        for cls in node.obj.__mro__:  # it may be a base class's
            if _carries(cls, mark):
                source = getattr(sys.modules.get(cls.__module__), "__file__", None)
                return Path(source or file), _definition(_tree(Path(source or file)), cls.__qualname__)
    if isinstance(node, pytest.Function):
        code = getattr(inspect.unwrap(getattr(node.obj, "__func__", node.obj)), "__code__", None)
        if code is not None:
            file = Path(code.co_filename)
            return file, _function_at(_tree(file), code.co_firstlineno)
    return file, _tree(file)


def _in_source(carrier: ast.AST, mark: pytest.Mark, parametrized: bool) -> int | None:
    """The line on which a mark stands, best where its arguments are the same."""
    places: list[ast.expr] = []
    for statement in _carrying(carrier):
        inside = isinstance(statement, ast.Call) and _attribute(statement) == "parametrize"
        if isinstance(carrier, ast.Module | ast.ClassDef) or inside == parametrized:
            places += _uses(statement, mark.name)
    likely = {use: _says(use, mark) for use in places}
    return next((use.lineno for wanted in (True, None) for use in places if likely[use] is wanted), None)


def _says(use: ast.expr, mark: pytest.Mark) -> bool | None:
    """Whether a use has a mark's arguments; None where they are computed."""
    if not isinstance(use, ast.Call):
        return None if mark.args or mark.kwargs else True
    if ast.unparse(use).endswith(written(mark.name, mark.args, mark.kwargs)):
        return True
    try:
        args = tuple(ast.literal_eval(argument) for argument in use.args)
        kwargs = {keyword.arg: ast.literal_eval(keyword.value) for keyword in use.keywords}
        return args == mark.args and kwargs == mark.kwargs
    except (ValueError, TypeError):
        return None


def _carrying(carrier: ast.AST) -> Iterator[ast.expr]:
    """The expressions that can put marks on something: its decorators, and what is assigned to ``pytestmark``."""
    yield from getattr(carrier, "decorator_list", ())
    if isinstance(carrier, ast.Module | ast.ClassDef):
        for statement in carrier.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign) and statement.value is not None:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in targets):
                    yield statement.value


def _uses(expression: ast.expr, name: str) -> list[ast.expr]:
    """Where ``….name`` or ``….name(…)`` stands in an expression, a call as a whole."""
    calls = [node for node in ast.walk(expression) if isinstance(node, ast.Call) and _attribute(node) == name]
    called = {id(call.func) for call in calls}
    bare = [
        node
        for node in ast.walk(expression)
        if isinstance(node, ast.Attribute) and node.attr == name and id(node) not in called
    ]
    return [*calls, *bare]


def _attribute(call: ast.Call) -> str | None:
    return call.func.attr if isinstance(call.func, ast.Attribute) else None


def _definition(tree: ast.AST | None, qualified: str) -> ast.AST | None:
    for name in qualified.split("."):
        inner = getattr(tree, "body", ())
        tree = next((node for node in inner if getattr(node, "name", None) == name), None)
    return tree


def _function_at(tree: ast.Module | None, line: int) -> ast.AST | None:
    """The function whose source begins, with its decorators, on a line."""
    return None if tree is None else _functions(tree).get(line)


@functools.lru_cache(maxsize=32)
def _functions(tree: ast.Module) -> dict[int, ast.AST]:
    functions: dict[int, ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions[min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])] = node
    return functions


@functools.lru_cache(maxsize=32)
def _tree(file: Path) -> ast.Module | None:
    try:
        return ast.parse(originals.read_bytes(file))
    except (OSError, SyntaxError, ValueError):
        return None
