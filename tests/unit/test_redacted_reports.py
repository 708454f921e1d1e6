"""What a report without secrets is to those who read it: what they were can't be told, and never passes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from documents import dump, phases, ran, run

from pytest_execprobe._util.redaction import DEFAULT, compile_redaction, put_in_force
from pytest_execprobe.cli import main
from pytest_execprobe.log.pattern import Side
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.report import read as reading
from pytest_execprobe.report.model import Document, ReportedBreach, Unit
from pytest_execprobe.report.redacted import redacted
from pytest_execprobe.timeline.record import ExecRecord

Capture = pytest.CaptureFixture[str]
MYSQL = ("-pS3cr3t", "db")


def stored(*args: str, program: str = "mysql", truncated: bool = False) -> ExecRecord:
    """As it is when it was written and read."""
    record = ran(program, *args, at=1)
    record._command.argv_truncated = truncated
    return reading.load(dump(one(record))).units[0].records[0]


def one(*records: ExecRecord, **more: Any) -> Document:
    return Document((run(**more),), (Unit("test", "test_a", phases=phases(0), outcome="passed", records=records),))


def test_a_report_has_no_secret() -> None:
    data = json.loads(dump(one(ran("mysql", *MYSQL, at=1), ran("git", "push", at=2), redacted=False)))
    assert [(its["argv"], its["redacted"]) for its in data["runs"][0]["commands"]] == [
        (["mysql", "-p•••", "db"], True),
        (["git", "push"], False),
    ]
    assert data["runs"][0]["redacted"] is True


def test_reasons_that_are_one_without_their_secrets_are_added_up() -> None:
    document = one(gaps={"x --token=a": 3, "x --token=b": 2}, redacted=False)
    assert redacted(document).gaps == {"x --token=•••": 5}
    assert redacted(document).lost_at_most == document.lost_at_most


def test_a_command_is_looked_through_once_for_all_of_its_execs(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ran("mysql", *MYSQL, at=1)._command
    shown = command.shown
    monkeypatch.setattr(type(DEFAULT), "arguments", lambda *_, **__: pytest.fail("looked at again"))
    assert command.shown is shown


def test_what_a_test_reads_is_the_truth_but_for_its_repr() -> None:
    record = ran("mysql", *MYSQL, at=1)
    assert record.argv == ("mysql", *MYSQL)
    assert record.arguments == MYSQL
    assert repr(record.argv) == "('mysql', '-p•••', 'db')"
    assert repr(record.arguments) == "('-p•••', 'db')"
    assert type(record.argv[0]) is str
    secret = record.argv[1]
    assert (f"{secret}", str(secret), secret[2:], hash(secret)) == (MYSQL[0], MYSQL[0], "S3cr3t", hash(MYSQL[0]))
    for copied in (pickle.loads(pickle.dumps(record.argv)), deepcopy(record.argv)):
        assert copied == record.argv
        assert repr(copied) == repr(record.argv)
    assert json.dumps(record.argv) == '["mysql", "-pS3cr3t", "db"]'
    before = put_in_force(compile_redaction(["none"]))
    try:
        assert repr(record.argv) == "('mysql', '-pS3cr3t', 'db')"
    finally:
        put_in_force(before)


def test_what_is_hidden_goes_by_the_rules_in_force() -> None:
    command = ran("mysql", *MYSQL, at=1)._command
    assert command.shown.argv == ("mysql", "-p•••", "db")
    before = put_in_force(compile_redaction(["none"]))
    try:
        assert command.shown is command
    finally:
        put_in_force(before)
    assert command.shown.argv == ("mysql", "-p•••", "db")


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        ("mysql", True),
        ("argv:mysql", True),
        ("argv:mysql *", True),
        ("argv:mysql -pS3cr3t", None),
        ("argv:mysql -pS3cr3t db", None),
        ("argv:mysql -pS3cr3t other", False),
        ("argv:mysql -uroot", False),
        ("argv:mysql * db", True),
        ("argv:git", False),
        ("subtree:argv:mysql -pS3cr3t", None),
        ("re:mysql", True),
        ("re:S3cr3t", None),
        ("re:-p", None),
        ("re:db", None),
        ("re:^/usr/bin/mysql ", None),  # for what ends where the hidden begins could go on
        ("re:no such thing", None),
    ],
)
@pytest.mark.parametrize("side", Side)
def test_a_pattern_of_hidden_arguments_is_undecided(pattern: str, match: bool | None, side: Side) -> None:
    assert compile_pattern(pattern).match(stored(*MYSQL), side) is match


def test_it_is_decided_while_the_run_lasts() -> None:
    record = ran("mysql", *MYSQL, at=1)
    assert compile_pattern("argv:mysql -pS3cr3t").match(record) is True
    assert compile_pattern("argv:mysql -pother").match(record) is False


def test_three_dots_that_were_an_argument_are_one() -> None:
    record = ran("tool", "•••", at=1)
    assert compile_pattern(["tool", "•••"]).match(record) is True
    assert compile_pattern(["tool", "x"]).match(record) is False


def test_a_hidden_argv0_is_no_name() -> None:
    record = stored("x", program="tool")
    argv = ("https://u:•••@h", "x")
    record = replace(record, _command=replace(record._command, argv=argv, redacted=True, path="/dev/fd/3"))
    assert compile_pattern("other").match(record, Side.FORBID) is None


# ---- at the gate ----


Gated = Callable[..., tuple[int, str]]


@pytest.fixture
def gated(tmp_path: Path, capsys: Capture) -> Gated:
    def gated(rows: str, *options: str) -> tuple[int, str]:
        (tmp_path / "a.json").write_text(dump(one(ran("mysql", *MYSQL, at=1))))
        (tmp_path / "b.toml").write_text(f"version = 1\n[tests.test_a]\n{rows}\n")
        status = main(["gate", str(tmp_path / "a.json"), "--budget", str(tmp_path / "b.toml"), *options])
        return status, capsys.readouterr().out

    return gated


def test_a_budget_of_programs_is_judged(gated: Gated) -> None:
    assert gated("mysql = 1")[0] == 0
    assert gated("mysql = 0")[0] == 1


def test_a_budget_of_hidden_arguments_is_undecided(gated: Gated) -> None:
    status, said = gated("'argv:mysql -pS3cr3t' = 0\nmysql = 1")
    assert status == 2
    assert "secrets in arguments are hidden in these reports (•••)" in said
    assert gated("'argv:mysql -uroot' = 0\nmysql = 1")[0] == 0


# ---- reports of runs that have hidden nothing ----


@pytest.fixture
def open_report(tmp_path: Path) -> Path:
    record = replace(ran("mysql", *MYSQL, at=1), begun_by="mysql -pS3cr3t")
    breach = ReportedBreach("S3 broke", "S3 broke\n  > 1 mysql -pS3cr3t db")
    document = Document(
        (
            run(
                kind="command",
                command=("mysql", "-pS3cr3t"),
                breaches=(breach,),
                redacted=False,
                unknown=("mysql -pS3cr3t",),
            ),
        ),
        (
            Unit(
                "command",
                "mysql -pS3cr3t",
                phases={"call": (0, 1)},
                records=(record,),
                breaches=(breach,),
                unknown=("pid 7 (mysql -pS3cr3t)",),
                gaps={"pid 8 (mysql -pS3cr3t)": 1},
            ),
        ),
    )
    before = put_in_force(compile_redaction(["none"]))
    try:
        (tmp_path / "open.json").write_text(dump(document))
    finally:
        put_in_force(before)
    assert "-pS3cr3t" in (tmp_path / "open.json").read_text()
    return tmp_path / "open.json"


@pytest.mark.parametrize("form", ["text", "json", "html", "md", "trace"])
def test_it_is_shown_without_secrets(open_report: Path, form: str, capsys: Capture) -> None:
    assert main(["report", str(open_report), "--format", form]) == 0
    shown = capsys.readouterr().out
    assert "S3cr3t" not in shown
    assert "•••" in shown or "\\u2022" in shown
    assert main(["report", str(open_report), "--format", form, "--redact", "none"]) == 0
    assert "S3cr3t" in capsys.readouterr().out


def test_it_is_merged_without_secrets(open_report: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged.json"
    assert main(["merge", str(open_report), "-o", str(merged)]) == 0
    assert "S3cr3t" not in merged.read_text()
    assert reading.read(merged).runs[0].redacted


def test_more_can_be_hidden_of_a_report(open_report: Path, capsys: Capture) -> None:
    assert main(["report", str(open_report), "--format", "json", "--redact", r"\bdb\b"]) == 0
    (command,) = json.loads(capsys.readouterr().out)["runs"][0]["commands"]
    assert command["argv"] == ["mysql", "-p•••", "•••"]


def test_a_bad_rule_is_refused(open_report: Path, capsys: Capture) -> None:
    assert main(["report", str(open_report), "--redact", "("]) == 2
    assert capsys.readouterr().err.startswith("execprobe: --redact: not a regular expression: '('")


def test_a_wrong_command_line_is_shown_without_secrets(capsys: Capture) -> None:
    assert main(["report", "a", "--pasword=x", "--token=S3cr3t"]) == 2
    assert "S3cr3t" not in capsys.readouterr().err
