from __future__ import annotations

import pytest
from inner import Inner


@pytest.fixture
def inner(kernel: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:  # noqa: ARG001
    return Inner(pytester, monkeypatch)
