"""JUnit's file: properties of tests, broken rules, and what is found when all tests are over."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from inner import Inner, alike, needs

SUITE = """
import os, subprocess, pytest
from lose import lose_helper

def test_plain():
    pass

@pytest.mark.exec_budget(1)
def test_keeps(record_property):
    record_property("mine", 1)
    subprocess.run(["true"])

@pytest.mark.exec_allow("true")
def test_breaks():
    subprocess.run(["true"])
    subprocess.run(["uname"])

@pytest.mark.exec_none(phases=["call"])
def test_loses(request):
    lose_helper(request.config)

@pytest.mark.exec_deny("uname")
def test_leaves(tmp_path):
    test_leaves.go, test_leaves.done = go, done = tmp_path / "go", tmp_path / "done"
    os.mkfifo(go)
    os.mkfifo(done)
    subprocess.run(["sh", "-c", f"(read x < {go}; /usr/bin/uname; echo > {done}) > {tmp_path}/out 2>&1 &"])

def test_lets_it_run():
    test_leaves.go.write_text("now")
    test_leaves.done.read_text()
"""


def cases(inner: Inner) -> dict[str, list[ElementTree.Element]]:
    found: dict[str, list[ElementTree.Element]] = {}
    for case in ElementTree.parse(inner.path / "out.xml").iter("testcase"):
        found.setdefault(str(case.get("name")), []).append(case)
    return found


def properties(case: ElementTree.Element) -> dict[str | None, str | None]:
    return {element.get("name"): element.get("value") for element in case.iter("property")}


@pytest.mark.parametrize("family", alike("xunit2", "xunit1"))
@pytest.mark.parametrize("workers", [False, pytest.param(True, marks=needs("xdist"))])
def test_what_is_in_it(inner: Inner, family: str, workers: bool) -> None:
    inner.suite(test_it=SUITE)
    options = ["--junit-xml=out.xml", "-o", f"junit_family={family}", "--execprobe-session-budget=3"]
    run = inner.run("-n1", *options, plugins=["xdist.plugin"]) if workers else inner.run(*options)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    found = cases(inner)
    assert properties(found["test_plain"][0]) == {"execprobe_execs": "0", "execprobe_lost": "0"}
    assert properties(found["test_keeps"][0]) == {"mine": "1", "execprobe_execs": "1", "execprobe_lost": "0"}
    assert properties(found["test_breaks"][0]) == {
        "execprobe_execs": "2",
        "execprobe_lost": "0",
        "execprobe_unexpected": "uname",
    }
    assert properties(found["test_loses"][0])["execprobe_lost"] == "unknown"

    def only(name: str, tag: str) -> str:
        (element,) = [element for case in found[name] for element in case.iter(tag)]
        return str(element.get("message")) + str(element.text)

    assert "unexpected program: uname ran, and only true may" in only("test_breaks", "failure")
    assert "cannot tell whether nothing ran" in str(ElementTree.tostring(found["test_loses"][0]))
    assert "uname must not run, but it ran once (left behind)" in only("test_leaves", "error")
    assert "session budget exceeded" in only("session budget", "error")
    (suite,) = ElementTree.parse(inner.path / "out.xml").iter("testsuite")
    bad = [e for case in suite.iter("testcase") for e in case if e.tag in ("failure", "error")]
    assert int(suite.get("errors") or 0) + int(suite.get("failures") or 0) == len(bad)


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess

        def test_passes(record_property):
            record_property("mine", 1)
            subprocess.run(["true"])

        def test_fails():
            assert False
        """
    )
    inner.as_without("--junit-xml=out.xml", "--execprobe-audit")
    run = inner.run("--junit-xml=out.xml")  # where nothing needs the probe, there is nothing to tell
    assert run.helpers == {}
    assert "execprobe" not in (inner.path / "out.xml").read_text()
