"""Rows and outcomes: no row is lost by a test that did not run as it should, and a verdict offers only what helps."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from pytest_execprobe.cli import main

if TYPE_CHECKING:
    from conftest import Played

Run = Callable[..., pytest.RunResult]
UPDATE = "--execprobe-update"
ROWS = '\n[tests."test_it.py::test_a"]\ngit = 2\nsh = 1\n'

#: What pytest-rerunfailures does, in little: a test that fails is tried again at once, twice at most.
RERUNS = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in (2, 1, 0):
        item._initrequest()
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            again = report.failed and left
            if again:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
            if again:
                break
        else:
            break
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""

#: What pytest-retry does: in the report of the call, which is logged twice, under an outcome of its own at first.
RETRIES = """
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    for _ in range(2):
        if call.when != "call" or call.excinfo is None:
            break
        other = pytest.Class.from_parent(item.session, name="other")
        item.ihook.pytest_runtest_teardown(item=item, nextitem=other)
        if report.outcome == "failed":
            report.outcome = "retried"
            item.ihook.pytest_runtest_logreport(report=report)
            report.outcome = "failed"
        item._initrequest()
        item.ihook.pytest_runtest_setup(item=item)
        call = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), when="call")
        new = pytest.TestReport.from_item_and_call(item, call)
        report.outcome, report.longrepr = new.outcome, new.longrepr
    return report
"""

#: What flaky does: nothing is said of a call that is tried again.
UNSAID = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in (2, 1, 0):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = reports[1].failed and left
        for report in reports:
            if not (again and report.when == "call"):
                item.ihook.pytest_runtest_logreport(report=report)
        if not again:
            break
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""
#: Or nothing at all.
SILENT = UNSAID.replace('report.when == "call"', "True")
REPORTED = (RERUNS, UNSAID)  # what the rules found in a try that has no report of its own is not told
AGAIN = {"reruns": RERUNS, "retries": RETRIES, "unsaid": UNSAID, "silent": SILENT}


# Which plugin it is is no matter of pytest's version.
@pytest.fixture(
    params=[pytest.param(way, id=id, marks=[pytest.mark.beside] * (id != "reruns")) for id, way in AGAIN.items()]
)
def again(request: pytest.FixtureRequest) -> str:
    """A plugin that tries tests again."""
    return str(request.param)


@pytest.fixture
def run(pytester: pytest.Pytester, played: Played, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ARG001
    """Runs a suite against execs.toml."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*options: str, source: str | None = None, rows: str | None = None, conftest: str = "") -> pytest.RunResult:
        if source is not None:
            pytester.makepyfile(test_it=f"import pytest, unittest\nfrom played import runs\n{dedent(source)}")
            pytester.makeconftest(conftest)
        if rows is not None:
            Path("execs.toml").write_text("version = 1\n" + rows)
        return pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", "--execprobe-baseline=execs.toml", *options, no_reraise_ctrlc=True
        )

    return run


def rows() -> str:
    text = Path("execs.toml").read_text().partition("version = 1\n")[2]
    return text.replace("\n[fixtures]\n", "").replace("\n[around]\n", "")


# ---- rows are lowered and removed by what ran as it should ----

LESS = {
    "not to run": "@pytest.mark.xfail(run=False)\ndef test_a(): runs('git')\n",
    "xfail in the call": "def test_a():\n    pytest.xfail('so')\n",
    "xfail in a fixture": "@pytest.fixture\ndef f(): pytest.xfail('so')\ndef test_a(f): pass\n",
    "xfailed": "@pytest.mark.xfail\ndef test_a():\n    assert 0\n",
    "xpassed": "@pytest.mark.xfail\ndef test_a(): runs('git')\n",
    "xpassed, strictly": "@pytest.mark.xfail(strict=True)\ndef test_a(): runs('git')\n",
    "skip": "@pytest.mark.skip\ndef test_a(): pass\n",
    "skip in the call": "def test_a():\n    runs('git')\n    pytest.skip('so')\n",
    "skip in a fixture": "@pytest.fixture\ndef f(): pytest.skip('so')\ndef test_a(f): pass\n",
    "skip in a teardown": "@pytest.fixture\ndef f():\n    yield\n    pytest.skip('so')\ndef test_a(f): pass\n",
    "fails": "def test_a():\n    runs('git')\n    assert 0\n",
    "error in a fixture": "@pytest.fixture\ndef f(): assert 0\ndef test_a(f): pass\n",
    "error in a teardown": "@pytest.fixture\ndef f():\n    yield\n    assert 0\ndef test_a(f): pass\n",
    "interrupted": "def test_a():\n    raise KeyboardInterrupt\n",
    "exit": "def test_a():\n    pytest.exit('so')\n",
    "exit 0": "def test_a():\n    pytest.exit('so', returncode=0)\n",
    "exit 0 in a fixture": "@pytest.fixture\ndef f(): pytest.exit('so', returncode=0)\ndef test_a(f): pass\n",
    "a lost record": "def test_a(): runs('git', lost=True)\n",
}
#: What makes failures pass, as where they are known and put aside.
PASSES = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome = "passed"
    return report
"""


@pytest.mark.parametrize("how", LESS)
@pytest.mark.parametrize(
    "other",
    [
        pytest.param("", id="alone"),
        pytest.param("def test_b(): runs('ls')\n", id="beside another", marks=pytest.mark.beside),
    ],
)
def test_no_row_is_lost(run: Run, how: str, other: str) -> None:
    run(UPDATE, source=LESS[how] + other, rows=ROWS)
    assert rows().startswith(ROWS)


@pytest.mark.parametrize("how", ["fails", "error in a fixture", "error in a teardown", "skip in the call", "xfailed"])
def test_no_row_is_lost_by_a_failure_that_a_hook_makes_pass(run: Run, how: str) -> None:
    assert run(UPDATE, source=LESS[how], rows=ROWS, conftest=PASSES).ret == 0
    assert rows() == ROWS


#: What keeps a failure from every hook around it.
CATCHES = """
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_{hook}(item):
    try:
        return (yield)
    except Exception:
        return True
"""


@pytest.mark.parametrize(
    ("hook", "source"),
    [
        ("runtest_call", LESS["fails"]),
        ("pyfunc_call", LESS["fails"]),
        (
            "runtest_setup",
            LESS["error in a fixture"].replace("fixture", "fixture(autouse=True)").replace("a(f)", "a()"),
        ),
        ("runtest_teardown", LESS["error in a teardown"]),
    ],
    ids=["call", "function", "setup", "teardown"],
)
def test_no_row_is_lost_by_a_failure_that_a_hook_catches(run: Run, hook: str, source: str) -> None:
    conftest = CATCHES.format(hook=hook).replace("item", "pyfuncitem" if hook == "pyfunc_call" else "item")
    assert run(UPDATE, source=source, rows=ROWS, conftest=conftest).ret == 0
    assert rows() == ROWS


def test_no_row_is_lost_by_a_failure_of_what_is_no_function_that_a_hook_catches(run: Run) -> None:
    Path("it.txt").write_text(">>> 1\n2\n")
    of_text, conftest = ROWS.replace("test_it.py::test_a", "it.txt::it.txt"), CATCHES.format(hook="runtest_call")
    options = [UPDATE, "--doctest-glob=*.txt", "it.txt"]
    assert run(*options, source="", rows=of_text, conftest=conftest).ret == 0
    assert rows() == of_text


def test_an_outcome_of_a_plugins_own_loses_no_row_and_excuses_nothing(run: Run) -> None:
    conftest = PASSES.replace(
        'report.outcome = "passed"', 'report.outcome = "odd" if call.when == "call" else "passed"'
    )
    source = "@pytest.mark.exec_deny('curl')\ndef test_a(): runs('curl')\n"
    run("--execprobe-report=a.json", UPDATE, source=source, rows=ROWS, conftest=conftest)
    assert rows() == ROWS.replace("git", "curl = 1\ngit")
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 1


def test_no_row_is_lost_by_a_failure_of_unittests_that_a_hook_makes_pass(run: Run) -> None:
    source = "class TestA(unittest.TestCase):\n    def test_a(self): self.fail()\n"
    of_class = ROWS.replace("test_a", "TestA::test_a")
    assert run(UPDATE, source=source, rows=of_class, conftest=PASSES).ret == 0
    assert rows() == of_class


def test_but_one_that_passes_lowers_its_rows(run: Run) -> None:
    result = run(UPDATE, source="def test_a(): runs('git')\n", rows=ROWS)
    assert rows() == '\n[tests."test_it.py::test_a"]\ngit = 1\n'
    result.stdout.fnmatch_lines(["baseline        execs.toml written: 1 row lowered, 1 row removed"])


LEFT_OUT = {
    "in the call": "def test_a(): runs('git'); runs('sh')\n",
    "in a fixture": "@pytest.fixture\ndef f(): runs('sh')\ndef test_a(f): runs('git')\n",
    "left behind": """
from played import ends
def test_a():
    global shell
    shell = runs('git')
    ends(shell)
def test_next(): runs('sh', by=shell)
""",
}
HOOK = "def pytest_execprobe_record(record, item):\n    return False if record.program == 'sh' else None\n"


@pytest.mark.parametrize("source", LEFT_OUT.values(), ids=LEFT_OUT.keys())
@pytest.mark.parametrize("by", ["option", "hook"])
def test_rows_of_what_is_not_looked_at_are_kept(run: Run, source: str, by: str) -> None:
    options, conftest = (["--execprobe-ignore=s?"], "") if by == "option" else ([], HOOK)
    result = run(UPDATE, *options, source=source, rows=ROWS, conftest=conftest)
    assert rows() == ROWS.replace("git = 2", "git = 1")
    why = "left out by --execprobe-ignore or a hook"
    result.stdout.fnmatch_lines([f"not lowered     sh: {why}: their rows are kept"])
    result = run(*options)
    result.stdout.fnmatch_lines([f"not judged      sh: their rows do not count what is {why}"])
    result.stdout.no_fnmatch_line("less than it*")
    assert result.ret == 0


def test_rows_of_what_is_ignored_in_part_count_the_rest(run: Run) -> None:
    source = "def test_a(): runs('sh', '-c'); runs('sh'); runs('sh')\n"
    result = run("--execprobe-ignore=argv:sh -c", source=source, rows=ROWS)
    why = "left out by --execprobe-ignore or a hook"
    result.stdout.fnmatch_lines(["*beyond the baseline: grew: sh ran 2 times, at most once in the baseline *"])
    result.stdout.fnmatch_lines([f"not judged      sh: their rows do not count what is {why}"])


def test_rows_of_what_is_ignored_are_lowered_by_tests_that_do_not_run_it(run: Run) -> None:
    run(UPDATE, "--execprobe-ignore=sh", source="def test_a(): runs('git')\n", rows=ROWS)
    assert rows() == '\n[tests."test_it.py::test_a"]\ngit = 1\n'


def test_a_renamed_test_takes_along_rows_of_what_is_ignored(run: Run) -> None:
    run(UPDATE, "--execprobe-ignore=sh", source="def test_b(): runs('git'); runs('sh')\n", rows=ROWS)
    assert rows() == ROWS.replace("test_a", "test_b").replace("git = 2", "git = 1")


@pytest.mark.parametrize(
    "body",
    ["@unittest.expectedFailure\n    def test_a(self): assert 0", "@unittest.skip('so')\n    def test_a(self): pass"],
    ids=["expectedFailure", "skip"],
)
def test_unittests_ways(run: Run, body: str) -> None:
    wanted = ROWS.replace("test_a", "TestIt::test_a")
    run(UPDATE, source=f"class TestIt(unittest.TestCase):\n    {body}\n", rows=wanted)
    assert rows() == wanted


@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan", "--collect-only"])
def test_a_run_without_calls_writes_nothing(run: Run, option: str) -> None:
    gone = f'{ROWS}\n[tests."test_it.py::test_gone"]\nls = 1\n'
    result = run(UPDATE, option, source="def test_a(): pass\n", rows=gone)
    assert result.ret == 0
    assert rows() == gone
    if option != "--collect-only":  # which says nothing of a baseline
        why = "no test was called (--setup-only, --setup-plan)"
        result.stdout.fnmatch_lines([f"baseline        NOT WRITTEN: {why}"])
        result = run(option)
        result.stdout.fnmatch_lines(["baseline        execs.toml: NOT CHECKED, for no test was called"])


def test_a_call_that_another_plugin_leaves_out(run: Run) -> None:
    protocol = """
from _pytest.runner import call_and_report

def pytest_runtest_protocol(item, nextitem):
    call_and_report(item, "setup")
    call_and_report(item, "teardown", nextitem=nextitem)
    return True
"""
    run(UPDATE, source="def test_a(): runs('git')\n", rows=ROWS, conftest=protocol)
    assert rows() == ROWS


def test_a_failure_that_another_plugin_reports_is_told_though_nothing_was_recorded(run: Run) -> None:
    protocol = """
import pytest

def pytest_runtest_protocol(item, nextitem):
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", "its process has crashed", "call")
    item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
    result = run(UPDATE, source="def test_a(): runs('git')\n", rows=ROWS, conftest=protocol)
    result.stdout.fnmatch_lines(["not whole       test_it.py::test_a: they did not pass: *"])
    assert rows() == ROWS


FIXTURE = """
@pytest.fixture(scope="module")
def f():
    {}
def test_a(f): runs('git')
"""


def test_a_fixture_of_which_something_was_lost_is_not_recorded(run: Run) -> None:
    result = run(UPDATE, "--execprobe-audit", source=FIXTURE.format("runs('sh', lost=True)"), rows=ROWS)
    result.stdout.fnmatch_lines(["not recorded    test_it.py::f (module): not as a whole: *"])
    result.stdout.no_fnmatch_line("not whole*")


def test_a_fixture_that_has_failed_did_not_pass(run: Run) -> None:
    result = run(UPDATE, source=FIXTURE.format("assert 0"), rows=ROWS)
    result.stdout.fnmatch_lines(["not whole       test_it.py::test_a, test_it.py::f (module): they did not pass: *"])
    result.stdout.no_fnmatch_line("not recorded*")


@pytest.mark.parametrize(
    ("head", "body", "conftest", "moves"),
    [
        ("", "pass", "", True),
        ("", "assert 0", "", False),
        ("", "assert 0", PASSES, False),  # it passes, and did not run to its end
        ("@pytest.mark.xfail", "pass", "", False),  # it ran to its end, and was not expected to
    ],
    ids=["passed", "failed", "made to pass", "xpassed"],
)
def test_no_row_moves_from_a_test_that_an_update_would_not_lower(
    run: Run, head: str, body: str, conftest: str, moves: bool
) -> None:
    source = f"{head}\ndef test_a(): {body}\ndef test_b(): runs('git')\n"
    result = run(source=source, rows='[tests."test_it.py::test_a"]\ngit = 1\n', conftest=conftest)
    assert any(line.startswith("moved  ") for line in result.outlines) == moves


def test_what_an_update_could_not_see_is_told(run: Run) -> None:
    source = LESS["fails"] + "@pytest.mark.skip\ndef test_b(): pass\n@pytest.mark.skip\ndef test_c(): pass\n"
    result = run(UPDATE, source=source, rows=f'{ROWS}[tests."test_it.py::test_b"]\nls = 1\n')
    result.stdout.fnmatch_lines(
        [
            "not whole       test_it.py::test_a: they did not pass: what they ran has rows, what they would run besides"
            " has none; update again when they pass",
            "not lowered     test_it.py::test_b: skipped or expected to fail",
        ]
    )


def test_an_update_by_tests_that_pass_has_nothing_to_tell_of_them(run: Run) -> None:
    result = run(UPDATE, source="def test_a(): runs('git')\n", rows=ROWS)
    for title in ("not whole", "not recorded", "not lowered"):
        result.stdout.no_fnmatch_line(f"{title}*")


# ---- a verdict can be satisfied by the command that it offers ----

MORE = {
    "passes": "def test_a(): runs('git')\n",
    "fails": "def test_a():\n    runs('git')\n    assert 0\n",
    "error in a fixture": "@pytest.fixture\ndef f():\n    runs('git')\n    assert 0\ndef test_a(f): pass\n",
    "error in a teardown": (
        "@pytest.fixture\ndef f():\n    yield\n    runs('git')\n    assert 0\ndef test_a(f): pass\n"
    ),
    "skip in the call": "def test_a():\n    runs('git')\n    pytest.skip('so')\n",
    "skip in a fixture": "@pytest.fixture\ndef f():\n    runs('git')\n    pytest.skip('so')\ndef test_a(f): pass\n",
    "xfail in a fixture": "@pytest.fixture\ndef f():\n    runs('git')\n    pytest.xfail('so')\ndef test_a(f): pass\n",
    "xfailed": "@pytest.mark.xfail(raises=KeyError)\ndef test_a():\n    runs('git')\n    {}['a']\n",
    "in a wider fixture": "@pytest.fixture(scope='module')\ndef f(): runs('git')\ndef test_a(f): pass\n",
    "in one that fails": (
        "@pytest.fixture(scope='module')\ndef f():\n    runs('git')\n    assert 0\ndef test_a(f): pass\n"
    ),
    "in the collection": "runs('git')\ndef test_a(): pass\n",
    "in the collection, with a test that fails": "runs('git')\ndef test_a(): assert 0\n",
    "beside a rule that is broken": "@pytest.mark.exec_deny('git')\ndef test_a(): runs('git')\n",
}
NOTHING = "[tests]\n[fixtures]\n[around]\n"


def advised(result: pytest.RunResult) -> list[str]:
    """The arguments of the command that the summary offers."""
    (line,) = [line for line in result.outlines if line.startswith("baseline ")]
    return arguments(line.partition("if what ran is right: ")[2])


def arguments(command: str) -> list[str]:
    """Those of a command, without what this runs with in any case."""
    program, called, options = command.partition("pytest ")
    assert (program, called) in (("", "pytest "), ("python -m ", "pytest "))
    given = ("--execprobe-baseline=", "--basetemp=", "no:cacheprovider", "-p")
    return [option for option in shlex.split(options) if not option.startswith(given)]


@pytest.mark.parametrize("how", MORE)
def test_the_command_that_is_offered_helps(run: Run, how: str) -> None:
    first = run(source=MORE[how], rows=NOTHING)
    if how != "xfailed":  # whose breach is expected, too
        assert first.ret == 1
        first.stdout.fnmatch_lines(["baseline        execs.toml: 1 beyond it; if what ran is right: *"])
    run(*(advised(first) if how != "xfailed" else [UPDATE]))
    again = run("--execprobe-report=a.json")
    again.stdout.no_fnmatch_line("*beyond the baseline*")
    again.stdout.no_fnmatch_line("baseline *if what ran is right*")
    # The gate takes the run's own rules and failures into account, too.
    options = ["--budget-only"] if again.ret else []
    assert main(["gate", "a.json", "--budget", "execs.toml", *options]) == 0


DOCTEST = '>>> from played import runs\n>>> _ = runs("git")\n'
MODULE = f'def f():\n    """\n    {DOCTEST.replace(chr(10), chr(10) + "    ")}"""\n'


@pytest.mark.parametrize("whole", [True, False], ids=["in the summary", "at the test"])
@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("test_it.py", "from played import runs\ndef test_a(): runs('git')\n", []),
        ("it.py", MODULE, ["--doctest-modules"]),
        ("it.rst", DOCTEST, ["--doctest-glob=*.rst", "it.rst"]),
        ("cases.py", "from played import runs\ndef test_a(): runs('git')\n", ["cases.py"]),
        ("cases.py", "from played import runs\ndef test_a(): runs('git')\n", ["-opython_files=cases.py"]),
        ("test_it.py", "from played import runs\ndef test_a(): runs('git')\n", ["--rootdir=../.."]),
    ],
)
def test_the_command_that_is_offered_is_of_the_same_run(
    run: Run, pytester: pytest.Pytester, name: str, content: str, options: list[str], whole: bool
) -> None:
    """From the folder where it was started, with the options that find the tests."""
    pytester.makeini("[pytest]\n")
    folder = pytester.mkdir("sub")
    (folder / name).write_text(content)
    os.chdir(folder)
    first = run("-v", *options, rows=NOTHING)
    assert first.ret == 1
    (line,) = [line for line in first.outlines if line.startswith("  if this is right: ")]
    again = run(*(advised(first) if whole else arguments(line.partition("right: ")[2])))
    assert again.ret == 0
    assert run(*options).ret == 0


@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", "pytest.exit('so')", "pytest.exit('so', returncode=0)"])
def test_where_no_command_helps_none_is_offered(run: Run, how: str) -> None:
    result = run("-v", source=f"def test_a():\n    runs('git')\n    {how}\n", rows=NOTHING)
    result.stdout.fnmatch_lines(
        [
            "beyond the baseline: new: git ran once *",
            "baseline        execs.toml: 1 beyond it, and an update would write nothing: the run was broken off, or had"
            " no tests",
        ]
    )
    result.stdout.no_fnmatch_line("*if *is right*")
    result.stdout.no_fnmatch_line("*--execprobe-update*")


def test_where_it_cannot_be_told_none_is_offered(run: Run) -> None:
    result = run(source="def test_a(): runs('git', lost=True)\n", rows=NOTHING)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["baseline        execs.toml: 1 may be beyond it, and none is for certain"])
    result.stdout.no_fnmatch_line("*if what ran is right*")


def test_what_an_update_does_not_lower_is_not_offered_to_it(run: Run) -> None:
    """Ranges, rows of fixtures, and those of tests of which not all is known."""
    source = """
        @pytest.fixture(scope="module")
        def f(): pass
        def test_a(f): runs("git")
        def test_b(): pass
        def test_lost(): runs("git", lost=True)
        def test_cut(): runs("git", cut=True)
    """
    more = """
[tests."test_it.py::test_a"]
git = [2, 3]
[tests."test_it.py::test_b"]
git = 1
[tests."test_it.py::test_lost"]
git = 2
[tests."test_it.py::test_cut"]
"argv:git push" = 1
git = 1
ls = 1
[fixtures."test_it.py::f (module)"]
git = 1
"""
    result = run(source=source, rows=more)
    result.stdout.fnmatch_lines(["less than it    test_it.py::test_b: a run with --execprobe-update lowers their rows"])
    run(UPDATE)
    run().stdout.no_fnmatch_line("less than it*")


# ---- tests that are tried again ----

FLAKY = """
tries = []
def test_a():
    tries.append(1)
    runs("git")
    if len(tries) < 3:
        runs("curl")
        assert 0
"""
ONE = '[tests."test_it.py::test_a"]\ngit = 1\n'


def test_of_a_test_that_is_tried_again_the_last_try_counts(run: Run, again: str) -> None:
    first = run("--execprobe-audit", "--execprobe-report=a.json", source=FLAKY, rows=ONE, conftest=again)
    assert first.ret == 0
    first.stdout.fnmatch_lines(
        [
            "most by test    5  test_it.py::test_a: git 3, curl 2",
            "baseline        execs.toml: no test is beyond it",
            *(
                ["tried again     test_it.py::test_a: *in an earlier try; the last one counts"]
                if again in REPORTED
                else []
            ),
        ]
    )
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 0


def test_the_gate_tells_of_earlier_tries_and_counts_them_for_the_total(
    run: Run, again: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--execprobe-report=a.json", source=FLAKY, rows=ONE, conftest=again)
    capsys.readouterr()
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 0
    assert "  retried  test_it.py::test_a\n             new: curl ran once\n" in capsys.readouterr().out
    Path("execs.toml").write_text("version = 1\n[total]\nat_most = 4\n")
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 1


def test_an_update_goes_by_the_last_try(run: Run, again: str) -> None:
    run(UPDATE, source=FLAKY, conftest=again)
    assert rows() == f"\n{ONE}"


def test_what_an_earlier_try_left_behind_is_not_the_last_ones(run: Run, again: str) -> None:
    source = """
        from played import ends
        tries = []
        def test_a():
            global top
            tries.append(1)
            runs("git")
            if len(tries) == 1:
                top = runs("sh")
                ends(top)
                assert 0
            runs("curl", by=top)
    """
    run(UPDATE, source=source, conftest=again)
    assert rows() == f"\n{ONE}"
    result = run("--execprobe-report=a.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "baseline        execs.toml: no test is beyond it",
            "tried again     test_it.py::test_a: beyond it in an earlier try; the last one counts",
        ]
    )
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 0


def test_a_rule_counts_for_what_an_earlier_try_left_behind(run: Run, again: str) -> None:
    source = """
        from played import ends
        tries = []
        @pytest.mark.exec_deny("curl")
        def test_a():
            global top
            tries.append(1)
            if len(tries) == 1:
                top = runs("git")
                ends(top)
                assert 0
            runs("curl", by=top)
    """
    result = run("--execprobe-report=a.json", source=source, rows=ONE, conftest=again)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["curl must not run, but it ran once (left behind)"])
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 1


def test_tries_of_a_test_with_a_folder_in_its_name(run: Run, again: str) -> None:
    source = FLAKY.replace("def test_a():", "@pytest.mark.parametrize('x', ['/tmp/x'])\ndef test_a(x):")
    result = run(source=source, rows='[tests."test_it.py::test_a[$TMPDIR/x]"]\ngit = 1\n', conftest=again)
    assert result.ret == 0
    run(UPDATE)
    assert rows() == '\n[tests."test_it.py::test_a[$TMPDIR/x]"]\ngit = 1\n'


def test_the_last_try_is_judged_however_the_first_was(run: Run, again: str) -> None:
    source = """
        tries = []
        def test_a():
            tries.append(1)
            if len(tries) > 1:
                runs("curl")
            assert len(tries) > 1
    """
    first = run("--execprobe-report=a.json", source=source, rows=NOTHING, conftest=again)
    assert first.ret == 1
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 1
    run(*advised(first))
    assert rows() == '\n[tests."test_it.py::test_a"]\ncurl = 1\n'
    assert run().ret == 0


def test_a_rule_that_the_first_try_broke_is_no_breach_of_the_last(run: Run, again: str) -> None:
    """It was judged, and the test was tried again for it; in the report it stands at its own try."""
    from pytest_execprobe.report.read import read

    source = """
        tries = []
        @pytest.mark.exec_deny("curl")
        def test_a():
            tries.append(1)
            if len(tries) == 1:
                runs("curl")
    """
    assert run("--execprobe-report=a.json", source=source, rows="[tests]\n", conftest=again).ret == 0
    units = [unit for unit in read(Path("a.json")).units if unit.kind == "test"]
    assert [(unit.outcome, len(unit.breaches)) for unit in units] == [("rerun", int(again in REPORTED)), ("passed", 0)]
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 0


def test_what_a_wider_fixture_broke_in_the_first_try_is_said(run: Run, again: str) -> None:
    """The next one finds the fixture as it is."""
    source = """
        tries = []
        @pytest.fixture(scope="session")
        def server(): runs("curl")
        def test_a(request):
            request.getfixturevalue("server")
            tries.append(1)
            assert len(tries) > 1
    """
    options = "--execprobe-deny=curl", "--execprobe-report=a.json"
    result = run(*options, source=source, rows="[tests]\n", conftest=again)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["curl must not run, but it ran once (set-up of fixture 'server' (session))"])
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 1


def test_a_session_budget_counts_what_is_reported_twice_once(run: Run, again: str) -> None:
    assert run("--execprobe-session-budget=5", source=FLAKY, rows=ONE, conftest=again).ret == 0
    assert run("--execprobe-session-budget=4").ret == 1


#: Each test twice, and each time with all its reports.
LOOPS = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for following in (item, nextitem):
        item._initrequest()
        runtestprotocol(item, nextitem=following)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""


def test_what_is_run_twice_and_reported_twice_has_rows_for_both(run: Run) -> None:
    """Both are judged, so an update by the second alone would not help."""
    source = """
        runs_of_it = []
        def test_a():
            runs_of_it.append(1)
            runs("git")
            if len(runs_of_it) == 1:
                runs("sh")
    """
    first = run("--execprobe-report=a.json", source=source, rows=ONE, conftest=LOOPS)
    assert first.ret == 1
    run(*advised(first))
    assert rows() == '\n[tests."test_it.py::test_a"]\ngit = 1\nsh = 1\n'
    assert run("--execprobe-report=a.json").ret == 0
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 0
    Path("execs.toml").write_text(Path("execs.toml").read_text().replace("sh = 1", "sh = 3"))
    run(UPDATE)
    assert rows() == '\n[tests."test_it.py::test_a"]\ngit = 1\nsh = 1\n'
