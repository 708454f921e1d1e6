"""pytest-randomly: whatever the order, each test is blamed for what it ran."""

from __future__ import annotations

import pytest
from inner import Inner, needs

pytestmark = needs("pytest_randomly")

SUITE = """
import subprocess, pytest

@pytest.fixture(scope="module")
def shell():
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield
    process.communicate()

@pytest.mark.parametrize("n", range(4))
@pytest.mark.exec_budget(1)
def test_budget(n, shell):
    for _ in range(n):
        subprocess.run(["true"])

@pytest.mark.exec_none(phases=("call",))
def test_none(shell):
    subprocess.run(["uname"])

def test_free():
    subprocess.run(["uname"])
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_is_blamed_for_its_own(inner: Inner, seed: int) -> None:
    inner.suite(test_it=SUITE)
    run = inner.run(f"--randomly-seed={seed}", plugins=["pytest_randomly"])
    assert run.outcomes == {
        "test_budget[0]": ["passed"],
        "test_budget[1]": ["passed"],
        "test_budget[2]": ["failed"],
        "test_budget[3]": ["failed"],
        "test_none": ["failed"],
        "test_free": ["passed"],
    }
    assert list(run.outcomes) != [f"test_budget[{n}]" for n in range(4)] + ["test_none", "test_free"]
    assert run.properties("test_budget[3]")["execprobe_execs"] in (3, 4)  # with the module's fixture or not


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    run = inner.as_without("--execprobe-audit", "--randomly-seed=4", "-k", "free", plugins=["pytest_randomly"])
    assert run.ret == 0
