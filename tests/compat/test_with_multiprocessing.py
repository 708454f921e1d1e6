"""multiprocessing: what worker processes execute is the test's, however they were started."""

from __future__ import annotations

import pytest
from inner import Inner

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


@pytest.mark.parametrize("method", METHODS)
def test_outcomes_stay(inner: Inner, method: str) -> None:
    inner.suite(test_it=(SUITE + TESTS).replace("METHOD", method))
    run = inner.as_without("--execprobe-audit")
    for line in run.summary().splitlines():
        if "test_it.py::test_pool" in line:
            assert "true 4" in line
            break
    else:
        pytest.fail(run.summary())


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


@pytest.mark.parametrize("method", METHODS)
def test_rules(inner: Inner, method: str) -> None:
    inner.suite(test_it=(SUITE + RULES).replace("METHOD", method))
    run = inner.run()
    assert run.outcomes == {
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_deny": ["failed"],
        "test_log": ["passed"],
    }
    assert "exec budget exceeded: true ran " in run.text("test_breaks")
    assert "uname must not run, but it ran once" in run.text("test_deny")


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_that_outlives_its_test(inner: Inner, method: str) -> None:
    """What its workers execute counts for the test that runs."""
    inner.suite(
        test_it=(
            SUITE
            + """
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
"""
        ).replace("METHOD", method)
    )
    run = inner.run()
    assert run.outcomes == {
        "test_begins": ["passed"],
        "test_keeps": ["passed"],
        "test_breaks": ["failed"],
        "test_ends": ["passed"],
    }
    assert "exec budget exceeded: 2 execs, at most 1 allowed" in run.text("test_breaks")
    assert "(begun by test_it.py::test_begins)" in run.text("test_breaks")


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
