"""-p no:execprobe: whoever switches the plugin off gets pytest as it is without it."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from inner import Inner

SUITE = """
import subprocess, sys, pytest

@pytest.mark.exec_none
def test_marked():
    subprocess.run(["true"])

def test_plain():
    assert not any(name.startswith("pytest_execprobe.") for name in sys.modules if "told" not in name)
"""


@pytest.fixture
def autoload(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - after that
    """As it is where the plugin is installed: loaded unless it is switched off."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")


ALONE = [
    part
    for plugin in entry_points(group="pytest11")
    if plugin.name != "execprobe"
    for part in ("-p", f"no:{plugin.name}")
]


@pytest.mark.usefixtures("autoload")
def test_switched_off(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    run = inner.run("-p", "no:execprobe", *ALONE, probe=False)
    assert run.outcomes == {"test_marked": ["passed"], "test_plain": ["passed"]}
    assert run.ret == 0
    assert run.helpers == {}
    assert "Unknown pytest.mark.exec_none" in run.out


@pytest.mark.usefixtures("autoload")
def test_and_not_switched_off(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    run = inner.run(*ALONE, probe=False)
    assert run.outcomes["test_marked"] == ["failed"]
    assert len(run.helpers) == 1


@pytest.mark.usefixtures("autoload")
def test_its_fixture_is_pytest_s_error(inner: Inner) -> None:
    inner.suite(test_it="def test(execprobe): pass")
    run = inner.run("-p", "no:execprobe", *ALONE, probe=False)
    assert run.outcomes == {"test": ["error"]}
    assert "fixture 'execprobe' not found" in run.out
