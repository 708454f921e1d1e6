"""Where the whole run is to be recorded, the probe is armed before conftests are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Played

CONFTEST = "from played import runs\nruns('curl')\n"
PASSES = "def test_it(): pass"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=PASSES)
    return pytester


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)


@pytest.mark.parametrize("where", ["option", "ini"])
def test_rules_for_the_suite_cover_conftests(suite: pytest.Pytester, played: Played, where: str) -> None:
    if where == "ini":
        suite.makeini("[pytest]\nexecprobe_deny = curl\n")
    result = run(suite, *(["--execprobe-deny=curl"] if where == "option" else []))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*curl must not run, but it ran once (collection)*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert len(played.settings) == 1
    assert played.sources[0].closed


def test_audit_and_baseline_have_them_in_the_collection(suite: pytest.Pytester, played: Played) -> None:
    result = run(suite, "--execprobe-audit", "--execprobe-baseline=rows.toml", "--execprobe-update")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*besides tests *collection: curl 1"])
    assert "[around.collection]\ncurl = 1\n" in (suite.path / "rows.toml").read_text()
    assert len(played.settings) == 1


def test_require_alone_arms_early(suite: pytest.Pytester, played: Played) -> None:
    suite.makeconftest("from played import runs\nruns('curl')\ndef pytest_configure(): runs('git')")
    assert run(suite, "--execprobe=require").ret == 0
    assert len(played.sources) == 1


def test_probe_that_can_not_be_had_stops_the_run_before_conftests(suite: pytest.Pytester, played: Played) -> None:
    played.refusal = "execprobe: no way"
    suite.makeconftest("import pathlib\npathlib.Path('loaded').touch()")
    result = run(suite, "--execprobe=require")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *no way*"])
    assert not (suite.path / "loaded").exists()


def test_it_is_tried_once(suite: pytest.Pytester, played: Played) -> None:
    played.refusal = "execprobe: no way"
    suite.makeconftest("")
    result = run(suite, "--execprobe-audit")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["execprobe: no probe: no way"])
    assert len(played.settings) == 1


@pytest.mark.parametrize(
    "option", ["--help", "--version", "--markers", "--fixtures", "--fixtures-per-test", "--collect-only"]
)
def test_what_runs_no_test_starts_no_helper(suite: pytest.Pytester, played: Played, option: str) -> None:
    suite.makeconftest("")
    assert run(suite, "--execprobe-deny=curl", option).ret == 0
    assert played.settings == []


def test_wrong_settings_are_reported_before_anything_is_started(suite: pytest.Pytester, played: Played) -> None:
    assert run(suite, "--execprobe=nonsense").ret == pytest.ExitCode.USAGE_ERROR
    assert played.settings == []


def test_plugin_that_is_switched_off(suite: pytest.Pytester, played: Played) -> None:
    suite.makeconftest("")
    suite.makeini("[pytest]\nexecprobe_deny = curl\n")
    for name in ("execprobe", "pytest_execprobe.plugin"):
        run(suite, "-p", f"no:{name}")
    assert run(suite, "--execprobe=off").ret == 0
    assert all(source.closed for source in played.sources)


def test_broken_conftest_leaves_no_helper(suite: pytest.Pytester, played: Played) -> None:
    suite.makeconftest("import nonsense")
    assert run(suite, "--execprobe-audit").ret == pytest.ExitCode.USAGE_ERROR
    assert [source.closed for source in played.sources] == [True]


def test_conftests_decide_as_ever(suite: pytest.Pytester, played: Played) -> None:
    """What they set when pytest is configured holds, though the probe is there already."""
    suite.makeconftest(CONFTEST + "def pytest_configure(config): config.option.execprobe_ignore = ['curl']")
    result = run(suite, "--execprobe-audit")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*ignored*curl 1*"])
    assert len(played.sources) == 1


def test_each_of_two_runs_in_a_process_has_its_own(suite: pytest.Pytester, played: Played) -> None:
    for _ in range(2):
        run(suite, "--execprobe-deny=curl").assert_outcomes(passed=1, errors=1)
    assert [source.closed for source in played.sources] == [True, True]


def test_attempts_that_a_conftest_above_reads(pytester: pytest.Pytester, played: Played) -> None:
    pytester.makeconftest("# execprobe.attempts")
    pytester.mkdir("below").joinpath("test_it.py").write_text(PASSES)
    assert run(pytester, "--execprobe-audit", "below").ret == 0
    assert [settings.attempts for settings in played.settings] == ["always"]


def test_run_begins_when_the_probe_is_armed(suite: pytest.Pytester, played: Played) -> None:
    suite.makeconftest(CONFTEST + "import sys\nsys.argv = ['changed']")
    result = run(suite, "--execprobe-report=a.trace.json", "--execprobe-report=a.json")
    assert result.ret == 0
    assert "changed" not in (suite.path / "a.json").read_text()
    assert '"ts":-' not in (suite.path / "a.trace.json").read_text().replace(" ", "")
    assert len(played.sources) == 1
