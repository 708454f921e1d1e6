"""Whether a pytest was started to run tests of another one's run, and what that one has given it.

Read before anything else is: the other one's options stand in for its own.
"""

from __future__ import annotations

from os import O_CLOEXEC, O_CREAT, O_EXCL, O_WRONLY
from typing import Any

import pytest

from .. import __version__
from .._util import originals
from .options import GIVEN, OPTIONS
from .settings import Early

#: What the other one gives, and the folder in which to leave what is to be handed over. It is in the environment while
#: tests are run, and not while one is running: a pytest that a test starts is the test's own.
VARIABLE = "EXECPROBE_RUN"
#: What is in that folder: that a process has begun, and what it hands over.
BEGUN, DONE = ".begun", ".json"
#: pytest's own, while a test is running.
CURRENT = "PYTEST_CURRENT_TEST"


def leave(folder: str, name: str, text: str) -> None:
    """Puts a file into it, whole or not at all. Raises OSError."""
    path = originals.join(folder, name)
    descriptor = originals.open_file(path + ".new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    try:
        left = memoryview(text.encode())
        while left:
            left = left[originals.write(descriptor, left) :]
    finally:
        originals.close(descriptor)
    originals.replace(path + ".new", path)


def take_offer(early: Early) -> None:
    """Before conftests are loaded. The environment is rid of it in any case."""
    offer = originals.environ.pop(VARIABLE, None)
    if offer is None or early.calls_none or early.distributes:
        return
    config = early.as_config()
    try:
        given = originals.json_loads(offer)
    except ValueError:
        return
    if not isinstance(given, dict):
        return
    # A test may have kept the environment from before it.
    in_test = originals.environ.get(CURRENT) not in (None, given.get("test"))
    is_this = given.get("version") == __version__ and given.get("root") == str(config.rootpath)
    goes_on = bool(given.get("run")) and status_of(given["run"][0])[::2] == given["run"]
    if is_this and goes_on and not in_test:
        config.stash[GIVEN] = given
        _set(early.option, given["options"])


def take_options(config: pytest.Config) -> None:
    """When the command line has been read to its end."""
    if GIVEN in config.stash:
        _set(config.option, config.stash[GIVEN]["options"])


def folder_of(config: pytest.Config) -> str | None:
    """Where to hand over."""
    return config.stash[GIVEN]["folder"] if GIVEN in config.stash else None


def status_of(pid: int) -> list[int]:
    """Of a process its number, its parent's, and when it began; empty where /proc does not say."""
    try:
        fields = originals.read_bytes(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return []
    return [pid, int(fields[1]), int(fields[19])]


def _set(option: Any, given: dict[str, Any]) -> None:
    for one in OPTIONS:
        setattr(option, one.key, given.get(one.key))
