"""Programs that do not run traced, as debuggers: the tracer lets those go, and the log says what it lacks by that.

Nothing here needs privilege, but for what is about BPF. ``test_under_ptrace.py`` runs it as an ordinary user as well.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import change_helper
from programs import Programs
from recording import Recording, recording

from pytest_execprobe import IncompleteLogError
from pytest_execprobe.source import launch
from pytest_execprobe.source.connect import HelperSettings

pytestmark = [pytest.mark.exec_budget(500), pytest.mark.own_helper]


@pytest.fixture
def wild(tmp_path: Path) -> Path:
    """A shell of another name."""
    link = tmp_path / "wild"
    link.symlink_to("/bin/sh")
    return link


def letting_go(*patterns: str, backend: str = "ptrace") -> HelperSettings:
    return HelperSettings(backend=backend, untraced=patterns)


@pytest.fixture
def traced() -> Iterator[Recording]:
    with recording(letting_go("wild")) as made:
        yield made


# ---- what is let go ----


@pytest.mark.parametrize("pattern", ["traceme", "trace?e", "{folder}/traceme", "*/trace*"])
def test_program_that_has_itself_traced_can(pattern: str, programs: Programs) -> None:
    with recording(letting_go(pattern.format(folder=programs.folder))) as made:
        assert subprocess.run([programs.traceme], check=False).returncode == 0
        made.execprobe.assert_ran("traceme")


@pytest.mark.parametrize("pattern", ["trace", "/traceme", "/bin/*", "[!t]*"])
def test_any_other_can_not(pattern: str, programs: Programs) -> None:
    with recording(letting_go(pattern)) as made:
        assert subprocess.run([programs.traceme], check=False).returncode == 1
        assert made.execprobe.programs == ["traceme"]


def test_program_goes_by_its_file_and_by_a_link_to_it(programs: Programs, tmp_path: Path) -> None:
    link = tmp_path / "linked"
    link.symlink_to(programs.traceme)
    for pattern in ("traceme", "linked", str(programs.traceme), str(link)):
        with recording(letting_go(pattern)):
            assert subprocess.run(["./linked"], cwd=tmp_path, check=False).returncode == 0


def test_script_goes_by_its_own_name_alone(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n/bin/true\n")
    script.chmod(0o755)
    for pattern, missing in (("script", None), ("sh", 0), ("dash", 0)):
        with recording(letting_go(pattern)) as made:
            subprocess.run([script], check=True)
            assert made.execprobe.lost == missing


@pytest.mark.parametrize("debugger", ["strace -qq -e trace=none", "gdb -q -batch -ex run -ex quit --args"])
def test_debugger_works(debugger: str) -> None:
    command = [*debugger.split(), "/bin/true"]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")

    def works() -> bool:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        return done.returncode == 0 and "not permitted" not in said and "Could not trace" not in said

    with recording(letting_go()):
        assert not works()
    with recording(letting_go(command[0])) as made:
        assert works()
        made.execprobe.assert_ran(command[0])


def test_leak_sanitizer_works(tmp_path: Path) -> None:
    (tmp_path / "leak.c").write_text("#include <stdlib.h>\nint main(void) { return malloc(1) == 0; }\n")
    built = subprocess.run(["gcc", "-fsanitize=leak", "leak.c", "-o", "leak"], cwd=tmp_path, check=False)
    if built.returncode != 0:
        pytest.skip("nothing here compiles with LeakSanitizer")

    def said() -> str:
        return subprocess.run([tmp_path / "leak"], capture_output=True, text=True, check=False).stderr

    with recording(letting_go()):
        assert "LeakSanitizer does not work under ptrace" in said()
    with recording(letting_go("leak")):
        assert "does not work under ptrace" not in said()


# ---- what is known then ----


def test_what_runs_below_is_not_known(traced: Recording, wild: Path) -> None:
    log = traced.execprobe
    with log.watch() as before:
        subprocess.run(["true"], check=True)
    subprocess.run([wild, "-c", "/bin/true; /bin/true"], check=True)
    subprocess.run(["false"], check=False)
    assert [record.program for record in log.partial] == ["true", "wild", "false"]
    assert (log.complete, log.lost) == (False, None)
    log.assert_ran("wild", "false")
    log.assert_at_least(3)
    for undecided in (lambda: log.assert_not_ran("curl"), lambda: log.programs, lambda: log.assert_at_most(3)):
        with pytest.raises(IncompleteLogError, match="wild ran untraced"):
            undecided()
    with pytest.raises(AssertionError, match="true must not run"):
        log.assert_not_ran("true")
    assert before.programs == ["true"]


def test_how_it_ends_is_not_known(traced: Recording, wild: Path) -> None:
    assert subprocess.run([wild, "-c", "exit 3"], check=False).returncode == 3
    (record,) = traced.execprobe.partial
    assert (record.exit_code, record.signal) == (None, None)


def test_what_is_beside_it_is_followed(traced: Recording, wild: Path) -> None:
    subprocess.run(["sh", "-c", f"{wild} -c '/bin/true; :' & (/bin/true); wait"], check=True)
    assert sorted(str(record.program) for record in traced.execprobe.partial) == ["sh", "true", "wild"]
    assert traced.source.running(0, 30).count == 0


def test_it_is_seen_to_run_until_it_ends(traced: Recording, wild: Path) -> None:
    with subprocess.Popen([wild], stdin=subprocess.PIPE) as shell:
        traced.execprobe.wait_for("wild")
        found = traced.source.running(0, 30)
        assert [process.pid for process in found.listed] == [shell.pid]
        assert not found.are_all
    found = traced.source.running(0, 30)
    assert (found.count, found.are_all) == (0, False)


def test_signals_and_job_control_are_as_they_are(traced: Recording, wild: Path) -> None:
    with subprocess.Popen([wild, "-c", "kill -STOP $$; exit 5"]) as shell:
        traced.execprobe.wait_for("wild")
        assert os.WIFSTOPPED(os.waitpid(shell.pid, os.WUNTRACED)[1])
        shell.send_signal(signal.SIGCONT)
        assert shell.wait(30) == 5


def test_root_inside_a_root_has_patterns_of_its_own(traced: Recording, programs: Programs) -> None:
    """Whose tree it is in makes no difference: a process has one tracer."""
    with recording(letting_go("traceme")) as inner:
        assert inner.helper == traced.helper
        assert subprocess.run([programs.traceme], check=False).returncode == 0
        for made in (inner, traced):
            with pytest.raises(IncompleteLogError, match="traceme ran untraced"):
                made.execprobe.assert_not_ran("curl")
    assert subprocess.run([programs.traceme], check=False).returncode == 1


ENDS_UNNOTICED = """
import signal, subprocess, sys
from pathlib import Path
from recording import recording
from pytest_execprobe.log.probe import ExecProbe
from pytest_execprobe.source import launch
from pytest_execprobe.source.connect import HelperSettings

launch.HELPER = Path(sys.argv[1])
with recording(HelperSettings(backend="ptrace", untraced=("wild",))) as made:
    recorder = made.recorder
    recorder.end_phase()
    recorder.begin_phase("teardown")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # at which this process would stop, and the helper look
    subprocess.run([sys.argv[2], "-c", "exit 0"], check=True)
    recorder.end_phase()
    recorder.end_test()
    recorder.begin_test("the next")
    recorder.begin_phase("call")
    ExecProbe(recorder).assert_not_ran("curl")
"""


def test_what_has_ended_is_seen_to_before_its_test_is_over(
    wild: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing promises that the helper notices an end at once: here it does only where it is asked."""
    silent = {"return [self._stops, self._tracer.left.fileno()]": "return [self._stops]"}
    change_helper(tmp_path, monkeypatch, {"ptrace/probe.py": silent})
    command = [sys.executable, "-c", ENDS_UNNOTICED, launch.HELPER, wild]
    subprocess.run(command, cwd=Path(__file__).parent, check=True)


@pytest.mark.bpf
def test_bpf_lets_nothing_go(wild: Path) -> None:
    with recording(letting_go("wild", backend="bpf")) as made:
        subprocess.run([wild, "-c", "/bin/true; :"], check=True)
        assert made.execprobe.programs == ["wild", "true"]


# ---- in a run ----


SUITE = """
import subprocess, sys, pytest
WILD = {wild!r}

def test_plain():
    subprocess.run([WILD, "-c", "/bin/true; :"], check=True)

def test_with_a_rule_later(execprobe):
    subprocess.run(["true"], check=True)
    execprobe.assert_not_ran("curl")
    assert execprobe.programs == ["true"]

def test_strays_are_not_known(execprobe):
    with pytest.raises(Exception, match="what earlier tests left behind"):
        execprobe.strays

@pytest.mark.exec_deny("curl")
def test_denied_after_that():
    subprocess.run(["true"], check=True)
"""


def result_of(pytester: pytest.Pytester, suite: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(suite)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--execprobe-backend=ptrace"]
    return pytester.run(*command, "--execprobe-untraced=wild", *options, timeout=120)


def test_tests_after_it_are_judged(pytester: pytest.Pytester, wild: Path) -> None:
    """What it runs is its own test's, for it has ended with that."""
    result = result_of(pytester, SUITE.format(wild=str(wild)))
    result.assert_outcomes(passed=4)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*no debugger runs but these, untraced: wild*"])


def test_test_with_a_rule_is_undecided(pytester: pytest.Pytester, wild: Path) -> None:
    suite = SUITE.format(wild=str(wild)).replace("def test_plain", "@pytest.mark.exec_deny('curl')\ndef test_plain")
    result = result_of(pytester, suite)
    result.assert_outcomes(passed=3, errors=3)  # its call, its teardown, what it may have left behind
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*wild ran untraced (--execprobe-untraced)*"])


def test_budget_of_the_session_is_undecided(pytester: pytest.Pytester, wild: Path) -> None:
    result = result_of(pytester, SUITE.format(wild=str(wild)), "--execprobe-session-budget=100")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*wild ran untraced (--execprobe-untraced)*"])


def test_what_it_leaves_running_makes_the_next_undecided(pytester: pytest.Pytester, wild: Path) -> None:
    suite = f"""
import subprocess

def test_it_is_left():
    global left
    left = subprocess.Popen([{str(wild)!r}], stdin=subprocess.PIPE)

def test_the_next(execprobe):
    execprobe.assert_not_ran("curl")

def test_it_ends():
    left.communicate()

def test_after_that(execprobe):
    execprobe.assert_not_ran("curl")
"""
    result = result_of(pytester, suite)
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["*IncompleteLogError*", "*wild ran untraced*"])
