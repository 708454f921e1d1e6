"""Where marks stand: the level of each, and the file and line that a failing test names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_execprobe.rules.rule import RuleError
from pytest_execprobe.session.marks import Markers

Levels = list[list[str]]


@pytest.fixture
def levels(pytester: pytest.Pytester) -> Callable[..., Levels]:
    """The rules of one test of a source, level by level and the closest first, each as ``text where``.

    Lines are counted from 1, the source's own first line.
    """

    def levels(source: str, name: str = "test_it", *more: str) -> Levels:
        path = pytester.path / "test_it.py"
        path.write_text(dedent(source).lstrip("\n"))
        items = pytester.getitems(path) if not more else _collected(pytester, *more)
        (item,) = (item for item in items if item.name == name)
        return levels_of(Markers(pytester.path), item)

    return levels


def _collected(pytester: pytest.Pytester, *args: str) -> list[pytest.Item]:
    items, _ = pytester.inline_genitems(*args)
    return items  # type: ignore[no-any-return]


def levels_of(markers: Markers, node: pytest.Item | pytest.Collector) -> Levels:
    return [[f"{rule.text} {rule.where}" for rule in level] for level in markers.levels(node)]


def test_nothing(levels: Callable[..., Levels]) -> None:
    assert levels("import pytest\n@pytest.mark.skip\ndef test_it(): pass") == []


def test_decorator_of_a_function(levels: Callable[..., Levels]) -> None:
    assert levels(
        """
        import pytest

        @pytest.mark.skipif(False, reason="")
        @pytest.mark.exec_budget(2)
        def test_it(): pass
        """
    ) == [["exec_budget(2) on test_it, test_it.py:4"]]


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.filterwarnings("ignore::pytest.PytestWarning")
def test_all_kinds_and_levels(levels: Callable[..., Levels], kind: str) -> None:
    assert levels(
        f"""
        import pytest
        pytestmark = pytest.mark.exec_none

        @pytest.mark.exec_deny("curl")
        class TestIt:
            @pytest.mark.exec_allow(
                "git",
                phases=("call",),
            )
            @pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.exec_budget(3))])
            {kind} test_it(self, n): pass
        """,
        "test_it[1]",
    ) == [
        ["exec_budget(3) on test_it, test_it.py:10"],
        ["exec_allow('git', phases=('call',)) on test_it, test_it.py:6"],
        ["exec_deny('curl') on TestIt, test_it.py:4"],
        ["exec_none() on the module, test_it.py:2"],
    ]


def test_several_of_one_name(levels: Callable[..., Levels]) -> None:
    (level,) = levels(
        """
        import pytest
        @pytest.mark.exec_deny("curl")
        @pytest.mark.exec_deny("wget")
        @pytest.mark.exec_deny('ssh', phases=('call',))
        def test_it(): pass
        """
    )
    assert sorted(level) == [
        "exec_deny('curl') on test_it, test_it.py:2",
        "exec_deny('ssh', phases=('call',)) on test_it, test_it.py:4",
        "exec_deny('wget') on test_it, test_it.py:3",
    ]


def test_one_with_a_computed_argument_is_found_by_its_name(levels: Callable[..., Levels]) -> None:
    assert levels(
        """
        import pytest
        LIMIT = 2
        @pytest.mark.tryfirst
        @pytest.mark.exec_budget(LIMIT)
        def test_it(): pass
        """
    ) == [["exec_budget(2) on test_it, test_it.py:4"]]


def test_without_parentheses(levels: Callable[..., Levels]) -> None:
    assert levels(
        """
        import pytest
        from pytest import mark
        @pytest.mark.skipif(False, reason="")
        @mark.exec_none
        def test_it(): pass
        """
    ) == [["exec_none() on test_it, test_it.py:4"]]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("pytestmark = pytest.mark.exec_budget(2)", 2),
        ("pytestmark = [pytest.mark.tryfirst, pytest.mark.exec_budget(2)]", 2),
        ("pytestmark = [\n    pytest.mark.tryfirst,\n    pytest.mark.exec_budget(2),\n]", 4),
        ("pytestmark: list = [pytest.mark.exec_budget(2)]", 2),
        ("pytestmark = [pytest.mark.tryfirst]\npytestmark += [pytest.mark.exec_budget(2)]", 3),
    ],
)
def test_pytestmark(levels: Callable[..., Levels], written: str, line: int) -> None:
    """In a module, and in a class."""
    assert levels(f"import pytest\n{written}\ndef test_it(): pass\n") == [
        [f"exec_budget(2) on the module, test_it.py:{line}"]
    ]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("pytestmark = pytest.mark.exec_budget(2)", 3),
        ("pytestmark = [pytest.mark.tryfirst, pytest.mark.exec_budget(2)]", 3),
        ("pytestmark = [pytest.mark.tryfirst,\n        pytest.mark.exec_budget(2)]", 4),
    ],
)
def test_pytestmark_of_a_class(levels: Callable[..., Levels], written: str, line: int) -> None:
    source = f"import pytest\nclass TestIt:\n    {written}\n    def test_it(self): pass\n"
    assert levels(source) == [[f"exec_budget(2) on TestIt, test_it.py:{line}"]]


def test_decorated_class_with_a_pytestmark(levels: Callable[..., Levels]) -> None:
    (level,) = levels(
        """
        import pytest
        @pytest.mark.exec_deny("a")
        class TestIt:
            pytestmark = [pytest.mark.exec_deny("b")]
            def test_it(self): pass
        """
    )
    assert sorted(level) == ["exec_deny('a') on TestIt, test_it.py:2", "exec_deny('b') on TestIt, test_it.py:4"]


def test_base_class(levels: Callable[..., Levels]) -> None:
    (level,) = levels(
        """
        import pytest
        @pytest.mark.exec_deny("a")
        class Base:
            def test_it(self): pass

        @pytest.mark.exec_deny("b")
        class TestIt(Base): pass
        """
    )
    assert sorted(level) == ["exec_deny('a') on TestIt, test_it.py:2", "exec_deny('b') on TestIt, test_it.py:6"]


def test_base_class_in_another_file(levels: Callable[..., Levels], pytester: pytest.Pytester) -> None:
    pytester.syspathinsert()
    pytester.makepyfile(
        base_of_it="import pytest\n\nclass Base:\n    pytestmark = pytest.mark.exec_none\n    def test_it(self): pass\n"
    )
    assert levels("from base_of_it import Base\nclass TestIt(Base): pass") == [
        ["exec_none() on TestIt, base_of_it.py:4"],
    ]


def test_nested_class(levels: Callable[..., Levels]) -> None:
    assert levels(
        """
        import pytest

        @pytest.mark.exec_budget(1)
        class TestOuter:
            @pytest.mark.exec_budget(2)
            class TestIt:
                @pytest.mark.exec_budget(3)
                def test_it(self): pass
        """
    ) == [
        ["exec_budget(3) on test_it, test_it.py:7"],
        ["exec_budget(2) on TestIt, test_it.py:5"],
        ["exec_budget(1) on TestOuter, test_it.py:3"],
    ]


def test_class_of_unittest(levels: Callable[..., Levels]) -> None:
    assert levels(
        """
        import pytest, unittest
        @pytest.mark.exec_budget(1)
        class Tests(unittest.TestCase):
            @pytest.mark.exec_none
            def test_it(self): pass
        """
    ) == [["exec_none() on test_it, test_it.py:4"], ["exec_budget(1) on Tests, test_it.py:2"]]


# ---- parameters ----

PARAMETERS = """
import pytest

@pytest.mark.exec_budget(1)
@pytest.mark.parametrize(
    "n",
    [
        pytest.param("a", marks=pytest.mark.exec_budget(2)),
        pytest.param("b", marks=[pytest.mark.tryfirst, pytest.mark.exec_budget(3)]),
        pytest.param("c", marks=pytest.mark.exec_budget(1)),
        "d",
    ],
)
def test_it(n): pass
"""


@pytest.mark.parametrize(
    ("parameter", "closest"),
    [
        ("a", ["exec_budget(2) on test_it, test_it.py:7"]),
        ("b", ["exec_budget(3) on test_it, test_it.py:8"]),
        ("c", ["exec_budget(1) on test_it, test_it.py:9"]),
        ("d", None),
    ],
)
def test_parameter(levels: Callable[..., Levels], parameter: str, closest: list[str] | None) -> None:
    function = ["exec_budget(1) on test_it, test_it.py:3"]
    assert levels(PARAMETERS, f"test_it[{parameter}]") == ([closest] if closest else []) + [function]


def test_two_parameters_are_one_level(levels: Callable[..., Levels]) -> None:
    (level,) = levels(
        """
        import pytest
        @pytest.mark.parametrize("a", [pytest.param(1, marks=pytest.mark.exec_deny("a"))])
        @pytest.mark.parametrize("b", [pytest.param(2, marks=pytest.mark.exec_deny("b"))])
        def test_it(a, b): pass
        """,
        "test_it[2-1]",
    )
    assert sorted(level) == ["exec_deny('a') on test_it, test_it.py:2", "exec_deny('b') on test_it, test_it.py:3"]


# ---- where the source does not say ----


def test_held_in_a_variable_it_is_where_what_carries_it_is(levels: Callable[..., Levels]) -> None:
    assert levels(
        """
        import pytest
        few = pytest.mark.exec_budget(2)
        quiet = pytest.mark.exec_none
        pytestmark = pytest.mark.exec_allow("git")

        @quiet
        class TestIt:

            @few
            def test_it(self): pass
        """
    ) == [
        ["exec_budget(2) on test_it, test_it.py:10"],
        ["exec_none() on TestIt, test_it.py:7"],
        ["exec_allow('git') on the module, test_it.py:4"],
    ]


def test_one_in_a_variable_is_not_taken_for_another(levels: Callable[..., Levels]) -> None:
    """Its own place is not known, but that of the other is."""
    (level,) = levels(
        """
        import pytest
        few = pytest.mark.exec_deny("a")
        @few
        @pytest.mark.exec_deny("b")
        def test_it(): pass
        """
    )
    assert sorted(level) == ["exec_deny('a') on test_it, test_it.py:5", "exec_deny('b') on test_it, test_it.py:4"]


def test_added_by_a_hook(levels: Callable[..., Levels], pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.exec_budget(7))
                item.parent.add_marker(pytest.mark.exec_none)
        """
    )
    assert levels("\n# first\nimport pytest\ndef test_it(): pass\n", "test_it", "test_it.py") == [
        ["exec_budget(7) added to test_it, conftest.py:4"],
        ["exec_none() added to the module, conftest.py:5"],
    ]


ADDING = """
import pytest
quiet = pytest.mark.exec_none
loud = pytest.mark.exec_budget(9)

@pytest.fixture
def one(request):
    request.node.add_marker(pytest.mark.exec_deny("a"))

@pytest.fixture
def two(request):
    request.node.add_marker(pytest.mark.exec_deny("a"))
    request.applymarker(pytest.mark.exec_deny("b"))
    request.node.add_marker("exec_none")
    request.node.add_marker(loud)

@quiet
def test_it(one): pass

def test_other(one, two): pass
"""


@pytest.mark.parametrize(
    ("test", "mark", "where"),
    [
        ("test_it", pytest.mark.exec_deny("a"), "added to test_it in the call phase, test_it.py:7"),
        ("test_other", pytest.mark.exec_deny("a"), "test_it.py:7 or test_it.py:11"),  # which can't be told
        ("test_other", pytest.mark.exec_deny("b"), "added to test_other in the call phase, test_it.py:12"),
        ("test_other", pytest.mark.exec_none, "added to test_other in the call phase, test_it.py:13"),
        ("test_other", pytest.mark.exec_budget(9), "added in the call phase to test_other, test_it.py:19"),
        ("test_it", pytest.mark.exec_deny("b"), "added to test_it in the call phase, test_it.py:12"),  # by another's
    ],
)
def test_added_while_the_test_runs(
    pytester: pytest.Pytester, test: str, mark: pytest.MarkDecorator, where: str
) -> None:
    pytester.makepyfile(test_it=ADDING)
    (item,) = (item for item in _collected(pytester, "test_it.py") if item.name == test)
    markers = Markers(pytester.path)
    before = {rule for level in markers.levels(item) for rule in level}
    item.add_marker(mark)
    (rule,) = (rule for level in markers.levels(item, "call") for rule in level if rule not in before)
    assert rule.where.endswith(where)
    assert rule.where.startswith("added ")


def test_what_stands_on_a_test_is_not_taken_for_added(pytester: pytest.Pytester) -> None:
    """Though it is held in a variable, and the same is added elsewhere."""
    pytester.makepyfile(test_it=ADDING)
    item = _collected(pytester, "test_it.py")[0]
    assert levels_of(Markers(pytester.path), item) == [["exec_none() on test_it, test_it.py:17"]]


def test_decorated_function(levels: Callable[..., Levels]) -> None:
    """It stands where it is written, and not in the decorator's file."""
    assert levels(
        """
        import functools
        import pytest

        def twice(function):
            @functools.wraps(function)
            def wrapper():
                function()
            return wrapper

        @twice
        @pytest.mark.exec_budget(2)
        @twice
        def test_it(): pass
        """
    ) == [["exec_budget(2) on test_it, test_it.py:11"]]


def test_function_that_is_made_at_run_time(levels: Callable[..., Levels]) -> None:
    (level,) = levels(
        """
        import pytest
        exec("def test_it(): pass")
        test_it = pytest.mark.exec_budget(2)(test_it)
        """
    )
    assert level[0].startswith("exec_budget(2) on test_it, ")


@pytest.mark.parametrize(("kind", "name"), [("Dir", None), ("Session", "the session")])
def test_collector_that_a_hook_marks(pytester: pytest.Pytester, kind: str, name: str | None) -> None:
    pytester.makeconftest(
        f"""
        import pytest
        def pytest_collection_modifyitems(items):
            for item in items:
                item.getparent(pytest.{kind}).add_marker(pytest.mark.exec_budget(7))
        """
    )
    pytester.makepyfile(test_it="def test_it(): pass")
    (item,) = _collected(pytester, "test_it.py")
    assert levels_of(Markers(pytester.path), item) == [
        [f"exec_budget(7) added to {name or pytester.path.name}, conftest.py:4"]
    ]


def test_package_that_a_hook_marks(pytester: pytest.Pytester) -> None:
    """pytest reads no ``pytestmark`` of an ``__init__.py``, so that only a hook can mark a package."""
    package = pytester.mkpydir("pack")
    (package / "test_it.py").write_text("import pytest\npytestmark = pytest.mark.exec_none\ndef test_it(): pass\n")
    pytester.makeconftest(
        """
        import pytest
        def pytest_collection_modifyitems(items):
            items[0].getparent(pytest.Package).add_marker(pytest.mark.exec_budget(7))
        """
    )
    (item,) = _collected(pytester, "pack")
    assert levels_of(Markers(pytester.path), item) == [
        ["exec_none() on the module, pack/test_it.py:2"],
        ["exec_budget(7) added to pack, conftest.py:3"],
    ]


# ---- paths, and what is remembered ----


def test_path_is_relative_to_where_pytest_was_started(pytester: pytest.Pytester) -> None:
    path = pytester.path / "sub" / "test_it.py"
    path.parent.mkdir()
    path.write_text("import pytest\n@pytest.mark.exec_none\ndef test_it(): pass\n")
    (item,) = _collected(pytester, "sub")

    def place(start: Path) -> str:
        return Markers(start).levels(item)[0][0].where

    assert place(pytester.path) == "on test_it, sub/test_it.py:2"
    assert place(path.parent) == "on test_it, test_it.py:2"
    assert place(pytester.path / "other") == f"on test_it, {path}:2"


def test_mark_that_several_carry_names_each(pytester: pytest.Pytester) -> None:
    items = pytester.getitems(
        "import pytest\nfew = pytest.mark.exec_budget(2)\n@few\ndef test_a(): pass\n@few\ndef test_b(): pass\n"
    )
    markers = Markers(pytester.path)
    assert [markers.levels(item)[0][0].where.split(",")[0] for item in items] == ["on test_a", "on test_b"]


def test_rule_of_a_mark_is_made_once(pytester: pytest.Pytester) -> None:
    first, second = pytester.getitems(
        "import pytest\npytestmark = pytest.mark.exec_none\ndef test_a(): pass\ndef test_b(): pass\n"
    )
    markers = Markers(pytester.path)
    assert markers.levels(first)[0][0] is markers.levels(second)[0][0]


def test_wrong_one_is_reported_with_its_place(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(test_it="import pytest\n@pytest.mark.exec_budget('2')\ndef test_it(): pass\n")
    (item,) = pytester.getmodulecol(path.read_text()).collect()
    assert isinstance(item, pytest.Item)
    with pytest.raises(RuleError) as caught:
        Markers(pytester.path).levels(item)
    place, _, rest = str(caught.value).partition(": ")
    assert place.endswith(".py:2")
    assert rest.startswith("exec_budget('2'): at_most is a whole number, not '2'. It is written exec_budget(at_most=")
