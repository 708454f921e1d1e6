"""How a baseline is rewritten: what changes, what stays, and that the next run is within it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from fakes import evidence, record
from hypothesis import given
from hypothesis import strategies as st

from pytest_execprobe._util import originals
from pytest_execprobe.baseline.changes import Changes, Seen
from pytest_execprobe.baseline.model import Baseline, row_key
from pytest_execprobe.baseline.read import parse_baseline, read_baseline
from pytest_execprobe.baseline.update import rewrite, updated
from pytest_execprobe.files import write_atomically

PATH = Path("execs.toml")
A, B = "test_it.py::test_a", "test_it.py::test_b"


def update(
    text: str | None,
    seen: dict[str, dict[str, int]],
    obsolete: list[str] | None = None,
    *,
    only_add: bool = False,
    section: str = "tests",
) -> tuple[str, Changes]:
    """What comes of a file, without its head and its empty sections."""
    old = None if text is None else "version = 1\n" + dedent(text)
    baseline = Baseline(PATH) if old is None else parse_baseline(old, PATH)
    found = {section: {name: Seen(usage) for name, usage in seen.items()}}
    new, changes = updated(old, baseline, found, {"tests": obsolete or []}, only_add=only_add)
    parse_baseline(new, PATH)
    return new.partition("version = 1\n")[2].replace("\n[fixtures]\n", "").replace("\n[around]\n", "").strip(), changes


def written(text: str) -> str:
    return dedent(text).strip()


def test_a_new_file() -> None:
    text, changes = update(None, {B: {"git": 2}, A: {"sh": 1, "git": 1}})
    assert text == f'[tests."{A}"]\ngit = 1\nsh = 1\n\n[tests."{B}"]\ngit = 2'
    assert len(changes.new) == 3


def test_nothing_new_changes_no_byte() -> None:
    seen = {A: {"git": 1}, B: {row_key("foo bar"): 1, row_key('q"'): 2}}
    first, _ = updated(None, Baseline(PATH), {"tests": {n: Seen(u) for n, u in seen.items()}}, {})
    again, changes = updated(first, parse_baseline(first, PATH), {"tests": {n: Seen(u) for n, u in seen.items()}}, {})
    assert again == first
    assert changes == Changes()


OLD = f'[tests."{A}"]\ngit = 2\nsh = 1\n'


def test_raised_lowered_added_and_gone() -> None:
    text, changes = update(OLD, {A: {"git": 3, "ls": 1}})
    assert text == f'[tests."{A}"]\ngit = 3\nls = 1'
    assert (changes.raised, changes.new, changes.gone) == ([(A, "git")], [(A, "ls")], [(A, "sh")])
    text, changes = update(OLD, {A: {"git": 1, "sh": 1}})
    assert "git = 1" in text
    assert changes.lowered == [(A, "git")]


def test_only_adding() -> None:
    text, changes = update(OLD, {A: {"git": 1, "ls": 1}}, [B], only_add=True)
    assert text == f'[tests."{A}"]\ngit = 2\nls = 1\nsh = 1'
    assert (changes.gone, changes.lowered) == ([], [])


@pytest.mark.parametrize(
    ("row", "usage", "then"),
    [
        *(("git = [1, 2]", {"git": times} if times else {}, "git = [1, 2]") for times in range(3)),
        ("git = [1, 2]", {"git": 5}, "git = [1, 5]"),
        ('git = "any"', {"git": 9}, 'git = "any"'),
    ],
)
def test_a_range_only_widens_and_any_number_stays(row: str, usage: dict[str, int], then: str) -> None:
    assert update(f'[tests."{A}"]\n{row}\n', {A: usage})[0] == f'[tests."{A}"]\n{then}'


def test_what_was_not_seen_stays() -> None:
    assert update(OLD, {B: {"git": 1}})[0].startswith(OLD)


@pytest.mark.parametrize("section", ["fixtures", "around"])
def test_what_depends_on_the_tests_that_run_is_not_lowered(section: str) -> None:
    old = f"[{section}.collection]\ngit = 2\nsh = 1\n"
    text, changes = update(old, {"collection": {"git": 1, "ls": 1}}, section=section)
    assert f"[{section}.collection]\ngit = 2\nls = 1\nsh = 1" in text
    assert not changes.gone


def test_a_table_that_speaks_against_a_wider_one_stays() -> None:
    text, _ = update('[tests."t[*]"]\ntrue = 1\n[tests."t[x]"]\nsh = 1\n', {"t[x]": {}})
    assert text == '[tests."t[*]"]\ntrue = 1\n\n[tests."t[x]"]'


def test_an_empty_table_that_somebody_has_written_stays() -> None:
    old = f'# Nothing may run.\n[tests."{A}"]  # ever'
    assert update(old + "\n", {B: {"git": 1}})[0] == f'{old}\n\n[tests."{B}"]\ngit = 1'


def test_a_table_without_limit_is_handed_on_to_nobody() -> None:
    _, changes = update(f'[tests."{A}"]\nsh = "any"\n', {"test_it.py::test_x": {"sh": 1}}, [A])
    assert not changes.renamed


def test_obsolete_tables_go() -> None:
    text, changes = update(OLD, {}, [A])
    assert text == "[tests]"
    assert changes.gone == [(A, "")]


def test_comments_ranges_and_hand_written_tables_stay() -> None:
    text, _ = update(
        """
        # What all may run.
        everywhere = ["uname"]  # lsb

        [total]
        at_most = 40

        # Signs each file.
        [tests."test_it.py::test_b"]
        # once, or twice where the agent is cold
        gpg = [1, 2]  # flaky
        sh = 1

        # Tags.
        [tests."test_it.py::test_a"]
        git = 2  # tag, push

        # The end.
        """,
        {A: {"git": 3}, B: {"gpg": 1, "sh": 1}},
    )
    assert text == written(
        """
        # What all may run.
        everywhere = ["uname"]  # lsb

        [total]
        at_most = 40

        # Tags.
        [tests."test_it.py::test_a"]
        git = 3  # tag, push

        # Signs each file.
        [tests."test_it.py::test_b"]
        # once, or twice where the agent is cold
        gpg = [1, 2]  # flaky
        sh = 1

        # The end.
        """
    )


def test_a_table_for_all_parameters_is_raised_and_never_lowered() -> None:
    old = '[tests."test_it.py::test_m[*]"]\nls = 2\n'
    text, _ = update(old, {"test_it.py::test_m[a]": {"ls": 1}, "test_it.py::test_m[b]": {"ls": 3, "git": 1}})
    assert text == '[tests."test_it.py::test_m[*]"]\ngit = 1\nls = 3'
    assert update(old, {"test_it.py::test_m[a]": {"ls": 1}})[0] == old.strip()


def test_patterns_keep_their_order_and_come_first() -> None:
    old = '[tests."test_it.py::test_a"]\n"subtree:make" = 1\n"argv:git push" = 1\nz = 1\n'
    text, _ = update(old, {A: {"subtree:make": 1, "argv:git push": 1, "z": 1, "a": 1}})
    assert text.splitlines()[1:] == ['"subtree:make" = 1', '"argv:git push" = 1', "a = 1", "z = 1"]


def test_what_runs_outside_of_tests_has_no_number() -> None:
    text, _ = update(None, {"collection": {"git": 2}, "outside of tests": {"ls": 3}}, section="around")
    assert '[around.collection]\ngit = 2\n\n[around."outside of tests"]\nls = "any"' in text


@pytest.mark.parametrize("new", ["test_it.py::test_renamed", "test_moved.py::test_a"])
def test_a_renamed_test_takes_its_table_along(new: str) -> None:
    old = '# why\n[tests."test_it.py::test_a"]\ngit = [1, 2]  # cold\n'
    text, changes = update(old, {new: {"git": 2}}, [A])
    assert text == f'# why\n[tests."{new}"]\ngit = [1, 2]  # cold'
    assert changes.renamed == [(A, new)]


def test_what_could_be_two_tests_is_neither() -> None:
    old = '[tests."test_it.py::test_a"]\ngit = 1\n'
    _, changes = update(old, {"test_it.py::test_x": {"git": 1}, "test_it.py::test_y": {"git": 1}}, [A])
    assert not changes.renamed
    assert changes.gone == [(A, "")]


def test_tables_in_any_order_are_read() -> None:
    a, b, total = (f'[tests."{A}"]\ngit = %d', f'[tests."{B}"]\nls = 1', "# The run.\n[total]\nat_most = 4")
    text, _ = update(f"{b}\n\n{total}\n\n{a % 1}\n", {A: {"git": 2}})
    assert text == f"{total}\n\n{a % 2}\n\n{b}"


@pytest.mark.parametrize(
    "old",
    [
        '[tests]\n"test_it.py::test_a" = { git = 2, sh = 1 }\n',
        '[tests]\n"test_it.py::test_a".git = 2\n"test_it.py::test_a".sh = 1\n',
        'tests."test_it.py::test_a".git = 2\ntests."test_it.py::test_a".sh = 1\n',
        'tests = { "test_it.py::test_a" = { git = 2, sh = 1 } }\n',
        'tests = { "test_it.py::test_a".git = 2, "test_it.py::test_a".sh = 1 }\n',
    ],
)
def test_tables_written_in_other_ways_are_read(old: str) -> None:
    assert update(old, {})[0] == '[tests."test_it.py::test_a"]\ngit = 2\nsh = 1'
    assert update(old, {A: {"git": 3, "sh": 1}})[0] == '[tests."test_it.py::test_a"]\ngit = 3\nsh = 1'


def test_rows_of_a_table_that_is_not_written_in_one_piece_keep_their_comments() -> None:
    old = f'[tests]\n# First.\n"{A}".git = 2  # one\n"{B}".ls = 1\n# Second.\n"{A}".sh = 1  # two\n'
    text, _ = update(old, {A: {"git": 2, "sh": 1}})
    for kept in ("git = 2  # one\n", "sh = 1  # two", "# First.", "# Second."):
        assert kept in text


def test_comments_at_the_headers_of_sections_stay() -> None:
    old = f'# 1\n[tests] # 2\n# 3\n[tests."{A}"] # 4\ngit = 2\n# 5\n[fixtures] # 6\n# 7\n[around] # 8\n# 9\n'
    text, _ = update(old, {})
    comments = re.findall(r"# (\d)", text)
    assert sorted(comments) == [*"123456789"]
    assert comments[:4] == [*"1234"]
    again, _ = update(f"{text}\n", {})
    assert re.findall(r"# (\d)", again) == comments


def test_lines_end_as_they_did(tmp_path: Path) -> None:
    path = tmp_path / "execs.toml"
    path.write_bytes(f'# Ours.\r\nversion = 1\r\n# Above.\r\n[tests."{A}"]  # behind\r\ngit = 1\r\n'.encode())
    rewrite(read_baseline(path), {"tests": {A: Seen({"git": 2})}}, {})
    text = path.read_bytes().decode()
    assert text.count("\r\n") == text.count("\n")
    assert text.startswith(f'# Ours.\r\nversion = 1\r\n\r\n# Above.\r\n[tests."{A}"]  # behind\r\ngit = 2\r\n')
    before = path.read_bytes()
    assert rewrite(read_baseline(path), {"tests": {A: Seen({"git": 2})}}, {}) == Changes()
    assert path.read_bytes() == before


# ---- the file ----


def test_the_file_is_replaced_as_a_whole_and_stays_what_it_is(tmp_path: Path) -> None:
    target, link = tmp_path / "real.toml", tmp_path / "execs.toml"
    target.write_text("version = 1\n")
    target.chmod(0o640)
    link.symlink_to(target)
    rewrite(parse_baseline("version = 1\n", link), {"tests": {A: Seen({"git": 1})}}, {})
    assert link.is_symlink()
    assert "git = 1" in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["execs.toml", "real.toml"]


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    rewrite(Baseline(tmp_path / "null"), {"tests": {A: Seen({"git": 1})}}, {})
    assert Path("/dev/null").is_char_device()
    assert os.listdir(tmp_path) == ["null"]


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    rewrite(Baseline(tmp_path / "a" / "execs.toml"), {"tests": {A: Seen({"git": 1})}}, {})
    (tmp_path / "other").touch()
    assert (tmp_path / "a" / "execs.toml").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "execs.toml"
    path.write_text("version = 1\n")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(originals, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        rewrite(parse_baseline("version = 1\n", path), {"tests": {A: Seen({"git": 1})}}, {})
    monkeypatch.undo()
    assert path.read_text() == "version = 1\n"
    assert os.listdir(tmp_path) == ["execs.toml"]


def test_two_updates_at_a_time_keep_the_rows_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins when the first has read the file, and gets as far as it can before the first writes it."""
    path = tmp_path / "execs.toml"
    path.write_text("version = 1\n")
    second = threading.Thread(target=lambda: rewrite(read_baseline(path), {"tests": {B: Seen({"ls": 1})}}, {}))
    at_rest = threading.Event()  # it waits for the first, or is done

    def lock(*args: Any) -> None:
        if threading.current_thread() is second:
            at_rest.set()
        fcntl.flock(*args)

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not second:
            second.start()
            assert at_rest.wait(60)
        return updated(*args, **kwargs)

    def write(*args: Any) -> None:
        write_atomically(*args)
        at_rest.set()

    monkeypatch.setattr(originals, "flock", lock, raising=False)
    monkeypatch.setattr("pytest_execprobe.baseline.update.updated", meanwhile)
    monkeypatch.setattr("pytest_execprobe.baseline.update.write_atomically", write)
    rewrite(read_baseline(path), {"tests": {A: Seen({"git": 1})}}, {})
    second.join(60)
    assert {A, B} <= set(read_baseline(path).sections["tests"])
    assert os.listdir(tmp_path) == ["execs.toml"]


def test_an_update_that_could_not_wait_for_another_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the other takes longer than a lock is waited for, or there are no locks."""
    path = tmp_path / "execs.toml"
    path.write_text("version = 1\n")
    others = [{A: Seen({"git": 1})}]

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        if others:
            rewrite(read_baseline(path), {"tests": others.pop()}, {})
        return updated(*args, **kwargs)

    monkeypatch.setattr(originals, "flock", fail)
    monkeypatch.setattr("pytest_execprobe.baseline.update.updated", meanwhile)
    rewrite(read_baseline(path), {"tests": {B: Seen({"ls": 1})}}, {})
    assert {A, B} == set(read_baseline(path).sections["tests"])


def test_a_folder_that_cannot_be_locked_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems that have no locks."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(originals, "flock", fail)
    rewrite(Baseline(tmp_path / "execs.toml"), {"tests": {A: Seen({"git": 1})}}, {})
    assert A in read_baseline(tmp_path / "execs.toml").sections["tests"]


# ---- whatever ran, what is written allows it ----

_ODD = ["git", "[", "*", "a?", "a b", "x:y", "re:a", "subtree:git", "argv:git", "é", 'q"q', "\\", "?", "tab\tx"]
_NAMES = st.one_of(st.sampled_from(_ODD), st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1))
_RUNS = st.dictionaries(st.text(min_size=1), st.lists(_NAMES, min_size=1, max_size=4), min_size=1, max_size=4)


@given(_RUNS, _RUNS)
def test_after_an_update_the_same_run_is_within(first: dict[str, list[str]], second: dict[str, list[str]]) -> None:
    text: str | None = None
    baseline = Baseline(PATH)
    for run in (first, second):
        logs = {name: evidence(*(record(p, path=f"/bin/{p}", executable=None) for p in ps)) for name, ps in run.items()}
        seen = {name: Seen(baseline.usage(log, baseline.rows("tests", name)).counts) for name, log in logs.items()}
        text, _ = updated(text, baseline, {"tests": seen}, {})
        baseline = parse_baseline(text, PATH)
        for name, log in logs.items():
            assert baseline.beyond(baseline.rows("tests", name), log) == []
