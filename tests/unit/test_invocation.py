"""The command that a run offers for the next one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_execprobe.session.invocation import Invocation

UPDATE = "--execprobe-update"


def of(*arguments: str, places: tuple[str, ...] = ()) -> Invocation:
    return Invocation(("pytest",), arguments, places)


@pytest.mark.parametrize(
    ("invocation", "whole", "single"),
    [
        (of(), "pytest --execprobe-update", "pytest 't.py::t[1]' --execprobe-update"),
        (
            of("-k", "a b", "tests", "--doctest-modules", places=("tests",)),
            "pytest -k 'a b' tests --doctest-modules --execprobe-update",
            "pytest 't.py::t[1]' -k 'a b' --doctest-modules --execprobe-update",
        ),
        # Set for this run alone, for all that is known.
        (
            Invocation(arguments=("-x",), addopts=("--execprobe-baseline=a.toml",)),
            "PYTEST_ADDOPTS=--execprobe-baseline=a.toml pytest -x --execprobe-update",
            "PYTEST_ADDOPTS=--execprobe-baseline=a.toml pytest 't.py::t[1]' -x --execprobe-update",
        ),
        (
            Invocation(addopts=("-k 'a b'",)),
            """PYTEST_ADDOPTS='-k '"'"'a b'"'"'' pytest --execprobe-update""",
            """PYTEST_ADDOPTS='-k '"'"'a b'"'"'' pytest 't.py::t[1]' --execprobe-update""",
        ),
        # A value of an option that is called like a folder: which of the two is which can't be told.
        (
            of("-k", "tests", "tests", places=("tests",)),
            "pytest -k tests tests --execprobe-update",
            "pytest 't.py::t[1]' -k tests tests --execprobe-update",
        ),
        # What addopts names is named again.
        (of("-x", places=("tests",)), "pytest -x --execprobe-update", "pytest 't.py::t[1]' -x --execprobe-update"),
        (
            of("-x", "--", "-t", places=("-t",)),
            "pytest -x --execprobe-update -- -t",
            "pytest 't.py::t[1]' -x --execprobe-update --",
        ),
        (
            Invocation(("python", "-m", "pytest"), ("a\n\udc80",)),
            "python -m pytest 'a\\n\\udc80' --execprobe-update",
            "python -m pytest 't.py::t[1]' 'a\\n\\udc80' --execprobe-update",
        ),
    ],
)
def test_the_same_again(invocation: Invocation, whole: str, single: str) -> None:
    assert (invocation.again(UPDATE), invocation.again(UPDATE, "t.py::t[1]")) == (whole, single)


def test_options_of_the_environment_are_options_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = SimpleNamespace(args=("-x",))
    config: Any = SimpleNamespace(invocation_params=parameters, getoption=lambda *_: [], stash=pytest.Stash())
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k a")
    assert Invocation.of(config).again(UPDATE).startswith("PYTEST_ADDOPTS='-k a' ")
    monkeypatch.delenv("PYTEST_ADDOPTS")
    assert "PYTEST_ADDOPTS" not in Invocation.of(config).again(UPDATE)


def test_a_worker_says_what_its_controller_would() -> None:
    invocation = Invocation(("pytest",), ("-n2", "tests"), ("tests",), ("-q",))
    assert Invocation(*map(tuple, invocation.export())) == invocation
