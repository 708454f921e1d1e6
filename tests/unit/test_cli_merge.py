"""``execprobe merge``: several stored reports made one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from documents import good, many, rich

from pytest_execprobe.cli import main
from pytest_execprobe.report import codec, forms
from pytest_execprobe.report.document import Document, merged

Capture = pytest.CaptureFixture[str]


def stored(path: Path, document: Document, id: str) -> str:
    forms.write(replace(document, runs=tuple(replace(run, id=id) for run in document.runs)), path)
    return str(path)


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    return [
        stored(tmp_path / "shards" / "a.json", good(), "a"),
        stored(tmp_path / "shards" / "b" / "b.json", many(3, 4), "b"),
    ]


def test_files(tmp_path: Path, shards: list[str], capsys: Capture) -> None:
    path = tmp_path / "all.json"
    assert main(["merge", *shards, "-o", str(path)]) == 0
    assert capsys.readouterr() == ("merged 2 reports: 2 runs, 4 tests, 13 execs\n", "")
    assert codec.read(path) == merged(codec.read(Path(shard)) for shard in shards)


def test_a_folder(tmp_path: Path, shards: list[str], capsys: Capture) -> None:
    path = tmp_path / "all.json"
    assert main(["merge", str(tmp_path / "shards"), "-o", str(path)]) == 0
    assert capsys.readouterr().out == "merged 2 reports: 2 runs, 4 tests, 13 execs\n"
    assert codec.read(path) == merged(codec.read(Path(shard)) for shard in shards)


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path, shards: list[str], capsys: Capture) -> None:
    assert main(["merge", str(tmp_path / "shards"), *shards, "-o", str(tmp_path / "all.json")]) == 0
    assert capsys.readouterr().out == "merged 2 reports: 2 runs, 4 tests, 13 execs\n"


@pytest.mark.usefixtures("shards")
def test_a_run_in_several_is_taken_once(tmp_path: Path, capsys: Capture) -> None:
    """As when it is done again, with its result among the inputs."""
    path = tmp_path / "shards" / "all.json"
    main(["merge", str(tmp_path / "shards"), "-o", str(path)])
    before = codec.read(path)
    capsys.readouterr()
    assert main(["merge", str(tmp_path / "shards"), "-o", str(path)]) == 0
    assert (
        capsys.readouterr().out == "merged 3 reports: 2 runs, 4 tests, 13 execs; 2 runs taken once, though in several\n"
    )
    assert codec.read(path).programs == before.programs


def test_what_is_missing_is_said(tmp_path: Path, capsys: Capture) -> None:
    source = stored(tmp_path / "a.json", rich(), "a")
    assert main(["merge", source, "-o", str(tmp_path / "all.json")]) == 0
    assert capsys.readouterr().out == "merged 1 report: 1 run, 5 tests, 12 execs; not everything was recorded\n"


@pytest.mark.parametrize("name", ["all.md", "all.html", "all.trace.json", "all", "-", "all.JSON.txt"])
def test_an_output_that_is_no_stored_report(tmp_path: Path, shards: list[str], capsys: Capture, name: str) -> None:
    path = name if name == "-" else str(tmp_path / name)
    assert main(["merge", *shards, "-o", path]) == 2
    assert capsys.readouterr().err == (
        f"execprobe: {path}: is no name for a stored report, which ends with .json; other forms are made of it by"
        " 'execprobe report'\n"
    )


@pytest.mark.usefixtures("shards")
def test_an_input_that_is_no_report_leaves_the_output_as_it_is(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "all.json"
    path.write_text("what was there before")
    (tmp_path / "shards" / "bad.json").write_text("{}")
    assert main(["merge", str(tmp_path / "shards"), "-o", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"execprobe: {tmp_path}/shards/bad.json: is no report of pytest-execprobe's")
    assert path.read_text() == "what was there before"


def test_an_output_that_can_not_be_written(tmp_path: Path, shards: list[str], capsys: Capture) -> None:
    assert main(["merge", *shards, "-o", f"{shards[0]}/all.json"]) == 2
    assert "the report can't be written" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["shards"]
