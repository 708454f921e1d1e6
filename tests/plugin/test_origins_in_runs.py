"""Where programs come from, in runs: looked up when they end, and by a rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_execprobe.origin import origin
from pytest_execprobe.origin.database import Owner, Unreadable
from pytest_execprobe.origin.origin import Machine

if TYPE_CHECKING:
    from conftest import Played

SUITE = """
    from played import *
    def test_a():
        runs("git")
        runs("git")
        runs("tool")
"""


class Git:
    """A database that has one program, and can't be read for another one."""

    asked = 0

    def stamp(self, path: str) -> object:  # noqa: ARG002
        return None

    def owner(self, path: str) -> Owner | None:
        self.asked += 1
        if path.endswith("/locked"):
            raise Unreadable("it is locked")
        return Owner("git 1 (x)") if path == "/usr/bin/git" else None


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch, played: Played) -> Git:  # noqa: ARG001
    database = Git()
    monkeypatch.setattr(origin, "_here", [Machine([database])])
    return database


@pytest.mark.parametrize("form", ["json", "html"])
def test_a_report_has_it(pytester: pytest.Pytester, form: str) -> None:
    pytester.makepyfile(SUITE)
    pytester.runpytest_inprocess("-p", "no:cacheprovider", f"--execprobe-report=a.{form}").assert_outcomes(passed=1)
    text = Path(f"a.{form}").read_text()
    if form == "json":
        (run,) = json.loads(text)["runs"]
        assert {path: found["owned"] for path, found in run["origins"].items()} == {
            "/usr/bin/git": True,
            "/usr/bin/tool": False,
        }
    assert "git 1 (x)" in text


@pytest.mark.parametrize(
    "options",
    [("--execprobe-deny=x",), ("--execprobe-audit",), ("--execprobe-report=a.md", "--execprobe-report=a.trace.json")],
)
def test_nobody_else_has_it_looked_up(pytester: pytest.Pytester, database: Git, options: tuple[str, ...]) -> None:
    pytester.makepyfile(SUITE)
    pytester.runpytest_inprocess("-p", "no:cacheprovider", *options).assert_outcomes(passed=1)
    assert database.asked == 0


def test_the_audit_tells_what_no_package_owns(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--execprobe-audit", "-v")
    result.stdout.fnmatch_lines(["of no package   1  /usr/bin/tool: no package; not there any more"])
    assert "/usr/bin/git" not in "".join(line for line in result.outlines if line.startswith("of no package"))


def test_a_rule(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from played import *
        @pytest.mark.exec_deny("unowned:")
        @pytest.mark.parametrize("program", ["git", "tool", "locked"])
        def test_a(program):
            runs(program)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    text = result.stdout.str()
    assert "unowned: must not run, but it ran once" in text
    assert "cannot tell whether unowned: ran" in text
    assert "test_a[git]" not in text.partition("short test summary")[2]


def test_a_rule_for_all_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    pytester.makeini("[pytest]\nexecprobe_deny = unowned:\nexecprobe_ignore = other")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*unowned: must not run, but it ran once*"])
    assert result.ret == 1
