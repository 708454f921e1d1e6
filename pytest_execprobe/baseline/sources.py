"""Whether another run may find tests in a file that this run has not found there, by the file's source. Pure.

Where that is not certain, a test may be there: its table of a baseline is removed by hand.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

#: Where these stand, a file can have names that are not written in it.
_WRITERS = frozenset(
    {"__dict__", "__setattr__", "eval", "exec", "f_globals", "f_locals", "globals", "locals", "new_class", "setattr"}
    | {"vars"}
)
#: Whose calls, as statements of a module, make no tests; and whose decorators and base classes make no others.
_KNOWN = frozenset({"gc", "logging", "os", "pytest", "random", "sys", "unittest", "warnings"})
_PLAIN = frozenset({"IsolatedAsyncioTestCase", "TestCase", "classmethod", "mock", "object", "patch", "staticmethod"})
#: Decorators that leave it at the name.
_COMMON = frozenset({"asynccontextmanager", "contextlib", "contextmanager", "dataclass", "dataclasses", "functools"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def may_make(source: str, names: str) -> bool:
    """Whether a file may have a class, a test or a fixture (``TestA::test_b``) in other circumstances: its names are
    written there, or it can have names that are not (a ``*`` import, ``setattr``, a base class of another file)."""
    words = [re.split(r"\[| \(", name)[0] for name in names.partition("[")[0].split("::")]
    if all(_is_written(word, source) for word in words):
        return True
    tree = _parsed(source)
    return tree is None or any(map(_writes_names, _outside_of_tests(tree))) or _may_have(tree, source, words)


def may_make_fixture(source: str, name: str) -> bool:
    """Likewise; and some decorators make fixtures of other names than what they stand on has (pytest-factoryboy)."""
    tree = _parsed(source)
    if tree is None or name in source or may_make(source, name):
        return True
    made = (node for node in ast.walk(tree) if isinstance(node, (*_FUNCTIONS, ast.ClassDef)))
    return any(_root(mark) not in _KNOWN | _PLAIN | _COMMON for node in made for mark in node.decorator_list)


def has_examples(source: str, name: str) -> bool:
    """Whether a file has examples of that name (``module.function``), for which it may not make the function."""
    tree, last = _parsed(source), name.rpartition(".")[2]
    if tree is None:
        return ">>>" in source
    there = (node for node in ast.walk(tree) if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and node.name == last)
    return any(">>>" in (ast.get_docstring(node) or "") for node in there)


def may_vary(source: str, names: str) -> bool:
    """Whether a test that is there may have other parameters in other circumstances: they are not all written out."""
    tree = _parsed(source)
    if tree is None:
        return True
    places: list[ast.AST] = [tree]
    *classes, function = names.split("::")
    for name in (*classes, function):
        found = [node for place in places for node in _defined(place) if node.name == name]
        if not found or any(not all(map(_is_literal_mark, node.decorator_list)) for node in found):
            return True
        places = list(found)
    marks = (node.value for node in ast.walk(tree) if isinstance(node, _ASSIGNMENTS) and node.value and _marks(node))
    return not all(map(_is_literal_mark, marks))


def _is_written(word: str, source: str) -> bool:
    """A ``*`` stands for any text, as in names of tables."""
    name = r"\w*".join(map(re.escape, word.split("*")))
    return re.search(rf"\b{name}\b", source) is not None


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _outside_of_tests(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, _FUNCTIONS) and node.name.startswith("test")):
            yield node
            yield from _outside_of_tests(node)


def _writes_names(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == "*" for alias in node.names)
    if isinstance(node, ast.Subscript):
        return _is_own_name(node.slice)  # sys.modules[__name__]
    if isinstance(node, ast.Call) and any(map(_is_own_name, (*node.args, *(word.value for word in node.keywords)))):
        return not (_root(node) in _KNOWN or _is_class(node.func))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in _WRITERS or (node.func.id == "type" and len(node.args) == 3)
    return isinstance(node, ast.Attribute) and node.attr in _WRITERS


def _is_own_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "__name__"


def _is_class(function: ast.AST) -> bool:
    """Whether it is called as classes are, which are asked for an object: Flask(__name__)."""
    return ast.unparse(function).rpartition(".")[2][:1].isupper()


def _may_have(tree: ast.Module, source: str, words: list[str]) -> bool:
    """Whether something on the way to a name may make it: a call in the module, a decorator, a base, a metaclass."""
    calls = (node.value for node in _statements(tree) if isinstance(node, ast.Expr))
    if any(isinstance(call, ast.Call) and _root(call) not in _KNOWN for call in calls):
        return True
    places: list[ast.AST] = [tree]
    for word in words:
        there = [node for place in places for node in _defined(place)]
        if any(word.startswith(node.name) and not all(map(_is_known, node.decorator_list)) for node in there):
            return True
        found = [node for node in there if node.name == word and isinstance(node, ast.ClassDef)]
        if not found:  # of another file, where its name is written: imported, or assigned
            return word is not words[-1] and _is_written(word, source)
        if not all(_is_known(base) for node in found for base in node.bases):
            return True
        if any(_root(word.value) not in ("abc", "ABCMeta") for node in found for word in node.keywords):
            return True
        places = list(found)
    return False


def _marks(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> bool:
    """Whether an assignment marks all tests of a module or a class."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(_root(target) == "pytestmark" for target in targets)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Those that run when a module, or a class, is made."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.expr)):
            yield from _statements(node)


def _defined(place: ast.AST) -> Iterator[_Definition]:
    return (node for node in _statements(place) if isinstance(node, (*_FUNCTIONS, ast.ClassDef)))


def _root(node: ast.AST) -> str:
    """``pytest`` of ``pytest.mark.skip("x")``."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_known(node: ast.AST) -> bool:
    return _root(node) in _KNOWN | _PLAIN


def _is_literal_mark(node: ast.AST) -> bool:
    """Whether a decorator gives a test no parameters, or such as are written out."""
    if isinstance(node, ast.List | ast.Tuple):
        return all(map(_is_literal_mark, node.elts))
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "parametrize"):
        return _is_known(node)
    words = [word.value for word in node.keywords if word.arg not in ("argnames", "indirect", "scope")]
    names, *given = node.args or [ast.Constant("")]
    return _root(node) == "pytest" and not isinstance(names, ast.Starred) and all(map(_is_literal, [*given, *words]))


def _is_literal(node: ast.AST) -> bool:
    if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict | ast.UnaryOp):
        return all(_is_literal(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
    if isinstance(node, ast.Call) and _root(node) == "pytest":  # pytest.param
        return all(_is_literal(arg) for arg in (*node.args, *(w.value for w in node.keywords if w.arg == "id")))
    return isinstance(node, ast.Constant)
