"""What two ordinary users can make of what is done as root, or as the other: nothing, whatever they put in its way."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from programs import Programs
from service import PYTHON
from users import as_user, being, needs_root, ordinary_user

from pytest_execprobe._util import originals
from pytest_execprobe.files import write_atomically
from pytest_execprobe.helper import listening
from pytest_execprobe.helper.top.opened import Foreign, NotTaken, open_regular
from pytest_execprobe.source.launch import HELPER, helper_command, helper_environment

pytestmark = [needs_root, pytest.mark.exec_budget(400)]

NEW = 0o644


@dataclass(frozen=True)
class Town:
    """Two users, and a folder for each, one that is root's, and one like /tmp."""

    a: str
    b: str
    folder: Path

    @property
    def of_a(self) -> Path:
        return self.folder / "a"

    @property
    def of_b(self) -> Path:
        return self.folder / "b"

    @property
    def of_root(self) -> Path:
        return self.folder / "root"

    @property
    def sticky(self) -> Path:
        return self.folder / "sticky"


@pytest.fixture(scope="module")
def users() -> Iterator[tuple[str, str]]:
    with ordinary_user("a") as a, ordinary_user("b") as b:
        yield a, b


@pytest.fixture
def town(users: tuple[str, str]) -> Iterator[Town]:
    before = os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="execprobe-users-", dir="/tmp") as name:
        made = Town(*users, Path(name))
        made.folder.chmod(0o755)
        for folder, owner in ((made.of_a, made.a), (made.of_b, made.b), (made.of_root, "root"), (made.sticky, "root")):
            folder.mkdir()
            shutil.chown(folder, owner)
        made.sticky.chmod(0o1777)
        yield made
    os.umask(before)


def put(path: Path, text: str = "", mode: int = NEW) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def is_like(path: Path, owner: str, mode: int, text: str) -> bool:
    status = path.lstat()
    assert stat.S_ISREG(status.st_mode)
    return (status.st_uid, stat.S_IMODE(status.st_mode), path.read_text()) == (pwd.getpwnam(owner).pw_uid, mode, text)


# ---- files that are written ----


def test_another_users_file_gives_no_mode_to_what_root_writes(town: Town) -> None:
    with being(town.a):
        planted = put(town.of_a / "report.json", mode=0o6777)
    write_atomically(planted, "text")
    assert is_like(planted, "root", NEW, "text")


def test_nor_does_a_file_of_roots_own_that_another_user_gave_that_name(town: Town) -> None:
    real = put(town.of_root / "program", "precious", mode=0o4755)
    os.link(real, town.of_a / "report.json")
    write_atomically(town.of_a / "report.json", "text")
    assert is_like(town.of_a / "report.json", "root", NEW, "text")
    assert is_like(real, "root", 0o4755, "precious")


@pytest.mark.parametrize("writer", ["root", "b"])
@pytest.mark.parametrize("where", ["sticky", "of_a"])
@pytest.mark.parametrize("what", ["a link", "a link on the way", "a dangling link"])
def test_another_users_link_is_not_followed(town: Town, writer: str, where: str, what: str) -> None:
    folder: Path = getattr(town, where)
    with being(town.b):
        precious = put(town.of_b / "report.json", "precious")
    with being(town.a):
        link = folder / "link"
        path = link
        if what == "a link on the way":
            link.symlink_to(town.of_b)
            path = link / "report.json"
        else:
            link.symlink_to(precious if what == "a link" else town.of_b / "new")
    with being(town.b) if writer == "b" else contextlib.nullcontext():
        uid = pwd.getpwnam(town.a).pw_uid
        with pytest.raises(PermissionError, match=f"{link} is a link of user {uid}, in a folder that others can write"):
            write_atomically(path, "text")
    assert is_like(precious, town.b, NEW, "precious")
    assert os.listdir(town.of_b) == ["report.json"]


def test_links_that_no_other_user_can_have_put_there_are_followed(town: Town) -> None:
    (town.of_root / "link").symlink_to(town.of_b)
    os.chown(town.of_root / "link", pwd.getpwnam(town.a).pw_uid, 0, follow_symlinks=False)
    (town.sticky / "roots").symlink_to(town.of_b)
    with being(town.b):
        (town.sticky / "own").symlink_to(town.of_b)
        for number, folder in enumerate((town.of_root / "link", town.sticky / "roots", town.sticky / "own")):
            write_atomically(folder / str(number), "text")
            assert is_like(town.of_b / str(number), town.b, NEW, "text")
    write_atomically(town.sticky / "roots" / "new", "text")
    assert is_like(town.of_b / "new", "root", NEW, "text")


@pytest.mark.parametrize("what", ["file", "pipe"])
def test_what_another_user_has_put_into_a_folder_for_all_is_refused(town: Town, what: str) -> None:
    path = town.sticky / "report.json"
    with being(town.a):
        put(path, "of a") if what == "file" else os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(PermissionError, match=f"is a {what} of user"):
        write_atomically(path, "text")
    assert os.read(reader, 100) == (b"of a" if what == "file" else b"")
    os.close(reader)
    assert path.lstat().st_uid == pwd.getpwnam(town.a).pw_uid
    assert os.listdir(town.sticky) == ["report.json"]


def test_root_writes_a_file_of_the_user_whose_folder_it_is(town: Town) -> None:
    """As with ``sudo pytest --execprobe-update`` in a checkout of one's own."""
    with being(town.a):
        put(town.of_a / "execs.toml", "old")
        write_atomically(town.of_a / "mine", "text")
        write_atomically(town.sticky / "mine", "text")
        write_atomically(town.sticky / "mine", "more")
    write_atomically(town.of_a / "execs.toml", "new")
    assert is_like(town.of_a / "execs.toml", "root", NEW, "new")
    assert is_like(town.of_a / "mine", town.a, NEW, "text")
    assert is_like(town.sticky / "mine", town.a, NEW, "more")


@pytest.mark.parametrize("function", ["fchmod", "fsync", "replace"])
def test_a_folder_that_is_exchanged_meanwhile_leads_nowhere_else(
    town: Town, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with being(town.b):
        precious = put(town.of_b / "report.json", "precious", 0o600)
    with being(town.a):
        (town.of_a / "out").mkdir()
    os.close(os.open(town.of_a / "out" / "report.json", os.O_CREAT, 0o640))
    real: Callable[..., None] = getattr(originals, function)

    def exchange(*arguments: object, **more: object) -> None:
        with being(town.a):
            (town.of_a / "out").rename(town.of_a / "moved")
            (town.of_a / "out").symlink_to(town.of_b)
        real(*arguments, **more)

    monkeypatch.setattr(originals, function, exchange)
    write_atomically(town.of_a / "out" / "report.json", "text")
    assert is_like(precious, town.b, 0o600, "precious")
    assert is_like(town.of_a / "moved" / "report.json", "root", 0o640, "text")
    assert [os.listdir(folder) for folder in (town.of_b, town.of_a / "moved")] == [["report.json"]] * 2


# ---- the socket of a service ----


@pytest.mark.parametrize("moment", ["it has been checked", "it is locked", "it is bound", "it is given away"])
def test_service_whose_link_is_exchanged_changes_nothing_of_others(
    town: Town, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with being(town.a):
        link = town.of_a / "link"
        link.symlink_to(town.of_root)
    with being(town.b):
        precious = put(town.of_b / "precious", mode=0o600)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(town.of_b / "socket"))
        (town.of_b / "socket").chmod(0o600)
        before = {name: (town.of_b / name).stat() for name in os.listdir(town.of_b)}

    def exchange() -> None:
        with being(town.a), contextlib.suppress(FileExistsError):
            link.unlink()
            link.symlink_to(town.of_b)

    owner, name = {
        "it has been checked": (os, "open"),
        "it is locked": (listening, "_remove_stale"),
        "it is bound": (os, "umask"),
        "it is given away": (os, "chown"),
    }[moment]
    real = getattr(owner, name)

    def exchanged(*arguments: object, **more: object) -> object:
        exchange()
        return real(*arguments, **more)

    monkeypatch.setattr(owner, name, exchanged)
    with listening.listen_at(str(link / "socket"), 0o666, pwd.getpwnam(town.a).pw_gid) as listener:
        monkeypatch.undo()
        assert os.readlink(link) == str(town.of_b)
        assert listener.getsockname() == str(town.of_root / "socket")
    made = (town.of_root / "socket").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_gid) == (0o666, pwd.getpwnam(town.a).pw_gid)
    assert {name: (town.of_b / name).stat() for name in os.listdir(town.of_b)} == before
    assert precious.stat().st_mode & 0o777 == 0o600


# ---- what top may be put into ----


@contextlib.contextmanager
def watched_for_opens(path: Path) -> Iterator[Callable[[], bool]]:
    """Whether it has been opened since: to look at it without opening it is no such thing."""
    libc = ctypes.CDLL(None, use_errno=True)
    events = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(events, os.fsencode(path), 0x20) > 0  # IN_OPEN

    def opened() -> bool:
        with contextlib.suppress(BlockingIOError):
            return bool(os.read(events, 4096))
        return False

    try:
        yield opened
    finally:
        os.close(events)


@pytest.mark.parametrize("roots_alone", [True, False])
@pytest.mark.parametrize("what", ["pipe", "socket", "folder", "device"])
def test_what_is_no_regular_file_is_not_opened(town: Town, what: str, roots_alone: bool) -> None:
    path = town.of_a / what
    with being(town.a):
        if what == "pipe":
            os.mkfifo(path)
        elif what == "folder":
            path.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        if what == "socket":
            sock.bind(str(path))
        elif what == "device":
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        with watched_for_opens(path) as opened:
            with pytest.raises(NotTaken):
                open_regular(str(path), roots_alone)
            assert not opened()


#: In a mount namespace of its own: what of a file system with nothing but root's in it is taken, and what is not.
ONLY_ROOTS = """
import importlib.util, json, os, subprocess, sys
helper, program, a = sys.argv[1], sys.argv[2], int(sys.argv[3])
spec = importlib.util.spec_from_file_location("h", helper + "/__init__.py", submodule_search_locations=[helper])
sys.modules["h"] = importlib.util.module_from_spec(spec)
from h.top.opened import NotTaken, open_regular
subprocess.check_call(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/mnt"])

def taken(path):
    try:
        os.close(open_regular(path, True))
    except NotTaken as error:
        return str(error)
    return ""

def put(path, mode=0o755, owner=0, folder_mode=0o755, folder_owner=0):
    path = "/mnt/" + path
    folder = os.path.dirname(path)
    os.makedirs(folder)
    with open(program, "rb") as file, open(path, "wb") as copy:
        copy.write(file.read())
    os.chmod(path, mode), os.chown(path, owner, 0)
    os.chmod(folder, folder_mode), os.chown(folder, folder_owner, 0)
    return taken(path)

found = {
    "good": put("good/p"),
    "file of a": put("b/p", owner=a),
    "file of its group": put("c/p", mode=0o775),
    "file of all": put("d/p", mode=0o757),
    "folder of a": put("e/p", folder_owner=a),
    "folder of its group": put("f/p", folder_mode=0o775),
    "folder of all": put("g/p", folder_mode=0o1777),
    "secret file": put("h/p", mode=0o750),
    "secret folder": put("i/p", folder_mode=0o700),
}
os.symlink("good/p", "/mnt/link")
os.lchown("/mnt/link", a, a)
found["link that is as good as its folder"] = taken("/mnt/link")
os.symlink("/mnt/good/p", "/mnt/g/link")
found["link in a folder of all"] = taken("/mnt/g/link")
os.symlink("g/../good/p", "/mnt/over")
found["link over a folder of all"] = taken("/mnt/over")
subprocess.check_call(["mount", "-o", "remount,nosuid", "/mnt"])
found["nosuid"] = taken("/mnt/good/p")
print(json.dumps(found))
"""


def test_only_what_root_alone_can_change_is_taken_for_others(town: Town, programs: Programs) -> None:
    uid = str(pwd.getpwnam(town.a).pw_uid)
    command = ["unshare", "--mount", PYTHON, "-I", "-B", "-c", ONLY_ROOTS, str(HELPER), str(programs.probed), uid]
    found = json.loads(subprocess.check_output(command))
    refused = "others than root can write to the"
    assert found == {
        "good": "",
        "link that is as good as its folder": "",
        "file of a": f"{refused} file /mnt/b/p",
        "file of its group": f"{refused} file /mnt/c/p",
        "file of all": f"{refused} file /mnt/d/p",
        "folder of a": f"{refused} folder /mnt/e",
        "folder of its group": f"{refused} folder /mnt/f",
        "folder of all": f"{refused} folder /mnt/g",
        "link in a folder of all": f"{refused} folder /mnt/g",
        "link over a folder of all": f"{refused} folder /mnt/g",
        "secret file": "not all users may read the file /mnt/h/p",
        "secret folder": "not all users may read the folder /mnt/i",
        "nosuid": "/mnt is on a file system that is mounted nosuid, as what users mount is",
    }


def test_files_of_users_are_not_taken_for_others_than_root(town: Town, programs: Programs) -> None:
    for owner, folder in ((town.a, town.of_a), (town.b, town.of_b), ("root", town.of_root)):
        program = Path(shutil.copy(programs.probed, folder))
        shutil.chown(program, owner)
        with pytest.raises(Foreign, match="others than root can write to the folder /tmp"):
            open_regular(str(program), True)
        os.close(open_regular(str(program), False))


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("place", ["of_a", "of_b", "libc"])
def test_who_calls_by_sudo_probes_roots_files_alone(town: Town, programs: Programs, place: str) -> None:
    """What sudo's rule starts, with what sudo puts into its environment."""
    ids = pwd.getpwnam(town.a)
    target = "c" if place == "libc" else shutil.copy(programs.probed, getattr(town, place))
    function = "getppid" if place == "libc" else "probed_tick"
    with subprocess.Popen(
        helper_command([], PYTHON, "top", "--probe", f"uprobe:{target}:{function}", "--by", "user"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**helper_environment(), "SUDO_UID": str(ids.pw_uid), "SUDO_GID": str(ids.pw_gid)},
    ) as helper:
        assert helper.stdout is not None
        said = json.loads(helper.stdout.readline())
        if place != "libc":
            assert (said["type"], said["code"]) == ("failed", "not-roots")
            assert "others than root can write to the folder /tmp" in said["reason"]
            assert "sudo execprobe top" in said["remedy"]
            return
        assert said["type"] == "attached"
        assert f"uid {ids.pw_uid}, " in said["privilege"]
        with programs.probed.open("rb") as file:
            program = [*as_user(town.b), f"/proc/self/fd/{file.fileno()}", "7"]
            subprocess.run(program, pass_fds=[file.fileno()], check=True, stdout=subprocess.DEVNULL)
        output, _ = helper.communicate()
    counts = dict(json.loads(output)["counts"])
    assert counts[pwd.getpwnam(town.b).pw_uid] == 7


#: Attaches as ``helper top`` does, and waits for a line between looking at the file and that.
PAUSES = """
import importlib.util, json, sys
helper = sys.argv[1]
spec = importlib.util.spec_from_file_location("h", helper + "/__init__.py", submodule_search_locations=[helper])
sys.modules["h"] = importlib.util.module_from_spec(spec)
from h.top import counter, target
from h.bpf import build

class Pausing(counter.Counter):
    def _compile(self, max_names):
        made = super()._compile(max_names)
        print("found", flush=True)
        sys.stdin.readline()
        return made

made = Pausing(build.import_bcc(), target.parse(sys.argv[2]), "program", 1000, 0)
print("attached", flush=True)
sys.stdin.readline()
print(json.dumps(made.counts()), flush=True)
"""


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("probe", ["uprobe:{}:probed_tick", "usdt:{}:probed:guarded"])
@pytest.mark.parametrize("by", ["link", "folder"])
def test_a_file_that_is_exchanged_before_the_probe_is_attached(
    town: Town, programs: Programs, probe: str, by: str
) -> None:
    with being(town.a):
        (town.of_a / "folder").mkdir()
    named = town.of_a / "folder" / "program"
    for path, owner in ((named, town.a), (town.of_b / "program", town.b)):
        shutil.copy(programs.probed, path)
        shutil.chown(path, owner)
    command = [PYTHON, "-I", "-B", "-c", PAUSES, str(HELPER), probe.format(named)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as helper:
        assert helper.stdin is not None
        assert helper.stdout is not None
        assert helper.stdout.readline() == "found\n"
        with being(town.a):
            if by == "link":
                named.rename(town.of_a / "opened")
                named.symlink_to(town.of_b / "program")
            else:
                named.parent.rename(town.of_a / "moved")
                named.parent.symlink_to(town.of_b)
        print(file=helper.stdin, flush=True)
        assert helper.stdout.readline() == "attached\n"
        opened = town.of_a / ("opened" if by == "link" else "moved/program")
        a, b = (
            int(subprocess.check_output([*as_user(user), path, "5"]))
            for user, path in ((town.a, opened), (town.b, town.of_b / "program"))
        )
        print(file=helper.stdin, flush=True)
        counts = json.loads(helper.stdout.readline())["counts"]
    # Not hit, and not counted up either.
    assert (a, b) == (5 if "usdt" in probe else 0, 0)
    assert [pair for pair in counts if pair[0] in ("opened", "program")] == [[opened.name, 5]]
