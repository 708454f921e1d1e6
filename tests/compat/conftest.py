from __future__ import annotations

from pathlib import Path

import pytest
from inner import Inner


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.exec_budget(150))  # the inner runs' and what those run


@pytest.fixture
def inner(kernel: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:  # noqa: ARG001
    return Inner(pytester, monkeypatch)
