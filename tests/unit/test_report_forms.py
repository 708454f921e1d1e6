"""Which form a path asks for, and how its file comes to be."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from documents import dump, good, hostile, rich

from pytest_execprobe._util import originals
from pytest_execprobe.report import forms
from pytest_execprobe.report import read as reading
from pytest_execprobe.report.forms import FORMS, FormUnavailable, ReportNotWritten, check_available, form_of, write
from pytest_execprobe.report.model import Document


@pytest.mark.parametrize(
    ("path", "ending"),
    [
        ("a.json", ".json"),
        ("a.trace.json", ".trace.json"),
        ("folder.html/a.md", ".md"),
        ("A.HTML", ".html"),
        ("a.md.json", ".json"),
        (Path("x/y.trace.json"), ".trace.json"),
    ],
)
def test_the_ending_says_the_form(path: str | Path, ending: str) -> None:
    assert form_of(path) is FORMS[ending]


@pytest.mark.parametrize("path", ["a", "a.txt", "a.json/b", "json", "a.xml", ""])
def test_another_ending_is_told_which_there_are(path: str) -> None:
    with pytest.raises(ValueError, match="a report's name ends with its form") as caught:
        form_of(path)
    assert all(ending in str(caught.value) for ending in FORMS)


@pytest.mark.parametrize("document", [rich(), good(), hostile()])
@pytest.mark.parametrize("ending", FORMS)
def test_every_form_is_written_and_made_anew(tmp_path: Path, ending: str, document: Document) -> None:
    path = tmp_path / "new" / "folders" / f"report{ending}"
    write(document, path)
    written = path.read_text(encoding="utf-8")
    assert written == FORMS[ending].render(document)
    write(Document(), str(path))
    assert path.read_text(encoding="utf-8") == FORMS[ending].render(Document())
    assert os.listdir(path.parent) == [path.name]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    document = rich()
    write(document, tmp_path / "a.json")
    assert dump(reading.read(tmp_path / "a.json")) == dump(document)


def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    write(good(), tmp_path / "a.json")
    with open(tmp_path / "b.json", "w"):
        pass
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b.json").stat().st_mode


@pytest.mark.parametrize("what", ["a folder is there", "a file is above"])
def test_a_file_that_can_not_be_written_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x" / "a.json"
    if what == "a folder is there":
        path.mkdir(parents=True)
    else:
        path.parent.touch()
    with pytest.raises(ReportNotWritten, match=r"a\.json: the report can't be written"):
        write(good(), path)


def test_a_report_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(originals, "fsync", full)
    with pytest.raises(ReportNotWritten, match="No space left on device"):
        write(good(), path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for form in FORMS.values():
        check_available(form)
    monkeypatch.setattr(forms, "find_spec", lambda name: None if name == "jinja2" else find_spec(name))
    with pytest.raises(FormUnavailable, match=r"\.html needs jinja2.*: pip install 'pytest-execprobe\[html\]'"):
        write(good(), tmp_path / "a.html")
    for ending in (".json", ".md", ".trace.json"):
        write(good(), tmp_path / f"a{ending}")
    assert not (tmp_path / "a.html").exists()
