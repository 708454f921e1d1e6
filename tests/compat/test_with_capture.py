"""Capturing: what tests write is captured as without the plugin, and nothing of the helper's gets in."""

from __future__ import annotations

import pytest
from inner import Inner, alike

SUITE = """
import os, subprocess, sys, pytest

@pytest.fixture(scope="module")
def server():
    print("module")
    subprocess.run(["echo", "from the module"])

def test_fails(server):
    print("printed")
    print("to stderr", file=sys.stderr)
    subprocess.run(["echo", "from a program"])
    os.write(2, b"written\\n")
    assert False

def test_capfd(capfd):
    subprocess.run(["echo", "hello"])
    assert capfd.readouterr().out == "hello\\n"

def test_capsys(capsys):
    print("hello")
    assert capsys.readouterr().out == "hello\\n"

def test_last(server):
    print("the end")
    assert False
"""


MODES = pytest.mark.parametrize("mode", ["fd", *alike("sys", "no", "tee-sys")])


@MODES
def test_outcomes_and_output_stay(inner: Inner, mode: str) -> None:
    inner.suite(test_it=SUITE)
    run = inner.as_without(f"--capture={mode}", "--execprobe-budget=1", "--execprobe-audit")
    bare = run.without
    assert bare is not None
    for name in ("test_fails", "test_last"):
        assert run.report(name, "failed").sections == bare.report(name, "failed").sections
    assert run.err == bare.err
    if mode == "no":
        for word in ("printed", "from a program", "from the module", "the end"):
            assert run.out.count(f"{word}\n") == bare.out.count(f"{word}\n") > 0


@MODES
def test_rules(inner: Inner, mode: str) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest
        from lose import lose_helper

        @pytest.mark.exec_none
        def test_breaks(capfd):
            print("before")
            subprocess.run(["echo", "hello"])

        @pytest.mark.exec_budget(1)
        def test_keeps(capfd, execprobe):
            subprocess.run(["echo", "hello"])
            assert capfd.readouterr().out == "hello\\n"
            assert execprobe.programs == ["echo"]

        @pytest.mark.xfail
        @pytest.mark.exec_none(phases=["call"])
        def test_loses(request):
            lose_helper(request.config)

        @pytest.mark.exec_budget(1)
        def test_after_that(capfd):
            subprocess.run(["echo", "hello"])
            assert capfd.readouterr() == ("hello\\n", "")
        """
    )
    run = inner.run(f"--capture={mode}")
    assert run.outcomes == {
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_loses": ["error"],
        "test_after_that": ["passed"],
        "outside of tests": ["error"],
    }
    assert "nothing may run, but echo ran" in run.text("test_breaks")
