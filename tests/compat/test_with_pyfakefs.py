"""pyfakefs: a test that uses ``fs`` has a file system of its own, in all modules that are loaded. The probe has not."""

from __future__ import annotations

import json

import pytest
from inner import LOST, Inner, needs

pytestmark = needs("pyfakefs")

PLUGINS = ("pyfakefs.pytest_plugin",)

RUN = """
import os, posix, subprocess, pytest
from lose import lose_helper

waitpid, spawn = (lambda *args: posix.waitpid(*args)), (lambda *args: posix.posix_spawn(*args))

def run(program):
    waitpid(spawn(f"/bin/{program}", [program], {}), 0)
"""

PLAIN = (
    RUN
    + """
def test_passes(fs):
    fs.create_file("/made")
    assert os.path.exists("/made") and not os.path.exists("/bin/true")
    run("true")

def test_fails(fs):
    run("true")
    assert os.path.exists("/bin/true")

def test_fork(fs):
    child = os.fork()
    if child == 0:
        run("uname")
        os._exit(0)
    waitpid(child, 0)

def test_without():
    run("true")
    assert os.path.exists("/bin/true")
"""
)


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--execprobe-allow=true", "--execprobe-allow=uname", "--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes["test_passes"] == ["passed"]
    assert run.outcomes["test_fails"] == ["failed"]
    assert "test_it.py::test_passes: true 1" in run.summary()
    assert "test_it.py::test_fork: uname 1" in run.summary()


RULES = (
    RUN
    + """
@pytest.mark.exec_deny("/bin/uname")
def test_breaks(fs):
    run("uname")

@pytest.mark.exec_allow("/bin/true", "/usr/bin/true")
def test_keeps(fs):
    run("true")

def test_reads(fs, execprobe):
    run("true")
    assert execprobe.programs == ["true"]
    execprobe.assert_ran("/bin/true")
    execprobe.wait_for("true")

def test_adds_a_mark(fs, request):
    run("true")
    request.node.add_marker(pytest.mark.exec_budget(0))

@pytest.mark.xfail
@pytest.mark.exec_none(phases=["call"])
def test_unknown(fs, request):
    lose_helper(request.config)
"""
)


def test_rules(inner: Inner) -> None:
    inner.suite(test_it=RULES)
    run = inner.run(plugins=PLUGINS)
    assert run.outcomes == {
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_reads": ["passed"],
        "test_adds_a_mark": ["failed"],
        "test_unknown": ["error"],
        **LOST,
    }
    assert "uname must not run, but it ran once" in run.text("test_breaks")
    assert "test_it.py:" in run.text("test_adds_a_mark")


def test_armed_in_the_middle(inner: Inner) -> None:
    """What is imported while a test fakes the file system, pyfakefs takes away at the test's end."""
    inner.suite(
        test_it=RUN
        + """
def test_late(fs, request):
    execprobe = request.getfixturevalue("execprobe")
    with execprobe.watch() as log:
        run("true")
    assert log.programs == ["true"]

def test_next(request):
    import pytest_execprobe

    execprobe = request.getfixturevalue("execprobe")
    assert isinstance(execprobe, pytest_execprobe.ExecProbe)
    run("uname")
    assert execprobe.count("uname") == 1
    lose_helper(request.config)
    with pytest.raises(pytest_execprobe.IncompleteLogError):
        execprobe.assert_not_ran("git")

def test_again(fs, request):  # with a new helper
    execprobe = request.getfixturevalue("execprobe")
    with execprobe.watch() as log:
        run("true")
    assert log.programs == ["true"]
"""
    )
    run = inner.run(plugins=PLUGINS)
    assert run.outcomes == {"test_late": ["passed"], "test_next": ["passed"], "test_again": ["passed"]}


@pytest.mark.parametrize("scope", ["fs_session", "fs_module"])
def test_reports_and_baselines_are_written_to_the_real_one(inner: Inner, scope: str) -> None:
    inner.suite(
        test_it=RUN
        + f"""
def test_it({scope}):
    run("true")
    assert not os.path.exists("/bin/true")
"""
    )
    reports = [f"--execprobe-report=out/report.{ending}" for ending in ("json", "html", "md", "sarif", "trace.json")]
    baseline = ("--execprobe-baseline=execs.toml", "--execprobe-update")
    run = inner.run(*reports, *baseline, plugins=PLUGINS)
    assert (run.outcomes, run.ret) == ({"test_it": ["passed"]}, 0)
    assert json.loads((inner.path / "out/report.json").read_text())
    assert {path.name for path in (inner.path / "out").iterdir()} == {
        "report.json",
        "report.html",
        "report.md",
        "report.sarif",
        "report.trace.json",
    }
    assert "true = 1" in (inner.path / "execs.toml").read_text()
    assert inner.run(baseline[0], plugins=PLUGINS).ret == 0
