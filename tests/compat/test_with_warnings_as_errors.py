"""-W error, and Python's development mode, in which what is left open warns: nothing of the plugin's does."""

from __future__ import annotations

from inner import Inner, needs

SUITE = """
import os, subprocess, pytest

@pytest.fixture(scope="session")
def server():
    yield subprocess.run(["true"])
    subprocess.run(["true"])

def test_passes(server):
    subprocess.run(["true"])

def test_fails():
    assert False

@pytest.mark.skip
def test_skipped():
    pass

@pytest.mark.filterwarnings("ignore:.*multi-threaded")
def test_forks():
    child = os.fork()
    if child == 0:
        os.execvp("true", ["true"])
    os.waitpid(child, 0)
"""

RULES = """
@pytest.mark.exec_none
def test_breaks(server):
    subprocess.run(["true"])

@pytest.mark.exec_budget(2)
def test_keeps(execprobe):
    with execprobe.watch(at_most=1):
        subprocess.run(["true"])

@pytest.mark.filterwarnings("ignore:.*multi-threaded")
def test_uses_it_in_a_child(execprobe):
    child = os.fork()
    if child == 0:
        subprocess.run(["true"])
        os._exit(len(execprobe.programs))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    execprobe.assert_count(1)

@pytest.mark.xfail
@pytest.mark.exec_none(phases=["call"])
def test_loses(request):
    from lose import lose_helper
    lose_helper(request.config)

@pytest.mark.exec_none
def test_after_that():
    pass
"""

STRICT = ("-X", "dev", "-W", "error", "-bb", "-m", "pytest")


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    run = inner.as_without("-W", "error", "--strict-markers", "--strict-config", "--execprobe-audit")
    assert run.ret == 1
    assert "warning" not in run.out


def test_rules(inner: Inner) -> None:
    inner.suite(test_it=SUITE + RULES)
    run = inner.run("-W", "error", "--strict-markers", "--execprobe-audit", before=STRICT)
    assert run.outcomes == {
        "test_passes": ["passed"],
        "test_fails": ["failed"],
        "test_skipped": ["skipped"],
        "test_forks": ["passed"],
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_uses_it_in_a_child": ["passed"],
        "test_loses": ["error"],
        "test_after_that": ["passed"],
        "outside of tests": ["error"],
    }
    assert "Warning" not in run.out + run.err


@needs("xdist")
def test_in_workers(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    run = inner.as_without("-W", "error", "-n1", "--execprobe-session-budget=9", plugins=["xdist.plugin"])
    assert "Warning" not in run.out + run.err
