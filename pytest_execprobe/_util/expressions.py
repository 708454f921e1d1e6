"""Regular expressions that are compiled when they are first used: few runs come to use most of them."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, cast

_compile = partial(re.compile)  # held by no name that a test could replace


class _Expression:
    def __init__(self, text: str, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """What a compiled one has. From then on it is here, too."""
        compiled = _compile(self._text, self._flags)
        for method in ("match", "fullmatch", "search", "finditer", "findall", "sub", "split"):
            setattr(self, method, getattr(compiled, method))
        return getattr(compiled, name)


def expression(text: str, flags: int = 0) -> re.Pattern[str]:
    """Like :func:`re.compile`, later."""
    return cast("re.Pattern[str]", _Expression(text, flags))
