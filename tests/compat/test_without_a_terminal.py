"""-p no:terminal: nobody is told anything, and the exit status and JUnit's file say it all."""

from __future__ import annotations

import pytest
from inner import Inner

PLAIN = """
import subprocess

def test_passes():
    subprocess.run(["true"])

def test_fails():
    assert False
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    inner.as_without("-p", "no:terminal", "--execprobe-budget=1", "--execprobe-audit")


@pytest.mark.parametrize("body", ["subprocess.run(['true'])", "lose_helper(request.config)"])
def test_rules(inner: Inner, body: str) -> None:
    inner.suite(
        test_it=f"""
        import subprocess, pytest
        from lose import lose_helper

        @pytest.mark.exec_none(phases=["call"])
        def test_marked(request):
            {body}

        @pytest.mark.exec_none
        def test_next():
            pass
        """
    )
    run = inner.run("-p", "no:terminal", "--execprobe-session-budget=9", "--junit-xml=out.xml")
    assert run.outcomes["test_marked"] == ["error" if "lose" in body else "failed"]
    assert run.outcomes["test_next"] == ["passed"]
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    xml = (inner.path / "out.xml").read_text()
    assert ("cannot tell whether nothing ran" if "lose" in body else "nothing may run, but true ran") in xml
    assert ("session budget" in xml) == ("lose" in body)


def test_kept(inner: Inner) -> None:
    inner.suite(test_it="import pytest\n\n@pytest.mark.exec_none\ndef test(): pass")
    assert inner.run("-p", "no:terminal", "--execprobe-session-budget=0").ret == 0


def test_no_probe(inner: Inner) -> None:
    inner.suite(test_it="def test(): pass")
    run = inner.run(
        "-p", "no:terminal", "--execprobe=require", "--execprobe-backend=bpf", "--execprobe-python=/bin/false"
    )
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert run.reports == []
    assert "no Python with BCC was found" in run.err
