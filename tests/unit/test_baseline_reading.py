"""What is read from a baseline, and what is said of each mistake in one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execprobe.baseline.read import BaselineError, parse_baseline, read_baseline

PATH = Path("execs.toml")


def test_nothing_is_limited_one_by_one_without_the_sections() -> None:
    read = parse_baseline("version = 1\n[total]\nat_most = 3\n", PATH)
    assert not read.has("tests")
    assert parse_baseline("version = 1\n[tests]\n", PATH).has("tests")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "execs.toml: version must be 1, and is None"),
        ("version = true", "execs.toml: version must be 1, and is True"),
        ("version = 2", "execs.toml is of version 2, and this pytest-execprobe knows up to 1: use a newer one"),
        ("version = 1\n<<<<<<< HEAD\n", "execs.toml is damaged, and is left as it is: "),
        ("version = 1\n[test]\n", "execs.toml: test is unknown: there are version, aliases, "),
        ("version = 1\ntests = 3\n", "execs.toml: tests must be a table, and is 3"),
        ("version = 1\n[tests]\na = 3\n", 'tests."a" must be a table of programs and numbers, and is 3'),
        ("version = 1\n[tests.a]\ngit = -1\n", 'tests."a".git must be a number, a range [1, 3] or "any", and is -1'),
        ("version = 1\n[tests.a]\ngit = true\n", 'tests."a".git must be a number'),
        ("version = 1\n[tests.a]\ngit = [3, 1]\n", 'tests."a".git must be a number'),
        ('version = 1\n[tests.a]\ngit = "many"\n', 'tests."a".git must be a number'),
        ('version = 1\n[tests.a]\n"subtre:git" = 1\n', 'tests."a" has a wrong pattern: '),
        ('version = 1\neverywhere = "git"\n', "everywhere must be a list of patterns, and is 'git'"),
        ('version = 1\neverywhere = ["re:("]\n', "everywhere has a wrong pattern: "),
        ('version = 1\n[aliases]\n"python3*" = 3\n', "aliases.python3* must be the name that its rows have, and is 3"),
        ("version = 1\n[total]\n", "total has at_most, programs, or both, and nothing else"),
        ("version = 1\n[around.colection]\n", 'around."colection" is unknown: there are '),
        ('version = 1\n[packages."./a"]\nat_most = 1\n', 'packages."./a" must be written as node ids are: a'),
        ('version = 1\n[packages."a//b"]\nat_most = 1\n', 'packages."a//b" must be written as node ids are: a/b'),
        ('version = 1\n[packages."a/./b"]\nat_most = 1\n', 'packages."a/./b" must be written as node ids are: a/b'),
        ('version = 1\n[packages."a/../b::C"]\nat_most = 1\n', "must be written as node ids are: b::C"),
        ('version = 1\n[packages."a/::C"]\nat_most = 1\n', "must be written as node ids are: a::C"),
        ('version = 1\n[packages."a::"]\nat_most = 1\n', 'packages."a::" must be a folder or file, as node ids begin'),
        ('version = 1\n[packages."a.py::B::"]\nat_most = 1\n', 'packages."a.py::B::" must be a folder or file'),
        ('version = 1\n[packages."a.py::::b[x]"]\nat_most = 1\n', "must be a folder or file, as node ids begin"),
        ('version = 1\n[packages."../a"]\nat_most = 1\n', "must be a folder or file, as node ids begin"),
        ('version = 1\n[packages."/a"]\nat_most = 1\n', "must be a folder or file, as node ids begin"),
        ('version = 1\n[packages."."]\nat_most = 1\n', "must be a folder or file, as node ids begin"),
        ("version = 1\n[total]\nprograms = {}\n", "total.programs is empty, so that it limits nothing"),
        ("version = 1\n[packages.a]\nprograms = {}\n", 'packages."a".programs is empty, so that it limits nothing'),
        (
            'version = 1\n[total.programs]\ngit = "any"\n',
            "total.programs.git limits nothing: what is not named here has no limit",
        ),
        (
            'version = 1\n[total]\nat_most = 3\nprograms = { curl = 0, git = "any" }\n',
            "total.programs.git limits nothing: what is not named here has no limit",
        ),
        ('version = 1\n[total]\nat_most = "any"\n', "total.at_most must be a whole number from 0 on"),
        ('version = 1\n[packages.""]\nat_most = 1\n', 'packages."" must be a folder or file, as node ids begin'),
        (f"version = {'9' * 5000}", "execs.toml is damaged"),
        (f"version = {'[' * 5000}", "execs.toml is damaged"),
        ("version = 1\n[total]\nat_most = 1.5\n", "total.at_most must be a whole number from 0 on, and is 1.5"),
        ("version = 1\n[packages.a]\nmost = 1\n", 'packages."a" has at_most, programs, or both, and nothing else'),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(BaselineError) as caught:
        parse_baseline(text, PATH)
    assert message in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"there is no .*: a run with --execprobe-update makes it"):
        read_baseline(tmp_path / "execs.toml")


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "execs.toml").write_bytes(b"version = 1\n# \xff\n")
    with pytest.raises(BaselineError, match="can't be read"):
        read_baseline(tmp_path / "execs.toml")


_VALUES = st.recursive(
    st.one_of(st.integers(-2, 3).map(str), st.sampled_from(["true", "1.5", '"any"', '"git"', '"re:("', "[1, 2]"])),
    lambda inner: st.dictionaries(st.sampled_from(["at_most", "programs", "a", "git"]), inner, max_size=3).map(
        lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
    ),
    max_leaves=5,
)
_KEYS = st.sampled_from(["aliases", "everywhere", "patterns", "total", "packages", "tests", "fixtures", "around"])


@given(st.dictionaries(_KEYS, _VALUES))
def test_whatever_is_written_is_read_or_told_of(tables: dict[str, str]) -> None:
    text = "version = 1\n" + "".join(f"{key} = {value}\n" for key, value in tables.items())
    with contextlib.suppress(BaselineError):
        parse_baseline(text, PATH)
