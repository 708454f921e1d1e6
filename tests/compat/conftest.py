from __future__ import annotations

from pathlib import Path

import pytest
from inner import Inner


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        has_its_own = any(mark.name == "exec_budget" for mark in item.own_markers)
        if item.path.parent == Path(__file__).parent and not has_its_own:
            item.add_marker(pytest.mark.exec_budget(150))  # the inner runs' and what those run


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_probes: once more with inner runs that are traced, each by its own helper")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_probes") is not None:
        # The one probe or the other is no matter of pytest's version.
        traced = pytest.param("ptrace", marks=pytest.mark.beside)
        metafunc.parametrize("inner", [None, traced], indirect=True, ids=["auto", "ptrace"])


@pytest.fixture
def inner(
    kernel: None,  # noqa: ARG001
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Inner:
    return Inner(pytester, monkeypatch, getattr(request, "param", None))
