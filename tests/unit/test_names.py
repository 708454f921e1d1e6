"""Names of tests that fit any machine, and tables that earlier versions named otherwise."""

from __future__ import annotations

import os
import resource
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execprobe._util.names import Folders, has_no_place, may_have_more, place_of, renamed

FOLDERS = Folders(home="/root", temporary="/tmp")
A, B = Folders(home="/app", temporary="/tmp"), Folders(home="/home/me", temporary="/var/tmp")


def in_parameters(parameters: str, folders: Folders = FOLDERS) -> str:
    name = folders.portable(f"test_it.py::test_a[{parameters}]")
    assert name.startswith("test_it.py::test_a[")
    assert name.endswith("]")
    return name[len("test_it.py::test_a[") : -1]


# ---- where a folder is replaced ----


@pytest.mark.parametrize(
    ("parameters", "portable"),
    [
        ("/tmp/a", "$TMPDIR/a"),
        ("/tmp", "$TMPDIR"),
        ("/tmp/", "$TMPDIR/"),
        ("/root/.config", "~/.config"),
        ("1-/root/x-y", "1-~/x-y"),
        ("/tmp/a-/root/b", "$TMPDIR/a-~/b"),
        ("PATH=/root/bin:/tmp/bin", "PATH=~/bin:$TMPDIR/bin"),
        ("file:///tmp/a", "file://$TMPDIR/a"),
        ("[/tmp/a], (/root)", "[$TMPDIR/a], (~)"),
        ("x::/tmp/a", "x::$TMPDIR/a"),
    ],
)
def test_a_path_that_begins_with_a_folder_has_its_sign(parameters: str, portable: str) -> None:
    assert in_parameters(parameters) == portable


@pytest.mark.parametrize(
    "parameters", ["/rooted", "/rooted/x", "/tmpfiles/x", "/tmp-x/a", "/root.bak", "/var/tmp/x", "a/root/x", "./tmp/x"]
)
def test_a_folder_of_another_name_has_none(parameters: str) -> None:
    assert in_parameters(parameters) == parameters


@pytest.mark.parametrize(
    "name",
    [
        "src/app/test_a.py::test_a",
        "src/app/test_a.py::test_a[x]",
        "tests/tmp/test_a.py::TestA::test_b",
        "/tmp/tests/test_a.py::test_a",  # outside of pytest's root directory
        "tests/x[/tmp/y]/test_a.py::test_a",
        "src/app::repository (session)",
        "/root/check",
        "outside of tests",
    ],
)
@pytest.mark.parametrize("folders", [FOLDERS, A, Folders(home="/src", temporary="/tests")])
def test_only_parameters_change(name: str, folders: Folders) -> None:
    assert folders.portable(name) == name


def test_parameters_have_brackets_and_a_group_behind_them() -> None:
    assert FOLDERS.portable("t[1]/t.py::t[[/tmp/x]]") == "t[1]/t.py::t[[$TMPDIR/x]]"
    assert FOLDERS.portable("t.py::t[/tmp/x]@group") == "t.py::t[$TMPDIR/x]@group"  # of --dist=loadgroup


@pytest.mark.parametrize("name", ["t.py::t", "t.py::C::t", "t.py::t[a@b]", "a@b/t.py::t", "t.py::t[a@b[c]]"])
@pytest.mark.parametrize("group", ["", "@group", "@a@b"])
def test_a_group_is_no_part_of_a_name(name: str, group: str) -> None:
    grouped = replace(FOLDERS, grouped=True)
    assert grouped.portable(name + group) == grouped.ungrouped(name + group) == name
    assert Folders(*grouped.export()) == grouped
    assert FOLDERS.portable(name + group) == name + group, "without --dist=loadgroup there are none"


def test_a_name_that_is_no_text() -> None:
    assert Folders().portable("d\udcff/test_x.py::t[\udcff]") == "d\\udcff/test_x.py::t[\\udcff]"


@pytest.mark.parametrize(
    ("temporary", "home"), [("/scratch", "/scratch/me"), ("/home/me/tmp", "/home/me"), ("/t", "/home/me"), ("", "/h")]
)
def test_each_folder_has_its_sign_though_one_is_in_the_other(temporary: str, home: str) -> None:
    first = f"{temporary}/a-" if temporary else ""
    sign = "$TMPDIR/a-" if temporary else ""
    assert in_parameters(f"{first}{home}/b", Folders(home, temporary)) == f"{sign}~/b"


def test_the_numbers_of_pytests_own_folders_are_left_out() -> None:
    first, second = (f"/tmp/pytest-of-{user}/test-{n}/x" for user, n in (("me", 1), ("you", 22)))
    assert in_parameters(first) != in_parameters(second)
    first, second = (f"/tmp/pytest-of-{user}/pytest-{n}/x" for user, n in (("me", 1), ("you", 22)))
    assert in_parameters(first) == in_parameters(second) == "$TMPDIR/pytest-of-$USER/pytest-N/x"


@given(st.lists(st.sampled_from(["/tmp", "/root", "/", "a", "-", "ed", "[", "::", "~", "$TMPDIR"]), max_size=8))
def test_a_portable_name_stays_what_it_is(parts: list[str]) -> None:
    name = FOLDERS.portable(f"test_it.py::test_a[{''.join(parts)}]")
    assert FOLDERS.portable(name) == name


@given(st.lists(st.sampled_from(["HOME", "TMP", "/x", "a", "-", "rooted", "=", ":"]), max_size=8))
def test_two_machines_have_the_same_name(parts: list[str]) -> None:
    def on(machine: Folders) -> str:
        values = {"HOME": machine.home, "TMP": machine.temporary}
        # What follows a folder is a path, or the end of it: /root-x is a folder of its own.
        joined = "".join(f"={values[part]}/" if part in values else part for part in parts)
        return machine.portable(f"test_it.py::test_a[{joined}]")

    assert on(A) == on(B)


# ---- which folders these are ----


def test_this_machines_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", f"{tmp_path}//")
    monkeypatch.setenv("HOME", "//home/me/")
    assert Folders.here() == Folders(home="/home/me", temporary=str(tmp_path))


@pytest.mark.parametrize("home", ["/", "//", "", "me", "."])
def test_a_home_in_which_everything_lies_or_that_is_relative_is_none(
    monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.setenv("HOME", home)
    assert Folders.here().home == ""
    assert in_parameters("/srv/x", Folders.here()) == "/srv/x"


def test_a_link_and_where_it_leads_are_one_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    folders = Folders(temporary=str(tmp_path / "link"))
    assert in_parameters(f"{tmp_path}/link/x", folders) == in_parameters(f"{tmp_path}/real/x", folders) == "$TMPDIR/x"


def test_they_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = Folders.here()
    monkeypatch.setenv("HOME", "/elsewhere")
    assert in_parameters("/elsewhere/x", folders) == "/elsewhere/x"


def test_no_file_can_be_opened_any_more() -> None:
    """To find the temporary folder Python writes a file there; this does not."""
    wanted = Folders.here().temporary
    assert wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        found = Folders.here().temporary
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == wanted


def test_to_ask_for_the_temporary_folder_settles_it_for_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert Folders.here().temporary
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert tempfile.gettempdir() == str(tmp_path)


# ---- tables that earlier versions named ----


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("tests$TMPDIRfiles/test_a.py::test_a", "tests/tmpfiles/test_a.py::test_a"),
        ("src~/test_a.py::TestA::test_a", "src/app/test_a.py::TestA::test_a"),
        ("src~/test_a.py::test_a[~/x]", "src/app/test_a.py::test_a[~/x]"),
        ("test_a.py::test_a[/srv~/x]", "test_a.py::test_a[/srv/app/x]"),
        ("test_a.py::test_a[$TMPDIRfiles]", "test_a.py::test_a[/tmpfiles]"),
        ("src~::repository (session)", "src/app::repository (session)"),
    ],
)
@pytest.mark.parametrize("folders", [A, B, Folders()])
def test_what_a_former_name_is_now(table: str, name: str, folders: Folders) -> None:
    """Whichever machine has written it, and whichever reads it."""
    known = [name, "src/app/test_b.py::test_b", "test_a.py::test_a", "test_a.py::test_b[x]"]
    assert renamed([table], known, folders) == {table: name}


def test_a_table_for_several_tests_too() -> None:
    known = ["tests/tmpfiles/t.py::test_a[1]", "tests/tmpfiles/t.py::test_a[2]", "tests/tmpfiles/t.py::test_b"]
    assert renamed(["tests$TMPDIRfiles/t.py::test_a[*]"], known, B) == {
        "tests$TMPDIRfiles/t.py::test_a[*]": "tests/tmpfiles/t.py::test_a[*]"
    }


def test_where_it_could_be_several_only_this_machines_folder_tells() -> None:
    known = ["src/app/t.py::t", "src/lib/app/t.py::t"]
    assert renamed(["src~/t.py::t"], known, B) == {}
    assert renamed(["src~/t.py::t"], known, A) == {"src~/t.py::t": "src/app/t.py::t"}


@pytest.mark.parametrize("table", ["t.py::t[~/x]", "t.py::t[$TMPDIR]", "t.py::t[a-~/x]", "t.py::gone", "a/t.py::t"])
def test_a_name_as_they_are_now_is_no_former_one(table: str) -> None:
    assert renamed([table], ["t.py::t[/home/me/x]", "t.py::t", "t.py::t[a-/x]"], B) == {}


def test_a_folder_may_really_be_called_so() -> None:
    assert renamed(["old~/t.py::t"], ["old~/t.py::t", "old/app/t.py::t"], A) == {}
    assert has_no_place("old~/t.py::t")
    assert not has_no_place("old/t.py::t[~/x]")


def test_former_names_are_what_was_made_of_them() -> None:
    assert A.formerly("src/app/t.py::t[$TMPDIR/x]") == "src~/t.py::t[$TMPDIR/x]"
    assert Folders().formerly("src/app") == "src/app"
    assert (
        os.path.expanduser("~") not in Folders.here().formerly(f"x{os.path.expanduser('~')}y")
        or not Folders.here().home
    )


# ---- tables of other parameters ----


@pytest.mark.parametrize(
    ("table", "names", "expected"),
    [
        ("test_a[3]", ["test_a[1]", "test_a[2]"], False),
        ("test_a", ["test_a[1]"], False),
        ("test_a[1-2]", ["test_a[1-3]", "test_a[2-1]"], False),
        ("test_a[12]", ["test_a[1]"], False),
        ("test_a[1]", ["test_a"], True),
        ("test_a[db-1]", ["test_a[1]"], True),
        ("test_a[1-db]", ["test_a[1]"], True),
        ("test_a[1-db-x-y]", ["test_a[2]", "test_a[1-x-y]"], True),
        ("test_a[3*]", ["test_a[1]"], True),
    ],
)
def test_a_table_may_be_of_a_test_that_has_more_parameters_at_times(
    table: str, names: list[str], expected: bool
) -> None:
    assert may_have_more(f"test_it.py::{table}", [f"test_it.py::{name}" for name in names]) is expected


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ("a/test_it.py::TestA::test_a[x::y/z::1]", "a/test_it.py"),
        ("a/test_it.yaml::GET /a", "a/test_it.yaml"),
        ("a::server (session)", "a"),
        (r"a\*b/test_it.py::test_a", "a*b/test_it.py"),
        (r"caf\udce9/test_it.py::test_a", "caf\udce9/test_it.py"),
        ("a::b/test_it.py::test_a", ""),
    ],
)
def test_where_a_table_has_its_test(table: str, place: str) -> None:
    assert place_of(table) == place
