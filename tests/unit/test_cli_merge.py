"""``execprobe merge``: several stored reports made one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from documents import good, many, rich

from pytest_execprobe.cli import main
from pytest_execprobe.report import forms
from pytest_execprobe.report import read as reading
from pytest_execprobe.report.model import Document, merged

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
    assert reading.read(path) == merged(reading.read(Path(shard)) for shard in shards)


def test_a_folder(tmp_path: Path, shards: list[str], capsys: Capture) -> None:
    path = tmp_path / "all.json"
    assert main(["merge", str(tmp_path / "shards"), "-o", str(path)]) == 0
    assert capsys.readouterr().out == "merged 2 reports: 2 runs, 4 tests, 13 execs\n"
    assert reading.read(path) == merged(reading.read(Path(shard)) for shard in shards)


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path, shards: list[str], capsys: Capture) -> None:
    assert main(["merge", str(tmp_path / "shards"), *shards, "-o", str(tmp_path / "all.json")]) == 0
    assert capsys.readouterr().out == "merged 2 reports: 2 runs, 4 tests, 13 execs\n"


def test_endings_of_any_spelling(tmp_path: Path, shards: list[str], capsys: Capture) -> None:
    """Nobody is to think that a report was looked at that was not, or that a trace is one."""
    folder = tmp_path / "shards"
    os.rename(shards[0], folder / "A.JSON")
    os.rename(shards[1], folder / "b" / "b.Json")
    for name in ("a.trace.json", "b/B.Trace.JSON", "json", "a.json.txt", "b/.json.gz"):
        (folder / name).write_text("no report")
    assert main(["merge", str(folder), "-o", str(tmp_path / "all.json")]) == 0
    assert capsys.readouterr().out == "merged 2 reports: 2 runs, 4 tests, 13 execs\n"


def test_a_trace_alone_is_no_stored_report(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a.TRACE.json").write_text("{}")
    assert main(["merge", str(tmp_path / "shards"), "-o", str(tmp_path / "all.json")]) == 2
    said = f"execprobe: {tmp_path}/shards: there is no stored report (*.json) in this folder\n"
    assert capsys.readouterr() == ("", said)


def test_folders_that_are_links(tmp_path: Path, shards: list[str], capsys: Capture) -> None:
    """As of a CI's downloads, which are linked into one folder."""
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "one").symlink_to(tmp_path / "shards" / "b")
    (tmp_path / "linked" / "two.json").symlink_to(shards[0])
    (tmp_path / "all").symlink_to(tmp_path / "linked")
    assert main(["merge", str(tmp_path / "all"), "-o", str(tmp_path / "all.json")]) == 0
    assert capsys.readouterr().out == "merged 2 reports: 2 runs, 4 tests, 13 execs\n"


def test_a_file_that_is_reached_in_several_ways_is_read_once(
    tmp_path: Path, shards: list[str], capsys: Capture
) -> None:
    folder = tmp_path / "shards"
    (folder / "c").symlink_to(folder / "b")
    (folder / "again.json").symlink_to(shards[0])
    inputs = [f"{folder}/b/../a.json", f"{folder}/c/b.json", str(folder)]
    assert main(["merge", *inputs, "-o", str(tmp_path / "all.json")]) == 0
    assert capsys.readouterr().out == "merged 2 reports: 2 runs, 4 tests, 13 execs\n"


def test_links_in_circles_end(
    tmp_path: Path, shards: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shards[1]).parent
    for name in ("up", "round"):
        (folder / name).symlink_to(tmp_path / "shards")
    looked, scandir = [], os.scandir

    def look(path: str) -> object:
        looked.append(path)
        assert len(looked) < 20, "it goes round and round"
        return scandir(path)

    monkeypatch.setattr(os, "scandir", look)
    assert main(["merge", str(tmp_path / "shards"), "-o", str(tmp_path / "all.json")]) == 0
    assert capsys.readouterr().out == "merged 2 reports: 2 runs, 4 tests, 13 execs\n"


def test_a_folder_that_can_not_be_read_is_not_passed_over(
    tmp_path: Path, shards: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it could be what is beyond a budget."""
    folder, scandir = os.path.dirname(shards[1]), os.scandir

    def refuse(path: str) -> object:
        if path == folder:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read all
    assert main(["merge", str(tmp_path / "shards"), "-o", str(tmp_path / "all.json")]) == 2
    said = f"execprobe: {folder}: this folder can't be read (Permission denied)\n"
    assert capsys.readouterr() == ("", said)
    assert not (tmp_path / "all.json").exists()


@pytest.mark.usefixtures("shards")
def test_a_run_in_several_is_taken_once(tmp_path: Path, capsys: Capture) -> None:
    """As when it is done again, with its result among the inputs."""
    path = tmp_path / "shards" / "all.json"
    main(["merge", str(tmp_path / "shards"), "-o", str(path)])
    before = reading.read(path)
    capsys.readouterr()
    assert main(["merge", str(tmp_path / "shards"), "-o", str(path)]) == 0
    assert (
        capsys.readouterr().out == "merged 3 reports: 2 runs, 4 tests, 13 execs; 2 runs taken once, though in several\n"
    )
    assert reading.read(path).programs == before.programs


def test_what_is_missing_is_said(tmp_path: Path, capsys: Capture) -> None:
    source = stored(tmp_path / "a.json", rich(), "a")
    assert main(["merge", source, "-o", str(tmp_path / "all.json")]) == 0
    assert capsys.readouterr().out == "merged 1 report: 1 run, 5 tests, 12 execs; not everything was recorded\n"


@pytest.mark.parametrize("name", ["all.md", "all.html", "all.trace.json", "all", "-", "all.JSON.txt"])
def test_an_output_that_is_no_stored_report(tmp_path: Path, shards: list[str], capsys: Capture, name: str) -> None:
    path = name if name == "-" else str(tmp_path / name)
    assert main(["merge", *shards, "-o", path]) == 2
    assert capsys.readouterr().err == (
        f"execprobe: {path}: expected a name that ends with .json; other forms are made of it by 'execprobe report'\n"
    )


@pytest.mark.usefixtures("shards")
def test_an_input_that_is_no_report_leaves_the_output_as_it_is(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "all.json"
    path.write_text("what was there before")
    (tmp_path / "shards" / "bad.json").write_text("{}")
    assert main(["merge", str(tmp_path / "shards"), "-o", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"execprobe: {tmp_path}/shards/bad.json: expected a report of pytest-execprobe")
    assert path.read_text() == "what was there before"


def test_an_output_that_can_not_be_written(tmp_path: Path, shards: list[str], capsys: Capture) -> None:
    assert main(["merge", *shards, "-o", f"{shards[0]}/all.json"]) == 2
    assert "the report can't be written" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["shards"]
