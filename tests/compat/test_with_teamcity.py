"""teamcity-messages, by which PyCharm and TeamCity see a run: each breach at its test, with what ran."""

from __future__ import annotations

import re

from inner import Inner, needs

pytestmark = needs("teamcity")

PLUGINS = ["teamcity.pytest_plugin"]
SUITE = """
import os, subprocess, pytest

def test_passes():
    pass

@pytest.mark.exec_deny("uname")
def test_call():
    subprocess.run(["uname"])

@pytest.fixture
def begins():
    subprocess.run(["uname"])

@pytest.mark.exec_deny("uname")
def test_setup(begins):
    pass

@pytest.fixture
def ends():
    yield
    subprocess.run(["uname"])

@pytest.mark.exec_deny("uname")
def test_teardown(ends):
    pass

@pytest.mark.xfail
@pytest.mark.exec_deny("uname")
def test_expected():
    subprocess.run(["uname"])

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
MESSAGE = re.compile(r"##teamcity\[(\w+) (.*?[^|])\](?=\n|##)")
ATTRIBUTE = re.compile(r"(\w+)='((?:[^'|]|\|.)*)'")


def told(out: str, kind: str) -> dict[str, str]:
    """What was said of tests in messages of a kind: their texts, by name."""
    found = {}
    for name, rest in MESSAGE.findall(out):
        attributes = dict(ATTRIBUTE.findall(rest))
        if name == kind:
            text = attributes.get("details") or attributes.get("message") or ""
            found[attributes["name"].rpartition(".")[2]] = re.sub(r"\|(.)", lambda m: _CHARS.get(m[1], m[1]), text)
    return found


_CHARS = {"n": "\n", "r": "\r"}


def test_each_breach_is_told_at_its_test_with_what_ran(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    run = inner.run("--teamcity", plugins=PLUGINS)
    failed = told(run.out, "testFailed")
    # What a teardown finds, and what is found when all tests are over, are tests of their own there.
    assert set(failed) == {"test_call", "test_setup", "test_teardown_teardown", "test_leaves_teardown"}
    for text in failed.values():
        first, rule, site, title, *_, last = text.split("\n")
        assert first.startswith("uname must not run, but it ran once (")
        assert rule.startswith("  rule  exec_deny('uname') on test_")
        assert site.startswith("  from  test_it.py:")
        assert title.strip("-").strip().startswith("execs: ")
        assert "/usr/bin/uname" in last
    (ignored,) = told(run.out, "testIgnored").items()
    assert ignored[0] == "test_expected"
    assert ignored[1].startswith("uname must not run, but it ran once (call phase)\n  rule  exec_deny")
    assert "pytest_execprobe" not in ignored[1]


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(
        test_it="import subprocess\ndef test_a():\n    subprocess.run(['true'])\ndef test_b():\n    assert False\n"
    )
    run = inner.as_without("--teamcity", "--execprobe-audit", plugins=PLUGINS)
    assert set(told(run.out, "testFailed")) == {"test_b"}
