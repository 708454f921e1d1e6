"""Every form of a pattern, and the three outcomes of a match."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import altered, record, script

from pytest_execprobe import ANY, ExecRecord, subtree
from pytest_execprobe._util.ternary import either
from pytest_execprobe.log.pattern import Side, any_match
from pytest_execprobe.log.patterns import compile_all, compile_pattern


def match(pattern: object, subject: ExecRecord, side: Side = Side.FIND) -> bool | None:
    return compile_pattern(pattern).match(subject, side)  # type: ignore[arg-type]


# ---- names ----


@pytest.mark.parametrize(
    ("pattern", "program", "matches"),
    [
        ("git", "git", True),
        ("git", "git-upload-pack", False),
        ("git", "legit", False),
        ("git", "Git", False),
        ("GIT*", "git", False),
        ("git*", "git-upload-pack", True),
        ("python3*", "python3", True),
        ("python3*", "python3.12", True),
        ("python3*", "python2", False),
        ("python3.?", "python3.9", True),
        ("python3.?", "python3.12", False),
        ("gcc-1[0-3]", "gcc-12", True),
        ("gcc-1[!0-3]", "gcc-12", False),
        ("*", "anything", True),
        ("memfd:*", "memfd:payload", True),
        ("memfd:*", "memfd:tool", True),
        ("a.c", "abc", False),
        ("git*", "git\nclone", True),
        ("git", "git\n", False),
    ],
)
def test_name_is_a_case_sensitive_glob_over_all_of_the_name(pattern: str, program: str, matches: bool) -> None:
    assert match(pattern, record(program)) is matches


def test_name_says_nothing_of_folders() -> None:
    assert match("bin", record("git", path="/usr/bin/git")) is False


def test_name_of_a_link_is_the_links_and_not_its_targets_unless_to_forbid() -> None:
    applet = record("sh", path="/bin/sh", executable="/usr/bin/busybox")
    for side, by_target in ((Side.FIND, False), (Side.ALLOW, False), (Side.FORBID, True)):
        assert match("sh", applet, side) is True
        assert match("busybox", applet, side) is by_target


BUSYBOX = record("busybox", "-c", "sleep 0; :", argv=("busybox", "sh", "-c", "sleep 0; :"))


@pytest.mark.parametrize(
    "applet",
    [
        record("busybox", "0", path="/proc/self/exe", executable="/usr/bin/busybox", argv=("sleep", "0")),
        record("busybox", "0", path="/dev/fd/5", executable="/usr/bin/busybox", argv=("/bin/sleep", "0")),
        record("busybox", "0", path="./5", cwd="/proc/7/fd", executable="/usr/bin/busybox", argv=("sleep", "0")),
        record("busybox", "0", argv=("sleep", "0"), parent=BUSYBOX),  # executes itself, by its path
        record("busybox", "0", argv=("sleep", "0"), previous=BUSYBOX),
    ],
)
@pytest.mark.parametrize("pattern", ["sleep", "sl*", ["sleep", "0"], "re:sleep 0$"])
def test_argv_zero_says_what_was_executed_where_the_path_does_not(pattern: object, applet: ExecRecord) -> None:
    assert match(pattern, applet) is True
    assert match(pattern, applet, Side.FORBID) is True
    assert match(pattern, applet, Side.ALLOW) is False  # any process can write anything there
    assert match("busybox", applet) is True


@pytest.mark.parametrize("by", ["/dev/fd/5", "./multi"])
@pytest.mark.parametrize("nested", [(), None])
def test_argv_zero_that_binfmt_misc_keeps_says_it_as_well(by: str, nested: tuple[str, ...] | None) -> None:
    """What qemu runs, such as the busybox of another machine, is the file that an interpreter is for."""
    multi = record(
        "multi", path="./multi", executable="/usr/bin/qemu", interpreter="/usr/bin/qemu", script="/srv/multi",
        argv=("/usr/bin/qemu", "./multi", "./multi", "sh"), arguments_at=3, cwd="/srv",
    )  # fmt: skip
    applet = altered(multi, path=by, parent=multi, argv=("/usr/bin/qemu", by, "sleep", "0"))
    for pattern in ("sleep", ["sleep", "0"], "re:^sleep 0$"):
        assert match(pattern, applet) is match(pattern, applet, Side.FORBID) is True
        assert match(pattern, applet, Side.ALLOW) is False
        # Of another program it says nothing; and what is no argv[0] is the option of a #! line.
        other = altered(applet, path="./multi", parent=altered(multi, script="/srv/other"))
        assert match(pattern, other, Side.FORBID) is False
        option = altered(applet, path="sleep", argv=("/usr/bin/qemu", by, "sleep", "0"))
        assert match("sleep", altered(option, path="./x", script="/srv/x"), Side.FORBID) is False
    unread = altered(applet, argv=applet.argv[:3], argv_truncated=True)
    assert match("curl", unread, Side.FORBID) is None
    assert match("curl", applet, Side.FORBID) is False
    if nested is None:
        assert match("sleep", altered(applet, script=None, _nested=None, _arguments_at=None), Side.FORBID) is None


@pytest.mark.parametrize(
    ("path", "cwd"),
    [
        ("/dev/fd/4/5", "/"),  # execveat() in /proc/self/fd
        ("/srv/link/5", "/"),  # a link to it
        ("/srv/proc/self/fd/../fd/5", "/"),
        ("/mnt/self/exe", "/"),  # of another mount of /proc
        ("/mnt/7/map_files/55d0c8a00000-55d0c8a01000", "/"),
        ("./5", None),
        ("stdin", None),
    ],
)
def test_path_that_may_lead_through_a_descriptor_gives_no_name(path: str, cwd: str | None) -> None:
    run = record("5", "0", path=path, cwd=cwd, executable="/usr/bin/busybox", argv=("sleep", "0"))
    by_descriptor = path.startswith("/srv/proc")
    for side in (Side.FIND, Side.FORBID):
        for pattern in ("sleep", ["sleep", "0"], "re:^sleep 0$"):
            assert match(pattern, run, side) is (True if by_descriptor else None)
        assert match("curl", run, side) is False
        assert match("sleep", altered(run, argv=None), side) is (True if by_descriptor else None) or by_descriptor
    assert match("busybox", run, Side.FORBID) is True
    assert match("sleep", run, Side.ALLOW) is False


def test_script_that_may_be_executed_by_a_descriptor_may_have_its_files_name() -> None:
    run = record("5", path="/dev/fd/4/5", interpreter="/bin/sh", executable="/usr/bin/dash", script="/opt/tool")
    assert (match("tool", run), match("tool", run, Side.FORBID)) == (None, True)
    assert (match("other", run), match("other", altered(run, script=None))) == (False, None)


def test_program_with_a_number_for_a_name_is_one() -> None:
    run = record("5", path="/opt/5", executable="/opt/5", argv=("sleep",))
    assert (match("sleep", run, Side.FORBID), match("5", run)) == (False, True)


def test_folder_with_a_memfds_name_is_a_folder() -> None:
    run = record("tool", path="memfd:x/curl", cwd="/srv", executable="/usr/bin/tool")
    assert match("curl", run, Side.FORBID) is True
    applet = record("busybox", path="/proc/self/exe", executable="/usr/bin/busybox", argv=("memfd:x/curl",))
    assert match("curl", applet, Side.FORBID) is True


def test_memfd_lies_in_no_folder_whatever_its_name() -> None:
    run = record("tool", path="/dev/fd/5", executable="memfd:usr/bin/git", argv=("git",))
    for pattern in ("*/bin/git", "*/bin/*", "?*/git"):
        assert match(pattern, run, Side.ALLOW) is False
        assert match(pattern, run) is False
        assert match(pattern, run, Side.FORBID) is True
    assert match("memfd:usr/bin/*", run, Side.ALLOW) is True


def test_argv_zero_of_a_login_shell() -> None:
    shell = record("busybox", path="/proc/self/exe", executable="/usr/bin/busybox", argv=("-sh",))
    for pattern in ("sh", "-sh"):
        assert match(pattern, shell, Side.FORBID) is True


def test_argv_zero_that_was_cut_may_end_in_any_name() -> None:
    shell = record("busybox", path="/proc/self/exe", executable="/usr/bin/busybox", argv=("/x/y",), truncated=True)
    assert match("curl", shell, Side.FORBID) is None
    assert match("curl", altered(shell, argv=("/x/y", "z")), Side.FORBID) is False


@pytest.mark.parametrize("path", ["proc/self/fd/5", "proc/self/exe", "dev/stdin"])
def test_folder_with_a_line_break_in_its_name(path: str) -> None:
    run = record("busybox", path=path, cwd="/srv/a\nb", executable="/usr/bin/busybox", argv=("sleep",))
    assert match("sleep", run, Side.FORBID) is True


def test_argv_zero_is_no_name_where_the_path_says() -> None:
    disguised = record("git", argv=("sleep", "0"), parent=BUSYBOX)
    for side in Side:
        assert match("sleep", disguised, side) is False


def test_script_by_a_descriptor_has_its_files_name() -> None:
    run = script(path="/dev/fd/5", file="/opt/tools/release.sh")
    for pattern in ("release.sh", "/opt/tools/*", ["release.sh"], "re:tools/release.sh$"):
        assert match(pattern, run) is True
        assert match(pattern, run, Side.FORBID) is True


@pytest.mark.parametrize("pattern", ["release.sh", "/opt/*", ["release.sh"], "re:release.sh"])
@pytest.mark.parametrize("side", [Side.FIND, Side.FORBID])
def test_script_by_a_descriptor_whose_file_is_not_known_may_be_any(pattern: object, side: Side) -> None:
    assert match(pattern, script(path="/dev/fd/5", file=None), side) is None


@pytest.mark.parametrize("side", [Side.FIND, Side.FORBID])
@pytest.mark.parametrize(
    "unread",
    [
        record("busybox", path="/proc/self/exe", executable="/usr/bin/busybox", argv=None),
        record("busybox", argv=None, parent=BUSYBOX),
        record("busybox", argv=("sleep",), parent=BUSYBOX, executable=None),
        record("busybox", argv=("sleep",), parent=altered(BUSYBOX, executable=None)),
        record("busybox", argv=("sleep",), lineage_lost=True),
    ],
)
def test_what_may_have_been_called_so_is_undecided(unread: ExecRecord, side: Side) -> None:
    assert match("sleep", unread, side) is None
    assert match("busybox", unread, side) is True
    assert match("sleep", unread, Side.ALLOW) is False


def test_argv_zero_that_is_the_paths_own_name_says_no_more() -> None:
    orphan = record("git", "push", path="/usr/bin/git", argv=("git", "push"), lineage_lost=True)
    for side in (Side.FIND, Side.ALLOW):
        assert match("re:^git push", orphan, side) is False


@pytest.mark.parametrize(
    ("argv", "at", "matches"),
    [
        (("/bin/sh", "/opt/link", "./tool"), 3, True),
        (("/bin/sh", "/opt/link", "-e", "./tool"), 4, None),  # one of both is an option
        (("/bin/sh", "/opt/link", "./tool", "./tool"), None, None),
        (None, None, None),
    ],
)
@pytest.mark.parametrize("pattern", ["link", "/opt/link", "/opt/l*"])
def test_script_that_is_an_interpreter_is_found_by_the_path_in_the_line(
    pattern: str, argv: tuple[str, ...] | None, at: int | None, matches: bool | None
) -> None:
    run = record(
        "tool", path="./tool", executable="/usr/bin/dash", interpreter="/bin/sh", script="/srv/tool",
        nested=("/srv/real",), cwd="/srv", argv=argv, arguments_at=at,
    )  # fmt: skip
    assert match(pattern, run, Side.FORBID) is matches
    assert match(pattern, run, Side.ALLOW) is False
    assert match("real", run, Side.FORBID) is True
    assert match("curl", run, Side.FORBID) is (None if argv is None else False)


@pytest.mark.parametrize("path", ["/dev/fd/5/tool", "/proc/self/cwd/tool", "/proc/7/root/opt/tool", "fd/5/tool"])
@pytest.mark.parametrize("side", [Side.FIND, Side.FORBID])
def test_folder_that_a_descriptor_names_is_not_known(path: str, side: Side) -> None:
    run = record("tool", path=path, executable="/usr/bin/real", cwd="/proc/7")
    for pattern in ("/opt/*", "/opt/tool", "*/bin/tool"):
        assert match(pattern, run, side) is None
    assert match("/opt/other", run, side) is False
    assert match("/usr/bin/*", run, side) is True
    assert match("/opt/*", run, Side.ALLOW) is False


@pytest.mark.parametrize("pattern", ["perl", "perl5.36", "/usr/bin/perl", "outer", "/opt/outer", "re:^/usr/bin/perl"])
def test_what_must_not_run_is_found_in_a_scripts_interpreters(pattern: str) -> None:
    run = record(
        "tool", path="./tool", executable="/usr/bin/perl5.36", interpreter="/usr/bin/perl", script="/opt/tool",
        nested=("/opt/outer",), cwd="/opt", argv=("/usr/bin/perl", "/opt/outer", "./tool"), arguments_at=3,
    )  # fmt: skip
    assert match(pattern, run, Side.FORBID) is True
    assert match(pattern, run, Side.ALLOW) is False
    assert match("python3", run, Side.FORBID) is False


@pytest.mark.parametrize(
    ("between", "matches"),
    [
        (("./inner",), {"inner ./tool": True, "real ./tool push": True, "sh ./inner": True, "inner push": True}),
        (("./inner", "-o"), {"inner -o ./tool": None, "real -o": None, "sh ./inner -o": True, "sh -o": False}),
        (("-e", "./inner"), {"inner ./tool": None, "sh -e ./inner": True, "inner -e": False}),
        (("-e", "./inner", "-o"), {"inner -o ./tool push": None, "sh -e": True, "sh -o": False, "inner -x": False}),
    ],
)
def test_what_must_not_run_is_found_in_what_a_script_that_is_an_interpreter_is_given(
    between: tuple[str, ...], matches: dict[str, bool | None]
) -> None:
    """Which word is an option, and of which of both, stands nowhere."""
    run = record(
        "tool", "push", path="./tool", executable="/usr/bin/dash", interpreter="/bin/sh", script="/srv/tool",
        nested=("/srv/real",), cwd="/srv", argv=("/bin/sh", *between, "./tool", "push"), arguments_at=len(between) + 2,
    )  # fmt: skip
    for words, expected in matches.items():
        assert match(f"argv:{words}", run, Side.FORBID) is expected
        assert match(f"argv:{words}", run, Side.ALLOW) is False
        if words != "inner push":  # so it is in no command line
            assert match(f"re:^{words}", run, Side.FORBID) is expected


@pytest.mark.parametrize("arguments_at", [3, None])
def test_what_must_not_run_is_found_in_what_an_interpreter_is_given(arguments_at: int | None) -> None:
    rules = record(
        "rules", path="debian/rules", executable="/usr/bin/make", interpreter="/usr/bin/gmake",
        script="/src/debian/rules", argv=("/usr/bin/gmake", "-f", "debian/rules", "clean"), arguments_at=arguments_at,
    )  # fmt: skip
    for pattern in ("argv:make -f", "argv:/usr/bin/gmake -f debian/rules clean", "re:^make -f debian/rules clean$"):
        assert match(pattern, rules, Side.FORBID) is True
        assert match(pattern, rules, Side.ALLOW) is not True
        assert match(pattern, rules) is not True
    assert match(["make", "-C"], rules, Side.FORBID) is (None if arguments_at is None else False)
    assert match(["make", "clean"], rules, Side.FORBID) is (None if arguments_at is None else True)
    assert match(["make", "-f"], altered(rules, argv=None), Side.FORBID) is None


@pytest.mark.parametrize("missing", [{"script": None}, {"_nested": None}, {"executable": None}])
def test_what_may_have_another_name_is_undecided_to_forbid(missing: dict[str, None]) -> None:
    run = altered(script(file="/opt/real.sh"), **missing)  # type: ignore[arg-type]
    assert match("curl", run, Side.FORBID) is None
    assert match("curl", run) is False
    assert match("release.sh", run, Side.FORBID) is True


def test_unread_name_is_undecided() -> None:
    assert match("git", record(None, executable=None)) is None


# ---- paths ----


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("/usr/bin/git", True),
        ("/usr/bin/*", True),
        ("/usr/*", True),
        ("*/git", True),
        ("/nonexistent/git", False),
        ("bin/git", False),
        ("/USR/BIN/GIT", False),
        ("/usr/bin/gi", False),
    ],
)
def test_path_is_a_glob_whose_star_crosses_slashes(pattern: str, matches: bool) -> None:
    assert match(pattern, record("git", path="/usr/bin/git", cwd="/srv")) is matches


@pytest.mark.parametrize("stars", ["/**/", "/**/**/", "/**/x/**/"])
def test_two_stars_are_any_number_of_folders_and_none(stars: str) -> None:
    folder = "/opt/x" if "x" in stars else "/opt"
    for between, matches in (("/", True), ("/a/", True), ("/a/b/", True), ("-", False)):
        assert match(f"/opt{stars}git", record("git", path=f"{folder}{between}git")) is matches


def test_name_with_brackets_is_its_own_pattern(tmp_path: Path) -> None:
    """Others that it stands for, it still does."""
    (tmp_path / "a[1]").mkdir()
    literal, other = (record("x[y]", path=f"{tmp_path}/{folder}/x[y]") for folder in ("a[1]", "a1"))
    for side in Side:
        for pattern in ("x[y]", f"{tmp_path}/a[1]/x[y]", f"{tmp_path}/a[1]/x*"):
            assert match(pattern, literal, side) is True
        assert match(f"{tmp_path}/a[1]/x*", other, side) is True
        assert match("x[z]", literal, side) is match(f"{tmp_path}/a[1]/x[y]", other, side) is False


@pytest.mark.parametrize("pattern", ["bin/tool", "./bin/tool", "bin//tool", "bin/*", "./bin/t*"])
@pytest.mark.parametrize("path", ["bin/tool", "./bin/tool", "bin//tool", "/srv/bin/tool", "../srv/bin/tool"])
def test_relative_path_is_taken_from_where_the_process_is(pattern: str, path: str) -> None:
    for side in Side:
        assert match(pattern, record("tool", path=path, executable="/srv/bin/tool", cwd="/srv"), side) is True
        elsewhere = record("tool", path="/opt/bin/tool", cwd="/srv")
        assert match(pattern, elsewhere, side) is False
        assert match(pattern, altered(elsewhere, cwd=None), side) is None
    linked = record("tool", path=path, executable="/opt/real", cwd="/srv")
    assert (match(pattern, linked), match(pattern, linked, Side.ALLOW)) == (True, False)


def test_relative_path_is_taken_from_where_it_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("bin")
    tool = record("tool", path=f"{tmp_path}/bin/tool", cwd="/srv")
    patterns = [compile_pattern(text) for text in ("bin/tool", "bin/*", "link/tool", "./link/t*", "../*/bin/tool")]
    monkeypatch.chdir("/")
    assert [pattern.match(tool, side) for pattern in patterns for side in Side] == 15 * [True]
    assert match("./configure", record("configure", path="./configure", executable="/src/configure")) is True


def test_link_in_a_linked_folder_lies_in_the_folder_that_this_leads_to(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr/bin/java").symlink_to("/opt/jvm")
    run = record("java", path=f"{tmp_path}/bin/java", executable="/opt/jvm")
    by = record("s", path="/opt/s", script="/opt/s", executable="/opt/jvm", interpreter=f"{tmp_path}/bin/java")
    for pattern in (f"{tmp_path}/usr/bin/*", f"{tmp_path}/usr/bin/j*"):
        assert match(pattern, run, Side.FORBID) is match(pattern, by, Side.FORBID) is True
        assert match(pattern, run, Side.ALLOW) is False
        # What is there now, or here, is not what was executed.
        assert match(pattern, altered(run, executable="/opt/other"), Side.FORBID) is None
        # The kernel says that the folder is none.
        assert match(pattern, altered(run, executable=f"{tmp_path}/bin/real"), Side.FORBID) is False
        assert match(pattern, altered(run, cwd=f"{tmp_path}/bin"), Side.FORBID) is False
    assert match(f"{tmp_path}/usr/bin/x*", run, Side.FORBID) is False


def test_links_are_as_they_are_when_an_exec_is_judged(tmp_path: Path) -> None:
    """One of a command that is the same, but was executed through a link that led elsewhere, says nothing."""
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").symlink_to("/opt/real")
    link = tmp_path / "bin"
    run = record("tool", path=f"{link}/tool", executable="/opt/real")
    texts = (f"{tmp_path}/other/*", f"{tmp_path}/other/t*", f"argv:{tmp_path}/other/t*")
    patterns = [compile_pattern(text) for text in texts]
    for folder in ("one", "other", "one"):
        link.symlink_to(folder)
        found = [pattern.match(run, side) for pattern in patterns for side in (Side.FIND, Side.FORBID)]
        assert found == 6 * [folder == "other"]
        link.unlink()


@pytest.mark.parametrize("side", [Side.FIND, Side.FORBID])
def test_link_in_a_folder_that_is_not_as_it_was_may_have_been_in_any(tmp_path: Path, side: Side) -> None:
    """As when a gate looks at the report of another machine: there /bin may be a link."""
    run = record("tool", path=f"{tmp_path}/bin/tool", executable="/opt/real")
    assert match("/usr/bin/tool", run, side) is None
    assert match("argv:/usr/bin/tool", run, side) is None
    assert match("/usr/bin/other", run, side) is False
    for odd in ("\ud800", "\0"):
        of_a_report = altered(run, path=f"{tmp_path}/{odd}/../tool")
        assert match("/usr/bin/tool", of_a_report, side) is None
        assert match("re:^/usr/bin/", of_a_report, side) is False
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tool").symlink_to("/opt/real")
    assert match("/usr/bin/tool", run, side) is False


def test_regular_expression_of_what_must_not_run_finds_where_a_link_lies(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "bin").symlink_to("usr")
    for path, cwd in (
        ("usr/./tool", tmp_path),
        ("bin/tool", tmp_path),
        (f"{tmp_path}/bin/tool", "/"),
        ("tool", tmp_path / "usr"),
    ):
        run = record("tool", "x", path=path, cwd=str(cwd), executable="/opt/real")
        assert match(f"re:^{tmp_path}/usr/tool x$", run, Side.FORBID) is True
        assert match(f"re:^{tmp_path}/usr/other", run, Side.FORBID) is False
        started = altered(script(path="/srv/s", shebang=(path,), cwd=str(cwd)), executable="/opt/real")
        assert match(f"re:^{tmp_path}/usr/tool /srv/s$", started, Side.FORBID) is True
        assert match(f"re:^{tmp_path}/usr/tool x$", altered(run, cwd=None), Side.FORBID) is (None, True)[path[0] == "/"]


def test_links_on_the_way_are_as_they_are_when_an_exec_is_judged(tmp_path: Path) -> None:
    """By a rule for the whole suite, too, that has met the same command when its links led by another way."""
    link, run = tmp_path / "cc", record("cc", path=f"{tmp_path}/cc", executable=f"{tmp_path}/real")
    started = script(path="/srv/tool", shebang=(f"{tmp_path}/cc",))
    started = altered(started, executable=f"{tmp_path}/real")
    for name in ("between", "other"):
        (tmp_path / name).symlink_to("real")
    texts = ("between", f"{tmp_path}/between", f"{tmp_path}/b*", "re:^between", "argv:between", f"argv:{tmp_path}/b*")
    (tmp_path / "real").touch()
    (tmp_path / "between").unlink()  # which is read as a link's path, and not as that of what it leads to
    patterns = [compile_pattern(text) for text in (*texts, "subtree:between")]
    (tmp_path / "between").symlink_to("real")
    for name in ("other", "between", "other"):
        link.symlink_to(name)
        for one in (run, started):
            found = [pattern.match(one, Side.FORBID) for pattern in patterns]
            assert found == len(patterns) * [name == "between"]
            assert not any(pattern.match(one, Side.FIND) for pattern in patterns)
        link.unlink()


@pytest.mark.parametrize(
    "pattern", ["/usr/bin//*", "/usr//*/git", "//usr*/bin/git", "/usr/*//git", "*/./git", "argv:/usr/bin/.//g*"]
)
def test_slashes_and_dots_that_say_nothing_hide_nothing(pattern: str) -> None:
    assert [match(pattern, record("git"), side) for side in Side] == 3 * [True]
    assert [match(pattern, record("make", path="/opt/make"), side) for side in Side] == 3 * [False]


def test_dots_behind_brackets_that_are_no_wildcard(tmp_path: Path) -> None:
    (tmp_path / "a[1]").mkdir()
    (tmp_path / "tool").touch()
    assert match(f"{tmp_path}/a[1]/../tool", record("tool", path=f"{tmp_path}/tool"), Side.ALLOW) is True


LINK = ("python", "/venv/bin/python", "/usr/bin/python3.11")


@pytest.mark.parametrize(
    ("pattern", "to_find", "to_allow"),
    [
        ("/venv/bin/*", True, False),
        ("/usr/bin/*", True, True),
        ("/opt/*", False, False),
        ("*/python*", True, True),
    ],
)
def test_path_or_executable_is_enough_to_forbid_and_the_executable_must_match_to_allow(
    pattern: str, to_find: bool, to_allow: bool
) -> None:
    program, path, executable = LINK
    linked = record(program, path=path, executable=executable)
    assert match(pattern, linked) is to_find
    assert match(pattern, linked, Side.ALLOW) is to_allow


@pytest.mark.parametrize(("pattern", "to_find", "to_allow"), [("/venv/bin/*", True, None), ("/usr/bin/*", None, None)])
def test_path_without_a_known_executable(pattern: str, to_find: bool | None, to_allow: bool | None) -> None:
    unresolved = record("python", path="/venv/bin/python", executable=None)
    assert match(pattern, unresolved) is to_find
    assert match(pattern, unresolved, Side.ALLOW) is to_allow


def test_executable_alone_decides_to_allow_even_where_the_path_is_unread() -> None:
    unread = record("git", path=None, executable="/usr/bin/git")
    assert match("/usr/bin/git", unread, Side.ALLOW) is True
    assert match("/opt/*", unread, Side.ALLOW) is False
    assert match("/opt/*", unread) is None


def test_allow_side_reaches_into_lists_and_subtrees() -> None:
    program, path, executable = LINK
    linked = record(program, "-m", "pip", path=path, executable=executable)
    below = record("git", parent=linked)
    for pattern in (["/venv/bin/python", "-m"], subtree("/venv/bin/python")):
        assert match(pattern, linked) is True
        assert match(pattern, linked, Side.ALLOW) is False
    assert match(subtree("/venv/bin/python"), below) is True
    assert match(subtree("/venv/bin/python"), below, Side.ALLOW) is False


# ---- regular expressions ----


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("re:push", True),
        ("re:^/usr/bin/git push", True),
        ("re:origin 'my branch'$", True),
        ("re:PUSH", False),
        ("re:^git", False),
        ("re:^/usr/bin/git push.*branch", True),
        (re.compile("git (push|pull)"), True),
        (re.compile("PUSH", re.IGNORECASE), True),
        (re.compile("PUSH"), False),
    ],
)
def test_regular_expression_searches_the_shell_quoted_command_line(pattern: object, matches: bool) -> None:
    assert match(pattern, record("git", "push", "origin", "my branch")) is matches


def test_regular_expression_goes_on_over_lines() -> None:
    commit = record("git", "commit", "-m", "What\n\nWhy", "--no-verify")
    for side in Side:
        assert match("re:git commit .*--no-verify", commit, side) is True
        assert match(re.compile("git commit .*--no-verify"), commit, side) is False  # re.DOTALL is whose it is


def test_regular_expression_that_forbids_is_held_against_names_too() -> None:
    linked = record("vcs", "push", path="/usr/bin/vcs", executable="/opt/git")
    for pattern in ("re:^git push$", "re:^vcs push$", "re:^/opt/git push"):
        assert match(pattern, linked, Side.FORBID) is True
    for side in (Side.FIND, Side.ALLOW):
        assert match("re:^git push$", linked, side) is False
    assert match("re:^sh v1", script("v1", shebang=("/bin/sh",)), Side.FORBID) is True


def test_regular_expression_string_keeps_colons_and_slashes() -> None:
    fetched = record("curl", "https://example.org/a:b")
    assert match("re:https://example", fetched) is True
    assert match("re:a:b", fetched) is True


def test_regular_expression_sees_a_script_and_not_its_interpreter() -> None:
    released = script("v1.2")
    assert match("re:^/opt/tools/release.sh v1.2$", released) is True
    assert match("re:/bin/sh", released) is False


# ---- arguments ----


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (["git"], True),
        (["git", "push"], True),
        (("git", "push"), True),
        (["git", "push", "origin"], True),
        (["git", "push", "origin", "main"], True),
        (["git", "push", "origin", "main", "tags"], False),
        (["git", "origin"], False),
        (["git", "pus"], False),
        (["git", "p*"], False),
        (["git", "PUSH"], False),
        (["gi?", "push"], True),
        (["*", "push"], True),
        (["/usr/bin/git", "push"], True),
        (["/opt/*", "push"], False),
        (["git", ANY], True),
        (["git", ANY, "origin"], True),
        (["git", ANY, "upstream"], False),
        (["git", ANY, ANY, ANY], True),
        (["git", ANY, ANY, ANY, ANY], False),
        ([ANY, "push"], True),
        ([ANY, "pull"], False),
        ("argv:git", True),
        ("argv:git push", True),
        ("argv:git pull", False),
        ("argv:git * origin", True),
        ("argv:git * upstream", False),
        ("argv:* push", True),
        ("argv:/usr/bin/git push", True),
    ],
)
def test_list_is_the_program_and_then_its_next_arguments(pattern: object, matches: bool) -> None:
    assert match(pattern, record("git", "push", "origin", "main")) is matches


def test_argv_string_is_split_like_a_shells() -> None:
    committed = record("git", "commit", "-m", "two words", "")
    assert match("argv:git commit -m 'two words'", committed) is True
    assert match("argv:git commit -m two words", committed) is False
    assert match(["git", "commit", "-m", "two words", ""], committed) is True


def test_literal_star_argument_is_no_wildcard_in_a_list() -> None:
    assert match(["ls", "*"], record("ls", "file")) is False
    assert match(["ls", "*"], record("ls", "*")) is True


def test_argv_zero_is_not_an_argument() -> None:
    renamed = record("busybox", argv=("sh", "-c", "true"))
    assert match(["busybox", "-c"], renamed) is True
    assert match(["busybox", "sh"], renamed) is False


def test_program_without_arguments() -> None:
    assert match(["git"], record("git")) is True
    assert match(["git", ANY], record("git")) is False
    assert match(["git"], record("git", argv=("",))) is True


# ---- scripts ----


@pytest.mark.parametrize(
    ("subject", "arguments"),
    [
        (record("git", "push"), ("push",)),
        (record("git"), ()),
        (record("git", argv=None), None),
        (script("v1.2", "--dry-run"), ("v1.2", "--dry-run")),
        (script(), ()),
        (script("v1.2", shebang=("/bin/sh",)), ("v1.2",)),
        (script("v1.2", shebang=("/usr/bin/env", "-S python3 -u")), ("v1.2",)),
        (script("/opt/tools/release.sh"), ("/opt/tools/release.sh",)),
    ],
)
def test_arguments_leave_out_argv_zero_and_an_interpreters_part(
    subject: ExecRecord, arguments: tuple[str, ...] | None
) -> None:
    assert subject.arguments == arguments


def test_scripts_match_by_their_own_name_and_arguments() -> None:
    released = script("v1.2")
    assert match("release.sh", released) is True
    assert match("sh", released) is False
    assert match("/opt/tools/*", released) is True
    assert match("/usr/bin/dash", released) is True
    assert match(["release.sh", "v1.2"], released) is True
    assert match(["release.sh", "-e"], released) is False


# ---- subtrees ----

SHELL = record("sh", "-c", "git push")
PUSH = record("git", "push", parent=SHELL)
SSH = record("ssh", "host", parent=PUSH)
OTHER = record("curl")


@pytest.mark.parametrize("form", [subtree("git"), "subtree:git"], ids=["subtree()", "string"])
def test_subtree_is_the_program_and_everything_below_it(form: object) -> None:
    assert [match(form, subject) for subject in (SHELL, PUSH, SSH, OTHER)] == [False, True, True, False]


@pytest.mark.parametrize(
    "form",
    [subtree(["git", "push"]), subtree(re.compile("git push")), "subtree:argv:git push", "subtree:re:git push$"],
    ids=repr,
)
def test_subtree_of_any_other_form(form: object) -> None:
    assert match(form, SSH) is True
    assert match(form, record("ssh", parent=record("git", "pull"))) is False


def test_subtrees_nest() -> None:
    assert match(subtree(subtree("git")), SSH) is True
    assert match("subtree:subtree:git", SSH) is True
    assert match(subtree(subtree("git")), SHELL) is False


def test_what_a_program_becomes_in_its_own_process_is_below_it() -> None:
    env = record("env", "python3")
    python = record("python3", previous=env)
    child = record("git", parent=python)
    assert [match(subtree("env"), subject) for subject in (env, python, child)] == [True, True, True]
    assert match(subtree("python3"), env) is False


def test_subtree_with_a_lost_ancestor_is_undecided_unless_it_matches_below_that() -> None:
    orphan = record("git", lineage_lost=True)
    child = record("ssh", parent=orphan)
    assert match(subtree("make"), child) is None
    assert match(subtree("git"), child) is True
    assert match(subtree("ssh"), orphan) is None
    assert match("make", orphan) is False


# ---- what is not known ----

CUT = record("git", "push", "origin", "ma", truncated=True)  # the last argument may go on, and others follow
UNREAD = record("git", argv=None)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("git", True),
        ("curl", False),
        ("/usr/bin/git", True),
        (["git", "push"], True),
        (["git", "push", "origin"], True),
        (["git", "push", "origin", "main"], None),
        (["git", "push", "origin", "ma"], None),
        (["git", "push", "origin", "next"], False),
        (["git", "push", "origin", "m"], False),
        (["git", "push", "origin", ANY], True),
        (["git", "push", "origin", ANY, "x"], None),
        (["git", "push", "upstream", "main", "x"], False),
        (["git", "pull"], False),
        (["curl", "push", "origin", "main", "x"], False),
        ("re:git push", True),
        ("re:^/usr/bin/git push origin", True),
        ("re:--force", None),
        ("re:main$", None),
        ("re:push origin$", None),
        (subtree(["git", "push", "origin", "main"]), None),
    ],
    ids=str,
)
def test_cut_argv_decides_what_stands_before_the_cut(pattern: object, matches: bool | None) -> None:
    assert match(pattern, CUT) is matches


@pytest.mark.parametrize("pattern", ["re:origin ma", "re:origin(?! main)", "re:origin(?= main)", r"re:ma\b"])
def test_what_follows_a_cut_can_change_a_regular_expressions_match(pattern: str) -> None:
    # "ma" may go on as "main" or as "ma in", which would be quoted.
    assert match(pattern, CUT) is None


def test_cut_first_argument_leaves_the_path_known() -> None:
    cut = record("git", "x" * 100, truncated=True)
    assert match("re:^/usr/bin/git", cut) is True
    assert match("re:^/usr/bin/git$", cut) is not True


def test_argv_cut_before_any_argument_is_complete() -> None:
    cut = record("git", truncated=True)
    assert match(["git"], cut) is True
    assert match(["git", ANY], cut) is None
    assert match(["git", "push"], cut) is None
    assert match(["curl", "push"], cut) is False


def test_end_of_a_cut_command_line_is_never_certain() -> None:
    assert match(re.compile("push$"), record("git", "push", "x", truncated=True)) is None
    assert match(re.compile(r"push\Z"), record("git", "push", "x", truncated=True)) is None


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("git", True),
        (["git"], True),
        (["git", ANY], None),
        (["git", "push"], None),
        (["curl", "push"], False),
        ("re:push", None),
        ("re:--force", None),
    ],
    ids=str,
)
def test_unread_argv(pattern: object, matches: bool | None) -> None:
    assert match(pattern, UNREAD) is matches


@pytest.mark.parametrize(
    ("matches", "result"),
    [((), False), ((False, None), None), ((None, True), True), ((False, False), False), ((True, False), True)],
)
def test_three_valued_or(matches: tuple[bool | None, ...], result: bool | None) -> None:
    assert either(*matches) is result


def test_any_of_several_patterns() -> None:
    patterns = compile_all(["curl", ["git", "push", "origin", "main"]], "deny")
    assert any_match(patterns, OTHER) is True
    assert any_match(patterns, CUT) is None
    assert any_match(patterns, SSH) is False
    assert any_match([], OTHER) is False


# ---- errors ----


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "   ",
        "re:",
        "argv:",
        "argv:  ",
        "argv:''",
        "subtree:",
        "subtree:re:",
        "subtree: ",
        [],
        (),
        [""],
        ("", "push"),
        re.compile(""),
    ],
    ids=repr,
)
def test_empty_pattern_is_a_value_error(pattern: object) -> None:
    with pytest.raises(ValueError, match="empty pattern"):
        compile_pattern(pattern)  # type: ignore[arg-type]


def test_empty_subtree_is_a_value_error_at_once() -> None:
    with pytest.raises(ValueError, match="empty pattern"):
        subtree("")


@pytest.mark.parametrize("pattern", ["re:(", "re:[a-", "subtree:re:*", "argv:git 'push"])
def test_malformed_pattern_is_a_value_error_that_shows_it(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(pattern.rpartition(":")[2])):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        None,
        42,
        True,
        b"git",
        re.compile(b"git"),
        {"git"},
        frozenset({"git"}),
        {"git": 2},
        ...,
        ANY,
        ["git", 42],
        ["git", b"push"],
        ["git", None],
        [42],
        [b"git"],
        [re.compile("git")],
    ],
    ids=repr,
)
def test_other_types_are_a_type_error(pattern: object) -> None:
    with pytest.raises(TypeError):
        compile_pattern(pattern)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", [None, 42, b"git", re.compile(b"git"), ["git", 42]], ids=repr)
def test_subtree_of_another_type_is_a_type_error_at_once(pattern: object) -> None:
    with pytest.raises(TypeError):
        subtree(pattern)  # type: ignore[arg-type]


@pytest.mark.parametrize("patterns", ["git", b"git", "", 42, None, re.compile("git"), subtree("git")], ids=repr)
def test_list_of_patterns_is_no_bare_pattern(patterns: object) -> None:
    with pytest.raises(TypeError, match="deny"):
        compile_all(patterns, "deny")  # type: ignore[arg-type]


def test_list_of_patterns_may_be_any_iterable() -> None:
    texts = [str(pattern) for pattern in compile_all((name for name in ("git", "curl")), "allow")]
    assert texts == ["git", "curl"]
    assert compile_all([], "allow") == []


def test_list_of_patterns_names_the_way_out() -> None:
    with pytest.raises(TypeError, match=re.escape("allow=['git']")):
        compile_all("git", "allow")


# ---- how they read in messages ----


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("git", "git"),
        ("/opt/*", "/opt/*"),
        ("re:git push", "re:git push"),
        (re.compile("git push"), "re:git push"),
        (["git", "push", ANY, "two words"], "argv:git push * 'two words'"),
        ("argv:git push", "argv:git push"),
        (subtree("git"), "subtree:git"),
        (subtree(["git", "push"]), "subtree:argv:git push"),
        ("subtree:git", "subtree:git"),
    ],
)
def test_text_of_a_pattern_is_its_string_form(pattern: object, text: str) -> None:
    assert str(compile_pattern(pattern)) == text  # type: ignore[arg-type]


def test_any_and_subtree_have_a_readable_repr() -> None:
    assert repr(ANY) == "ANY"
    assert repr(subtree("git")) == "subtree(git)"


@pytest.mark.parametrize(
    ("pattern", "found", "allowed"),
    [
        ("/opt/tool", None, None),  # where ./tool lies is not known
        ("/opt/*", None, None),
        ("/opt/other", None, None),  # it may be a link
        ("*/tool", True, None),
        ("/bin/sh", True, None),
    ],
)
def test_script_of_which_the_file_is_not_known(pattern: str, found: bool | None, allowed: bool | None) -> None:
    relative = script(path="./tool", file=None)
    assert match(pattern, relative) is found
    assert match(pattern, relative, Side.ALLOW) is allowed


@pytest.mark.parametrize("is_script", [False, True])
@pytest.mark.parametrize(
    ("path", "pattern", "found", "allowed"),
    [
        ("./link", "/srv/link", True, False),  # as executed, and not what was loaded
        ("bin/../link", "/srv/link", None, False),  # if bin is a link, .. is another folder's
        ("bin/../link", "/srv/*", None, False),
        ("bin/../link", "/srv/other", False, False),
        ("../srv/link", "/srv/link", True, False),  # a working directory is no link
        ("/srv//./link", "/srv/link", True, False),
        ("/srv/x/../link", "/srv/link", None, False),
        ("./link", "/opt/tool", True, True),
        ("./link", "/opt/*", True, True),
        ("./link", "/usr/*", False, False),
        ("/opt/x/../tool", "/usr/*", False, False),  # that there are no links is seen by its file
    ],
)
def test_path_as_executed_and_file_that_was_loaded(
    is_script: bool, path: str, pattern: str, found: bool | None, allowed: bool | None
) -> None:
    if is_script:
        run = altered(script(path=path, cwd="/srv", file="/opt/tool", shebang=("/bin/sh",)), executable="/bin/dash")
    else:
        run = record("tool", path=path, cwd="/srv", executable="/opt/tool")
    assert match(pattern, run) is found
    assert match(pattern, run, Side.FORBID) is found
    assert match(pattern, run, Side.ALLOW) is allowed


@pytest.mark.parametrize("side", [Side.FIND, Side.FORBID])
def test_dots_behind_a_link_lead_where_the_link_does(tmp_path: Path, side: Side) -> None:
    (tmp_path / "one/two").mkdir(parents=True)
    (tmp_path / "link").symlink_to("one/two")
    (tmp_path / "one/tool").symlink_to("/opt/real")
    for path in (f"{tmp_path}/link/../tool", "link/../tool"):
        run = record("tool", path=path, cwd=str(tmp_path), executable="/opt/real")
        for pattern, matches in (
            ("one/*", True),
            ("one/tool", True),
            ("*/tool", True),
            ("tool", False),
            ("one/two/*", False),
        ):
            assert match(f"{tmp_path}/{pattern}", run, side) is matches
        # What it leads to by now is another file.
        run = altered(run, executable="/opt/other")
        assert match(f"{tmp_path}/one/*", run, side) is match(f"{tmp_path}/tool", run, side) is None
    (tmp_path / "one/tool").unlink()
    (tmp_path / "one/tool").symlink_to(tmp_path / "tool")  # which is what it seems to be
    (tmp_path / "tool").touch()
    run = record("tool", path=f"{tmp_path}/link/../tool", executable=f"{tmp_path}/tool")
    assert match(f"{tmp_path}/one/*", run, side) is True


def test_script_is_allowed_by_its_own_file_and_not_by_its_interpreters() -> None:
    run = script(path="/usr/bin/tool", file="/opt/tool", shebang=("/bin/sh",))
    for pattern, found, allowed in (("/opt/*", True, True), ("/usr/bin/*", True, False), ("/bin/*", True, False)):
        assert match(pattern, run) is found
        assert match(pattern, run, Side.ALLOW) is allowed


@pytest.mark.parametrize(
    "slip",
    [
        *("argv:~/bin/curl x", "argv:$HOME/bin/curl x", "subtree:~/bin/curl", "subtree:argv:~/x"),
        *("argv:/home/$USER/curl x", "argv:/usr/bin/{curl,wget} x", "subtree:$EDITOR"),
    ],
)
def test_nothing_is_expanded_in_other_forms(slip: str) -> None:
    with pytest.raises(ValueError, match="not expanded"):
        compile_pattern(slip)


def test_folder_is_no_program_in_a_list_either(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder"):
        compile_pattern([str(tmp_path), "push"])


@pytest.mark.parametrize(
    ("slip", "message"),
    [
        ('"curl"', "is in quotation marks: leave them out"),
        ("'curl'", "is in quotation marks"),
        ("curl,wget", "has a comma: write each pattern by itself"),
        ("curl,", "has a comma"),
        ("subtre:curl", "begins with an unknown form: there are re:, argv:, subtree:, from: and unowned:"),
        ("Re:curl", "begins with an unknown form"),
        ("~/bin/curl", r"begins with ~, which is not expanded: write the path as it is, or '\*/curl'"),
        ("/opt/tools/", r"is a folder: write '/opt/tools/\*' for all that is in it"),
        ("/usr", r"is a folder: write '/usr/\*' for all that is in it"),
        ("/usr/bin/git ", "is no program's name: for arguments write 'argv:/usr/bin/git'"),
        ("/usr/bin/env push", "is no program's name: for arguments write 'argv:/usr/bin/env push'"),
        ("/usr/bin/curl,/usr/bin/wget", "several patterns are written one by one"),
        ("/usr/bin/curl, /usr/bin/wget", "several patterns are written one by one"),
        ("path:/usr/bin/curl", "begins with an unknown form"),
        ("$HOME/bin/tool", "has a variable, which is not expanded"),
        ("/home/$USER/bin/*", "has a variable, which is not expanded"),
        ("$EDITOR", "has a variable, which is not expanded"),
        ("python${VERSION}", "has a variable, which is not expanded"),
        ("curl|wget", r"has a \|: write each pattern by itself"),
        ("curl;wget", "has a semicolon"),
        ("curl&", "has an &"),
        ("curl\nwget", "several patterns are written one by one"),
        ("/usr/bin/(curl|wget)", "several patterns are written one by one"),
        ("/usr/bin/curl&/usr/bin/wget", "several patterns are written one by one"),
        ("/usr/*/../bin/curl", r"goes up behind a wildcard, which leads nowhere: write the path without \.\."),
        ("*/..", "goes up behind a wildcard"),
        ("bin?/../curl", "goes up behind a wildcard"),
        ("curl{1..3}", "has braces, which are not expanded"),
        ("/usr/bin/{curl,wget}", "has braces, which are not expanded"),
        ("{curl,wget}", "has braces, which are not expanded"),
        ("git\0", "has a NUL, which is in no name, path or argument"),
    ],
)
def test_slip_that_would_match_nothing(slip: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_pattern(slip)
    assert compile_pattern([slip.replace("/", "")]).match(record(slip.replace("/", ""))) is True  # a list can mean it


@pytest.mark.parametrize("text", ["git push", " git", "git\t"])
def test_name_with_a_space_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="for arguments write 'argv:git"):
        compile_pattern(text)


def test_path_through_a_link_is_the_file_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    ran = record("tool", path=f"{tmp_path}/real/tool")
    assert compile_pattern(f"{tmp_path}/link/tool").match(ran) is True
    assert compile_pattern(f"{tmp_path}/link/tool").match(ran, Side.ALLOW) is True
    for glob in ("link/*", "link/t*", "li*k/*"):
        # What a wildcard stands for is not looked up.
        assert compile_pattern(f"{tmp_path}/{glob}").match(ran, Side.FORBID) is (glob != "li*k/*")
        assert compile_pattern(f"{tmp_path}/{glob}").match(ran, Side.ALLOW) is (glob != "li*k/*")
    assert compile_pattern(f"{tmp_path}/link/l*").match(ran) is False


def test_folder_that_a_link_leads_to_is_no_glob(tmp_path: Path) -> None:
    (tmp_path / "[r]*").mkdir()
    (tmp_path / "link").symlink_to("[r]*")
    assert compile_pattern(f"{tmp_path}/link/t*").match(record("tool", path=f"{tmp_path}/[r]*/tool")) is True
    assert compile_pattern(f"{tmp_path}/link/t*").match(record("tool", path=f"{tmp_path}/real/tool")) is False
    assert compile_pattern(f"{tmp_path}/link/tool").match(record("tool", path=f"{tmp_path}/[r]*/tool")) is True


def test_interpreter_of_a_script_is_found_by_the_path_that_the_script_names() -> None:
    ran = altered(script(path="/opt/tool", shebang=("/usr/bin/python3",)), executable="/usr/bin/python3.11")
    assert compile_pattern("/usr/bin/python3").match(ran) is True
    assert compile_pattern("/usr/bin/python3").match(ran, Side.ALLOW) is False


def test_long_pattern_is_cut_in_messages() -> None:
    assert len(str(compile_pattern("x" * 1000))) == 160


@pytest.mark.parametrize("program", ["~", "~/x", "$HOME/x", "$x"])
def test_quoted_program_of_a_command_line_means_itself(program: str) -> None:
    ran = record(program.rpartition("/")[2], path=program, argv=(program, "y"))
    assert compile_pattern(f"argv:'{program}' y").match(ran) is True


@pytest.mark.parametrize("text", ["re:[[", "re:[[:alpha:]]", "re:[a--b]"])
def test_expression_that_python_warns_of_is_refused_whatever_becomes_of_warnings(text: str) -> None:
    """It is another program's, or may be read otherwise one day."""
    for action in ("ignore", "error"):
        with warnings.catch_warnings():
            warnings.simplefilter(action)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="not a regular expression"):
                compile_pattern(text)


def test_one_command_is_another_program_where_it_was_executed_by_itself() -> None:
    """Execs share it, and the answers of a pattern."""
    busybox = record("busybox")
    alone = record("busybox", argv=("sleep", "0"))
    applet = replace(alone, parent=busybox)
    pattern = compile_pattern("sleep")
    assert [pattern.match(run, Side.FORBID) for run in (alone, applet, alone)] == [False, True, False]


@pytest.mark.parametrize(
    "pattern",
    [
        re.compile("GIT", re.IGNORECASE),
        re.compile("(?i)GIT"),
        re.compile("(?i) G I T ", re.VERBOSE),
        re.compile("GIT # (", re.VERBOSE | re.IGNORECASE),
        re.compile(r"gi\w", re.ASCII),
        re.compile("git.+b"),
        re.compile("git.+b", re.DOTALL),
        re.compile("(?s)git.+b"),
        re.compile("(?i)GIT.+b|GIT.{2}c"),
        re.compile("(?x) git .+ b # (."),
        re.compile("git(?s:.)+b"),
        re.compile(r"git [.]|git \. b"),
    ],
)
def test_the_text_of_a_regular_expression_means_the_same(pattern: re.Pattern[str]) -> None:
    text = compile_pattern(pattern).text
    for run in (record("git"), record("gi\u0142"), record("git", "a\nb"), record("git", "a b"), record("git", "\nc")):
        expected = compile_pattern(pattern).match(run)
        assert compile_pattern(text).match(run) is expected, text


@pytest.mark.parametrize("pattern", [["expr", "*"], ["expr", ANY], ["expr", "* *"], ["expr", "a*"]])
def test_the_text_of_a_list_means_the_same(pattern: list[object]) -> None:
    text = compile_pattern(pattern).text
    for argument in ("*", "* *", "a*", "b"):
        expected = compile_pattern(pattern).match(record("expr", argument))
        assert compile_pattern(text).match(record("expr", argument)) is expected, (text, argument)
