"""pytest.param(marks=…), and parametrised fixtures of wider scope."""

from __future__ import annotations

import pytest
from inner import Inner

PLAIN = """
import subprocess, pytest

@pytest.fixture(scope="module", params=["one", pytest.param("two", marks=pytest.mark.xfail)])
def server(request):
    subprocess.run(["true"])
    return request.param

@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.skip), pytest.param(3, marks=pytest.mark.xfail)])
def test(n, server):
    for _ in range(n):
        subprocess.run(["true"])
    assert n < 3
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--execprobe-budget=3", "--execprobe-audit")
    assert run.ret == 0
    assert "fixture 'server' (module): true 2" in run.summary()


def test_the_parameter_s_marker_decides(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        pytestmark = pytest.mark.exec_deny("uname")

        @pytest.mark.exec_budget(1)
        @pytest.mark.parametrize(
            ("n", "program"),
            [
                (1, "true"),
                (2, "true"),
                pytest.param(2, "true", marks=pytest.mark.exec_budget(2), id="relaxed"),
                pytest.param(3, "true", marks=pytest.mark.exec_budget(2), id="relaxed-broken"),
                pytest.param(1, "true", marks=pytest.mark.exec_none, id="none"),
                pytest.param(1, "uname", marks=pytest.mark.exec_deny("ls"), id="adds-up"),
                pytest.param(1, "uname", marks=pytest.mark.exec_deny(inherit=False), id="dropped"),
                pytest.param(2, "true", marks=[pytest.mark.exec_budget(0), pytest.mark.xfail], id="expected"),
            ],
        )
        def test(n, program):
            for _ in range(n):
                subprocess.run([program])
        """
    )
    run = inner.run()
    assert run.outcomes == {
        "test[1-true]": ["passed"],
        "test[2-true]": ["failed"],
        "test[relaxed]": ["passed"],
        "test[relaxed-broken]": ["failed"],
        "test[none]": ["failed"],
        "test[adds-up]": ["failed"],
        "test[dropped]": ["passed"],
        "test[expected]": ["xfailed"],
    }
    assert "rule  exec_budget(1) on test, test_it.py:5" in run.text("test[2-true]")
    assert "rule  exec_budget(2) on test, test_it.py:11" in run.text("test[relaxed-broken]")
    assert "nothing may run, but true ran" in run.text("test[none]")
    assert "rule  exec_deny('uname') on the module, test_it.py:3" in run.text("test[adds-up]")


def test_parameters_of_a_fixture(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.fixture(params=[0, pytest.param(1, marks=pytest.mark.exec_none(phases=["setup"]))])
        def before(request):
            subprocess.run(["true"])

        @pytest.mark.parametrize("program", ["uname", "true"], indirect=True)
        @pytest.mark.exec_deny("uname")
        def test(program, before):
            pass

        @pytest.fixture
        def program(request):
            subprocess.run([request.param])
        """
    )
    run = inner.run()
    assert run.outcomes == {
        "test[0-uname]": ["error"],
        "test[0-true]": ["passed"],
        "test[1-uname]": ["error"],
        "test[1-true]": ["error"],
    }
    assert "uname must not run" in run.text("test[0-uname]", "error")
    assert "uname must not run" in run.text("test[1-uname]", "error")
    assert "nothing may run, but true ran" in run.text("test[1-true]", "error")


def test_a_wrong_marker_of_a_parameter_is_a_collection_error(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import pytest

        @pytest.mark.parametrize("n", [0, pytest.param(1, marks=pytest.mark.exec_budget("two"))])
        def test(n):
            pass
        """
    )
    run = inner.run()
    assert run.ret == pytest.ExitCode.INTERRUPTED
    assert run.reports == []
    assert "test_it.py:3: exec_budget('two')" in run.out
