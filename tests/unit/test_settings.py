"""What users can set: each option, on the command line, in ini files and in both."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeSource, record

from pytest_execprobe.log.pattern import Side
from pytest_execprobe.rules.markers import MARKERS
from pytest_execprobe.rules.rule import PHASES, Rule
from pytest_execprobe.session.settings import Settings, read_settings, runs_none
from pytest_execprobe.source import connect

Read = Callable[..., Settings]
NATIVE_TOML = pytest.mark.skipif(
    int(pytest.__version__.partition(".")[0]) < 9, reason="pytest 9 reads [tool.pytest], earlier ones do not"
)


@pytest.fixture(autouse=True)
def _no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the whole run is to be probed, a helper is started as soon as that is read."""
    monkeypatch.setattr(connect, "start_helper", lambda settings: FakeSource())  # noqa: ARG005


@pytest.fixture
def read(pytester: pytest.Pytester) -> Read:
    """The settings of a command line and of an ini file's lines."""

    def read(*options: str, ini: str = "") -> Settings:
        pytester.makeini(f"[pytest]\n{ini}")
        return read_settings(pytester.parseconfig(*options))

    return read


def test_nothing_is_set(read: Read) -> None:
    settings = read()
    assert settings == Settings(mode="auto", attempts="auto", timeout=10.0)
    assert not settings.whole_run
    assert not settings.sums_up


# The option, its value on the command line, what that gives; another for the ini file.
SINGLE = [
    ("mode", "--execprobe=require", "require", "execprobe = off", "off"),
    ("mode", "--execprobe=auto", "auto", "execprobe = require", "require"),
    ("session_budget", "--execprobe-session-budget=7", 7, "execprobe_session_budget = 9", 9),
    ("session_budget", "--execprobe-session-budget=0", 0, "execprobe_session_budget = 0", 0),
    ("helper", "--execprobe-helper=/run/x", "/run/x", "execprobe_helper = @name", "@name"),
    ("python", "--execprobe-python=/a", "/a", "execprobe_python = /b", "/b"),
    ("attempts", "--execprobe-attempts=off", "off", "execprobe_attempts = kprobe", "kprobe"),
    ("pages", "--execprobe-buffer-pages=8", 8, "execprobe_buffer_pages = 64", 64),
    ("timeout", "--execprobe-timeout=2.5", 2.5, "execprobe_timeout = 3", 3.0),
]


@pytest.mark.parametrize(("name", "option", "given", "ini", "in_file"), SINGLE)
def test_single_value(read: Read, name: str, option: str, given: object, ini: str, in_file: object) -> None:
    assert getattr(read(option), name) == given
    assert getattr(read(ini=ini), name) == in_file
    assert getattr(read(option, ini=ini), name) == given  # the command line's


def test_what_runs_untraced(read: Read) -> None:
    given = ("--execprobe-untraced=gdb", "--execprobe-untraced=/opt/*/bin/x")
    assert read(*given).untraced == ("gdb", "/opt/*/bin/x")
    assert read("--execprobe-untraced=gdb", ini="execprobe_untraced =\n    strace\n    */x").untraced == (
        *("gdb", "strace", "*/x"),
    )


def test_audit(read: Read) -> None:
    assert read("--execprobe-audit").audit
    assert read(ini="execprobe_audit = true").audit
    assert not read(ini="execprobe_audit = false").audit
    assert read("--execprobe-audit", ini="execprobe_audit = false").audit


@pytest.mark.parametrize("name", ["", "_ignore", "_report", "_helper", "_python", "_attempts", "_timeout"])
def test_empty_in_an_ini_file_is_not_set(read: Read, name: str) -> None:
    """Where that lets nothing pass: an empty rule is another matter."""
    assert read(ini=f"execprobe{name} =") == Settings()


def nothing_allowed(settings: Settings, text: str, where: str) -> bool:
    (rule,) = (*settings.command_line, *settings.ini)
    assert (rule.kind, rule.phases, rule.patterns) == ("allow", ("call",), ())
    return (rule.text, rule.where, settings.mode) == (text, where, "require")


@pytest.mark.parametrize("ini", ["execprobe_allow =", "execprobe_allow =\n", "execprobe_allow = []"])
def test_an_empty_allow_in_an_ini_file_allows_nothing(read: Read, ini: str) -> None:
    assert nothing_allowed(read(ini=ini), "execprobe_allow=", "in tox.ini")


def test_an_empty_allow_on_the_command_line_allows_nothing(read: Read) -> None:
    assert nothing_allowed(read("--execprobe-allow="), "--execprobe-allow=", "on the command line")
    assert nothing_allowed(read("-o", "execprobe_allow="), "execprobe_allow=", "in tox.ini")


TABLES = ["tool.pytest.ini_options", pytest.param("tool.pytest", marks=NATIVE_TOML)]


@pytest.mark.parametrize("table", TABLES)
def test_an_empty_allow_in_toml_allows_nothing(pytester: pytest.Pytester, table: str) -> None:
    pytester.makepyprojecttoml(f"[{table}]\nexecprobe_allow = []\n")
    assert nothing_allowed(read_settings(pytester.parseconfig()), "execprobe_allow=", "in pyproject.toml")


@pytest.mark.parametrize("table", TABLES)
def test_an_empty_deny_in_toml_is_refused(pytester: pytest.Pytester, table: str) -> None:
    pytester.makepyprojecttoml(f"[{table}]\nexecprobe_deny = []\n")
    with pytest.raises(pytest.UsageError, match="execprobe_deny is empty, and forbids nothing"):
        read_settings(pytester.parseconfig())


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ["true", "[true]"])
def test_a_boolean_of_toml_is_the_program_of_that_name(pytester: pytest.Pytester, table: str, name: str) -> None:
    """Without quotes it is one, and pytest makes ``True`` of it in the older table alone, which forbids nothing."""
    pytester.makepyprojecttoml(f"[{table}]\nexecprobe_deny = {name}\n")
    (rule,) = read_settings(pytester.parseconfig()).ini
    assert [pattern.text for pattern in rule.patterns] == ["true"]


@pytest.mark.parametrize("report", ["base.json", "./base.json", "link.json"])
@pytest.mark.parametrize("place", ["--execprobe-baseline=base.json", "-oexecprobe_baseline=base.json"])
def test_a_report_in_the_place_of_the_baseline_is_refused_and_that_is_kept(
    pytester: pytest.Pytester, place: str, report: str
) -> None:
    """It would be removed before the run, as an earlier report is."""
    file = pytester.path / "base.json"
    file.write_text("version = 1\n[tests]\n")
    (pytester.path / "link.json").symlink_to(file.name)
    pytester.makeini("[pytest]\n")
    result = pytester.runpytest_inprocess(place, f"--execprobe-report={report}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--execprobe-report: {report} is the baseline, which the report would replace:*"])
    assert file.read_text() == "version = 1\n[tests]\n"


# ---- rules for the whole suite ----


def test_suite_rules_on_the_command_line(read: Read) -> None:
    settings = read(
        "--execprobe-deny=curl",
        "--execprobe-allow=git",
        "--execprobe-budget=2",
        "--execprobe-deny=argv:git push",
        "--execprobe-allow=subtree:make",
    )
    budget, allow, deny = settings.command_line
    assert (budget.kind, budget.at_most, budget.phases, budget.direct) == ("budget", 2, ("call",), False)
    assert (allow.kind, allow.phases, [str(p) for p in allow.patterns]) == ("allow", ("call",), ["git", "subtree:make"])
    assert (deny.kind, deny.phases, [str(p) for p in deny.patterns]) == ("deny", PHASES, ["curl", "argv:git push"])
    assert deny.inherit  # so that those of the ini file stay
    assert [rule.text for rule in settings.command_line] == [
        "--execprobe-budget=2",
        "--execprobe-allow=git --execprobe-allow=subtree:make",
        "--execprobe-deny=curl --execprobe-deny=argv:git push",
    ]
    assert {rule.where for rule in settings.command_line} == {"on the command line"}
    assert settings.ini == ()


def test_suite_rules_in_an_ini_file(read: Read) -> None:
    settings = read(
        ini="execprobe_budget = 2\nexecprobe_allow =\n    git\n    re:^/usr/bin/a b\nexecprobe_deny = curl\n"
    )
    budget, allow, deny = settings.ini
    assert budget.at_most == 2
    assert [str(p) for p in allow.patterns] == ["git", "re:^/usr/bin/a b"]
    assert [str(p) for p in deny.patterns] == ["curl"]
    assert [rule.text for rule in settings.ini] == [
        "execprobe_budget=2",
        "execprobe_allow=git, re:^/usr/bin/a b",
        "execprobe_deny=curl",
    ]
    assert {rule.where for rule in settings.ini} == {"in tox.ini"}
    assert settings.command_line == ()


def test_command_line_and_ini_file_are_two_levels(read: Read) -> None:
    settings = read("--execprobe-budget=2", "--execprobe-deny=curl", ini="execprobe_budget = 9\nexecprobe_deny = wget")
    assert [rule.text for rule in settings.command_line] == ["--execprobe-budget=2", "--execprobe-deny=curl"]
    assert [rule.text for rule in settings.ini] == ["execprobe_budget=9", "execprobe_deny=wget"]


def test_the_last_budget_on_a_command_line_counts(read: Read) -> None:
    (budget,) = read("--execprobe-budget=2", "--execprobe-budget=5").command_line
    assert (budget.at_most, budget.text) == (5, "--execprobe-budget=5")


def test_ignored_are_those_of_both_places(read: Read) -> None:
    settings = read(
        "--execprobe-ignore=git", "--execprobe-ignore=sh", ini="execprobe_ignore =\n    coverage\n    argv:uname -p\n"
    )
    assert [str(pattern) for pattern in settings.ignore] == ["git", "sh", "coverage", "argv:uname -p"]


# ---- what follows from them ----


@pytest.mark.parametrize(
    ("options", "mode", "whole_run", "sums_up"),
    [
        ((), "auto", False, False),
        (("--execprobe-audit",), "auto", True, True),
        (("--execprobe-ignore=git",), "auto", False, False),
        (("--execprobe-budget=2",), "require", True, False),
        (("--execprobe-allow=git",), "require", True, False),
        (("--execprobe-deny=git",), "require", True, False),
        (("--execprobe-session-budget=0",), "require", True, True),
        (("--execprobe-budget=2", "--execprobe=auto"), "auto", True, False),
        (("--execprobe-session-budget=0", "--execprobe=off"), "off", True, True),
    ],
)
def test_a_rule_for_the_suite_requires_the_probe(
    read: Read, options: tuple[str, ...], mode: str, whole_run: bool, sums_up: bool
) -> None:
    settings = read(*options)
    assert (settings.mode, settings.whole_run, settings.sums_up) == (mode, whole_run, sums_up)


@pytest.mark.parametrize("line", ["execprobe_budget = 2", "execprobe_deny = git", "execprobe_session_budget = 3"])
def test_so_does_one_in_an_ini_file(read: Read, line: str) -> None:
    assert read(ini=line).mode == "require"
    assert read("--execprobe=auto", ini=line).mode == "auto"
    assert read(ini=f"{line}\nexecprobe = auto").mode == "auto"


# ---- wrong values ----

EMPTY = "an empty pattern matches nothing"

WRONG = [
    ("--execprobe=maybe", "--execprobe is one of auto, require, off, not 'maybe'"),
    ("--execprobe=", "--execprobe is one of auto, require, off, not ''"),
    ("execprobe = on", "execprobe is one of auto, require, off, not 'on'"),
    ("execprobe_audit = maybe", "execprobe_audit is true or false, not 'maybe'"),
    ("execprobe_audit =", "execprobe_audit is true or false, not ''"),
    ("--execprobe-budget=two", "--execprobe-budget is a whole number from 0 on, not 'two'"),
    ("--execprobe-budget=-1", "--execprobe-budget is a whole number from 0 on, not '-1'"),
    ("--execprobe-budget=1.5", "--execprobe-budget is a whole number from 0 on, not '1.5'"),
    ("--execprobe-budget=", "--execprobe-budget is a whole number from 0 on, not ''"),
    ("execprobe_budget = two", "execprobe_budget is a whole number from 0 on, not 'two'"),
    ("--execprobe-session-budget=few", "--execprobe-session-budget is a whole number from 0 on, not 'few'"),
    ("--execprobe-session-budget=", "--execprobe-session-budget is a whole number from 0 on, not ''"),
    ("execprobe_session_budget = few", "execprobe_session_budget is a whole number from 0 on, not 'few'"),
    ("execprobe_budget =", "execprobe_budget is a whole number from 0 on, not ''"),
    ("execprobe_session_budget =", "execprobe_session_budget is a whole number from 0 on, not ''"),
    ("execprobe_deny =", "execprobe_deny is empty, and forbids nothing: name a program, or take the line out"),
    ("execprobe_deny = []", "execprobe_deny is empty, and forbids nothing: name a program, or take the line out"),
    ('execprobe_deny = ["curl"]', 'execprobe_deny: ["curl"] is a list, which there is in TOML alone'),
    ("--execprobe-ignore=['curl']", "--execprobe-ignore: ['curl'] is a list, which there is in TOML alone"),
    ("--execprobe-deny=", f"--execprobe-deny: {EMPTY}"),
    ("execprobe_baseline =", "execprobe_baseline names no file: name one, or take the line out; --execprobe-baseline="),
    (
        "--execprobe-allow=git fetch",
        "--execprobe-allow: 'git fetch' is no program's name: for arguments write 'argv:git",
    ),
    ("execprobe_allow = re:(", "execprobe_allow: not a regular expression: '('"),
    ("--execprobe-deny=argv:'", '--execprobe-deny: not a command line: "\'"'),
    ("execprobe_deny = subtree:", f"execprobe_deny: {EMPTY}: 'subtree:'"),
    ("--execprobe-ignore=", f"--execprobe-ignore: {EMPTY}"),
    ("execprobe_ignore = re:[", "execprobe_ignore: not a regular expression: '['"),
    (
        "--execprobe-attempts=maybe",
        "--execprobe-attempts is one of auto, kprobe, tracepoint, seccomp, off, not 'maybe'",
    ),
    ("execprobe_attempts = maybe", "execprobe_attempts is one of auto, kprobe, tracepoint, seccomp, off, not 'maybe'"),
    ("--execprobe-buffer-pages=3", "--execprobe-buffer-pages is a power of two, not '3'"),
    *(
        (f"--execprobe-untraced={value}", "--execprobe-untraced: what runs untraced is the name of a program or an abs")
        for value in ("", "re:gdb", "argv:gdb -p", "subtree:gdb", "bin/gdb", "./gdb")
    ),
    ("execprobe_untraced = ../gdb", "execprobe_untraced: what runs untraced is the name of a program or an absolute"),
    (f"--execprobe-untraced={501 * 'x'}", "--execprobe-untraced: what runs untraced is named in 500 characters in all"),
    ("execprobe_buffer_pages = 0", "execprobe_buffer_pages is a power of two, not '0'"),
    ("--execprobe-timeout=0", "--execprobe-timeout is a number of seconds up to 3600, not '0'"),
    ("execprobe_timeout = nan", "execprobe_timeout is a number of seconds up to 3600, not 'nan'"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_wrong_value_is_a_usage_error_that_says_what_is_right(
    pytester: pytest.Pytester, given: str, message: str
) -> None:
    pytester.makepyfile("def test(): pass")
    on_command_line = given.startswith("--")
    pytester.makeini("[pytest]\n" + ("" if on_command_line else given))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *([given] if on_command_line else []))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {'' if on_command_line else 'tox.ini: '}{message}" in result.stderr.str()


def test_what_could_execute_nothing_is_not_let_go(read: Read) -> None:
    untraced, filtered = "--execprobe-untraced=gdb", "--execprobe-attempts=seccomp"
    with pytest.raises(pytest.UsageError, match="exclude each other under ptrace"):
        read("--execprobe-backend=ptrace", untraced, filtered)
    for others in (("--execprobe-backend=bpf", untraced, filtered), ("--execprobe-backend=ptrace", untraced)):
        assert read(*others).untraced == ("gdb",)


def test_an_empty_allow_stands_alone(read: Read) -> None:
    with pytest.raises(pytest.UsageError, match="--execprobe-allow: an empty pattern allows nothing, and so stands"):
        read("--execprobe-allow=", "--execprobe-allow=git")


def test_relative_paths_of_patterns_are_taken_from_where_they_stand(
    read: Read, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all paths are: a suite is forbidden the same, wherever in it pytest is started."""
    folder = pytester.mkdir("below")
    (folder / "bin" / "tool").mkdir(parents=True)
    monkeypatch.chdir(folder)
    ini = "execprobe_deny =\n  bin/tool\n  argv:bin/tool x\n  subtree:bin/tool"
    settings = read("--execprobe-deny=bin/other", "--rootdir=..", "-c", "../tox.ini", ini=ini)
    (of_file,), (of_line,) = settings.ini, settings.command_line
    tool = record("tool", "x", path=f"{pytester.path}/bin/tool", cwd="/srv")
    other = record("other", path=f"{folder}/bin/other", cwd="/srv")
    assert [pattern.match(tool, Side.FORBID) for pattern in of_file.patterns] == 3 * [True]
    assert [pattern.match(other, Side.FORBID) for pattern in of_line.patterns] == [True]


@pytest.mark.parametrize(
    ("deny", "ignore", "refused"),
    [
        ("curl", "curl", True),
        ("curl", "cur*", True),
        ("curl", "subtree:curl", True),
        ("argv:git push", "argv:git push", True),
        ("curl", "argv:curl --version", False),
        ("cur*", "curl", False),
        ("/usr/bin/curl", "git", False),
    ],
)
def test_what_is_forbidden_is_not_ignored(read: Read, deny: str, ignore: str, refused: bool) -> None:
    wrong = pytest.raises(pytest.UsageError, match=f"^{re.escape(deny)} is forbidden on the command line, and")
    with wrong if refused else contextlib.nullcontext():
        read(f"--execprobe-deny={deny}", ini=f"execprobe_ignore = {ignore}")


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        ("[tests.a]\ncurl = 0\n", True),
        ("[fixtures.a]\n'subtree:curl' = 0\n", True),
        ("[total]\nprograms = {curl = 0}\n", True),
        ("[packages.a]\nprograms = {curl = 0, git = 1}\n", True),
        ("[total]\nprograms = {curl = 2}\n", True),
        ("[tests.a]\ncurl = 1\ngit = 0\n", False),
    ],
)
def test_what_a_baseline_forbids_is_not_ignored(
    read: Read, pytester: pytest.Pytester, rows: str, refused: bool
) -> None:
    (pytester.path / "execs.toml").write_text(f"version = 1\n{rows}")
    said = r"curl is forbidden (beyond 2 )?in execs\.toml, and --execprobe-ignore="
    wrong = pytest.raises(pytest.UsageError, match=said)
    with wrong if refused else contextlib.nullcontext():
        read("--execprobe-baseline=execs.toml", "--execprobe-ignore=subtree:curl")


def test_an_empty_baseline_on_the_command_line_takes_back_that_of_the_file(read: Read) -> None:
    assert read("--execprobe-baseline=", ini="execprobe_baseline = execs.toml").baseline is None


@pytest.mark.parametrize("text", ["", "[aliases]\na = 'b'\n", "everywhere = ['git']\n", "[packages]\n"])
def test_a_baseline_that_limits_nothing_is_refused(read: Read, pytester: pytest.Pytester, text: str) -> None:
    (pytester.path / "execs.toml").write_text(f"version = 1\n{text}")
    with pytest.raises(pytest.UsageError, match=r"execs\.toml limits nothing: it has no tables of tests, fixtures"):
        read("--execprobe-baseline=execs.toml")
    assert read("--execprobe-baseline=execs.toml", "--execprobe-update").baseline is not None


def test_wrong_value_in_a_file_counts_even_where_the_command_line_has_another(read: Read) -> None:
    """For rules add up, and a typing error in one is never let pass."""
    with pytest.raises(pytest.UsageError, match="execprobe_budget is a whole number"):
        read("--execprobe-budget=1", ini="execprobe_budget = two")


# ---- the forms of files ----

FORMS = {
    "pytest.ini": "pytest",
    "tox.ini": "pytest",
    "setup.cfg": "tool:pytest",
    "pyproject.toml": "tool.pytest.ini_options",
    "native pyproject.toml": "tool.pytest",
    "pytest.toml": "pytest",
}


Write = Callable[[str, str], str]


@pytest.fixture(params=FORMS)
def write(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Write:
    """Writes a setting, in this way for TOML and in that for others; what names the file in a message."""
    section, name = FORMS[request.param], request.param.split()[-1]
    native = name.endswith(".toml") and "ini_options" not in section
    if native and pytest.version_tuple < (9,):
        pytest.skip("pytest 9 reads native TOML, earlier ones do not")

    def write(toml: str, ini: str) -> str:
        (pytester.path / name).write_text(f"[{section}]\n{toml if name.endswith('.toml') else ini}\n")
        return str(name)

    return write


TAKEN = [
    ("execprobe", '"require"', "require", "mode", "require"),
    ("execprobe_audit", "true", "true", "audit", True),
    ("execprobe_audit", "false", "false", "audit", False),
    ("execprobe_audit", '"yes"', "yes", "audit", True),
    ("execprobe_audit", "1", "1", "audit", True),
    ("execprobe_allow", '["git", "re:a b"]', "\n git\n re:a b", "ini", ["git", "re:a b"]),
    ("execprobe_allow", '"git"', "git", "ini", ["git"]),
    ("execprobe_allow", '"""\ngit\nre:a b\n"""', "\n git\n re:a b", "ini", ["git", "re:a b"]),
    ("execprobe_deny", '["curl"]', "curl", "ini", ["curl"]),
    ("execprobe_deny", '"curl"', "curl", "ini", ["curl"]),
    ("execprobe_budget", "3", "3", "ini", 3),
    ("execprobe_budget", '"3"', "3", "ini", 3),
    ("execprobe_budget", "0", "0", "ini", 0),
    ("execprobe_session_budget", "1_000", "1000", "session_budget", 1000),
    ("execprobe_session_budget", '"0"', "0", "session_budget", 0),
    ("execprobe_ignore", '["git"]', "git", "ignore", ["git"]),
    ("execprobe_ignore", '"git"', "git", "ignore", ["git"]),
    ("execprobe_report", '["a.json", "b.md"]', "\n a.json\n b.md", "reports", ["a.json", "b.md"]),
    ("execprobe_report", '"a.json"', "a.json", "reports", ["a.json"]),
    ("execprobe_helper", '"@name"', "@name", "helper", "@name"),
    ("execprobe_python", '"python3"', "python3", "python", "python3"),
    ("execprobe_attempts", '"off"', "off", "attempts", "off"),
    ("execprobe_buffer_pages", "64", "64", "pages", 64),
    ("execprobe_buffer_pages", '"64"', "64", "pages", 64),
    ("execprobe_timeout", "3", "3", "timeout", 3.0),
    ("execprobe_timeout", "2.5", "2.5", "timeout", 2.5),
    ("execprobe_timeout", '"2.5"', "2.5", "timeout", 2.5),
]


def plain(value: object) -> object:
    """Of rules what they limit, of patterns their texts, of paths their names."""
    if not isinstance(value, tuple):
        return value
    if value and isinstance(value[0], Rule):
        (rule,) = value
        return rule.at_most if rule.kind == "budget" else [str(pattern) for pattern in rule.patterns]
    return [each.name if isinstance(each, Path) else str(each) for each in value]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("key", "toml", "ini", "name", "expected"), TAKEN)
def test_a_value_is_taken_in_every_form(
    pytester: pytest.Pytester, write: Write, key: str, toml: str, ini: str, name: str, expected: object
) -> None:
    write(f"{key} = {toml}", f"{key} = {ini}")
    assert plain(getattr(read_settings(pytester.parseconfig()), name)) == expected


REFUSED = [
    ("execprobe", "true", "true", "one of auto, require, off"),
    ("execprobe", '["off"]', "['off']", "one of auto, require, off"),
    ("execprobe_audit", "2", "2", "true or false"),
    ("execprobe_audit", "[true]", "[true]", "true or false"),
    ("execprobe_budget", "-1", "-1", "a whole number from 0 on"),
    ("execprobe_budget", "1.5", "1.5", "a whole number from 0 on"),
    ("execprobe_budget", "true", "true", "a whole number from 0 on"),
    ("execprobe_budget", "[3]", "[3]", "a whole number from 0 on"),
    ("execprobe_budget", "[]", "[]", "a whole number from 0 on"),
    ("execprobe_session_budget", "[3]", "[3]", "a whole number from 0 on"),
    ("execprobe_attempts", "false", "false", "one of auto, kprobe, tracepoint, seccomp, off"),
    ("execprobe_buffer_pages", "3", "3", "a power of two"),
    ("execprobe_buffer_pages", "[8]", "[8]", "a power of two"),
    ("execprobe_timeout", "inf", "inf", "a number of seconds up to 3600"),
    ("execprobe_timeout", "[3]", "[3]", "a number of seconds up to 3600"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("key", "toml", "ini", "accepts"), REFUSED)
def test_a_value_is_refused_in_every_form_with_the_file_and_what_it_takes(
    pytester: pytest.Pytester, write: Write, key: str, toml: str, ini: str, accepts: str
) -> None:
    name = write(f"{key} = {toml}", f"{key} = {ini}")
    with pytest.raises(pytest.UsageError, match=f"^{re.escape(f'{name}: {key} is {accepts}, not ')}"):
        read_settings(pytester.parseconfig())


#: What no ini file can say.
REFUSED_IN_TOML = [
    ("execprobe_allow", "[{}]", "one pattern or several"),
    ("execprobe_deny", "[[]]", "one pattern or several"),
    ("execprobe_ignore", "[1979-05-27]", "one pattern or several"),
    ("execprobe_report", '[["a.json"]]', "the path of a file or several"),
    ("execprobe_baseline", '["execs.toml"]', "the path of a file"),
    ("execprobe_helper", '["@name"]', "the path of a socket, or @NAME"),
    ("execprobe_python", "[]", "the path of an interpreter"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("write", [form for form in FORMS if form.endswith(".toml")], indirect=True)
@pytest.mark.parametrize(("key", "toml", "accepts"), REFUSED_IN_TOML)
def test_a_value_is_refused_in_toml(pytester: pytest.Pytester, write: Write, key: str, toml: str, accepts: str) -> None:
    name = write(f"{key} = {toml}", "")
    with pytest.raises(pytest.UsageError, match=f"^{re.escape(f'{name}: {key} is {accepts}, not ')}"):
        read_settings(pytester.parseconfig())


@NATIVE_TOML
def test_an_override_takes_the_place_of_a_native_value(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml("[tool.pytest]\nexecprobe_budget = 3\n")
    (rule,) = read_settings(pytester.parseconfig("-o", "execprobe_budget=7")).ini
    assert rule.at_most == 7


@NATIVE_TOML
def test_a_run_by_native_toml(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml("[tool.pytest]\nexecprobe_budget = 3\nexecprobe = 'off'\nstrict_config = true\n")
    pytester.makepyfile("def test(): pass")
    assert pytester.runpytest_inprocess("-q").ret == pytest.ExitCode.OK


# ---- where they are reported ----


def test_help(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest_inprocess("--help").stdout.str()
    for name in ("audit", "allow", "deny", "budget", "session-budget", "ignore", "helper", "python", "attempts"):
        assert f"--execprobe-{name}" in text
        assert f"execprobe_{name.replace('-', '_')} (" in text
    assert "--execprobe=auto|require|off" in text


def test_markers_are_known(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest_inprocess("--markers").stdout.str()
    for signature, meaning in MARKERS.values():
        assert f"@pytest.mark.{signature}: {meaning}" in text


@pytest.mark.parametrize(("is_listed", "option"), [(True, "--collect-only"), (False, None)])
def test_options_that_pytest_does_not_have_leave_out_no_test(is_listed: bool, option: str | None) -> None:
    """As with ``-p no:python`` in pytest 8.0, where those of fixtures are not there."""
    config: Any = SimpleNamespace(option=SimpleNamespace(collectonly=is_listed))
    assert runs_none(config) == option
