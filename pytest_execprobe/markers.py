"""From pytest's marks to rules, each with the place where it stands.

pytest does not tell where a mark was written, so it is looked for in the source. Where it is not found (a mark held in
a variable, or added by a hook) the place is that of the test, class or module that carries it.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from .rules import Rule, RuleError, make_rule, written
from .settings import MARKERS


class Markers:
    """Reads the rules of nodes, and remembers those it has read."""

    def __init__(self, start: Path) -> None:
        self._start = start  # where pytest was started: paths are relative to it
        self._known: dict[tuple[int, str, int], tuple[Rule, pytest.Mark]] = {}

    def levels(self, node: pytest.Item | pytest.Collector) -> list[list[Rule]]:
        """The rules of a node and of those above it, the closest level first. Raises RuleError."""
        found = []
        parameters = list(getattr(getattr(node, "callspec", None), "marks", ()))
        if parameters:
            found.append(self._rules(node, parameters, parametrized=True))
        # By identity: a mark of a parameter may equal one of the function.
        found.append(self._rules(node, [m for m in node.own_markers if not any(m is other for other in parameters)]))
        above = node.parent
        while above is not None:
            found.append(self._rules(above, above.own_markers))
            above = above.parent
        return [rules for rules in found if rules]

    def _rules(
        self, node: pytest.Item | pytest.Collector, marks: Iterable[pytest.Mark], parametrized: bool = False
    ) -> list[Rule]:
        return [self._rule(node, mark, parametrized) for mark in marks if mark.name in MARKERS]

    def _rule(self, node: pytest.Item | pytest.Collector, mark: pytest.Mark, parametrized: bool) -> Rule:
        name = "the module" if isinstance(node, pytest.Module) else getattr(node, "originalname", None) or node.name
        key = (id(mark), name, id(node.parent))
        if key not in self._known:
            place = self._place(node, mark, parametrized)
            try:
                rule = make_rule(mark.name, mark.args, mark.kwargs, f"on {name}, {place}")
            except RuleError as error:
                raise RuleError(f"{place}: {error}") from None
            self._known[key] = (rule, mark)  # the mark is kept so that its id stays its own
        return self._known[key][0]

    def _place(self, node: pytest.Item | pytest.Collector, mark: pytest.Mark, parametrized: bool) -> str:
        """``path:line`` of a mark."""
        file, carrier = _carrier(node, mark)
        found = None if carrier is None else _in_source(carrier, mark, parametrized)
        line = found or getattr(carrier, "lineno", None) or 1
        path = os.path.relpath(file, self._start)
        return f"{file if path.startswith('..') else path}:{line}"


def _carrier(node: pytest.Item | pytest.Collector, mark: pytest.Mark) -> tuple[Path, ast.AST | None]:
    """The file, and what in it carries a mark: a module, a class or a function."""
    file = Path(node.path)
    if isinstance(node, (pytest.Package, pytest.Dir)):
        file /= "__init__.py"
    if isinstance(node, pytest.Class):
        for cls in node.obj.__mro__:  # it may be a base class's
            own = cls.__dict__.get("pytestmark", ())
            if any(mark is getattr(other, "mark", other) for other in (own if isinstance(own, list) else [own])):
                source = inspect.getsourcefile(cls)
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
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
