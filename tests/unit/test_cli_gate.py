"""``execprobe gate``: its texts, its forms and its exit status."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from documents import EVERYTHING
from fakes import record
from markdown_it import MarkdownIt

from pytest_execprobe.cli import main
from pytest_execprobe.report import forms
from pytest_execprobe.report.model import Document, ReportedBreach, Run, Unit

Capture = pytest.CaptureFixture[str]

A = "tests/test_a.py::test_a"
HOSTILE = 'tests/test_a.py::test_b[|<img src=x onerror="x">\x1b[2J`]'
BUDGET = f'version = 1\n[total]\nat_most = 3\n[tests."{A}"]\ngit = 1\n[tests."tests/test_a.py::test_gone"]\ngit = 1\n'


def document(*units: Unit, id: str = "cafe") -> Document:
    return Document((Run(id=id, kind="pytest", exit_status=0, collection=EVERYTHING),), units)


GOOD = document(Unit("test", A, records=(record("git"),)))
BAD = document(
    Unit(
        "test",
        A,
        records=(record("git"), record("git"), record("curl"), record("curl")),
        file="tests/test_a.py",
        line=3,
    )
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "execs.toml").write_text(BUDGET)
    for name, content in (("good", GOOD), ("bad", BAD)):
        forms.write(content, tmp_path / f"{name}.json")
    return tmp_path


def gate(*arguments: str) -> int:
    return main(["gate", "--budget", "execs.toml", *arguments])


@pytest.mark.parametrize("output", ["good.json", "execs.toml", "./bad.json"])
@pytest.mark.parametrize("stored", ["good.json", "."])
def test_what_is_read_is_not_written_over(folder: Path, capsys: Capture, stored: str, output: str) -> None:
    if output == "./bad.json" and stored != ".":
        output = "linked.json"
        (folder / output).symlink_to("good.json")
    before = (folder / output).read_bytes()
    assert gate(stored, "-o", output, "--format", "json") == 2
    assert "is what the gate is to read" in capsys.readouterr().err
    assert (folder / output).read_bytes() == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("runs", ["0", "-1", "two"])
def test_there_are_runs_to_hold_against_it(capsys: Capture, runs: str) -> None:
    assert gate("good.json", f"--runs={runs}") == 2
    assert "expected a whole number from 1" in capsys.readouterr().err


def test_a_table_that_an_earlier_version_named(folder: Path, capsys: Capture) -> None:
    (folder / "execs.toml").write_text(BUDGET.replace("tests/test_a.py::test_gone", "te$TMPDIR/test_a.py::test_gone"))
    assert gate("good.json") == 0
    remark = "in the budget, and an earlier version named it so; an update renames it"
    assert f"  unseen   te$TMPDIR/test_a.py::test_gone: {remark}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_within(capsys: Capture) -> None:
    assert gate("good.json") == 0
    assert capsys.readouterr() == (
        "within  1 exec in 1 test of 1 run\n  unseen   tests/test_a.py::test_gone: in the budget, and in no report\n",
        "",
    )


@pytest.mark.usefixtures("folder")
def test_exceeded(capsys: Capture) -> None:
    assert gate("bad.json", "--since", "good.json") == 1
    assert capsys.readouterr().out == (
        "exceeded  4 execs in 1 test of 1 run\n"
        "  beyond   the run as a whole\n"
        f"             4 execs, at most 3 allowed ({A})\n"
        f"  beyond   {A}\n"
        "             new: curl ran 2 times\n"
        "             grew: git ran 2 times, at most once in the baseline\n"
        f"  new      curl 2 ({A})\n"
        "  unseen   tests/test_a.py::test_gone: in the budget, and in no report\n"
    )


def test_incomplete(folder: Path, capsys: Capture) -> None:
    unit = Unit("test", A, lost=1)
    forms.write(document(unit), folder / "lost.json")
    assert gate("lost.json") == 2
    out = capsys.readouterr().out
    assert out.startswith("incomplete  0 execs in 1 test of 1 run\n")
    assert f"  missing  {A}: 1 lost\n" in out
    forms.write(document(unit, id="beef"), folder / "lost.json")
    assert gate("lost.json", "good.json") == 2


RULED = document(
    Unit(
        "test", A, records=(record("git"),), breaches=(ReportedBreach("ls must not run, but it ran once", "…"),), line=3
    ),
    Unit("outside", "outside of tests", breaches=(ReportedBreach("cannot tell whether nc ran", undecided=True),)),
)


def test_rules_that_the_run_has_found_broken(folder: Path, capsys: Capture) -> None:
    forms.write(RULED, folder / "ruled.json")
    assert gate("ruled.json") == 1
    assert (
        f"  broken   {A}\n"
        "             ls must not run, but it ran once\n"
        "  unknown  outside of tests\n"
        "             cannot tell whether nc ran\n"
    ) in capsys.readouterr().out
    assert gate("ruled.json", "--format", "json") == 1
    assert json.loads(capsys.readouterr().out)["rules"] == [
        {"name": A, "certain": True, "file": None, "line": 3, "text": "ls must not run, but it ran once"},
        {
            "name": "outside of tests",
            "certain": False,
            "file": None,
            "line": None,
            "text": "cannot tell whether nc ran",
        },
    ]
    assert gate("ruled.json", "--format", "md") == 1
    assert "| <code>ls must not run, but it ran once</code> |" in capsys.readouterr().out
    assert gate("ruled.json", "--budget-only") == 0
    assert "ls" not in capsys.readouterr().out


def test_an_earlier_try(folder: Path, capsys: Capture) -> None:
    tries = [Unit("test", A, outcome="rerun", records=(record("ls"),)), Unit("test", A, outcome="passed")]
    forms.write(document(*tries), folder / "tried.json")
    assert gate("tried.json") == 0
    assert f"  retried  {A}\n             new: ls ran once\n" in capsys.readouterr().out
    assert gate("tried.json", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["retried"] == [{"name": A, "text": "new: ls ran once"}]


def test_what_was_deselected(folder: Path, capsys: Capture) -> None:
    left_out = replace(GOOD.runs[0], id="1", left_out=("tests/test_a.py::test_gone",))
    forms.write(Document((left_out,), GOOD.units), folder / "part.json")
    assert gate("part.json") == 2
    assert (
        "  missing  deselected, and no run has them, though the baseline has them: tests/test_a.py::test_gone\n"
        in capsys.readouterr().out
    )
    assert gate("part.json", "--allow-deselected") == 0


def test_what_was_ignored(folder: Path, capsys: Capture) -> None:
    forms.write(Document((replace(GOOD.runs[0], ignored={"git": 3}),), GOOD.units), folder / "ignored.json")
    line = "git ran 3 times and was not counted (--execprobe-ignore): its rows are judged without that"
    assert gate("ignored.json") == 0
    assert f"  ignored  {line}\n" in capsys.readouterr().out
    assert gate("ignored.json", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["ignored"] == [line]
    assert gate("ignored.json", "--format", "md") == 0
    assert "### Ignored\n" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_how_many_runs_there_must_be(capsys: Capture) -> None:
    assert gate("good.json", "--runs", "1") == 0
    assert gate("good.json", "--runs", "2") == 2
    assert "  missing  of 2 runs, 1 are there\n" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_json(capsys: Capture) -> None:
    assert gate("bad.json", "--format", "json") == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["verdict"], data["exit_status"], data["execs"], data["tests"], data["runs"]) == (
        "exceeded",
        1,
        4,
        1,
        1,
    )
    assert {key: value for key, value in data["findings"][1].items() if key not in ("file", "line", "text")} == {
        "name": A,
        "program": "curl",
        "ran": 2,
        "limit": None,
        "certain": True,
    }
    assert (data["findings"][1]["file"], data["findings"][1]["line"]) == ("tests/test_a.py", 3)
    assert data["new"] is None
    assert data["unseen"] == ["tests/test_a.py::test_gone"]


def test_markdown_injects_nothing(folder: Path, capsys: Capture) -> None:
    forms.write(document(Unit("test", HOSTILE, records=(record("x|y<b>`"),))), folder / "hostile.json")
    assert gate("hostile.json", "--format", "md", "--since", "good.json") == 1
    text = capsys.readouterr().out
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<img" not in html
    assert "<b>" not in html
    assert "\x1b" not in text
    assert html.count("<tr>") == 2
    assert "<h2>Exec budget: exceeded</h2>" in html


def test_text_has_no_control_characters(folder: Path, capsys: Capture) -> None:
    forms.write(document(Unit("test", HOSTILE, records=(record("git"),))), folder / "hostile.json")
    gate("hostile.json")
    assert "\x1b" not in capsys.readouterr().out


def test_into_a_file(folder: Path, capsys: Capture) -> None:
    assert gate("bad.json", "-o", "out/gate.md") == 1
    assert (folder / "out" / "gate.md").read_text().startswith("## Exec budget: exceeded\n")
    assert gate("bad.json", "-o", "gate.pdf") == 2
    assert "execprobe: gate.pdf: ends in none of .txt, .json, .md; name the form, --format\n" in capsys.readouterr().err
    assert gate("bad.json", "-o", "out/gate.txt") == 1
    assert capsys.readouterr().out == "exceeded  4 execs in 1 test of 1 run\n"
    assert "  beyond   the run as a whole\n" in (folder / "out" / "gate.txt").read_text()
    (folder / "file").touch()
    assert gate("bad.json", "-o", "file/gate.txt") == 2
    assert "execprobe: file/gate.txt can't be written: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "execprobe: none.json: can't be read"),
        (["execs.toml"], "execprobe: execs.toml: expected JSON"),
        (["good.json", "--since", "none.json"], "execprobe: none.json: can't be read"),
        (["good.json", "--since", "none.toml"], "execprobe: there is no none.toml"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_unusable(capsys: Capture, arguments: list[str], message: str) -> None:
    assert gate(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(message)


def test_an_unusable_budget(folder: Path, capsys: Capture) -> None:
    (folder / "execs.toml").write_text("version = 7\n")
    assert gate("good.json") == 2
    assert "execprobe: execs.toml is of version 7" in capsys.readouterr().err


def test_a_folder_of_shards(folder: Path, capsys: Capture) -> None:
    (folder / "shards").mkdir()
    for index in range(3):
        shard = document(Unit("test", A, records=(record("git"),)), id=str(index))
        forms.write(shard, folder / f"shards/{index}.json")
    assert gate("shards") == 0
    assert capsys.readouterr().out.startswith("within  3 execs in 1 test of 3 runs\n")
