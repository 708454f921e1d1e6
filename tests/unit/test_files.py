"""Files that are written whole: where, with which mode, and through which links. tests/kernel/test_other_users.py has
what other users may do meanwhile."""

from __future__ import annotations

import ast
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from descriptors import opened

import pytest_execprobe
from pytest_execprobe.files import remove_file, write_atomically


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_file_in_new_folders(here: Path) -> None:
    write_atomically(Path("a/./b/../c/file"), "text: ü\n")
    assert (here / "a" / "c" / "file").read_bytes() == "text: ü\n".encode()
    assert os.listdir(here / "a" / "c") == ["file"]


def test_a_file_that_comes_piece_by_piece(here: Path) -> None:
    pieces = ["ü", "", *(f"{number}\n" for number in range(40_000)), "é" * 200_000]
    write_atomically(here / "file", iter(pieces))
    assert (here / "file").read_bytes() == "".join(pieces).encode()
    write_atomically(here / "file", iter(()))
    assert (here / "file").read_bytes() == b""


def test_the_old_file_stays_where_a_piece_can_not_be_made(here: Path) -> None:
    def pieces() -> Iterator[str]:
        yield "new" * 100_000
        raise KeyError

    (here / "file").write_text("old")
    with pytest.raises(KeyError):
        write_atomically(here / "file", pieces())
    assert (here / "file").read_text() == "old"
    assert os.listdir(here) == ["file"]


@pytest.mark.parametrize(("old", "new"), [(0o640, 0o640), (0o666, 0o666), (0o4755, 0o755), (0o7666, 0o666)])
def test_the_mode_is_the_old_one_without_what_gives_privilege(here: Path, old: int, new: int) -> None:
    (here / "file").touch()
    (here / "file").chmod(old)
    assert mode(here / "file") == old
    write_atomically(here / "file", "text")
    assert mode(here / "file") == new


def test_a_file_with_another_name_has_no_say_in_the_mode(here: Path) -> None:
    (here / "file").touch()
    (here / "file").chmod(0o777)
    os.link(here / "file", here / "other")
    write_atomically(here / "file", "text")
    (here / "new").touch()
    assert mode(here / "file") == mode(here / "new")
    assert (mode(here / "other"), (here / "other").read_text()) == (0o777, "")


def test_links_of_ones_own_lead_where_they_lead(here: Path) -> None:
    (here / "real" / "deep").mkdir(parents=True)
    (here / "folder").symlink_to("real/deep")
    (here / "real" / "deep" / "link").symlink_to("../file")
    (here / "absolute").symlink_to(here / "folder" / "link")
    for path in (Path("folder/link"), here / "absolute", Path("folder/../file"), Path("./real//file")):
        (here / "real" / "file").unlink(missing_ok=True)
        write_atomically(path, "text")
        assert (here / "real" / "file").read_text() == "text"
    assert (here / "absolute").is_symlink()
    assert (here / "real" / "deep" / "link").is_symlink()


def test_links_in_circles_end(here: Path) -> None:
    (here / "a").symlink_to("b")
    (here / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        write_atomically(Path("a"), "text")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("folder", "Is a directory"),
        ("folder/.", "Is a directory"),
        ("..", "Is a directory"),
        ("/", "Is a directory"),
        ("file/x", "Not a directory"),
        ("socket", "No such device or address"),
        ("", "Is a directory"),
    ],
)
def test_what_can_not_be_written(here: Path, path: str, why: str) -> None:
    (here / "folder").mkdir()
    (here / "file").touch()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("socket")
        with pytest.raises(OSError, match=why):
            write_atomically(Path(path), "text")
    assert sorted(os.listdir(here)) == ["file", "folder", "socket"]


def test_a_pipe_of_ones_own_is_written_to(here: Path) -> None:
    os.mkfifo("pipe")
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append((here / "pipe").read_text()), daemon=True)
    reader.start()
    write_atomically(Path("pipe"), "text" * 50_000)
    reader.join()
    assert said == ["text" * 50_000]
    assert (here / "pipe").is_fifo()


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"])
def test_a_descriptor_is_written_to(here: Path, folder: str) -> None:
    end, pipe = os.pipe()
    (here / "link").symlink_to(f"{folder}/{pipe}")
    write_atomically(Path(f"{folder}/{pipe}"), "one ")
    write_atomically(Path("link"), "two")
    os.close(pipe)
    assert os.read(end, 100) == b"one two"
    os.close(end)
    with pytest.raises(OSError, match="Bad file descriptor"):
        write_atomically(Path(f"{folder}/{pipe}"), "text")


def test_standard_output_is_written_to_whatever_it_is(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also what is a file: who has redirected it there wants it in there, behind what was written before."""
    os.write(1, b"before ")
    write_atomically(Path("/dev/stdout"), "text")
    assert capfd.readouterr().out == "before text"
    with open(here / "file", "w") as file:
        file.write("before ")
        file.flush()
        write_atomically(Path(f"/dev/fd/{file.fileno()}"), "text")
        file.write(" behind")
    assert (here / "file").read_text() == "before text behind"


def test_a_file_is_removed_where_its_links_lead_and_nothing_else_is(here: Path) -> None:
    (here / "file").touch()
    (here / "link").symlink_to("file")
    os.mkfifo(here / "pipe")
    (here / "folder").mkdir()
    for name in ("link", "pipe", "folder", f"/dev/fd/{os.open(here / 'pipe', os.O_RDWR)}"):
        remove_file(Path(here, name))
    assert sorted(os.listdir(here)) == ["folder", "link", "pipe"]
    with pytest.raises(FileNotFoundError):
        remove_file(here / "missing" / "file")


def test_nothing_is_left_open(here: Path) -> None:
    (here / "link").symlink_to("x/../file")
    before = opened()
    for path in ("link", "a/b/c", "/dev/null", "/dev/fd/1", "file/x"):
        try:
            write_atomically(Path(path), "")
        except NotADirectoryError:
            assert path == "file/x"
    assert opened() <= before


#: Of these each call would write, or make, what a path names.
WRITES = {
    "write_text",
    "write_bytes",
    "touch",
    "mkdir",
    "makedirs",
    "mkstemp",
    "mkdtemp",
    "NamedTemporaryFile",
    "rename",
}
WRITES |= {"replace", "symlink", "symlink_to", "chmod", "chown", "copy", "copyfile", "move"}
OWN = {"files.py", "helper/walk.py"}
OWN |= {"helper/listening.py", "helper/bpf/kept.py"}  # a socket, and what was compiled, in folders that were walked
OWN |= {"session/offer.py", "session/inner.py"}  # in a folder of the run's own


def writes(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in WRITES:
        of = function.value.id if isinstance(function.value, ast.Name) else ""
        return function.attr not in ("replace", "copy") or of in ("os", "shutil", "originals", "posix")
    if isinstance(function, ast.Attribute) and function.attr == "open_file":
        path, flags = map(ast.unparse, call.args[:2])
        return not flags.startswith(("posix.O_RDONLY", "O_RDONLY", "O_PATH")) and path != "'/proc/thread-self/comm'"
    if isinstance(function, ast.Name) and function.id == "_mkdir":
        return True  # bound when helper/walk.py is imported
    if isinstance(function, ast.Name) and function.id == "open" and len(call.args) > 1:
        mode, path = ast.literal_eval(call.args[1]), ast.unparse(call.args[0])
        return bool(set(mode) & set("wax+")) and path != "os.devnull"
    return False


def test_every_path_is_written_here() -> None:
    """A second place that writes would have other rules, or none."""
    package = Path(pytest_execprobe.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        if any(writes(call) for call in calls):
            found.add(str(path.relative_to(package)))
    assert found == OWN
