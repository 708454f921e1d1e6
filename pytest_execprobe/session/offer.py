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

#: Names the folder in which such a pytest leaves what it has to hand over. It is in the environment while tests are
#: run, and not while one is running: a pytest that a test starts is the test's own.
VARIABLE = "EXECPROBE_RUN"
#: What is in that folder: what the other one gives; that a process has begun; and what it hands over.
OFFER, BEGUN, DONE = "offer.json", ".begun", ".json"
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
    folder = originals.environ.pop(VARIABLE, None)
    if folder is None or early.runs_nothing or early.distributes:
        return
    config = early.as_config()
    try:
        given: dict[str, Any] = originals.json_loads(originals.read_bytes(originals.join(folder, OFFER)))
    except (OSError, ValueError):
        return
    # A test may have kept the environment from before it.
    in_test = originals.environ.get(CURRENT) not in (None, given.get("test"))
    if given.get("version") == __version__ and given.get("root") == str(config.rootpath) and not in_test:
        config.stash[GIVEN] = {**given, "folder": folder}
        _set(early.option, given["options"])


def take_options(config: pytest.Config) -> None:
    """When the command line has been read to its end."""
    if GIVEN in config.stash:
        _set(config.option, config.stash[GIVEN]["options"])


def folder_of(config: pytest.Config) -> str | None:
    """Where to hand over."""
    return config.stash[GIVEN]["folder"] if GIVEN in config.stash else None


def _set(option: Any, given: dict[str, Any]) -> None:
    for one in OPTIONS:
        setattr(option, one.key, given.get(one.key))
