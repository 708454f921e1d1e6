"""A secret that is in arguments stands in no text and no file of a run: all of both is looked through for one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from fakes import FakeSource

from pytest_execprobe._util.hiding import HIDDEN
from pytest_execprobe.cli import main
from pytest_execprobe.source.events import Orphan, Orphans

if TYPE_CHECKING:
    from conftest import Played

SECRET = "S3cr3t"
OF_THE_USER = "H1dden"
LIMITS = "at_most=0, allow=['x'], deny=['curl']"

#: Whatever can be said of an exec is said of one with a secret.
SUITE = f"""
    import pytest
    from played import *
    from pytest_execprobe import subtree

    def everything():
        top = runs("sh", "-c", "mysql -p{SECRET} db")
        runs("mysql", "-p{SECRET}", "--pin", "{OF_THE_USER}", by=top)
        runs("git", "clone", "https://me:{SECRET}@h/r", by=top)
        runs("curl", "-u", "me:{SECRET}", cut=True)
        runs("tool", "--token", "{SECRET}", argv0="other-https://u:{SECRET}@h")
        runs("sh", "/srv/https://u:{SECRET}@h/script", argv0="/bin/sh")
        runs("wget", "--password={SECRET}", error="ENOENT")
        runs("script", "--password={SECRET}", error="ENOEXEC")
        leaves(top)

    CHECKS = [
        lambda log: log.assert_nothing_ran(),
        lambda log: log.assert_ran("missing", "argv:mysql -px"),
        lambda log: log.assert_ran("re:no-such"),
        lambda log: log.assert_ran("script"),
        lambda log: log.assert_not_ran("mysql", "re:clone"),
        lambda log: log.assert_only_ran("sh", subtree("sh")),
        lambda log: log.assert_count(99),
        lambda log: log.assert_at_most(1, "mysql"),
        lambda log: log.assert_at_least(9, "git"),
        lambda log: log.assert_order("git", "mysql"),
        lambda log: log.assert_sequence("sh", "git"),
        lambda log: log.assert_ran("argv:curl -u other"),
        lambda log: log.wait_for("missing", timeout=0.01),
        lambda log: (_ for _ in ()).throw(AssertionError(repr(log.records) + repr(log.attempts) + repr(log.partial))),
    ]

    @pytest.mark.parametrize("check", CHECKS, ids=range(len(CHECKS)))
    def test_check(execprobe, check):
        everything()
        check(execprobe)

    def test_watch(execprobe):
        with execprobe.watch({LIMITS}):
            everything()

    @pytest.mark.exec_budget(1, per_program={{"mysql": 0}})
    @pytest.mark.exec_allow("sh")
    @pytest.mark.exec_deny("curl", "argv:git clone https://x")
    def test_rules(execprobe):
        everything()

    @pytest.mark.exec_none
    @pytest.mark.xfail
    def test_expected():
        everything()

    def test_tree(execprobe):
        everything()
        print(getattr(execprobe, "tree", str)())
        for name in ("setup", "call", "teardown"):
            print(getattr(execprobe, name, None))
        assert False

    def test_fails_by_itself(execprobe):
        everything()
        raise RuntimeError

    def test_introspection(execprobe):
        everything()
        assert list(execprobe.records) == []

    @pytest.mark.parametrize("nth", range(7))
    def test_compared(execprobe, nth):
        everything()
        record, nothing = execprobe.records[0], ()
        argv = record.argv
        if nth == 0:
            assert argv == nothing
        if nth == 1:
            assert argv[1:] == ["x"]
        if nth == 2:
            assert record.arguments == nothing
        if nth == 3:
            assert "x" in argv
        if nth == 4:
            assert argv[2] == "x"
        if nth == 5:
            assert "mysql" not in argv[2]
        assert {{"a": argv}} == {{}}
"""

Ran = Callable[..., tuple[str, dict[str, str]]]


@pytest.fixture
def ran(pytester: pytest.Pytester, played: Played, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Ran:
    """Runs the suite, and returns all that was printed, and what is in each file that was written."""
    monkeypatch.setattr(sys, "argv", ["/opt/bin/pytest", "--token", SECRET, f"--x-password={SECRET}", "tests"])
    monkeypatch.setenv("PYTEST_ADDOPTS", f"-o 'markers=x: --token={SECRET}'")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    start = played.start

    def with_orphans(settings: Any) -> FakeSource:
        source = start(settings)
        source.orphans = Orphans(1, (Orphan(7, 1.0, f"/usr/bin/mysql -p{SECRET} --pin {OF_THE_USER}"),))
        return source

    monkeypatch.setattr("pytest_execprobe.source.connect.start_helper", with_orphans)

    def ran(*options: str) -> tuple[str, dict[str, str]]:
        pytester.makepyfile(test_it=dedent(SUITE))
        Path("execs.toml").write_text('version = 1\n[tests."test_it.py::test_rules"]\nmysql = 0\n"argv:git x" = 0\n')
        forms = (f"--execprobe-report=out/a{ending}" for ending in (".json", ".html", ".md", ".sarif", ".trace.json"))
        run_with = ("--execprobe-baseline=execs.toml", "--execprobe-audit", "--junit-xml=out/junit.xml", *forms)
        out = ""
        for verbosity in ("-q", "-vv", "-rA"):
            pytester.runpytest_inprocess("-p", "no:cacheprovider", verbosity, *run_with, *options)
            out += "".join(capfd.readouterr())
        for command in (
            ["report", "out/a.json"],
            *(["report", "out/a.json", "--format", form] for form in ("json", "html", "md", "sarif", "trace")),
            ["gate", "out/a.json", "--budget", "execs.toml"],
            ["gate", "out/a.json", "--budget", "execs.toml", "--format", "json"],
            ["gate", "out/a.json", "--budget", "execs.toml", "--format", "md"],
        ):
            main([*command, *(["--redact=none"] if "--execprobe-redact=none" in options else [])])
            out += "".join(capfd.readouterr())
        assert "ERROR: " not in out, out
        return out, {path.name: path.read_text() for path in Path("out").iterdir()}

    return ran


def test_no_secret_is_shown(ran: Ran) -> None:
    out, files = ran("--execprobe-redact=--pin (\\w+)")
    for secret in (SECRET, OF_THE_USER):
        for name, text in {**files, "terminal": out}.items():
            shown = [line for line in text.splitlines() if secret in line and not is_of_the_suite(line)]
            assert shown == [], name
    assert HIDDEN in out
    assert {name for name, text in files.items() if HIDDEN in text or "\\u2022" in text} == set(files)
    assert json.loads(files["a.json"])["runs"][0]["redacted"] is True


def is_of_the_suite(line: str) -> bool:
    """Whether a line is of the suite's source, which pytest shows of failures, or has pytest's own word for an option
    of the environment."""
    return any(line.strip().removeprefix(">").strip() == own.strip() for own in dedent(SUITE).splitlines())


def test_none_shows_all(ran: Ran) -> None:
    """So that what is not found by default was there to be found."""
    out, files = ran("--execprobe-redact=none")
    assert SECRET in out
    assert HIDDEN not in out
    assert {name for name, text in files.items() if SECRET in text and HIDDEN not in text} == set(files)
    assert json.loads(files["a.json"])["runs"][0]["redacted"] is False


@pytest.mark.parametrize(
    ("options", "ini", "shown"),
    [
        ((), "", False),
        (("--execprobe-redact=none",), "", True),
        ((), "execprobe_redact = none", True),
        (("--execprobe-redact=none",), "execprobe_redact = x", True),
        (("--execprobe-redact=x",), "execprobe_redact = none", False),
        ((), "execprobe_redact =\n    a\n    b", False),
    ],
)
def test_where_it_is_set(
    pytester: pytest.Pytester,
    played: Played,  # noqa: ARG001
    options: tuple[str, ...],
    ini: str,
    shown: bool,
) -> None:
    pytester.makeini(f"[pytest]\n{ini}")
    pytester.makepyfile(
        "from played import *\ndef test_a(execprobe): runs('a', '--token', 'S' * 9); execprobe.assert_nothing_ran()"
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
    assert ("S" * 9 in result.stdout.str()) is shown


@pytest.mark.parametrize("value", ["(", "", "none --execprobe-redact=x"])
def test_a_bad_one_is_a_usage_error(pytester: pytest.Pytester, value: str) -> None:
    result = pytester.runpytest_inprocess(*f"--execprobe-redact={value}".split(" "))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --execprobe-redact: *regular expression*"])
    pytester.makeini("[pytest]\nexecprobe_redact = (")
    result = pytester.runpytest_inprocess()
    result.stderr.fnmatch_lines(["ERROR: tox.ini: execprobe_redact: *regular expression*"])


def test_rules_see_the_truth(pytester: pytest.Pytester, played: Played) -> None:  # noqa: ARG001
    pytester.makepyfile(
        """
        import pytest
        from played import *
        @pytest.mark.exec_allow("argv:mysql -pS3cr3t")
        def test_a(execprobe):
            runs("mysql", "-pS3cr3t")
            execprobe.assert_ran("re:-pS3cr3t$", ["mysql", "-pS3cr3t"])
            assert execprobe.records[0].argv == ("mysql", "-pS3cr3t")
            assert execprobe.records[0].command_line == "/usr/bin/mysql -pS3cr3t"
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "--execprobe-report=a.html").assert_outcomes(passed=1)


def test_a_run_within_a_run_has_its_own(pytester: pytest.Pytester, played: Played) -> None:  # noqa: ARG001
    from pytest_execprobe._util.redaction import DEFAULT, in_force

    assert in_force() is DEFAULT
    pytester.makepyfile("from pytest_execprobe._util.redaction import in_force\ndef test_a(): assert not in_force().on")
    pytester.runpytest_inprocess("--execprobe-redact=none").assert_outcomes(passed=1)
    assert in_force() is DEFAULT
