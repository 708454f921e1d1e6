"""A suite for runners that put tests into processes of their own, and what is to come of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from inner import Inner, Run

#: ``MARK`` is the runner's mark for a test that goes into another process.
SUITE = """
import subprocess, pytest

MARK
@pytest.mark.exec_deny(inherit=False)
@pytest.mark.exec_allow("uname")
def test_may():
    subprocess.run(["uname"])

MARK
def test_breaks():
    subprocess.run(["uname"])

MARK
@pytest.mark.exec_budget(1)
def test_keeps():
    subprocess.run(["true"])

MARK
@pytest.mark.exec_budget(1)
def test_exceeds():
    subprocess.run(["true"])
    subprocess.run(["sh", "-c", "exit 0"])

MARK
@pytest.mark.xfail(reason="so")
@pytest.mark.exec_none
def test_expected():
    subprocess.run(["true"])

MARK
def test_skips():
    pytest.skip("so")
"""

#: Of its tests, those that come out in different ways without its rules.
SELECTED = ("-k", "keeps or expected or skips")

#: How often each program runs in it.
PROGRAMS = {"uname": 2, "true": 3, "sh": 1}

#: A test leaves behind what runs uname in the next one. Two pipes are made for it: go, done.
LEAVES = """
import subprocess, pytest

MARK
@pytest.mark.exec_deny("uname")
def test_leaves():
    subprocess.run(["sh", "-c", "(read x < go; uname > done) &"])

def test_next():
    with open("go", "w") as go:
        go.write("now")
    assert subprocess.run(["sh", "-c", "read x < done"]).returncode == 0
"""


def check(inner: Inner, *options: str, mark: str = "", junit_apart: bool = False, **how: Any) -> Run:
    """Each exec has one verdict, in one summary and one report of each form, and one of JUnit's."""
    inner.suite(test_it=SUITE.replace("MARK", mark))
    names = ["report.json", "report.md", "report.html", "report.sarif"]
    reports = [f"--execprobe-report={name}" for name in names]
    rules = ["--execprobe-deny=uname", "--execprobe-audit"]
    junit = "--junit-xml=junit.xml"
    run = inner.run(*options, *rules, *reports, *([] if junit_apart else [junit]), **how)
    assert run.outcomes == {
        "test_may": ["passed"],
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_exceeds": ["failed"],
        "test_expected": ["xfailed"],
        "test_skips": ["skipped"],
    }
    assert run.ret == 1
    assert run.out.count("= execprobe =") == 1
    assert "NOT CHECKED" not in run.summary()
    assert "in 6 tests and around them, 0 lost" in run.summary()
    assert "test_expected: nothing may run, but true ran" in run.summary()
    counted = of_tests(inner.path / "report.json")
    assert sum(counted.values(), Counter()) == PROGRAMS
    assert counted["test_may"] == {"uname": 1}
    assert counted["test_exceeds"] == {"true": 1, "sh": 1}
    assert sites_of_breaches(inner.path / "report.json") == {name: name for name in ("test_breaks", "test_exceeds")}
    assert all((inner.path / name).stat().st_size for name in names)
    sarif = json.loads((inner.path / "report.sarif").read_text())
    assert len(sarif["runs"][0]["results"]) == 2
    if junit_apart:  # by who breaks down where a test is skipped, or expected to fail, and there is to be such a file
        inner.run("-k", "not skips and not expected", junit, *options, *rules, **how)
    cases = ElementTree.parse(inner.path / "junit.xml").findall(".//testcase")
    found = {case.get("name"): [child.tag for child in case if child.tag in ("failure", "error")] for case in cases}
    found = {name: tags for name, tags in found.items() if name not in ("test_skips", "test_expected")}
    assert found == {"test_may": [], "test_breaks": ["failure"], "test_keeps": [], "test_exceeds": ["failure"]}
    return run


def of_tests(report: Path) -> dict[str, Counter[str]]:
    """What a report says that each test has run, which may be there once."""
    document = json.loads(report.read_text())
    (run,) = document["runs"]
    assert not run["unknown"], run["unknown"]
    counted: dict[str, Counter[str]] = {}
    for unit in document["units"]:
        if unit["kind"] == "test":
            name = unit["name"].partition("::")[2]
            assert name not in counted, f"{name} is there twice"
            assert unit["outcome"], name
            counted[name] = Counter(Path(run["commands"][one["command"]]["path"]).name for one in unit["records"])
    return counted


def sites_of_breaches(report: Path) -> dict[str, str]:
    """The functions in which a report says that what breaks tests' rules was spawned, by test."""
    units = json.loads(report.read_text())["units"]
    return {
        unit["name"].partition("::")[2]: breach["call_site"]["function"]
        for unit in units
        for breach in unit["breaches"]
        if unit["kind"] == "test"
    }
