"""What makes tests, or parameters of theirs, besides what is written at them: in other circumstances it may make
others, or none."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

import pytest

from .._util import originals

#: What reads marks and the parameters of fixtures.
_PARAMETERS = ("python", "funcmanage")
#: What makes tests of functions and classes, each by its name: pytest's own, and what runs those that are async.
_TESTS = ("python", "unittest", "anyio", "asyncio", "trio")
#: The hooks that see what was collected, and can add to it; and how something becomes a test there.
_HOOKS = (
    *("pytest_make_collect_report", "pytest_collectreport", "pytest_itemcollected"),
    *("pytest_collection", "pytest_collection_modifyitems", "pytest_collection_finish"),
)
_MAKES = re.compile(rb"\bfrom_parent\b|\bcopy\.(?:deep)?copy\b|\bfrom copy import\b")
_OWN = {"_pytest", "pytest", "xdist", __name__.partition(".")[0]}


def parametrizes(item: pytest.Item) -> bool:
    """Whether something may give a test parameters that do not stand at it, such as a fixture, or other names."""
    hooks = (item.ihook.pytest_generate_tests, item.ihook.pytest_make_parametrize_id)
    impls = [impl for hook in hooks for impl in hook.get_hookimpls()]
    places = (getattr(item, "module", None), getattr(item, "cls", None))
    fixtures = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return (
        any(impl.plugin_name not in _PARAMETERS for impl in impls)
        or any(hasattr(place, "pytest_generate_tests") for place in places)
        or any(known[-1].params is not None for known in fixtures.values())
    )


def makes_tests(collector: pytest.Collector) -> bool:
    """Whether a file can have tests that are not written in it: by a hook, or as a collector of another kind does."""
    impls = collector.ihook.pytest_pycollect_makeitem.get_hookimpls()
    return type(collector).collect is not pytest.Module.collect or any(impl.plugin_name not in _TESTS for impl in impls)


def adds_tests(config: pytest.Config) -> bool:
    """Whether a hook may add tests to what was collected, of whatever files."""
    impls = (impl for name in _HOOKS for impl in getattr(config.hook, name).get_hookimpls())
    files = {file for impl in impls if impl.plugin_name not in _TESTS for file in _files_of(impl.function)}
    return any(map(_makes, files))


def _files_of(function: Any) -> Iterator[str]:
    """Where a function stands, and what it calls by a name of its module."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    known = getattr(function, "__globals__", {})
    code = getattr(function, "__code__", None)
    for one in (function, *(known.get(name) for name in (code.co_names if code else ()))):
        name, file = _origin(one)
        if file is not None and name.partition(".")[0] not in (*_OWN, *sys.stdlib_module_names):
            yield file


def _origin(one: Any) -> tuple[str, str | None]:
    """The module and the file of something. It is not asked for attributes: what stands for another object, such as
    settings that are read when they are needed, may answer with any exception."""
    while type(one) is partial:
        one = one.func
    if type(one) is FunctionType:
        return one.__module__ or "", one.__code__.co_filename
    of = inspect.getattr_static(one, "__module__", None)
    module = one if issubclass(type(one), ModuleType) else sys.modules.get(of) if type(of) is str else None
    names = {} if module is None else object.__getattribute__(module, "__dict__")
    return names.get("__name__") or "", names.get("__file__")


def _makes(file: str) -> bool:
    """A file that can't be read is no source."""
    try:
        return _MAKES.search(originals.read_bytes(file)) is not None
    except OSError:
        return True
