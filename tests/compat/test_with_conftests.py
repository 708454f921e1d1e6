"""What conftests execute before there is a session, on the real kernel, with and without workers."""

from __future__ import annotations

import pytest
from inner import Inner, alike, needs

CONFTEST = """
import os, subprocess

subprocess.run(["true"], check=True)
assert not any(name.startswith("EXECPROBE_XDIST") for name in os.environ)
"""

HOW = alike("", "-n2", "-n0", "-n2 --dist=no")


@pytest.mark.bpf  # one helper serves all workers
@pytest.mark.parametrize("how", HOW)
@needs("xdist")
def test_rules_cover_them(inner: Inner, how: str) -> None:
    inner.suite(conftest=CONFTEST, test_it="def test_a(): pass\ndef test_b(): pass")
    plugins = ["xdist.plugin"] if how else []
    run = inner.run("--execprobe-deny=true", "--execprobe-audit", *how.split(), plugins=plugins)
    assert run.ret == 1
    assert run.outcomes["collection"] == ["error"]
    workers = 2 if "-n2" in how else 1
    assert f"collection: true {workers}" in run.summary()
    assert len(run.helpers_ever) == 1


def test_second_run_in_a_process_is_decided_whatever_the_first_has_left(inner: Inner) -> None:
    inner.suite(
        test_it="""
            import os, signal, subprocess, sys

            def test_leaves():
                read, write = os.pipe()
                code = "import os, sys; os.fork() and os._exit(0); print(os.getpid(), flush=True); sys.stdin.read()"
                with subprocess.Popen(
                    [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                ) as process:
                    daemon = int(process.stdout.readline())
                    left = os.dup(process.stdin.fileno())  # so that it goes on until this process ends
        """,
        twice="""
            import sys, pytest
            from pytest_execprobe import plugin

            options = ["-p", "pytest_execprobe.plugin", "-p", "no:cacheprovider", *sys.argv[1:]]
            first = pytest.main([*options, "--execprobe-budget=9", "test_it.py"])
            second = pytest.main([*options, "--execprobe-deny=git", "-v", "test_second.py"])
            print("twice:", int(first), int(second))
        """,
        test_second="""
            import subprocess

            def test_decides(execprobe):
                subprocess.run(["true"], check=True)
                execprobe.assert_only_ran("true")
                assert execprobe.lost == 0
        """,
    )
    run = inner.run(before=["twice.py"], probe=False)
    assert "twice: 0 0" in run.out
