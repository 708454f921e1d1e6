"""What is said of who asked for a command, on the libraries and tools that really ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_execprobe import ExecLog, ExecProbe
from pytest_execprobe.log.askers import asked_by

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(60)]

#: They run what the project's own tests must not: git clone, of a folder here, and apt-cache.
NO_SUITE_WIDE_DENY = pytest.mark.exec_deny(inherit=False)


def said(log: ExecLog) -> list[str]:
    """All lines, one record after the other, for a breach has a few of them."""
    return [*dict.fromkeys(line for record in log.records for line in asked_by([record]))]


def runs(*commands: str, code: str = "", folder: Path | None = None) -> None:
    """Python, and commands of a shell's form."""
    for command in commands:
        subprocess.run(command.split(), cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if code:
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")


@pytest.mark.parametrize(
    ("code", "programs", "lines"),
    [
        ("import platform; platform.processor()", ["uname"], ["`uname -p` is what platform.processor() asks"]),
        ("import platform; platform.platform()", ["uname"], ["`uname -p` is what platform.processor() asks"]),
        (
            "import platform; platform.architecture()",
            ["file"],
            ["`file -b python` is what platform.architecture() asks"],
        ),
        (
            "import ctypes.util; ctypes.util.find_library('c')",
            [],
            ["`ldconfig -p` may come from ctypes.util.find_library()"],
        ),
        (
            "import ctypes.util; ctypes.util.find_library('nosuchlibrary')",
            ["gcc", "ld"],
            [
                "`ldconfig -p` may come from ctypes.util.find_library()",
                "`gcc -Wl,-t -o … -l…` is what ctypes.util.find_library() asks",
                "`gcc -Wl,-t -o … -l…`, above collect2, is what ctypes.util.find_library() asks",
                "`ld -t -o /dev/null -l…` is what ctypes.util.find_library() asks",
            ],
        ),
        (
            "import ctypes.util; ctypes.util.find_library('Security')",
            ["gcc", "ld"],
            [
                "`gcc -Wl,-t -o … -lSecurity` is what keyring asks",
                "`ld -t -o /dev/null -lSecurity` is what keyring asks",
            ],
        ),
        (
            "import multiprocessing as m; p = m.get_context('spawn').Process(target=print); p.start(); p.join()",
            [],
            ["`python -c 'from multiprocessing.resource_tracker …'`", "`python -c 'from multiprocessing.spawn …'`"],
        ),
        (
            "import multiprocessing as m; p = m.get_context('forkserver').Process(target=print); p.start(); p.join()",
            [],
            [
                "`python -c 'from multiprocessing.resource_tracker …'`",
                "`python -c 'from multiprocessing.forkserver …'`",
            ],
        ),
        (
            "from pip._vendor import distro; distro.info()",
            ["lsb_release", "uname"],
            ["`lsb_release -a` is what distro asks", "`uname -rs` is what distro asks"],
        ),
        (
            "import execnet; execnet.makegateway(); execnet.default_group.terminate()",
            [],
            ["`python -c 'import sys;exec(eval(sys.stdin.readline()))'` is a worker of execnet's"],
        ),
        (
            "import pyproject_hooks as p; p.BuildBackendHookCaller('.', 'os').get_requires_for_build_wheel()",
            [],
            ["`python _in_process.py` is a build back end"],
        ),
    ],
    ids=lambda value: value.partition(";")[2].strip() if isinstance(value, str) else "",
)
def test_libraries(execprobe: ExecProbe, code: str, programs: list[str], lines: list[str]) -> None:
    needs(*programs)
    with execprobe.watch() as log:
        runs(code=code)
    found = said(log)
    assert [line for line in lines if not any(one.startswith(line) for one in found)] == [], found


def test_a_library_that_only_the_linker_finds(
    execprobe: ExecProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("gcc", "objdump")
    (tmp_path / "found.c").write_text("int found;\n")
    runs("gcc -shared -o libexecprobetest.so found.c", folder=tmp_path)
    monkeypatch.setenv("LIBRARY_PATH", str(tmp_path))
    with execprobe.watch() as log:
        runs(code="import ctypes.util; ctypes.util.find_library('execprobetest')")
    assert "`objdump -p -j .dynamic` is what ctypes.util.find_library() asks" in said(log)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: subprocess.run("exit 0", shell=True, check=True), "`sh -c` is how subprocess with shell=True"),
        (lambda: os.popen("exit 0").close(), "`sh -c` is how subprocess with shell=True"),
        (lambda: os.system("exit 0"), "`sh -c` is how os.system() executes a command"),
    ],
    ids=["shell=True", "os.popen", "os.system"],
)
def test_shells(execprobe: ExecProbe, call: Callable[[], object], line: str) -> None:
    with execprobe.watch() as log:
        call()
    (found,) = said(log)
    assert found.startswith(line)


def test_venv_explains_all_that_is_below_it(execprobe: ExecProbe, tmp_path: Path) -> None:
    with execprobe.watch() as log:
        runs(code=f"import venv; venv.create({str(tmp_path / 'v')!r}, with_pip=True)")
    about = [line for line in said(log) if "ensurepip" not in line]
    assert about == []
    assert asked_by(log.records) == [
        "`python -m ensurepip` is how venv installs pip (venv's with_pip=False, or --without-pip, does without)"
    ]


@NO_SUITE_WIDE_DENY
def test_git(execprobe: ExecProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("git")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    runs("git init -q a", "git init -q --bare b", folder=tmp_path)
    with execprobe.watch() as log:
        runs("git -C a commit -q --allow-empty -m x", folder=tmp_path)
    assert asked_by(log.records) == ["`git maintenance run --auto` is what git runs by itself"]
    with execprobe.watch() as log:
        runs("git clone -q a c", folder=tmp_path)
    assert asked_by(log.records) == ["`sh -c git-upload-pack` is git's other side, of a clone, fetch or pull"]
    with execprobe.watch() as log:
        runs("git -C a push -q ../b HEAD", folder=tmp_path)
    found = asked_by(log.records)
    assert found[0] == "`sh -c git-receive-pack` is git's other side, of a push"
    assert "`git gc --auto` is what git runs by itself" in found or (
        "`git maintenance run --auto` is what git runs by itself" in found  # from 2.46 on
    )


@pytest.mark.parametrize(
    ("compiler", "file", "part"), [("gcc", "a.c", "cc1"), ("cc", "a.c", "cc1"), ("g++", "a.cc", "cc1plus")]
)
def test_gcc(execprobe: ExecProbe, tmp_path: Path, compiler: str, file: str, part: str) -> None:
    """What the hint says to allow has all of it, whatever the compiler is called by."""
    needs(compiler)
    (tmp_path / file).write_text("int main(void) { return 0; }\n")
    with execprobe.watch() as log:
        runs(f"{compiler} -o a {file}", folder=tmp_path)
    assert asked_by(log.records) == [
        f"`{part}` (and `collect2`) is a part of GCC: subtree: with the compiler that runs it (gcc, g++, cc, gfortran)"
        " has them all"
    ]
    log.assert_only_ran(f"subtree:{compiler}")


@NO_SUITE_WIDE_DENY
def test_apt(execprobe: ExecProbe) -> None:
    needs("apt-cache")
    with execprobe.watch() as log:
        runs("apt-cache policy bash")
    assert asked_by(log.records) == ["`dpkg --print-foreign-architectures` is what apt asks"]
