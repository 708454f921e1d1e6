"""A pytest that something starts for tests of the run, here a conftest.py: what it has judged by the same rules is
taken over, and everything else is judged as if there were no such thing."""

from __future__ import annotations

import json
import shutil

import pytest
import runners
from inner import Inner

#: Runs each test in a pytest of its own, and believes its exit status.
RUNNER = """
import os, subprocess, sys
import pytest

OPTIONS = ["-p", "pytest_execprobe.plugin", "-p", "no:cacheprovider"]

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if "APART" in os.environ:
        return None
    done = subprocess.run([sys.executable, "-m", "pytest", *OPTIONS, item.nodeid], env={**os.environ, "APART": "1"})
    outcome = "passed" if done.returncode == 0 else "failed"
    for when in ("setup", "call", "teardown"):
        said = {"outcome": outcome if when == "call" else "passed", "longrepr": None, "when": when}
        item.ihook.pytest_runtest_logreport(report=pytest.TestReport(item.nodeid, item.location, {}, **said))
    return True
"""

UNAME = """
import subprocess, pytest

def test():
    subprocess.run(["uname"])
"""

NOT_RECORDED = "cannot tell whether its rules are kept: it was not recorded"


def test_one_verdict_one_summary_one_report(inner: Inner) -> None:
    inner.suite(conftest=RUNNER, test_it=UNAME)
    run = inner.run("--execprobe-deny=uname", "--execprobe-audit", "--execprobe-report=report.json")
    assert run.outcomes == {"test": ["failed"]}
    assert "in 1 test and around them, 0 lost" in run.summary()
    assert runners.of_tests(inner.path / "report.json") == {"test": {"uname": 1}}


def test_started_by_workers(inner: Inner) -> None:
    inner.suite(conftest=RUNNER, test_it=UNAME, test_other=UNAME.replace('"uname"', '"true"'))
    options = ("-n2", "--execprobe-deny=uname", "--execprobe-audit", "--execprobe-report=report.json")
    run = inner.run(*options, plugins=["xdist.plugin"])
    assert [report.nodeid for report in run.reports if report.category == "failed"] == ["test_it.py::test"]
    assert "in 2 tests and around them, 0 lost" in run.summary()
    assert "most by test    2  test_it.py::test: " in run.summary()
    document = json.loads((inner.path / "report.json").read_text())
    units = {unit["name"]: unit for unit in document["units"] if unit["kind"] == "test"}
    assert [(unit["outcome"], len(unit["records"])) for _, unit in sorted(units.items())] == [
        ("failed", 1),
        ("passed", 1),
    ]
    assert document["runs"][0]["unknown"] == []


def test_a_runner_that_makes_everything_pass(inner: Inner) -> None:
    inner.suite(conftest=RUNNER.replace('"failed"', '"passed"'), test_it=UNAME)
    run = inner.run("--execprobe-deny=uname")
    assert run.outcomes == {"test": ["passed", "error"]}
    assert "uname must not run, but it ran once (call phase)" in run.text("test", "error")
    assert run.ret == 1


def test_one_that_has_no_probe(inner: Inner) -> None:
    inner.suite(conftest=RUNNER.replace('"-p", "pytest_execprobe.plugin", ', ""), test_it=UNAME)
    run = inner.run("--execprobe-deny=uname")
    assert run.outcomes == {"test": ["passed", "error"]}
    assert NOT_RECORDED in run.text("test", "error")


def test_one_that_has_fewer_rules(inner: Inner) -> None:
    """It judges, but by rules that are not this run's: a mark is there in this process alone."""
    added = """
def pytest_collection_modifyitems(items):
    if "APART" not in os.environ:
        for item in items:
            item.add_marker(pytest.mark.exec_none)
"""
    inner.suite(conftest=RUNNER + added, test_it=UNAME)
    run = inner.run("--execprobe-audit")
    assert run.outcomes == {"test": ["passed", "error"]}
    assert "judged it by other rules than this run's" in run.text("test", "error")


def test_one_that_counts_less(inner: Inner) -> None:
    """By the same rules, but a hook that this run has not leaves out what they are about."""
    (inner.path / "blind.py").write_text("def pytest_execprobe_record(record, item): return False")
    inner.suite(conftest=RUNNER.replace('"no:cacheprovider"', '"no:cacheprovider", "-p", "blind"'), test_it=UNAME)
    run = inner.run("--execprobe-deny=uname")
    assert run.outcomes == {"test": ["passed", "error"]}
    assert "judged it by other rules than this run's" in run.text("test", "error")


def test_one_that_has_the_same_hooks(inner: Inner) -> None:
    hook = "\ndef pytest_execprobe_record(record, item): return False\n"
    inner.suite(conftest=RUNNER + hook, test_it=UNAME)
    assert inner.run("--execprobe-audit", "--execprobe-report=report.json").outcomes == {"test": ["passed"]}


def test_one_whose_probe_can_not_be_had(inner: Inner) -> None:
    """It checks nothing, which it says; this run can, and so does not pass what it was to check."""
    without = RUNNER.replace('"APART": "1"', '"APART": "1", "EXECPROBE_PYTHON": "/no/python"')
    inner.suite(conftest=without, test_it=UNAME.replace("def test", "@pytest.mark.exec_none\ndef test"))
    run = inner.run("--execprobe-backend=bpf")
    assert run.outcomes == {"test": ["passed", "error"]}
    assert NOT_RECORDED in run.text("test", "error")
    assert "/no/python is no program" in run.text("test", "error")


def test_an_interrupted_call_lowers_no_row(inner: Inner) -> None:
    """Whatever the runner takes it for."""
    source = """
    import os, subprocess, pytest

    def test_exits():
        subprocess.run(["true"])
        if os.path.exists("interrupt"):
            pytest.exit('so', returncode=0)
        subprocess.run(["uname"])

    def test_interrupts():
        subprocess.run(["true"])
        if os.path.exists("interrupt"):
            raise KeyboardInterrupt
        subprocess.run(["uname"])
    """
    inner.suite(conftest=RUNNER.replace('"failed"', '"passed"'), test_it=source)
    options = ("--execprobe-baseline=execs.toml", "--execprobe-update")
    assert inner.run(*options).ret == 0
    written = (inner.path / "execs.toml").read_text()
    assert written.count("uname = 1") == 2
    (inner.path / "interrupt").touch()
    run = inner.run(*options)
    assert run.outcomes == {name: ["passed", "error"] for name in ("test_exits", "test_interrupts")}
    assert (inner.path / "execs.toml").read_text() == written


def test_one_that_calls_no_test(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has kept all rules, and used no row."""
    runner = RUNNER.replace("item.nodeid]", "item.nodeid, *os.environ.get('MORE', '').split()]")
    inner.suite(conftest=runner, test_it=UNAME)
    options = ("--execprobe-baseline=execs.toml", "--execprobe-update")
    assert inner.run(*options).ret == 0
    written = (inner.path / "execs.toml").read_text()
    for option in ("--setup-only", "--setup-plan"):
        monkeypatch.setenv("MORE", option)
        run = inner.run(*options)
        assert run.outcomes == {"test": ["passed", "error"]}
        assert NOT_RECORDED in run.text("test", "error")
        assert (inner.path / "execs.toml").read_text() == written


AGAIN = """
import os, subprocess, sys
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if "APART" in os.environ or "here" in item.name:
        return None
    for number in "12":
        env = {**os.environ, "APART": number}
        done = subprocess.run([sys.executable, "-m", "pytest", "-p", "pytest_execprobe.plugin", item.nodeid], env=env)
        outcome = "passed" if done.returncode == 0 else "rerun" if number == "1" else "failed"
        for when in ("setup", "call", "teardown"):
            said = {"outcome": outcome if when == "call" else "passed", "longrepr": None, "when": when}
            item.ihook.pytest_runtest_logreport(report=pytest.TestReport(item.nodeid, item.location, {}, **said))
        if outcome == "passed":
            return True
    return True
"""


def test_tests_that_are_tried_again(inner: Inner) -> None:
    """The last try counts of those, and nothing less of others."""
    inner.suite(
        conftest=AGAIN,
        test_it="""
        import os, subprocess

        def test_here():
            subprocess.run(["uname"])

        def test_apart():
            subprocess.run(["true"])
            if os.environ["APART"] == "1":
                subprocess.run(["uname"])
                assert 0
        """,
    )
    options = ("--execprobe-baseline=execs.toml", "-p", "no:randomly")
    run = inner.run(*options, "--execprobe-update")
    assert "update again" not in run.out
    written = (inner.path / "execs.toml").read_text()
    assert '[tests."test_it.py::test_here"]\nuname = 1\n\n' in written
    assert '[tests."test_it.py::test_apart"]\ntrue = 1\n\n' in written
    run = inner.run(*options)
    assert (run.ret, run.outcomes["test_here"]) == (0, ["passed"])
    assert "no test is beyond it" in run.summary()
    assert "test_apart: beyond it in an earlier try; the last one counts" in run.summary()


ELSEWHERE = RUNNER.replace("item.nodeid], env", "str(item.path)], cwd='elsewhere', env")
TOOL = """
import os, subprocess, pytest

MARK
def test():
    subprocess.run([os.path.join(os.path.dirname(__file__), "bin", "tool")])
"""


@pytest.fixture
def with_tool(inner: Inner) -> Inner:
    (inner.path / "elsewhere").mkdir()
    (inner.path / "bin").mkdir()
    shutil.copy("/bin/true", inner.path / "bin" / "tool")
    (inner.path / "pytest.ini").write_text("[pytest]")
    return inner


def test_one_that_is_started_in_another_folder(with_tool: Inner) -> None:
    """Paths on the command line are those of the folder in which this run was started."""
    with_tool.suite(conftest=ELSEWHERE, test_it=TOOL.replace("MARK", ""))
    options = ("--execprobe-report=report.json", "--execprobe-audit")
    assert with_tool.run("--execprobe-deny=./bin/tool", *options).outcomes == {"test": ["failed"]}
    assert runners.of_tests(with_tool.path / "report.json") == {"test": {"tool": 1}}


def test_a_mark_with_a_path_that_is_another_one_there(with_tool: Inner) -> None:
    marks = {"path": '"./bin/tool"', "list": '["bin/tool"]', "subtree": '"subtree:bin/tool"'}
    files = {f"test_{name}": f"@pytest.mark.exec_deny({pattern})" for name, pattern in marks.items()}
    tests = {name: TOOL.replace("MARK", mark).replace("def test", f"def {name}") for name, mark in files.items()}
    with_tool.suite(conftest=ELSEWHERE, **tests)
    run = with_tool.run()
    assert run.outcomes == {name: ["passed", "error"] for name in tests}
    for name in tests:
        assert "judged it by other rules than this run's" in run.text(name, "error")


def test_one_that_is_killed_before_it_has_handed_over(inner: Inner) -> None:
    killed = """
import signal

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish():
    if "APART" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    inner.suite(conftest=RUNNER.replace("returncode == 0", "returncode == -9") + killed, test_it=UNAME)
    run = inner.run("--execprobe-deny=uname")
    assert run.outcomes == {"test": ["passed", "error"]}
    assert NOT_RECORDED in run.text("test", "error")


def test_what_it_runs_when_it_has_handed_over_is_the_runs_to_judge(inner: Inner) -> None:
    late = """
def pytest_unconfigure():
    if "APART" in os.environ:
        subprocess.run(["uname", "-s"])
"""
    inner.suite(conftest=RUNNER + late, test_it="def test(): pass")
    run = inner.run("--execprobe-deny=uname")
    assert run.outcomes == {"test": ["passed"], "outside of tests": ["error"]}
    assert "uname -s" in run.out


def test_a_pytest_that_a_test_starts_is_the_tests_own(inner: Inner) -> None:
    """Although it runs tests of this run's, by the same rules, and whatever the environment is."""
    inner.suite(
        test_other="""
        import subprocess

        def test_inside():
            subprocess.run(["uname"])
        """,
        test_it="""
        import os, subprocess, sys, pytest
        OPTIONS = ["-p", "pytest_execprobe.plugin", "-p", "no:cacheprovider"]
        BEFORE = dict(os.environ)

        @pytest.mark.parametrize("kept", [True, False])
        @pytest.mark.exec_allow("python*", "uname")
        @pytest.mark.exec_budget(2)
        def test_starts(kept, execprobe):
            env = {**os.environ, "PYTEST_CURRENT_TEST": ""} if kept else BEFORE
            assert "EXECPROBE_RUN" not in os.environ
            subprocess.run([sys.executable, "-m", "pytest", *OPTIONS, "test_other.py"], env=env)
            assert execprobe.count("uname") == 1

        @pytest.mark.exec_none
        def test_breaks():
            subprocess.run([sys.executable, "-m", "pytest", *OPTIONS, "test_other.py"])
        """,
    )
    run = inner.run("--execprobe-audit", "--execprobe-report=report.json", "test_it.py")
    assert run.outcomes == {
        "test_starts[True]": ["passed"],
        "test_starts[False]": ["passed"],
        "test_breaks": ["failed"],
    }
    assert "nothing may run, but python ran, uname ran" in run.text("test_breaks") or "uname" in run.text("test_breaks")
    counted = runners.of_tests(inner.path / "report.json")
    assert {name: programs["uname"] for name, programs in counted.items()} == dict.fromkeys(run.outcomes, 1)


def test_what_ends_after_it_does_not_go_on(inner: Inner) -> None:
    """This run sees that end, and is not over yet."""
    runner = RUNNER.replace("item.nodeid]", "item.nodeid, '-s'], stdout=subprocess.PIPE")  # until none holds it
    inner.suite(
        conftest=runner,
        test_it="""
        import os, subprocess

        def test():
            reading, _ = os.pipe()  # its other end is open for as long as this process
            # It closes nothing before it ends, and is seen to end before what it holds is closed.
            subprocess.Popen(["sh", "-c", "read line"], stdin=reading, start_new_session=True)
        """,
    )
    run = inner.run("--execprobe-audit")
    assert run.outcomes == {"test": ["passed"]}
    assert "recorded        2 execs in 1 test and around them, 0 lost" in run.summary()
    assert "still running" not in run.summary()


@pytest.mark.both_probes(long=True)
def test_what_this_run_has_stopped_alone_is_said(inner: Inner) -> None:
    """What is enforced for the whole suite is so for all processes: no mark of a test that one of them runs takes it
    back."""
    inner.suite(
        conftest=RUNNER,
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_deny(inherit=False)
        def test_may():
            assert subprocess.run(["uname"]).returncode == -9

        def test_breaks():
            subprocess.run(["uname"])
        """,
    )
    run = inner.run("--execprobe-deny=uname", "--execprobe-enforce")
    outside = {"outside of tests": ["error"]}
    assert run.outcomes == {"test_may": ["passed"], "test_breaks": ["failed"], **outside}
    said = "uname must not run, and was stopped before it ran (outside of tests)"
    assert said in run.text("outside of tests", "error")


def test_nothing_of_it_is_left(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(inner.path))
    inner.suite(conftest=RUNNER, test_it=UNAME)
    assert inner.run("--execprobe-audit").ret == 0
    assert not [*inner.path.glob("execprobe-*")]
