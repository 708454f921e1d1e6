"""A report looks no greener than its run: whatever made the run red, or was left out of it, passes no gate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from suites import KILLED

from pytest_execprobe.cli import main

if TYPE_CHECKING:
    from conftest import Played

GOOD = "from played import runs\ndef test_a(): runs('git')\n"
ROWS = '[tests."test_it.py::test_a"]\ngit = 1\n'
WITHIN, EXCEEDED, INCOMPLETE = 0, 1, 2

#: Workers, which the source of events that is played does not reach: they record nothing.
XDIST = ("-p", "xdist", "-n1", "--execprobe=off")
#: This project's own tests may spawn nothing; these spawn a pytest or a worker, which may ask for the platform.
SPAWNS = pytest.mark.exec_budget(8)

Judged = tuple[int, str]
Gated = Callable[..., Judged]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def gated(
    pytester: pytest.Pytester,
    played: Played,  # noqa: ARG001
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> Gated:
    """Runs a suite with a report, holds this against a budget, and returns the gate's exit status and text."""
    monkeypatch.setenv("COLUMNS", "160")

    def gated(
        source: str,
        *options: str,
        budget: str = ROWS,
        gate: tuple[str, ...] = (),
        status: int | None = None,
        **files: str,
    ) -> Judged:
        """``status`` is what the run's exit status must be."""
        pytester.makepyfile(test_it=dedent(source), **{name: dedent(text) for name, text in files.items()})
        Path("execs.toml").write_text("version = 1\n" + budget)
        result = pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", "--execprobe-report=a.json", *options, no_reraise_ctrlc=True
        )
        assert status is None or result.ret == status
        capsys.readouterr()
        code = main(["gate", "a.json", "--budget", "execs.toml", *gate])
        return code, capsys.readouterr().out

    return gated


def stored() -> Any:
    return json.loads(Path("a.json").read_text())


def test_within(gated: Gated) -> None:
    assert gated(GOOD, status=0)[0] == WITHIN


#: As plugins do that run tests at once, or elsewhere.
TAKEN_OVER = """
    import pytest
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item):
        for when in ("setup", "call", "teardown"):
            if when == "call":
                item.runtest()
            report = pytest.TestReport(item.nodeid, item.location, {}, "passed", None, when)
            item.ihook.pytest_runtest_logreport(report=report)
        return True
"""


@pytest.mark.parametrize(
    ("source", "option", "status", "told"),
    [
        (GOOD, "-q", 0, ""),
        (f"import pytest\n{GOOD}test_a = pytest.mark.exec_none(test_a)\n", "-q", 1, "cannot tell whether its rules"),
        (GOOD, "--execprobe-deny=git", 1, "cannot tell whether its rules are kept: it was not recorded"),
        (GOOD, "--execprobe-baseline=execs.toml", 1, "cannot tell whether its rules are kept: it was not recorded"),
    ],
    ids=["no rule", "marker", "deny", "baseline"],
)
def test_a_test_that_another_plugin_has_run_is_not_recorded(
    gated: Gated, source: str, option: str, status: int, told: str
) -> None:
    found, said = gated(source, option, status=status, conftest=TAKEN_OVER)
    assert found == INCOMPLETE
    assert "missing  test_it.py::test_a: not checked: another plugin ran it" in said
    assert told in said
    assert gated(source, option, status=status, gate=("--budget-only",), conftest=TAKEN_OVER)[0] == INCOMPLETE


# ---- rules of its own ----


@pytest.mark.parametrize(
    ("source", "option", "broken"),
    [
        (GOOD, "--execprobe-deny=git", "git must not run, but it ran once"),
        (GOOD, "--execprobe-allow=ls", "unexpected program: git ran, and only ls may"),
        (GOOD, "--execprobe-session-budget=0", "session budget exceeded: 1 exec, at most 0 allowed"),
        (f"import pytest\n{GOOD}test_a = pytest.mark.exec_none(test_a)\n", "-q", "nothing may run, but git ran"),
        (f"{GOOD}runs('curl')\n", "--execprobe-deny=curl", "curl must not run, but it ran once"),
    ],
    ids=["deny", "allow", "session budget", "marker", "collection"],
)
def test_a_rule_that_the_run_has_found_broken(gated: Gated, source: str, option: str, broken: str) -> None:
    status, said = gated(source, option, status=1)
    assert status == EXCEEDED
    assert "  broken   " in said
    assert broken in said
    assert gated(source, option, gate=("--budget-only",))[0] == WITHIN


def test_a_rule_that_the_run_could_not_decide(gated: Gated) -> None:
    source = """
        import pytest
        from played import runs
        @pytest.mark.exec_deny("argv:git push")
        def test_a(): runs("git", cut=True)
    """
    status, said = gated(source, status=1)
    assert status == INCOMPLETE
    assert "  unknown  test_it.py::test_a\n             cannot tell whether " in said
    assert gated(source, gate=("--budget-only",))[0] == WITHIN


def test_what_a_test_left_behind_is_judged_at_the_end(gated: Gated) -> None:
    """As nothing excuses it in the run, nothing does here."""
    source = """
        import pytest
        from played import runs, ends
        @pytest.mark.xfail
        @pytest.mark.exec_deny("curl")
        def test_a():
            global top
            top = runs("sh")
            ends(top)
            assert 0
        def test_b():
            runs("curl", by=top)
    """
    status, said = gated(source, budget="[total]\nat_most = 9\n", status=1)
    assert (status, "curl must not run, but it ran once" in said) == (EXCEEDED, True)


def test_what_a_wider_fixture_broke_is_not_excused_by_the_test_that_needed_it(gated: Gated) -> None:
    source = """
        import pytest
        from played import runs
        pytestmark = pytest.mark.exec_deny("curl")
        @pytest.fixture(scope="module")
        def server(): runs("curl")
        @pytest.mark.xfail
        def test_a(server): assert 0
    """
    status, said = gated(source, budget="[total]\nat_most = 9\n", status=1)
    assert (status, "curl must not run, but it ran once" in said) == (EXCEEDED, True)


def test_what_an_xfail_excuses_in_the_run_it_excuses_here(gated: Gated) -> None:
    source = """
        import pytest
        from played import runs
        @pytest.mark.xfail
        @pytest.mark.exec_deny("git")
        def test_a(): runs("git")
    """
    assert gated(source, status=0)[0] == WITHIN


def test_what_is_beyond_the_budget_is_said_once(gated: Gated) -> None:
    more = GOOD.replace("runs('git')", "runs('git'), runs('curl')")
    status, said = gated(more, "--execprobe-baseline=execs.toml", status=1)
    assert status == EXCEEDED
    assert said.count("curl") == 1


def test_a_baseline_of_the_run_that_is_not_the_gates_counts_too(gated: Gated, pytester: pytest.Pytester) -> None:
    (pytester.path / "other.toml").write_text("version = 1\n[tests]\n")
    status, said = gated(GOOD, "--execprobe-baseline=other.toml", status=1)
    assert (status, "beyond the baseline: new: git ran once" in said) == (EXCEEDED, True)


# ---- what did not run ----

BROKEN = {"test_broken": "import nonsense\ndef test_b(): pass\n"}


@SPAWNS
@pytest.mark.parametrize("how", [(), (*XDIST, "-n2")], ids=["alone", "-n2"])
def test_a_module_that_failed_to_be_collected(gated: Gated, how: tuple[str, ...]) -> None:
    source = GOOD if not how else "def test_a(): pass\n"
    options = ("--continue-on-collection-errors", *how)
    status, said = gated(source, *options, **BROKEN)
    assert status == INCOMPLETE
    assert "test_broken.py was not collected: that ended in an error" in said
    (told,) = stored()["runs"]
    assert told["unknown"][0] == "test_broken.py was not collected: that ended in an error"


@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan", "--collect-only", "--fixtures"])
def test_a_run_without_calls(gated: Gated, option: str) -> None:
    for budget in (ROWS, "[total]\nat_most = 9\n"):
        status, said = gated(GOOD, option, status=0, budget=budget)
        assert status == INCOMPLETE
        assert option in said
    assert stored()["runs"][0]["unknown"]


def test_setting_up_alone_is_no_call(gated: Gated) -> None:
    gated(GOOD, "--setup-only")
    (unit,) = [unit for unit in stored()["units"] if unit["kind"] == "test"]
    assert unit["outcome"] is None
    assert stored()["runs"][0]["unknown"] == ["--setup-only or --setup-plan: 1 of 1 tests were not called"]


@SPAWNS
@pytest.mark.parametrize(
    ("more", "options", "said"),
    [
        ("def test_b(): assert 0\ndef test_c(): pass\n", ("-x",), "1 of 3 tests were not run to their end"),
        ("def test_b(): assert 0\n", ("-x",), "test_it.py::test_b: failed"),
        ("def test_b(): raise KeyboardInterrupt\n", (), "its exit status is 2"),
        ("import pytest\ndef test_b(): pytest.exit('x', returncode=0)\n", (), "1 of 2 tests were not run to their end"),
        ("def test_b(): import os; os._exit(0)\n", XDIST, "ended before it had sent all"),
        ("def test_b(): assert 0\n", (), "test_it.py::test_b: failed"),
        ("def test_b(no): pass\n", (), "test_it.py::test_b: failed"),
    ],
    ids=["-x", "-x at the end", "interrupted", "exit 0", "crash", "failed", "error"],
)
def test_a_run_that_did_not_succeed(gated: Gated, more: str, options: tuple[str, ...], said: str) -> None:
    source = (GOOD if "xdist" not in options else "def test_a(): pass\n") + more
    status, text = gated(source, *options)
    assert status == INCOMPLETE
    assert said in text


def test_failed_tests_do_not_matter_for_the_budget_alone(gated: Gated) -> None:
    assert gated(f"{GOOD}def test_b(): assert 0\n", gate=("--budget-only",), status=1)[0] == WITHIN


def test_a_run_that_failed_for_a_reason_that_is_not_in_it(gated: Gated) -> None:
    conftest = "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_sessionfinish(session):\n"
    status, said = gated(GOOD, conftest=conftest + "    session.exitstatus = 1\n", status=1)
    assert (status, "a run has failed, and its report does not say why" in said) == (INCOMPLETE, True)


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("pytest_sessionfinish(session): session.exitstatus = 1", "its report does not say why: its exit status is 1"),
        ("pytest_sessionfinish(): pytest.exit('so', 3)", "its exit status is 3"),
        ("pytest_sessionfinish(): raise OSError", "its exit status is not known"),
        ("pytest_terminal_summary(): raise OSError", "its exit status is not known"),
        ("pytest_unconfigure(): raise OSError", "its exit status is not known"),
    ],
)
def test_what_ends_the_run_otherwise_than_its_tests_did(gated: Gated, hook: str, said: str) -> None:
    status, text = gated(GOOD, conftest=f"import pytest\n@pytest.hookimpl(trylast=True)\ndef {hook}\n")
    assert (status, said in text) == (INCOMPLETE, True)


def test_a_report_that_was_moved_is_left_where_it_is(gated: Gated, pytester: pytest.Pytester) -> None:
    conftest = "import os, pytest\n@pytest.hookimpl(trylast=True)\ndef pytest_sessionfinish(session):\n"
    with pytest.raises(AssertionError):
        gated(GOOD, conftest=f"{conftest}    os.rename('a.json', 'b.json')\n    session.exitstatus = 1\n", status=0)
    assert [path.name for path in pytester.path.glob("*.json")] == ["b.json"]


DIES = """
from types import SimpleNamespace
def pytest_collection_finish(session):
    reporting = session.config.pluginmanager.get_plugin("execprobe-reporting")
    reporting.pytest_testnodedown(SimpleNamespace(gateway=SimpleNamespace(id="gw1")), "it crashed")
"""


def test_a_worker_that_has_died_before_it_was_ready(gated: Gated) -> None:
    """What it has run when it loaded its conftests is not known, and pytest-xdist starts another one."""
    status, said = gated(GOOD, conftest=DIES)
    assert (status, "worker gw1 ended before it had sent all that it recorded" in said) == (INCOMPLETE, True)


@pytest.mark.parametrize(
    ("marks", "expected", "said"),
    [
        (["exec_deny('git')"], EXCEEDED, "git must not run, but it ran once (a process that was killed)"),
        (["exec_deny('git')", "xfail"], WITHIN, ""),  # as of any test that breaks a rule as expected
        (["exec_deny('ls')", "xfail"], WITHIN, ""),
        (["exec_allow('git')", "xfail"], WITHIN, ""),  # whenever it ran
        (["exec_allow('ls')", "xfail"], INCOMPLETE, "cannot tell whether only ls ran"),  # it may be the set-up's
        (["exec_budget(0)", "exec_deny('git')", "xfail"], INCOMPLETE, "cannot tell whether at most 0 execs ran"),
    ],
)
def test_what_a_process_ran_that_was_killed_is_judged(gated: Gated, marks: list[str], expected: int, said: str) -> None:
    marked = "".join(f"@pytest.mark.{mark}\n" for mark in marks)
    source = f"import pytest\nfrom played import runs\n{marked}def test_a(): runs('git')\n"
    status, text = gated(source, conftest=KILLED, status=int(expected != WITHIN))
    assert (status, said in text) == (expected, True)


def test_a_run_without_a_test_that_a_plugin_takes_for_good(gated: Gated) -> None:
    conftest = "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_sessionfinish(session):\n"
    status, said = gated("", conftest=conftest + "    session.exitstatus = 0\n", status=0)
    assert (status, "a run had no test" in said) == (INCOMPLETE, True)


@SPAWNS
@pytest.mark.parametrize("how", [(), XDIST], ids=["alone", "-n1"])
def test_no_probe_was_wanted(gated: Gated, how: tuple[str, ...]) -> None:
    status, said = gated("def test_a(): pass\n", "--execprobe=off", *how, status=0)
    assert (status, "switched off" in said) == (INCOMPLETE, True)


# ---- what was left out ----


@pytest.mark.parametrize("options", [("-k", "not test_b"), ("--deselect", "test_it.py::test_b"), ("-m", "exec_budget")])
def test_a_test_of_the_budget_that_was_deselected(gated: Gated, options: tuple[str, ...]) -> None:
    source = f"import pytest\n{GOOD}test_a = pytest.mark.exec_budget(1)(test_a)\ndef test_b(): pass\n"
    rows = f'{ROWS}[tests."test_it.py::test_b"]\nls = 1\n'
    status, said = gated(source, *options, budget=rows, status=0)
    assert status == INCOMPLETE
    assert "deselected, and no run has them, though the baseline has them: test_it.py::test_b" in said
    assert gated(source, *options, budget=rows, gate=("--allow-deselected",))[0] == WITHIN
    assert gated(source, *options)[0] == WITHIN, "the budget does not speak of it"


@pytest.mark.parametrize(
    "conftest",
    [
        "def pytest_collection_modifyitems(items): del items[1:]\n",
        "def pytest_collection_finish(session): del session.items[1:]\n",
        "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_runtestloop(session): del session.items[1:]\n",
    ],
)
def test_a_plugin_leaves_tests_out(gated: Gated, conftest: str) -> None:
    """As those do that make shards, whether they tell of it or not."""
    gated(f"{GOOD}def test_b(): pass\n", conftest=conftest)
    assert stored()["runs"][0]["left_out"] == ["test_it.py::test_b"]


@SPAWNS
def test_a_test_that_xdist_renames_is_not_left_out(gated: Gated) -> None:
    """With some versions of pytest it does."""
    source = "import pytest\n@pytest.mark.xdist_group('x')\ndef test_a(): pass\n"
    gated(source, *XDIST, "--dist=loadgroup", status=0)
    assert stored()["runs"][0]["left_out"] == []


@pytest.mark.usefixtures("played")
def test_the_failed_ones_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=f"{GOOD}def test_b(): assert 0\n", test_other="def test_o(): pass\n")
    pytester.runpytest_inprocess("--execprobe-audit")
    rows = f'{ROWS}[tests."test_it.py::test_b"]\nls = 1\n'
    pytester.makepyfile(test_it=f"{GOOD}def test_b(): pass\n")
    Path("execs.toml").write_text("version = 1\n" + rows)
    pytester.runpytest_inprocess("--lf", "--execprobe-report=a.json")
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == INCOMPLETE
    (told,) = stored()["runs"]
    assert told["unknown"] == ["--lf: only tests that had failed before were run"]
    pytester.runpytest_inprocess("--lf", "--execprobe-report=a.json")
    assert stored()["runs"][0]["unknown"] == [], "none has failed, so that all are run"


def test_the_failed_ones_alone_where_no_test_has_failed(pytester: pytest.Pytester, played: Played) -> None:  # noqa: ARG001
    """pytest remembers what is wrong with a run as a whole like a test, and forgets it never."""
    pytester.makepyfile(test_it=f"{GOOD}def test_b(): pass\n")
    Path("execs.toml").write_text("version = 1\n" + ROWS)
    assert pytester.runpytest_inprocess("--execprobe-session-budget=0").ret == 1
    pytester.runpytest_inprocess("--lf", "--execprobe-report=a.json").assert_outcomes(passed=2)
    assert stored()["runs"][0]["unknown"] == []
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == WITHIN


# ---- one that is not this run's ----


@SPAWNS
def test_a_run_that_is_killed_leaves_no_earlier_report(pytester: pytest.Pytester) -> None:
    Path("a.json").write_text("of last week")
    pytester.makepyfile("import os\ndef test_a(): os._exit(3)\n")
    pytester.runpytest_subprocess("--execprobe=off", "--execprobe-report=a.json")
    assert not Path("a.json").exists()


@pytest.mark.parametrize("in_ini", [False, True], ids=["option", "ini"])
@pytest.mark.parametrize("how", ["--no-such-option", "--execprobe-budget=x", "--execprobe-baseline=none.toml", ""])
def test_a_run_that_cannot_begin_leaves_no_earlier_report(pytester: pytest.Pytester, how: str, in_ini: bool) -> None:
    Path("a.json").write_text("of last week")
    pytester.makeini("[pytest]\nexecprobe_report = a.json\n" if in_ini else "[pytest]\n")
    pytester.makeconftest("" if how else "import no_such_module")
    options = [how] if how else []
    result = pytester.runpytest_inprocess(*options, *([] if in_ini else ["--execprobe-report=a.json"]))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not Path("a.json").exists()


@pytest.mark.parametrize("options", [["--help"], ["--version"], ["--markers"], ["--execprobe-report=a.txt"]])
def test_what_is_no_run_leaves_reports_alone(pytester: pytest.Pytester, options: list[str]) -> None:
    for name in ("a.json", "a.txt"):
        Path(name).write_text("of last week")
    pytester.makeini("[pytest]\n" if "a.txt" in options[0] else "[pytest]\nexecprobe_report = a.json\n")
    pytester.runpytest_inprocess(*options)
    assert (Path("a.json").exists(), Path("a.txt").exists()) == (True, True)


# ---- what was not collected ----

B_ROWS = f'{ROWS}[tests."sub/test_b.py::test_b"]\nls = 1\n'
CHECK = f"{GOOD}def check_b(): runs('ls')\n"


def with_sub(source: str = "from played import runs\ndef test_b(): runs('ls')\n") -> None:
    Path("sub").mkdir(exist_ok=True)
    Path("sub", "test_b.py").write_text(source)


@pytest.mark.parametrize(
    "options",
    [
        ("test_it.py",),
        ("test_it.py::test_a",),
        ("test_it.py", "sub/test_b.py::test_other"),
        ("--ignore=sub",),
        ("--ignore-glob=*_b.py",),
        ("--ignore=sub/test_b.py",),
        ("-o", "python_files=test_it.py"),
        ("-o", "python_functions=test_a test_other"),
        ("-o", "norecursedirs=sub"),
        ("--doctest-modules", "-o", "python_files=test_it.py"),
        ("-o", "testpaths=test_it.py"),
        ("--pyargs", "test_it"),
        ("--import-mode=importlib", "test_it.py"),
        ("-c", "other.ini"),
    ],
    ids=" ".join,
)
def test_tests_of_the_budget_that_were_not_collected(
    gated: Gated, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sub("from played import runs\ndef test_b(): runs('ls')\ndef test_other(): pass\n")
    monkeypatch.syspath_prepend(Path.cwd())
    Path("other.ini").write_text("[pytest]\npython_files = test_it.py\n")
    status, said = gated(GOOD, *options, budget=B_ROWS)
    assert status == INCOMPLETE
    assert "the baseline has them: sub/test_b.py::test_b (collected was" in said
    assert gated(GOOD, *options, budget=B_ROWS, gate=("--allow-deselected",))[0] == WITHIN


DIRECTORY = """
import pytest
class Chosen(pytest.Directory):
    def collect(self): return []
def pytest_collect_directory(path, parent):
    return Chosen.from_parent(parent, path=path) if path.name == "sub" else None
"""


@pytest.mark.parametrize(
    "source",
    [
        "collect_ignore = ['sub']",
        "collect_ignore_glob = ['sub/*']",
        "def pytest_ignore_collect(collection_path): return True if collection_path.name == 'sub' else None",
        "import pytest\n@pytest.hookimpl(wrapper=True)\ndef pytest_collect_directory(path):\n"
        "    found = yield\n    return None if path.name == 'sub' else found\n",
        DIRECTORY,
    ],
    ids=["collect_ignore", "collect_ignore_glob", "ignores", "no directory", "directory"],
)
def test_what_a_conftest_leaves_out(gated: Gated, source: str) -> None:
    with_sub()
    assert gated(GOOD, budget=B_ROWS, conftest=source)[0] == INCOMPLETE
    assert gated(GOOD, budget=B_ROWS)[0] == INCOMPLETE


@pytest.mark.parametrize("options", [(), (".",), ("sub", "test_it.py"), ("--import-mode=importlib",)], ids=" ".join)
def test_a_test_that_is_gone_is_not_missing(gated: Gated, options: tuple[str, ...]) -> None:
    """Renamed, removed with its file, or with its folder."""
    with_sub("def test_renamed(): pass\n")
    assert gated(GOOD, *options, budget=B_ROWS, status=0)[0] == WITHIN
    if "sub" not in options:
        Path("sub", "test_b.py").unlink()
        assert gated(GOOD, *options, budget=B_ROWS, status=0)[0] == WITHIN
        shutil.rmtree("sub")
        assert gated(GOOD, *options, budget=B_ROWS, status=0)[0] == WITHIN


def test_a_file_that_skips_itself_is_not_missing(gated: Gated) -> None:
    with_sub("import pytest\npytest.skip(allow_module_level=True)\n")
    status, said = gated(GOOD, budget=B_ROWS, status=0)
    assert status == WITHIN
    assert "unseen   sub/test_b.py::test_b" in said


def test_examples_of_the_budget_that_were_not_collected(gated: Gated) -> None:
    rows = f'{ROWS}[tests."test_it.py::test_it.helper"]\nls = 1\n[tests."README.txt::README.txt"]\nls = 1\n'
    source = f"{GOOD}def helper():\n    '''\n    >>> _ = runs('ls')\n    '''\n"
    Path("README.txt").write_text(">>> 1\n1\n")
    assert gated(source, budget=rows)[0] == INCOMPLETE
    assert gated(source, "--doctest-modules", budget=rows)[0] == INCOMPLETE
    assert gated(source, "--doctest-modules", "--doctest-glob=*.txt", budget=rows)[0] == WITHIN


def test_examples_at_the_head_of_a_module_that_were_not_collected(gated: Gated) -> None:
    rows = f'{ROWS}[tests."test_it.py::test_it"]\nls = 1\n'
    source = f"'''\n>>> from played import runs\n>>> _ = runs('ls')\n'''\n{GOOD}"
    assert gated(source, budget=rows)[0] == INCOMPLETE
    assert gated(source, "--doctest-modules", budget=rows)[0] == WITHIN
    assert gated(GOOD, budget=rows)[0] == WITHIN


@pytest.mark.parametrize(
    ("source", "options"),
    [("raise KeyboardInterrupt", ()), ("import pytest; pytest.exit('so')", ()), (GOOD, ("-k", "no")), ("", ())],
    ids=["interrupted", "exit", "deselected", "no test"],
)
def test_a_run_of_no_test_is_no_whole_report(
    gated: Gated, capsys: Capture, source: str, options: tuple[str, ...]
) -> None:
    assert gated(source, *options)[0] == INCOMPLETE
    assert main(["report", "a.json"]) == 0
    assert "no rule broken by what was recorded, but not everything was" in capsys.readouterr().out


@pytest.mark.parametrize("status", [0, 2])
def test_a_run_that_is_broken_off_says_what_is_not_known_to_be_within(
    pytester: pytest.Pytester, gated: Gated, status: int
) -> None:
    gated(f"import pytest\n{GOOD}def test_b(): pytest.exit('so', {status})\ndef test_c(): pass\n", status=status)
    result = pytester.runpytest_inprocess("--execprobe-baseline=execs.toml", no_reraise_ctrlc=True)
    assert result.ret == status
    result.stdout.fnmatch_lines(["baseline *: no test is beyond it, and 2 of 3 were not run to their end"])


CHECKER = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--lint", action="store_true")

class Checker(pytest.Item):
    def runtest(self):
        from played import runs
        runs("lint")

class Checked(pytest.File):
    def collect(self):
        yield Checker.from_parent(self, name="lint")

def pytest_collect_file(file_path, parent):
    if parent.config.getoption("--lint") and file_path.name == "test_it.py":
        return Checked.from_parent(parent, path=file_path)
"""


def test_what_a_plugin_looks_for_in_files_is_not_gone_without_it(gated: Gated, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CHECKER)
    rows = f'{ROWS}\n[tests."test_it.py::lint"]\nlint = 1\n'
    assert gated(GOOD, "--lint", budget=rows)[0] == WITHIN
    status, said = gated(GOOD, budget=rows)
    assert status == INCOMPLETE
    assert "not collected, and no run has them, though the baseline has them: test_it.py::lint" in said
    pytester.runpytest_inprocess("--execprobe-baseline=execs.toml", "--execprobe-update")
    assert "lint = 1" in Path("execs.toml").read_text()


def test_without_pytests_plugin_for_python_the_tests_of_others_are_judged(
    gated: Gated, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(CHECKER)
    rows = '[tests."test_it.py::lint"]\nlint = 1\n\n[packages."test_other.py"]\nat_most = 1\n'
    pytester.makepyfile(test_other="")
    assert gated(GOOD, "--lint", "-pno:python", "--execprobe-baseline=execs.toml", budget=rows)[0] == INCOMPLETE
    assert [(unit["name"], unit["outcome"]) for unit in stored()["units"]] == [("test_it.py::lint", "passed")]


def test_what_was_collected_has_names_from_the_root(
    gated: Gated, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sub()
    Path("pytest.ini").write_text("[pytest]\n")
    assert gated(GOOD, budget=B_ROWS)[0] == WITHIN
    monkeypatch.chdir("sub")
    pytester.runpytest_inprocess("--execprobe-report=a.json")
    (told,) = stored()["runs"]
    assert told["collection"] == {
        "places": ["sub"],
        "files": ["sub/test_b.py"],
        "examples": [],
        "skipped": [],
        "folders": ["sub"],
        "passed_over": [],
        "functions": ["test"],
    }
    assert main(["gate", "a.json", "--budget", "../execs.toml"]) == INCOMPLETE


@pytest.mark.parametrize(("other", "expected"), [("django-5.1", WITHIN), ("django-4.2", INCOMPLETE)])
def test_runs_of_a_matrix(gated: Gated, other: str, expected: int) -> None:
    gated(GOOD, "--execprobe-variant=django-4.2")
    Path("a.json").rename("b.json")
    gated(GOOD, f"--execprobe-variant={other}")
    assert main(["merge", "a.json", "b.json", "-o", "both.json"]) == 0
    assert main(["gate", "both.json", "--budget", "execs.toml", "--runs=2"]) == expected
