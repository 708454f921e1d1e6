"""One helper serves all workers of a run; and where none can be had though it must, no test runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from inner import Inner, gone, needs

pytestmark = [needs("xdist"), pytest.mark.bpf]  # who traces serves one worker

PLUGINS = ("xdist.plugin",)
NONE = ("--execprobe-backend=bpf", "--execprobe-python=/bin/false")

SUITE = """
import itertools, pytest
from pytest_execprobe.source import meeting

def served(names):
    '''Those of the run's names at which a helper listens.'''
    with open("/proc/net/unix") as file:
        listening = {line.split()[-1] for line in file if line.split()[3] == "00010000"}
    return [name for name in names if f"@{name}" in listening]

@pytest.mark.exec_none
@pytest.mark.parametrize("n", range(6))
def test(n, request):
    armed = request.config.pluginmanager.get_plugin("execprobe-armed")
    secret = request.config.workerinput["execprobe_shared"]
    first, *more = itertools.islice(meeting.names(secret), 5)
    assert served([first, *more]) == [first] == [armed.recorder.description["address"]]
"""


@pytest.mark.parametrize("workers", [1, 4])
def test_one_for_all(inner: Inner, workers: int) -> None:
    inner.suite(test_it=SUITE)
    run = inner.run(f"-n{workers}", "--execprobe=require", plugins=PLUGINS)
    assert run.outcomes == {f"test[{n}]": ["passed"] for n in range(6)}
    assert len(run.helpers_ever) == 1
    assert len(run.helpers) >= min(2, workers)
    assert all(gone(helper) for helper in run.helpers_ever)


def test_also_where_nothing_asks_for_it_before_there_are_workers(inner: Inner) -> None:
    """They all start one at the same time, and one of those stays."""
    inner.suite(test_it=SUITE.replace("    assert served", "    assert armed or served"))
    run = inner.run("-n4", plugins=PLUGINS)
    assert run.outcomes == {f"test[{n}]": ["passed"] for n in range(6)}
    assert len(run.helpers_ever) == 1
    assert all(gone(helper) for helper in run.helpers_ever)


REFUSALS = [
    ("-n0", "--execprobe=require"),
    ("-n2", "--execprobe=require"),
    ("-n2", "--execprobe-deny=curl"),
    ("-n2", "--execprobe-session-budget=9"),
]


@pytest.mark.parametrize("options", REFUSALS, ids=" ".join)
def test_without_a_probe_no_test_runs(inner: Inner, options: tuple[str, ...], tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    inner.suite(test_it=f"def test(): open({str(ran)!r}, 'w')\ndef test_uses(execprobe): pass")
    run = inner.run(*options, *NONE, plugins=PLUGINS)
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert run.reports == []
    assert not ran.exists()
    assert "no Python with BCC was found (/bin/false" in run.err + run.out
    assert "The probe is required" in run.err + run.out


def test_where_it_is_not_required_nothing_reads_as_checked(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_none
        def test_marked():
            subprocess.run(["true"])

        def test_uses(execprobe):
            assert False

        def test_plain():
            pass
        """
    )
    for options in (("-n2",), ()):
        run = inner.run(*options, *NONE, plugins=PLUGINS)
        assert run.outcomes == {"test_marked": ["passed"], "test_uses": ["skipped"], "test_plain": ["passed"]}
        assert "NOT CHECKED     1 test: " in run.summary()
        assert "no Python with BCC was found" in run.summary()
    budget = inner.run("-n2", "--execprobe=auto", "--execprobe-session-budget=9", *NONE, plugins=PLUGINS)
    assert "session budget  NOT CHECKED, at most 9 allowed" in budget.summary()
    assert "NOT CHECKED     3 tests: " in budget.summary()
