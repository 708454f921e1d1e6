"""The action of GitHub's, step by step, in a project of its own, on the real plugin."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from environments import make_environment, users_environment
from workflows import ROOT, Action, Played, write_project

from pytest_execprobe.report.read import read

pytestmark = [pytest.mark.exec_budget(200), pytest.mark.usefixtures("kernel")]

INSTALL, RUN, GATE, KEEP, ALERTS = (
    "Install the plugin and BCC",
    "Run the suite",
    "Hold the report against the baseline",
    "Keep the report",
    "Show broken rules as alerts",
)

Play = Callable[..., Played]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Plays the action in a checkout with a suite and a baseline, for an interpreter that has the plugin."""

    def play(program: str = "true", *, install: str = "false", python: str = sys.executable, **inputs: str) -> Played:
        checkout, temporary = tmp_path / "checkout", tmp_path / "temporary"
        for folder in (checkout, temporary):
            folder.mkdir(exist_ok=True)
        write_project(checkout, program)
        action = Action(ROOT / "action.yml", checkout, temporary, users_environment())
        return action.play(install=install, python=python, **inputs)

    return play


def test_a_suite_within_its_baseline(play: Play) -> None:
    played = play(baseline="execs.toml")
    assert played.steps == {INSTALL: "success", RUN: "success", GATE: "success", KEEP: "success", ALERTS: "skipped"}
    assert read(Path(played.outputs["report"])).execs == 2
    assert played.summary.startswith("### Execs: no rule broken, every exec recorded\n")
    assert "within" in played.summary.partition("#### Run")[2]
    assert played.used[KEEP]["name"] == "execs"
    kept = sorted(path.name for path in Path(played.used[KEEP]["path"]).iterdir())
    assert kept == ["execs-gate.md", "execs.json", "execs.md", "execs.sarif"]
    assert "::error" not in played.text


def test_a_suite_beyond_its_baseline(play: Play) -> None:
    played = play("uname", baseline="execs.toml", sarif="true", variant="django 4.2")
    assert played.failed == [RUN, GATE]
    assert "::error file=test_it.py,line=8,title=execprobe%3A beyond the baseline" in played.text
    assert "<code>new&#58; uname ran once</code>" in played.summary
    assert played.used[KEEP]["name"] == "execs-django-4.2"
    (made,) = json.loads(Path(played.used[ALERTS]["sarif_file"]).read_text())["runs"]
    assert [result["ruleId"] for result in made["results"]] == ["baseline"]
    assert made["automationDetails"] == {"id": "execprobe/django 4.2/"}
    (run,) = read(Path(played.outputs["report"])).runs
    assert run.variant == "django 4.2"


def test_a_part_of_a_suite_is_judged_by_the_run_alone(play: Play) -> None:
    part = {"baseline": "execs.toml", "pytest_args": "-k 'one or none' -q", "report": "part"}
    assert play(**part).failed == [GATE]
    played = play(gate="false", **part)
    assert (played.failed, played.steps[GATE], played.used[KEEP]["name"]) == ([], "skipped", "part")
    (unit,) = [unit for unit in read(Path(played.outputs["report"])).units if unit.kind == "test"]
    assert unit.name == "test_it.py::test_one"


def test_without_a_baseline_it_records(play: Play) -> None:
    played = play("uname")
    assert (played.failed, played.steps[GATE]) == ([], "skipped")


def test_where_nothing_can_be_recorded_it_fails(play: Play) -> None:
    played = play(pytest_args="--execprobe-helper=/nowhere.sock")
    assert played.failed == [RUN]
    assert "required" in played.text
    assert (played.steps[KEEP], played.outputs["report"]) == ("skipped", "")


def test_nothing_of_what_a_workflow_says_is_executed(play: Play, tmp_path: Path) -> None:
    made = tmp_path / "made"
    nasty = f"'$(touch {made}) `touch {made}` ; touch {made} | x & \" \\"
    for name in ("pytest_args", "baseline", "report", "install", "python"):
        played = play(**{name: f"a\n::error::x\njson={made}\n{nasty}"})
        assert played.failed != []
        assert played.outputs["report"] != str(made)
    played = play(variant=nasty, baseline="execs.toml", pytest_args="-q '-rA' ")
    assert played.failed == []
    assert set(played.used[KEEP]["name"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert not made.exists()


@pytest.mark.parametrize("report", ["../execs", "a/b", ".execs", "a b", "a\nb"])
def test_a_report_has_a_plain_name(play: Play, report: str) -> None:
    played = play(report=report)
    assert played.failed == [RUN]
    (line,) = [line for line in played.text.splitlines() if line.startswith("::")]
    assert line.startswith("::error title=execprobe::report: a name of letters, digits, dots")


def test_arguments_that_are_no_words_are_refused(play: Play) -> None:
    played = play(pytest_args="-k 'open")
    assert played.failed == [RUN]
    assert "::error title=execprobe::pytest-args: " in played.text


@pytest.mark.exec_deny(inherit=False)  # pip, without a network
def test_it_installs_the_plugin_as_it_is_where_the_action_is(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = make_environment(tmp_path / "venv", Path(sys.executable))
    for name in ("pip", "pytest", "hatchling", "editables"):
        environment.add(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # which is how pip reads that there shall be none
    played = play(python=str(environment.python), install="")
    assert played.failed == [], played.text
    assert (environment.packages / "pytest_execprobe" / "bpf" / "execprobe.c").exists()
    assert read(Path(played.outputs["report"])).execs == 2
