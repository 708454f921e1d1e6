"""The trace, held against the rules of the trace event format: no reader of it is to be had as a package.

The rules: each event has the fields of its kind, and times that are no less than zero; slices of a thread lie apart or
within each other; an arrow has one beginning and one end, each within a slice of its thread; whatever has slices has a
name.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from documents import MS, START, dump, good, hostile, many, phases, ran, rich, run

from pytest_execprobe.report import read as reading
from pytest_execprobe.report import trace
from pytest_execprobe.report.model import Document, Unit, merged

FIELDS: dict[str, dict[str, type]] = {
    "X": {"name": str, "cat": str, "ts": int, "dur": int, "pid": int, "tid": int, "args": dict},
    "M": {"name": str, "pid": int, "tid": int, "ts": int, "args": dict},
    "s": {"name": str, "cat": str, "id": int, "ts": int, "pid": int, "tid": int},
    "f": {"name": str, "cat": str, "id": int, "ts": int, "pid": int, "tid": int, "bp": str},
}
METADATA = {
    "process_name": {"name": str},
    "process_labels": {"labels": str},
    "process_sort_index": {"sort_index": int},
    "thread_name": {"name": str},
    "thread_sort_index": {"sort_index": int},
}


def problems(made: dict[str, Any]) -> list[str]:
    """What is wrong with a trace."""
    if set(made) != {"traceEvents", "displayTimeUnit"} or made["displayTimeUnit"] not in ("ms", "ns"):
        return ["is not an object of events"]
    said = []
    slices: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    arrows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    names: dict[str, set[Any]] = defaultdict(set)
    for event in made["traceEvents"]:
        wanted = FIELDS.get(event.get("ph"))
        if wanted is None or {name: type(value) for name, value in event.items() if name != "ph"} != wanted:
            said.append(f"is not made as its kind is: {event}")
            continue
        if event["ts"] < 0 or event.get("dur", 0) < 0 or not 0 < event["pid"] < 2**31 or not 0 < event["tid"] < 2**31:
            said.append(f"has a number out of bounds: {event}")
        thread = (event["pid"], event["tid"])
        if event["ph"] == "X":
            slices[thread].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] == "M":
            if {name: type(value) for name, value in event["args"].items()} != METADATA.get(event["name"]):
                said.append(f"is no metadata: {event}")
            names[event["name"]].add(thread if event["name"].startswith("thread") else event["pid"])
        else:
            arrows[event["id"]].append(event)
    for thread, on_it in slices.items():
        said += [f"{thread}: {part} overlaps {other}" for part, other in _overlaps(on_it)]
        if thread not in names["thread_name"] or thread[0] not in names["process_name"]:
            said.append(f"{thread} has no name")
    for id, ends in arrows.items():
        if [end["ph"] for end in ends] != ["s", "f"] or ends[0]["ts"] > ends[1]["ts"]:
            said.append(f"arrow {id} has not one beginning and one end after it")
        for end in ends:
            on_it = slices[(end["pid"], end["tid"])]
            if not any(begin <= end["ts"] < stop for begin, stop in on_it):
                said.append(f"arrow {id} is bound to no slice")
    return said


def _overlaps(slices: list[tuple[int, int]]) -> list[tuple[Any, Any]]:
    found, open_slices = [], []
    for part in sorted(slices, key=lambda part: (part[0], -part[1])):
        while open_slices and open_slices[-1][1] <= part[0]:
            open_slices.pop()
        if open_slices and part[1] > open_slices[-1][1]:
            found.append((part, open_slices[-1]))
        open_slices.append(part)
    return found


def events(document: Document, kind: str, **wanted: Any) -> list[dict[str, Any]]:
    made = trace.trace(document)
    return [
        event
        for event in made["traceEvents"]
        if event["ph"] == kind and all(event[name] == value for name, value in wanted.items())
    ]


def of_tests(*units: Unit, **more: Any) -> Document:
    return Document((run(**more),), units)


DOCUMENTS = {
    "rich": rich(),
    "good": good(),
    "hostile": hostile(),
    "deep": many(3, 200, deep=True),
    "wide": many(50, 3),
    "merged": merged([rich(), Document((run(id="cafe"),), many(3, 5).units)]),
    "none": Document(),
    "no clock": Document((run(start_ns=0, end_ns=0),), rich().units),
    "read": reading.load(dump(rich())),
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_trace_is_by_the_rules(document: Document) -> None:
    text = trace.render(document)
    assert text.isascii()
    assert problems(json.loads(text)) == []
    execs = [event for event in events(document, "X") if event["cat"] in ("exec", "stray")]
    assert len(execs) == document.execs


@pytest.mark.parametrize(
    "change",
    [{"ts": -1}, {"ts": 1.5}, {"dur": 2_000}, {"name": None}, {"tid": 0}, {"ph": "Y"}, {"pid": 77}, {"more": 1}],
    ids=str,
)
def test_the_rules_find_what_breaks_them(change: dict[str, Any]) -> None:
    made = trace.trace(rich())
    first = next(event for event in made["traceEvents"] if event.get("cat") == "exec" and event["name"] == "env")
    first.update(change)
    assert problems(made)


def test_times_are_microseconds_from_the_beginning_of_the_run() -> None:
    git = ran("git", "status", at=12.3456, lasted=1.5, exit_code=3, cwd="/srv")
    (event,) = events(of_tests(Unit("test", "test_a", phases=phases(5), records=(git,))), "X", name="git")
    assert (event["ts"], event["dur"]) == (12345, 1500)
    assert event["args"] == {
        "command line": "/usr/bin/git status",
        "executable": "/usr/bin/git",
        "cwd": "/srv",
        "pid": git.pid,
        "exit code": 3,
        "ended": "exit 3",
        "test": "test_a",
        "phase": "call",
    }


def test_what_ran_before_the_run_began_is_at_no_negative_time() -> None:
    early = ran("server", at=-20, lasted=5)
    (event,) = events(of_tests(Unit("outside", "outside", records=(early,))), "X", name="server")
    assert (event["ts"], event["dur"]) == (0, 5000)


def test_an_unknown_duration_is_drawn_to_the_end_of_the_unit_and_says_so() -> None:
    unit = Unit("test", "test_a", phases=phases(5), records=(ran("sleep", at=10),), strays=(ran("true", at=200),))
    document = of_tests(unit)
    (sleep,) = events(document, "X", name="sleep")
    assert sleep["ts"] + sleep["dur"] == 95_000
    assert "not known" in sleep["args"]["ended"]
    (stray,) = events(document, "X", name="true")
    assert stray["ts"] + stray["dur"] == 1_500_000
    assert stray["args"]["stray"] is True


def test_a_process_that_execs_again_is_one_thread() -> None:
    env = ran("env", "git", at=10, pid=77)
    git = ran("git", at=12, lasted=3, previous=env, pid=77)
    document = of_tests(Unit("test", "test_a", phases=phases(5), records=(env, git)))
    assert [(event["name"], event["ts"], event["dur"]) for event in events(document, "X", tid=77)] == [
        ("env", 10_000, 2_000),
        ("git", 12_000, 3_000),
    ]
    (name,) = events(document, "M", tid=77, name="thread_name")
    assert name["args"] == {"name": "env > git 77"}


def test_a_pid_that_came_back_does_not_overlap() -> None:
    one, other = ran("one", at=10, pid=77), ran("other", at=20, lasted=100, pid=77)
    document = of_tests(
        Unit("test", "test_a", phases=phases(5), records=(one,)),
        Unit("test", "test_b", phases=phases(18), records=(other,)),
    )
    assert problems(trace.trace(document)) == []
    assert [event["dur"] for event in events(document, "X", tid=77)] == [10_000, 100_000]


def test_phases_are_within_their_test_and_crossing_units_on_other_threads() -> None:
    crossing = {"call": (START + 50 * MS, START + 150 * MS)}
    document = of_tests(
        Unit("test", "test_a", phases=phases(5)),
        Unit("test", "test_b", phases=crossing),
        Unit("test", "test_c", phases=phases(100)),
    )
    assert problems(trace.trace(document)) == []
    names = [event["args"]["name"] for event in events(document, "M", name="thread_name")]
    assert names == ["tests", "tests (2)"]
    assert [event["name"] for event in events(document, "X")][:4] == ["test_a", "setup", "call", "teardown"]


def test_workers_and_runs_are_processes_of_their_own() -> None:
    document = merged([rich(), Document((run(id="cafe", command=("pytest",)),), good().units)])
    names = [event["args"]["name"] for event in events(document, "M", name="process_name")]
    assert names == [
        "pytest -n 2 tests (run 1) [gw0]",
        "pytest -n 2 tests (run 1) [gw1]",
        "pytest -n 2 tests (run 1)",
        "pytest (run 2)",
    ]


def test_arrows_lead_from_parents_even_beyond_ignored_ones_and_ended_ones() -> None:
    git = ran("git", at=10, lasted=5)
    ignored = ran("coverage", at=11, parent=git)
    sh = ran("sh", at=30, lasted=5, parent=ignored)  # begun when git had gone
    document = of_tests(Unit("test", "test_a", phases=phases(5), records=(git, sh)))
    (begin,), (end,) = events(document, "s"), events(document, "f")
    assert (begin["tid"], begin["ts"]) == (git.pid, 14_999)
    assert (end["tid"], end["ts"]) == (sh.pid, 30_000)


def test_no_thread_of_units_has_the_number_of_a_process() -> None:
    taken = tuple(ran("sh", at=at, pid=at, lasted=1) for at in range(1, 6))
    document = of_tests(Unit("test", "test_a", phases=phases(5), records=taken))
    assert problems(trace.trace(document)) == []
    tests = {event["tid"] for event in events(document, "X", cat="test")}
    assert not tests & {record.pid for record in taken}
