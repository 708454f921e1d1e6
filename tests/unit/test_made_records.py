"""Records that are made all at once are those that their class makes."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from inspect import signature
from typing import Any

import pytest
from fakes import record

from pytest_execprobe import ExecRecord
from pytest_execprobe.timeline.record import _Made, make_record

NAMES = [field.name for field in fields(ExecRecord) if field.init]


def values_of(made: ExecRecord) -> list[Any]:
    return [getattr(made, name) for name in NAMES]


def chained() -> ExecRecord:
    return record("git", "tag", parent=record("sh", "-c", "git tag"), pid=7)


def test_it_has_each_field() -> None:
    assert list(signature(_Made).parameters) == [name.lstrip("_") for name in NAMES]
    like = chained()
    given = [getattr(like, name) if name in ("_command", "parent", "_lineage") else object() for name in NAMES]
    assert values_of(make_record(*given)) == given


@pytest.mark.parametrize("like", [record("true"), chained(), replace(record("true"), stopped=True, depth=None)])
def test_it_is_what_the_class_makes(like: ExecRecord) -> None:
    made = make_record(*values_of(like))
    assert type(made) is ExecRecord
    assert {field.name: getattr(made, field.name) for field in fields(made)} == {
        field.name: getattr(like, field.name) for field in fields(like)
    }
    assert (made, hash(made), repr(made)) == (like, hash(like), repr(like))


def test_it_is_as_frozen_as_others() -> None:
    made: Any = make_record(*values_of(chained()))
    with pytest.raises(FrozenInstanceError):
        made.pid = 8
    assert replace(made, pid=8).pid == 8
    for again in (copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert (type(again), again, again.pid) == (ExecRecord, made, 7)
