"""pytest-socket: no test may open a socket. The probe's own are none of a test's."""

from __future__ import annotations

import pytest
from inner import LOST, Inner, needs

pytestmark = needs("pytest_socket")

PLUGINS = ("pytest_socket",)
DISABLED = ("--disable-socket", "-W", "ignore::UserWarning")

SUITE = """
import os, socket, subprocess, pytest

def test_passes():
    subprocess.run(["true"])

def test_blocked():
    socket.socket(socket.AF_INET)

@pytest.mark.enable_socket
def test_allowed():
    socket.socket(socket.AF_INET).close()

def test_fork():
    child = os.fork()
    if child == 0:
        subprocess.run(["true"])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    run = inner.as_without(*DISABLED, "--execprobe-budget=1", "--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes["test_blocked"] == ["failed"]
    assert run.outcomes["test_fork"] == ["passed"]
    assert "test_it.py::test_fork: true 1" in run.summary()


def test_rules(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_budget(1)
        def test_breaks():
            subprocess.run(["true"])
            subprocess.run(["true"])

        @pytest.mark.exec_budget(1)
        def test_keeps():
            subprocess.run(["true"])

        @pytest.mark.xfail
        @pytest.mark.exec_none(phases=["call"])
        def test_unknown(request):
            from lose import lose_helper
            lose_helper(request.config)

        @pytest.mark.exec_budget(1)
        def test_after():  # with a new helper
            subprocess.run(["true"])
        """
    )
    run = inner.run(*DISABLED, plugins=PLUGINS)
    assert run.outcomes == {
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_unknown": ["error"],
        "test_after": ["passed"],
        **LOST,
    }


@pytest.mark.parametrize("more", [[], ["--allow-hosts=127.0.0.1"], ["--allow-unix-socket"]])
def test_in_a_forked_child(inner: Inner, more: list[str]) -> None:
    inner.suite(
        test_it="""
        import os, subprocess

        def test_forked(execprobe):
            child = os.fork()
            if child == 0:
                try:
                    subprocess.run(["uname"])
                    assert execprobe.programs == ["uname"]
                except BaseException as error:
                    print(repr(error))
                    os._exit(1)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            assert execprobe.programs == ["uname"]
        """
    )
    assert inner.run(*DISABLED, *more, "-s", plugins=PLUGINS).outcomes == {"test_forked": ["passed"]}


def test_armed_in_the_middle(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess

        def test_late(request):
            execprobe = request.getfixturevalue("execprobe")
            with execprobe.watch() as log:
                subprocess.run(["true"])
            assert log.programs == ["true"]
        """
    )
    assert inner.run(*DISABLED, plugins=PLUGINS).outcomes == {"test_late": ["passed"]}
