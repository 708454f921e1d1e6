"""Workflow commands: a line each, escaped as GitHub documents it, and no more than it shows."""

from __future__ import annotations

import re

import pytest
from documents import good, hostile, rich, run

from pytest_execprobe.report.annotations import annotations
from pytest_execprobe.report.model import Document, ReportedBreach, Unit

COMMAND = re.compile(r"::(error|warning) ((?:[a-z]+=[^:,\r\n]*)(?:,[a-z]+=[^:,\r\n]*)*)::([^\r\n]*)")


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """As GitHub takes a command apart."""
    match = COMMAND.fullmatch(line)
    assert match is not None, line
    properties = dict(part.split("=", 1) for part in match[2].split(","))
    return match[1], {name: decoded(value) for name, value in properties.items()}, decoded(match[3])


def decoded(text: str) -> str:
    for code, char in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, char)
    return text


def broken(count: int, **more: object) -> Document:
    units = [Unit("test", f"test_{n}", breaches=(ReportedBreach(f"broken {n}"),), **more) for n in range(count)]  # type: ignore[arg-type]
    return Document((run(),), tuple(units))


def test_nothing_where_all_is_well() -> None:
    assert annotations(good()) == []
    (line,) = annotations(Document())
    assert parsed(line)[2] == "there is no run in it"


def test_a_rich_report() -> None:
    said = [parsed(line) for line in annotations(rich())]
    assert [(kind, properties) for kind, properties, _ in said] == [
        ("error", {"title": "execprobe: session budget exceeded: 14 execs, at most 10 allowed"}),
        (
            "error",
            {
                "file": "tests/test_release.py",
                "line": "31",
                "title": "execprobe: exec budget exceeded: 8 execs, at most 4 allowed",
            },
        ),
        ("error", {"title": "execprobe: cannot tell whether curl ran: 3 execs missing from the log"}),
        *[("warning", {"title": "execprobe: incomplete"})] * 3,
    ]
    assert said[1][2].startswith("tests/test_release.py::TestRelease::test_tag\nexec budget exceeded: 8 execs")
    assert said[1][2].endswith("if this is right: exec_budget(8)")
    assert [message for _, _, message in said[3:]] == [
        "3 execs of one place found the perf buffer full and are not listed: raise --execprobe-buffer-pages, or give"
        " the helper a CPU",
        "an unknown number of execs is missing: it hung up",
        "1 test was not checked: the probe helper has gone",
    ]


@pytest.mark.parametrize("outcome", ["xfailed", "rerun"])
def test_a_broken_rule_that_decides_nothing_is_not_told(outcome: str) -> None:
    assert annotations(broken(1, outcome=outcome)) == []
    assert len(annotations(broken(1, outcome="failed"))) == 1


def test_escaping() -> None:
    unit = Unit(
        "test",
        "t",
        file="a,b:c%.py\n",
        line=3,
        breaches=(ReportedBreach("50% of: a, b\r\n::x::", "one, two: 3%\n::error::no"),),
    )
    (line,) = annotations(Document((run(),), (unit,)))
    assert line == (
        "::error file=a%2Cb%3Ac%25.py%0A,line=3,title=execprobe%3A 50%25 of%3A a%2C b\\r%0A%3A%3Ax%3A%3A"
        "::t%0Aone, two: 3%25%0A::error::no"
    )


def test_no_text_gets_out_of_its_command() -> None:
    for line in annotations(hostile()):
        kind, properties, _ = parsed(line)
        assert set(properties) <= {"file", "line", "title"}
        assert kind in ("error", "warning")
        assert line.isprintable()


@pytest.mark.parametrize(("count", "more"), [(10, None), (11, 2), (500, 491)])
def test_no_more_than_are_shown(count: int, more: int | None) -> None:
    said = [parsed(line) for line in annotations(broken(count))]
    assert len(said) == 10
    assert said[0][2] == "test_0\nbroken 0"
    expected = "test_9\nbroken 9" if more is None else f"{more} more broken or undecided rules: the report has them all"
    assert said[-1][2] == expected


def test_broken_rules_come_before_undecided_ones() -> None:
    unsure = Unit("test", "a", breaches=(ReportedBreach("unsure", undecided=True),))
    document = Document((run(breaches=()),), (*[unsure] * 20, *broken(3).units))
    headlines = [properties["title"] for _, properties, _ in map(parsed, annotations(document))]
    assert headlines[:4] == ["execprobe: broken 0", "execprobe: broken 1", "execprobe: broken 2", "execprobe: unsure"]


def test_warnings_are_counted_apart_and_one_for_each_reason() -> None:
    units = tuple(Unit("test", f"t{n}", not_checked=f"reason {n % 30}") for n in range(300))
    said = [parsed(line) for line in annotations(Document((run(),), (*units, *broken(20).units)))]
    assert [kind for kind, _, _ in said] == ["error"] * 10 + ["warning"] * 10
    assert said[10][2] == "10 tests were not checked: reason 0"
    assert said[-1][2] == "21 more reasons: the report has them all"


def test_a_message_is_bounded() -> None:
    unit = Unit("test", "t", breaches=(ReportedBreach("x" * 10_000, "y" * 1_000_000),))
    (line,) = annotations(Document((run(),), (unit,)))
    assert len(line) < 5000
