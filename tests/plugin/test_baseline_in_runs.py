"""Baselines in whole runs: what is written, what is judged, and what a user sees."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from suites import KILLED

from pytest_execprobe.report import read as reading

if TYPE_CHECKING:
    from conftest import Played

SUITE = """
@pytest.fixture(scope="session")
def server():
    runs("server")
    yield
    runs("stop")

def test_a(server):
    runs("git")
    runs("git")

@pytest.mark.parametrize("x", ["1", "2"])
def test_b(x):
    runs("ls")

def test_nothing():
    pass
"""

BASELINE = """
[tests."test_it.py::test_a"]
git = 2

[tests."test_it.py::test_b[1]"]
ls = 1

[tests."test_it.py::test_b[2]"]
ls = 1

[fixtures."test_it.py::server (session)"]
server = 1
stop = 1

[around]
"""

HEAD = "import os, pytest\nfrom played import ends, leaves, runs\n"
Result = pytest.RunResult
Run = Callable[..., Result]
UPDATE = "--execprobe-update"


@pytest.fixture
def run(pytester: pytest.Pytester, played: Played, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ARG001
    """Runs a suite, under HEAD, against execs.toml."""
    monkeypatch.setenv("COLUMNS", "160")  # so that pytest's summary lines fit

    def run(
        *options: str, source: str | None = SUITE, head: str = HEAD, baseline: str | None = None
    ) -> pytest.RunResult:
        if source is not None:
            pytester.makepyfile(test_it=head + dedent(source))
        if baseline is not None:
            (pytester.path / "execs.toml").write_text("version = 1\n" + dedent(baseline))
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "--execprobe-baseline=execs.toml", *options)

    return run


def rows(pytester: pytest.Pytester) -> str:
    """What the file has after its head."""
    return (pytester.path / "execs.toml").read_text().partition("version = 1\n")[2]


# ---- writing ----


def test_a_first_update_writes_what_ran(run: Run, pytester: pytest.Pytester) -> None:
    result = run(UPDATE)
    result.assert_outcomes(passed=4)
    assert rows(pytester) == BASELINE
    result.stdout.fnmatch_lines(["baseline        execs.toml written: 5 rows new"])


def test_the_next_run_is_within_it(run: Run) -> None:
    run(UPDATE)
    result = run()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["baseline        execs.toml: no test is beyond it"])
    assert result.ret == 0


def test_each_parameter_has_its_own_rows(run: Run) -> None:
    source = "@pytest.mark.parametrize('x', [2, 1])\ndef test_b(x): [runs('ls'), runs('ls')]"
    result = run(source=source, baseline="".join(f'[tests."test_it.py::test_b[{x}]"]\nls = {x}\n' for x in (2, 1)))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*grew: ls ran 2 times, at most once in the baseline*"])


def test_a_partial_run_prunes_nothing(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE)
    for selection in (["-k", "nothing"], ["test_it.py::test_b"], ["--deselect", "test_it.py::test_a"], ["-x"]):
        run(UPDATE, *selection)
        assert rows(pytester) == BASELINE, selection


def test_a_whole_run_prunes_what_is_gone(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE)
    less = SUITE.replace('["1", "2"]', '["1"]')
    result = run(source=less)
    result.stdout.fnmatch_lines(
        ["obsolete        test_it.py::test_b[[]2[]]: a run of all tests with --execprobe-update removes them"]
    )
    assert result.ret == 0
    run("--execprobe-update-add", source=None)
    assert rows(pytester) == BASELINE
    run(UPDATE, source=None)
    assert "test_b[2]" not in rows(pytester)


WITH_EXAMPLES = '''
from played import runs

def helper():
    """
    >>> _ = runs("ls")
    """

def test_a():
    runs("git")
'''


def test_an_update_without_examples_leaves_theirs_alone(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE, "--doctest-modules", source=WITH_EXAMPLES)
    written = rows(pytester)
    assert '"test_it.py::test_it.helper"' in written
    result = run(UPDATE, source=None)
    assert rows(pytester) == written
    result.stdout.no_fnmatch_line("obsolete*")
    run(UPDATE, "--doctest-modules", "-p", "no:python", source=None)
    run(UPDATE, "--doctest-modules", "-o", "python_files=other.py", source=None)
    run(UPDATE, "--doctest-modules", "-o", "python_functions=check", source=None)
    assert rows(pytester) == written
    run(UPDATE, "--doctest-modules", source=WITH_EXAMPLES.replace(">>>", ""))
    assert "helper" not in rows(pytester), "its file was collected for examples, and has none"


def test_an_update_leaves_examples_alone_that_their_file_leaves_out(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a function on another system, and those of the module in a run without examples."""
    run = partial(run, head="")  # the docstring is to come first
    source = "'''\n>>> from played import runs\n>>> _ = runs('ls')\n'''\nimport os\nif 'WITH' in os.environ:\n"
    source += "    def helper():\n        '''\n        >>> from played import runs; _ = runs('ls')\n        '''\n"
    source += "def test_a(): pass\n"
    monkeypatch.setenv("WITH", "1")
    run(UPDATE, "--doctest-modules", source=source)
    written = rows(pytester)
    assert '"test_it.py::test_it"' in written
    assert '"test_it.py::test_it.helper"' in written
    monkeypatch.delenv("WITH")
    run(UPDATE, source=None)
    run(UPDATE, "--doctest-modules", source=None)
    assert rows(pytester) == written
    run(UPDATE, "--doctest-modules", source=source.replace(">>>", ""))
    assert "test_it.py::" not in rows(pytester)


HOOK = """
def pytest_addoption(parser): parser.addoption("--more", default=0, type=int)
def pytest_generate_tests(metafunc):
    if metafunc.config.option.more:
        metafunc.fixturenames.append("more")
        metafunc.parametrize("more", range(metafunc.config.option.more))
"""


@pytest.mark.parametrize("given", [(), ("--more=1",)], ids=["none", "fewer"])
@pytest.mark.parametrize("where", ["conftest", "test file"])
def test_an_update_leaves_parameters_of_other_options_alone(
    run: Run, pytester: pytest.Pytester, given: tuple[str, ...], where: str
) -> None:
    option, _, hook = HOOK.partition("\n")[2].partition("\n")
    pytester.makeconftest(HOOK if where == "conftest" else option)
    source = "def test_a(): runs('git')\ndef test_b(): runs('ls')\n"
    source += hook if where == "test file" else ""
    run(UPDATE, "--more=2", source=source)
    run(UPDATE, source=None)
    for name in ("test_a[0]", "test_a[1]", "test_b[1]", "test_a", "test_b"):
        assert f'"test_it.py::{name}"' in rows(pytester)
    run(UPDATE, *given, source=source.replace("test_b(", "test_c("))
    assert '"test_it.py::test_a[1]"' in rows(pytester)
    assert "test_b" not in rows(pytester), "the function itself is gone"


@pytest.mark.parametrize("name", ["test_a", "*", "test_*"])
def test_an_update_leaves_a_test_alone_that_its_file_leaves_out(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As on another system."""
    source = "import os\nif 'WITH' in os.environ:\n    def test_a(): runs('git')\n"
    pytester.makepyfile(test_other="def test_b(): pass\n")
    monkeypatch.setenv("WITH", "1")
    run(UPDATE, source=source, baseline=f'[tests."test_it.py::{name}"]\ngit = 1\n')
    monkeypatch.delenv("WITH")
    result = run(UPDATE, source=None)
    assert f'"test_it.py::{name}"' in rows(pytester)
    result.stdout.no_fnmatch_line("obsolete*")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("if 'WITH' in os.environ: from others import *", ["test_imported"]),
        ("from others import Base\nclass TestA(Base):\n    def test_own(self): pass", ["TestA::test_inherited"]),
        ("from others import Base as TestB", ["TestB::test_inherited"]),
        ("for n in os.environ.get('WITH', ''): globals()['test_%s' % n] = lambda: runs('git')", ["test_1"]),
        ("WORDS = ['a', 'b'] if 'WITH' in os.environ else ['a']\n"
         "@pytest.mark.parametrize('word', WORDS)\ndef test_a(word): runs('git')", ["test_a[a]", "test_a[b]"]),
        ("@pytest.fixture(params=['a', *os.environ.get('WITH', '')])\ndef word(request): pass\n"
         "def test_a(word): runs('git')", ["test_a[a]", "test_a[1]"]),
    ],
    ids=["star", "base class", "imported class", "globals", "parameters", "fixture"],
)  # fmt: skip
def test_an_update_leaves_a_test_alone_that_other_circumstances_make(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str, names: list[str]
) -> None:
    pytester.makepyfile(
        others="import os\nfrom played import runs\ndef test_imported(): runs('git')\n"
        "class Base:\n    __test__ = True\n"
        "    if 'WITH' in os.environ:\n        def test_inherited(self): runs('git')\n"
    )
    pytester.syspathinsert()
    source = f"import os, pytest\n{source}\ndef test_other(): runs('git')\n"
    monkeypatch.setenv("WITH", "1")
    run(UPDATE, source=source)
    written = rows(pytester)
    assert all(f'"test_it.py::{name}"' in written for name in names)
    monkeypatch.delenv("WITH")
    monkeypatch.delitem(sys.modules, "others", raising=False)
    result = run(UPDATE, source=None)
    assert rows(pytester) == written
    result.stdout.no_fnmatch_line("obsolete*")


AT_TIMES = "@pytest.fixture(params=['a'] if 'WITH' in os.environ else None)\ndef word(request): pass\n"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (AT_TIMES + "def test_a(word): runs('git')", "test_a[a]"),
        (AT_TIMES + "@pytest.mark.parametrize('n', [1])\ndef test_a(word, n): runs('git')", "test_a[a-1]"),
        ("if 'WITH' in os.environ:\n"
         "    @pytest.mark.parametrize('word', ['a', 'b'])\n    def test_a(word): runs('git')\n"
         "else:\n    @pytest.mark.parametrize('word', ['a'])\n    def test_a(word): runs('git')", "test_a[b]"),
        ("@pytest.fixture\ndef word(): pass\ndef test_a(word): runs('git')\n"
         "if 'WITH' in os.environ: test_a.pytestmark = [pytest.mark.parametrize('word', ['b'])]", "test_a[b]"),
        ("from others import Base\nclass TestC(Base):\n    def test_a(self, n): runs('git')", "TestC::test_a[1]"),
    ],
    ids=["fixture", "fixture besides", "definition", "mark", "base class"],
)  # fmt: skip
def test_an_update_leaves_parameters_of_other_circumstances_alone(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str, name: str
) -> None:
    pytester.makepyfile(
        others="import os, pytest\nclass Base:\n"
        "    pytestmark = pytest.mark.parametrize('n', [1, 2] if 'WITH' in os.environ else [2])\n"
    )
    pytester.syspathinsert()
    monkeypatch.setenv("WITH", "1")
    run(UPDATE, source=f"import os, pytest\n{source}\n")
    assert f'"test_it.py::{name}"' in rows(pytester)
    monkeypatch.delenv("WITH")
    monkeypatch.delitem(sys.modules, "others", raising=False)
    run(UPDATE, source=None)
    assert f'"test_it.py::{name}"' in rows(pytester)


def test_an_update_leaves_parameters_alone_that_a_hook_names(run: Run, pytester: pytest.Pytester) -> None:
    option = "def pytest_addoption(parser): parser.addoption('--long', action='store_true')\n"
    hook = "def pytest_make_parametrize_id(config, val): return f'n{val}' if config.option.long else None\n"
    pytester.makeconftest(option + hook)
    run(UPDATE, "--long", source="@pytest.mark.parametrize('n', [1])\ndef test_a(n): runs('git')\n")
    run(UPDATE, source=None)
    assert '"test_it.py::test_a[n1]"' in rows(pytester)


MAKES_ITEMS = """
import os, pytest
from played import runs

def made(collector):
    names = ("test_x", "test_y") if "WITH" in os.environ else ()
    return [pytest.Function.from_parent(collector, name=name, callobj=lambda: runs("git")) for name in names]
"""


@pytest.mark.parametrize(
    "hook",
    [
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_pycollect_makeitem(collector, name): return made(collector) if name == 'check' else None",
        "class Module(pytest.Module):\n    def collect(self): return [*super().collect(), *made(self)]\n"
        "def pytest_pycollect_makemodule(module_path, parent):\n"
        "    return Module.from_parent(parent, path=module_path)",
        "def pytest_collection_modifyitems(items): items += made(items[0].parent)",
        "import makes, pytest\n@pytest.hookimpl(wrapper=True)\ndef pytest_make_collect_report(collector):\n"
        "    report = yield\n    if isinstance(collector, pytest.Module): report.result += makes.some(collector)\n"
        "    return report",
        "import functools, makes\nadded = functools.partial(makes.some)\n"
        "def pytest_collection_modifyitems(items): items += added(items[0].parent)",
    ],
    ids=["item", "module", "all", "report", "partial"],
)
def test_an_update_leaves_tests_alone_that_a_hook_makes(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    is_elsewhere = "makes." in hook
    if is_elsewhere:
        pytester.makepyfile(makes=MAKES_ITEMS.replace("made(", "some("))
        pytester.syspathinsert()
    pytester.makeconftest(hook if is_elsewhere else MAKES_ITEMS + hook)
    monkeypatch.setenv("WITH", "1")
    run(UPDATE, source="def check(): pass\ndef test_other(): runs('git')\n")
    written = rows(pytester)
    assert '"test_it.py::test_x"' in written
    monkeypatch.delenv("WITH")
    result = run(UPDATE, source=None)
    assert rows(pytester) == written
    result.stdout.no_fnmatch_line("obsolete*")


#: As settings that are read when they are needed: whatever is asked of it, it is not ready.
NOT_READY = """
class NotReady:
    def __getattr__(self, name): raise RuntimeError(f"{name}: not ready")

settings = NotReady()
"""


@pytest.mark.parametrize(
    "uses",
    [
        "def pytest_collection_modifyitems(items): settings",
        "def pytest_configure(config): config.pluginmanager.register(settings, 'settings')",
    ],
    ids=["in-a-hook", "a-plugin"],
)
def test_objects_that_answer_by_exceptions_are_asked_nothing(run: Run, pytester: pytest.Pytester, uses: str) -> None:
    pytester.makeconftest(NOT_READY + uses)
    source = """
        @pytest.fixture(autouse=True)
        def adds(request): request.node.add_marker(pytest.mark.exec_deny("ls"))
        def test_a(execprobe): runs("git")
        def test_b(): runs("ls")
    """
    result = run(UPDATE, source=source)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*exec_deny('ls') added to test_b in the setup phase, test_it.py:*"])
    assert '[tests."test_it.py::test_a"]\ngit = 1\n' in rows(pytester)


@pytest.mark.parametrize("folder", [os.fsdecode(b"caf\xe9"), "a*b", "a::b"], ids=["no text", "star", "colons"])
def test_an_update_of_a_part_leaves_folders_of_all_names_alone(
    run: Run, pytester: pytest.Pytester, folder: str
) -> None:
    (pytester.path / folder).mkdir()
    (pytester.path / folder / "test_other.py").write_text("from played import runs\ndef test_b(): runs('git')\n")
    run(UPDATE, source="def test_a(): runs('ls')\n")
    written = rows(pytester)
    assert "test_other.py::test_b" in written
    run("test_it.py", UPDATE, source=None)
    assert rows(pytester) == written


@pytest.mark.parametrize("folder", [os.fsdecode(b"caf\xe9"), "a*b"], ids=["no text", "star"])
def test_limits_of_folders_of_all_names_are_not_misspelt(run: Run, pytester: pytest.Pytester, folder: str) -> None:
    (pytester.path / folder).mkdir()
    (pytester.path / folder / "test_other.py").write_text("from played import runs\ndef test_b(): runs('git')\n")
    name = json.dumps(folder.encode("utf-8", "backslashreplace").decode())
    result = run("test_it.py", source="def test_a(): pass\n", baseline=f"[packages.{name}]\nat_most = 0\n")
    assert result.ret == 0
    assert run(source=None).ret == 1


def test_what_a_plugin_calls_its_tests_is_no_file_that_is_gone(run: Run, pytester: pytest.Pytester) -> None:
    others = '[tests."lint::spelling"]\ngit = 1\n[tests."test_old.py::test_x"]\ngit = 1\n\n[tests."test_it.py'
    run(UPDATE, baseline=BASELINE.replace('[tests."test_it.py', others, 1))
    assert "lint::spelling" in rows(pytester)
    assert "test_old" not in rows(pytester)


def test_last_failed_prunes_nothing(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE)
    pytester.makepyfile(test_it=HEAD + SUITE.replace("pass", "assert 0"))
    pytester.runpytest_inprocess()
    pytester.runpytest_inprocess("--lf", "--execprobe-baseline=execs.toml", UPDATE)
    assert rows(pytester) == BASELINE


def test_a_file_that_is_gone_is_obsolete_and_removed_by_a_whole_run(run: Run, pytester: pytest.Pytester) -> None:
    gone = '\n[tests."test_old.py::test_x"]\ngit = 1\n[fixtures."old::f (module)"]\na = 1\n'
    result = run("-k", "nothing", UPDATE, baseline=BASELINE.replace("\n[around]", gone))
    assert "test_old.py" in rows(pytester)
    result = run("-k", "nothing", source=None)
    result.stdout.fnmatch_lines(["obsolete        test_old.py::test_x, old::f (module): *"])
    run(UPDATE, source=None)
    assert rows(pytester) == BASELINE


def test_a_file_that_cannot_be_collected_is_not_obsolete(run: Run) -> None:
    result = run("--continue-on-collection-errors", source=f"{SUITE}\nimport nonsense", baseline=BASELINE)
    result.stdout.no_fnmatch_line("obsolete*")


def test_only_adding_lowers_nothing(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE)
    run("--execprobe-update-add", source=SUITE.replace('runs("git")\n    runs("git")', 'runs("git")\n    runs("new")'))
    assert '[tests."test_it.py::test_a"]\ngit = 2\nnew = 1\n' in rows(pytester)


def test_a_test_that_fails_keeps_its_rows(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE)
    result = run(UPDATE, source=SUITE.replace('    runs("git")\n', "    assert 0\n", 1))
    result.assert_outcomes(passed=3, failed=1)
    assert rows(pytester) == BASELINE
    result.stdout.fnmatch_lines(["not whole       test_it.py::test_a: they did not pass: *"])


def test_what_was_lost_is_not_written(run: Run, pytester: pytest.Pytester) -> None:
    result = run(UPDATE, source="def test_a():\n    runs('git', lost=True)\n")
    assert "test_a" not in rows(pytester)
    result.stdout.fnmatch_lines(["not recorded    test_it.py::test_a: not as a whole: *"])
    result.stdout.no_fnmatch_line("not whole*")


@pytest.mark.parametrize("status", [None, 0, 1])
def test_a_run_that_is_broken_off_writes_nothing(run: Run, pytester: pytest.Pytester, status: int | None) -> None:
    run(UPDATE)
    result = run(UPDATE, source=SUITE.replace("pass", f"runs('git'); pytest.exit('enough', {status})"))
    assert rows(pytester) == BASELINE
    result.stdout.fnmatch_lines(["baseline        NOT WRITTEN: the run was broken off, or had no tests"])


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_what_was_not_recorded_is_not_written(run: Run, pytester: pytest.Pytester, played: Played, mode: str) -> None:
    run(UPDATE)
    played.refusal = "no BPF"
    result = run(UPDATE, f"--execprobe={mode}", source="def test_a(): pass\ndef test_b(): pass\n")
    assert rows(pytester) == BASELINE
    result.stdout.fnmatch_lines(["baseline        NOT WRITTEN: nothing was recorded"])


def test_an_update_needs_a_name(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(UPDATE)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--execprobe-update needs to know what to write: name it, --execprobe-baseline=PATH"])


def test_a_baseline_that_cannot_be_written_fails_the_run(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "execs.toml").mkdir()
    result = run(UPDATE)
    assert result.ret == 4  # it can't be read either
    (pytester.path / "execs.toml").rmdir()
    source = "import os\ndef test_a():\n    os.mkdir('execs.toml')\n"
    result = run(UPDATE, source=source)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the baseline *execs.toml can't be written: Is a directory*"])


MEANWHILE = """
import pathlib
from played import runs
def test_a():
    runs("git")
    file = pathlib.Path("execs.toml")
    text = {text!r}
    file.unlink() if text is None else file.write_bytes(text.encode("latin-1"))
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1\n<<<<<<< ours\n", "is damaged, and is left as it is"),
        ("version = 1\n[tests\n", "is damaged, and is left as it is"),
        ("version = 99\n", "is of version 99, *left as it is"),
        ('version = 1\n[tests."test_it.py::test_a"]\ngit = [1]\n', "must be a number, a range"),
        ("version = 1\n# \xff\n", "can't decode"),
        ("", "version must be 1"),
        (None, "it was removed while the tests ran"),
    ],
)
@pytest.mark.parametrize("update", [UPDATE, "--execprobe-update-add"])
def test_a_baseline_that_is_damaged_meanwhile_fails_the_run_and_is_left_alone(
    run: Run, pytester: pytest.Pytester, text: str | None, said: str, update: str
) -> None:
    result = run(update, source=MEANWHILE.format(text=text), baseline="[total]\nat_most = 9\n")
    assert result.ret == 1
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"the baseline *execs.toml can't be written: *{said}*"])
    result.stdout.fnmatch_lines(["ERROR execprobe::baseline - *"])
    result.stdout.no_fnmatch_line("baseline *written*")
    file = pytester.path / "execs.toml"
    assert (file.read_bytes().decode("latin-1") if file.exists() else None) == text


def test_a_baseline_that_is_no_file_any_more_fails_the_run(run: Run) -> None:
    source = "import os\ndef test_a():\n    os.unlink('execs.toml')\n    os.symlink('/dev/null', 'execs.toml')\n"
    result = run(UPDATE, source=source, baseline="[total]\nat_most = 9\n")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["the baseline *execs.toml can't be written: it was removed while the tests ran*"])


def test_a_baseline_without_a_row_that_is_removed_meanwhile_is_made_anew(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE, source=MEANWHILE.format(text=None), baseline="")
    assert rows(pytester).startswith('\n[tests."test_it.py::test_a"]\ngit = 1\n')


def test_what_people_write_into_it_meanwhile_is_kept(run: Run, pytester: pytest.Pytester) -> None:
    """Also where what the run found obsolete is gone already."""
    text = 'version = 1\n# new\n[total]\nat_most = 7\n[tests."test_it.py::test_a"]\ngit = 3  # cold\n'
    old = '[tests."test_it.py::test_old"]\ngit = 1\n[tests."test_gone.py::test_x"]\nls = 1\n'
    result = run(UPDATE, source=MEANWHILE.format(text=text), baseline=old)
    assert result.ret == 0
    assert rows(pytester).startswith(
        '# new\n[total]\nat_most = 7\n\n[tests."test_it.py::test_a"]\ngit = 1  # cold\n\n[fixtures]\n'
    )
    result.stdout.fnmatch_lines(["baseline        execs.toml written: 1 row lowered"])


# ---- judging ----


def test_what_is_new_and_what_grew(run: Run) -> None:
    run(UPDATE)
    result = run(
        "-v", source=SUITE.replace('runs("git")\n', 'runs("git")\n    runs("curl")\n    runs("git", "x")\n', 1)
    )
    result.assert_outcomes(passed=3, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "beyond the baseline: new: curl ran once; grew: git ran 3 times, at most 2 times in the baseline (*",
            '  rule  tests."test_it.py::test_a" in execs.toml',
            "> *2 * /usr/bin/curl",
            "> *4 * /usr/bin/git*",
            "  if this is right: *pytest test_it.py::test_a * --execprobe-baseline=execs.toml -v --execprobe-update",
            "baseline        execs.toml: 1 beyond it; if what ran is right: *pytest *--execprobe-baseline=execs.toml -v"
            " --execprobe-update",
        ]
    )


def test_the_command_accepts_it(run: Run) -> None:
    run(UPDATE)
    more = SUITE.replace('runs("git")\n', 'runs("git")\n    runs("curl")\n', 1)
    assert run(source=more).ret == 1
    run("test_it.py::test_a", UPDATE, source=None)
    assert run(source=None).ret == 0


def test_set_up_and_teardown_count_too(run: Run) -> None:
    source = """
        @pytest.fixture
        def f():
            runs("git")
            yield
            runs("curl")
        def test_a(f): pass
    """
    result = run(source=source, baseline='[tests."test_it.py::test_a"]\ngit = 1\n')
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["beyond the baseline: new: curl ran once (*"])


def test_a_test_runs_although_its_set_up_is_beyond(run: Run) -> None:
    source = """
        @pytest.fixture
        def f(): runs("git")
        def test_a(f): runs("ls")
        def test_b(f): pytest.skip("so")
    """
    result = run(source=source, baseline="[tests]\n")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["beyond the baseline: new: git ran once; new: ls ran once (setup and call phases)"])


def test_a_breach_is_told_once(run: Run) -> None:
    source = """
        @pytest.fixture
        def f():
            runs("git")
            yield
            runs("git")
        def test_a(f): pass
    """
    result = run(source=source, baseline="[tests]\n")
    assert result.stdout.str().count("\nbeyond the baseline: ") == 1


def test_wider_fixtures_are_judged_by_rows_of_their_own(run: Run) -> None:
    result = run(baseline=BASELINE.replace("server = 1", "server = 0"))
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        ["beyond the baseline: grew: server ran once, at most 0 times in the baseline (set-up of fixture *"]
    )


@pytest.mark.parametrize("mark", ["xfail", "xfail(strict=True)"])
def test_a_wider_fixture_is_not_excused_by_the_test_that_needs_it_first(run: Run, mark: str) -> None:
    source = f"""
        @pytest.fixture(scope="session")
        def f():
            runs("id")
            yield
            runs("who")
        @pytest.mark.{mark}
        def test_a(f): assert 0
        def test_b(): pass
        @pytest.mark.xfail
        def test_c(): assert 0
    """
    result = run(source=source, baseline="[tests]\n[fixtures]\n")
    assert result.ret == 1
    result.stdout.fnmatch_lines_random(["beyond the baseline: new: id ran once*", "beyond the baseline: new: who ran*"])


def test_a_run_that_a_fixture_ends_is_judged(run: Run) -> None:
    source = """
        @pytest.fixture
        def f():
            runs("id")
            pytest.exit("enough", returncode=0)
        def test_a(f): pass
    """
    result = run("--execprobe-report=a.json", source=source, baseline="[tests]\n")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*beyond the baseline: new: id ran once*"])


def test_a_report_of_a_part_of_a_run_says_so(run: Run, pytester: pytest.Pytester) -> None:
    run("-x", "--execprobe-report=a.json", source=SUITE.replace('runs("ls")', "assert 0"), baseline=BASELINE)
    (told,) = json.loads((pytester.path / "a.json").read_text())["runs"]
    assert told["unknown"] == ["the run was broken off: 2 of 4 tests were not run to their end"]


def test_a_test_that_was_broken_off_has_not_passed(run: Run, pytester: pytest.Pytester) -> None:
    run("--execprobe-report=a.json", source="def test_a(): pytest.exit('enough')\n", baseline=BASELINE)
    assert stored(pytester)["test test_it.py::test_a"]["outcome"] == "error"


@pytest.mark.parametrize("options", [(), ("-x",)])
def test_tests_that_a_hook_has_named_keep_their_rows(
    run: Run, pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    pytester.makeconftest("""
        import pytest
        def pytest_collection_modifyitems(items):
            items[:] = [pytest.Function.from_parent(i.parent, name=i.name + "_again", callobj=i.obj) for i in items]
    """)
    source = "def test_a(): assert 0\ndef test_b(): runs('git')\n"
    written = "".join(f'[tests."test_it.py::{name}_again"]\ngit = 2 # kept\n\n' for name in ("test_a", "test_b"))
    result = run(*options, source=source, baseline=written)
    result.stdout.no_fnmatch_line("obsolete*")
    run(UPDATE, *options, source=source, baseline=written)
    assert rows(pytester).count("# kept") == 2


@pytest.mark.parametrize("wanted", [True, False])
def test_a_fixture_that_is_not_named_where_it_stands_keeps_its_rows(
    run: Run, pytester: pytest.Pytester, wanted: bool
) -> None:
    """A decorator of another file has made it."""
    pytester.syspathinsert()
    pytester.makepyfile(
        maker="""
        import sys, pytest
        from played import runs
        def register(cls):
            def made(): runs("git")
            setattr(sys.modules[cls.__module__], "city", pytest.fixture(scope="session", name="city")(made))
            return cls
        """
    )
    folder = pytester.mkdir("sub")
    (folder / "conftest.py").write_text("from maker import register\n@register\nclass Place: pass\n")
    body = "city" if wanted else ""
    (folder / "test_sub.py").write_text(f"def test_a({body}): pass\n")
    written = '[fixtures."sub::city (session)"]\ngit = 3 # by hand\n'
    for options in ((), (UPDATE,)):
        result = run(*options, source="", baseline=written)
        result.stdout.no_fnmatch_line("obsolete*")
        assert (result.ret, written in rows(pytester)) == (0, True)


def test_what_a_fixtures_server_runs_is_below_it(run: Run, pytester: pytest.Pytester) -> None:
    source = """
        @pytest.fixture(scope="session")
        def server(): return runs("server")
        def test_a(server): runs("git", by=server)
    """
    written = (
        '[tests."test_it.py::test_a"]\n"subtree:server" = 1\n\n[fixtures."test_it.py::server (session)"]\nserver = 1\n'
    )
    for options in ((UPDATE,), ()):
        result = run(*options, source=source, baseline=written)
        result.stdout.no_fnmatch_line("less than it*")
        assert (result.ret, written in rows(pytester)) == (0, True)


def test_a_fixture_that_fails_keeps_its_rows(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE)
    run(UPDATE, source=SUITE.replace('    yield\n    runs("stop")', '    pytest.skip("so")'))
    assert rows(pytester) == BASELINE


def test_a_class_that_cannot_be_collected_is_not_obsolete(run: Run, pytester: pytest.Pytester) -> None:
    source = """
        def test_a(): pass
        class TestC:
            @pytest.mark.parametrize("x", [1])
            def test_c(self, x): runs("ls")
    """
    run(UPDATE, source=source)
    before = rows(pytester)
    run(UPDATE, "--continue-on-collection-errors", source=source.replace("[1]", "3"))
    assert rows(pytester) == before


def test_from_another_root_nothing_is_obsolete(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE)
    folder = pytester.mkdir("sub")
    (folder / "test_sub.py").write_text("def test_a(): pass\n")
    file = pytester.path / "execs.toml"
    pytester.runpytest_inprocess("--rootdir=sub", f"--execprobe-baseline={file}", UPDATE, "sub/test_sub.py")
    assert rows(pytester) == BASELINE


def test_a_baseline_of_another_root_is_an_error_and_left_alone(run: Run, pytester: pytest.Pytester) -> None:
    """Also where a file has the name of one that it speaks of."""
    others = '[tests."test_it.py::test_other"]\ngit = 1\n[tests."test_more.py::test_a"]\nls = 1\n'
    assert run(UPDATE, baseline=others).ret == 0
    pytester.makepyfile(test_more="from played import runs\ndef test_a(): runs('ls')\n")
    run(UPDATE, source=None)
    before = rows(pytester)
    folder = pytester.mkdir("sub")
    (folder / "test_it.py").write_text("def test_a(): pass\n")
    file = f"--execprobe-baseline={pytester.path / 'execs.toml'}"
    for update in ([], [UPDATE]):
        pytester.path.joinpath("test_it.py").rename(pytester.path / "hidden")  # one name, one module
        result = pytester.runpytest_inprocess("--rootdir=sub", file, *update, "sub")
        pytester.path.joinpath("hidden").rename(pytester.path / "test_it.py")
        assert result.ret == 1
        result.stdout.fnmatch_lines(["execs.toml names test_more.py, which is in *: its names begin at another*"])
        assert rows(pytester) == before


def test_a_test_that_was_moved_to_where_the_baseline_is_is_no_other_roots(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE)
    folder = pytester.mkdir("sub")
    for name in ("execs.toml", "test_it.py"):
        (pytester.path / name).rename(folder / name)
    result = pytester.runpytest_inprocess("--execprobe-baseline=sub/execs.toml", UPDATE)
    assert result.ret == 0
    assert '[tests."sub/test_it.py::test_a"]' in (folder / "execs.toml").read_text()


def test_a_stray_counts_for_its_test(run: Run) -> None:
    source = """
        top = None
        def test_a():
            global top
            top = runs("sh")
            ends(top)
        def test_b():
            runs("curl", by=top)
    """
    baseline = '[tests."test_it.py::test_a"]\nsh = 1\n[tests."test_it.py::test_b"]\ncurl = 9\n'
    result = run(source=source, baseline=baseline)
    result.stdout.fnmatch_lines(["*new: curl ran once*", '  rule  tests."test_it.py::test_a" in execs.toml'])


STRAY = """
top = None
def test_a():
    global top
    top = runs("sh")
    runs("date", by=top)
    ends(top)
def test_b():
    runs("date", by=top)
"""


def test_how_much_of_a_stray_comes_in_time_is_a_range(run: Run, pytester: pytest.Pytester) -> None:
    run(UPDATE, source=STRAY)
    assert rows(pytester).startswith('\n[tests."test_it.py::test_a"]\ndate = [1, 2]\nsh = 1\n')
    fewer = STRAY.replace('def test_b():\n    runs("date", by=top)', "def test_b(): pass")
    assert run(source=fewer).ret == 0
    run(UPDATE, source=None)
    assert "date = [1, 2]\n" in rows(pytester)


def test_a_first_update_sorts_like_every_other(run: Run, pytester: pytest.Pytester) -> None:
    source = "def test_a():\n    for p in ('hello', 'make', 'z z', 'git'): runs(p)\n"
    run(UPDATE, source=source, baseline='patterns = ["subtree:make", "subtree:git"]\n')
    first = rows(pytester)
    assert '"]\n"subtree:make" = 1\n"subtree:git" = 1\n"argv:\'z z\'" = 1\nhello = 1\n' in first
    result = run(UPDATE, source=None)
    assert rows(pytester) == first
    result.stdout.fnmatch_lines(["baseline        execs.toml: no change"])


def test_the_collection_has_rows(run: Run, pytester: pytest.Pytester) -> None:
    source = "runs('git')\ndef test_a(): pass\n"
    result = run(source=source, baseline="[around]\n")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*beyond the baseline: new: git ran once (collection)*"])
    run(UPDATE, source=None)
    assert "[around.collection]\ngit = 1\n" in rows(pytester)


def test_what_an_xfail_excuses_is_not_said_to_be_within(run: Run) -> None:
    source = "@pytest.mark.xfail\ndef test_a():\n    runs('git')\n"
    result = run(source=source, baseline="[tests]\n")
    assert result.ret == 0
    said = "baseline *: 1 beyond it (1 expected to fail, which execprobe gate does not excuse); if what ran is right: *"
    result.stdout.fnmatch_lines([said])
    run(UPDATE, source=None)
    run(source=None).stdout.fnmatch_lines(["baseline *: no test is beyond it"])


def test_an_xfail_that_excuses_another_rule_first(run: Run) -> None:
    source = "@pytest.mark.xfail\n@pytest.mark.exec_deny('git')\ndef test_a():\n    runs('git')\n"
    result = run(source=source, baseline="[tests]\n")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "xfailed *: git must not run, * (call phase); beyond the baseline: new: git ran once *",
            "baseline *: 1 beyond it (1 expected to fail, which execprobe gate does not excuse); *",
        ]
    )


def test_what_a_process_ran_that_was_killed_has_rows(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(KILLED)
    source = "def test_a():\n    runs('git')\n"
    result = run(source=source, baseline="[tests]\n")
    result.stdout.fnmatch_lines(["*beyond the baseline: new: git ran once (a process that was killed)"])
    run(UPDATE, source=None).stdout.fnmatch_lines(["baseline *: 1 row new", "not whole *: they did not pass: *"])
    assert '[tests."test_it.py::test_a"]\ngit = 1\n' in rows(pytester)
    result = run(source=None)
    result.stdout.fnmatch_lines(["baseline *: no test is beyond it, and 1 of 1 were not run to their end"])


@pytest.mark.parametrize("text", ['everywhere = ["git"]\n', '[aliases]\ngit = "g"\n'])
def test_what_an_update_accepts_that_was_forbidden_stays_accepted(
    run: Run, pytester: pytest.Pytester, text: str
) -> None:
    baseline = f'{text}[tests."test_it.py::test_a"]\ngit = 0\n'
    assert run(source="def test_a(): runs('git')\n", baseline=baseline).ret == 1
    for _ in range(2):  # the second one takes out the row, which has nothing any more
        assert run(UPDATE, source=None).ret == 0
        assert run(source=None).ret == 0
    assert "git = 1\n" not in rows(pytester)
    run(UPDATE, source=None).stdout.fnmatch_lines(["baseline *: no change"])


def test_what_is_not_known_is_undecided(run: Run) -> None:
    source = "@pytest.mark.xfail\ndef test_a():\n    runs('git', lost=True)\n"
    result = run(source=source, baseline=BASELINE)
    result.assert_outcomes(errors=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*cannot tell whether only what the baseline has ran: 1 exec missing from the log*"])


def test_no_sections_judge_no_test(run: Run) -> None:
    assert run(baseline="[total]\nat_most = 6\n").ret == 0


def test_limits_of_the_run_as_a_whole(run: Run) -> None:
    result = run(baseline='[total]\nat_most = 5\nprograms = { git = 1 }\n[packages."test_it.py"]\nat_most = 3\n')
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "beyond the baseline: 6 execs, at most 5 allowed; grew: git ran 2 times, *once in the baseline (the*",
            "  most   test_it.py::test_b[[]2[]]",
            "  git   test_it.py::test_a",
            "  if this is right: raise it in execs.toml, at [[]total]",
            '  if this is right: raise it in execs.toml, at [[]packages."test_it.py"]',
            "baseline        execs.toml: no test is beyond it",
            "ERROR execprobe::baseline of the run as a whole - beyond the baseline: 6 execs, at most 5 allowed;*",
            "ERROR execprobe::baseline of test_it.py - beyond the baseline: 6 execs, at most 3 allowed*",
        ]
    )


def test_an_update_raises_no_limit_of_the_whole(run: Run) -> None:
    result = run(UPDATE, baseline="[total]\nat_most = 5\n")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["beyond the baseline: 6 execs, at most 5 allowed (the run as a whole)"])


@pytest.fixture
def packages(pytester: pytest.Pytester) -> None:
    """Folders with and without tests, beside test_it.py."""
    pytester.makeconftest("collect_ignore = ['tests/elsewhere']\n")
    for name, source in {
        "tests/release/test_tag": "class TestTag:\n    def test_a(self): pass\n",
        "tests/elsewhere/test_mac": "def test_a(): pass\n",
        "tests/helpers": "def test_a(): pass\n",
        "tests/test_none": "",
        "tests/test_some": "import sys\nif sys.platform == 'none':\n    class TestNone: pass\n",
        "data/x": "",
    }.items():
        file = pytester.path / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)


THERE = [
    "tests",
    "tests/",
    "tests/release",
    "tests/release/test_tag.py",
    "tests/release/test_tag.py::TestTag",
    "test_it.py",
]
NO_PLACE = "there is no such folder or file"
MISSPELT = {
    "test/release": NO_PLACE,
    "Tests/release": NO_PLACE,
    "tests/release ": NO_PLACE,
    "tests/relea": NO_PLACE,
    "tests/*": NO_PLACE,
    "tests.release": NO_PLACE,
    "release": NO_PLACE,
    "tests/release/test_tag": NO_PLACE,
    "tests/release/test_tag.py::TestTga": "the file has nothing of that name",
    "tests/release/test_tag.py::Test": "the file has nothing of that name",
    "tests/release/test_tag.py::TestTag::test_b": "the file has nothing of that name",
    "test_it.py::test_*": "the file has nothing of that name",
    "tests/test_none.py": "the file has no test",
    "tests/helpers.py": "the file has no test",
    "data": "the folder has no test",
}
LEFT_OUT = ["tests/elsewhere", "tests/elsewhere/test_mac.py", "tests/test_some.py::TestNone"]


def limited(*names: str) -> str:
    return "".join(f'[packages."{name}"]\nat_most = 99\n' for name in names)


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(("name", "why"), MISSPELT.items())
def test_a_limit_of_a_package_without_tests_is_an_error(run: Run, name: str, why: str) -> None:
    result = run(baseline=limited(name))
    assert result.ret == 1
    result.assert_outcomes(passed=5, errors=1)
    headline = f'packages."{name}" in execs.toml limits nothing: {why}'
    assert f"\n{headline}\n  Fix   name a folder, a file or a class as node ids do" in result.stdout.str()


@pytest.mark.usefixtures("packages")
def test_limits_of_packages_with_tests_are_not(run: Run) -> None:
    for options in ((), ("-k", "nothing"), ("-m", "nothing"), (UPDATE,)):
        result = run(*options, baseline=limited(*THERE))
        assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED), options
        result.stdout.no_fnmatch_line("not judged*")


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("name", LEFT_OUT)
def test_one_whose_tests_are_left_out_on_this_machine_is_told_of(run: Run, name: str) -> None:
    result = run(baseline=limited(name))
    assert result.ret == 0
    result.stdout.fnmatch_lines([f'not judged      packages."{name}": this run has collected no test there'])


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(("name", "file"), [("src", "app.py"), ("src/app.py", "app.py"), ("docs", "usage.rst")])
def test_one_whose_tests_are_examples_of_another_run_is_told_of(
    run: Run, pytester: pytest.Pytester, name: str, file: str
) -> None:
    folder = pytester.mkdir(name.partition("/")[0])
    (folder / file).write_text('"""\n>>> 1\n1\n"""\n')
    result = run(baseline=limited(name))
    assert result.ret == 0
    result.stdout.fnmatch_lines([f'not judged      packages."{name}": this run has collected no test there'])


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    "options",
    [
        ("test_it.py",),
        ("test_it.py::test_a",),
        ("--ignore=tests",),
        ("tests/release/test_tag.py::TestTag::test_a", "test_it.py"),
    ],
)
def test_of_a_part_of_a_suite_only_what_is_sure_is_an_error(run: Run, options: tuple[str, ...]) -> None:
    names = [name for name, why in MISSPELT.items() if why != NO_PLACE and name != "test_it.py::test_*"]
    result = run(*options, baseline=limited("tests", "tests/release", *names[:2], "tests/test_none.py"))
    assert result.ret == 0
    result = run(*options, baseline=limited("tests/relea"))
    assert result.ret == 1


@pytest.mark.usefixtures("packages")
def test_a_file_that_cannot_be_collected_may_have_the_tests(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "tests/release/test_tag.py").write_text("class TestTag: pass\nimport nonsense\n")
    result = run(
        "--continue-on-collection-errors", baseline=limited("tests/release", "tests/release/test_tag.py::TestTga")
    )
    result.stdout.no_fnmatch_line("*limits nothing*")


@pytest.mark.parametrize("name", ["test_it.py::server (session)", "test_it.py::server"])
def test_a_fixture_of_which_no_test_was_run_is_left_out(run: Run, name: str) -> None:
    result = run("-k", "nothing", baseline=limited(name))
    result.stdout.fnmatch_lines([f'not judged      packages."{name}": this run has collected no test there'])
    assert result.ret == 0


def test_where_nothing_could_be_recorded_no_limit_is_judged(run: Run, played: Played) -> None:
    played.refusal = "no BPF"
    result = run("--execprobe=auto", source="def test_a(): pass\n", baseline=limited("tset_it.py"))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["NOT CHECKED*"])


def test_a_hook_leaves_records_out_of_both(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_execprobe_record(record):\n    return record.program != 'ls' and None\n")
    run(UPDATE)
    assert "ls" not in rows(pytester)
    assert run("--execprobe-report=a.json").ret == 0
    unit = stored(pytester)["test test_it.py::test_b[1]"]
    assert unit["uncounted"] == [record["id"] for record in unit["records"]]  # type: ignore[attr-defined]


def test_what_ran_less_is_told(run: Run) -> None:
    result = run(baseline=BASELINE.replace("git = 2", "git = 3"))
    result.stdout.fnmatch_lines(["less than it    test_it.py::test_a: a run with --execprobe-update lowers their rows"])
    assert result.ret == 0


def test_what_runs_once_a_process_in_another_order_is_said_to_have_moved(run: Run) -> None:
    """Whoever is first fills the cache. An update would break the order that the baseline was written in."""
    source = """

        cache = []

        def ask():
            cache or (runs("uname", "-r"), cache.append(1))

        def test_a(): ask()

        def test_b(): ask()
        """
    run(UPDATE, source=source)
    result = run("test_it.py::test_b", "test_it.py::test_a", source=source)
    result.stdout.fnmatch_lines(
        [
            "moved           uname (1 exec) from test_it.py::test_a to test_it.py::test_b: if it runs once a process,*"
            ' write everywhere = [[]"uname"[]] in execs.toml, *'
        ]
    )
    everywhere = 'everywhere = ["uname"]\n[tests]\n'
    for order in (["test_it.py::test_b", "test_it.py::test_a"], [], ["test_it.py::test_b"]):
        assert run(*order, source=source, baseline=everywhere).ret == 0


# ---- the file and the mode ----


@pytest.mark.parametrize("options", [[], [UPDATE]])
def test_a_damaged_file_is_an_error_and_left_as_it_is(run: Run, pytester: pytest.Pytester, options: list[str]) -> None:
    file = pytester.path / "execs.toml"
    for text in ("version = 1\n<<<<<<<\n", "version = 99\n"):
        file.write_text(text)
        result = run(*options)
        assert result.ret == 4
        result.stderr.fnmatch_lines(["*--execprobe-baseline: *execs.toml is *left as it is*"])
        assert file.read_text() == text


def test_a_missing_file_is_an_error(run: Run) -> None:
    result = run()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*there is no *execs.toml: a run with --execprobe-update makes it"])


def test_it_requires_a_probe(run: Run, played: Played) -> None:
    played.refusal = "no BPF"
    assert run(source="def test_a(): pass", baseline=BASELINE).ret == 4
    result = run("--execprobe=auto", source=None)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["NOT CHECKED     1 test: no BPF", "baseline        execs.toml: NOT CHECKED, for no test was recorded"]
    )


def test_what_runs_no_test_needs_no_probe(run: Run, played: Played) -> None:
    for option in ("--fixtures", "--fixtures-per-test", "--collect-only"):
        result = run(option, baseline=BASELINE)
        assert result.ret == 0
        result.stdout.no_fnmatch_line("baseline *")
    assert not played.sources


@pytest.mark.usefixtures("played")
def test_an_empty_option_takes_back_the_ini_files(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nexecprobe_baseline = execs.toml\n")
    pytester.makepyfile(test_it=HEAD + SUITE)
    (pytester.path / "execs.toml").write_text("version = 1\n[tests]\n")
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider").ret == 1
    pytester.makepyfile(test_it="def test_a(): pass")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--execprobe-baseline=")
    result.stdout.no_fnmatch_line("baseline *")


def test_from_an_ini_file(run: Run, pytester: pytest.Pytester, played: Played) -> None:  # noqa: ARG001
    run(UPDATE)
    pytester.makeini("[pytest]\nexecprobe_baseline = execs.toml\n")
    pytester.makepyfile(test_it=HEAD + SUITE.replace('runs("ls")', 'runs("dir")'))
    folder = pytester.mkdir("elsewhere")
    pytester.chdir()
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-v", f"--rootdir={pytester.path}")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["  if this is right: *pytest 'test_it.py::test_b[[]1[]]' * --execprobe-update"])
    assert folder.is_dir()


# ---- reports of the same runs ----


def test_reports_in_all_forms(run: Run, pytester: pytest.Pytester) -> None:
    forms = ["a.json", "a.html", "deep/a.md", "a.trace.json"]
    result = run(*(f"--execprobe-report={form}" for form in forms), baseline=BASELINE)
    assert result.ret == 0
    for form in forms:
        assert (pytester.path / form).stat().st_size > 100
        result.stdout.fnmatch_lines([f"report          *{form}"])


def test_a_report_says_all_however_quiet_pytest_is(run: Run, pytester: pytest.Pytester) -> None:
    run("-q", "--execprobe-report=a.json", baseline=BASELINE.replace("git = 2", "git = 1"))
    (breach,) = stored(pytester)["test test_it.py::test_a"]["breaches"]  # type: ignore[misc]
    assert "/usr/bin/git" in breach["text"]
    assert "pytest test_it.py::test_a" in breach["text"].partition("if this is right: ")[2]


def stored(pytester: pytest.Pytester) -> dict[str, dict[str, object]]:
    units = json.loads((pytester.path / "a.json").read_text())["units"]
    return {f"{unit['kind']} {unit['name']}": unit for unit in units}


def test_a_report_has_everything(run: Run, pytester: pytest.Pytester) -> None:
    from pytest_execprobe.report.read import read

    source = SUITE + "@pytest.mark.xfail\ndef test_x():\n    assert 0\n@pytest.mark.skip\ndef test_s(): pass\n"
    run("--execprobe-report=a.json", source=source, baseline=BASELINE.replace("git = 2", "git = 1"))
    document = read(pytester.path / "a.json")
    units = {unit.name: unit for unit in document.units}
    assert {name: unit.outcome for name, unit in units.items() if unit.kind == "test"} == {
        "test_it.py::test_a": "failed",
        "test_it.py::test_b[1]": "passed",
        "test_it.py::test_b[2]": "passed",
        "test_it.py::test_nothing": "passed",
        "test_it.py::test_x": "xfailed",
        "test_it.py::test_s": "skipped",
    }
    of_a = units["test_it.py::test_a"]
    assert [record.program for record in of_a.records] == ["git", "git"]
    assert (of_a.file, of_a.line) == ("test_it.py", 10)
    assert set(of_a.phases) == {"setup", "call", "teardown"}
    assert of_a.breaches[0].headline.startswith("beyond the baseline: grew: git")
    assert [record.program for record in units["test_it.py::server (session)"].records] == ["server", "stop"]
    (told,) = document.runs
    assert told.exit_status == 1
    assert document.complete


PLACES = """
import tempfile
places = [tempfile.gettempdir() + "/data", os.path.expanduser("~") + "/data"]
@pytest.fixture(scope="module", params=places)
def f(request):
    runs("make")
@pytest.mark.parametrize("place", places)
def test_a(place):
    runs("git")
@pytest.mark.parametrize("place", places)
def test_b(place):
    pass
def test_c(f):
    pass
"""
PORTABLE = [f"test_it.py::test_{which}[{place}/data]" for which in "abc" for place in ("$TMPDIR", "~")]


def test_names_in_reports_hold_no_folder_of_this_machine(run: Run, pytester: pytest.Pytester, played: Played) -> None:
    """They would fit no other machine's baseline, and tell who works here."""
    run(UPDATE, source=PLACES)
    budget = rows(pytester)
    result = run("--execprobe-report=a.json", source=PLACES, baseline=budget.replace("git = 1", "git = 0"))
    result.assert_outcomes(passed=4, failed=2)
    units = stored(pytester)
    assert sorted(name for name in units if name.startswith("test ")) == [f"test {name}" for name in PORTABLE]
    for name in PORTABLE[:2]:  # their breaches are found by names, too
        (breach,) = units[f"test {name}"]["breaches"]  # type: ignore[misc]
        assert breach["headline"].startswith("beyond the baseline: grew: git")
    (told,) = json.loads((pytester.path / "a.json").read_text())["runs"]
    assert told["breaches"] == []
    played.refusal = "no BPF"  # then no record has brought them
    run("--execprobe-report=a.json", "--execprobe=auto", source=PLACES, baseline="[total]\nat_most = 9\n")
    found = sorted(name for name in stored(pytester) if name.startswith("test "))
    assert found == [f"test {name}" for name in PORTABLE]


def test_a_report_judged_elsewhere(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where home and temporary folders are others."""
    from pytest_execprobe import gate
    from pytest_execprobe.baseline.read import read_baseline
    from pytest_execprobe.report.read import read

    run(UPDATE, "--execprobe-report=a.json", source=PLACES)
    monkeypatch.setattr(tempfile, "tempdir", "/elsewhere/tmp")
    monkeypatch.setenv("HOME", "/elsewhere/home")
    document, baseline = read(pytester.path / "a.json"), read_baseline(pytester.path / "execs.toml")
    assert gate.judge(document, baseline).status is gate.GateStatus.WITHIN
    assert not gate.unseen(document, baseline)


# ---- names that depend on the machine ----

IN_FOLDER = """
@pytest.fixture(scope="module")
def f():
    runs("make")
@pytest.mark.parametrize("place", ["/opt/home/x", "/srv/opt/home", "/opt/homely", "~~"])
def test_a(place, f):
    os.environ["HOME"] = "/srv"  # which changes no name
    runs("git")
"""


@pytest.fixture
def run_at(run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a suite of which a part lies in a folder that ends like one machine's home, on a machine of a given home."""

    def run_at(home: str, *options: str, baseline: str | None = None) -> pytest.RunResult:
        monkeypatch.setenv("HOME", home)
        folder = pytester.path / "src/opt/home"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test_in.py").write_text(HEAD + IN_FOLDER.replace("/opt/home/x", f"{home}/x"))
        return run(*options, baseline=baseline)

    return run_at


def test_a_file_of_one_machine_fits_another(run_at: Run, pytester: pytest.Pytester) -> None:
    run_at("/opt/home", UPDATE)
    written = rows(pytester)
    assert '[tests."src/opt/home/test_in.py::test_a[/srv/opt/home]"]\n' in written
    assert '[tests."src/opt/home/test_in.py::test_a[~/x]"]\n' in written
    result = run_at("/home/me")
    result.stdout.fnmatch_lines(["baseline        execs.toml: no test is beyond it"])
    assert result.ret == 0
    for options in ((UPDATE,), (UPDATE, "test_it.py")):  # the second is one of another folder
        run_at("/home/me", *options)
        assert rows(pytester) == written


@pytest.mark.parametrize("home", ["/opt/home", "/home/me"])
def test_a_limit_of_a_folder_named_like_a_home_is_judged(run_at: Run, home: str) -> None:
    result = run_at(home, baseline='[packages."src/opt/home"]\nat_most = 4\n')
    result.stdout.fnmatch_lines(["beyond the baseline: 5 execs, at most 4 allowed (src/opt/home)"])


@pytest.fixture
def formerly(run_at: Run, pytester: pytest.Pytester) -> str:
    """What an earlier version wrote where home was /opt/home, but with a comment."""
    run_at("/opt/home", UPDATE)
    text = rows(pytester).replace("/opt/home", "~").replace('[~ly]"]\n', '[~ly]"]\n# kept\n')
    assert text.count("src~/test_in.py") == 5
    return text


@pytest.mark.parametrize("home", ["/opt/home", "/home/me"])
def test_a_file_of_an_earlier_version_is_told_of_and_renamed(
    run_at: Run, pytester: pytest.Pytester, formerly: str, home: str
) -> None:
    right = rows(pytester)
    result = run_at(home, baseline=formerly)
    result.stdout.fnmatch_lines(
        [
            "old names       src~/test_in.py::test_a*: earlier versions named them so, and no test is judged by them;"
            " this renames them: *pytest * --execprobe-baseline=execs.toml --execprobe-update"
        ]
    )
    result.stdout.no_fnmatch_line("obsolete*")
    assert result.ret == 1  # for the tests have no rows now
    result = run_at(home, UPDATE, baseline=formerly)
    assert "# kept" in rows(pytester)
    assert rows(pytester).replace("# kept\n", "") == right
    result.stdout.fnmatch_lines(["baseline        execs.toml written: 5 tables renamed"])
    assert run_at(home).ret == 0


@pytest.mark.parametrize("update", [UPDATE, "--execprobe-update-add"])
def test_a_table_of_an_earlier_name_outlives_an_update_of_another_folder(
    run_at: Run, pytester: pytest.Pytester, formerly: str, update: str
) -> None:
    result = run_at("/opt/home", update, "test_it.py", baseline=formerly)
    written = rows(pytester)
    assert sorted(written.splitlines()) == sorted(formerly.splitlines())  # sorted anew
    result.stdout.fnmatch_lines(["old names       src~/test_in.py::test_a*: *update with all tests, or rename them*"])


def test_an_earlier_name_in_a_file_that_was_collected_is_not_obsolete(run: Run, pytester: pytest.Pytester) -> None:
    source = dedent("""
        import pytest
        from played import runs
        @pytest.mark.parametrize("place", ["/a", "/srv/opt/home"])
        def test_a(place): runs("git")
    """)
    old = '[tests."test_it.py::test_a[/srv~]"]\ngit = 7 # by hand\n[tests."test_it.py::test_a[/gone~]"]\ngit = 1\n'
    result = run(source=source, baseline=old)
    result.stdout.fnmatch_lines(
        ["old names       test_it.py::test_a[[]/srv~[]]: *", "obsolete        test_it.py::test_a[[]/gone~[]]: a run *"]
    )
    run(UPDATE, source=source, baseline=old)
    assert '[tests."test_it.py::test_a[/srv/opt/home]"]\ngit = 1 # by hand\n' in rows(pytester)
    assert "/gone" not in rows(pytester)


def test_an_earlier_name_beside_a_right_one_is_obsolete(run_at: Run, pytester: pytest.Pytester, formerly: str) -> None:
    right = rows(pytester)
    more = (
        formerly.replace("src~/", "src/opt/home/")
        .replace("[/srv~]", "[/srv/opt/home]")
        .replace("[~ly]", "[/opt/homely]")
    )
    run_at("/opt/home", UPDATE, baseline=more + '[tests."src~/test_in.py::test_a[~/x]"]\ngit = 1\n')
    assert rows(pytester).replace("# kept\n", "") == right


def outside_and_in(pytester: pytest.Pytester) -> tuple[Path, Path]:
    """A root directory with a test, and a folder beside it with another."""
    for folder, program in (("root", "git"), ("beside", "ls"), ("third", "id")):
        place = pytester.mkdir(folder)
        (place / f"test_{folder[0]}.py").write_text(f"from played import runs\ndef test_a(): runs('{program}')\n")
    return pytester.path / "root", pytester.path / "beside"


@pytest.mark.parametrize("together", [True, False])
def test_tests_outside_of_the_root_directory_are_not_in_a_baseline_with_those_in_it(
    pytester: pytest.Pytester,
    played: Played,  # noqa: ARG001
    together: bool,
) -> None:
    """By its name the former's file is not there, so that an update of the others would remove the table."""
    root, beside = outside_and_in(pytester)
    options = ("-p", "no:cacheprovider", f"--rootdir={root}", "--execprobe-baseline=execs.toml")
    runs = [(root, beside)] if together else [(root,), (beside,)]
    for places in runs:
        result = pytester.runpytest_inprocess(*options, UPDATE, *places)
    why = "its names begin at another root directory"
    said = "test_b.py::test_a: outside of the root directory, and execs.toml has tests that are in it"
    result.stdout.fnmatch_lines([f"baseline *NOT WRITTEN: {said}*"])
    result.stdout.fnmatch_lines([f"*{said}*", "*run them from above all (--rootdir)*"])
    assert (result.ret, why in result.stdout.str()) == (1, False)
    above = (*options[:2], f"--rootdir={pytester.path}", *options[3:], root, beside)
    Path("execs.toml").unlink(missing_ok=True)
    assert pytester.runpytest_inprocess(*above, UPDATE).ret == 0
    assert pytester.runpytest_inprocess(*above).ret == 0
    assert '[tests."beside/test_b.py::test_a"]\nls = 1\n' in Path("execs.toml").read_text()


def test_tests_outside_of_the_root_directory_alone(pytester: pytest.Pytester, played: Played) -> None:  # noqa: ARG001
    root, beside = outside_and_in(pytester)
    options = ("-p", "no:cacheprovider", f"--rootdir={root}", "--execprobe-baseline=execs.toml")
    for update in ((UPDATE,), ()):
        assert pytester.runpytest_inprocess(*options, *update, beside, "third").ret == 0
    (pytester.path / "third" / "test_t.py").rename(pytester.path / "third" / "test_b.py")
    result = pytester.runpytest_inprocess(*options, "--import-mode=importlib", beside, "third")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["execs.toml has one name for several tests: test_b.py::test_a"])


def test_tests_that_a_baseline_cannot_tell_apart_are_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/opt/home")
    source = """
        @pytest.mark.parametrize("place", ["~/x", "/opt/home/x"])
        def test_a(place): runs("git")
    """
    for options in ((UPDATE,), ()):
        result = run(*options, source=source)
        assert result.ret == 1
        result.stdout.fnmatch_lines(
            [
                "execs.toml has one name for several tests: test_it.py::test_a[[]~/x]",
                "  test  test_it.py::test_a[[]~/x]",
                "  test  test_it.py::test_a[[]/opt/home/x]",
                "  Fix   give their parameters ids: pytest.param(..., id=...)",
            ]
        )


@pytest.mark.parametrize("filtering", ["ignore", "hook", None])
def test_a_report_says_whether_a_lost_exec_may_have_been_none_that_counts(
    run: Run, pytester: pytest.Pytester, filtering: str | None
) -> None:
    """Although nothing was ignored, and the hook has left out nothing."""
    if filtering == "hook":
        pytester.makeconftest("def pytest_execprobe_record(record): pass\n")
    options = ["--execprobe-ignore=coverage*"] if filtering == "ignore" else []
    source = "def test_a():\n    runs('git')\n    runs('git', lost=True)\n"
    result = run(*options, "--execprobe-report=a.json", source=source, baseline="[total]\nat_most = 1\n")
    (told,) = json.loads((pytester.path / "a.json").read_text())["runs"]
    assert (told["ignored"], told["filtered"]) == ({}, filtering is not None)
    certain = "beyond the baseline: 2 execs, at most 1 allowed (the run as a whole)"
    undecided = "cannot tell whether it is within the baseline: records are missing (the run as a whole)"
    result.stdout.fnmatch_lines([certain if filtering is None else undecided])
    result.stdout.no_fnmatch_line(undecided if filtering is None else certain)
    assert result.ret == 1


def test_what_was_lost_and_what_was_not_checked(run: Run, pytester: pytest.Pytester, played: Played) -> None:
    source = "def test_a():\n    runs('git', lost=True)\ndef test_b(): pass\n"
    options = ["--execprobe-report=a.json", "--execprobe=auto"]
    run(*options, source=source, baseline="[total]\nat_most = 9\n")
    assert stored(pytester)["test test_it.py::test_a"]["lost"] == 1
    played.refusal = "no BPF"
    run(*options, baseline="[total]\nat_most = 9\n")
    unit = stored(pytester)["test test_it.py::test_a"]
    assert (unit["not_checked"], unit["unknown"]) == ("no BPF", [])


def test_a_report_that_cannot_be_written_fails_the_run(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "file").touch()
    result = run("--execprobe-report=file/a.json", baseline=BASELINE)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*file/a.json: the report can't be written (Not a directory)"])
    result.stdout.no_fnmatch_line("*another exception*")


def test_a_wrong_ending_is_told_at_once(run: Run) -> None:
    result = run("--execprobe-report=a.pdf", baseline=BASELINE)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--execprobe-report: *.json*.html*"])


def test_a_report_alone_requires_no_probe(pytester: pytest.Pytester, played: Played) -> None:
    played.refusal = "no BPF"
    pytester.makepyfile(test_it="def test_a(): pass")
    result = pytester.runpytest_inprocess("--execprobe-report=a.json")
    assert result.ret == 0
    assert stored(pytester)["test test_it.py::test_a"]["not_checked"] == "no BPF"


def test_annotations_on_github(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline = BASELINE.replace("git = 2", "git = 1")
    run(baseline=baseline).stdout.no_fnmatch_line("::error*")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = run(baseline=baseline)
    result.stdout.fnmatch_lines(["::error *file=test_it.py*line=10*::*grew: git*"])


def test_the_path_of_a_report(pytester: pytest.Pytester, played: Played) -> None:  # noqa: ARG001
    pytester.makeini("[pytest]\nexecprobe_report = out/a.json\n")
    pytester.makepyfile(test_it="import os, tempfile\ndef test_a():\n    os.chdir(tempfile.gettempdir())\n")
    here = Path.cwd()
    pytester.runpytest_inprocess()
    assert (here / "out" / "a.json").is_file()


LEAVES = """
def test_a():
    shell = runs("sh")
    leaves(runs("redis", by=shell))
    leaves(forked_from=shell)
    leaves()
"""


def test_what_has_not_ended_is_told(pytester: pytest.Pytester, played: Played) -> None:  # noqa: ARG001
    """And makes no run incomplete: it is over when its session is."""
    pytester.makepyfile(test_it=HEAD + LEAVES)
    result = pytester.runpytest_inprocess("--execprobe-audit", "--execprobe-report=a.json", "--execprobe-report=a.md")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["still running   3 processes, of which nothing more is recorded: pytest 1, redis 1, sh 1"]
    )
    document = reading.read(Path("a.json"))
    assert [(one.program, one.own_exec) for one in document.runs[0].running] == [
        ("redis", True),
        ("sh", False),
        ("pytest", False),
    ]
    assert document.complete
    text = Path("a.md").read_text()
    assert "no rule broken, every exec recorded up to the end, when 3 processes still ran" in text
    assert "forked by sh, no exec of its own, for " in text


def test_what_has_not_ended_is_not_asked_for_where_it_is_not_told(pytester: pytest.Pytester, played: Played) -> None:
    pytester.makepyfile(test_it="def test_a(execprobe): pass")
    assert pytester.runpytest_inprocess().ret == 0
    assert played.sources[0].asked_since is None
