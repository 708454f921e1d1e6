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
    return tree is None or _is_called_with_tests(tree) or _may_have(tree, source, words)


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
    """Whether a test that is there may have other parameters in other circumstances: they are not all written out in
    decorators of its one definition, or in ``pytestmark``, or that stands behind a condition."""
    tree = _parsed(source)
    if tree is None or _is_called_with_tests(tree):
        return True
    place: ast.AST = tree
    for name in names.split("::"):
        found = [node for node in _defined(place) if node.name == name]
        if len(found) != 1 or not _is_plain(found[0], place):
            return True
        place = found[0]
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef)]
    marks = [node for body in bodies for node in body if isinstance(node, _ASSIGNMENTS) and _marks(node)]
    if not all(_is_literal_mark(node.value) for node in marks if node.value):
        return True
    decorators = [mark for node in ast.walk(tree) for mark in getattr(node, "decorator_list", ())]
    counted = {id(node) for known in (*marks, *decorators) for node in ast.walk(known)}
    others = (name for node in ast.walk(tree) if id(node) not in counted for name in _words(node))
    return not {"parametrize", "pytestmark", *names.split("::")}.isdisjoint(others)


def _is_plain(node: _Definition, place: ast.AST) -> bool:
    """Whether what stands in a module or a class is defined there in all circumstances, and what marks it has is
    written at it."""
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    is_there = node in getattr(place, "body", ())
    return is_there and all(map(_is_literal_mark, node.decorator_list)) and all(map(_is_known, bases))


def _words(node: ast.AST) -> Iterator[str]:
    """The marks that it names, and the names that it gives."""
    if isinstance(node, ast.alias):
        yield node.asname or node.name
    elif isinstance(node, ast.Name | ast.Attribute):
        word = node.id if isinstance(node, ast.Name) else node.attr
        if isinstance(node.ctx, ast.Store | ast.Del) or word in ("parametrize", "pytestmark"):
            yield word


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


def _is_called_with_tests(tree: ast.Module) -> bool:
    """Whether what runs when the module is loaded may make tests, or change them, by names that are not written."""
    calls = (node.value for node in _statements(tree) if isinstance(node, ast.Expr))
    is_called = any(isinstance(call, ast.Call) and _root(call) not in _KNOWN for call in calls)
    return is_called or any(map(_writes_names, _outside_of_tests(tree)))


def _may_have(tree: ast.Module, source: str, words: list[str]) -> bool:
    """Whether something on the way to a name may make it: a decorator, a base, a metaclass."""
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
    return all(isinstance(target, ast.Name) and target.id == "pytestmark" for target in targets)


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
