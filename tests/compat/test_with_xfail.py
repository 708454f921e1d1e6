"""xfail: it takes a rule that is certainly broken for a failure like any other, and hides nothing that is unknown."""

from __future__ import annotations

import pytest
from inner import LOST, Inner, alike

PLAIN = """
import subprocess, pytest

@pytest.mark.xfail
def test_fails():
    subprocess.run(["true"])
    assert False

@pytest.mark.xfail(strict=STRICT)
def test_passes():
    subprocess.run(["true"])

@pytest.mark.xfail(raises=AssertionError)
def test_raises_it():
    subprocess.run(["true"], check=True)
    assert False

@pytest.mark.xfail(raises=KeyError)
def test_raises_another():
    assert False

@pytest.mark.xfail(run=False)
def test_does_not_run():
    assert False

@pytest.mark.xfail("True", reason="by condition")
def test_by_condition():
    assert False

def test_plain():
    pass

def test_in_the_middle():
    subprocess.run(["true"])
    pytest.xfail("not today")
"""


@pytest.mark.parametrize("strict", [True, False])
def test_outcomes_stay(inner: Inner, strict: bool) -> None:
    inner.suite(test_it=PLAIN.replace("STRICT", str(strict)))
    run = inner.as_without("--execprobe-budget=5", "--execprobe-audit")
    assert run.outcomes["test_passes"] == (["failed"] if strict else ["xpassed"])
    assert run.ret == pytest.ExitCode.TESTS_FAILED


BROKEN = """
import subprocess, pytest

@pytest.mark.xfail(MARK)
@pytest.mark.exec_deny("true")
def test_breaks():
    subprocess.run(["true"])

@pytest.mark.exec_deny("true")
def test_next():
    pass
"""


@pytest.mark.parametrize(
    "mark", alike("", "strict=True", "raises=AssertionError", "raises=AssertionError, strict=True")
)
def test_a_broken_rule_is_a_failure_that_was_expected(inner: Inner, mark: str) -> None:
    inner.suite(test_it=BROKEN.replace("MARK", mark))
    run = inner.run()
    assert run.outcomes == {"test_breaks": ["xfailed"], "test_next": ["passed"]}
    assert run.ret == 0
    assert "test_it.py::test_breaks: true must not run, but it ran once" in run.summary()


def test_but_not_one_of_another_kind(inner: Inner) -> None:
    inner.suite(test_it=BROKEN.replace("MARK", "raises=KeyError"))
    run = inner.run()
    assert run.outcomes == {"test_breaks": ["failed"], "test_next": ["passed"]}
    assert "true must not run, but it ran once" in run.text("test_breaks")


def test_a_strict_one_that_keeps_its_rule_fails(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.xfail(strict=True)
        @pytest.mark.exec_allow("true")
        def test_keeps():
            subprocess.run(["true"])
        """
    )
    run = inner.run()
    assert run.outcomes == {"test_keeps": ["failed"]}
    assert "XPASS(strict)" in run.text("test_keeps")


def test_a_failure_that_was_expected_tells_of_the_rule_besides(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.xfail
        @pytest.mark.exec_none
        def test_both():
            subprocess.run(["true"])
            assert False
        """
    )
    run = inner.run()
    assert run.outcomes == {"test_both": ["xfailed"]}
    assert "test_it.py::test_both: nothing may run, but true ran" in run.summary()


UNKNOWN = """
import pytest
from lose import lose_helper

@pytest.mark.xfail(MARK)
@pytest.mark.exec_none(phases=("call",))
def test_passes(request):
    lose_helper(request.config)

@pytest.mark.xfail(MARK)
@pytest.mark.exec_none(phases=("call",))
def test_skips(request):
    lose_helper(request.config)
    pytest.skip("so")

@pytest.mark.xfail(MARK)
def test_asks(request, execprobe):
    lose_helper(request.config)
    execprobe.assert_not_ran("curl")

@pytest.mark.xfail(MARK)
@pytest.mark.exec_none(phases=("call",))
def test_fails(request):
    lose_helper(request.config)
    assert False

def test_next(execprobe):
    execprobe.assert_nothing_ran()
"""


@pytest.mark.parametrize("mark", alike("", "strict=True", "raises=Exception"))
def test_what_is_unknown_is_an_error(inner: Inner, mark: str) -> None:
    inner.suite(test_it=UNKNOWN.replace("MARK", mark))
    run = inner.run()
    assert run.outcomes == {
        "test_passes": ["error"],
        "test_skips": ["error"],
        "test_asks": ["error"],
        "test_fails": ["error"],  # that it fails was expected, and not that a rule can't be decided
        "test_next": ["passed"],
        **LOST,
    }
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert "cannot tell whether nothing ran" in run.text("test_passes", "error")
