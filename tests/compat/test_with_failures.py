"""Tests that fail by themselves and break a rule: their own failure comes first, and the rule is told besides."""

from __future__ import annotations

import pytest
from inner import LOST, Inner, pytest_version

ENDS = {
    "assertion": "assert 1 == 2",
    "error": "raise KeyError('so')",
    "fail": "pytest.fail('so')",
    "exit": "raise SystemExit(3)",
    "group": "raise_group()",
    "chained": "raise_chained()",
}

SUITE = """
import subprocess, pytest

def raise_group():
    try:
        group = ExceptionGroup
    except NameError:
        raise KeyError("no groups")
    raise group("two", [KeyError("so"), ValueError("so")])

def raise_chained():
    try:
        assert 1 == 2
    except AssertionError as error:
        raise KeyError("so") from error
"""


def suite(marker: str, body: str) -> str:
    tests = [f"{marker}\ndef test_{name}(request):\n    {body}\n    {end}\n" for name, end in ENDS.items()]
    return "\n".join([SUITE, *tests])


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=suite("", "subprocess.run(['true'])") + "\ndef test_passes():\n    subprocess.run(['true'])\n")
    inner.as_without("--execprobe-audit", "--execprobe-budget=1")


def test_the_rule_is_a_section(inner: Inner) -> None:
    inner.suite(test_it=suite("@pytest.mark.exec_none", "subprocess.run(['true'])"))
    run = inner.run()
    bare = inner.bare()
    assert run.outcomes == {f"test_{name}": ["failed"] for name in ENDS}
    for name in run.outcomes:
        own = run.report(name, "failed")
        if name == "test_group" and pytest_version() < (8, 1):  # which shows pluggy's frames, and ours between them
            assert "two (2 sub-exceptions)" in own.text
        else:
            assert own.text == bare.text(name)
        titles = [title for title, _ in own.sections]
        assert titles == ["execprobe", "execs: call phase (1, 0 lost)"], name
        assert own.sections[0][1].startswith("nothing may run, but true ran (call phase)\n  rule  exec_none() on test_")
        assert "/usr/bin/true" in own.sections[1][1]


def test_set_up_and_teardown(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.fixture
        def before():
            subprocess.run(["true"])
            assert 1 == 2

        @pytest.fixture
        def after():
            yield
            subprocess.run(["uname"])
            assert 3 == 4

        @pytest.mark.exec_none
        def test_before(before):
            pass

        @pytest.mark.exec_none
        def test_after(after):
            pass

        @pytest.mark.exec_none
        def test_next():
            pass
        """
    )
    run = inner.run()
    assert run.outcomes == {"test_before": ["error"], "test_after": ["passed", "error"], "test_next": ["passed"]}
    before, after = run.report("test_before", "error"), run.report("test_after", "error")
    assert "assert 1 == 2" in before.text
    assert "nothing may run, but true ran (setup phase)" in before.sections[0][1]
    assert "assert 3 == 4" in after.text
    assert "nothing may run, but uname ran (teardown phase)" in str(after.sections)


def test_what_is_unknown_is_told_besides(inner: Inner) -> None:
    inner.suite(
        test_it="from lose import lose_helper\n"
        + suite("@pytest.mark.exec_none(phases=['call'])", "lose_helper(request.config)")
    )
    run = inner.run("-k", "assertion or exit")
    assert run.outcomes == {"test_assertion": ["failed"], "test_exit": ["failed"], **LOST}
    for name in ("test_assertion", "test_exit"):
        assert "cannot tell whether nothing ran" in run.report(name, "failed").sections[0][1]
    assert run.ret == pytest.ExitCode.TESTS_FAILED
