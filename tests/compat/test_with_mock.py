"""unittest.mock: what a test replaces in the standard library, the probe does not use; nothing is told of it either."""

from __future__ import annotations

import pytest
from inner import LOST, Inner

PATCHED = """
import os, posix, pytest
from unittest import mock
from lose import lose_helper
from replaced import patched, run

"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(
        test_it=PATCHED
        + """
def test_passes(patched):
    run("true")

def test_fails(patched):
    run("true")
    raise ValueError

@pytest.mark.skip
def test_skips(patched):
    pass
"""
    )
    run = inner.as_without("--execprobe-budget=1", "--execprobe-audit", "--execprobe-allow=true")
    assert run.outcomes == {"test_passes": ["passed"], "test_fails": ["failed"], "test_skips": ["skipped"]}
    assert "test_it.py::test_passes: true 1" in run.summary()


def test_rules(inner: Inner) -> None:
    inner.suite(
        test_it=PATCHED
        + """
@pytest.mark.exec_allow("/usr/bin/true", "/bin/true", "argv:true")
def test_keeps(patched):
    run("true")

@pytest.mark.exec_deny("/usr/bin/uname", "git")
def test_breaks(patched):
    run("uname")

def test_reads(patched, execprobe):
    run("true")
    assert execprobe.programs == ["true"]
    assert execprobe.wait_for("/bin/true").program == "true"
    with execprobe.watch(at_most=1, deny=["/bin/true"]):
        run("uname")

def test_adds_a_mark(patched, request):
    run("true")
    request.node.add_marker(pytest.mark.exec_budget(0))

@pytest.mark.exec_none
def test_after():
    pass
"""
    )
    run = inner.run()
    assert run.outcomes == {
        "test_keeps": ["passed"],
        "test_breaks": ["failed"],
        "test_reads": ["passed"],
        "test_adds_a_mark": ["failed"],
        "test_after": ["passed"],
    }
    assert "uname must not run, but it ran once" in run.text("test_breaks")
    assert "exec budget exceeded: 1 exec, at most 0 allowed" in run.text("test_adds_a_mark")


@pytest.mark.parametrize("wrong", ["os.path.basename", "posixpath.normpath", "os.readlink"])
def test_a_denied_program_keeps_its_name(inner: Inner, wrong: str) -> None:
    """Whatever the functions answer that a test has replaced."""
    inner.suite(
        test_it=f"""
        import posix, pytest
        from unittest import mock

        @pytest.fixture
        def patched():
            with mock.patch({wrong!r}, return_value="other"):
                yield

        @pytest.mark.exec_deny("uname", "/bin/uname")
        def test_breaks(patched):
            posix.waitpid(posix.posix_spawn("/bin/uname", ["uname"], {{}}), 0)
        """
    )
    assert inner.run().outcomes == {"test_breaks": ["failed"]}


def test_what_starts_a_helper_in_the_middle(inner: Inner) -> None:
    inner.suite(
        test_it=PATCHED
        + """
fork = os.fork

def test_lost(request, execprobe):
    lose_helper(request.config)

def test_again(patched, execprobe):
    run("true")
    assert execprobe.programs == ["true"]

def test_forked(patched, execprobe):
    child = fork()
    if child == 0:
        try:
            run("uname")
            assert execprobe.programs == ["uname"]
        except BaseException as error:
            print(repr(error))
            posix._exit(1)
        posix._exit(0)
    assert posix.waitpid(child, 0)[1] == 0
    assert execprobe.programs == ["uname"]
"""
    )
    run = inner.run("-s")
    assert {name: shown for name, shown in run.outcomes.items() if name not in LOST} == {
        "test_lost": ["passed"],
        "test_again": ["passed"],
        "test_forked": ["passed"],
    }


@pytest.mark.parametrize("more", ["", "sys.platform", "sys.executable", "subprocess.Popen"])
def test_armed_in_the_middle(inner: Inner, more: str) -> None:
    """What is imported then finds the functions replaced."""
    inner.suite(
        test_it=PATCHED
        + f"""
@pytest.fixture
def more():
    if {more!r}:
        with mock.patch({more!r}, "/none"):
            yield
    else:
        yield

def test_late(patched, more, request):
    execprobe = request.getfixturevalue("execprobe")
    with execprobe.watch() as log:
        run("true")
    assert log.programs == ["true"]
"""
    )
    assert inner.run().outcomes == {"test_late": ["passed"]}


def test_nothing_unknown_passes(inner: Inner) -> None:
    inner.suite(
        test_it=PATCHED
        + """
@pytest.mark.exec_none(phases=["call"])
def test_unknown(lost, patched):
    run("true")

@pytest.fixture
def lost(request):
    lose_helper(request.config)
"""
    )
    run = inner.run()
    assert run.outcomes == {"test_unknown": ["error"], **LOST}
