"""What must not run is caught under every name it has, and what may run is what was loaded."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import Programs
from users import needs_root

from pytest_execprobe import ExecLog, ExecProbe, ExecRecord, IncompleteLogError
from pytest_execprobe.log.pattern import Side
from pytest_execprobe.log.patterns import compile_pattern

pytestmark = pytest.mark.exec_budget(20)


def script(path: Path, interpreter: str | Path = "/bin/sh", body: str = "") -> Path:
    path.write_text(f"#!{interpreter}\n{body}\n")
    path.chmod(0o755)
    return path


def run(*command: str | Path, **options: object) -> None:
    subprocess.run(command, check=True, timeout=60, **options)  # type: ignore[call-overload]


def is_forbidden(execprobe: ExecLog, *patterns: object) -> None:
    """Each of them is found by what must not run."""
    for pattern in patterns:
        with pytest.raises(AssertionError, match="must not run"):
            execprobe.assert_not_ran(pattern)  # type: ignore[arg-type]


# ---- multi-call programs ----


@pytest.mark.parametrize(
    "path", ["/proc/self/exe", "//proc/self/exe", "/proc/self/fd/../exe", "/proc/thread-self/exe", "-", "itself"]
)
def test_program_that_executes_itself_under_another_name(execprobe: ExecProbe, programs: Programs, path: str) -> None:
    run(programs.multicall, programs.multicall if path == "itself" else path, "applet")
    is_forbidden(execprobe, "applet", "multicall", programs.multicall.as_posix(), ["applet"])
    execprobe.assert_ran("applet", times=1)
    assert execprobe.programs == ["multicall", "multicall"]
    with pytest.raises(AssertionError):
        execprobe.assert_only_ran("applet")
    execprobe.assert_only_ran("multicall")
    assert "(argv[0]: applet)" in execprobe.tree()


@pytest.mark.may_skip
def test_busybox_runs_its_own_tools(execprobe: ExecProbe) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("there is no busybox")
    run(busybox, "sh", "-c", "sleep 0; :")
    if len(execprobe.records) == 1:
        pytest.skip("this busybox runs its tools without an exec")
    is_forbidden(execprobe, "sleep", "argv:sleep 0")
    execprobe.assert_ran("argv:sleep 0", times=1)


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("/", "/dev/stdin"),
        ("/proc/self/fd", "./0"),
        ("/proc/self", "fd/0"),
        ("/dev", "./fd/0"),
        ("/", "/./dev/fd/0"),
        ("/", "/proc/self/root/dev/fd/0"),
        ("/", "/proc/self/cwd/proc/self/fd/0"),
    ],
)
def test_program_by_a_descriptor(execprobe: ExecProbe, programs: Programs, folder: str, path: str) -> None:
    with programs.minimal.open("rb") as file:
        code = f"import os; os.chdir({folder!r}); os.execv({path!r}, ['applet'])"
        run(sys.executable, "-I", "-S", "-c", code, stdin=file)
    is_forbidden(execprobe, "applet", "minimal", "argv:applet")
    assert execprobe.records[-1].program == "minimal"


def test_program_by_a_link_to_where_descriptors_are(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    """Nothing tells that from a file with a number for a name."""
    (tmp_path / "link").symlink_to("/proc/self/fd")
    with programs.minimal.open("rb") as file:
        code = f"import os; os.execv({f'{tmp_path}/link/0'!r}, ['applet'])"
        run(sys.executable, "-I", "-S", "-c", code, stdin=file)
    is_forbidden(execprobe, "minimal")
    for check in (execprobe.assert_ran, execprobe.assert_not_ran):
        with pytest.raises(IncompleteLogError):
            check("applet")
    execprobe.assert_not_ran("other")


def test_link_is_known_by_the_program_that_it_leads_to(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(programs.minimal)
    run("./link", cwd=tmp_path)
    is_forbidden(execprobe, "minimal", "link", f"{tmp_path}/link", f"{tmp_path}//./link", str(programs.minimal))
    execprobe.assert_only_ran("link")
    execprobe.assert_only_ran(str(programs.minimal))
    with pytest.raises(AssertionError):
        execprobe.assert_only_ran(f"{tmp_path}/*")
    assert execprobe.count("minimal") == 0


@pytest.mark.parametrize("is_script", [False, True])
def test_program_is_known_by_links_on_the_way_to_it(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, is_script: bool
) -> None:
    """As cc is gcc, and that x86_64-linux-gnu-gcc-12; python is python3, and that python3.11."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    file = tmp_path / "usr/bin/gcc-12"
    script(file) if is_script else shutil.copy(programs.minimal, file)
    (tmp_path / "usr/bin/gcc").symlink_to("gcc-12")
    (tmp_path / "etc/alternative").symlink_to(tmp_path / "bin/gcc")
    (tmp_path / "bin/cc").symlink_to(tmp_path / "etc/alternative")
    run("bin/cc", "-c", cwd=tmp_path)
    is_forbidden(execprobe, "gcc", "argv:gcc -c", "re:^gcc -c$", "alternative", f"{tmp_path}/etc/*", "cc", "gcc-12")
    is_forbidden(execprobe, f"{tmp_path}/usr/bin/gc[c]", f"{tmp_path}/bin/gc[c]")
    execprobe.assert_not_ran("g", "bin", "etc", f"{tmp_path}/usr/bin/a*")
    assert (execprobe.count("gcc"), execprobe.count(f"{tmp_path}/etc/*")) == (0, 0)
    with execprobe.watch() as log:
        run(script(tmp_path / "tool", tmp_path / "bin/cc"))
        is_forbidden(log, "gcc", f"{tmp_path}/etc/*", f"argv:gcc {tmp_path}/tool")
    file.unlink()
    is_forbidden(execprobe, "gcc")  # as was found before


def test_links_that_lead_elsewhere_by_now_are_no_names(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "between").symlink_to(programs.minimal)
    (tmp_path / "link").symlink_to("between")
    (tmp_path / "loop").symlink_to("loop")
    run("./link", cwd=tmp_path)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "other").symlink_to(programs.execat)
    execprobe.assert_not_ran("between", "other")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("loop")
    execprobe.assert_not_ran("loop")
    is_forbidden(execprobe, "link", "minimal")


def test_folder_with_a_link_in_it_is_known_by_what_it_leads_to(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "home").symlink_to("data")
    shutil.copy(programs.minimal, tmp_path / "data/tool")
    run("./tool", cwd=tmp_path / "home")
    is_forbidden(execprobe, f"{tmp_path}/home/*", f"{tmp_path}/home/t*", f"{tmp_path}/home/tool")
    execprobe.assert_only_ran(f"{tmp_path}/home/*")


def test_folder_that_execveat_is_given_is_not_known(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(programs.minimal)
    run(programs.execat, tmp_path, "link")
    assert last(execprobe).path == "/dev/fd/3/link"
    is_forbidden(execprobe, "link", "minimal", f"{tmp_path}/link")
    for pattern in (f"{tmp_path}/*", "/nowhere/*", "/nowhere/link"):
        with pytest.raises(IncompleteLogError, match="cannot tell whether"):
            execprobe.assert_not_ran(pattern)
    execprobe.assert_not_ran("/opt/other")


@pytest.mark.exec_deny(inherit=False)
@pytest.mark.parametrize("is_script", [False, True])
def test_path_that_is_longer_than_what_is_kept_has_no_name(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, is_script: bool
) -> None:
    """With the descriptor in front it is; its end is the name of a link, which nothing else tells."""
    tool = script(tmp_path / "tool", programs.minimal) if is_script else programs.minimal
    (tmp_path / "link").symlink_to(tool)
    run(programs.execat, tmp_path, 2045 * "./" + "link")
    assert (last(execprobe).path, last(execprobe).program) == (None, None)
    assert (last(execprobe).arguments is None) is is_script
    is_forbidden(execprobe, "minimal")
    for pattern in ("link", "curl"):
        with pytest.raises(IncompleteLogError):
            execprobe.assert_not_ran(pattern)


def in_a_mount_of_its_own(folder: Path, commands: str) -> None:
    unshare = shutil.which("unshare") or pytest.skip("there is no unshare")
    made = subprocess.run([unshare, "-Urm", "/bin/sh", "-ec", commands], cwd=folder, capture_output=True, timeout=60)
    if made.returncode == 77:
        pytest.skip(f"nothing can be mounted here: {made.stderr.decode()}")
    assert made.returncode == 0, made.stderr


@pytest.mark.exec_deny(inherit=False)
@pytest.mark.parametrize(
    "commands",
    [
        "mount -t tmpfs none m || exit 77; mkdir -p m/usr/bin; cp %s m/usr/bin/tool; cd m/usr/bin; umount -l %s/m",
        "mkdir -p a/usr/bin; cp %s a/usr/bin/tool; mount --bind a m || exit 77; cd m/usr/bin; mv %s/a/usr/bin %2$s/b",
    ],
    ids=["umount -l", "moved out of its mount"],
)
@pytest.mark.parametrize("is_script", [False, True])
def test_what_has_no_place_in_the_tree_of_mounts_has_no_path(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, commands: str, is_script: bool
) -> None:
    (tmp_path / "m").mkdir()
    tool = script(tmp_path / "script") if is_script else programs.minimal
    commands = commands.replace("%s", shlex.quote(str(tool)), 1).replace("%2$s", "%s")
    in_a_mount_of_its_own(tmp_path, commands.replace("%s", shlex.quote(str(tmp_path))) + "; ./tool")
    ran = last(execprobe)
    assert (ran.path, ran.script if is_script else ran.executable, ran.cwd) == ("./tool", None, None)
    assert ran._command.nested == (None if is_script else ())
    execprobe.assert_ran("tool")
    for check in (execprobe.assert_not_ran, execprobe.assert_only_ran):
        with pytest.raises((AssertionError, IncompleteLogError)) as raised:
            check("/usr/bin/tool", "/usr/bin/[!t]*", "/bin/*", "/usr/sbin/*")
        assert check == execprobe.assert_not_ran or raised.type is IncompleteLogError


@pytest.mark.parametrize("folder", ["m/usr", "m"])
@pytest.mark.parametrize("times", [1, 2])
def test_paths_of_one_mount_have_what_is_above_it_too(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, folder: str, times: int
) -> None:
    """The way from a mount to the root is gone once for all files of an exec; mounts can lie over each other."""
    (tmp_path / "m").mkdir()
    mounts = "mount -t tmpfs none m || exit 77; " * times
    tool = f"{folder}/tool"
    in_a_mount_of_its_own(
        tmp_path, f"{mounts} mkdir -p m/usr; cp {shlex.quote(str(programs.minimal))} {tool}; cd {folder}; ./tool"
    )
    ran = last(execprobe)
    assert (ran.executable, ran.cwd) == (str(tmp_path / tool), str(tmp_path / folder))


@pytest.mark.exec_deny(inherit=False)
def test_a_mount_that_has_gone_is_not_taken_for_the_one_that_is_walked_after_it(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    interpreter = "'#!/proc/self/fd/3/interpreter\\n'"
    in_a_mount_of_its_own(
        tmp_path,
        f"mount -t tmpfs none m || exit 77; cp {shlex.quote(str(programs.minimal))} m/interpreter;"
        f" printf {interpreter} >m/script; chmod +x m/script; exec 3<m; umount -l m; cd /; /proc/self/fd/3/script",
    )
    ran = last(execprobe)
    assert ran.interpreter == "/proc/self/fd/3/interpreter"
    assert (ran.executable, ran.cwd, ran.script) == (None, "/", None)


# What has made a mount, and has not put it into any folder, becomes usr/bin/git in it.
IN_NO_FOLDER = """
import ctypes, os, shutil
def call(*words):
    done = ctypes.CDLL(None).syscall(*(ctypes.c_long(word) if type(word) is int else word for word in words))
    return done if done >= 0 else os._exit(77)
%s
os.makedirs("usr/bin", exist_ok=True)
if not os.path.exists("usr/bin/git"):
    shutil.copy(%r, "usr/bin/git")
os.execv("usr/bin/git", ["git"])
"""
FSMOUNT = """
new = call(430, b"tmpfs", 0)
call(431, new, 6, None, None, 0)
os.chdir(call(432, new, 0, 0))
"""
OPEN_TREE = """os.chdir(call(428, -100, b".", 1))"""


@pytest.mark.exec_deny(inherit=False)
@pytest.mark.parametrize("mount", [FSMOUNT, OPEN_TREE], ids=["fsmount", "open_tree"])
@pytest.mark.parametrize("is_script", [False, True])
def test_what_is_mounted_in_no_folder_has_no_path(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, mount: str, is_script: bool
) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    tool = script(tmp_path / "usr/bin/git") if is_script else shutil.copy(programs.minimal, tmp_path / "usr/bin/git")
    code = shlex.join([sys.executable, "-I", "-S", "-c", IN_NO_FOLDER % (mount, str(tool))])
    in_a_mount_of_its_own(tmp_path, f"exec {code}")
    ran = last(execprobe)
    assert (ran.path, ran.script if is_script else ran.executable, ran.cwd) == ("usr/bin/git", None, None)
    execprobe.assert_ran("git")
    for pattern in ("/usr/bin/git", "/mnt/*"):
        with pytest.raises(IncompleteLogError):
            execprobe.assert_not_ran(pattern)
    assert compile_pattern("/usr/bin/git").match(ran, Side.ALLOW) is None


@pytest.mark.bpf
@pytest.mark.exec_deny(inherit=False)
@pytest.mark.parametrize("length", [255, 256, 300])
def test_name_that_is_longer_than_what_is_kept_is_not_half_a_name(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, length: int
) -> None:
    (tmp_path / "folder").mkdir()
    name = "curl".rjust(length, "n")
    (tmp_path / "link").symlink_to(f"folder/{name}")
    serve = [sys.executable, "-I", "-S", str(Path(__file__).with_name("programs") / "longname.py"), "folder", name]
    in_a_mount_of_its_own(tmp_path, f"exec {shlex.join([*serve, str(programs.minimal), './link'])}")
    assert last(execprobe).executable == (f"{tmp_path}/folder/{name}" if length < 256 else None)
    with pytest.raises(AssertionError if length < 256 else IncompleteLogError):
        execprobe.assert_not_ran("*curl")


@pytest.mark.parametrize("path", ["bin/tool", "./bin//tool", "/"])
def test_relative_path_is_that_of_one_file_however_it_is_executed(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(programs.minimal, tmp_path / "bin/tool")
    run(tmp_path / "bin/tool" if path == "/" else path, cwd=tmp_path)
    for pattern in ("bin/tool", "./bin/tool", "bin/t*"):
        is_forbidden(execprobe, pattern)
        execprobe.assert_only_ran(pattern)
    execprobe.assert_not_ran("tool/bin", "sbin/tool")
    monkeypatch.chdir(tmp_path)
    with execprobe.watch(allow=["bin/tool"]) as log:
        run(tmp_path / "bin/tool", cwd="/")
    with pytest.raises(AssertionError):
        log.assert_not_ran("bin/t*")


def test_link_in_a_linked_folder(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    """As /bin/java is one in /usr/bin."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr/bin/java").symlink_to(programs.minimal)
    run(tmp_path / "bin/java")
    is_forbidden(execprobe, f"{tmp_path}/usr/bin/*", f"{tmp_path}/usr/b*/java", f"{tmp_path}/bin/*")
    execprobe.assert_not_ran(f"{tmp_path}/usr/bin/p*")


def test_names_with_brackets(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "a[1]").mkdir()
    shutil.copy(programs.minimal, tmp_path / "a[1]/to[o]l")
    run(tmp_path / "a[1]/to[o]l")
    is_forbidden(execprobe, "to[o]l", f"{tmp_path}/a[1]/to[o]l", f"{tmp_path}/a[1]/*")
    execprobe.assert_only_ran(f"{tmp_path}/a[1]/*")


@pytest.mark.parametrize("name", ["tool", "tool (deleted)"])
@pytest.mark.parametrize("is_script", [False, True])
@pytest.mark.parametrize("is_removed", [False, True])
def test_file_is_called_what_it_was_when_it_is_removed(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, name: str, is_script: bool, is_removed: bool
) -> None:
    """By a word behind the name /proc tells that it is."""
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / name
    if is_script:
        script(file)
    else:
        shutil.copy(programs.minimal, file)
    remove = f"os.unlink({str(file)!r}); os.rmdir({str(file.parent)!r})" if is_removed else ""
    code = f"""
import os
os.chdir("folder")
opened = os.open({str(file)!r}, os.O_RDONLY)
os.set_inheritable(opened, True)
{remove}
os.execve(opened, ["x"], {{}})
"""
    run(sys.executable, "-I", "-S", "-c", code, cwd=tmp_path)
    ran = last(execprobe)
    assert ((ran.script if is_script else ran.executable), ran.cwd) == (str(file), str(file.parent))
    is_forbidden(execprobe, [name], [str(file)])


@pytest.mark.parametrize("name", ["tool", "tool (deleted)", "a/../tool"])
def test_program_in_memory_is_in_no_folder(execprobe: ExecProbe, programs: Programs, name: str) -> None:
    code = f"""
import os
memory = os.memfd_create({name!r}, 0)
os.write(memory, open({str(programs.minimal)!r}, "rb").read())
os.execve(memory, ["x"], {{}})
"""
    run(sys.executable, "-I", "-S", "-c", code)
    assert (last(execprobe).program, last(execprobe).executable) == (f"memfd:{name}", f"memfd:{name}")
    is_forbidden(execprobe, [f"memfd:{name}"])


@pytest.mark.parametrize(("argv0", "found"), [("-applet", True), ("/" + 9000 * "x/" + "applet", None)])
@pytest.mark.exec_deny(inherit=False)
def test_argv_zero_of_a_login_shell_and_one_that_is_too_long(
    execprobe: ExecProbe, programs: Programs, argv0: str, found: bool | None
) -> None:
    run(programs.multicall, "/proc/self/exe", argv0)
    with pytest.raises(AssertionError if found else IncompleteLogError):
        execprobe.assert_not_ran("applet")


@pytest.mark.exec_budget(50)
def test_proc_in_a_folder_with_a_line_break_in_its_name(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "a\nb/proc").mkdir(parents=True)
    command = f"{shlex.quote(str(programs.multicall))} proc/self/fd/3 applet 3<{shlex.quote(str(programs.minimal))}"
    in_a_mount_of_its_own(tmp_path, f"cd a*b; mount --rbind /proc proc || exit 77; exec {command}")
    assert last(execprobe).program == "minimal"
    is_forbidden(execprobe, "applet")


# ---- scripts ----


def by_link(file: Path) -> None:
    file.with_name("link").symlink_to(file.name)
    run(file.with_name("link"))


def by_relative_link(file: Path) -> None:
    file.with_name("link").symlink_to(file.name)
    run("x/../link", cwd=file.parent)


def by_linked_folder(file: Path) -> None:
    file.with_name("folder").symlink_to(".")
    run(file.with_name("folder") / file.name)


def by_descriptor(file: Path) -> None:
    with file.open("rb") as opened:
        run(f"/dev/fd/{opened.fileno()}", pass_fds=[opened.fileno()])


def by_execve_of_a_descriptor(file: Path) -> None:
    code = (
        f"import os; fd = os.open({str(file)!r}, os.O_RDONLY); os.set_inheritable(fd, True); os.execve(fd, ['x'], {{}})"
    )
    run(sys.executable, "-I", "-S", "-c", code)


def by_another_script(file: Path) -> None:
    run(script(file.with_name("outer"), file))


def by_a_thread(file: Path) -> None:
    code = f"import os, threading; threading.Thread(target=os.execv, args=({str(file)!r}, ['x'])).start()"
    run(sys.executable, "-I", "-S", "-c", code)


def by_a_shell_that_becomes_it(file: Path) -> None:
    # All that the shell had open and mapped is closed by the same exec.
    run("/bin/sh", "-c", f"exec 3</dev/null 4</dev/null; exec {shlex.quote(str(file))}")


def by_its_path(file: Path) -> None:
    run(file)


ways = pytest.mark.parametrize(
    "execute",
    [
        by_its_path,
        by_link,
        by_relative_link,
        by_linked_folder,
        by_descriptor,
        by_execve_of_a_descriptor,
        by_another_script,
        by_a_thread,
        by_a_shell_that_becomes_it,
    ],
)


@ways
def test_script_is_known_by_its_own_file(execprobe: ExecProbe, tmp_path: Path, execute: Callable[[Path], None]) -> None:
    (tmp_path / "x").mkdir()
    tool = script(tmp_path / "tool")
    execute(tool)
    is_forbidden(execprobe, "tool", str(tool), f"{tmp_path}/*", "sh", os.path.basename(os.path.realpath("/bin/sh")))
    ran = execprobe.records[-1]
    if execute is by_another_script:
        assert (ran.script, ran._command.nested) == (f"{tmp_path}/outer", (str(tool),))
    else:
        assert (ran.script, ran._command.nested) == (str(tool), ())
    with pytest.raises(AssertionError):
        execprobe.assert_only_ran(str(Path(sys.executable).resolve()), "/usr/bin/*", f"{tmp_path}/l*")


def test_script_that_is_an_interpreter_is_known_by_the_link_that_names_it(execprobe: ExecProbe, tmp_path: Path) -> None:
    script(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    run(script(tmp_path / "tool", tmp_path / "link"))
    is_forbidden(execprobe, "link", str(tmp_path / "link"), "real", "tool")


@pytest.mark.bpf
@pytest.mark.exec_deny(inherit=False)
def test_script_of_a_process_with_io_uring_may_be_any(execprobe: ExecProbe, tmp_path: Path) -> None:
    tool = script(tmp_path / "tool")
    code = f"""
import ctypes, os
if ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120)) < 0:
    os._exit(77)
file = os.open({str(tool)!r}, os.O_RDONLY)
os.set_inheritable(file, True)
os.execve(file, ["x"], {{}})
"""
    if subprocess.run([sys.executable, "-I", "-S", "-c", code], timeout=60).returncode == 77:
        pytest.skip("there is no io_uring here")
    assert (last(execprobe).script, last(execprobe)._command.nested) == (None, None)
    for check in (execprobe.assert_ran, execprobe.assert_not_ran, lambda name: execprobe.assert_at_most(0, name)):
        with pytest.raises(IncompleteLogError):
            check("tool")


@needs_root
def test_script_in_a_chroot_is_not_what_its_path_says_outside(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path
) -> None:
    shutil.copy(programs.minimal, tmp_path / "minimal")
    (tmp_path / "usr/bin").mkdir(parents=True)
    script(tmp_path / "usr/bin/tool", "/minimal")
    run("/usr/bin/tool", preexec_fn=lambda: os.chroot(tmp_path))
    assert execprobe.records[0].script == f"{tmp_path}/usr/bin/tool"
    is_forbidden(execprobe, f"{tmp_path}/*", "/usr/bin/tool")
    with pytest.raises(AssertionError):
        execprobe.assert_only_ran("/usr/bin/*")
    execprobe.assert_only_ran(f"{tmp_path}/usr/*")


@pytest.mark.parametrize("folder", ["/", "/bin"])
def test_links_in_a_chroot_lead_to_what_is_in_it(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, folder: str
) -> None:
    """As Alpine's /bin/sh does to /bin/busybox, and Debian's alternatives. What they name outside is another file."""
    jail = tmp_path / "jail"
    inside = jail / str(tmp_path).lstrip("/")
    inside.mkdir(parents=True)
    (jail / "bin").mkdir()
    shutil.copy(programs.minimal, inside / "shell")
    (jail / "bin/sh").symlink_to(tmp_path / "shell")
    for place in (tmp_path, inside):
        script(place / "script")
    (jail / "bin/tool").symlink_to(tmp_path / "script")
    tool = "/bin/tool" if folder == "/" else "./tool"
    code = f"import os; os.chroot('jail'); os.chdir({folder!r}); os.execv({tool!r}, ['tool', 'push'])"
    in_a_mount_of_its_own(tmp_path, f"exec {shlex.join([sys.executable, '-I', '-S', '-c', code])}")
    ran = last(execprobe)
    assert (ran.executable, ran.interpreter, ran.arguments) == (f"{inside}/shell", "/bin/sh", ("push",))
    assert ran.script == f"{inside}/script"
    is_forbidden(execprobe, "argv:tool push", "sh", "script", f"{inside}/s*t")
    with pytest.raises(AssertionError):
        execprobe.assert_only_ran(f"{tmp_path}/script")


@pytest.mark.exec_deny(inherit=False)
def test_interpreter_that_can_be_found_no_more(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    """By a descriptor that the exec has closed."""
    code = f"""
import os
fd = os.open({str(programs.minimal)!r}, os.O_RDONLY | os.O_CLOEXEC)
with open("tool", "w") as file:
    file.write(f"#!/proc/self/fd/{{fd}}\\n")
os.chmod("tool", 0o755)
os.symlink("tool", "link")
os.execv("./link", ["x", "push"])
"""
    run(sys.executable, "-I", "-S", "-c", code, cwd=tmp_path)
    assert last(execprobe).arguments == ("push",)
    is_forbidden(execprobe, "link", "minimal", "argv:link push")
    for pattern in ("tool", f"{tmp_path}/tool"):
        with pytest.raises((AssertionError, IncompleteLogError)):
            execprobe.assert_not_ran(pattern)


@pytest.mark.exec_deny(inherit=False)
def test_interpreter_that_its_user_may_not_read(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    """Of a traced process not even its path is to be had then."""
    shutil.copy(programs.minimal, tmp_path / "shell")
    (tmp_path / "shell").chmod(0o111)
    (tmp_path / "link").symlink_to(script(tmp_path / "tool", tmp_path / "shell"))
    run("./link", "push", cwd=tmp_path)
    for pattern in ("tool", f"{tmp_path}/tool", "argv:link push"):
        with pytest.raises((AssertionError, IncompleteLogError)):
            execprobe.assert_not_ran(pattern)
    with pytest.raises((AssertionError, IncompleteLogError)):
        execprobe.assert_only_ran(f"{tmp_path}/shell")


def test_script_with_very_many_variables(execprobe: ExecProbe, tmp_path: Path) -> None:
    tool = script(tmp_path / "tool")
    run(tool, *["x"] * 20_000, env={f"A{number}": "" for number in range(40_000)})
    assert (last(execprobe).path, last(execprobe).script) == (str(tool), str(tool))


LINES = {
    "blanks": (b"#! \t %s \t -a\t-b  c", ("-a\t-b  c",)),
    "blanks at the end": (b"#!%s -a \t \n", ("-a",)),
    "blanks and no end": (b"#!%s -a \t ", None),
    "no option": (b"#!%s \0-a", ("",)),
    "NUL": (b"#!%s\0-a", ()),
    "NUL in the option": (b"#!%s -a \0b", ("-a ",)),
    "CR": (b"#!%s -a\r", ("-a\r",)),
    "long": (b"#!%s " + 300 * b"a", None),
}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("end", [b"\n", b""])
def test_interpreters_line_is_read_as_the_kernel_reads_it(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, line: str, end: bytes
) -> None:
    text, option = LINES[line]
    tool = tmp_path / "tool"
    tool.write_bytes(text % bytes(programs.minimal) + end)
    tool.chmod(0o755)
    run(tool, "push")
    ran = last(execprobe)
    assert (ran.script, ran.arguments, ran.interpreter) == (str(tool), ("push",), str(programs.minimal))
    assert ran.argv is not None
    assert option is None or ran.argv[1:-2] == option
    with execprobe.watch() as log:  # what is traced goes on
        run(tool)
    log.assert_ran("tool", times=1)


def test_script_that_links_exchange_while_it_runs(execprobe: ExecProbe, tmp_path: Path) -> None:
    """What was opened counts, and not what the path leads to afterwards."""
    link = tmp_path / "link"
    one = script(tmp_path / "one", body=f"ln -sf two {shlex.quote(str(link))}")
    script(tmp_path / "two")
    link.symlink_to("one")
    run(link)
    assert execprobe.records[0].script == str(one)
    is_forbidden(execprobe, "one")
    execprobe.assert_not_ran("two")


def test_deep_folder_is_resolved(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*itertools.repeat("d", 100))
    folder.mkdir(parents=True)
    shutil.copy(programs.minimal, folder)
    tool = script(folder / "tool")
    run(folder / "minimal")
    run(tool)
    assert (execprobe.records[0].executable, execprobe.records[1].script) == (str(folder / "minimal"), str(tool))
    execprobe.assert_not_ran("/nowhere/*")


@pytest.mark.exec_deny(inherit=False)
def test_path_that_is_too_long_to_be_resolved_is_undecided(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path
) -> None:
    # Longer than PATH_MAX, which only relative paths can be.
    code = f"""
import os, shutil
os.chdir({str(tmp_path)!r})
for _ in range(60):
    os.mkdir(200 * "d")
    os.chdir(200 * "d")
shutil.copy({str(programs.minimal)!r}, "minimal")
os.execv("./minimal", ["minimal"])
"""
    run(sys.executable, "-I", "-c", code)
    assert execprobe.records[-1].executable is None
    execprobe.assert_ran("minimal")
    with pytest.raises(IncompleteLogError, match="cannot tell whether curl ran"):
        execprobe.assert_not_ran("curl")


# ---- arguments ----


def test_arguments_of_an_interpreter(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "make").symlink_to(programs.minimal)
    run(script(tmp_path / "rules", f"{tmp_path}/make -f"), "clean")
    is_forbidden(execprobe, "argv:make -f", f"argv:minimal -f {tmp_path}/rules clean", "re:/make -f .*/rules clean$")
    is_forbidden(execprobe, "argv:rules clean", "argv:make clean")
    execprobe.assert_not_ran("argv:make -C")


def last(execprobe: ExecProbe) -> ExecRecord:
    return execprobe.records[-1]


def test_arguments_behind_nested_scripts(execprobe: ExecProbe, tmp_path: Path) -> None:
    inner = script(tmp_path / "inner")
    run(script(tmp_path / "outer", f"{inner} -o"), "push", tmp_path / "outer")
    assert last(execprobe).argv == (
        "/bin/sh",
        str(inner),
        "-o",
        *[str(tmp_path / "outer"), "push"],
        str(tmp_path / "outer"),
    )
    assert last(execprobe).arguments == ("push", str(tmp_path / "outer"))
    assert last(execprobe).interpreter == "/bin/sh"
    is_forbidden(execprobe, "argv:outer push", "argv:inner push")
    for pattern in ("argv:inner -o", "re:^inner -o .*push"):
        with pytest.raises(IncompleteLogError):  # -o may be what the shell is given
            execprobe.assert_not_ran(pattern)
    execprobe.assert_not_ran("argv:inner -x", "argv:sh -o")


def test_option_of_a_script_that_is_its_own_path(execprobe: ExecProbe, tmp_path: Path) -> None:
    """Whether it is an option, or the first argument, stands nowhere."""
    run(script(tmp_path / "tool", f"/bin/echo {tmp_path / 'tool'}"), "push", stdout=subprocess.DEVNULL)
    assert last(execprobe).arguments is None
    with pytest.raises(IncompleteLogError):
        execprobe.assert_not_ran("argv:tool push")
    execprobe.assert_ran("tool")


def test_regular_expression_goes_on_over_the_lines_of_an_argument(execprobe: ExecProbe) -> None:
    run("/bin/echo", "commit", "What\n\nWhy", "--no-verify", stdout=subprocess.DEVNULL)
    is_forbidden(execprobe, "re:commit .* --no-verify", "re:^echo commit")
    execprobe.assert_only_ran("re:^/bin/echo commit .* --no-verify$")


def with_binfmt_misc(folder: Path, kind: str, commands: str) -> None:
    """Linux 6.7 or later has it in user namespaces: nothing of the machine is changed."""
    register = "/proc/sys/fs/binfmt_misc/register"
    mount = f"mount -t binfmt_misc none {os.path.dirname(register)} && echo {shlex.quote(kind)} >{register} || exit 77"
    in_a_mount_of_its_own(folder, f"{mount}; {commands}")


@pytest.mark.parametrize("path", ["./multi", "/dev/stdin", "/proc/self/fd/0"])
def test_program_for_another_machine_that_executes_itself_as_another(
    execprobe: ExecProbe, tmp_path: Path, path: str
) -> None:
    """As qemu's busybox runs its tools: its interpreter is told argv[0] by binfmt_misc."""
    multi = tmp_path / "multi"
    code = f"import os, sys\nif sys.argv[1] != 'applet': os.execv({path!r}, ['applet', 'push'])"
    multi.write_text(f"#HELLO\n{code}\n")
    multi.chmod(0o755)
    python = os.path.realpath(sys.executable)
    with_binfmt_misc(tmp_path, f":hello:M::#HELLO::{python}:P", "exec ./multi <multi")
    assert last(execprobe).argv == (python, path, "applet", "push")
    is_forbidden(execprobe, "applet", "argv:applet push", "re:^applet push$", "multi", os.path.basename(python))
    execprobe.assert_ran("applet", times=1)
    assert "(argv[0]: applet)" in execprobe.tree()


@pytest.mark.parametrize("option", ["", " -e"])
@pytest.mark.parametrize("flags", ["P", "POCF", "F"])
def test_script_whose_interpreter_is_for_another_machine(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, flags: str, option: str
) -> None:
    """As all are in a container for another machine, with what Docker registers for that."""
    shell = tmp_path / "shell"
    shell.write_text("HELLO\n")
    shell.chmod(0o755)
    script(tmp_path / "tool", f"{shell}{option}")
    with_binfmt_misc(tmp_path, f":hello:M::HELLO::{programs.minimal}:{flags}", "exec ./tool push")
    ran = last(execprobe)
    assert (ran.arguments, ran.script, ran._command.nested) == (("push",), f"{tmp_path}/tool", (str(shell),))
    is_forbidden(execprobe, "tool", "shell", "minimal", "argv:tool push")
    execprobe.assert_not_ran("argv:tool pull", "push")


@pytest.mark.parametrize("flags", ["F", "POCF"])
@pytest.mark.parametrize("is_script", [False, True])
def test_interpreter_that_was_opened_beforehand_need_not_be_there(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path, flags: str, is_script: bool
) -> None:
    """As Docker has qemu for containers for other machines, in which it is not."""
    jail = tmp_path / "jail"
    jail.mkdir()
    (jail / "hello").write_text("HELLO\n")
    (jail / "hello").chmod(0o755)
    target = script(jail / "tool", "/hello") if is_script else jail / "hello"
    (jail / "link").symlink_to(target.name)
    code = "import os; os.chroot('jail'); os.execv('/link', ['x', 'push'])"
    command = shlex.join([sys.executable, "-I", "-S", "-c", code])
    with_binfmt_misc(tmp_path, f":hello:M::HELLO::{programs.minimal}:{flags}", f"exec {command}")
    ran = last(execprobe)
    assert (ran.interpreter, ran.script, ran.arguments) == (str(programs.minimal), str(target), ("push",))
    assert ran._command.nested == ((f"{jail}/hello",) if is_script else ())
    is_forbidden(execprobe, "link", target.name, str(target), "minimal", "argv:link push")
    with pytest.raises(AssertionError):
        execprobe.assert_only_ran("/usr/*")


def test_interpreter_with_a_long_path(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    """Longer than what a #! line can have."""
    folder = tmp_path.joinpath(*itertools.repeat(200 * "d", 3))
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(programs.minimal)
    (tmp_path / "hello").write_text("HELLO\n")
    (tmp_path / "hello").chmod(0o755)
    with_binfmt_misc(tmp_path, f":hello:M::HELLO::{folder}/link:", "exec ./hello push")
    assert last(execprobe).interpreter == f"{folder}/link"
    is_forbidden(execprobe, "link", f"{folder}/link", "argv:link push")


@pytest.mark.parametrize("flags", ["P", "OP", "O", ""])
def test_binfmt_misc_interpreter(execprobe: ExecProbe, tmp_path: Path, flags: str) -> None:
    unshare = shutil.which("unshare") or pytest.skip("there is no unshare")
    hello = tmp_path / "hello"
    hello.write_text("HELLO\n")
    hello.chmod(0o755)
    (tmp_path / "link").symlink_to("hello")
    # Linux 6.7 or later has binfmt_misc in user namespaces: nothing of the machine is changed.
    setup = f"""
cd /proc/sys/fs/binfmt_misc && mount -t binfmt_misc none . && cd . &&
    echo :hello:M::HELLO::/bin/echo:{flags} >/proc/sys/fs/binfmt_misc/register || exit 77
cd {shlex.quote(str(tmp_path))}
exec {shlex.quote(sys.executable)} -I -S -c 'import os; os.execv("./link", ["zero", "push", "x"])'
"""
    made = subprocess.run([unshare, "-Urm", "/bin/sh", "-c", setup], capture_output=True, timeout=60)
    if made.returncode == 77:
        pytest.skip(f"this kernel has no binfmt_misc in a user namespace: {made.stderr.decode()}")
    ran = last(execprobe)
    assert (ran.interpreter, ran.script, ran.executable) == ("/bin/echo", str(hello), os.path.realpath("/bin/echo"))
    assert ran.argv == (("/bin/echo", "./link", "zero") if "P" in flags else ("/bin/echo", "./link")) + ("push", "x")
    assert ran.arguments == ("push", "x")
    is_forbidden(execprobe, "argv:hello push", "argv:link push", "argv:echo push")
    execprobe.assert_ran("argv:link push x")
