"""pytest-xdist: each worker records its tests, and the controller reports them."""

from __future__ import annotations

import os
import shutil

import pytest
from inner import Inner, Run, alike, needs

from pytest_execprobe.cli import main

pytestmark = needs("xdist")

PLUGINS = ("xdist.plugin",)

PLAIN = """
import subprocess, pytest

@pytest.fixture(scope="module")
def server():
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE)

class TestClass:
    @pytest.mark.parametrize("n", range(4))
    def test(self, n, server):
        for _ in range(n):
            subprocess.run(["true"])

def test_fails():
    subprocess.run(["true"])
    assert False

def test_skips():
    pytest.skip("so")

@pytest.mark.xfail
def test_expects():
    assert False
"""

#: What is not of this plugin's making; the marks in RULES are unknown without it.
SHOWN = {
    **{f"TestClass::test[{n}]": ["passed"] for n in range(4)},
    "test_expects": ["xfailed"],
    "test_fails": ["failed"],
    "test_skips": ["skipped"],
}

RULES = """
import subprocess, pytest

@pytest.fixture(scope="session")
def server():
    subprocess.run(["sleep", "0"])
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE)

@pytest.mark.parametrize("n", range(4))
@pytest.mark.exec_budget(1)
def test(n, server):
    for _ in range(n):
        subprocess.run(["true"])

@pytest.mark.exec_none
def test_teardown(request):
    request.addfinalizer(lambda: subprocess.run(["uname"]))

@pytest.mark.xfail
@pytest.mark.exec_none
def test_expected():
    subprocess.run(["true"])

@pytest.mark.exec_none
def test_both():
    subprocess.run(["true"])
    assert 1 == 2

def test_log(execprobe):
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]
"""

BROKEN = {
    "test[0]": ["passed"],
    "test[1]": ["passed"],
    "test[2]": ["failed"],
    "test[3]": ["failed"],
    "test_both": ["failed"],
    "test_expected": ["xfailed"],
    "test_log": ["passed"],
    "test_teardown": ["passed", "error"],
}


#: These differ in what a worker is given, and in nothing for the plugin; test_with_baselines.py has one of them.
MORE = [f"-n2 --dist={by}" for by in ("loadfile", "loadgroup", "worksteal")]
DISTRIBUTIONS = [
    *alike("-n2", "-n0", *(f"-n2 --dist={by}" for by in ("loadscope", "no"))),
    *(pytest.param(how, marks=pytest.mark.long) for how in ("-n1", *MORE)),
]


def in_order(run: Run) -> dict[str, list[str]]:
    return dict(sorted(run.outcomes.items()))


def test_outcomes_without_the_probe(inner: Inner) -> None:
    inner.suite(test_plain=PLAIN)
    run = inner.bare("-n2", plugins=PLUGINS)
    assert (run.outcomes, run.ret) == (SHOWN, pytest.ExitCode.TESTS_FAILED)


@pytest.mark.parametrize("how", DISTRIBUTIONS)
def test_outcomes_stay_and_rules_are_kept(inner: Inner, how: str) -> None:
    inner.suite(test_plain=PLAIN, test_it=RULES)
    run = inner.run(*how.split(), "--execprobe-budget=3", "--execprobe-audit", plugins=PLUGINS)
    assert in_order(run) == SHOWN | BROKEN
    assert "in 15 tests and around them, 0 lost" in run.summary()
    assert "test_plain.py::TestClass::test[3]: true 3" in run.summary()
    assert run.properties("test_fails") == {"execprobe_execs": 1, "execprobe_lost": 0}
    assert "exec budget exceeded: 3 execs, at most 1 allowed" in run.text("test[3]")
    assert "on test, test_it.py:9" in run.text("test[3]")
    assert run.properties("test[3]") == {"execprobe_execs": 3, "execprobe_lost": 0}
    both = run.report("test_both", "failed")
    assert "assert 1 == 2" in both.text
    assert "nothing may run, but true ran" in both.sections[0][1]
    assert "test_expected: nothing may run, but true ran" in run.summary()
    assert run.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.both_probes
def test_each_runs_all(inner: Inner) -> None:
    inner.suite(test_it=RULES)
    run = inner.run("--dist=each", "--tx=2*popen", "--execprobe-session-budget=30", plugins=PLUGINS)
    assert in_order(run) == {name: sorted(shown * 2, key=shown.index) for name, shown in BROKEN.items()} or {
        name: sorted(shown) for name, shown in in_order(run).items()
    } == {name: sorted(shown * 2) for name, shown in BROKEN.items()}
    assert "in 16 tests and around them, 0 lost" in run.summary()
    assert "test_it.py::test[3]: true 6" in run.summary()


@pytest.mark.both_probes(long=True)
def test_the_budget_of_the_run(inner: Inner) -> None:
    """Each worker keeps it, and all together break it."""
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.parametrize("n", range(6))
        def test(n):
            for _ in range(5):
                subprocess.run(["true"])
        """
    )
    # Where a worker asks for the platform's name, Python runs uname.
    run = inner.run("-n2", "--execprobe-session-budget=29", "--execprobe-ignore=uname", plugins=PLUGINS)
    assert run.outcomes["session budget"] == ["error"]
    assert "session budget exceeded: 30 execs, at most 29 allowed" in run.out
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run = inner.run("-n2", "--execprobe-session-budget=30", "--execprobe-ignore=uname", plugins=PLUGINS)
    assert "session budget" not in run.outcomes
    assert run.ret == 0


@pytest.mark.both_probes(long=True)
@pytest.mark.parametrize("option", alike("-x", "--maxfail=2"))
def test_maxfail(inner: Inner, option: str) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.parametrize("n", range(20))
        @pytest.mark.exec_none
        def test(n):
            subprocess.run(["true"])
        """
    )
    run = inner.run("-n2", option, plugins=PLUGINS)
    assert run.ret != 0
    shown = [category for of_test in run.outcomes.values() for category in of_test]
    assert 1 <= shown.count("failed") == len(shown) < 20
    assert "stopping after" in run.out


@pytest.mark.both_probes
def test_what_is_unknown_is_an_error(inner: Inner) -> None:
    """The helper of both workers is killed in the middle. Who needs one gets another, which again is one for both."""
    inner.suite(
        test_it="""
        import subprocess, pytest
        from lose import lose_helper

        @pytest.mark.xfail
        @pytest.mark.exec_none(phases=["call"])
        def test_loses(request):
            lose_helper(request.config)

        @pytest.mark.exec_budget(1)
        def test_next():
            subprocess.run(["true"])

        @pytest.mark.exec_budget(1)
        def test_breaks():
            subprocess.run(["true"])
            subprocess.run(["true"])
        """,
        test_other="def test_other(): pass",
    )
    run = inner.run("-n2", "--dist=loadfile", "--execprobe-session-budget=50", plugins=PLUGINS)
    outcomes = dict(run.outcomes)
    # What the other worker's test was doing when the helper went, and whether it had ended, is a matter of chance.
    assert outcomes.pop("test_other")
    assert set(outcomes.pop("outside of tests")) == {"error"}
    assert outcomes == {
        "test_loses": ["error"],
        "test_next": ["passed"],
        "test_breaks": ["failed"],
        "session budget": ["error"],
    }
    assert run.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.beside
def test_what_was_left_out_passes_no_gate(inner: Inner) -> None:
    """Workers tell of it."""
    passing = PLAIN.replace("assert False", "pass")
    inner.suite(test_it=passing, test_other="import subprocess\ndef test_other(): subprocess.run(['true'])\n")
    file, report = inner.path / "execs.toml", inner.path / "a.json"
    gate = ["gate", str(report), "--budget", str(file)]
    options = ("-n1", f"--execprobe-report={report}", "--execprobe-baseline=execs.toml")
    assert inner.run(*options, "--execprobe-update", plugins=PLUGINS).ret == 0
    assert main(gate) == 0
    for left_out in ("-k other", "--ignore=test_other.py"):  # it is not run, or not collected
        assert inner.run(*options, *left_out.split(maxsplit=1), plugins=PLUGINS).ret == 0, left_out
        assert main(gate) == 2, left_out
    broken = inner.path / "test_broken.py"
    broken.write_text("import nonsense")
    assert inner.run(*options, "--continue-on-collection-errors", plugins=PLUGINS).ret == 1
    assert main(gate) == 2
    broken.unlink()
    (inner.path / "test_other.py").unlink()
    assert inner.run(*options, plugins=PLUGINS).ret == 0
    assert main(gate) == 0, "it is gone, and not left out"


@pytest.mark.parametrize("option", ["--execprobe-audit", "--execprobe-baseline=execs.toml"])
@pytest.mark.beside
def test_names_that_are_no_text(inner: Inner, option: str) -> None:
    """Workers tell of programs, and of folders that have no tests."""
    folder = os.fsencode(inner.path) + b"/caf\xe9"
    os.mkdir(folder)
    shutil.copy("/bin/true", folder + b"/tool\xe9")
    inner.suite(test_it="import subprocess\ndef test_it(): subprocess.run([b'caf\\xe9/tool\\xe9'], check=True)\n")
    update = () if "audit" in option else ("--execprobe-update",)
    run = inner.run("-n1", option, *update, plugins=PLUGINS)
    assert (run.outcomes, run.ret) == ({"test_it": ["passed"]}, 0)
