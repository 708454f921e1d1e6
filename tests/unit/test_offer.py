"""Whether a pytest was started for tests of another one's run: what it is offered, and what it takes."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_execprobe import __version__
from pytest_execprobe.session.offer import CURRENT, VARIABLE, status_of, take_offer
from pytest_execprobe.session.options import GIVEN

HERE = status_of(os.getpid())[::2]


def taken(
    monkeypatch: pytest.MonkeyPatch, offer: str | dict[str, Any], current: str | None = None, **early: bool
) -> Any:
    """What a pytest has taken that has found this in its environment."""
    monkeypatch.setenv(VARIABLE, offer if isinstance(offer, str) else json.dumps(offer))
    monkeypatch.delenv(CURRENT, raising=False)
    if current is not None:
        monkeypatch.setenv(CURRENT, current)
    config = SimpleNamespace(stash=pytest.Stash(), rootpath="/root/of/it")
    known = {"calls_none": False, "distributes": False, **early}
    take_offer(SimpleNamespace(as_config=lambda: config, option=SimpleNamespace(), **known))  # type: ignore[arg-type]
    assert VARIABLE not in os.environ
    return config.stash.get(GIVEN, None)


def offer(**more: object) -> dict[str, Any]:
    base = {"version": __version__, "root": "/root/of/it", "run": HERE, "test": None, "folder": "f", "options": {}}
    return {**base, **more}


def test_what_is_offered_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(monkeypatch, offer()) == offer()


def test_so_it_is_by_what_a_hook_around_a_test_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest leaves the last test's name in the environment, while no test is running."""
    assert taken(monkeypatch, offer(test="a (teardown)"), "a (teardown)") is not None


@pytest.mark.parametrize(
    "more",
    [
        {"version": "0"},
        {"root": "/root"},
        {"run": [HERE[0], HERE[1] - 1]},  # the number is another process's by now
        {"run": [1 << 22, HERE[1]]},
        {"run": []},
    ],
)
def test_another_runs_is_not_taken(monkeypatch: pytest.MonkeyPatch, more: dict[str, object]) -> None:
    assert taken(monkeypatch, offer(**more)) is None


def test_what_a_test_has_started_is_the_tests_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it was given an environment that is older than the test."""
    assert taken(monkeypatch, offer(), "a (call)") is None
    assert taken(monkeypatch, offer(test="a (teardown)"), "b (call)") is None


@pytest.mark.parametrize("early", ["calls_none", "distributes"])
def test_what_calls_no_test_itself_takes_nothing(monkeypatch: pytest.MonkeyPatch, early: str) -> None:
    assert taken(monkeypatch, offer(), **{early: True}) is None


@pytest.mark.parametrize("text", ["/tmp", "", "5", "{}"])
def test_what_is_no_offer_is_not_taken(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert taken(monkeypatch, text) is None
