"""anyio's pytest plugin: its tests and fixtures run in a task of its own runner."""

from __future__ import annotations

from inner import LOST, Inner, needs

pytestmark = needs("anyio")

PLUGINS = ("anyio.pytest_plugin",)

SUITE = """
import anyio, pytest

pytestmark = pytest.mark.anyio

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="module")
async def server(anyio_backend):
    await anyio.run_process(["true"])
    async with await anyio.open_process(["cat"]) as process:
        yield process
        await process.stdin.aclose()

async def test_passes(server):
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.run_process, ["true"])
        group.start_soon(anyio.run_process, ["true"])

async def test_fails(server):
    await anyio.run_process(["true"])
    assert False
"""

RULES = """
@pytest.mark.exec_budget(1)
async def test_breaks(server):
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.run_process, ["true"])
        group.start_soon(anyio.run_process, ["true"])

@pytest.mark.exec_budget(1)
async def test_keeps(server):
    await anyio.run_process(["true"])

@pytest.mark.xfail
@pytest.mark.exec_none(phases=["call"])
async def test_unknown(request):
    from lose import lose_helper
    lose_helper(request.config)
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    run = inner.as_without("--execprobe-budget=2", "--execprobe-audit", plugins=PLUGINS)
    assert "test_it.py::test_passes: true 2" in run.summary()
    assert "fixture 'server' (module): cat 1, true 1" in run.summary()


def test_rules(inner: Inner) -> None:
    inner.suite(test_it=SUITE + RULES)
    run = inner.run("-k", "breaks or keeps or unknown", plugins=PLUGINS)
    assert run.outcomes == {"test_breaks": ["failed"], "test_keeps": ["passed"], "test_unknown": ["error"], **LOST}
    assert "exec budget exceeded: 2 execs, at most 1 allowed" in run.text("test_breaks")


def test_the_module_s_rule_judges_its_fixture(inner: Inner) -> None:
    inner.suite(test_it=SUITE.replace("pytest.mark.anyio\n", "[pytest.mark.anyio, pytest.mark.exec_deny('cat')]\n"))
    run = inner.run("-k", "passes", plugins=PLUGINS)
    assert run.outcomes == {"test_passes": ["error"]}
    assert "cat must not run, but it ran once (set-up of fixture 'server' (module))" in run.text("test_passes", "error")
