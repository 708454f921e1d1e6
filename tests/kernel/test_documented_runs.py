"""The Python and the commands of the documentation, run on the real kernel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from blocks import ROOT, Block, blocks, each
from environments import users_environment
from releases import PIPELINE, Release

pytestmark = [
    pytest.mark.exec_budget(400),
    pytest.mark.exec_deny(inherit=False),  # the curl of the pipeline's regression is a stand-in that sends nothing
    pytest.mark.usefixtures("kernel"),
]

_PRELUDE = """\
import os
import subprocess

import pytest
import release

from pytest_execprobe import ANY, subtree
"""
#: What a block that is only a part of a test stands in.
_TEST = "def test_it(execprobe, repository):\n"


@pytest.mark.bpf  # some show attempts
def test_python(tmp_path: Path) -> None:
    for name in ("conftest.py", "release.py"):
        shutil.copy(ROOT / "examples" / "release" / name, tmp_path)
    for block in blocks("python"):
        _write(tmp_path / re.sub(r"\W", "_", str(block)), block)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "--execprobe=require",
    ]
    environment = {**_environment(), "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([*command, tmp_path], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(blocks("python")) <= int(re.findall(r"(\d+) passed", ran.stdout)[0])


def _write(folder: Path, block: Block) -> None:
    folder.mkdir()
    if block.text.startswith("# conftest.py"):
        (folder / "conftest.py").write_text(block.text)
        text = "def test_it(execprobe): ..."
    else:
        is_whole = re.search(r"^ *def test_|^from|^import", block.text, re.MULTILINE)
        text = block.text if is_whole else _TEST + textwrap.indent(block.text, "    ")
    others = "" if "def test_" in text else "\n\ndef test_nothing(): ...\n"
    (folder / f"test_{folder.name}.py").write_text(f"{_PRELUDE}\n\n{text}{others}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Path:
    """Where the documented commands are run one after another: what one writes, another reads."""
    if not all(map(shutil.which, ("make", "cc"))):
        pytest.skip("make or a compiler is missing")
    folder = tmp_path_factory.mktemp("project")
    (folder / "hello.c").write_text("int main(void) { return 0; }\n")
    (folder / "Makefile").write_text("hello: hello.o\n\tcc -o $@ hello.o\nhello.o: hello.c\n\tcc -c hello.c\n")
    (folder / "execprobe").symlink_to(Path(sys.executable).with_name("execprobe"))
    (folder / "shards").mkdir()
    for name in ("build", "second"):
        _shell(
            folder, f"execprobe run -q --report {name}.json --report shards/{name}.json --budget 5 --deny ld -- make"
        )
    shutil.copy(PIPELINE.with_name("execs.toml"), folder)
    for shard in ("shard-1.json", "shard-2.json"):
        shutil.copy(release(True)[0] / shard, folder)
    shutil.copy(folder / "build.json", folder / "last-release.json")
    return folder


@each([one for one in blocks("console") if one.page in ("README.md", "docs/cli.md") and "doctor" not in one.text])
def test_commands(project: Path, block: Block) -> None:
    ran = _shell(project, "\n".join(block.commands))
    printed = {line.split()[0] for line in ran.splitlines() if line.split()}
    # A row for each exec, with + in front, is shown on a terminal alone.
    lines = [line.split() for line in block.text.splitlines() if line[:2] not in ("$ ", "+ ")]
    shown = [words[0] for words in lines if words and words != ["…"]]
    assert [word for word in shown if not word[0].isdigit() and word not in printed] == [], ran


def _shell(folder: Path, script: str) -> str:
    path = f"{folder}:{os.environ['PATH']}"
    environment = {**_environment(), "PATH": path, "PYTHON": sys.executable, "GITHUB_STEP_SUMMARY": "summary.md"}
    ran = subprocess.run(
        ["sh", "-c", f"rm -f hello hello.o\n{script}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ran.stdout


def _environment() -> dict[str, str]:
    environment = users_environment()
    return {name: value for name, value in environment.items() if not name.startswith(("MAKE", "MFLAGS"))}
