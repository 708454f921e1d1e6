"""``execprobe report``: stored reports, shown and in other forms."""

from __future__ import annotations

import os
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from documents import good, hostile, ran, rich, run

from pytest_execprobe.cli import main
from pytest_execprobe.report import forms
from pytest_execprobe.report import read as reading
from pytest_execprobe.report.model import Document, Unit
from pytest_execprobe.timeline.site import CallSite

Capture = pytest.CaptureFixture[str]

RICH = """\
verdict         2 rules broken, 1 undecided
recorded        12+ execs, 12 programs, 5 tests, 1 fixture set-up, 2 strays, 2 ignored, at least 3 lost, 1 not checked
started by      pytest -n 2 tests, 2026-03-01T09:30:00Z, 1.50 s, exit status 1
missing         3 execs of one place found the perf buffer full and are not listed: raise --execprobe-buffer-pages, or \
give the helper a CPU
missing         an unknown number of execs is missing: it hung up
missing         1 test was not checked: the probe helper has gone
broken          session budget exceeded: 14 execs, at most 10 allowed, in the run as a whole
broken          exec budget exceeded: 8 execs, at most 4 allowed, in tests/test_release.py::TestRelease::test_tag
undecided       cannot tell whether curl ran: 3 execs missing from the log, in tests/test_cache.py::test_flood
excused         exec budget exceeded: 8 execs, at most 4 allowed, in tests/test_cache.py::test_later
most executed   1  ?
                1  env
                1  git
                1  gpg
                1  pre-commit
                1  python3
                1  redis-cli
                1  redis-server
                1  sh
                1  sleep
                … 2 more
most by test    8  tests/test_release.py::TestRelease::test_tag: ? 1, env 1, git 1, gpg 1, pre-commit 1, … 3 more
                3  tests/test_cache.py::test_ping[a-b]: redis-cli 1, sleep 1, true 1
besides tests   1  tests/conftest.py::redis (module): redis-server 1
not exit 0      1  tests/test_release.py::TestRelease::test_tag: pre-commit, exit 1
                1  tests/test_release.py::TestRelease::test_tag: python3, killed by SIGKILL
"""

GOOD = """\
verdict         no rule broken, every exec recorded
recorded        1 exec, 1 program, 1 test
started by      pytest -n 2 tests, 2026-03-01T09:30:00Z, 1.50 s, exit status 0
most executed   1  git
most by test    1  test_a.py::test_it: git 1
"""


def stored(folder: Path, name: str, document: Document) -> str:
    path = folder / name
    forms.write(document, path)
    return str(path)


def named(document: Document, id: str) -> Document:
    """The same in a run of its own."""
    return replace(document, runs=tuple(replace(one, id=id) for one in document.runs))


@pytest.mark.parametrize(("document", "text"), [(rich(), RICH), (good(), GOOD)], ids=["rich", "good"])
def test_as_text(tmp_path: Path, capsys: Capture, document: Document, text: str) -> None:
    assert main(["report", stored(tmp_path, "a.json", document)]) == 0
    assert capsys.readouterr() == (text, "")


def test_of_a_command(tmp_path: Path, capsys: Capture) -> None:
    command = Unit("command", "make -j4", outcome="passed", records=(ran("make", at=1), ran("cc", at=2)))
    document = Document((run(kind="command", command=("make", "-j4"), exit_status=0),), (command,))
    assert main(["report", stored(tmp_path, "a.json", document)]) == 0
    assert capsys.readouterr().out == (
        "verdict         no rule broken, every exec recorded\n"
        "recorded        2 execs, 2 programs, 1 command\n"
        "started by      make -j4, 2026-03-01T09:30:00Z, 1.50 s, exit status 0\n"
        "most executed   1  cc\n"
        "                1  make\n"
    )


def test_who_has_spawned_it_and_how_it_ended(tmp_path: Path, capsys: Capture) -> None:
    site = CallSite("lib/release.py", 31, "tag")
    records = (
        *(ran("git", at=at, lasted=1, exit_code=code, call_site=site) for at, code in ((1, 0), (2, 1), (3, 1))),
        ran("gpg", at=4, lasted=1, signal=11),
    )
    document = Document((run(),), (Unit("test", "test_a.py::test_it", outcome="passed", records=records),))
    assert main(["report", stored(tmp_path, "a.json", document)]) == 0
    assert capsys.readouterr().out.endswith(
        "spawned from    3  lib/release.py:31 in tag: git 3\n"
        "not exit 0      2  test_a.py::test_it: git, exit 1\n"
        "                1  test_a.py::test_it: gpg, killed by SIGSEGV\n"
    )


def test_of_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert main(["report", stored(tmp_path, "a.json", Document())]) == 0
    assert capsys.readouterr().out == (
        "verdict         no rule broken by what was recorded, but not everything was\n"
        "recorded        0+ execs, 0 programs\n"
        "missing         there is no run in it\n"
    )


def test_no_text_of_a_run_reaches_the_terminal_as_it_is(tmp_path: Path, capsys: Capture) -> None:
    assert main(["report", stored(tmp_path, "a.json", hostile())]) == 0
    out = capsys.readouterr().out
    assert "red" in out
    assert {char for char in out if unicodedata.category(char).startswith("C")} == {"\n"}
    assert all(line[:16].strip() == line[:16].rstrip() for line in out.splitlines())  # no line of theirs


def test_several_are_one(tmp_path: Path, capsys: Capture) -> None:
    first, second = good(), named(good(), "beef")
    paths = [stored(tmp_path, "a.json", first), stored(tmp_path, "b.json", second), stored(tmp_path, "c.json", first)]
    assert main(["report", *paths]) == 0
    assert "recorded        2 execs, 1 program, 2 tests\n" in capsys.readouterr().out


def test_many_runs_are_cut_short(tmp_path: Path, capsys: Capture) -> None:
    for number in range(7):
        stored(tmp_path, f"{number}.json", named(good(), f"run{number}"))
    assert main(["report", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("pytest -n 2 tests") == 5
    assert "\n                … 2 more\n" in out


# ---- other forms ----


def test_files(tmp_path: Path, capsys: Capture) -> None:
    source = stored(tmp_path, "a.json", rich())
    outputs = [str(tmp_path / "out" / name) for name in ("b.json", "b.md", "b.sarif", "b.trace.json", "b.html")]
    assert main(["report", source, *(word for path in outputs for word in ("-o", path))]) == 0
    assert capsys.readouterr() == ("", "")
    for path in outputs:
        assert Path(path).read_text() == forms.form_of(path).render(reading.read(Path(source)))


@pytest.mark.parametrize("form", ["json", "md", "sarif", "trace", "html"])
@pytest.mark.parametrize("spelt", [(), ("-o", "-")], ids=["implied", "named"])
def test_standard_output(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], form: str, spelt: tuple[str, ...]
) -> None:
    source = stored(tmp_path, "a.json", rich())
    assert main(["report", source, "--format", form, *spelt]) == 0
    expected = forms.FORMS[{"trace": ".trace.json"}.get(form, f".{form}")].render(reading.read(Path(source)))
    assert capfdbinary.readouterr().out == expected.encode()


def test_a_file_and_text_on_standard_output(tmp_path: Path, capsys: Capture) -> None:
    source = stored(tmp_path, "a.json", good())
    assert main(["report", source, "-o", str(tmp_path / "b.md"), "-o", "-"]) == 0
    assert capsys.readouterr().out == GOOD
    assert (tmp_path / "b.md").exists()


def test_onto_itself(tmp_path: Path) -> None:
    document = good()
    source = stored(tmp_path, "a.json", document)
    assert main(["report", source, "-o", source]) == 0
    assert reading.read(Path(source)) == document


# ---- what is wrong ----


def refused(capsys: Capture, *argv: str) -> str:
    assert main(["report", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_an_input_that_is_no_report(tmp_path: Path, capsys: Capture) -> None:
    source = stored(tmp_path, "a.json", good())
    bad = tmp_path / "bad.json"
    assert f"{bad}: can't be read (No such file or directory)" in refused(capsys, source, str(bad))
    for text in ("", "{}", "[]", "{", "\udcff"):
        bad.write_bytes(text.encode("utf-8", "surrogateescape"))
        assert f"execprobe: {bad}: expected " in refused(capsys, source, str(bad))
    assert f"{bad}: expected " in refused(capsys, str(tmp_path))


def test_a_trace_is_named_as_what_it_is_not(tmp_path: Path, capsys: Capture) -> None:
    trace = stored(tmp_path, "a.trace.json", good())
    assert f"{trace}: expected a report" in refused(capsys, trace)


def test_a_trace_beside_a_report_is_not_meant(tmp_path: Path, capsys: Capture) -> None:
    stored(tmp_path / "x" / "y", "a.json", good())
    stored(tmp_path / "x" / "y", "a.trace.json", good())
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == GOOD


def test_a_folder_without_reports(tmp_path: Path, capsys: Capture) -> None:
    assert f"{tmp_path}: there is no stored report (*.json) in this folder" in refused(capsys, str(tmp_path))


def test_an_output_of_no_form(tmp_path: Path, capsys: Capture) -> None:
    source = stored(tmp_path, "a.json", good())
    for path in ("a.txt", "a", ""):
        assert "which is one of .json" in refused(capsys, source, "-o", path)
    assert "--format is for standard output" in refused(capsys, source, "-o", "b.md", "--format", "md")


def test_an_output_that_can_not_be_written(tmp_path: Path, capsys: Capture) -> None:
    source = stored(tmp_path, "a.json", good())
    assert "can't be written" in refused(capsys, source, "-o", f"{source}/b.md")
    (tmp_path / "b.md").mkdir()
    assert "can't be written" in refused(capsys, source, "-o", str(tmp_path / "b.md"))
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.md"]


def test_a_form_that_is_not_installed(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stored(tmp_path, "a.json", good())
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for argv in (["-o", str(tmp_path / "b.html")], ["--format", "html"]):
        assert "pip install 'pytest-execprobe[html]'" in refused(capsys, source, *argv)
    assert not (tmp_path / "b.html").exists()
