"""Marks that are added while a test runs, on the real kernel: what had ended by then is judged, too."""

from __future__ import annotations

import pytest
from inner import Inner, needs

pytestmark = pytest.mark.beside  # tests/plugin has those that ask what pytest's nodes do

SUITE = """
import subprocess, pytest

@pytest.fixture(scope="module")
def built():
    subprocess.run(["true"])

@pytest.fixture
def ready():
    subprocess.run(["true"])
    yield
    subprocess.run(["true"])

def test_none(request, ready, execprobe):
    request.node.add_marker(pytest.mark.exec_none())

def test_allow(request, ready, execprobe):
    request.node.add_marker(pytest.mark.exec_allow("false", phases=("setup",)))

def test_deny(request, ready, execprobe):
    request.node.add_marker(pytest.mark.exec_deny("true"))

def test_budget(request, ready, execprobe):
    subprocess.run(["true"])
    request.node.add_marker(pytest.mark.exec_budget(1, phases=("setup", "call")))

class TestClass:
    @pytest.fixture(scope="class")
    def of_class(self):
        subprocess.run(["true"])

    def test_quiet(self, of_class, execprobe): pass

    def test_parent(self, request, of_class, execprobe):
        request.node.parent.add_marker(pytest.mark.exec_none())

def test_kept(request, ready, execprobe):
    request.node.add_marker(pytest.mark.exec_deny("false"))
"""

ADDED = " added to {} in the call phase, test_it.py:{}\n"
TEXTS = {
    "test_none": "nothing may run, but true ran (setup phase)\n  rule  exec_none()" + ADDED.format("test_none", 14),
    "test_allow": "unexpected program: true ran, and only false may (setup phase)\n"
    "  rule  exec_allow('false', phases=('setup',))" + ADDED.format("test_allow", 17),
    "test_deny": "true must not run, but it ran once (setup phase)\n"
    "  rule  exec_deny('true')" + ADDED.format("test_deny", 20),
    "test_budget": "exec budget exceeded: 2 execs, at most 1 allowed (setup and call phases)\n"
    "  rule  exec_budget(1, phases=('setup', 'call'))" + ADDED.format("test_budget", 24),
    "TestClass::test_parent": "nothing may run, but true ran (set-up of fixture 'of_class' (class))\n"
    "  rule  exec_none()" + ADDED.format("TestClass", 34),
}

WAYS = [
    pytest.param((), (), id="alone"),
    pytest.param(("-n2", "--dist=loadscope"), ("xdist.plugin",), id="-n2", marks=needs("xdist")),
]


@pytest.mark.parametrize(("options", "plugins"), WAYS)
def test_what_had_ended_is_judged(inner: Inner, options: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    inner.suite(test_it=SUITE)
    run = inner.run(*options, plugins=plugins)
    assert run.ret == 1
    assert run.outcomes["test_kept"] == run.outcomes["TestClass::test_quiet"] == ["passed"]
    for name, text in TEXTS.items():
        assert text in run.text(name) + "\n", name
    assert "(teardown phase)" in run.text("test_none", "error")


@pytest.mark.parametrize(("options", "plugins"), WAYS)
@pytest.mark.parametrize("mode", [(), ("--execprobe=off",)])
def test_where_nothing_asked_for_a_probe_it_is_said(
    inner: Inner, options: tuple[str, ...], plugins: tuple[str, ...], mode: tuple[str, ...]
) -> None:
    inner.suite(
        test_it="""
        import pytest
        def test_a(request):
            request.node.add_marker(pytest.mark.exec_none)
        def test_b(): pass
        """
    )
    run = inner.run(*mode, *options, plugins=plugins)
    assert run.ret == 0
    assert not run.helpers
    why = "they were marked while tests ran, in a run without a probe: --execprobe-audit brings one"
    assert run.summary() == f"NOT CHECKED     1 test: {why}"


@needs("xdist")
def test_what_workers_did_not_check_is_said(inner: Inner) -> None:
    inner.suite(test_it="import pytest\n@pytest.mark.exec_none\ndef test_a(): pass\n")
    run = inner.run("--execprobe=off", "-n1", plugins=("xdist.plugin",))
    assert run.summary() == "NOT CHECKED     1 test: execprobe: switched off by --execprobe=off"
