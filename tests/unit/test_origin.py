"""Where programs come from: the databases of packages, as they are on this machine and as others have them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from documents import dump, ran
from documents import run as a_run

from pytest_execprobe._util.redaction import in_force
from pytest_execprobe.cli import main
from pytest_execprobe.log.pattern import Match, Side
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.origin import database as databases
from pytest_execprobe.origin import origin as module
from pytest_execprobe.origin.apk import Apk
from pytest_execprobe.origin.database import Database, Owner, Unreadable
from pytest_execprobe.origin.dpkg import Dpkg
from pytest_execprobe.origin.origin import CHANGED, GONE, MEMFD, TEMPORARY, WRITABLE, Machine, Origin
from pytest_execprobe.origin.rpm import Rpm
from pytest_execprobe.origin.wheels import Wheels
from pytest_execprobe.report import read as reading
from pytest_execprobe.report.model import Document, Unit
from pytest_execprobe.report.origins import table, with_origins

pytestmark = pytest.mark.exec_budget(12)


@pytest.fixture(autouse=True)
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test has just made is kept like what has been there for long."""
    monkeypatch.setattr(databases, "_TICK", 0)


HAS_DPKG = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this is no Debian")
#: Made by rpm and rpmbuild 4.18.0 (``rpm --root --initdb``, ``rpm --root -i``): one package, tool
#: 4:1.2-3, of three files.
RPM = Path(__file__).parent / "packages" / "rpmdb.sqlite.gz"
TOOL = "#!/bin/sh\nexit 0\n"


# ---- Debian's, on this machine ----


@HAS_DPKG
@pytest.mark.parametrize("command", ["dpkg", "sh", "env", "apt-get", "perl"])
def test_what_dpkg_says_of_a_program(command: str) -> None:
    path = os.path.realpath(f"/usr/bin/{command}")
    said = subprocess.run(
        ["dpkg-query", "--search", path, path.removeprefix("/usr")], capture_output=True, text=True, check=False
    )
    name = next(line for line in said.stdout.splitlines() if not line.startswith("diversion")).rpartition(": ")[0]
    owner = Dpkg().owner(path)
    assert owner is not None
    version = subprocess.run(["dpkg-query", "-Wf${Version}", name], capture_output=True, text=True, check=True).stdout
    assert owner.package == f"{name} {version} (dpkg)"
    if owner.digest is not None:
        assert owner.digest == ("md5", hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest())


@HAS_DPKG
def test_what_is_rarely_executed() -> None:
    """It stands in no index."""
    (path,) = (
        line for line in Path("/var/lib/dpkg/info/dpkg.list").read_text().split() if line.endswith("/dpkg/copyright")
    )
    owner = Dpkg().owner(path)
    assert owner is not None
    assert owner.package.startswith("dpkg ")


@HAS_DPKG
def test_what_dpkg_does_not_have() -> None:
    assert Dpkg().owner("/usr/bin/no-such-program") is None
    assert Dpkg().owner("/usr/bin") is not None  # it lists folders, too, which nobody executes


# ---- Debian's, made up ----


def tree(root: Path, **files: str) -> str:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


@pytest.fixture
def debian(tmp_path: Path) -> Dpkg:
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info / "dash.list").write_text("/.\n/bin\n/bin/dash\n/bin/sh\n")
    (info / "dash.md5sums").write_text("0123  bin/dash\n")
    (info / "other.list").write_text("/bin/sh\n/usr/bin/own\n")
    (info / "libc6:amd64.list").write_text("/usr/bin/ldd\n")
    (info.parent / "diversions").write_text("/bin/sh\n/bin/sh.distrib\ndash\n/usr/bin/own\n/usr/bin/own.real\n:\n")
    (info.parent / "status").write_text(
        "Package: dash\nVersion: 1\nArchitecture: amd64\nDescription: a\n shell: it is\n\n"
        "Package: other\nVersion: 2\n\nPackage: libc6\nArchitecture: i386\nVersion: 3\n\n"
        "Package: libc6\nArchitecture: amd64\nVersion: 4\n"
    )
    (tmp_path / "bin").symlink_to("usr/bin")
    return Dpkg(str(tmp_path))


@pytest.mark.parametrize(
    ("path", "package"),
    [
        ("/bin/dash", "dash 1 (dpkg)"),
        ("/usr/bin/dash", "dash 1 (dpkg)"),  # where /bin is a link to usr/bin
        ("/usr/bin/ldd", "libc6:amd64 4 (dpkg)"),
        ("/bin/ldd", "libc6:amd64 4 (dpkg)"),
        ("/bin/sh", "dash 1 (dpkg)"),  # which has put the other's elsewhere
        ("/bin/sh.distrib", "other 2 (dpkg)"),
        ("/usr/bin/own", None),  # the administrator's
        ("/usr/bin/own.real", "other 2 (dpkg)"),
        ("/usr/bin/dash2", None),
        ("/usr/bin/das", None),
        ("/opt/bin/dash", None),
        ("/usr/bin/\udcff", None),
    ],
)
def test_a_file_of_dpkg(debian: Dpkg, path: str, package: str | None) -> None:
    owner = debian.owner(path)
    assert (owner and owner.package) == package


@pytest.mark.parametrize("part", ["info/zzz.list", "status", "diversions"])
def test_what_could_not_be_read_is_known_no_better_the_next_time(debian: Dpkg, tmp_path: Path, part: str) -> None:
    file = tmp_path / "var/lib/dpkg" / part
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    for _ in range(2):
        with pytest.raises(Unreadable, match=part):
            debian.owner("/usr/bin/ldd")
    file.unlink()
    file.write_text("")
    assert debian.owner("/usr/bin/ldd") is not None


def test_what_is_installed_later_is_a_packages(debian: Dpkg) -> None:
    before = debian.stamp("/usr/bin/new")
    assert debian.owner("/usr/bin/new") is None
    assert debian.owner("/opt/new/tool") is None
    assert debian.stamp("/usr/bin/new") == before
    folder = Path(debian._folder)
    (folder / "info/new.list").write_text("/usr/bin/new\n/opt/new\n/opt/new/tool\n")
    (folder / "status").write_text("Package: new\nVersion: 5\n\n" + (folder / "status").read_text())
    assert debian.stamp("/usr/bin/new") != before
    assert [debian.owner(path) for path in ("/usr/bin/new", "/opt/new/tool")] == [Owner("new 5 (dpkg)")] * 2
    (folder / "info/new.list").unlink()
    (folder / "status").write_text("")
    assert debian.owner("/usr/bin/new") is None


def test_what_has_just_changed_is_looked_at_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can change again and look the same."""
    file = tmp_path / "file"
    assert databases.stamp(str(file)) == databases.stamp(str(file))
    file.touch()
    monkeypatch.setattr(databases, "_TICK", 1 << 62)
    assert databases.stamp(str(file)) != databases.stamp(str(file))
    monkeypatch.setattr(databases, "_TICK", 0)
    assert databases.stamp(str(file)) == databases.stamp(str(file))


def test_lists_are_read_once_for_folders_that_none_has(debian: Dpkg, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite can execute thousands of files that it has made itself."""
    (Path(debian._folder) / "info/doc.list").write_text("/usr/share/doc\n/usr/share/doc/example.sh\n")
    assert debian.owner("/tmp/run/1.sh") is None
    assert debian.owner("/home/me/project/tool.py") is None
    lists = debian._lists
    monkeypatch.setattr(debian, "_lists", lambda: pytest.fail("they were read once more"))
    for other in range(3):
        assert debian.owner(f"/tmp/run-{other}/2.sh") is None
        assert debian.owner(f"/home/me/other/{other}/tool.py") is None
    monkeypatch.setattr(debian, "_lists", lists)
    assert debian.owner("/usr/share/doc/example.sh") is not None
    assert debian.owner("/usr/share/doc/other.sh") is None
    assert debian.owner("/usr/share/do") is None
    assert debian.owner("/usr/sha/example.sh") is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 18])
@pytest.mark.parametrize("text", ["", "a", "a\n", "\n", "\n\n", "ab\ncd\n\nef", "abcdefgh\nij\nk\n"])
def test_a_file_in_parts_of_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setattr(databases, "_PART", size)
    file = tmp_path / "file"
    file.write_text(text)
    parts = list(databases.read_lines(str(file)))
    assert b"\n".join(parts) == text.encode()
    assert [line for part in parts for line in part.split(b"\n")] == text.encode().split(b"\n")
    assert databases.read(str(file)) == text.encode()
    assert list(databases.read_lines(str(tmp_path / "none"))) == [b""]
    assert databases.read(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("listed", "path", "found"),
    [
        ("/opt/a/x", "/opt/a/x", True),  # without a line's end, and the only line
        ("/opt/a/x", "/opt/a/xy", False),
        ("/opt/a/x\n/opt/b/y", "/opt/b/y", True),
        ("/opt/a/x\n/opt/b/y", "/opt/b", False),
        ("/usr/libexec/bin/x", "/usr/libexec/bin/x", True),  # of two parts
        ("/usr/lib/gcc/bin/x\n/usr/bin/y", "/usr/bin/y", True),
        ("/usr/bin/x\n/usr/bin/y\n", "/usr/bin/x", True),
        ("/usr/bin/x\n/usr/bin/y\n", "/usr/bin/x\n/usr/bin/y", False),
        ("/opt/x\n/opt/y\n", "/opt/x\n/opt/y", False),
    ],
)
def test_a_line_of_a_list(debian: Dpkg, listed: str, path: str, found: bool) -> None:
    (Path(debian._folder) / "info/one.list").write_text(listed)
    assert (debian.owner(path) is not None) is found


def test_where_folders_are_no_links(debian: Dpkg, tmp_path: Path) -> None:
    (tmp_path / "bin").unlink()
    (tmp_path / "bin").mkdir()
    assert debian.owner("/usr/bin/dash") is None
    assert debian.owner("/bin/dash") == Owner("dash 1 (dpkg)", ("md5", "0123"))


# ---- RPM's ----


@pytest.fixture
def fedora(tmp_path: Path) -> Path:
    folder = tmp_path / "usr/lib/sysimage/rpm"
    folder.mkdir(parents=True)
    (folder / "rpmdb.sqlite").write_bytes(gzip.decompress(RPM.read_bytes()))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "status"), [("/usr/bin/tool", 0), ("/usr/libexec/tool/tool", 1), ("/opt/tool/bin/tool", 2)]
)
def test_a_file_of_rpm(fedora: Path, path: str, status: int) -> None:
    owner = Rpm(str(fedora)).owner(path)
    digest = hashlib.sha256(TOOL.replace("0", str(status)).encode()).hexdigest()
    assert owner == Owner("tool 4:1.2-3 (rpm)", ("sha256", digest))


def test_a_file_that_rpm_does_not_have(fedora: Path) -> None:
    before = sorted(path.name for path in (fedora / "usr/lib/sysimage/rpm").iterdir())
    assert Rpm(str(fedora)).owner("/usr/local/bin/tool") is None
    assert Rpm(str(fedora)).owner("/usr/bin/\udcff") is None
    assert sorted(path.name for path in (fedora / "usr/lib/sysimage/rpm").iterdir()) == before


def test_a_database_that_is_being_written(fedora: Path) -> None:
    """What has not got into the file yet may own it."""
    (fedora / "usr/lib/sysimage/rpm/rpmdb.sqlite-wal").write_bytes(b"x")
    assert Rpm(str(fedora)).owner("/usr/bin/tool") is not None
    with pytest.raises(Unreadable, match="is being written to"):
        Rpm(str(fedora)).owner("/usr/local/bin/tool")


@pytest.mark.parametrize(("name", "kind"), [("Packages", "Berkeley DB"), ("Packages.db", "ndb")])
def test_an_older_database_of_rpm(tmp_path: Path, name: str, kind: str) -> None:
    root = tree(tmp_path, **{f"var__lib__rpm__{name}": ""})
    with pytest.raises(Unreadable, match=rf"/var/lib/rpm/{name} is .* not read here \({kind}\)"):
        Rpm(root).owner("/usr/bin/tool")


def damage_header(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([255 - data[at]]) + data[at + 1 :]


def test_a_damaged_database_of_rpm(fedora: Path) -> None:
    file = fedora / "usr/lib/sysimage/rpm/rpmdb.sqlite"
    whole = file.read_bytes()
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(Unreadable, match="can't be read"):
        Rpm(str(fedora)).owner("/usr/bin/tool")
    file.write_bytes(whole)
    with closing(sqlite3.connect(file)) as connection:
        ((blob,),) = connection.execute("SELECT blob FROM Packages")
    for changed in (blob[:7], blob[:100], *(damage_header(blob, at) for at in range(0, len(blob), 31))):
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("UPDATE Packages SET blob = ?", (changed,))
        try:
            owner = Rpm(str(fedora)).owner("/usr/bin/tool")
        except Unreadable:
            continue
        assert owner is None or owner.package.endswith("(rpm)")


@pytest.mark.parametrize(("column", "value"), [("blob", None), ("blob", 5), ("idx", None), ("idx", "x")])
def test_a_database_of_rpm_with_other_types(fedora: Path, column: str, value: Any) -> None:
    with closing(sqlite3.connect(fedora / "usr/lib/sysimage/rpm/rpmdb.sqlite", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE Others AS SELECT * FROM " + ("Packages" if column == "blob" else "Basenames"))
        connection.execute(f"UPDATE Others SET {column} = ?", (value,))
        connection.execute("DROP TABLE " + ("Packages" if column == "blob" else "Basenames"))
        connection.execute("ALTER TABLE Others RENAME TO " + ("Packages" if column == "blob" else "Basenames"))
    with pytest.raises(Unreadable, match="can't be read"):
        Rpm(str(fedora)).owner("/usr/bin/tool")


def test_without_a_database() -> None:
    for database in (Rpm("/nowhere"), Apk("/nowhere"), Dpkg("/nowhere"), Wheels("/nowhere")):
        assert database.owner("/usr/bin/tool") is None


# ---- Alpine's ----

#: As apk-tools' documentation of the format has it (apk v2, "Installed database"); not from a machine of Alpine's.
INSTALLED = """\
C:Q1abc=
P:busybox
V:1.36.1-r2
A:x86_64
F:bin
R:busybox
a:0:0:755
Z:Q1{sha1}
R:sh
Z:Q1not base64!
F:etc
M:0:0:755
R:conf

C:Q1def=
P:tool
V:2
F:
R:at-the-root
F:usr/bin
R:tool
Z:Q2{sha256}
"""


def test_a_file_of_apk(tmp_path: Path) -> None:
    digests = {name: hashlib.new(name, TOOL.encode(), usedforsecurity=False) for name in ("sha1", "sha256")}
    encoded = {name: base64.b64encode(digest.digest()).decode() for name, digest in digests.items()}
    apk = Apk(tree(tmp_path, lib__apk__db__installed=INSTALLED.format(**encoded)))
    assert apk.owner("/bin/busybox") == Owner("busybox 1.36.1-r2 (apk)", ("sha1", digests["sha1"].hexdigest()))
    assert apk.owner("/bin/sh") == Owner("busybox 1.36.1-r2 (apk)")
    assert apk.owner("/etc/conf") == Owner("busybox 1.36.1-r2 (apk)")
    assert apk.owner("/at-the-root") == Owner("tool 2 (apk)")
    assert apk.owner("/usr/bin/tool") == Owner("tool 2 (apk)", ("sha256", digests["sha256"].hexdigest()))
    assert apk.owner("/usr/bin/sh") is None
    (tmp_path / "bin").symlink_to("usr/bin")
    assert apk.owner("/usr/bin/busybox") is not None


def test_what_apk_installs_later(tmp_path: Path) -> None:
    apk = Apk(tree(tmp_path))
    assert apk.owner("/bin/tool") is None
    tree(tmp_path, lib__apk__db__installed="P:tool\nV:1\nF:bin\nR:tool\n")
    assert apk.owner("/bin/tool") == Owner("tool 1 (apk)")
    assert apk.stamp("/bin/tool") == apk.stamp("/bin/tool")


def test_a_checksum_of_apk_that_is_no_ascii(tmp_path: Path) -> None:
    apk = Apk(tree(tmp_path, lib__apk__db__installed="P:tool\nV:1\nF:bin\nR:tool\nZ:Q1\N{BULLET}\n"))
    assert apk.owner("/bin/tool") == Owner("tool 1 (apk)")


# ---- Python's ----


def test_a_script_of_this_environment() -> None:
    path = os.path.join(sys.prefix, "bin", "pytest")
    owner = Wheels().owner(path)
    assert owner == Owner(
        f"pytest {pytest.__version__} (wheel)", ("sha256", hashlib.sha256(Path(path).read_bytes()).hexdigest())
    )
    assert Wheels().owner(os.path.join(sys.prefix, "bin", "activate")) is None


def test_a_file_of_a_wheel(tmp_path: Path) -> None:
    library = tmp_path / "opt/lib/python3.11/site-packages"
    info = library / "some_tool-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text(
        'some_tool/driver,sha256=YWJj,3\nsome_tool/bin/tool,sha256=YWJj,3\n../../../bin/some-tool,,\n"../../../bin/a,b",md5=x,1\n../../../bin/odd,sha256=*,1\n'
    )
    (library / "empty-1.dist-info").mkdir()
    wheels = Wheels()
    assert wheels.owner(f"{library}/some_tool/bin/tool") == Owner("some_tool 1.0 (wheel)", ("sha256", "616263"))
    assert wheels.owner(f"{library}/some_tool/driver") == Owner("some_tool 1.0 (wheel)", ("sha256", "616263"))
    assert wheels.owner(f"{library}/some_tool/drive") is None
    for name in ("some-tool", "a,b"):
        assert wheels.owner(f"{tmp_path}/opt/bin/{name}") == Owner("some_tool 1.0 (wheel)")
    assert wheels.owner(f"{tmp_path}/opt/bin/odd") == Owner("some_tool 1.0 (wheel)", ("sha256", ""))
    assert wheels.owner(f"{tmp_path}/opt/bin/some") is None
    assert wheels.owner(f"{library}/some_tool/bin/too") is None


@pytest.mark.parametrize("lib", ["lib/python3.13t", "lib64/python3.9", "lib/pypy3.10"])
def test_a_script_beside_the_library_of_any_python(tmp_path: Path, lib: str) -> None:
    info = f"{lib}/site-packages/tool-1.dist-info/RECORD".replace("/", "__")
    tree(tmp_path, **{info: "../../../bin/tool,,\n"})
    assert Wheels().owner(f"{tmp_path}/bin/tool") == Owner("tool 1 (wheel)")


def test_a_wheel_that_is_installed_later(tmp_path: Path) -> None:
    wheels, tool = Wheels(), f"{tmp_path}/bin/tool"
    stamps = [wheels.stamp(tool)]
    for version in ("1", "2"):
        assert (wheels.owner(tool) is None) is (version == "1")
        info = f"lib__python3.11__site-packages__tool-{version}.dist-info__RECORD"
        tree(tmp_path, **{info: "../../../bin/tool,,\n"})
        stamps.append(wheels.stamp(tool))
        assert wheels.owner(tool) is not None
    assert len(set(stamps)) == 3
    for folder in (tmp_path / "lib/python3.11/site-packages").iterdir():
        shutil.rmtree(folder)
    assert wheels.owner(tool) is None


def test_a_digest_of_a_wheel_that_is_no_ascii(tmp_path: Path) -> None:
    info = "lib__python3.11__site-packages__tool-1.dist-info__RECORD"
    tree(tmp_path, **{info: "../../../bin/tool,sha256=\N{BULLET},1\n"})
    assert Wheels().owner(f"{tmp_path}/bin/tool") == Owner("tool 1 (wheel)")


def test_a_record_of_a_wheel_that_is_no_csv(tmp_path: Path) -> None:
    info = "lib__python3.11__site-packages__tool-1.dist-info__RECORD"
    tree(tmp_path, **{info: f"../../../bin/tool,{'x' * 200_000},1\n"})
    with pytest.raises(Unreadable, match=r"the RECORD in tool-1\.dist-info can't be read \(field larger"):
        Wheels().owner(f"{tmp_path}/bin/tool")


@pytest.mark.parametrize("kind", ["fifo", "large", "folder"])
def test_nothing_is_waited_for(tmp_path: Path, kind: str) -> None:
    """Whoever can make an environment can put anything there."""
    info = tmp_path / "lib/python3.11/site-packages/tool-1.dist-info"
    info.mkdir(parents=True)
    record = info / "RECORD"
    if kind == "fifo":
        os.mkfifo(record)
    elif kind == "folder":
        record.mkdir()
    else:
        record.touch()
        os.truncate(record, 1 << 29)
    with pytest.raises(Unreadable, match="it is no file, or too large"):
        Wheels().owner(f"{tmp_path}/bin/tool")


# ---- where a file lies ----


class Packages:
    """A database that is played."""

    def __init__(self, **owners: Owner | str) -> None:
        self._owners = owners
        self.asked: list[str] = []
        self.state = 0

    def stamp(self, path: str) -> object:
        if self._owners.get(os.path.basename(path)) == "there is no stamp":
            raise Unreadable("there is no stamp")
        return self.state

    def owner(self, path: str) -> Owner | None:
        self.asked.append(path)
        found = self._owners.get(os.path.basename(path))
        if isinstance(found, str):
            raise Unreadable(found)
        return found


def origin(path: object, *databases: Database) -> Origin:
    return Machine(databases).origin(str(path))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In a folder that passes for none that is temporary, nor one that others can write."""
    monkeypatch.setattr(module, "_TEMPORARY", ("/somewhere",))
    monkeypatch.setenv("TMPDIR", "/else")
    path = tmp_path / "tool"
    path.write_text(TOOL)
    path.chmod(0o755)
    return path


def test_no_package(program: Path) -> None:
    assert str(origin(program, Packages())) == "no package"


def test_a_package(program: Path) -> None:
    package = Packages(tool=Owner("tool 1 (x)", ("sha256", hashlib.sha256(TOOL.encode()).hexdigest())))
    assert origin(program, Packages(), package) == Origin(True, "tool 1 (x)")
    assert str(origin(program, package)) == "tool 1 (x)"
    program.write_text("another")
    assert origin(program, package).remarks == (CHANGED,)
    assert str(origin(program, package)) == f"tool 1 (x); {CHANGED}"


@pytest.mark.parametrize("digest", [None, ("no such hash", "0"), ("sha256", ""), ("sha256", "00")])
def test_a_package_without_a_digest_that_can_be_compared(program: Path, digest: tuple[str, str] | None) -> None:
    assert origin(program, Packages(tool=Owner("tool 1 (x)", digest))) == Origin(True, "tool 1 (x)")


def test_what_can_not_be_told(program: Path) -> None:
    assert origin(program, Packages(tool="it is locked"), Packages()) == Origin(None, why="it is locked")
    assert str(origin(program, Packages(tool="it is locked"))) == "not known (it is locked)"
    assert origin(program, Packages(tool="it is locked"), Packages(tool=Owner("tool 1 (x)"))).owned is True


def test_each_file_is_looked_up_once(program: Path) -> None:
    packages = Packages()
    machine = Machine([packages])
    assert machine.origin(str(program)) is machine.origin(str(program))
    assert packages.asked == [str(program)]
    packages.state += 1  # something was installed
    assert machine.origin(str(program)).owned is False
    assert packages.asked == [str(program)] * 2
    assert origin(program, Packages(tool="there is no stamp")) == Origin(None, why="there is no stamp")


def test_a_memfd() -> None:
    packages = Packages()
    assert origin("memfd:tool", packages) == Origin(False, remarks=(MEMFD,))
    assert packages.asked == []


def test_what_is_gone(program: Path) -> None:
    program.unlink()
    assert origin(program, Packages()) == Origin(False, remarks=(GONE,))
    assert origin(program, Packages(tool=Owner("tool 1 (x)", ("md5", "0")))).remarks == (GONE,)


@pytest.mark.parametrize("how", ["listed", "TMPDIR"])
def test_what_is_temporary(program: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "listed":
        monkeypatch.setattr(module, "_TEMPORARY", (str(program.parent.parent),))
    else:
        monkeypatch.setenv("TMPDIR", f"{program.parent}/")
    assert origin(program).remarks == (TEMPORARY,)


@pytest.mark.parametrize(
    ("file", "folder", "writable"),
    [
        (0o755, 0o755, False),
        (0o757, 0o755, True),
        (0o755, 0o777, True),
        (0o755, 0o1777, False),  # in which files are their owners' alone
        (0o757, 0o1777, True),
        (0o775, 0o775, False),  # for this process's own group
    ],
)
def test_what_others_can_write(program: Path, file: int, folder: int, writable: bool) -> None:
    program.chmod(file)
    program.parent.chmod(folder)
    assert (WRITABLE in origin(program).remarks) is writable


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
@pytest.mark.parametrize("part", ["", ".."])
@pytest.mark.parametrize(
    ("owner", "mode", "writable"), [((54321, -1), 0o755, True), ((-1, 54321), 0o775, True), ((-1, 54321), 0o755, False)]
)
def test_what_another_owns(program: Path, part: str, owner: tuple[int, int], mode: int, writable: bool) -> None:
    path = program if not part else program.parent
    path.chmod(mode)
    os.chown(path, *owner)
    assert (WRITABLE in origin(program).remarks) is writable


# ---- the pattern ----


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def machine(**owners: Owner | str) -> None:
        monkeypatch.setattr(module, "_here", [Machine([Packages(**owners)])])

    return machine


GIT = Owner("git 1 (x)")


def test_its_answer_for_a_command_is_that_of_now(machine: Callable[..., None]) -> None:
    """A test may have installed the package meanwhile."""
    pattern, git = compile_pattern("unowned:"), ran("git", at=1)
    machine()
    assert pattern.match(git, Side.FORBID) is True
    machine(git=GIT)
    assert pattern.match(git, Side.FORBID) is False


def match(record: Any, side: Side = Side.FORBID) -> Match:
    return compile_pattern("unowned:").match(record, side)


def test_unowned(machine: Callable[..., None]) -> None:
    machine(git=GIT, locked="it is locked")
    for side in Side:
        assert match(ran("git", at=1), side) is False
        assert match(ran("tool", at=1), side) is True
        assert match(ran("locked", at=1), side) is None
    unread = ran("git", at=1)
    unread._command.executable = None
    assert match(unread) is None


def test_an_unowned_script(machine: Callable[..., None]) -> None:
    """To forbid, the interpreter counts as well."""
    machine(python=GIT, release=GIT)
    script = ran("release", at=1)
    for executable, file, forbidden, found in (
        ("/usr/bin/python", "/usr/bin/release", False, False),
        ("/usr/bin/python", "/srv/other", True, True),
        ("/opt/python3", "/usr/bin/release", True, False),
        ("/usr/bin/python", None, None, None),
    ):
        command = script._command
        command.executable, command.interpreter, command.script = executable, "/usr/bin/python", file
        assert (match(script), compile_pattern("unowned:").match(script)) == (forbidden, found)


@pytest.mark.parametrize("text", ["unowned:/opt/*", "unowned:x"])
def test_it_takes_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="takes nothing behind it"):
        compile_pattern(text)


def test_of_a_stored_report_its_own_machine_counts(machine: Callable[..., None]) -> None:
    machine(git=GIT, locked="it is locked")
    document = with_origins(stored("git", "tool", "locked"))
    machine(tool=GIT, locked=GIT)  # on the machine that reads it
    again = reading.load(dump(document))
    assert again.runs[0].origins == document.runs[0].origins
    assert [match(record) for record in again.units[0].records] == [False, True, None]
    without = reading.load(dump(stored("git")))
    assert without.runs[0].origins is None
    assert match(without.units[0].records[0]) is None


def stored(*programs: str) -> Document:
    records = tuple(ran(name, at=at) for at, name in enumerate(programs, 1))
    return Document((a_run(),), (Unit("test", "test_a", phases={"call": (0, 1)}, outcome="passed", records=records),))


# ---- in reports ----


def test_what_no_package_owns_comes_first(machine: Callable[..., None]) -> None:
    machine(git=GIT, gone=Owner("gone 1 (x)"), locked="it is locked")
    document = with_origins(stored("git", "git", "tool", "locked", "memfd:x"))
    assert [(path, count) for path, count, _ in table(document)] == [
        ("/usr/bin/memfd:x", 1),
        ("/usr/bin/tool", 1),
        ("/usr/bin/locked", 1),
        ("/usr/bin/git", 2),
    ]


def test_a_report_shows_it(machine: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine(git=GIT)
    path = tmp_path / "a.json"
    path.write_text(dump(with_origins(stored("git", "tool-of-mine"))))
    assert main(["report", str(path), "--provenance"]) == 0
    out = capsys.readouterr().out
    assert "provenance          1  /usr/bin/tool-of-mine: no package; not there any more\n" in out
    assert "                    1  /usr/bin/git: git 1 (x)" in out
    assert main(["report", str(path), "--format", "html"]) == 0
    assert "no package; not there any more" in capsys.readouterr().out
    assert main(["report", str(path), "--provenance", "--format", "html"]) == 2
    path.write_text(dump(stored("git")))
    assert main(["report", str(path), "--provenance"]) == 0
    assert "of 1 of 1 runs it was not looked up" in capsys.readouterr().out
    assert in_force().on
