"""Patterns by what has spawned an exec, and where texts and reports say it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from documents import phases, ran, run
from fakes import FixedWindow, altered, evidence, log_of, record

from pytest_execprobe import CallSite, ExecLog, ExecRecord, IncompleteLogError, subtree
from pytest_execprobe._util.text import Style
from pytest_execprobe.cli import main
from pytest_execprobe.log.pattern import Side
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.log.text import table
from pytest_execprobe.report import annotations, html, markdown, trace
from pytest_execprobe.report.collect import Gatherer
from pytest_execprobe.report.model import Document, ReportedBreach, Unit
from pytest_execprobe.rules.judge import Judge
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import make_rule
from pytest_execprobe.rules.text import Problem
from pytest_execprobe.session.suite import ignored_in_vain
from pytest_execprobe.timeline.site import MOST_FRAMES, Frame

LIBRARY = "/envs/lib/python3.11/site-packages/joblib/parallel.py"


def site(*frames: tuple[str, str]) -> CallSite:
    stack = tuple(Frame(file, 31, function) for file, function in frames)
    own = next((frame for frame in stack if "site-packages" not in frame.file), stack[0])
    return CallSite(*own, stack)


def spawned(*frames: tuple[str, str], program: str = "git", **more: object) -> ExecRecord:
    return altered(record(program), call_site=site(*frames), **more)


TAG = spawned((LIBRARY, "start"), ("/src/lib/release.py", "tag"), ("/src/tests/conftest.py", "repository"))


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("from:release.py", True),
        ("from:release", True),
        ("from:conftest.py", True),  # whoever it calls for that
        ("from:joblib", True),
        ("from:rel*", True),
        ("from:lib", True),  # a folder, from where the pattern was written
        ("from:src", False),  # what that lies in says nothing of the code
        ("from:envs", False),
        ("from:site-packages", False),
        ("from:python3.11", False),
        ("from:rele", False),
        ("from:lib/release.py", True),
        ("from:./lib/../lib/release.py", True),
        ("from:lib/", True),
        ("from:/src/lib/release.py", True),
        ("from:/src/*", True),
        ("from:*/joblib/*", True),
        ("from:release.py/", False),
        ("from:other/release.py", False),
        ("from:release.py:tag", True),
        ("from:release.py:t*", True),
        ("from:release.py:repository", False),  # that is another file's
        ("from:lib/release.py:start", False),
        ("from:*:start", True),
        ("from:*:<module>", False),
    ],
)
def test_a_pattern_by_call_site(pattern: str, matches: bool, side: Side) -> None:
    assert compile_pattern(pattern, "/src").match(TAG, side) is matches


def test_a_package_is_known_by_its_name_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    one = spawned(("/checkouts/joblib/src/release/tags.py", "tag"))
    assert compile_pattern("from:release", "/elsewhere").match(one) is False
    leading = ("/checkouts", "/checkouts/joblib/src", "/checkouts/joblib/src/release/tags")
    monkeypatch.setattr("sys.path", ["", "/", *leading])
    assert compile_pattern("from:release", "/elsewhere").match(one) is True
    assert compile_pattern("from:joblib", "/elsewhere").match(one) is False


@pytest.mark.parametrize("function", ["31", "31 in tag", "Release.tag", "release.py"])
def test_a_function_that_would_match_nothing(function: str) -> None:
    with pytest.raises(ValueError, match="a function goes by its name alone"):
        compile_pattern(f"from:release.py:{function}")


def test_a_folder_that_is_there_stands_for_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "link").symlink_to("lib")
    one = spawned((f"{os.path.realpath(tmp_path)}/lib/release.py", "tag"))
    assert compile_pattern("from:./lib", tmp_path).match(one) is True
    assert compile_pattern("from:./link", tmp_path).match(one) is True
    assert compile_pattern("from:./li", tmp_path).match(one) is False


@pytest.mark.parametrize("written", ["real", "link"])
@pytest.mark.parametrize("imported", ["real", "link"])
@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("from:lib/release.py", True),
        ("from:lib", True),
        ("from:{tmp}/real/lib/*", True),
        ("from:{tmp}/link/lib/release.py", True),
        ("from:other/release.py", False),
    ],
)
def test_a_checkout_can_be_reached_by_a_link(
    tmp_path: Path, written: str, imported: str, pattern: str, matches: bool
) -> None:
    (tmp_path / "real/lib").mkdir(parents=True)
    (tmp_path / "real/lib/release.py").touch()
    (tmp_path / "link").symlink_to("real")
    one = spawned((f"{tmp_path}/{imported}/lib/release.py", "tag"))
    assert compile_pattern(pattern.format(tmp=tmp_path), tmp_path / written).match(one) is matches


def test_of_a_stored_report_paths_are_relative() -> None:
    one = spawned(("lib/release.py", "tag"))
    for pattern in ("from:lib/release.py", "from:release.py", "from:lib", "from:./lib/*"):
        assert compile_pattern(pattern, "/anywhere").match(one) is True


@pytest.mark.parametrize("folder", ["", "ci"])
@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("from:{up}lib/release.py", True),
        ("from:{up}lib/*.py:tag", True),
        ("from:{up}lib", True),
        ("from:{root}/lib/release.py", True),
        ("from:{root}/lib/", True),
        ("from:*/lib/release.py", True),
        ("from:{up}other/release.py", False),
        ("from:{root}/release.py", False),
        ("from:*/other/*", False),
        ("from:release", True),
    ],
)
def test_of_a_stored_report_they_mean_what_they_did_in_the_run(
    tmp_path: Path, folder: str, pattern: str, matches: bool
) -> None:
    """Wherever below the root directory the pattern is written."""
    root = os.path.realpath(tmp_path)
    for name in ("lib", "ci"):
        (tmp_path / name).mkdir()
    (tmp_path / "lib/release.py").touch()
    there = compile_pattern(pattern.format(up="../" if folder else "./", root=root), f"{root}/{folder}".rstrip("/"))
    assert there.match(spawned((f"{root}/lib/release.py", "tag"))) is matches
    assert there.match(spawned(("lib/release.py", "tag"))) is matches


def test_of_a_stored_report_a_path_from_a_folder_below_is_not_one_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/release.py").touch()
    stored = spawned(("lib/release.py", "tag"))
    assert compile_pattern("from:lib/release.py", tmp_path).match(stored) is True
    assert compile_pattern("from:lib/release.py", tmp_path / "ci").match(stored) is False
    assert compile_pattern("from:lib", tmp_path / "ci").match(stored) is None  # where it ran lib may have been imported


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("from:/checkouts/p/lib/release.py", None),
        ("from:../lib/release.py", None),
        ("from:../lib/*.py", None),
        ("from:../lib", None),
        ("from:*/p/lib/*", None),
        ("from:*/lib/release.py", True),
        ("from:/checkouts/p/lib/other.py", False),
        ("from:../lib/other.py", False),
        ("from:other.py", False),
    ],
)
def test_of_a_stored_report_whose_root_is_not_known(pattern: str, matches: bool | None) -> None:
    assert compile_pattern(pattern, "/nowhere/p/ci").match(spawned(("lib/release.py", "tag"))) is matches


@pytest.mark.parametrize(
    "pattern", ["from:subprocess.py", "from:ctypes", "from:platform:processor", "from:pytest", f"from:{os.__file__}"]
)
def test_what_call_sites_have_no_frames_of_is_an_error(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames of the standard library and of pytest"):
        compile_pattern(pattern, tmp_path)
    (tmp_path / "ctypes").mkdir()
    (tmp_path / "platform.py").touch()
    own = spawned((f"{os.path.realpath(tmp_path)}/platform.py", "processor"))
    assert compile_pattern("from:platform:processor", os.path.realpath(tmp_path)).match(own) is True
    assert compile_pattern("from:ctypes", os.path.realpath(tmp_path)).match(own) is False
    assert compile_pattern("from:*/platform.py").match(own) is True


def test_what_no_python_is_known_to_have_spawned_is_undecided() -> None:
    for pattern in ("from:release.py", "subtree:from:release.py"):
        assert compile_pattern(pattern).match(record("git")) is None
    log = log_of(TAG, record("git"))
    with pytest.raises(IncompleteLogError, match=r"cannot tell[^#]*\n  why   which code spawned #2 is not known"):
        log.assert_count(1, "from:release.py")
    with pytest.raises(IncompleteLogError) as caught:
        log_of(record("git", argv=None)).assert_not_ran("argv:git push")
    assert "which code" not in str(caught.value)
    log.assert_at_least(1, "from:release.py")


def test_frames_that_are_not_kept_leave_it_undecided() -> None:
    many = spawned(*[("/src/deep.py", "f")] * MOST_FRAMES)
    assert compile_pattern("from:deep.py").match(many) is True
    assert compile_pattern("from:release.py").match(many) is None


def test_execs_of_one_command_are_kept_apart_by_who_has_spawned_them() -> None:
    other = altered(TAG, _identity=(8, 8), call_site=site(("/src/other.py", "g")))
    log = log_of(TAG, other, altered(TAG, _identity=(9, 9)))
    assert log.count("from:release.py") == 2
    log.assert_only_ran("from:release.py", "from:other.py")
    with pytest.raises(AssertionError, match=r"other\.py:31 in g"):
        log.assert_only_ran("from:release.py")
    assert log.count(subtree("from:other.py")) == 1


@pytest.mark.parametrize(
    "pattern", ["from:", "from: ", "from::tag", "from:release.py:", "from:~/release.py", "from:$HOME/a.py"]
)
def test_what_can_match_nothing_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"empty|expanded"):
        compile_pattern(pattern)


def test_a_command_has_no_call_sites(capsys: pytest.CaptureFixture[str]) -> None:
    for pattern in ("from:release.py", "subtree:from:release.py"):
        assert main(["run", "--deny", pattern, "--", "true"]) != 0
        assert "pytest alone records which code has spawned what" in capsys.readouterr().err


def test_an_ignored_name_says_nothing_of_call_sites() -> None:
    deny, ignore = compile_pattern("from:git"), compile_pattern("from:*")
    named = compile_pattern("git")
    assert not list(ignored_in_vain([(deny, "here")], [(compile_pattern("git*"), "there")]))
    assert not list(ignored_in_vain([(named, "here")], [(ignore, "there")]))


# ---- what is said ----


def test_a_row_names_the_site_at_its_end() -> None:
    child = altered(record("gpg", parent=TAG), call_site=TAG.call_site)
    became = altered(record("python3", previous=TAG), call_site=TAG.call_site)
    style = Style(root="/src", columns=100)
    head, first, below, then = table(evidence(TAG, child, became), 0, (), style)
    assert first.endswith("lib/release.py:31 in tag")
    assert len(first) == 100
    assert "release.py" not in head + below + then
    (_, alone) = table(evidence(became), 0, (), style)  # what it was before is not in this table
    assert alone.endswith("lib/release.py:31 in tag")
    (_, narrow, *_) = table(evidence(TAG), 0, (), Style(root="/src", columns=10))
    assert narrow.endswith("git  lib/release.py:31 in tag")


def test_a_tree_and_a_report_name_places_from_the_root_however_little_is_written() -> None:
    quiet = Style(-1, root="/src")
    log = ExecLog(FixedWindow(evidence(TAG), style=quiet))
    assert "(lib/release.py:31 in tag)" in log.tree()
    said = problem(TAG, style=quiet).in_report
    assert said.count("lib/release.py:31") == 2
    assert "/src" not in said


def problem(*records: ExecRecord, style: Style = Style(root="/src")) -> Problem:  # noqa: B008
    rules = [make_rule("exec_deny", ["git"], {}, "on test_a")]
    found = Judge(deciders([rules])).judge("call", evidence(*records))
    return Problem.of(found, evidence(*records), 0, "call phase", style)


def test_a_breach_names_the_places_in_code() -> None:
    said = problem(TAG, altered(TAG, _identity=(9, 9)), record("git"))
    assert str(said.error).split("\n")[1:] == [
        "  rule  exec_deny('git') on test_a",
        "  from  lib/release.py:31 in tag",
    ]
    assert said.site == TAG.call_site
    many = problem(*(spawned((f"/src/{name}.py", "f")) for name in "abcde"))
    assert str(many.error).split("\n")[2:] == [
        *(f"  from  {name}.py:31 in f" for name in "abc"),
        "  from  … 2 more places",
    ]
    assert problem(record("git")).site is None
    assert "from" not in str(problem(record("git")).error)


def document(call_site: CallSite | None) -> Document:
    breach = ReportedBreach("git ran", "git ran", call_site=call_site)
    git = ran("git", at=5, lasted=1, call_site=call_site)
    unit = Unit(
        "test", "tests/test_a.py::test_a", 0, None, "failed", "tests/test_a.py", 7, phases(1), (git, ran("sh", at=9))
    )
    return Document((run(),), (Unit(**{**vars(unit), "breaches": (breach,)}),))


def test_an_annotation_stands_on_the_line_that_spawned_it() -> None:
    (line,) = annotations.annotations(document(site(("lib/release.py", "tag"))))
    assert line.startswith("::error file=lib/release.py,line=31,title=execprobe%3A git ran::tests/test_a.py")
    for elsewhere in (None, site(("/usr/lib/x.py", "f")), site(("<string>", "f"))):
        (line,) = annotations.annotations(document(elsewhere))
        assert line.startswith("::error file=tests/test_a.py,line=7,")


def test_each_form_of_a_report_has_it() -> None:
    made = document(site((LIBRARY, "start"), ("lib/release.py", "tag")))
    assert "lib/release.py:31 in tag" in html.render(made)
    assert f"{LIBRARY}:31 in start, by lib/release.py:31 in tag" in html.render(made)
    assert "Where Python spawned most" in markdown.render(made)
    assert "lib/release.py" in markdown.render(made)
    assert '"called at": "lib/release.py:31 in tag"' in trace.render(made).replace('":"', '": "')
    assert "Where Python spawned most" not in markdown.render(document(None))


def test_a_report_has_paths_from_the_root() -> None:
    gatherer = Gatherer("/src")
    gatherer.breach("test_a", "git ran", "git ran", undecided=False, site=TAG.call_site)
    gatherer.breach("test_b", "git ran", "git ran", undecided=False, site=TAG.call_site)
    assert [one["file"] for one in gatherer._commands.sites] == ["lib/release.py"]
    assert [frame.file for frame in gatherer._commands.sites[0]["stack"]] == [
        LIBRARY,
        "lib/release.py",
        "tests/conftest.py",
    ]
