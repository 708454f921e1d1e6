"""What asks the system for something in a run goes by no name that a test can replace: it is in ``originals``."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import pytest_execprobe
from pytest_execprobe._util import originals

PACKAGE = Path(pytest_execprobe.__file__).parent

#: Modules whose functions tests replace. Numbers of theirs, and types, may be imported by name.
REPLACED = {
    *("asyncio", "builtins", "datetime", "fcntl", "fnmatch", "getpass", "glob", "importlib", "io", "linecache", "os"),
    *("os.path", "multiprocessing", "pathlib", "posixpath", "pwd", "random", "resource", "secrets", "select"),
    *("selectors", "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time", "uuid"),
}
#: Modules that work for the code under test as well, so that tests patch what is in them.
PATCHED = ("hashlib", "hmac", "json", "shlex", "struct")
#: What is no function, save argv and meta_path, which are needed at the start alone.
OF_SYS = {"version_info", "implementation", "maxsize", "modules", "path", "argv", "meta_path", "stdlib_module_names"}
SHORT = {"os", "secrets", "select", "socket", "time"}  # what handshake imports
ALLOWED = {
    *("pathlib.Path", "pathlib.PurePath", "pathlib.PurePosixPath", "os.PathLike", "os.stat_result", "os.defpath"),
    *("os.waitstatus_to_exitcode", "resource.struct_rusage", "fnmatch.fnmatchcase", "fnmatch.translate"),
    *("signal.Signals", "importlib.import_module", "importlib.util.find_spec"),
}
#: Calls of these by whatever name ask the system, too.
METHODS = {
    *("absolute", "chmod", "cwd", "exists", "expanduser", "glob", "is_dir", "is_file", "iterdir", "lstat", "mkdir"),
    *("open", "read_bytes", "read_text", "resolve", "rglob", "samefile", "touch", "unlink", "write_bytes"),
    "write_text",
}
#: The process of the command line is no test's; and what serves it.
ELSEWHERE = ("cli/",)
#: Of the helper's side this alone runs in a test's process. What it asks for is bound there.
OF_THE_HELPER = ("helper/wire.py", "helper/peers.py", "helper/walk.py", "helper/handshake.py")
#: Of that module, these functions; and of peers not the one that the helper alone asks.
OF_THE_STARTER = {"new_tokens", "read_refusal", "put_down", "admit"}
OF_THE_SERVER = "pidfd_of"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if name == "_util/originals.py" or name.startswith(ELSEWHERE):
            continue
        if not name.startswith("helper/") or name in OF_THE_HELPER:
            tree = ast.parse(path.read_text())
            if name == "helper/handshake.py":
                tree.body = [node for node in tree.body if getattr(node, "name", "") in OF_THE_STARTER]
                assert len(tree.body) == len(OF_THE_STARTER)
            if name == "helper/peers.py":
                tree.body = [node for node in tree.body if getattr(node, "name", "") != OF_THE_SERVER]
            yield name, tree


def is_constant(module: str, name: str) -> bool:
    return f"{module}.{name}" in ALLOWED or isinstance(getattr(import_module(module), name, None), int)


def faults(tree: ast.Module, early: bool = False) -> Iterator[str]:
    """``early``: of a module that is imported with ``originals``, before there is a test."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"line {node.lineno}: import {alias.name}" for alias in node.names if alias.name in REPLACED)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module in REPLACED:
            named = [alias.name for alias in node.names if not is_constant(node.module, alias.name)]
            yield from (f"line {node.lineno}: from {node.module} import {name}" for name in named)
        elif isinstance(node, ast.ImportFrom) and node.module in PATCHED and not node.level and not early:
            yield f"line {node.lineno}: from {node.module} import"
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module in ("posix", "_socket", "_thread"):
            if node.module != "_socket":  # a type, where types are checked
                yield f"line {node.lineno}: from {node.module} import, which pyfakefs replaces"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in SHORT:
            yield f"line {node.lineno}: {node.value.id}.{node.attr}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            if node.attr not in OF_SYS:
                yield f"line {node.lineno}: sys.{node.attr}"
        elif isinstance(node, ast.FunctionDef):
            yield from late(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "__import__"):
            yield f"line {node.lineno}: {node.func.id}()"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            of = node.func.value
            of = of.value if isinstance(of, ast.Attribute) else of
            if not (isinstance(of, ast.Name) and of.id == "originals") and not is_own(node.func):
                yield f"line {node.lineno}: .{node.func.attr}()"


def late(function: ast.FunctionDef) -> Iterator[str]:
    """What is looked up in a module only when it is called."""
    for node in (node for statement in function.body for node in ast.walk(statement)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("posix", "_socket", *PATCHED):
            name = ast.unparse(node)
            if not is_constant(*name.split(".")):
                yield f"line {node.lineno}: {name}, in a function"


def is_own(function: ast.Attribute) -> bool:
    """A method of the package's own, of spans; and what looks for testpaths, before there is a test."""
    return ast.unparse(function) in ("self.timeline.spans.open", "root.glob")


def test_what_runs_beside_tests_goes_by_no_name_that_they_replace() -> None:
    found = {name: wrong for name, tree in modules() if (wrong := list(faults(tree, early=name in OF_THE_HELPER)))}
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import os.path",
        "import time as t",
        "from os import getpid",
        "from os.path import join",
        "from time import monotonic",
        "from socket import socket",
        "from posix import stat",
        "open('x')",
        "p.read_text()",
        "Path('x').exists()",
        "sys.platform",
        "def f():\n    import subprocess",
        "def f():\n    return posix.stat('x')",
        "def f():\n    return json.dumps('x')",
        "from json import dumps",
        "from fnmatch import fnmatch",
    ],
)
def test_the_rule_sees(source: str) -> None:
    assert list(faults(ast.parse(source)))


def test_all_of_a_run_is_looked_at() -> None:
    some = {"source/client.py", "timeline/recorder.py", "report/html.py", "baseline/update.py", "helper/walk.py"}
    assert some <= dict(modules()).keys()


@pytest.mark.exec_budget(1)
def test_it_is_there_before_any_test() -> None:
    code = "import pytest_execprobe.plugin, sys; print('pytest_execprobe._util.originals' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True\n"


@pytest.mark.exec_budget(1)
def test_a_python_that_was_built_without_some_of_it_says_so_when_that_is_asked_for() -> None:
    code = """
import posix
del posix.memfd_create, posix.pidfd_open
from pytest_execprobe import plugin
from pytest_execprobe._util import originals
for ask in (originals.memfd_create, originals.pidfd_open):
    try:
        ask("x")
    except OSError as error:
        print(error.strerror)
"""
    said = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert said == [f"this Python was built without os.{name}" for name in ("memfd_create", "pidfd_open")]


# ---- what is written anew there does as the standard library's does ----


@pytest.mark.parametrize("name", ["sh", "/bin/sh", "no-such-program", "./sh", "/etc", "/etc/passwd", ""])
@pytest.mark.parametrize("path", [None, "/etc:/bin", ""])
def test_which(name: str, path: str | None) -> None:
    assert originals.which(name, path) == shutil.which(name, path=path)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "skipped").mkdir(parents=True)
    (tmp_path / "a" / "skipped" / "not.py").touch()
    (tmp_path / "a" / "one.py").write_bytes(b"x" * 3_000_000)
    (tmp_path / "two").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    below = sorted(originals.files_below(str(tmp_path), lambda name: name == "skipped"))
    assert below == sorted(str(tmp_path / name) for name in ("a/one.py", "two", "link"))
    assert list(originals.files_below(str(tmp_path / "none"), bool)) == []
    assert originals.read_bytes(tmp_path / "a" / "one.py") == b"x" * 3_000_000
    for path in (
        tmp_path,
        tmp_path / "two",
        tmp_path / "link",
        tmp_path / "none",
        tmp_path / "a\0b",
        tmp_path / "two/x",
    ):
        there = "\0" not in str(path)
        assert originals.exists(path) == (there and path.exists())
        assert originals.is_file(path) == (there and path.is_file())
        assert originals.is_folder(path) == (there and path.is_dir())


def test_paths() -> None:
    for path in ("/bin/../etc/passwd", "a/./b/..", "", "/", "~/x", "/proc/self/exe"):
        for name in ("normpath", "realpath", "abspath", "basename", "expanduser"):
            assert getattr(originals, name)(path) == getattr(os.path, name)(path)


def test_what_a_function_of_paths_calls_itself_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.13 on normpath() is one of posix, which calls itself _path_normpath."""

    normpath = os.path.normpath

    def named_otherwise(path: str) -> str:
        return normpath(path)

    monkeypatch.setattr("posixpath.normpath", named_otherwise)
    assert originals._own(named_otherwise)("a/..") == "."


def test_random_names_and_the_time() -> None:
    assert len({originals.random_hex(8) for _ in range(100)}) == 100
    assert len(originals.random_hex(8)) == 16
    before, now, after = time.gmtime(), originals.utc_now(), time.gmtime()
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", before) <= now <= time.strftime("%Y-%m-%dT%H:%M:%SZ", after)
    assert originals.is_folder(tempfile.gettempdir())
