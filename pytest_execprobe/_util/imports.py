"""Has Python itself import this package: pytest's hook, which rewrites assertions, takes half as long again for each
module, and what it makes of them runs slower.

From when this is imported, but not while conftests and tests are imported or run: a finder costs every import 1 µs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ContextDecorator, suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_PACKAGE = __name__.partition(".")[0] + "."


class _Finder:
    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, path, target) if fullname.startswith(_PACKAGE) else None


def begin() -> None:
    sys.meta_path.insert(0, _Finder)


def end() -> None:
    with suppress(ValueError):  # it can be begun and ended in any order
        sys.meta_path.remove(_Finder)


class by_python(ContextDecorator):
    """What is imported meanwhile, Python itself imports."""

    def __enter__(self) -> None:
        begin()

    def __exit__(self, *_: object) -> None:
        end()


begin()
