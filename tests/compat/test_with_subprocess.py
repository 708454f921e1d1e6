"""pytest-subprocess: in a test that uses ``fp``, programs are played. Those that do run are recorded."""

from __future__ import annotations

import pytest
from inner import LOST, Inner, needs

pytestmark = [needs("pytest_subprocess"), pytest.mark.both_probes]

PLUGINS = ("pytest_subprocess.fixtures",)

SUITE = """
import os, subprocess, pytest

def test_passes(fp):
    fp.register(["git", "push"], stdout="pushed")
    assert subprocess.check_output(["git", "push"]) == b"pushed"

def test_unregistered(fp):
    subprocess.run(["true"])

def test_passes_through(fp):
    fp.pass_command(["true"])
    assert subprocess.run(["true"]).returncode == 0
    assert list(fp.calls) == [["true"]]

def test_without():
    subprocess.run(["true"])
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    run = inner.as_without("--execprobe-allow=true", "--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes["test_unregistered"] == ["failed"]
    assert run.outcomes["test_passes"] == run.outcomes["test_passes_through"] == ["passed"]
    assert "test_it.py::test_passes_through: true 1" in run.summary()


def test_rules(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os, subprocess, pytest

        @pytest.mark.exec_none
        def test_played(fp):  # what is played does not run
            fp.register(["git"])
            subprocess.run(["git"])

        @pytest.mark.exec_none
        def test_breaks(fp):
            fp.allow_unregistered(True)
            subprocess.run(["true"])

        @pytest.mark.xfail
        @pytest.mark.exec_none(phases=["call"])
        def test_unknown(fp, request):
            from lose import lose_helper
            lose_helper(request.config)

        def test_again(fp, execprobe):  # with a new helper
            os.system("uname")
            assert execprobe.count("uname") == 1
            assert not fp.calls
        """
    )
    run = inner.run(plugins=PLUGINS)
    assert run.outcomes == {
        "test_played": ["passed"],
        "test_breaks": ["failed"],
        "test_unknown": ["error"],
        "test_again": ["passed"],
        **LOST,
    }


def test_armed_in_the_middle(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os

        def test_late(fp, request):
            execprobe = request.getfixturevalue("execprobe")
            with execprobe.watch() as log:
                os.system("true")
            assert log.programs == ["sh", "true"] or log.programs == ["sh"]
            assert not fp.calls
        """
    )
    assert inner.run(plugins=PLUGINS).outcomes == {"test_late": ["passed"]}
