"""For inner suites: replaces, in the standard library, all by which something could ask the system. Whoever is of the
probe gets nonsense, and is written down; pytest gets what it asks for."""

from __future__ import annotations

import contextlib
import functools
import os
import pkgutil
import sys
import sysconfig
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

import pytest_execprobe

_NAMES = {
    "os": "access close dup fstat getenv geteuid getpid listdir lstat memfd_create open pidfd_open posix_spawn"
    " pread read readlink replace scandir stat urandom waitpid walk write",
    "os.path": "abspath basename exists join normpath realpath relpath",
    "pathlib.Path": "exists is_file open read_bytes read_text resolve",
    "hashlib": "sha256",
    "hmac": "compare_digest new",
    "json": "dumps loads",
    "resource": "getrusage",
    "secrets": "token_hex",
    "select": "poll select",
    "shlex": "join quote split",
    "shutil": "which",
    "signal": "getsignal",
    "socket": "socket",
    "struct": "calcsize pack unpack",
    "subprocess": "Popen",
    "tempfile": "gettempdir",
    "threading": "RLock get_ident",
    "time": "clock_gettime_ns gmtime monotonic monotonic_ns sleep time",
    "builtins": "open",
}
_OURS = os.path.dirname(pytest_execprobe.__file__)
_STANDARD = sysconfig.get_path("stdlib")
_spawn, _waitpid, _frame = map(functools.partial, (os.posix_spawn, os.waitpid, sys._getframe))


def run(program: str) -> None:
    assert _waitpid(_spawn(f"/bin/{program}", [program], {}), 0)[1] == 0


def _asked_by_ours() -> bool:
    """Whether whoever asks is of the probe, by itself or through the standard library."""
    frame = _frame(2)
    while frame is not None and (frame.f_code.co_filename.startswith((_STANDARD, "<frozen")) or not frame.f_back):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(_OURS)


@contextlib.contextmanager
def replaced() -> Iterator[list[str]]:
    """Yields the names of those that the probe has asked."""
    asked: list[str] = []

    def instead_of(name: str, real: Any) -> Any:
        def ask(*args: Any, **kwargs: Any) -> Any:
            if not _asked_by_ours():
                return real(*args, **kwargs)
            asked.append(name)
            return mock.MagicMock()

        return ask

    with contextlib.ExitStack() as stack:
        for place, names in _NAMES.items():
            for name in names.split():
                real = getattr(pkgutil.resolve_name(place), name)
                stack.enter_context(mock.patch(f"{place}.{name}", instead_of(f"{place}.{name}", real)))
        yield asked


@pytest.fixture
def patched() -> Iterator[None]:
    with replaced() as asked:
        yield
    assert not asked, asked
