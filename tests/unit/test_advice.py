"""What to write so that what has run is right, in the form of the place where the rule stands."""

from __future__ import annotations

import pytest
from fakes import log_of, record

from pytest_execprobe.log.additions import additions, as_text
from pytest_execprobe.log.pattern import Side
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.rules.advice import Change, Place, Stands, to_paste, union
from pytest_execprobe.rules.configured import listed_in, section_of, single_in


def change(stands: Stands, where: str, setting: str = "execprobe_allow", **kwargs: object) -> Change:
    marker = "exec_budget" if "budget" in setting else "exec_allow"
    return Change(Place(stands, where, setting), marker, **kwargs)  # type: ignore[arg-type]


# ---- what is lacking ----


def test_programs_once_each() -> None:
    found = additions([record("ls"), record("date"), record("ls", "-l")])
    assert (found.programs, found.subtree) == (("ls", "date"), "")


def test_one_above_them_explains_the_rest() -> None:
    lsb = record("lsb_release", "-a")
    found = additions([lsb, record("cut", parent=lsb), record("tr", parent=lsb)])
    assert (found.subtree, found.is_narrow) == ("subtree:lsb_release", True)


def test_one_above_them_need_not_lack_itself() -> None:
    git = record("git", "commit")
    sh = record("sh", "hook", parent=git)
    assert additions([sh, record("less", parent=git)]).subtree == "subtree:git"


def test_what_runs_nothing_but_its_own_comes_first() -> None:
    git = record("git", "commit")
    sh = record("sh", "hook", parent=git)
    found = additions([sh, record("less", parent=sh), record("cat", parent=sh)])
    assert (found.subtree, found.is_narrow) == ("subtree:git", True)


@pytest.mark.parametrize(
    "program", ["sh", "perl5.36", "node", "unshare", "flock", "mawk", "xvfb-run", "npx", "ssh", "uv"]
)
def test_what_runs_anything_is_no_narrow_pattern(program: str) -> None:
    top = record(program, "ls; date")
    found = additions([top, record("ls", parent=top), record("date", parent=top)])
    assert (found.subtree, found.is_narrow) == (f"subtree:{program}", False)


@pytest.mark.parametrize("besides", [[], [record("date")]])
def test_no_subtree_where_it_explains_too_little(besides: list[object]) -> None:
    """One program alone is as short by its name, and one that is not below it would not be allowed."""
    lsb = record("lsb_release", "-a")
    children = [record("cut", parent=lsb)] if not besides else [record("cut", parent=lsb), record("tr", parent=lsb)]
    assert additions([lsb, *children, *besides]).subtree == ""  # type: ignore[list-item]


@pytest.mark.parametrize(
    "program",
    [
        "git",
        "my tool",
        "[",
        "a'b",
        "#a",
        ";a",
        "a,b",
        "re:x",
        "~a",
        "{a,b}",
        "a\x1b",
        "a\udcff",
        "x\x7f",
        "*",
        "?x",
        "g*",
        "#\x1b",
        "re:\x1b",
        "[*]",
    ],
)
def test_a_name_as_text_is_a_pattern_of_it(program: str) -> None:
    text = as_text(program)
    assert text.isprintable()
    assert compile_pattern(text, of_file=True).match(record(program), Side.ALLOW) is True
    assert text[0] not in "#;["  # what else those begin in a file
    for other in ("other-name", "git-lfs", "zx"):
        assert compile_pattern(text, of_file=True).match(record(other), Side.ALLOW) is False


# ---- a line ----


@pytest.mark.parametrize(
    ("place", "kwargs", "line"),
    [
        ("file setup.cfg", {"adds": ("svnadmin",)}, "add to execprobe_allow in setup.cfg: svnadmin"),
        ("file a.toml", {"adds": ("a", "b")}, 'add to execprobe_allow in a.toml: "a", "b"'),
        ("file tox.ini", {"adds": ("c",), "instead": ("a", "b")}, "add to execprobe_allow in tox.ini: c (or a, b)"),
        ("option -", {"has": ("git",), "adds": ("ls", "a b")}, "--execprobe-allow=ls '--execprobe-allow=a b'"),
        ("option -", {"adds": ("ls",)}, "instead of an empty one --execprobe-allow=ls"),
        ("function on test_a", {"has": ("git",), "adds": ("ls",)}, "@pytest.mark.exec_allow('git', 'ls') on test_a"),
        ("class on A", {"adds": ("ls",), "rest": "direct=True"}, "@pytest.mark.exec_allow('ls', direct=True) on A"),
        ("module on the module", {"adds": ("ls",)}, "pytestmark = pytest.mark.exec_allow('ls') on the module"),
        ("parameter on test_a", {"adds": (["a b"],)}, "marks=pytest.mark.exec_allow(['a b']) on test_a"),
        ("added added to A", {"adds": ("a",)}, "pytest.mark.exec_allow('a') added to A"),
    ],
)
def test_line(place: str, kwargs: dict[str, object], line: str) -> None:
    stands, _, where = place.partition(" ")
    setting = "--execprobe-allow" if stands == "option" else "execprobe_allow"
    assert change(stands, where, setting, **kwargs).line == line  # type: ignore[arg-type]


def test_line_of_a_budget() -> None:
    assert change("file", "tox.ini", "execprobe_budget", has=(4,)).line == "execprobe_budget = 4 in tox.ini"
    assert change("option", "", "--execprobe-budget", has=(4,)).line == "--execprobe-budget=4"


# ---- the block at the end ----


def test_a_change_travels() -> None:
    one = change("module", "on the module, t.py:3", has=("a", ["b c"]), adds=("d",), per_program={"git": 2})
    assert Change.load(one.export()) == one


def test_union_of_what_was_not_allowed() -> None:
    some = [
        change("file", "setup.cfg", adds=("ls",)),
        change("function", "on test_a, t.py:3", has=("git",), adds=("ls",)),
        change("file", "setup.cfg", adds=("date", "ls")),
        change("file", "setup.cfg", "execprobe_budget", has=(3,)),
        change("file", "setup.cfg", "execprobe_budget", has=(7,)),
        change("file", "setup.cfg", "execprobe_budget", has=(5,)),
    ]
    assert to_paste([one.export() for one in some], None) == [
        "to allow it     add to execprobe_allow in setup.cfg:",
        "    ls",
        "    date",
        "to allow it     in setup.cfg:",
        "execprobe_budget = 7",
        "to allow it     on test_a, t.py:3:",
        "@pytest.mark.exec_allow('git', 'ls')",
    ]


def test_union_of_programs_whose_names_take_a_list() -> None:
    some = [
        change("class", "on A, t.py:3", adds=(["my tool"], "ls")),
        change("class", "on A, t.py:3", adds=(["my tool"],)),
    ]
    assert to_paste([one.export() for one in some], None)[-1] == "@pytest.mark.exec_allow(['my tool'], 'ls')"


def test_union_of_budgets_by_program() -> None:
    budgets = [
        change("function", "", "exec_budget", per_program=each) for each in ({"git": 2, "sh": 1}, {"git": 1, "sh": 4})
    ]
    assert [one.per_program for one in union(budgets)] == [{"git": 2, "sh": 4}]


def test_rules_in_one_line_stay_apart() -> None:
    """Together they would say less, or for more phases."""
    some = [
        change("module", "", "exec_budget", has=(2,)),
        change("module", "", "exec_budget", per_program={"git": 2}),
        change("module", "", "exec_budget", has=(3,), rest="direct=True"),
        change("module", "", "exec_allow", has=("a",), adds=("c",)),
        change("module", "", "exec_allow", has=("b",), adds=("d",)),
        change("module", "", "exec_allow", has=("a",), adds=("e",), rest="phases=('setup',)"),
    ]
    assert [*union(map(Change.load, [one.export() for one in some]))] == some


def test_many_markers_are_not_all_shown() -> None:
    some = [change("function", f"on test_{n}, t.py:{n}", adds=("ls",)).export() for n in range(12)]
    lines = to_paste(some, 10)
    assert (len(lines), lines[-1]) == (21, "                … 2 more (all with -vv)")


# ---- files ----


def test_settings_in_files() -> None:
    some = [("git", "12 tests"), ('a"b', "")]
    assert listed_in("tox.ini", "execprobe_allow", some) == [
        "execprobe_allow =",
        "    # 12 tests",
        "    git",
        '    a"b',
    ]
    assert listed_in("a.toml", "execprobe_allow", some) == [
        *("execprobe_allow = [", '    "git",  # 12 tests', r'    "a\"b",', "]")
    ]
    assert single_in("a.toml", "execprobe_budget", 4, "why") == ['execprobe_budget = "4"  # why']
    assert single_in("tox.ini", "execprobe_budget", 4, "why") == ["# why", "execprobe_budget = 4"]


@pytest.mark.parametrize(
    ("file", "text", "section"),
    [
        ("pytest.ini", "", "[pytest]"),
        ("setup.cfg", "", "[tool:pytest]"),
        ("pyproject.toml", "", "[tool.pytest.ini_options]"),
        ("pyproject.toml", "[tool.pytest]\naddopts = []\n", "[tool.pytest]"),
        ("pytest.toml", "", "[pytest]"),
    ],
)
def test_sections(file: str, text: str, section: str) -> None:
    assert section_of(file, text) == section


def test_a_log_says_nothing_of_it() -> None:
    """What an assertion names stands in the test itself."""
    with pytest.raises(AssertionError) as caught:
        log_of(record("ls")).assert_only_ran("git")
    assert "if this is right" not in str(caught.value)


def test_ten_patterns_in_one_line() -> None:
    names = [f"program-{n}" for n in range(10)]
    with pytest.raises(AssertionError, match=r"^only program-0, program-1, program-2 and 7 more may run"):
        log_of(record("ls")).assert_only_ran(*names)
