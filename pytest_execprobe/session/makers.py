"""What makes tests, or parameters of theirs, besides what is written at them: in other circumstances it may make
others, or none."""

from __future__ import annotations

import pytest

#: What reads marks and the parameters of fixtures.
_PARAMETERS = ("python", "funcmanage")
#: What makes tests of functions and classes, each by its name: pytest's own, and what runs those that are async.
_TESTS = ("python", "unittest", "anyio", "asyncio", "trio")


def parametrizes(item: pytest.Item) -> bool:
    """Whether something may give a test parameters that do not stand at it, such as a fixture."""
    impls = item.ihook.pytest_generate_tests.get_hookimpls()
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
