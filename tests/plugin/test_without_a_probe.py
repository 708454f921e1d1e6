"""Runs in which there can be no probe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Played
    from suites import Run


MIXED = """
def test_plain(): pass

@pytest.mark.exec_none
def test_marked(): pass

def test_uses(execprobe): assert 0
"""
REFUSAL = "execprobe: no BCC. Install it"


def test_auto(run: Run, played: Played) -> None:
    played.refusal = REFUSAL
    ran = run(MIXED, "-rs", passed=2, skipped=1)
    assert ran.has("== execprobe ==\nNOT CHECKED     1 test: execprobe: no BCC. Install it\n")
    assert re.search(r"^SKIPPED .*execprobe: no BCC. Install it$", ran.text, flags=re.M)
    assert ran.has(f"collected 3 items\nexecprobe: no probe: {REFUSAL.removeprefix('execprobe: ')}")
    assert ran.ret == pytest.ExitCode.OK
    assert len(played.settings) == 1


def test_probe_that_another_process_has_kept_away_is_no_reason_to_skip(run: Run, played: Played) -> None:
    """Who could bring that about could have tests pass unchecked."""
    played.refusal, played.obstructed = "execprobe: user 7 has taken its place. Start pytest again", True
    ran = run(MIXED, "-rs", passed=1, errors=4)
    assert "NOT CHECKED" not in ran.text
    assert "SKIPPED" not in ran.text
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    assert "cannot tell whether nothing ran" in ran.text
    assert "there was no probe: user 7 has taken its place. Start pytest again" in ran.text


def test_junit_says_what_was_not_checked(run: Run, pytester: pytest.Pytester, played: Played) -> None:
    played.refusal = "execprobe: no BCC. Install it"
    run("import pytest\n@pytest.mark.exec_none()\ndef test_it(): pass", "--junit-xml=junit.xml", passed=1)
    written = (pytester.path / "junit.xml").read_text()
    assert '<property name="execprobe_not_checked" value="execprobe: no BCC. Install it"' in written


@pytest.mark.parametrize("option", ["--execprobe-audit", "--execprobe-deny=curl"])
def test_auto_counts_every_test_that_was_to_be_recorded(run: Run, played: Played, option: str) -> None:
    played.refusal = REFUSAL
    ran = run(MIXED, option, "--execprobe=auto", passed=2, skipped=1)
    assert f"NOT CHECKED     3 tests: {REFUSAL}" in ran.text


@pytest.mark.parametrize(
    ("options", "ini"),
    [
        (("--execprobe=require",), ""),
        ((), "execprobe = require"),
        (("--execprobe-deny=curl",), ""),
        ((), "execprobe_budget = 3"),
        (("--execprobe-session-budget=3",), ""),
        (("--execprobe-audit", "--execprobe=require"), ""),
    ],
)
def test_require_ends_the_run_before_any_test(
    run: Run, played: Played, pytester: pytest.Pytester, options: tuple[str, ...], ini: str
) -> None:
    played.refusal = REFUSAL
    ran = run("open('ran', 'w')\ndef test_it(): pass", *options, ini=ini)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        f"ERROR: {REFUSAL}. The probe is required, by --execprobe=require or by a rule for the whole suite; with"
        " --execprobe=auto the run would go on unchecked"
    ) in ran.result.stderr.str()
    assert not (pytester.path / "ran").exists()


@pytest.mark.parametrize("source", ["def test_it(): runs('git')", "@pytest.mark.exec_none\ndef test_it(): pass"])
def test_require_where_there_is_a_probe(run: Run, played: Played, source: str) -> None:
    run(source, "--execprobe=require", passed=1)
    assert len(played.settings) == 1


def test_off(run: Run, played: Played) -> None:
    ran = run(MIXED, "--execprobe=off", "-rs", passed=2, skipped=1)
    assert played.settings == []
    assert ran.has("== execprobe ==\nNOT CHECKED     1 test: execprobe: switched off by --execprobe=off\n")
    assert re.search(r"^SKIPPED .*execprobe: switched off by --execprobe=off$", ran.text, flags=re.M)
    assert ran.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("option", ["--execprobe-audit", "--execprobe-deny=curl"])
def test_off_with_a_rule_for_the_suite(run: Run, played: Played, option: str) -> None:
    ran = run(MIXED, option, "--execprobe=off", passed=2, skipped=1)
    assert played.settings == []
    assert "NOT CHECKED     3 tests: execprobe: switched off by --execprobe=off" in ran.text


def test_wrong_marker_is_an_error_without_a_probe_too(run: Run) -> None:
    run("@pytest.mark.exec_budget\ndef test_it(): pass", "--execprobe=off", errors=1)


def test_which_settings_the_helper_gets(run: Run, played: Played) -> None:
    run("def test_it(): pass", "--execprobe-audit", "--execprobe-helper=@mine", "--execprobe-attempts=off", passed=1)
    (given,) = played.settings
    assert (given.address, given.attempts) == ("@mine", "off")


def test_nothing_is_collected(run: Run) -> None:
    assert run("", "--execprobe-deny=curl").ret == pytest.ExitCode.NO_TESTS_COLLECTED
