"""``execprobe run``: what it does, and what it says. The command is real, the probe is played."""

from __future__ import annotations

import math
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import FakeSource, record

from pytest_execprobe import cli
from pytest_execprobe.cli import main
from pytest_execprobe.cli.child import Child
from pytest_execprobe.cli.following import Follower, display, follow
from pytest_execprobe.cli.processes import BadEnd
from pytest_execprobe.cli.recording import NewExec, Recording
from pytest_execprobe.cli.terminal import CommandError
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.report import read as reading
from pytest_execprobe.report.model import LeftRunning
from pytest_execprobe.source import connect
from pytest_execprobe.source.connect import HelperSettings
from pytest_execprobe.source.events import Exec, Running

pytestmark = pytest.mark.exec_budget(6)

Capture = pytest.CaptureFixture[str]


class Played:
    """The probe of a run: what it saw arrives when it is first asked for."""

    def __init__(self) -> None:
        self.source = FakeSource()
        self.settings: HelperSettings | None = None
        self.refusal: str | None = None
        self.happens: Callable[[FakeSource], None] = lambda source: source.exits(source.runs("true"))

    def start(self, settings: HelperSettings) -> FakeSource:
        self.settings = settings
        if self.refusal is not None:
            raise ProbeUnavailable(self.refusal)
        self.source.meanwhile = lambda: self.happens(self.source)
        return self.source


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    stage = Played()
    end_it = Recording.end

    def look_and_end(recording: Recording, timeout: float) -> None:
        recording.look(1)  # what is played is to come before the command's end, which may be there at once
        end_it(recording, timeout)

    monkeypatch.setattr(connect, "start_helper", stage.start)
    monkeypatch.setattr(Recording, "end", look_and_end)
    monkeypatch.setattr(Recording, "seconds", 1.25)
    return stage


TOOLS = ("as", "ld", "ar", "sh", "sed", "awk", "m4", "tr", "rm", "cp", "mv")


def shell(source: FakeSource) -> None:
    """What a command might execute."""
    top = source.runs("make", "-j4")
    for _ in range(12):
        source.exits(source.runs("cc", by=top))
    for name in TOOLS:
        source.exits(source.runs(name, by=top))
    source.exits(top)


TOTALS = """\
execprobe: 24 execs of 13 programs in 1.25 s, 0 lost
most executed   12  cc
                 1  ar
                 1  as
                 1  awk
                 1  cp
                 1  ld
                 1  m4
                 1  make
                 1  mv
                 1  rm
                … 3 more
"""


def test_totals(played: Played, capfd: Capture) -> None:
    played.happens = shell
    assert main(["run", "sh", "-c", "echo output; echo error >&2"]) == 0
    assert capfd.readouterr() == ("output\n", "error\n" + TOTALS)


def leaves(source: FakeSource) -> None:
    """A daemon, and what was only forked."""
    top = source.runs("sh")
    redis = source.runs("redis", by=top)
    source.leaves(redis)
    source.leaves(forked_from=top)
    source.exits(top)


def test_what_is_left_is_said_by_process(played: Played, capfd: Capture) -> None:
    played.happens = leaves
    assert main(["run", "true"]) == 0
    said = capfd.readouterr().err.splitlines()
    assert said[:4] == [
        "execprobe: 2 execs of 2 programs in 1.25 s, 0 lost",
        "most executed   1  redis",
        "                1  sh",
        "still running   2 processes that it has left behind: what they execute from now on is not recorded, --wait"
        " does that",
    ]
    redis, forked = (process.pid for process in played.source.running_now)
    assert re.fullmatch(rf"                pid {redis}: redis, for [\d.]+ ms", said[4])
    assert re.fullmatch(rf"                pid {forked}: forked by sh, no exec of its own, for [\d.]+ ms", said[5])
    assert len(said) == 6


def test_many_that_are_left(played: Played, capfd: Capture) -> None:
    def happens(source: FakeSource) -> None:
        for _ in range(30):
            source.leaves(source.runs("daemon"))
        source.unlisted = 1000

    played.happens = happens
    assert main(["run", "true"]) == 0
    said = capfd.readouterr().err.splitlines()
    assert "still running   1,030 processes that it has left behind: " in said[2]
    assert len([line for line in said if line.startswith("                pid ")]) == 10
    assert said[-1] == "                … 1,020 more"


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], 0, ""),
        (["--budget", "3"], 2, "cannot tell whether at most 3 execs ran"),
        (["--budget", "1"], 1, "exec budget exceeded: 2 execs, at most 1 allowed"),
        (["--deny", "curl"], 2, "cannot tell whether curl ran"),
        (["--deny", "sh"], 1, "sh must not run, but it ran once"),
        (["--allow", "sh", "--allow", "redis"], 2, "cannot tell whether only sh, redis ran"),
        (["--budget", "total.toml"], 2, "cannot tell whether more ran than total.toml allows"),
        (["--budget", "curl.toml"], 2, "cannot tell whether curl ran"),
    ],
)
def test_what_is_left_leaves_limits_undecided(
    played: Played,
    capfd: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    status: int,
    said: str,
) -> None:
    played.happens = leaves
    monkeypatch.chdir(tmp_path)
    Path("total.toml").write_text("version = 1\n[total]\nat_most = 100\n")
    Path("curl.toml").write_text("version = 1\n[total]\nprograms = { curl = 0 }\n")
    assert main(["run", *options, "true"]) == status
    *_, found = capfd.readouterr().err.partition("\nexecprobe: ")
    assert found.startswith(said)
    if status == 2:
        assert "  why   2 processes had not ended when the recording did, and may execute more: " in found


def test_what_is_left_is_in_every_report_and_no_gate_passes_it(played: Played, capfd: Capture, tmp_path: Path) -> None:
    played.happens = leaves
    paths = [tmp_path / name for name in ("a.json", "a.md", "a.html", "a.trace.json")]
    assert main(["run", *(word for path in paths for word in ("--report", str(path))), "true"]) == 0
    document = reading.read(paths[0])
    (run,) = document.runs
    redis, forked = played.source.running_now
    assert run.running == (
        LeftRunning(redis.pid, "redis", True, redis.since),
        LeftRunning(forked.pid, "sh", False, forked.since),
    )
    assert (run.more_running, document.complete) == (0, False)
    for path in paths:
        text = path.read_text().replace("&#58;", ":")
        assert "every exec recorded" not in text
        assert str(forked.pid) in text
    for path in paths[1:]:
        text = path.read_text().replace("&#58;", ":")
        assert f"pid {redis.pid}: redis, for " in text
        assert f"pid {forked.pid}: forked by sh, no exec of its own, for " in text
    capfd.readouterr()
    assert main(["report", str(paths[0])]) == 0
    shown = capfd.readouterr().out
    assert "verdict         no rule broken by what was recorded, but not everything was\n" in shown
    assert f"still running   pid {forked.pid}: forked by sh, no exec of its own, for " in shown
    budget = tmp_path / "budget.toml"
    for limits, status in (("at_most = 100", 2), ("programs = { redis = 0 }", 1)):
        budget.write_text(f"version = 1\n[total]\n{limits}\n")
        assert main(["gate", str(paths[0]), "--budget", str(budget)]) == status
        assert "  missing  2 processes had not ended when the recording did" in capfd.readouterr().out


# ---- waiting for what is left ----


class Leaving(FakeSource):
    """One of whose tree a process is left, until it has been asked for it so often; then it runs something and ends."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.top: Exec | None = None

    def starts(self, source: FakeSource) -> None:
        self.top = source.runs("sh")
        source.leaves(forked_from=self.top)
        source.exits(self.top)

    def running(self, since: int, timeout: float) -> Running:
        self.times -= 1
        if self.times == 0:
            self.exits(self.runs("ls", by=self.top))
            self.running_now.clear()
        return super().running(since, timeout)


def leaving(played: Played, times: int) -> Leaving:
    played.source = source = Leaving(times)
    played.happens = source.starts
    return source


def test_with_wait_all_that_is_left_is_recorded(played: Played, capfd: Capture, tmp_path: Path) -> None:
    leaving(played, 3)
    path = tmp_path / "a.json"
    assert main(["run", "--wait", "--report", str(path), "--deny", "curl", "sh", "-c", "exit 0"]) == 0
    assert "still running" not in capfd.readouterr().err
    document = reading.read(path)
    assert document.complete
    assert document.programs == Counter({"sh": 1, "ls": 1})


def test_with_wait_the_status_is_the_commands(played: Played) -> None:
    leaving(played, 2)
    assert main(["run", "--wait", "--deny", "curl", "sh", "-c", "exit 7"]) == 7


def test_what_is_forbidden_while_it_is_waited(played: Played, capfd: Capture) -> None:
    leaving(played, 2)
    assert main(["run", "--wait", "--deny", "ls", "sh", "-c", "exit 0"]) == 1
    assert "execprobe: ls must not run, but it ran once\n" in capfd.readouterr().err


def test_a_wait_that_is_too_short(played: Played, capfd: Capture) -> None:
    leaving(played, 1000)
    assert main(["run", "--wait=0.2", "--deny", "curl", "true"]) == 2
    said = capfd.readouterr().err
    assert "still running   1 process that it has left behind: waited for 0.2 s\n" in said
    assert ": forked by sh, no exec of its own, for " in said


def test_a_helper_that_is_lost_while_it_is_waited(played: Played, capfd: Capture) -> None:
    """It would be for ever: nothing is there to say that all have ended."""
    source = leaving(played, 1000)

    def dies(since: int, timeout: float) -> Running:
        source.broken = "it died"
        return FakeSource.running(source, since, timeout)

    source.running = dies  # type: ignore[method-assign]
    assert main(["run", "--wait", "--deny", "curl", "true"]) == 2
    assert "not known       the probe helper was lost: it died\n" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_signal_ends_the_wait_and_not_the_run(played: Played, capfd: Capture, tmp_path: Path, name: str) -> None:
    source = leaving(played, 1000)
    running = source.running
    path = tmp_path / "a.json"
    thread = threading.get_ident()

    def signalled(since: int, timeout: float) -> Running:
        if source.times == 998:
            # To the thread that blocks them: a worker of pytest-xdist has others, which would die of them.
            signal.pthread_kill(thread, signal.SIGUSR1)  # meant for the command, which is no more
            signal.pthread_kill(thread, getattr(signal, name))
        return running(since, timeout)

    source.running = signalled  # type: ignore[method-assign]
    assert main(["run", "--wait", "--variant", "x", "--report", str(path), "sh", "-c", "exit 4"]) == 4
    assert reading.read(path).runs[0].variant == "x"
    assert re.search(
        rf"still running   1 process that it has left behind: waited for [\d.]+ s, until {name}\n",
        capfd.readouterr().err,
    )
    assert reading.read(path).still_running == 1


def test_without_a_probe_there_is_nothing_to_wait_for(played: Played) -> None:
    played.refusal = "execprobe: no privilege"
    assert main(["run", "--optional", "--wait", "true"]) == 0


@pytest.mark.parametrize(
    ("options", "patience", "command"),
    [
        ([], None, ["echo", "--wait"]),
        (["--wait"], math.inf, ["echo", "--wait=3"]),
        (["--wait="], math.inf, ["echo"]),
        (["--wait=2.5"], 2.5, ["5"]),
        (["--wait", "--"], math.inf, ["5"]),
        (["-q", "--wait"], math.inf, ["5"]),
        (["-qr", "a.json", "--wait"], math.inf, ["echo"]),
        (["-ra.json", "--wait"], math.inf, ["echo"]),
        (["--deny", "x", "--wait"], math.inf, ["echo"]),
        (["--deny=x", "--color", "never", "--wait=0"], 0, ["-"]),
    ],
)
def test_the_command_is_not_taken_for_the_seconds(
    options: list[str], patience: float | None, command: list[str]
) -> None:
    argv = ["run", *options, *command]
    arguments = cli._parser(argv).parse_args(argv)
    assert arguments.wait == patience
    assert [word for word in arguments.command if word != "--"] == command


@pytest.mark.parametrize("value", ["x", "-1", "nan", "5s"])
def test_seconds_that_are_none(capfd: Capture, value: str) -> None:
    assert main(["run", f"--wait={value}", "true"]) == 2
    assert f"argument --wait: expected a number from 0 on, not {value!r}" in capfd.readouterr().err


def test_what_is_not_known_is_said(played: Played, capfd: Capture) -> None:
    def happens(source: FakeSource) -> None:
        top = source.runs("sh")
        source.runs("x", by=top, lost=True)
        source.unplaced = 2

    played.happens = happens
    assert main(["run", "--budget", "3", "true"]) == 2
    assert capfd.readouterr().err == (
        "execprobe: 1 exec of 1 program in 1.25 s, at least 1, at most 3 lost\n"
        "most executed   1  sh\n"
        "not known       2 records more were lost than can be told apart: raise --buffer-pages\n"
        "execprobe: cannot tell whether at most 3 execs ran\n"
        "  why   2 records more were lost than can be told apart: raise --buffer-pages\n"
        "  why   1 exec found the perf buffer full: raise --buffer-pages, or give the helper a CPU\n"
    )


def test_a_budget_that_has_room_for_all_that_can_be_missing_is_kept(played: Played) -> None:
    def happens(source: FakeSource) -> None:
        source.runs("x", by=source.runs("sh"), lost=True)
        source.unplaced = 2

    played.happens = happens
    assert main(["run", "--budget", "4", "true"]) == 0
    assert main(["run", "--budget", "1", "true"]) == 1


@pytest.mark.parametrize(
    ("options", "script", "status", "said"),
    [
        ([], "exit 0", 0, ""),
        ([], "exit 7", 7, ""),
        ([], "kill -9 $$", 137, ""),
        (["--budget", "24"], "exit 0", 0, ""),
        (["--budget", "23"], "exit 0", 1, "execprobe: exec budget exceeded: 24 execs, at most 23 allowed\n"),
        (["--budget", "23"], "exit 7", 7, "execprobe: exec budget exceeded: 24 execs, at most 23 allowed\n"),
        *(
            (["--budget", one, "--budget", other], "exit 0", status, said)
            for less, status, said in (
                ("23", 1, "execprobe: exec budget exceeded: 24 execs, at most 23 allowed\n"),
                ("24", 0, ""),
            )
            for one, other in ((less, "40"), ("40", less))
        ),
        (
            ["--deny", "cc", "--deny", "curl"],
            "exit 0",
            1,
            "execprobe: cc must not run, but it ran 12 times\n" + "  /usr/bin/cc\n" * 10 + "  … 2 more\n",
        ),
        (
            ["--allow", "make", "--allow", "[a-l]*", "--allow", "r*", "--allow", "m4", "--allow", "mv"],
            "exit 0",
            1,
            "execprobe: only make, [a-l]*, r*, m4, mv may run, but sh, sed, tr ran\n"
            "  /usr/bin/sh\n  /usr/bin/sed\n  /usr/bin/tr\n",
        ),
        (["--allow", "subtree:make"], "exit 0", 0, ""),
        (
            ["--allow", "subtree:cc"],
            "exit 7",
            7,
            "execprobe: only subtree:cc may run, but make, as, ld and 9 more ran\n  /usr/bin/make -j4\n"
            + "".join(f"  /usr/bin/{name}\n" for name in TOOLS[:-2])
            + "  … 2 more\n",
        ),
    ],
)
def test_limits_and_exit_statuses(
    played: Played, capfd: Capture, options: list[str], script: str, status: int, said: str
) -> None:
    played.happens = shell
    assert main(["run", *options, "--", "sh", "-c", script]) == status
    assert capfd.readouterr() == ("", TOTALS + said)


def test_a_lost_record_decides_nothing(played: Played, capfd: Capture) -> None:
    def happens(source: FakeSource) -> None:
        source.runs("x", by=source.runs("sh"), lost=True)

    played.happens = happens
    for options, status in (
        (["--budget", "2"], 0),
        (["--budget", "1"], 1),
        (["--deny", "curl"], 2),
        (["--allow", "sh"], 2),
        (["--allow", "subtree:sh"], 2),
        (["--deny", "curl", "--budget", "1"], 1),
    ):
        played.source = FakeSource()
        assert main(["run", *options, "true"]) == status, options
    said = capfd.readouterr().err
    assert "execprobe: cannot tell whether curl ran\n  why   1 exec found the perf buffer full" in said


def test_texts_of_programs_are_made_printable(played: Played, capfd: Capture) -> None:
    played.happens = lambda source: source.exits(source.runs("a\x1b[31m\n", "\x1b[0m"))
    assert main(["run", "--deny", "re:a", "true"]) == 1
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err
    assert "most executed   1  a\\x1b[31m\\n\n" in err


# ---- the probe's settings, and no probe ----


def test_settings(played: Played) -> None:
    assert main(["run", "true"]) == 0
    assert played.settings == HelperSettings(attempts="off")
    options = ["--python", "/usr/bin/python3", "--helper", "@x", "--buffer-pages", "64", "--timeout", "2.5"]
    assert main(["run", *options, "true"]) == 0
    assert played.settings == HelperSettings("/usr/bin/python3", "off", 64, address="@x")


def test_without_a_probe_nothing_is_run(played: Played, capfd: Capture, tmp_path: Path) -> None:
    played.refusal = "execprobe: no privilege. Run pytest as root, or raise --execprobe-timeout"
    assert main(["run", "--report", str(tmp_path / "a.json"), "touch", str(tmp_path / "run")]) == 2
    assert capfd.readouterr() == (
        "",
        "execprobe: no privilege. Run execprobe as root, or raise --timeout. The command was not run; with --optional"
        " it runs unrecorded\n",
    )
    assert os.listdir(tmp_path) == []


def test_a_probe_that_is_optional(played: Played, capfd: Capture, tmp_path: Path) -> None:
    played.refusal = "execprobe: no privilege. Run pytest as root"
    path = tmp_path / "a.json"
    assert main(["run", "--optional", "--budget", "0", "--report", str(path), "sh", "-c", "echo ran; exit 3"]) == 3
    assert capfd.readouterr() == ("ran\n", "execprobe: NOT RECORDED: no privilege. Run execprobe as root\n")
    document = reading.read(path)
    assert not document.complete
    assert document.units[0].not_checked == "no privilege. Run execprobe as root"
    assert main(["run", "--optional", "--budget", "0", "true"]) == 0


# ---- the command ----


@pytest.mark.parametrize(
    ("argv", "output"),
    [
        (["--", "echo", "--quiet", "--", "-h"], "--quiet -- -h\n"),
        (["echo", "--color", "never", "--", "run"], "--color never -- run\n"),
        (["--quiet", "echo", "-q"], "-q\n"),
        (["--", "printf", "%s|", "", "a b", "--"], "|a b|--|"),
    ],
)
@pytest.mark.usefixtures("played")
def test_its_arguments_are_its_own(capfd: Capture, argv: list[str], output: str) -> None:
    assert main(["run", *argv]) == 0
    assert capfd.readouterr().out == output


@pytest.mark.usefixtures("played")
def test_a_command_that_is_not_there(capfd: Capture, tmp_path: Path) -> None:
    report = tmp_path / "a.json"
    script = tmp_path / "script"
    script.write_text("#!/nonexistent/interpreter\n")
    script.chmod(0o755)
    plain = tmp_path / "plain"
    plain.write_text("")
    for command, status, said in (
        ("no-such-command", 127, "no-such-command: there is no such command in PATH"),
        (f"{tmp_path}/none", 127, f"{tmp_path}/none: there is no such command"),
        ("", 127, "'': there is no such command in PATH"),
        (str(script), 127, f"{script}: the interpreter that its #! line names is not there"),
        (str(tmp_path), 126, f"{tmp_path}: can't be executed (Permission denied)"),
        (str(plain), 126, f"{plain}: can't be executed (Permission denied)"),
    ):
        report.write_text("of last week")
        assert main(["run", "--report", str(report), "--", command]) == status
        assert capfd.readouterr() == ("", f"execprobe: {said}\n")
        assert not report.exists()


@pytest.mark.usefixtures("played")
def test_a_script_without_its_first_line(capfd: Capture, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "$0 $*"\n')
    script.chmod(0o755)
    assert main(["run", str(script), "a", "b"]) == 0
    assert capfd.readouterr().out == f"{script} a b\n"


# ---- reports ----


def test_reports(played: Played, capfd: Capture, tmp_path: Path) -> None:
    played.happens = shell
    paths = [tmp_path / name for name in ("a.json", "new/a.md", "a.trace.json")]
    options = [word for path in paths for word in ("--report", str(path))]
    assert main(["run", *options, "--budget", "3", "--", "sh", "-c", "exit 0", "it's"]) == 1
    document = reading.read(paths[0])
    ((run,), (unit,)) = (document.runs, document.units)
    assert (run.kind, run.command, run.exit_status) == ("command", ("sh", "-c", "exit 0", "it's"), 0)
    assert (unit.kind, unit.name, unit.outcome) == ("command", "sh -c 'exit 0' 'it'\"'\"'s'", "passed")
    assert unit.phases == {"call": (run.start_ns, run.end_ns)}
    assert run.start_ns < unit.records[0].timestamp_ns < unit.records[-1].timestamp_ns < run.end_ns
    assert unit.programs == Counter({"cc": 12, **dict.fromkeys(["make", *TOOLS], 1)})
    assert unit.records[1].parent == unit.records[0]
    assert unit.records[1].duration_ns is not None
    assert [breach.headline for breach in unit.breaches] == ["exec budget exceeded: 24 execs, at most 3 allowed"]
    assert document.complete
    assert all(path.stat().st_size > 500 for path in paths)
    assert capfd.readouterr().err == TOTALS + "execprobe: exec budget exceeded: 24 execs, at most 3 allowed\n"


@pytest.mark.usefixtures("played")
def test_a_failed_command_in_a_report(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert main(["run", "--report", str(path), "false"]) == 1
    document = reading.read(path)
    assert (document.runs[0].exit_status, document.units[0].outcome) == (1, "failed")


def test_what_is_missing_is_in_the_report(played: Played, tmp_path: Path) -> None:
    def happens(source: FakeSource) -> None:
        source.runs("x", by=source.runs("sh"), lost=True)
        source.unplaced = 2

    played.happens = happens
    path = tmp_path / "a.json"
    assert main(["run", "--report", str(path), "true"]) == 0
    document = reading.read(path)
    assert document.lost == 1
    assert document.unknown == ()
    assert document.gaps == {"2 records more were lost than can be told apart: raise --buffer-pages": 2}
    assert (document.lost_at_most, document.complete) == (3, False)


@pytest.mark.parametrize("name", ["a.txt", "file/a.json", "folder.json"])
def test_a_report_that_can_not_be_is_no_reason_to_run(
    played: Played, capfd: Capture, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.json").mkdir()
    assert main(["run", "--report", str(tmp_path / name), "touch", str(tmp_path / "ran")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"execprobe: {tmp_path / name}: ")
    assert played.settings is None
    assert not (tmp_path / "ran").exists()


def test_a_form_that_is_not_installed(
    played: Played, capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["run", "--report", str(tmp_path / "a.html"), "true"]) == 2
    assert "pip install 'pytest-execprobe[html]'" in capfd.readouterr().err
    assert played.settings is None


def test_a_report_that_fails_at_last(played: Played, capfd: Capture, tmp_path: Path) -> None:
    """The command itself puts a folder where the report is to be."""
    path = tmp_path / "a.json"
    for script, status in (("mkdir $0", 2), ("mkdir $0; exit 9", 9)):
        played.source = FakeSource()
        assert main(["run", "--report", str(path), "sh", "-c", script, str(path)]) == status
        assert f"execprobe: {path}: the report can't be written" in capfd.readouterr().err
        path.rmdir()


# ---- budget files ----


def test_a_budget_file(played: Played, capfd: Capture, tmp_path: Path) -> None:
    played.happens = shell
    budget = tmp_path / "budget.toml"
    for total, status, said in (
        ("at_most = 24", 0, ""),
        ("at_most = 23", 1, f"execprobe: {budget}: 24 execs, at most 23 allowed\n  /usr/bin/mv\n"),
        ("at_most = 30\nprograms = { cc = 12 }", 0, ""),
        (
            "programs = { cc = 11 }",
            1,
            f"execprobe: {budget}: grew: cc ran 12 times, at most 11 times in the baseline\n  /usr/bin/cc\n",
        ),
    ):
        played.source = FakeSource()
        budget.write_text(f"version = 1\n[total]\n{total}\n")
        assert main(["run", "--budget", str(budget), "true"]) == status
        assert capfd.readouterr().err == TOTALS + said


def test_budgets_that_are_given_together_all_count(played: Played, capfd: Capture, tmp_path: Path) -> None:
    played.happens = shell
    texts = {"wide": "at_most = 24", "few": "at_most = 22", "cc": "programs = { cc = 11 }"}
    files = {name: str(tmp_path / f"{name}.toml") for name in texts}
    for name, text in texts.items():
        Path(files[name]).write_text(f"version = 1\n[total]\n{text}\n")
    said = {
        files["few"]: f"execprobe: {files['few']}: 24 execs, at most 22 allowed\n  /usr/bin/cp\n  /usr/bin/mv\n",
        files["cc"]: f"execprobe: {files['cc']}: grew: cc ran 12 times, at most 11 times in the baseline\n"
        "  /usr/bin/cc\n",
        "23": "execprobe: exec budget exceeded: 24 execs, at most 23 allowed\n",
    }
    for budgets in (
        [files["wide"], "24"],
        [files["few"], files["wide"]],
        [files["wide"], files["few"]],
        ["23", files["wide"]],
        [files["wide"], "23"],
        ["23", files["few"], files["cc"]],
    ):
        played.source = FakeSource()
        broken = [budget for budget in budgets if budget in said]
        options = [word for budget in budgets for word in ("--budget", budget)]
        assert main(["run", *options, "true"]) == (1 if broken else 0), budgets
        assert capfd.readouterr().err == TOTALS + "".join(said[budget] for budget in broken)


def test_a_budget_file_and_something_lost(played: Played, capfd: Capture, tmp_path: Path) -> None:
    played.happens = lambda source: source.exits(source.runs("x", by=source.runs("sh"), lost=True))
    budget = tmp_path / "budget.toml"
    budget.write_text("version = 1\n[total]\nprograms = { curl = 0 }\n")
    assert main(["run", "--budget", str(budget), "true"]) == 2
    assert "execprobe: cannot tell whether curl ran" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no "),
        ("version = 1\n[tests]\n", "has no [total], and nothing else in a budget file is about a command"),
        ("version", "is damaged"),
        ("version = 99", "is of version 99"),
    ],
)
def test_a_budget_file_of_no_use_is_no_reason_to_run(
    played: Played, capfd: Capture, tmp_path: Path, text: str | None, said: str
) -> None:
    budget = tmp_path / "budget.toml"
    if text is not None:
        budget.write_text(text)
    assert main(["run", "--budget", str(budget), "touch", str(tmp_path / "ran")]) == 2
    assert said in capfd.readouterr().err
    assert played.settings is None
    assert not (tmp_path / "ran").exists()


# ---- the live display ----


class Screen:
    """A terminal that keeps what is written."""

    attended = True
    width = 60

    def __init__(self) -> None:
        self.lines: list[str] = []

    def complain(self, *parts: str | tuple[str, str]) -> None:
        self.lines.append("".join(part if isinstance(part, str) else part[0] for part in parts))


def test_lines_of_the_display() -> None:
    screen, began = Screen(), 1_000_000_000
    show = display(screen, began)  # type: ignore[arg-type]
    top = record("make", "-j4", pid=4242, at=began + 1_500_000)
    long = record("cc", "-c", "x" * 100, pid=4243, at=began + 12_345_678_901)
    odd = record("a b", "\x1b[31m", pid=7, at=began + 2_000_000)
    show([NewExec(top, None), NewExec(long, "make"), NewExec(odd, "a-rather-long-name")])
    show([NewExec(record("mysql", "-pS3cr3t", pid=8, at=began), None)])
    assert screen.lines == [
        "+      1.5 ms    4242              /usr/bin/make -j4",
        "+  12345.7 ms    4243 make         /usr/bin/cc -c xxxxxxxx…",
        "+      2.0 ms       7 a-rather-lo… '/usr/bin/a b' '\\x1b[31…",
        "+      0.0 ms       8              /usr/bin/mysql -p•••",
    ]
    assert len(screen.lines[1]) == screen.width - 1


def test_lines_of_ends() -> None:
    screen, began = Screen(), 1_000_000_000
    show = display(screen, began)  # type: ignore[arg-type]
    show([NewExec(record("gcc", pid=42, at=began), None), BadEnd(began + 2_500_000, 42, "gcc", "exit 1")])
    assert screen.lines[-1] == "+      2.5 ms      42 gcc          exit 1"


def test_a_storm_is_not_shown_line_by_line() -> None:
    screen = Screen()
    show = display(screen, 0)  # type: ignore[arg-type]
    show([NewExec(record("true"), None)] * 1234)
    assert len(screen.lines) == 51
    assert screen.lines[-1] == "+ … 1,184 more"


def test_nothing_shows_a_secret(played: Played, tmp_path: Path, capfd: Capture) -> None:
    def happens(source: FakeSource) -> None:
        top = source.runs("sh", "-c", "mysql -pS3cr3t")
        source.leaves(source.runs("mysql", "-pS3cr3t", by=top))
        source.exits(top)

    played.happens = happens
    paths = [tmp_path / f"a.{form}" for form in ("json", "html", "md", "trace.json")]
    reports = [word for path in paths for word in ("--report", str(path))]
    command = ["sh", "-c", "true # --token=S3cr3t"]
    limits = ["--deny", "mysql", "--allow", "sh", "--budget", "1"]
    for redact, is_shown in ((), False), (("--redact", "none"), True):
        assert main(["run", *redact, *reports, *limits, *command]) == 1
        output = "".join(capfd.readouterr())
        texts = [output, *(path.read_text() for path in paths)]
        assert [text for text in texts if ("S3cr3t" in text) is not is_shown] == []


def test_no_display_where_there_is_no_screen() -> None:
    screen = Screen()
    screen.attended = False
    display(screen, 0)([NewExec(record("true"), None)])  # type: ignore[arg-type]
    assert not screen.lines


def test_the_command_is_let_go_when_this_is_at_fault() -> None:
    class Child:
        status = None
        released = False

        def wait(self, timeout: float) -> bool:  # noqa: ARG002
            raise CommandError("a defect")

        def release(self) -> None:
            self.released = True

    child = Child()
    with pytest.raises(CommandError):
        follow(child, Follower(Recording(None, "", None), lambda _: None, 1), None, Screen())  # type: ignore[arg-type]
    assert child.released


# ---- signals ----

USER, KERNEL = 0, 0x80  # as si_code has it


@pytest.mark.parametrize(
    ("number", "code", "sender", "passed_on"),
    [
        (signal.SIGTERM, USER, 1, True),
        (signal.SIGINT, USER, 1, True),
        (signal.SIGHUP, USER, 1, True),
        (signal.SIGTERM, USER, 4242, False),  # the command itself, which has signalled its whole group
        (signal.SIGINT, KERNEL, 0, False),  # the terminal, which sends it to the command as well
        (signal.SIGQUIT, KERNEL, 0, False),
        (signal.SIGHUP, KERNEL, 0, True),  # to the session's leader alone
    ],
)
def test_which_signals_are_passed_on(
    monkeypatch: pytest.MonkeyPatch, number: int, code: int, sender: int, passed_on: bool
) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *signalled: sent.append(signalled))
    child = object.__new__(Child)
    child._pid = 4242
    child._pass_on(SimpleNamespace(si_signo=number, si_code=code, si_pid=sender))  # type: ignore[arg-type]
    assert sent == ([(4242, number)] if passed_on else [])


@pytest.mark.usefixtures("played")
def test_signals_are_as_they_were_before(capfd: Capture) -> None:
    """Of this process, and of the command: Python ignores SIGPIPE, which nothing that it starts is to do."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not before & {signal.SIGINT, signal.SIGTERM}
    assert main(["run", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]) == 0  # no shell: dash unblocks all
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    blocked, ignored = (int(line.split()[1], 16) for line in capfd.readouterr().out.splitlines())
    assert not blocked
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1 | 1 << signal.SIGINT - 1)
    assert main(["run", "no-such-command"]) == 127
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@pytest.mark.usefixtures("played")
def test_who_ignores_its_children_still_learns_how_they_end() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert main(["run", "sh", "-c", "exit 5"]) == 5
    finally:
        signal.signal(signal.SIGCHLD, before)
