from __future__ import annotations

from pathlib import Path

import pytest
from inner import Inner


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        has_its_own = any(mark.name == "exec_budget" for mark in item.own_markers)
        if item.path.parent == Path(__file__).parent and not has_its_own:
            item.add_marker(pytest.mark.exec_budget(150))  # the inner runs' and what those run


@pytest.fixture
def inner(kernel: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:  # noqa: ARG001
    return Inner(pytester, monkeypatch)
