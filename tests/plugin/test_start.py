"""How a run was started is read before its tests can change it."""

from __future__ import annotations

import html
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_execprobe._util import originals
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.source import connect, launch

if TYPE_CHECKING:
    from conftest import Played

SUITE = """
import os, sys, time
import pytest
from played import breaks, runs

def test_changes_everything(execprobe):
    sys.argv[1:] = ["changed"]
    sys.argv = ["another", "program"]
    os.environ.pop("GITHUB_ACTIONS")
    os.environ.update(PATH="/changed", EXECPROBE_PYTHON="/changed/python", TMPDIR="/changed", HOME="/changed")
    os.chdir("/")
    time.gmtime = None
    runs("git")
    breaks("it died")
    with pytest.raises(Exception):
        execprobe.records

def test_after_it_gets_a_new_helper(execprobe):
    runs("curl")
"""


def test_a_test_does_not_change_how_the_run_was_started(
    pytester: pytest.Pytester, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest", "-x", "it's"])
    monkeypatch.setattr(time, "gmtime", time.gmtime)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for name in ("PATH", "HOME", "TMPDIR", "EXECPROBE_PYTHON"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    path, here = os.environ["PATH"], Path.cwd()
    pytester.makepyfile(test_it=SUITE)
    result = pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", "--execprobe-report=a.json", "--execprobe-report=a.html", "--execprobe-deny=curl"
    )
    assert sys.argv == ["another", "program"]
    run = json.loads((here / "a.json").read_text())["runs"][0]
    assert run["command"] == ["/usr/bin/pytest", "-x", "it's"]
    assert run["started"]
    page = html.unescape((here / "a.html").read_text())
    assert "<title>Execs of pytest -x 'it'\"'\"'s'</title>" in page
    result.stdout.fnmatch_lines(["::error *file=test_it.py*"])
    first, second = (settings.environment for settings in played.settings)
    assert first == second
    assert second is not None
    assert (second["PATH"], second["EXECPROBE_PYTHON"]) == (path, "")


def test_a_helper_is_looked_for_in_the_environment_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("python-x", "sudo"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": str(tmp_path), launch.PYTHON_VARIABLE: "python-x"}
    monkeypatch.setenv("PATH", "/changed")
    monkeypatch.setenv(launch.PYTHON_VARIABLE, "/changed/python")
    monkeypatch.setattr(originals, "geteuid", lambda: 1000)
    monkeypatch.setattr(launch, "_effective_capabilities", lambda: 0)
    assert launch.interpreters(None, "", environment) == [str(tmp_path / "python-x")]
    assert launch.privilege_route("pytest", environment=environment) == [str(tmp_path / "sudo"), "-n", "--"]
    assert launch.helper_environment(environment)["PATH"] == str(tmp_path)
    assert launch.helper_environment()["PATH"] == "/changed"


@pytest.mark.parametrize("value", ["./bin/python", "python3.11"])
def test_an_interpreter_is_that_of_the_folder_where_it_was_named(
    pytester: pytest.Pytester, played: Played, value: str
) -> None:
    here = Path.cwd()
    pytester.makepyfile(test_it="import os\ndef test_a(execprobe): pass\n", conftest="import os\nos.chdir('/')\n")
    pytester.runpytest_inprocess(f"--execprobe-python={value}")
    os.chdir(here)
    pytester.makeini(f"[pytest]\nexecprobe_python = {value}\n")
    pytester.runpytest_inprocess()
    expected = str(here / value) if "/" in value else value
    assert [settings.python for settings in played.settings] == [expected] * 2


@pytest.mark.exec_budget(1)
def test_a_helper_is_started_in_the_environment_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "PATH is $PATH"\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(connect, "privilege_route", lambda *_, **__: [])
    settings = connect.HelperSettings(python=str(python), backend="bpf", environment={"PATH": "/of/the/start"})
    with pytest.raises(ProbeUnavailable, match=r"the helper did not start \(PATH is /of/the/start\)"):
        connect.start_helper(settings)


# ---- what is imported for it, and when ----

#: A plugin: writes down which of the package's modules there are when a helper is started, which then fails.
WATCH = """
import sys
from pathlib import Path
from pytest_execprobe.source import connect, launch

def start(*_):
    Path("there").write_text("\\n".join(name for name in sys.modules if name.startswith("pytest_execprobe.")))
    raise OSError(2, "No such file", "python")

connect.privilege_route = lambda *_, **__: []
launch.Launcher.start = start
"""


@pytest.mark.exec_budget(1)
def test_a_helper_is_started_before_all_is_imported_that_reads_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(watch=WATCH, test_it="def test(execprobe): pass")
    result = pytester.runpytest_subprocess(
        "-p", "watch", "-p", "pytest_execprobe.plugin", "--execprobe=require", "--execprobe-backend=bpf"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    there = set((pytester.path / "there").read_text().splitlines())
    assert "pytest_execprobe.source.launch" in there
    late = ("source.client", "source.decode", "session.early", "timeline.timeline", "report.model")
    assert not there & {f"pytest_execprobe.{name}" for name in late}


@pytest.mark.exec_budget(2)
@pytest.mark.parametrize("wanted", [False, True])
def test_what_makes_reports_is_imported_where_there_is_to_be_one_and_then_before_tests(
    pytester: pytest.Pytester, wanted: bool
) -> None:
    """A test may have replaced what the import of a module needs."""
    pytester.makepyfile(
        f"""
        import sys
        import pytest

        @pytest.mark.exec_none
        def test():
            for name in ("assembly", "model", "read"):
                assert (f"pytest_execprobe.report.{{name}}" in sys.modules) is {wanted}
        """
    )
    no_probe = ("--execprobe=auto", "--execprobe-backend=bpf", "--execprobe-python=/bin/false")
    report = ("--execprobe-report=report.json",) if wanted else ()
    result = pytester.runpytest_subprocess("-p", "pytest_execprobe.plugin", *no_probe, *report)
    result.assert_outcomes(passed=1)


@pytest.mark.exec_budget(1)
def test_pytest_rewrites_no_assertions_of_the_plugin(pytester: pytest.Pytester) -> None:
    """Where it is installed pytest would."""
    pytester.makepyfile(
        rewritten="import pytest\npytest.register_assert_rewrite('pytest_execprobe')\n",
        test_it="""
        import sys

        def test():
            own = {name: type(module.__loader__).__name__ for name, module in sys.modules.items()
                   if name.startswith("pytest_execprobe.")}
            assert own.pop("pytest_execprobe.plugin") == "AssertionRewritingHook"
            for early in ("_util", "_util.imports", "hookspecs"):
                own.pop("pytest_execprobe." + early)
            assert set(own.values()) == {"SourceFileLoader"}
        """,
    )
    options = ("-p", "rewritten", "-p", "pytest_execprobe.plugin", "-p", "no:cacheprovider")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)


@pytest.mark.exec_budget(8)
@pytest.mark.parametrize(
    ("conftest", "options"),
    [
        ("import look\n\nlook.check()\n", ("-p", "pytest_execprobe.plugin")),
        ("import look\n\nlook.check()\n", ("-p", "pytest_execprobe.plugin", "--execprobe-audit")),
        ('pytest_plugins = ["pytest_execprobe.plugin"]', ()),
    ],
    ids=["unused", "audit", "loaded by a conftest"],
)
def test_no_import_of_conftests_and_tests_passes_by_the_plugin(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, conftest: str, options: tuple[str, ...]
) -> None:
    """A finder costs each of them a microsecond."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(
        look="""
        import sys

        def check():
            own = [one for one in sys.meta_path if getattr(one, "__module__", "").startswith("pytest_execprobe")]
            assert own == []
        """,
        test_it="import look\n\nlook.check()\n\ndef test(): look.check()\n",
    )
    pytester.makeconftest(conftest)
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)
