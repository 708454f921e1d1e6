"""How a path is walked, and what happens when it changes on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_execprobe.helper.walk import Step, walk


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "link").symlink_to("a/b")
    return tmp_path


def judged(path: str) -> list[str]:
    """All that was asked about, in order."""
    found: list[str] = []
    with walk(path, lambda step: found.append(step.path)):
        return found


def test_each_step_is_judged_the_beginning_and_links_too(here: Path) -> None:
    place, link, a, b = (f"{here}{name}" for name in ("", "/link", "/a", "/a/b"))
    assert judged("link/file") == [place, link, a, b, f"{b}/file"]
    assert judged("a/../link/..") == [place, a, place, link, a, b, a]
    (here / "absolute").symlink_to("/usr/../dev")
    assert judged("absolute/null") == [place, f"{place}/absolute", "/", "/usr", "/", "/dev", "/dev/null"]
    assert judged("..") == [place, str(here.parent)]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["", "a", "b", "file", "link"])
def test_who_judges_ends_it(name: str) -> None:
    def judge(step: Step) -> None:
        if step.name == name:
            raise PermissionError(name)

    with pytest.raises(PermissionError, match=f"^{name}$"), walk("link/file", judge):
        pytest.fail("it went on")


def test_a_folder_that_is_moved_meanwhile_has_no_say_in_where_the_way_back_leads(here: Path) -> None:
    (here / "other").mkdir()

    def move(step: Step) -> None:
        if step.name == "b":
            (here / "a" / "b").rename(here / "other" / "b")

    with walk("a/b/../new", move) as step:
        assert (step.path, step.entry) == (f"{here}/a/new", None)


@pytest.mark.parametrize("name", ["a", "b", "file"])
def test_what_was_judged_is_what_is_used(here: Path, name: str) -> None:
    """Whatever is put in its place after it was judged."""
    (here / "bad").mkdir()
    inode = (here / "a" / "b" / "file").stat().st_ino

    def exchange(step: Step) -> None:
        if step.name == name:
            os.rename(step.path, here / "moved")
            os.symlink(here / "bad", os.path.join(os.readlink(f"/proc/self/fd/{step.folder}"), name))

    with walk("a/b/file", exchange) as step:
        assert step.entry is not None
        assert os.fstat(step.entry).st_ino == inode


@pytest.mark.parametrize("path", ["missing/file", "file/x", ""])
def test_without_leave_nothing_is_made(here: Path, path: str) -> None:
    (here / "file").touch()
    with pytest.raises((FileNotFoundError, NotADirectoryError)), walk(path, lambda _: None):
        pytest.fail("there is no such thing")
    assert not (here / "missing").exists()
