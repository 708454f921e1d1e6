"""Rules about how programs end, and about shells, in whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_execprobe.cli import main

if TYPE_CHECKING:
    from suites import Run

OK, WRONG, SEGV = 0, 1 << 8, 11


def test_success(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_success
        def test_release():
            exits(runs("git"))
            exits(runs("gpg"), 2 << 8)
        """,
        failed=1,
    )
    assert ran.has(
        """
        __ test_release __
        everything must succeed, but gpg ended with exit status 2 (call phase)
          rule  exec_success() on test_release, test_it.py:4
        -- execs: call phase (2, 0 lost) --
        """
    )
    assert "\n> 2 " in ran.text


@pytest.mark.parametrize(
    ("marker", "outcome"),
    [("exec_success('git')", "passed"), ("exec_success('gpg')", "failed"), ("exec_success('g*')", "failed")],
)
def test_success_of_some(run: Run, marker: str, outcome: str) -> None:
    run(
        f"""
        @pytest.mark.{marker}
        def test_release():
            exits(runs("git"))
            exits(runs("gpg"), {SEGV})
        """,
        **{outcome: 1},
    )


def test_what_still_runs_at_the_end_of_the_phase_is_undecided(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_success
        @pytest.mark.xfail
        def test_server():
            runs("git")

        @pytest.mark.exec_success("gpg")
        def test_other():
            runs("git")
        """,
        passed=1,
        errors=1,
    )
    assert ran.has(
        """
        cannot tell whether everything succeeded: #1 had not ended
          rule  exec_success() on test_server, test_it.py:4
          why   #1 still ran, or the end is not known: wait for it first, or name what must succeed
        """
    )


def test_what_ends_in_a_later_phase_had_not_ended(run: Run) -> None:
    run(
        """
        @pytest.fixture
        def server():
            yield
            exits(ran)

        @pytest.mark.exec_success
        def test_server(server):
            global ran
            ran = runs("git")
        """,
        errors=1,
    )


def test_fixtures_of_wider_scope_are_judged_where_they_are_said_to_be(run: Run) -> None:
    run(
        """
        pytestmark = pytest.mark.exec_success(phases=("setup", "call"))

        @pytest.fixture(scope="module")
        def database():
            exits(runs("initdb"), 256)

        def test_it(database): pass
        """,
        errors=1,
    )


LEAVES = """
@pytest.mark.exec_success
def test_leaves():
    global shell
    shell = runs("sh")
    exits(shell)

def test_next():
    global curl
    curl = runs("curl", by=shell)

def test_last(execprobe):
    {body}
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exits(curl)", ""),
        ("exits(curl, 22 << 8)", "everything must succeed, but curl ended with exit status 22 (left behind)"),
        ("pass", "cannot tell whether everything succeeded: #1 had not ended"),
    ],
)
def test_what_was_left_behind_is_judged_at_the_end_of_the_run(run: Run, body: str, said: str) -> None:
    """When it can be known how that ended."""
    ran = run(LEAVES.format(body=body), passed=3, errors=bool(said))
    assert ran.ret == (pytest.ExitCode.TESTS_FAILED if said else pytest.ExitCode.OK)
    if said:
        assert ran.has(f"__ ERROR at teardown of test_leaves __\n{said}")


def test_no_shell(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_no_shell
        def test_release():
            runs("git", "-c", "x=y")
            runs("sh", "-c", "git tag v1", by=runs("make"))
            runs("sh", "-c", "git tag v1")
        """,
        failed=1,
    )
    assert ran.has(
        """
        __ test_release __
        no shell must be asked for, but one was: git tag v1 (call phase)
          rule  exec_no_shell() on test_release, test_it.py:4
          hint  #4 without a shell: subprocess.run(["git", "tag", "v1"])
        -- execs: call phase (4, 0 lost) --
        """
    )


def test_a_closer_rule_may_allow_some_shells(run: Run) -> None:
    run(
        """
        pytestmark = pytest.mark.exec_no_shell

        @pytest.mark.exec_no_shell(allow=["re:make"])
        def test_allowed():
            runs("sh", "-c", "make | cat")

        @pytest.mark.exec_no_shell(allow=["re:make"])
        def test_not_allowed():
            runs("sh", "-c", "git | cat")

        def test_other():
            runs("sh", "-c", "make | cat")
        """,
        passed=1,
        failed=2,
    )


@pytest.mark.parametrize(
    ("marker", "why"),
    [("exec_success(3)", "a pattern is a str"), ("exec_no_shell('sh')", "too many positional arguments")],
)
def test_wrong_argument_is_an_error_of_the_collection(run: Run, marker: str, why: str) -> None:
    ran = run(f"@pytest.mark.{marker}\ndef test_it(): pass\n", errors=1)
    assert f"test_it.py:3: {marker}: {why}" in ran.text


@pytest.mark.parametrize(
    ("marker", "headline"),
    [
        ("exec_success", "everything must succeed, but sh ended with exit status 1 (call phase)"),
        ("exec_no_shell", "no shell must be asked for, but one was: a | b (call phase)"),
    ],
)
@pytest.mark.parametrize("xfail", ["", "@pytest.mark.xfail\n"])
def test_broken_rule_is_broken_in_the_report_and_at_the_gate(
    run: Run, capsys: pytest.CaptureFixture[str], marker: str, headline: str, xfail: str
) -> None:
    source = f"{xfail}@pytest.mark.{marker}\ndef test_it(): exits(runs('sh', '-c', 'a | b'), 256)\n"
    run(source, "--execprobe-report=a.json", **{"xfailed" if xfail else "failed": 1})
    (unit,) = json.loads(Path("a.json").read_text())["units"]
    assert [breach["headline"] for breach in unit["breaches"]] == ([] if xfail else [headline])
    Path("execs.toml").write_text('version = 1\n[tests."test_it.py::test_it"]\nsh = 1\n')
    capsys.readouterr()
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == (0 if xfail else 1)
    assert (headline in capsys.readouterr().out) is not bool(xfail)


def test_undecided_rule_is_no_success_at_the_gate(run: Run) -> None:
    run("@pytest.mark.exec_success\ndef test_it(): runs('sh')\n", "--execprobe-report=a.json", errors=1)
    Path("execs.toml").write_text('version = 1\n[tests."test_it.py::test_it"]\nsh = 1\n')
    assert main(["gate", "a.json", "--budget", "execs.toml"]) == 2
