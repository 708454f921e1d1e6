"""pytest-asyncio: coroutines, and what tasks start that run at the same time."""

from __future__ import annotations

import pytest
from inner import LOST, Inner, needs

pytestmark = [needs("pytest_asyncio"), pytest.mark.both_probes]

PLUGINS = ("pytest_asyncio.plugin",)

PLAIN = """
import asyncio, pytest, pytest_asyncio

async def run(*argv):
    process = await asyncio.create_subprocess_exec(*argv)
    await process.wait()

@pytest_asyncio.fixture
async def fixture():
    await run("true")
    yield
    await run("true")

@pytest.mark.asyncio
async def test_passes(fixture):
    await asyncio.gather(run("true"), run("true"))

@pytest.mark.asyncio
async def test_fails(fixture):
    await run("true")
    assert False

@pytest.mark.asyncio
async def test_skips():
    pytest.skip("so")

@pytest.mark.xfail
@pytest.mark.asyncio
async def test_expected():
    assert False
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--execprobe-budget=2", "--execprobe-audit", plugins=PLUGINS)
    assert "test_it.py::test_passes: true 4" in run.summary()
    assert "test_it.py::test_fails: true 3" in run.summary()


def test_rules(inner: Inner) -> None:
    inner.suite(
        test_it=PLAIN
        + """
@pytest.mark.asyncio
@pytest.mark.exec_budget(2)
async def test_breaks(fixture):
    await asyncio.gather(*[run("true") for _ in range(3)])

@pytest.mark.asyncio
@pytest.mark.exec_budget(3)
async def test_keeps(fixture):
    await asyncio.gather(*[run("true") for _ in range(3)])

@pytest.mark.asyncio
@pytest.mark.exec_none
async def test_fixture(fixture):
    pass

@pytest.mark.asyncio
async def test_log(execprobe):
    await asyncio.gather(run("true"), run("uname"))
    assert execprobe.counts == {"true": 1, "uname": 1}

@pytest.mark.asyncio
@pytest.mark.exec_none(phases=["call"])
@pytest.mark.xfail
async def test_unknown(request):
    from lose import lose_helper
    lose_helper(request.config)
"""
    )
    run = inner.run("-k", "breaks or keeps or test_fixture or log or unknown", plugins=PLUGINS)
    assert run.outcomes == {
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_fixture": ["error", "error"],
        "test_log": ["passed"],
        "test_unknown": ["error"],
        **LOST,
    }
    assert "exec budget exceeded: 3 execs, at most 2 allowed" in run.text("test_breaks")
    setup, teardown = (r.text for r in run.reports if r.nodeid.endswith("test_fixture") and r.category)
    assert "nothing may run, but true ran (setup phase)" in setup
    assert "nothing may run, but true ran (teardown phase)" in teardown
