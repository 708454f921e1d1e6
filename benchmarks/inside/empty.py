"""Tests that run nothing."""

from __future__ import annotations

import os
from typing import Any

import pytest

TESTS = range(int(os.environ["BENCH_TESTS"]))
KIND = os.environ["BENCH_KIND"]  # bare and unused are the last

if KIND == "read":

    @pytest.mark.parametrize("n", TESTS)
    def test(n: int, execprobe: Any) -> None:
        assert execprobe.count() == 0, n

elif KIND == "fixture":

    @pytest.mark.parametrize("n", TESTS)
    def test(n: int, execprobe: Any) -> None:
        assert execprobe is not None, n

elif KIND == "rule":

    @pytest.mark.parametrize("n", TESTS)
    @pytest.mark.exec_budget(0)
    def test(n: int) -> None:
        assert n >= 0

else:

    @pytest.mark.parametrize("n", TESTS)
    def test(n: int) -> None:
        assert n >= 0
