"""Shells that a test asks for, by all the ways in which Python does, and those that it does not ask for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_execprobe import ExecProbe
from pytest_execprobe.log.shells import how_to_do_without

pytestmark = pytest.mark.exec_budget(10)


def asynchronous() -> None:
    async def run() -> None:
        await (await asyncio.create_subprocess_shell("/bin/true x")).wait()

    asyncio.run(run())


def popen() -> None:
    with os.popen("/bin/true x") as pipe:
        pipe.read()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: subprocess.run("/bin/true x", shell=True, check=True),
        lambda: subprocess.run("/bin/true x", shell=True, check=True, executable="/bin/bash"),
        lambda: subprocess.run(["bash", "-e", "-c", "/bin/true x"], check=True),
        lambda: os.system("/bin/true x"),
        lambda: os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "/bin/true x"], dict(os.environ)), 0),
        popen,
        asynchronous,
    ],
    ids=["run", "executable", "argv", "system", "posix_spawn", "popen", "asyncio"],
)
def test_asked_for(execprobe: ExecProbe, ask: Callable[[], object]) -> None:
    ask()
    with pytest.raises(AssertionError) as caught:
        execprobe.assert_no_shell()
    assert str(caught.value).splitlines()[0] == "no shell must be asked for, but one was: /bin/true x"
    assert how_to_do_without(execprobe.records[0]).endswith('without a shell: subprocess.run(["/bin/true", "x"])')


def test_by_a_link_of_another_name(execprobe: ExecProbe, tmp_path: Path) -> None:
    (tmp_path / "tool").symlink_to("/bin/sh")
    subprocess.run([tmp_path / "tool", "-c", ":"], check=True)
    with pytest.raises(AssertionError, match="no shell must be asked for"):
        execprobe.assert_no_shell()


def test_script_of_a_shells_is_none(execprobe: ExecProbe, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\n/bin/true -c "$@"\n/bin/sh -c :\n')
    script.chmod(0o755)
    subprocess.run([script, "-c"], check=True)
    subprocess.run(["sh", script], check=True)
    execprobe.assert_no_shell()
    execprobe.assert_ran("argv:sh -c :", times=2)


def test_what_others_ask_for_is_not_the_tests(execprobe: ExecProbe) -> None:
    code = "import os; os.system('/bin/true')"
    subprocess.run([sys.executable, "-c", code], check=True)
    subprocess.run(["env", "sh", "-c", ":"], check=True)
    pid = os.fork()
    if pid == 0:
        try:
            subprocess.run("/bin/true", shell=True, check=True)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    execprobe.assert_no_shell()
    execprobe.assert_ran("argv:sh -c", times=3)
