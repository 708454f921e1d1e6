"""The fuzz targets of tests/fuzz, given their own seeds and what is near them: that they fit the code."""

from __future__ import annotations

import importlib
import itertools
import random
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "fuzz"
TARGETS = sorted(path.stem for path in FOLDER.glob("fuzz_*.py"))


@pytest.fixture
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return importlib.import_module(request.param)


def test_there_are_targets() -> None:
    assert len(TARGETS) == 7


@pytest.mark.parametrize("target", TARGETS, indirect=True)
def test_target_takes_its_seeds_and_what_is_near_them(target: object) -> None:
    seeds, check = target.SEEDS, target.check  # type: ignore[attr-defined]
    dice = random.Random(1)
    for seed in seeds:
        check(seed)
    for seed, _ in itertools.product(seeds, range(20)):
        wrong = bytearray(seed)
        for _ in range(3):
            wrong[dice.randrange(len(wrong))] = dice.choice((0, 1, 255, dice.randrange(256)))
        check(bytes(wrong))
        check(seed[: dice.randrange(len(seed))])
    check(b"")
