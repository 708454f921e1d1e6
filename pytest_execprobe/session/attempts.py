"""Whether tests read failed attempts, which decides how the probe sees them.

Without kprobes they cost every system call of the machine something, so then they are seen only where a test reads
them, which its source or a conftest.py shows. Where that guess is wrong, reading them says so and how to ask for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from .._util import originals
from .conftests import conftests
from .options import of_python


def route(config: pytest.Config, asked: str, items: Iterable[pytest.Item] | None) -> str:
    """The helper's route to failed attempts: as ``asked`` for, but for ``auto`` the one that the tests need.

    ``items`` are those that use the fixture, None as long as they have not been collected.
    """
    if asked != "auto":
        return asked
    files = set(_to_be_collected(config) if items is None else (item.path for item in items))
    files |= {Path(file) for file, _ in conftests(config)}
    found = (originals.read_bytes(file) for file in files if originals.is_file(file))
    return "always" if any(b".attempts" in source for source in found) else asked


def _to_be_collected(config: pytest.Config) -> Iterator[Path]:
    """The files that pytest will look into, more or less."""
    wanted = [*of_python(config, "python_files"), "conftest.py"]
    skipped = config.getini("norecursedirs")
    for arg in config.args:
        path = config.invocation_params.dir / str(arg).partition("::")[0]
        yield from (folder / "conftest.py" for folder in path.parents if folder.is_relative_to(config.rootpath))
        if originals.is_file(path):
            yield path
        for file in map(Path, originals.files_below(str(path), lambda name: _matches(name, skipped))):
            if _matches(file.name, wanted):
                yield file


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
