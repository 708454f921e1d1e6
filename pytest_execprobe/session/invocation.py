"""How pytest was called, and the command that a run offers for the next one: the same again, and more."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pytest

from .._util import originals
from .._util.hiding import quoted
from .._util.redaction import in_force
from .._util.text import printable
from .options import given_by_another


@dataclass(frozen=True)
class Invocation:
    """The words of the command line. Options of the ini file are there the next time, too, and those of the environment
    need not be."""

    program: tuple[str, ...] = ("pytest",)
    arguments: tuple[str, ...] = ()
    #: Those of the arguments that name files, folders and tests.
    places: tuple[str, ...] = ()
    #: What PYTEST_ADDOPTS was, if it was set.
    addopts: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: pytest.Config) -> Invocation:
        """That of this process, or of an xdist worker's controller. To be read before tests can change it."""
        given = given_by_another(config).get("execprobe_invocation")
        if given is not None:
            return cls(*map(tuple, given))
        as_module = PurePath(sys.argv[0]).parts[-2:] == ("pytest", "__main__.py")
        arguments = tuple(map(str, config.invocation_params.args))
        places = tuple(map(str, config.getoption("file_or_dir", None) or ()))
        addopts = originals.environ.get("PYTEST_ADDOPTS")
        program = ("python", "-m", "pytest") if as_module else ("pytest",)
        return cls(program, arguments, places, (addopts,) if addopts else ())

    def export(self) -> list[Any]:
        """As plain data, for xdist's workers."""
        return [list(self.program), list(self.arguments), list(self.places), list(self.addopts)]

    def again(self, option: str, test: str | None = None) -> str:
        """The same command with one more option; with ``test``, for that test alone."""
        words = [*self.arguments] if test is None else [*self._without_places()]
        end = words.index("--") if "--" in words else len(words)
        words[end:end] = [option]
        words = [*self.program, *([] if test is None else [test]), *words]
        rules = in_force()
        before = (f"PYTEST_ADDOPTS={quoted(rules.text(options))} " for options in self.addopts)
        return printable("".join(before) + rules.join(words))

    def _without_places(self) -> tuple[str, ...]:
        # A word that is there twice can be the value of an option, too: then all tests are better than another command.
        if any(self.arguments.count(place) > 1 for place in self.places):
            return self.arguments
        return tuple(word for word in self.arguments if word not in self.places)
