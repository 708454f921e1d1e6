"""Call sites, where libraries and tests replace what spawns, what tells the time, and the file system."""

from __future__ import annotations

import pytest
from inner import Inner, needs

SUITE = """
import os, subprocess, sys
from os import waitpid  # gevent's waits for ever for a child that has ended before it looks
from unittest import mock
import pytest
PATCH

def line():
    return sys._getframe(1).f_lineno

def test_it(execprobe ARGUMENTS):
  with CONTEXT:
    lines = []
    lines.append(line()), waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    lines.append(line()), os.system("exit 0")
    lines.append(line()); child = os.fork()
    if child == 0:
        os.execv("/bin/true", ["true"])
    waitpid(child, 0)
    if SUBPROCESS:
        lines.append(line()), subprocess.run(["true"])
  sites = [record.call_site for record in execprobe.records]
  assert [(site.file, site.line) for site in sites] == [(__file__, number) for number in lines]

def test_after(execprobe):
    subprocess.run(["true"]); here = line()
    assert execprobe.records[0].call_site.line == here
"""


@pytest.mark.parametrize(
    ("patch", "context", "arguments", "has_subprocess", "plugins"),
    [
        pytest.param("import gevent.monkey\ngevent.monkey.patch_all()", "", "", True, (), marks=needs("gevent")),
        pytest.param("import freezegun", 'freezegun.freeze_time("2012-01-14")', "", True, (), marks=needs("freezegun")),
        pytest.param("", "", ", fs", False, ("pyfakefs.pytest_plugin",), marks=needs("pyfakefs")),
        ("", 'mock.patch("os.posix_spawn", wraps=os.posix_spawn), mock.patch("os.system", os.system)', "", True, ()),
        (
            "",
            'mock.patch("time.clock_gettime_ns", lambda _: 0), mock.patch("time.monotonic_ns", lambda: 0)',
            "",
            True,
            (),
        ),
        ("", 'mock.patch("sys._getframe", sys._getframe), mock.patch("os.register_at_fork")', "", True, ()),
    ],
    ids=["gevent", "freezegun", "pyfakefs", "functions that spawn", "clocks", "frames"],
)
def test_each_is_the_line_that_spawned_it(
    inner: Inner, patch: str, context: str, arguments: str, has_subprocess: bool, plugins: tuple[str, ...]
) -> None:
    context = context or 'mock.patch("os.no_such_function", create=True)'
    suite = SUITE.replace("PATCH", patch).replace("ARGUMENTS", arguments).replace("CONTEXT", context)
    inner.suite(test_it=suite.replace("SUBPROCESS", str(has_subprocess)))
    assert inner.run(plugins=plugins).outcomes == {"test_it": ["passed"], "test_after": ["passed"]}


@needs("uvloop")
@pytest.mark.both_probes
def test_the_loop_of_uvloop_forks_in_c_code(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import asyncio
        import uvloop

        async def run(*command):
            await (await asyncio.create_subprocess_exec(*command)).wait()

        async def ask(command):
            await (await asyncio.create_subprocess_shell(command)).wait()

        async def everything():
            await asyncio.gather(run("true", "run"), ask("exit 0; ask"), run("true", "run"), ask("exit 0; ask"))

        def test_it(execprobe):
            loop = uvloop.new_event_loop()
            loop.run_until_complete(everything())
            loop.close()
            assert sorted(record.argv[-1][-3:] for record in execprobe.records) == ["ask", "ask", "run", "run"]
            for record in execprobe.records:
                assert [frame.function for frame in record.call_site.stack] == [record.argv[-1][-3:], "test_it"]
        """
    )
    assert inner.run().outcomes == {"test_it": ["passed"]}


def test_what_a_plugin_of_the_run_replaces_for_good_still_works_and_is_noted(inner: Inner) -> None:
    """A conftest wraps a function before the probe is there; another test replaces it and never puts it back."""
    inner.suite(
        conftest="""
        import os
        before = os.system
        os.system = lambda command: before(command)
        """,
        test_it="""
        import os

        def test_first(execprobe):
            os.system("exit 0")
            assert execprobe.records[0].call_site.function == "test_first"
            held = os.system
            os.system = lambda command: held(command)

        def test_second(execprobe):
            assert os.system("exit 3") == 3 << 8
            (frame, *others) = execprobe.records[0].call_site.stack
            assert (frame.function, [other.function for other in others]) == ("<lambda>", ["test_second"])
        """,
    )
    run = inner.run()
    assert run.outcomes == {"test_first": ["passed"], "test_second": ["passed"]}


def test_an_error_is_shown_where_it_was_made(inner: Inner) -> None:
    """The object that stands for a function of C is in no traceback that pytest shows."""
    inner.suite(
        test_it="""
        import os

        def test_it(execprobe):
            os.posix_spawn("/no-such-file", ["x"], {})
        """
    )
    run = inner.run()
    text = run.text("test_it")
    assert "FileNotFoundError" in text
    assert "noting.py" not in text
    assert "test_it.py:4: FileNotFoundError" in text
