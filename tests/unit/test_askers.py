"""Who asked for a command that nobody wrote, to the letter; with the real ones, in tests/kernel/test_real_askers.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FixedWindow, evidence, record, script

from pytest_execprobe import ExecLog, ExecRecord
from pytest_execprobe._util.text import Style
from pytest_execprobe.baseline.read import parse_baseline
from pytest_execprobe.log.askers import ASKERS, asked_by
from pytest_execprobe.rules.judge import Judge
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import Rule, baseline_rule, make_rule
from pytest_execprobe.rules.text import Problem

UNAME = "`uname -p` is what platform.processor() asks, and so does platform.platform()"
LIBRARY = "is what ctypes.util.find_library() asks"
KEYRING = "is what keyring asks by ctypes.util.find_library(), as it loads its backend for macOS"
DISTRO = "is what distro asks, and pip, which has it within (so venv does, too)"
FONTS = "is what matplotlib asks where it has no font cache yet"
PART = "is a part of GCC: subtree: with the compiler that runs it (gcc, g++, cc, gfortran) has them all"

#: What ran, as it was recorded of these versions, and what is said of it.
MEASURED = [
    ("Python 3.11.7", ("uname", "-p"), UNAME),
    (
        "Python 3.11.7",
        ("file", "-b", "/usr/local/bin/python3.11"),
        "`file -b python` is what platform.architecture() asks of its interpreter",
    ),
    ("Python 3.11.7", ("gcc", "-Wl,-t", "-o", "/tmp/tmpz1qo9c4g", "-lnosuchlib"), f"`gcc -Wl,-t -o … -l…` {LIBRARY}"),
    ("Python 3.11.7", ("ld", "-t", "-o", "/dev/null", "-lnosuchlib"), f"`ld -t -o /dev/null -l…` {LIBRARY}"),
    ("Python 3.11.7", ("objdump", "-p", "-j", ".dynamic", "/opt/libx.so"), f"`objdump -p -j .dynamic` {LIBRARY}"),
    (
        "Python 3.11.7",
        ("ldconfig", "-p"),
        "`ldconfig -p` may come from ctypes.util.find_library(), or from PyInstaller",
    ),
    (
        "keyring 25.7.0",
        ("gcc", "-Wl,-t", "-o", "/tmp/tmpz1qo9c4g", "-lSecurity"),
        f"`gcc -Wl,-t -o … -lSecurity` {KEYRING}",
    ),
    (
        "keyring 25.7.0",
        ("ld", "-t", "-o", "/dev/null", "-lCoreServices"),
        f"`ld -t -o /dev/null -lSecurity` {KEYRING}",
    ),
    (
        "Python 3.11.7",
        ("python3.11", "-B", "-c", "from multiprocessing.resource_tracker import main;main(11)"),
        "`python -c 'from multiprocessing.resource_tracker …'` is multiprocessing's resource tracker",
    ),
    (
        "Python 3.11.7",
        ("python", "-c", "from multiprocessing.forkserver import main; main(11, 12, ['__main__'], **{})"),
        "`python -c 'from multiprocessing.forkserver …'` is multiprocessing's fork server",
    ),
    (
        "Python 3.11.7",
        (
            *(
                "python3",
                "-c",
                "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=6, pipe_handle=13)",
            ),
            "--multiprocessing-fork",
        ),
        "`python -c 'from multiprocessing.spawn …'` is a worker of multiprocessing (start method spawn)",
    ),
    (
        "Python 3.11.7",
        ("python", "-m", "ensurepip", "--upgrade", "--default-pip"),
        "`python -m ensurepip` is how venv installs pip (venv's with_pip=False, or --without-pip, does without)",
    ),
    (
        "loky 3.7.0",
        ("lscpu", "--parse=core"),
        "`lscpu --parse=core` is how loky counts physical cores, for joblib and scikit-learn",
    ),
    (
        "joblib 1.6.0",
        ("python", "-B", "-c", "from joblib.externals.loky.backend.resource_tracker import main; main(3, False)"),
        "`python -c 'from loky.backend.resource_tracker …'` is a resource tracker of loky's (joblib has it within)",
    ),
    (
        "loky 3.7.0",
        ("python", "-m", "loky.backend.popen_loky_posix", "--process-name", "LokyProcess-1", "--pipe", "14"),
        "`python -m loky.backend.popen_loky_posix` is a worker of loky's (joblib has it within)",
    ),
    (
        "pytest-xdist 3.8.0",
        ("python", "-u", "-c", "import sys;exec(eval(sys.stdin.readline()))"),
        "`python -c 'import sys;exec(eval(sys.stdin.readline()))'` is a worker of execnet's, as pytest-xdist has them",
    ),
    ("distro 1.9.0", ("lsb_release", "-a"), f"`lsb_release -a` {DISTRO}"),
    ("distro 1.9.0", ("uname", "-rs"), f"`uname -rs` {DISTRO}"),
    (
        "py-cpuinfo 9.0.0",
        ("python", "/opt/venv/lib/python3.11/site-packages/cpuinfo/cpuinfo.py", "--json"),
        "`python cpuinfo.py --json` is py-cpuinfo, which runs itself again",
    ),
    (
        "py-cpuinfo 9.0.0",
        ("sysctl", "machdep.cpu", "hw.cpufrequency"),
        "`sysctl machdep.cpu hw.cpufrequency` is what py-cpuinfo asks, though only macOS could answer",
    ),
    ("py-cpuinfo 9.0.0", ("dmesg", "-a"), "`dmesg -a` is what py-cpuinfo asks, though only a BSD could answer"),
    ("matplotlib 3.11.2", ("fc-list", "--help"), f"`fc-list --help` {FONTS}"),
    ("matplotlib 3.11.2", ("fc-list", r"--format=%{file}\n"), rf"`fc-list --format=%{{file}}\n` {FONTS}"),
    (
        "papermill 2.7.0",
        (
            "python3.11",
            "-m",
            "ipykernel_launcher",
            "-f",
            "/tmp/tmp1j7v5jz0.json",
            "--HistoryManager.hist_file=:memory:",
        ),
        "`python -m ipykernel_launcher` is the kernel of a notebook",
    ),
    (
        "playwright 1.65.2",
        ("node", "/opt/venv/lib/python3.11/site-packages/playwright/driver/package/cli.js", "run-driver"),
        "`node cli.js run-driver` is Playwright's driver",
    ),
    (
        "selenium 4.51.0",
        ("selenium-manager", "--browser", "chrome", "--language-binding", "python", "--output", "json"),
        "`selenium-manager` is what selenium asks for a browser and its driver",
    ),
    ("GitPython 3.2.1", ("git", "version"), "`git version` may come from the import of GitPython"),
    ("OpenJDK 17", ("jspawnhelper", "29:31"), "`jspawnhelper` is how a Java VM executes each program"),
    (
        "build 1.6.1",
        ("python", "/opt/lib/pyproject_hooks/_in_process/_in_process.py", "build_wheel", "/tmp/tmpmx20fi4y"),
        "`python _in_process.py` is a build back end, as pip and build run one",
    ),
    (
        "virtualenv 21.15.11",
        ("python3.11", "-I", "/opt/lib/python_discovery/_py_info_collect.py", "a1", "b2"),
        "`python _py_info_collect.py` is what virtualenv asks an interpreter",
    ),
    (
        "virtualenv 21.15.11",
        (
            *("python3.11", "-c", "import os, sys; sys.path = [os.environ['VIRTUALENV_PIP_WHEEL'], *sys.path]"),
            *("download", "--progress-bar", "off"),
        ),
        "`python -c '… VIRTUALENV_PIP_WHEEL …' download` is virtualenv, which updates its pip behind (not with"
        " --no-periodic-update)",
    ),
    (
        "pyright 1.1.414",
        ("python3", "-I", "-c", "import os, os.path, sys; normalize = lambda p: os.path.normcase(p)"),
        "`python -c '… normalize = …'` is pyright, which asks a project's Python for its paths",
    ),
    ("pip 26.3", ("rustc", "--version"), "`rustc --version` may come from pip, for its user agent"),
    (
        "uv 0.13.9",
        ("ld-linux-x86-64.so.2", "--version"),
        "`ld-linux-x86-64.so.2 --version` may come from uv, which asks which libc this is",
    ),
    (
        "torch 2.13.0",
        ("openssl", "sha512", "/tmp/header.h"),
        "`openssl sha512` may come from torch.compile, which hashes a header by it",
    ),
    (
        "nox 2026.10.20",
        ("uv", "self", "version", "--output-format", "json"),
        "`uv self version --output-format json` is what nox asks as it starts, whichever backend it is to use",
    ),
    (
        "git 2.39.5",
        ("git", "maintenance", "run", "--auto", "--no-quiet"),
        "`git maintenance run --auto` is what git runs by itself",
    ),
    ("git 2.39.5", ("git", "gc", "--auto", "--quiet"), "`git gc --auto` is what git runs by itself"),
    (
        "git 2.39.5",
        ("sh", "-c", "git-upload-pack '/srv/a/.git'", "git-upload-pack '/srv/a/.git'"),
        "`sh -c git-upload-pack` is git's other side, of a clone, fetch or pull",
    ),
    (
        "git 2.39.5",
        ("sh", "-c", "git-receive-pack '/srv/a.git'", "git-receive-pack '/srv/a.git'"),
        "`sh -c git-receive-pack` is git's other side, of a push",
    ),
    ("gcc 12.2", ("cc1", "-quiet", "a.c"), f"`cc1` {PART}"),
    ("gcc 12.2", ("collect2", "-plugin", "x"), f"`collect2` {PART}"),
    ("apt 2.6.1", ("dpkg", "--print-foreign-architectures"), "`dpkg --print-foreign-architectures` is what apt asks"),
]


@pytest.mark.parametrize(("version", "argv", "said"), MEASURED)
def test_what_was_measured(version: str, argv: tuple[str, ...], said: str) -> None:
    assert asked_by([record(*argv)]) == [said], version


SHELL_TRUE = "`sh -c` is how subprocess with shell=True, and so os.popen(), executes a command"
SYSTEM = "`sh -c` is how os.system() executes a command"


def shell(argv0: str, **more: object) -> ExecRecord:
    return record("sh", path="/bin/sh", argv=(argv0, "-c", "ls | wc"), **more)  # type: ignore[arg-type]


def test_shells_of_pythons_own() -> None:
    assert asked_by([shell("/bin/sh")]) == [SHELL_TRUE]
    assert asked_by([shell("sh")]) == [SYSTEM]


def test_of_other_shells_nobody_knows_who_asked() -> None:
    assert asked_by([shell("sh", parent=record("make"))]) == []
    assert asked_by([record("sh", "-c", "ls | wc")]) == []  # found along PATH
    assert asked_by([record("sh", path="/bin/sh", argv=("/bin/sh", "x.sh"))]) == []
    assert asked_by([shell("/bin/sh")], of_python=False) == []


def test_each_asker_was_measured() -> None:
    said = {line for _, _, line in MEASURED} | {SHELL_TRUE, SYSTEM}
    missing = [one for one in ASKERS if f"`{one.command}` {one.said}" not in said]
    assert missing == []


@pytest.mark.parametrize(
    "argv",
    [
        ("uname",),
        ("uname", "-a"),
        ("uname", "-p", "-m"),
        ("file", "-b", "/srv/release.tar"),
        ("file", "/usr/bin/python3"),
        ("gcc", "-o", "x", "-lm"),
        ("gcc", "-Wl,-t", "-o", "x", "main.c", "-lm"),
        ("ld", "-o", "x", "-lm"),
        ("ldconfig",),
        ("lsb_release", "-cs"),
        ("lscpu",),
        ("python", "-c", "import os; from multiprocessing.resource_tracker import main;main(5)"),
        ("python", "-m", "ensurepip"),
        ("python", "tools/cpuinfo.py"),
        ("fc-list",),
        ("git", "--version"),
        ("git", "gc"),
        ("git", "maintenance", "run"),
        ("node", "cli.js", "run-driver"),
        ("dpkg", "--print-architecture"),
        ("rustc", "--version", "--verbose"),
        ("pythonista", "-m", "ensurepip", "--upgrade", "--default-pip"),
    ],
)
def test_what_a_person_would_write(argv: tuple[str, ...]) -> None:
    assert asked_by([record(*argv)]) == []


def test_what_is_not_known_says_nothing() -> None:
    assert asked_by([record("uname", argv=None)]) == []
    assert asked_by([record("uname", "-p", truncated=True)]) == []
    assert asked_by([record(None, "-p")]) == []


# ---- with what is above ----

LSB = script("-a", path="/usr/bin/lsb_release")


def test_one_above_explains_what_is_below() -> None:
    below = [record("getopt", parent=LSB), record("cut", parent=LSB), record("tr", parent=record("sh", parent=LSB))]
    assert asked_by(below) == [f"`lsb_release -a`, above getopt, cut, tr, {DISTRO}"]
    assert asked_by([LSB, *below]) == [f"`lsb_release -a` {DISTRO}"]
    assert asked_by([record("cut", previous=LSB)]) == [f"`lsb_release -a`, above cut, {DISTRO}"]


def test_the_topmost_counts() -> None:
    venv = record("python3", "-m", "ensurepip", "--upgrade", "--default-pip")
    again = record("lsb_release", "-a", parent=record("python3", "-c", "…", parent=venv))
    (line,) = asked_by([venv, again, record("cut", parent=again)])
    assert line.startswith("`python -m ensurepip` is how venv installs pip")


def test_what_runs_a_users_own_explains_nothing_below() -> None:
    kernel = record("python", "-m", "ipykernel_launcher", "-f", "x.json")
    assert asked_by([record("curl", parent=kernel)]) == []
    assert asked_by([record("ls", parent=shell("sh"))]) == []
    assert asked_by([record("uname", "-p", parent=kernel)]) == [UNAME]


def test_each_is_said_once_and_few_of_them() -> None:
    assert asked_by([record("uname", "-p") for _ in range(50)]) == [UNAME]
    several = [record(*argv) for _, argv, _ in MEASURED]
    first, second, third = asked_by(several)
    assert (first, second) == tuple(said for _, _, said in MEASURED[:2])
    assert third == f"`gcc -Wl,-t -o … -l…` (and `ld -t -o /dev/null -l…`, `objdump -p -j .dynamic`) {LIBRARY}"
    assert asked_by([LSB, record("uname", "-rs")]) == [f"`lsb_release -a` (and `uname -rs`) {DISTRO}"]
    assert asked_by([record("cc1"), record("collect2")]) == [f"`cc1` (and `collect2`) {PART}"]


def test_names_are_printable() -> None:
    (line,) = asked_by([record("a\nb", parent=LSB)])
    assert line == f"`lsb_release -a`, above a\\nb, {DISTRO}"


def test_a_long_line_of_ancestors() -> None:
    at = LSB
    for _ in range(5000):
        at = record("sh", parent=at)
    assert asked_by([at]) == [f"`lsb_release -a`, above sh, {DISTRO}"]


# ---- where it is shown ----

PROCESSOR = record("uname", "-p")


@pytest.mark.parametrize(
    "check",
    [
        lambda log: log.assert_nothing_ran(),
        lambda log: log.assert_not_ran("uname"),
        lambda log: log.assert_only_ran("git"),
        lambda log: log.assert_at_most(0),
        lambda log: log.assert_count(0, "uname"),
        lambda log: log.assert_sequence(),
    ],
)
def test_below_the_headline_of_an_assertion(check: object) -> None:
    with pytest.raises(AssertionError) as caught:
        check(ExecLog(FixedWindow(evidence(PROCESSOR))))  # type: ignore[operator]
    assert str(caught.value).splitlines()[1] == f"  hint  {UNAME}"


@pytest.mark.parametrize(
    "check",
    [lambda log: log.assert_ran("git"), lambda log: log.assert_at_least(2), lambda log: log.assert_order("git")],
)
def test_not_where_something_else_is_wrong(check: object) -> None:
    with pytest.raises(AssertionError) as caught:
        check(ExecLog(FixedWindow(evidence(PROCESSOR))))  # type: ignore[operator]
    assert "hint" not in str(caught.value)


def said_of(rule: Rule, *ran: ExecRecord) -> list[str]:
    evidences = evidence(*ran)
    found = Judge(deciders([[rule]])).judge("call", evidences)
    return Problem.of(found, evidences, 0, "call phase", Style()).in_report.splitlines()


@pytest.mark.parametrize(
    "rule",
    [
        make_rule("exec_allow", ["git"], {}, "on t"),
        make_rule("exec_none", [], {}, "on t"),
        make_rule("exec_deny", ["uname"], {}, "on t"),
        make_rule("exec_budget", [0], {}, "on t"),
        baseline_rule(
            parse_baseline('version = 1\n[tests."a"]\n', Path("execs.toml")), "tests", "a", accept="…", update=False
        ),
    ],
    ids=lambda rule: rule.kind,
)
def test_below_a_rule_that_is_broken(rule: Rule) -> None:
    lines = said_of(rule, PROCESSOR, record("uname", "-a"))
    assert lines[1].startswith("  rule  ")
    assert lines[2] == f"  hint  {UNAME}"
    assert [line for line in said_of(rule, record("uname", "-a")) if "hint" in line] == []


def test_of_several_rules_each_line_once() -> None:
    rules = [make_rule("exec_deny", ["uname", "argv:uname -p"], {}, "on t")]
    evidences = evidence(PROCESSOR)
    found = Judge(deciders([rules])).judge("call", evidences)
    assert len(found) == 2
    assert str(Problem.of(found, evidences, 0, "call phase", Style()).error).count("hint") == 1
