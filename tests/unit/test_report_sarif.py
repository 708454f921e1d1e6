"""SARIF: its form, the limits of code scanning, and which alerts are the same from run to run.

The standard's schema may not be distributed here, so what is asked is a stricter one of what is written. With
``EXECPROBE_SARIF_SCHEMA=sarif-schema-2.1.0.json`` in the environment all is held against that, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from documents import good, hostile, left, rich, run

from pytest_execprobe.report import sarif
from pytest_execprobe.report.model import Document, ReportedBreach, Run, Unit
from pytest_execprobe.report.sarif import RULES, render
from pytest_execprobe.timeline.site import CallSite


def exactly(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with these properties and no others."""
    properties = {**required, **optional}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1, "pattern": r"^[^\x00-\x09\x0b-\x1f\x7f\ud800-\udfff\u2028\u2029\u202e]*$"}
MESSAGE = exactly({"text": TEXT})
URI = {"type": "string", "pattern": r"^(file:///)?[A-Za-z0-9_.~/%-]+$"}
LEVEL = {"const": "error"}


def described(ids: Iterable[str], **more: Any) -> dict[str, Any]:
    """With all that GitHub wants to have of a rule or a notification (GH2012 of its validator)."""
    texts = dict.fromkeys(["shortDescription", "fullDescription", "help"], MESSAGE)
    return exactly({"id": {"enum": [*ids]}, **texts, **more})


SCHEMA = exactly(
    {
        "$schema": {"const": sarif.SCHEMA},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": exactly(
                {
                    "tool": exactly(
                        {
                            "driver": exactly(
                                {
                                    "name": {"const": "pytest-execprobe"},
                                    "version": TEXT,
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": described(RULES, defaultConfiguration=exactly({"level": LEVEL})),
                                    },
                                    "notifications": {"type": "array", "items": described(["incomplete"])},
                                }
                            )
                        }
                    ),
                    "originalUriBaseIds": exactly({"%SRCROOT%": exactly({"description": MESSAGE})}),
                    "columnKind": {"const": "unicodeCodePoints"},
                    "invocations": {
                        "type": "array",
                        "minItems": 1,
                        "items": exactly(
                            {"executionSuccessful": {"type": "boolean"}},
                            commandLine=TEXT,
                            exitCode={"type": "integer"},
                            startTimeUtc={"type": "string", "format": "date-time"},
                            toolExecutionNotifications={
                                "type": "array",
                                "items": exactly(
                                    {
                                        "descriptor": exactly({"id": {"const": "incomplete"}}),
                                        "level": LEVEL,
                                        "message": MESSAGE,
                                    }
                                ),
                            },
                        ),
                    },
                    "results": {
                        "type": "array",
                        "maxItems": 5000,
                        "items": exactly(
                            {
                                "ruleId": {"enum": [*RULES]},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": LEVEL,
                                "message": MESSAGE,
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "maxItems": 1,
                                    "items": exactly(
                                        {
                                            "physicalLocation": exactly(
                                                {
                                                    "artifactLocation": exactly(
                                                        {"uri": URI}, uriBaseId={"const": "%SRCROOT%"}
                                                    ),
                                                    "region": exactly({"startLine": {"type": "integer", "minimum": 1}}),
                                                }
                                            )
                                        },
                                        logicalLocations={
                                            "type": "array",
                                            "items": exactly({"fullyQualifiedName": TEXT}, kind={"const": "function"}),
                                        },
                                    ),
                                },
                                "partialFingerprints": exactly(
                                    {
                                        "primaryLocationLineHash": {
                                            "type": "string",
                                            "pattern": "^[0-9a-f]{16}:[1-9][0-9]*$",
                                        }
                                    }
                                ),
                                "provenance": exactly({"invocationIndex": {"type": "integer", "minimum": 0}}),
                                "properties": exactly({"undecided": {"type": "boolean"}}),
                            }
                        ),
                    },
                },
                automationDetails=exactly({"id": TEXT}),
            ),
        },
    }
)


def schemas() -> list[Any]:
    path = os.environ.get("EXECPROBE_SARIF_SCHEMA")
    return [SCHEMA, *([json.loads(Path(path).read_text())] if path else [])]


def of(document: Document) -> dict[str, Any]:
    """Its one run, once it was found valid."""
    data = json.loads(render(document))
    for schema in schemas():
        jsonschema.validate(data, schema)
    (made,) = data["runs"]
    for result in made["results"]:
        assert made["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    return made  # type: ignore[no-any-return]


def results(document: Document) -> list[dict[str, Any]]:
    return of(document)["results"]  # type: ignore[no-any-return]


def place(result: dict[str, Any]) -> tuple[str, int]:
    physical = result["locations"][0]["physicalLocation"]
    return unquote(physical["artifactLocation"]["uri"]), physical["region"]["startLine"]


def prints(document: Document) -> list[str]:
    return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results(document)]


def broken(*units: Unit, **more: object) -> Document:
    return Document((run(**more),), units)


def unit(name: str, *breaches: ReportedBreach, **more: Any) -> Unit:
    return Unit(**{"kind": "test", "name": name, "breaches": breaches or (ReportedBreach("x"),), **more})


@pytest.mark.parametrize("document", [rich(), good(), hostile(), left(), Document()], ids=range(5))
def test_it_is_valid(document: Document) -> None:
    of(document)


def test_a_rich_report() -> None:
    made = of(rich())
    assert [(r["ruleId"], place(r), r["properties"]["undecided"]) for r in made["results"]] == [
        ("session-budget", ("the run as a whole", 1), False),
        ("exec-budget", ("tests/test_release.py", 31), False),
        ("exec-deny", ("tests/test_cache.py", 1), True),
    ]
    assert made["results"][1]["message"]["text"] == (
        "exec budget exceeded: 8 execs, at most 4 allowed (call phase)\n"
        "in tests/test_release.py::TestRelease::test_tag\n"
        "  rule  exec_budget(4) on TestRelease\n"
        "  if this is right: exec_budget(8)"
    )
    assert [(i["executionSuccessful"], i["exitCode"]) for i in made["invocations"]] == [(False, 1)]
    assert [n["message"]["text"][:24] for n in made["invocations"][0]["toolExecutionNotifications"]] == [
        "3 execs of one place fou",
        "an unknown number of exe",
        "1 test was not checked: ",
    ]


def test_nothing_where_all_is_well() -> None:
    made = of(good())
    assert made["results"] == []
    assert made["invocations"] == [
        {
            "executionSuccessful": True,
            "commandLine": "pytest -n 2 tests",
            "exitCode": 0,
            "startTimeUtc": "2026-03-01T09:30:00Z",
        }
    ]


def test_no_run_is_no_success() -> None:
    assert [i["executionSuccessful"] for i in of(Document())["invocations"]] == [False]


@pytest.mark.parametrize("outcome", ["xfailed", "rerun"])
def test_a_broken_rule_that_decides_nothing_is_no_alert(outcome: str) -> None:
    assert results(broken(unit("t", outcome=outcome))) == []
    assert len(results(broken(unit("t", outcome="failed")))) == 1


def test_each_rule_of_a_breach_is_an_alert() -> None:
    text = (
        "unexpected program: curl ran, and only git may (call phase)\n  rule  exec_allow('git') on t\n"
        "curl must not run, but it ran once (call phase)\n  rule  --execprobe-deny=curl on the command line\n"
        "execs: call phase (1, 0 lost)\n> 1  2.0  41  pytest  /usr/bin/curl\n  if this is right: exec_allow('curl')"
    )
    first, second = results(broken(unit("t", ReportedBreach("unexpected program: curl ran", text))))
    assert [first["ruleId"], second["ruleId"]] == ["exec-allow", "exec-deny"]
    assert first["message"]["text"] == (
        "unexpected program: curl ran, and only git may (call phase)\nin t\n  rule  exec_allow('git') on t\n"
        "execs: call phase (1, 0 lost)\n> 1  2.0  41  pytest  /usr/bin/curl\n  if this is right: exec_allow('curl')"
    )
    assert second["message"]["text"].startswith(
        "curl must not run, but it ran once (call phase)\nin t\n  rule  --execprobe-deny=curl on the command line\n"
    )


def test_each_rule_of_a_breach_is_where_what_breaks_it_was_spawned() -> None:
    text = (
        "unexpected program: curl ran (call phase)\n  rule  exec_allow('git') on t\n  from  a/t.py:3 in t\n"
        "curl must not run (end of fixture 's')\n  rule  --execprobe-deny=curl on the command line\n"
        "  from  /opt/lib.py:5 in f\n  from  a/conftest.py:9 in s\n  from  … 2 more places\n"
        "rm must not run (end of fixture 's')\n  rule  execprobe_deny=rm in pytest.ini\n"
        "  hint  `rm` is what was asked\nexecs: call phase (1, 0 lost)\n  from  a/other.py:1 in x"
    )
    breach = ReportedBreach("unexpected program: curl ran", text, call_site=CallSite("a/t.py", 3, "t"))
    found = results(broken(unit("t", breach, file="a/t.py", line=1)))
    assert [place(result) for result in found] == [("a/t.py", 3), ("a/conftest.py", 9), ("a/t.py", 3)]
    first, second, _ = (result["message"]["text"] for result in found)
    assert "from  a/t.py:3 in t\n" in first
    assert "conftest" not in first
    assert "a/conftest.py:9" in second
    assert "a/t.py:3" not in second


def test_where_it_is() -> None:
    def at(**more: Any) -> tuple[str, int]:
        (result,) = results(broken(unit(**{"name": "outside of tests", "kind": "outside", **more})))
        return place(result)

    assert at(kind="test", name="a/t.py::t", file="a/t.py", line=3) == ("a/t.py", 3)
    assert at(kind="test", name="a/t.py::t[x]") == ("a/t.py", 1)
    assert at(kind="fixture", name="a/conftest.py::db (session)") == ("a/conftest.py", 1)
    assert at() == ("outside of tests", 1)
    assert at(file="a b/ü:%.py", line=0) == ("a b/ü:%.py", 1)
    assert at(file="/elsewhere/t.py", line=2) == ("file:///elsewhere/t.py", 2)
    (outside,) = results(broken(unit("t", file="/elsewhere/t.py")))
    assert "uriBaseId" not in outside["locations"][0]["physicalLocation"]["artifactLocation"]
    (odd,) = results(broken(unit("t", file="\udcff.py")))
    assert odd["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "%FF.py"
    results(broken(unit("\ud800", file="\ud800")))  # what no file is called, a report can have


def test_an_alert_is_the_same_in_another_run() -> None:
    def breach(many: int) -> ReportedBreach:
        headline = f"exec budget exceeded: {many} execs, at most 4 allowed"
        return ReportedBreach(headline, f"{headline}\n  rule  exec_budget(4) on t, t.py:1")

    def session(many: int) -> ReportedBreach:
        return ReportedBreach(f"session budget exceeded: {many} execs, at most 10 allowed")

    first = broken(unit("t.py::t", breach(8), file="t.py", line=3), breaches=(session(11),))
    later = broken(
        unit("t.py::t", breach(9), file="t.py", line=30, worker="gw1"),
        breaches=(session(12),),
        id="beef",
        exit_status=2,
    )
    assert prints(first) == prints(later)
    assert len({*prints(first)}) == 2


def test_different_alerts_differ() -> None:
    deny = ReportedBreach("curl must not run, but it ran once")
    units = [unit("t.py::t[a]", deny), unit("t.py::t[b]", deny), unit("t.py::t[a]", deny)]
    units += [
        unit("t.py::t[a]", ReportedBreach("nothing may run, but curl ran")),
        unit("t.py::t[a]", deny, kind="fixture"),
    ]
    made = prints(broken(*(replace(u, file="t.py", line=3) for u in units)))
    assert len({*made}) == 5
    assert made[2] == made[0].replace(":1", ":2")


def test_runs_are_invocations() -> None:
    second = run(id="beef", exit_status=3, unknown=("it was broken off",))
    units = (replace(good().units[0], run=0), unit("t", run=1))
    made = of(Document((run(), second), units))
    assert [(i["executionSuccessful"], i["exitCode"]) for i in made["invocations"]] == [(True, 0), (False, 3)]
    assert [r["provenance"]["invocationIndex"] for r in made["results"]] == [1]


def test_a_variant_is_a_category() -> None:
    def category(*runs: Run) -> object:
        return of(Document(runs)).get("automationDetails")

    assert category(run()) is None
    assert category(run(variant="django-4.2")) == {"id": "execprobe/django-4.2/"}
    assert category(run(variant="a"), run(variant="b", id="beef")) is None


def test_no_more_than_is_shown() -> None:
    units = [unit(f"t{n}", ReportedBreach("unsure", undecided=True)) for n in range(5_000)]
    (made,) = json.loads(render(broken(*units, unit("certain"))))["runs"]
    assert len(made["results"]) == 5_000
    assert made["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "certain"
    (invocation,) = made["invocations"]
    assert not invocation["executionSuccessful"]
    (said,) = invocation["toolExecutionNotifications"]
    assert said["message"]["text"] == "1 more broken or undecided rules: the report's other forms have them"


def test_no_more_than_is_taken() -> None:
    wide = ReportedBreach("x", "\U0001f980" * 5_000)
    document = broken(*(unit(f"t{n}", wide) for n in range(1_000)))
    rendered = render(document)
    assert len(rendered) < 10_000_000
    (made,) = json.loads(rendered)["runs"]
    more = 1_000 - len(made["results"])
    assert more > 0
    text = made["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert text.startswith(f"{more} more broken")


def test_no_text_is_a_placeholder_or_a_link() -> None:
    (result,) = results(broken(unit("t[{0}](https://example.org)", ReportedBreach("{1} [a](b)"))))
    assert result["message"]["text"] == "{{1}} [a] (b)\nin t[{{0}}] (https://example.org)"


@pytest.mark.parametrize("started", ["", "yesterday", "2026-03-01T09:30:00Z\n", "٢026-03-01T09:30:00Z"])
def test_a_time_that_is_none_is_left_out(started: str) -> None:
    assert "startTimeUtc" not in of(Document((run(started=started),)))["invocations"][0]
