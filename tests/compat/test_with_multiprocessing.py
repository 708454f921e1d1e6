"""multiprocessing: what worker processes execute is the test's, however they were started."""

from __future__ import annotations

import json

import pytest
from inner import Inner, Run

pytestmark = pytest.mark.both_probes

SUITE = """
import multiprocessing, subprocess, sys, pytest
from concurrent.futures import ProcessPoolExecutor

def work(program):
    return subprocess.run([program], stdout=subprocess.DEVNULL).returncode

CONTEXT = multiprocessing.get_context("METHOD")
"""

TESTS = """
def test_process():
    process = CONTEXT.Process(target=work, args=["true"])
    process.start()
    process.join()
    assert process.exitcode == 0

def test_pool():
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
        assert list(pool.map(work, ["true"] * 4)) == [0] * 4

def test_fails():
    with CONTEXT.Pool(1) as pool:
        assert pool.map(work, ["false"]) == [0]
"""

POOL_OF_A_SESSION = """
@pytest.fixture(scope="session")
def pool():
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        yield pool

@pytest.fixture
def uses_it_at_the_end(pool):
    yield
    assert list(pool.map(work, ["true"])) == [0]

def test_begins_a_worker(pool):
    assert list(pool.map(work, ["true"])) == [0]

def test_uses_it(pool, uses_it_at_the_end):
    assert list(pool.map(work, ["true"])) == [0]

@pytest.fixture(scope="session")
def server():
    process = subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.communicate()

@pytest.mark.exec_none(phases=("setup",))
def test_asks_a_server_in_its_call(server):
    server.stdin.write("uname -s; ls -d /\\n")
    server.stdin.flush()
    assert server.stdout.readline()
    assert server.stdout.readline()
"""


def test_what_others_began_is_charged_to_the_phase_in_which_it_runs_alone(inner: Inner) -> None:
    """With one exec in the call and one in the teardown, by a worker that another test began in its call."""
    inner.suite(test_it=(SUITE + POOL_OF_A_SESSION).replace("METHOD", "fork"))
    run = inner.run("--execprobe-budget=1", "-k", "worker or uses_it")
    assert run.outcomes == {"test_begins_a_worker": ["passed"], "test_uses_it": ["passed"]}, run


def test_what_a_fixture_began_is_no_work_of_a_tests_own_set_up(inner: Inner) -> None:
    inner.suite(test_it=(SUITE + POOL_OF_A_SESSION).replace("METHOD", "fork"))
    run = inner.run("-k", "server")
    assert run.outcomes == {"test_asks_a_server_in_its_call": ["passed"]}, run


METHODS = ["fork", "forkserver", "spawn"]


def by_each_method(inner: Inner, tests: str) -> None:
    inner.suite(**{f"test_{method}": (SUITE + tests).replace("METHOD", method) for method in METHODS})


def each(*categories: str) -> list[str]:
    """How a test is shown that is there for each method."""
    return [*categories] * len(METHODS)


def texts(run: Run, name: str) -> list[str]:
    """The failures of a test that is there for each method."""
    found = [report.text for report in run.reports if report.nodeid.endswith(f"::{name}") and report.category]
    assert len(found) == len(METHODS)
    return found


def test_outcomes_stay(inner: Inner) -> None:
    by_each_method(inner, TESTS)
    run = inner.as_without("--execprobe-audit", "--execprobe-report=a.json")
    units = json.loads((inner.path / "a.json").read_text())["units"]
    (commands,) = [one["commands"] for one in json.loads((inner.path / "a.json").read_text())["runs"]]
    pools = [unit for unit in units if unit["name"].endswith("::test_pool")]
    programs = [[commands[record["command"]]["program"] for record in unit["records"]] for unit in pools]
    assert [those.count("true") for those in programs] == [4, 4, 4], run.summary()


RULES = """
@pytest.mark.exec_budget(per_program={"true": 1})
def test_breaks():
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        assert list(pool.map(work, ["true"] * 2)) == [0] * 2

@pytest.mark.exec_budget(per_program={"true": 2})
@pytest.mark.exec_allow("true", "python*")
def test_keeps():
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        assert list(pool.map(work, ["true"] * 2)) == [0] * 2

@pytest.mark.exec_deny("uname")
def test_deny():
    process = CONTEXT.Process(target=work, args=["uname"])
    process.start()
    process.join()

def test_log(execprobe):
    with CONTEXT.Pool(1) as pool:
        pool.map(work, ["true", "uname"])
    execprobe.assert_order("true", "uname")
    execprobe.assert_count(1, "true")
    execprobe.assert_only_ran("true", "uname", "python*")
"""


def test_rules(inner: Inner) -> None:
    by_each_method(inner, RULES)
    run = inner.run()
    assert run.outcomes == {
        "test_breaks": each("failed"),
        "test_keeps": each("passed"),
        "test_deny": each("failed"),
        "test_log": each("passed"),
    }
    assert all("exec budget exceeded: true ran " in text for text in texts(run, "test_breaks"))
    assert all("uname must not run, but it ran once" in text for text in texts(run, "test_deny"))


def test_a_pool_that_outlives_its_test(inner: Inner) -> None:
    """What its workers execute counts for the test that runs."""
    by_each_method(
        inner,
        """
@pytest.mark.exec_deny("uname")
def test_begins():
    test_begins.pool = ProcessPoolExecutor(1, mp_context=CONTEXT)
    test_begins.pool.submit(work, "true").result()

@pytest.mark.exec_budget(1)
def test_keeps():
    test_begins.pool.submit(work, "uname").result()

@pytest.mark.exec_budget(1)
def test_breaks():
    list(test_begins.pool.map(work, ["uname"] * 2))

def test_ends():
    test_begins.pool.shutdown()
""",
    )
    run = inner.run()
    assert run.outcomes == {
        "test_begins": each("passed"),
        "test_keeps": each("passed"),
        "test_breaks": each("failed"),
        "test_ends": each("passed"),
    }
    for method, text in zip(METHODS, texts(run, "test_breaks"), strict=True):
        assert "exec budget exceeded: 2 execs, at most 1 allowed" in text
        assert f"(begun by test_{method}.py::test_begins)" in text


def test_a_forked_worker_that_uses_the_fixture(inner: Inner) -> None:
    inner.suite(
        test_it=SUITE.replace("METHOD", "fork")
        + """
def child(execprobe, pipe):
    subprocess.run(["true"])
    try:
        pipe.send(execprobe.programs)
    except Exception as error:
        pipe.send(repr(error))

def test_both(execprobe):
    subprocess.run(["uname"])
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=child, args=[execprobe, theirs])
    process.start()
    assert ours.recv() == ["true"]
    process.join()
    assert execprobe.programs == ["uname", "true"]

@pytest.mark.exec_budget(0)
def test_next():
    pass
"""
    )
    run = inner.run()
    assert run.outcomes == {"test_both": ["passed"], "test_next": ["passed"]}


def test_what_is_unknown_is_an_error(inner: Inner) -> None:
    """A worker takes the helper away."""
    inner.suite(
        test_it=SUITE.replace("METHOD", "fork")
        + """
def lose(pid):
    import os, signal
    os.kill(pid, signal.SIGKILL)

@pytest.mark.xfail
@pytest.mark.exec_deny("uname", phases=["call"])
def test_loses(request):
    armed = request.config.pluginmanager.get_plugin("execprobe-armed")
    process = CONTEXT.Process(target=lose, args=[armed.recorder.description["pid"]])
    process.start()
    process.join()
"""
    )
    run = inner.run()
    assert run.outcomes["test_loses"] == ["error"]
    assert run.ret == pytest.ExitCode.TESTS_FAILED
