"""By which rule an alert of code scanning is: with the words in which runs speak of each kind of rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from suites import Run

#: Names of tests, and the rules that they break, each in another way.
SUITE = """
@pytest.mark.exec_budget(0)
def test_budget(): runs("git")

@pytest.mark.exec_budget(per_program={"git": 0})
def test_program_budget(): runs("git")

@pytest.mark.exec_allow("sh")
def test_allow(): runs("git")

@pytest.mark.exec_none()
def test_none(): runs("git")

@pytest.mark.exec_deny("git")
def test_deny(): runs("git")

@pytest.mark.exec_allow("git")
@pytest.mark.exec_budget(3)
def test_options(): [runs(name) for name in ("git", "git", "curl", "git")]

@pytest.mark.exec_deny("git")
def test_undecided_deny(): runs("sh", lost=True)

@pytest.mark.exec_allow("git")
def test_undecided_allow(): runs("sh", lost=True)

@pytest.mark.exec_budget(0)
def test_lost(): runs("sh", lost=True)

@pytest.mark.exec_no_shell()
def test_shell(): runs("sh", "-c", "git tag")

@pytest.mark.exec_success("git")
def test_fails(): ends(runs("git"), 256)

@pytest.mark.exec_success("git")
def test_undecided_success(): runs("git")

@pytest.mark.exec_deny("curl")
def test_leaves():
    global shell
    shell = runs("sh")
    ends(shell)

def test_next(): runs("curl", by=shell)
"""
EXPECTED = {
    "test_budget": ["exec-budget"],
    "test_program_budget": ["exec-budget"],
    "test_allow": ["exec-allow"],
    "test_none": ["exec-allow"],
    "test_deny": ["exec-deny"],
    "test_options": ["exec-allow", "exec-budget", "exec-deny"],
    "test_undecided_deny": ["exec-deny"],
    "test_undecided_allow": ["exec-allow"],
    "test_lost": ["exec-budget"],
    "test_shell": ["exec-no-shell"],
    "test_fails": ["exec-success"],
    "test_undecided_success": ["exec-success"],
    "test_leaves": ["exec-deny"],
}


def alerts(path: str = "a.sarif") -> dict[str, list[str]]:
    (made,) = json.loads(Path(path).read_text())["runs"]
    found: dict[str, list[str]] = {}
    for result in made["results"]:
        (location,) = result["locations"]
        name = location.get("logicalLocations", [{"fullyQualifiedName": "the run"}])[0]["fullyQualifiedName"]
        found.setdefault(name.rpartition("::")[2], []).append(result["ruleId"])
    return {name: sorted(rules) for name, rules in found.items()}


@pytest.mark.parametrize("quiet", [(), ("-q",), ("-vv",)])
def test_rules(run: Run, quiet: tuple[str, ...]) -> None:
    run(SUITE, "--execprobe-deny=xterm", "--execprobe-report=a.sarif", *quiet, ini="execprobe_deny = curl")
    assert alerts() == EXPECTED


def test_options(run: Run) -> None:
    source = "def test_it(): runs('git')"
    run(source, "--execprobe-allow=sh", "--execprobe-budget=0", "--execprobe-report=a.sarif")
    assert alerts() == {"test_it": ["exec-allow", "exec-budget"]}
    run(source, "--execprobe-report=a.sarif", ini="execprobe_allow = sh\nexecprobe_budget = 0")
    assert alerts() == {"test_it": ["exec-allow", "exec-budget"]}


@pytest.mark.parametrize("source", ["def test_it(): runs('git')", "def test_it(): runs('git', lost=True)"])
def test_the_run(run: Run, source: str) -> None:
    run(source, "--execprobe-session-budget=0", "--execprobe-report=a.sarif")
    assert alerts() == {"the run": ["session-budget"]}


@pytest.mark.parametrize("source", ["def test_it(): runs('git')", "def test_it(): runs('git', lost=True)"])
def test_a_baseline(run: Run, source: str) -> None:
    Path("execs.toml").write_text('version = 1\n[total]\nat_most = 0\n[tests]\n[packages."none"]\nat_most = 1\n')
    run(source, "--execprobe-baseline=execs.toml", "--execprobe-report=a.sarif")
    assert alerts() == {"test_it": ["baseline"], "the run": ["baseline", "baseline"]}


def test_an_alert_is_the_same_in_the_next_run(run: Run) -> None:
    source = "@pytest.mark.exec_budget(0)\n@pytest.mark.parametrize('n', [1, 2])\ndef test_it(n): runs('git')"

    def prints() -> list[str]:
        (made,) = json.loads(Path("a.sarif").read_text())["runs"]
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in made["results"]]

    run(source, "--execprobe-report=a.sarif")
    first = prints()
    run("\n\n" + source.replace("runs('git')", "runs('git'); runs('git')"), "--execprobe-report=a.sarif")
    assert prints() == first
    assert len({*first}) == 2
