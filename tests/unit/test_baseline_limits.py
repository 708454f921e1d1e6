"""What a baseline allows, row by row, and what is beyond it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fakes import evidence, record
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_execprobe.baseline.model import Baseline, Excess, Rows, covers, row_key, table_name
from pytest_execprobe.baseline.read import parse_baseline
from pytest_execprobe.timeline.evidence import Evidence
from pytest_execprobe.timeline.record import ExecRecord

TEST = "tests/test_it.py::test_a"


def baseline(text: str) -> Baseline:
    return parse_baseline(f"version = 1\n{text}", Path("execs.toml"))


def rows(text: str, name: str = TEST) -> tuple[Baseline, Rows]:
    read = baseline(text)
    return read, read.rows("tests", name)


def beyond(text: str, ran: Evidence, name: str = TEST) -> list[tuple[str | None, int, int | None, bool | None]]:
    read, of_test = rows(text, name)
    return [facts(excess) for excess in read.beyond(of_test, ran)]


def facts(excess: Excess) -> tuple[str | None, int, int | None, bool | None]:
    return excess.key, excess.ran, excess.limit, excess.holds


GIT = f'[tests."{TEST}"]\ngit = 2\n'


# ---- rows ----


T = f'[tests."{TEST}"]\n'
ALIAS = f'[aliases]\n"python3.*" = "python"\n{T}python = '
TOP = record("make")
LINK = record("tool", executable="/opt/evil")
PUSH, CUT = record("git", "push"), record("git", "push", truncated=True)


@pytest.mark.parametrize(
    ("text", "ran", "found"),
    [
        (GIT, ["git", "git"], []),
        (GIT, [], []),
        (f"{T}curl = 0\n", ["curl"], [("curl", 1, 0, False)]),
        (f'{T}git = "any"\n', ["git"] * 9, []),
        *((f"{T}git = [1, 3]\n", ["git"] * times, []) for times in (0, 1, 3)),
        (f"{T}git = [1, 3]\n", ["git"] * 4, [("git", 4, 3, False)]),
        (f"{ALIAS}1\n", ["python3.13"], []),
        (f"{ALIAS}1\n", ["python3.13", "python3.9"], [("python", 2, 1, False)]),
        (f"{ALIAS}1\n", ["python3"], [("python3", 1, None, False)]),
        ('everywhere = ["uname", "subtree:make"]\n[tests]\n', ["uname", TOP, record("cc", parent=TOP)], []),
        ('everywhere = ["uname", "subtree:make"]\n[tests]\n', ["cc"], [("cc", 1, None, False)]),
        # A path that may run is that of the resolved executable.
        (
            'everywhere = ["/usr/bin/*"]\n[tests]\n',
            [LINK],
            [("tool", 1, None, False)],
        ),
        # A pattern has a row of its own, and the first that matches counts.
        (f'{T}"argv:git push" = 1\ngit = 1\n', [PUSH, record("git", "fetch")], []),
        (f'{T}"argv:git push" = 1\ngit = 1\n', [PUSH, PUSH, "git"], [("argv:git push", 2, 1, False)]),
        (f'{T}"argv:git push" = 1\n"g*" = 1\n', [PUSH, "gpg"], []),
        (f'{T}"argv:git push" = 1\n"g*" = 1\n', [PUSH, "gpg", "git"], [("g*", 2, 1, False)]),
        (f'patterns = ["subtree:make"]\n{T}"subtree:make" = 1\n', [TOP, record("sh", parent=TOP)], []),
        (f'patterns = ["subtree:make"]\n{T}"subtree:make" = 1\n', ["sh"], [("sh", 1, None, False)]),
        # Rows of zero forbid by every name.
        (f'everywhere = ["*"]\n{ALIAS}0\n', ["python3.13"], [("python", 1, 0, False)]),
        (
            f'everywhere = ["*"]\n{T}"/opt/evil" = 0\n',
            [LINK],
            [("/opt/evil", 1, 0, False)],
        ),
        # What is not known is undecided.
        (f'{T}"subtree:git" = 1\n', [record("sh", lineage_lost=True)], [("sh", 1, None, None)]),
        (f'{T}"argv:git push now" = 1\n', [CUT], [("git", 1, None, None)]),
        (f'everywhere = ["git"]\n{T}"argv:git push now" = 0\n', [CUT], [("argv:git push now", 1, 0, None)]),
        (f'everywhere = ["git"]\n{T}"argv:git push now" = 0\n', [record("git", "fetch", truncated=True)], []),
        (GIT, [record(None)], [("?", 1, None, None)]),
    ],
)
def test_what_is_beyond_the_rows_of_a_test(text: str, ran: list[str | ExecRecord], found: list[object]) -> None:
    assert beyond(text, evidence(*(record(one) if isinstance(one, str) else one for one in ran))) == found


def test_lost_execs_are_undecided_and_certain_ones_are_not() -> None:
    assert beyond(GIT, evidence(record("git"), lost=1)) == [(None, 1, None, None)]
    assert beyond(GIT, evidence(record("curl"), lost=1)) == [("curl", 1, None, False)]
    assert beyond(GIT, evidence(unknown="why")) == [(None, 0, None, None)]


def test_a_test_without_a_table_may_run_nothing() -> None:
    assert beyond(GIT, evidence(record("git")), "tests/test_it.py::test_b") == [("git", 1, None, False)]


def test_grew() -> None:
    third = record("git")
    read, of_test = rows(GIT)
    (excess,) = read.beyond(of_test, evidence(record("git"), record("git"), third))
    assert facts(excess) == ("git", 3, 2, False)
    assert excess.marked == (third,)
    assert excess.what == "grew: git ran 3 times, at most 2 times in the baseline"


def test_new() -> None:
    curl = record("curl")
    read, of_test = rows(GIT)
    (excess,) = read.beyond(of_test, evidence(record("git"), curl))
    assert facts(excess) == ("curl", 1, None, False)
    assert excess.marked == (curl,)
    assert excess.what == "new: curl ran once"


@pytest.mark.parametrize("text", [f'[tests."{TEST}"]\n"bin/tool" = 0\n', '[total]\nprograms = {"bin/tool" = 0}\n'])
def test_a_relative_path_is_taken_from_where_the_file_is(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not from where a test has gone, where the same path can even be a folder."""
    (tmp_path / "elsewhere" / "bin" / "tool").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    read = parse_baseline(f"version = 1\n{text}", Path("execs.toml"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    ran = evidence(record("tool", path=f"{tmp_path}/bin/tool", cwd="/srv"))
    limits = [*(read.beyond(read.rows("tests", TEST), ran) if read.has("tests") else ())]
    limits += [excess for sums in read.sums for excess in read.beyond_sums(sums, ran)]
    assert [facts(excess) for excess in limits] == [("bin/tool", 1, 0, False)]


# ---- patterns ----


def test_of_a_subtree_the_top_counts() -> None:
    text = f'[tests."{TEST}"]\n"subtree:git" = 1\n'
    top = record("git", "fetch")
    helper = record("git-remote-https", parent=top)
    again = record("git", "gc", parent=helper)
    exec_again = record("git", previous=top, parent=None)
    assert beyond(text, evidence(top, helper, again, exec_again)) == []
    assert beyond(text, evidence(top, helper, record("git"))) == [("subtree:git", 2, 1, False)]


def test_below_what_only_goes_by_the_name_of_a_subtree_an_exec_counts_for_itself() -> None:
    """As everywhere where something is allowed: a path that leads to another executable is no git."""
    text = f'[tests."{TEST}"]\nimpostor = 1\n"subtree:/usr/bin/git" = 1\n'
    impostor = record("impostor", path="/usr/bin/git", executable="/opt/impostor")
    gits = [record("git", path="/usr/bin/git", executable="/usr/bin/git", parent=impostor) for _ in range(2)]
    assert beyond(text, evidence(impostor, *gits)) == [("subtree:/usr/bin/git", 2, 1, False)]


@pytest.mark.parametrize("program", ["foo bar", "a:b", "it's", "x,y", "'q'"])
def test_odd_names_have_rows_that_can_be_read(program: str) -> None:
    key = row_key(program)
    read = baseline(f'[tests."{TEST}"]\n{_quoted(key)} = 1\n')
    of_test = read.rows("tests", TEST)
    assert read.beyond(of_test, evidence(record(program))) == []
    assert [facts(e) for e in read.beyond(of_test, evidence(record(program), record(program)))] == [(key, 2, 1, False)]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    st.lists(
        st.text(alphabet="\\nxd0a\n\r\x1b\x00\udcd0 ", min_size=1, max_size=4), min_size=2, max_size=2, unique=True
    )
)
@example(["a\n", "a\\n"])
def test_no_two_names_have_one_row(programs: list[str]) -> None:
    """Whatever control characters are written with."""
    one, other = (baseline(T).usage(evidence(record(program)), rows(T)[1]).counts for program in programs)
    assert one.keys().isdisjoint(other)


# ---- rows that forbid ----


@pytest.mark.parametrize(
    ("before", "more"),
    [
        ("", '"subtree:make" = 1\n'),
        ("", '"g*" = 5\n'),
        ("", '"/usr/bin/*" = 5\n'),
        ("", '"re:push" = 5\n'),
        ('everywhere = ["git"]\n', ""),
        ('everywhere = ["subtree:make"]\n', ""),
        ('patterns = ["g*", "subtree:make"]\n', '"subtree:make" = 1\n'),
        ('[aliases]\n"g*" = "tool"\n', "tool = 5\n"),
    ],
)
@pytest.mark.parametrize("key", ["git", "gi?", "argv:git push", "/usr/bin/git", "subtree:git"])
def test_a_row_of_zero_forbids_whatever_else_may_run(before: str, more: str, key: str) -> None:
    """Else another row, or what may run anywhere, would have the exec, and the zero would never be looked at."""
    text = f'{before}[tests."{TEST}"]\n{more}"{key}" = 0\nmake = "any"\n'
    make = record("make")
    assert beyond(text, evidence(make)) == []
    git = record("git", "push", parent=make, path="/usr/bin/git", executable="/usr/bin/git")
    read, of_test = rows(text)
    (excess,) = read.beyond(of_test, evidence(make, git))
    assert (facts(excess), excess.marked) == ((key, 1, 0, False), (git,))


def test_in_a_collection_pythons_own_question_can_be_forbidden() -> None:
    read = baseline('[around.collection]\n"argv:uname -p" = 0\n')
    found = read.beyond(read.rows("around", "collection"), evidence(record("uname", "-p")))
    assert [facts(excess) for excess in found] == [("argv:uname -p", 1, 0, False)]


@pytest.mark.parametrize(
    ("everywhere", "rows"),
    [
        ('["git"]', "git = 0"),
        # Where one is raised, another has it.
        ("[]", '"g*" = 1\ngit = 0'),
        ("[]", '"/usr/bin/git" = 0\n"subtree:git" = 0\ngit = 0'),
        ("[]", '"g*" = 0\ngit = 0\n"argv:git" = [0, 1]'),
    ],
)
def test_what_is_accepted_is_within(tmp_path: Path, everywhere: str, rows: str) -> None:
    """The command that a breach offers ends it."""
    pytest.importorskip("tomlkit")
    from pytest_execprobe.baseline.changes import Seen
    from pytest_execprobe.baseline.update import updated

    text = f'version = 1\neverywhere = {everywhere}\n[tests."{TEST}"]\n{rows}\n'
    read = parse_baseline(text, tmp_path)
    ran = evidence(*(record("git", path="/usr/bin/git", executable="/usr/bin/git") for _ in range(2)))
    assert read.beyond(read.rows("tests", TEST), ran)
    usage = read.accepted(ran, read.rows("tests", TEST))
    written, _ = updated(text, read, {"tests": {TEST: Seen(usage.counts)}}, {})
    read = parse_baseline(written, tmp_path)
    assert read.beyond(read.rows("tests", TEST), ran) == []


@pytest.mark.parametrize(("limit", "left"), [(3, 1), (1, 1)])
def test_a_subtree_of_which_the_top_runs_elsewhere_keeps_its_row(tmp_path: Path, limit: int, left: int) -> None:
    """A server that a wider fixture has started: what it runs for a test has the test's row, and does not count."""
    pytest.importorskip("tomlkit")
    from pytest_execprobe.baseline.changes import Seen
    from pytest_execprobe.baseline.update import updated

    text = f'version = 1\n[tests."{TEST}"]\n"subtree:server" = {limit}\nls = 1\n'
    read = parse_baseline(text, tmp_path)
    ran = evidence(record("git", parent=record("server")))
    usage = read.usage(ran, read.rows("tests", TEST))
    assert usage.counts == {"subtree:server": 0}
    written, changes = updated(text, read, {"tests": {TEST: Seen(usage.counts)}}, {})
    assert (f'"subtree:server" = {left}\n' in written, changes.gone) == (True, [(TEST, "ls")])
    read = parse_baseline(written, tmp_path)
    assert read.beyond(read.rows("tests", TEST), ran) == []


# ---- names of tests ----


def test_a_table_for_all_parameters() -> None:
    text = '[tests."tests/test_it.py::test_many[*]"]\nls = 1\n[tests."tests/test_it.py::test_many[b]"]\nls = 2\n'
    one, two = evidence(record("ls")), evidence(record("ls"), record("ls"))
    assert beyond(text, one, "tests/test_it.py::test_many[a]") == []
    assert beyond(text, two, "tests/test_it.py::test_many[a]") == [("ls", 2, 1, False)]
    assert beyond(text, two, "tests/test_it.py::test_many[b]") == []
    assert beyond(text, one, "tests/test_it.py::test_many") == [("ls", 1, None, False)]


@pytest.mark.parametrize("order", [0, 1])
def test_the_longest_table_with_a_star_speaks(order: int) -> None:
    tables = ['[tests."a::*"]\nls = 1\n', '[tests."a::test_*"]\nls = 2\n']
    assert beyond("".join(tables[:: 1 - 2 * order]), evidence(record("ls"), record("ls")), "a::test_x") == []


@given(st.text("ab[]?", max_size=6), st.text("ab[]?", max_size=6), st.text("ab[]?", max_size=6))
def test_a_star_covers_anything_and_nothing_else_is_special(one: str, two: str, three: str) -> None:
    assert covers(f"{one}*{two}", one + three + two)
    assert covers(one, two) == (one == two)
    assert not covers(f"{one}*{two}", one[:-1]) or not one or one[:-1].startswith(one)


@given(st.lists(st.sampled_from(["a", "b", "*"]), max_size=6), st.text("ab", max_size=6))
def test_stars_as_regular_expressions_have_them(parts: list[str], name: str) -> None:
    import re

    key = "".join(parts)
    assert covers(key, name) == bool(re.fullmatch(key.replace("*", ".*"), name))


def test_a_star_in_a_tests_name_is_one() -> None:
    name = "test_it.py::test_glob[*]"
    assert table_name(name) == table_name(table_name(name)) == r"test_it.py::test_glob[\*]"
    text = "[tests.'" + table_name(name) + "']\nls = 1\n"
    assert beyond(text, evidence(record("ls")), name) == []
    assert beyond(text, evidence(record("ls")), "test_it.py::test_glob[a]") == [("ls", 1, None, False)]
    wide = '[tests."test_it.py::test_glob[*]"]\nls = 1\n'
    assert beyond(wide, evidence(record("ls")), name) == []


# ---- what runs around tests ----


def test_pythons_own_question_needs_no_row_in_a_collection() -> None:
    read = baseline("[around]\n")
    ran = evidence(record("uname", "-p"))
    assert read.beyond(read.rows("around", "collection"), ran) == []
    assert read.beyond(read.rows("around", "collection"), evidence(record("uname", "-a"))) != []
    assert read.beyond(read.rows("tests", TEST), ran) != []


# ---- sums ----


def sums(text: str, ran: Evidence) -> list[tuple[str | None, int, int | None, bool | None]]:
    read = baseline(text)
    return [facts(excess) for excess in read.beyond_sums(read.sums[0], ran)]


def test_sums() -> None:
    text = "[total]\nat_most = 2\nprograms = { curl = 0, git = 1 }\n"
    assert sums(text, evidence(record("git"), record("sh"))) == []
    assert sums(text, evidence(record("git"), record("git"), record("curl"))) == [
        (None, 3, 2, False),
        ("curl", 1, 0, False),
        ("git", 2, 1, False),
    ]


def test_sums_of_incomplete_runs() -> None:
    text = "[total]\nat_most = 2\nprograms = { curl = 0, git = 5 }\n"
    assert sums(text, evidence(record("git"), lost=1)) == [("curl", 0, 0, None)]
    assert sums(text, evidence(record("git"), lost=2)) == [(None, 3, 2, False), ("curl", 0, 0, None)]
    assert [excess[3] for excess in sums(text, evidence(unknown="why"))] == [None, None, None]


# ---- all together, against a plain model ----

_PROGRAMS = ["a", "b", "c"]


@given(
    st.dictionaries(st.sampled_from(_PROGRAMS), st.integers(0, 3)),
    st.lists(st.sampled_from(_PROGRAMS), max_size=8),
    st.integers(0, 2),
)
def test_names_against_a_model(limits: dict[str, int], ran: list[str], lost: int) -> None:
    text = f'[tests."{TEST}"]\n' + "".join(f"{name} = {n}\n" for name, n in limits.items())
    found = beyond(text, evidence(*map(record, ran), lost=lost))
    over = {name: n for name, n in Counter(ran).items() if n > limits.get(name, 0)}
    assert {key: n for key, n, _, holds in found if holds is False} == over
    assert any(holds is None for *_, holds in found) == (lost > 0 and not over)


def test_limit_of_a_sum_for_unread_names_speaks_of_no_program_with_a_name_of_one_letter() -> None:
    read = baseline('[total.programs]\n"?" = 0\n')
    assert read.beyond_sums(read.sums[0], evidence(record("[", "x"), record("w"))) == []
    unread = record(None, executable=None, argv=None)
    assert [facts(excess) for excess in read.beyond_sums(read.sums[0], evidence(unread))] == [("?", 1, 0, False)]
