"""Doctests, which have no markers and no fixtures: the rules for the whole suite judge them."""

from __future__ import annotations

import pytest
from inner import Inner

MODULE = '''
import subprocess

def keeps():
    """
    >>> subprocess.run(["true"]).returncode
    0
    """

def twice():
    """
    >>> subprocess.run(["true"]).returncode
    0
    >>> subprocess.run(["true"]).returncode
    0
    """

def wrong():
    """
    >>> subprocess.run(["true"]).returncode
    1
    """

def skips():
    """
    >>> subprocess.run(["true"]).returncode # doctest: +SKIP
    0
    """
'''


def test_outcomes_stay(inner: Inner, pytester: pytest.Pytester) -> None:
    inner.suite(module=MODULE)
    pytester.maketxtfile(test_text=">>> import subprocess; subprocess.run(['true']).returncode\n0\n")
    run = inner.as_without("--execprobe-budget=2", "--execprobe-audit", "--doctest-modules")
    assert "module.py::module.twice: true 2" in run.summary()
    assert run.outcomes["module.wrong"] == ["failed"]
    assert run.outcomes["test_text.txt"] == ["passed"]


def test_rules_for_the_whole_suite(inner: Inner) -> None:
    inner.suite(module=MODULE)
    run = inner.run("--execprobe-budget=1", "--execprobe-deny=uname", "--doctest-modules")
    assert run.outcomes == {
        "module.keeps": ["passed"],
        "module.twice": ["failed"],
        "module.wrong": ["failed"],
        "module.skips": ["skipped"],
    }
    assert "exec budget exceeded: 2 execs, at most 1 allowed" in run.text("module.twice")
    run = inner.run("--execprobe-deny=true", "--doctest-modules")
    wrong = run.report("module.wrong", "failed")
    assert "Expected:" in wrong.text
    assert "true must not run, but it ran once" in wrong.sections[0][1]


def test_the_fixture_and_markers_of_a_conftest(inner: Inner) -> None:
    """It is asked for in the middle, so that the begin of the call is not known unless everything is recorded."""
    inner.suite(
        module='''
        import subprocess

        def asks():
            """
            >>> execprobe = getfixture("execprobe")
            >>> _ = subprocess.run(["true"])
            >>> execprobe.programs
            ['true']
            """

        def marked():
            """
            >>> _ = subprocess.run(["uname"])
            """
        ''',
        conftest="""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                if "marked" in item.name:
                    item.add_marker(pytest.mark.exec_none)
        """,
    )
    run = inner.run("--execprobe-audit", "--doctest-modules")
    assert run.outcomes == {"module.asks": ["passed"], "module.marked": ["failed"]}
    assert "nothing may run, but uname ran" in run.text("module.marked")


def test_what_is_unknown_is_an_error(inner: Inner) -> None:
    inner.suite(
        module='''
        def check():
            """
            >>> from lose import lose_helper
            >>> execprobe = getfixture("execprobe")
            >>> lose_helper(getfixture("request").config)
            >>> execprobe.assert_not_ran("curl")
            """

        def rule():
            """
            >>> from lose import lose_helper
            >>> lose_helper(getfixture("request").config)
            """
        ''',
        conftest="""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.xfail)
        """,
    )
    run = inner.run("--execprobe-budget=5", "--doctest-modules", "-k", "rule")
    assert run.outcomes["module.rule"] == ["error"]
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    for more in ((), ("--doctest-continue-on-failure",)):  # the check itself, where there is no rule
        run = inner.run("--execprobe-audit", "--doctest-modules", "-k", "check", *more)
        assert run.outcomes == {"module.check": ["error"]}
        assert run.ret == pytest.ExitCode.TESTS_FAILED
