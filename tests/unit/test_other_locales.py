"""Names that are not ASCII, where the locale is not UTF-8: records have them as UTF-8, and Python what goes by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CODE = """
import os, sys
sys.path.insert(0, {tests!r})
from fakes import record
from pytest_execprobe.baseline.model import is_pattern
from pytest_execprobe.log.pattern import Side
from pytest_execprobe.log.patterns import compile_pattern

assert sys.getfilesystemencoding() != "utf-8"
folder = os.fsencode(sys.argv[1]).decode("utf-8", "surrogateescape")
name, other = map(os.fsdecode, (b"g\\xc3\\xbc", b"g\\xfc"))
run = record("g\\u00fc", "x", path="bin/g\\u00fc", cwd=folder, executable="/opt/real")
for text in (name, "./bin/" + name, sys.argv[1] + "/usr/" + name, "re:" + name, "argv:" + name, "subtree:" + name):
    for pattern in (text, [text]) if ":" not in text else (text,):
        assert compile_pattern(pattern, sys.argv[1]).match(run, Side.FORBID) is True, text
assert compile_pattern([sys.argv[1] + "/usr/*", "x"]).match(run, Side.FORBID) is True
assert is_pattern("g\\u00fc") is False
assert compile_pattern("g\\u00fc", of_file=True).match(run, Side.FORBID) is True
assert compile_pattern(other).match(run, Side.FORBID) is False
assert compile_pattern("g\\u0142").match(run, Side.FORBID) is False
assert compile_pattern("/opt/g\\u0142").match(run, Side.FORBID) is False
"""


@pytest.mark.exec_budget(1)
@pytest.mark.parametrize("folder", ["plain", "ü"])
def test_pattern_is_of_the_same_bytes_as_what_python_executes(tmp_path: Path, folder: str) -> None:
    home = tmp_path / folder
    (home / "usr").mkdir(parents=True)
    (home / "bin").symlink_to("usr")
    (home / "usr/gü").symlink_to("/opt/real")
    ascii = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", CODE.format(tests=str(TESTS)), str(home)]
    done = subprocess.run(command, env=ascii, cwd=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
