"""What is denied with enforce=True is killed before its first instruction: by whichever way it is executed, only in the
tree of who denies it, and never without failing the test.

``EXECPROBE_STOPS=1000`` tries every way so often.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import routes
from faulty import preempt_programs
from inner import Ran, run_files
from recording import AUTO, recording
from routes import Town as Folder
from service import PYTHON, RECORDS, person, service
from town import Town, folder, town
from users import needs_root

__all__ = ["folder", "town"]

TIMES = int(os.environ.get("EXECPROBE_STOPS", "4"))

pytestmark = [
    pytest.mark.usefixtures("kernel", "stops"),
    pytest.mark.exec_budget(20_000 + 400 * TIMES),
    pytest.mark.exec_deny(inherit=False),
]

both_probes = pytest.mark.parametrize("backend", [pytest.param("bpf", marks=pytest.mark.bpf), "ptrace"])


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.build()
    return made


# ---- every way ----


@both_probes
def test_by_no_route_does_it_run_and_outside_of_the_tree_it_does(backend: str, place: Folder) -> None:
    """Beside the process whose tree it must not run in, this one runs the same script all the time."""
    command = [sys.executable, routes.__file__, backend, str(place.folder), str(TIMES)]
    own = place.folder / "outside"
    outside = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}) as process:
        while process.poll() is None:
            own.touch()
            assert subprocess.run([place.script, own], check=False).returncode == 0
            assert not own.exists()
            outside += 1
        assert process.stdout is not None
        found = json.load(process.stdout)
    assert outside > 3
    ways = len(found) - 1
    assert ways > 20
    assert found.pop("exec in the root itself") == [0, 0, 0, 1]  # by another root than is asked here
    assert found == {way: [TIMES, 0, 0, 1] for way in found}


@pytest.mark.bpf
def test_where_tracing_programs_are_preempted(place: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are on the newest kernels: the programs are others there."""
    preempt_programs(tmp_path / "changed", monkeypatch)
    found = routes.main("bpf", str(place.folder), 1)
    assert found.pop("exec in the root itself") == [0, 0, 0, 1]
    assert found == {way: [1, 0, 0, 1] for way in found}


# ---- in runs ----

SUITE = """
import os, pathlib, signal, subprocess, pytest

FOLDER = pathlib.Path({folder!r})
SCRIPT, FILE = FOLDER / "cleaner", FOLDER / "precious"

def cleans():
    '''Whether the script has run.'''
    status = subprocess.run([SCRIPT], check=False).returncode
    ran = not FILE.exists()
    FILE.touch()
    assert status == (0 if ran else -9)
    return ran
"""


class Suite:
    def __init__(self, pytester: pytest.Pytester, place: Folder) -> None:
        self._pytester = pytester
        self._place = place
        self.path = pytester.path

    def run(self, text: str, *options: str, **outcomes: int) -> str:
        self._pytester.makepyfile(test_it=SUITE.format(folder=str(self._place.folder)) + text)
        result = self._pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
        result.assert_outcomes(**outcomes)
        assert self._place.file.exists()
        return result.stdout.str()


@pytest.fixture
def suite(pytester: pytest.Pytester, place: Folder) -> Suite:
    return Suite(pytester, place)


def test_the_test_fails_and_others_go_on(suite: Suite) -> None:
    text = """
@pytest.mark.exec_deny("cleaner", enforce=True)
def test_denied():
    assert not cleans()
    assert not cleans()

def test_free():
    assert cleans()

@pytest.mark.exec_deny("cleaner", enforce=True)
def test_passes(execprobe):
    subprocess.run(["true"], check=True)
    assert [record.stopped for record in execprobe.records] == [False]

@pytest.mark.exec_deny("cleaner", enforce=True)
def test_reads(execprobe):
    assert not cleans()
    (record,) = execprobe.records
    assert (record.stopped, record.signal, record.exit_code) == (True, signal.SIGKILL, None)
"""
    out = suite.run(text, "--execprobe-report=a.json", failed=2, passed=2)
    assert "cleaner must not run, and was stopped before it ran, 2 times (call phase)" in out
    assert "cleaner  (stopped before it ran)" in out
    stopped = re.findall(r'"stopped": ?(\w+)', (suite.path / "a.json").read_text())
    assert sorted(stopped) == ["false"] * 3 + ["true"] * 3  # of the script and its rm, and of true; and of the others


def test_an_audit_names_what_else_was_killed_and_not_what_was_stopped(suite: Suite) -> None:
    text = """
@pytest.mark.xfail(raises=AssertionError)
@pytest.mark.exec_deny("cleaner", enforce=True)
def test_denied():
    assert not cleans()
    subprocess.run(["sh", "-c", "kill -KILL $$"])
"""
    out = suite.run(text, "--execprobe-audit", xfailed=1)
    assert re.search(r"^ended by signal 1  test_it\.py::test_denied: sh by SIGKILL$", out, re.MULTILINE)


@pytest.mark.parametrize("ignored", ["re:cleaner", "subtree:env"])
def test_what_is_ignored_by_more_than_its_name_is_not_killed_without_a_word(suite: Suite, ignored: str) -> None:
    text = """
@pytest.mark.exec_deny("cleaner", enforce=True)
def test_denied():
    assert subprocess.run(["env", SCRIPT]).returncode == -9
"""
    out = suite.run(text, f"--execprobe-ignore={ignored}", failed=1)
    assert "cleaner must not run, and was stopped before it ran (call phase)" in out


def test_what_a_hook_leaves_out_is_not_killed_without_a_word(suite: Suite) -> None:
    text = """
@pytest.mark.exec_deny("cleaner", enforce=True)
@pytest.mark.exec_deny("true")
def test_denied():
    subprocess.run(["true"])
    assert subprocess.run([SCRIPT]).returncode == -9
"""
    (suite.path / "conftest.py").write_text("def pytest_execprobe_record(record, item): return False")
    out = suite.run(text, failed=1)
    assert "cleaner must not run, and was stopped before it ran (call phase)" in out
    assert "true must not run" not in out


WIDER = """
@pytest.fixture(scope="session")
def wide():
    assert cleans()
    yield
    assert cleans()

@pytest.mark.exec_deny("cleaner", enforce=True)
def test_it(wide):
    assert not cleans()
"""
#: A file each. All are run by one pytest, in this order: the last has a fixture for the session.
FILES = {
    "hard_link": """
@pytest.mark.exec_deny(str(SCRIPT), enforce=True)
def test_denied():
    assert subprocess.run([FOLDER / "hard"]).returncode == -9
""",
    "later": """
@pytest.mark.exec_deny(str(FOLDER / "later"), enforce=True)
def test_denied(tmp_path):
    (FOLDER / "later").write_bytes(SCRIPT.read_bytes())
    (FOLDER / "later").chmod(0o755)
    (tmp_path / "link").symlink_to(FOLDER / "later")
    for command in (FOLDER / "later", tmp_path / "link"):
        assert subprocess.run([command]).returncode == -9
    assert subprocess.run(["./later"], cwd=FOLDER).returncode == -9
    os.rename(FOLDER / "later", FOLDER / "elsewhere")
    assert subprocess.run([FOLDER / "elsewhere", tmp_path / "none"]).returncode == 0
""",
    "made_anew": """
TOOLS = FOLDER / "tools"
TOOLS.mkdir()

@pytest.fixture
def installed():
    TOOLS.rename(FOLDER / "former")
    TOOLS.mkdir()
    (TOOLS / "tool").write_bytes(SCRIPT.read_bytes())
    (TOOLS / "tool").chmod(0o755)
    os.link(TOOLS / "tool", FOLDER / "another")
    (FOLDER / "linked").symlink_to(TOOLS / "tool")

@pytest.mark.exec_deny(str(TOOLS / "tool"), enforce=True)
def test_denied(installed):
    assert [subprocess.run([FOLDER / name]).returncode for name in ("another", "linked")] == [-9, -9]
""",
    "phases": """
@pytest.fixture
def around():
    assert cleans()
    yield
    assert cleans()

@pytest.mark.exec_deny("cleaner", enforce=True, phases=("call",))
def test_call(around):
    assert not cleans()

@pytest.mark.exec_deny("cleaner", enforce=True, phases=("setup", "teardown"))
def test_around():
    assert cleans()
""",
    "on_its_way": """
@pytest.fixture
def begun():
    children = [subprocess.Popen([SCRIPT, FOLDER / str(number)]) for number in range(30)]
    yield children

@pytest.mark.exec_deny("cleaner", enforce=True, phases=("call",))
def test_call(begun):
    assert [child.wait() for child in begun] == [0] * 30
""",
    "begun_before": """
@pytest.fixture(scope="module")
def shell():
    with subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        yield shell

def asks(shell):
    shell.stdin.write(f"{SCRIPT}; echo $?\\n")
    shell.stdin.flush()
    status, ran = int(shell.stdout.readline()), not FILE.exists()
    FILE.touch()
    assert status == (0 if ran else 137)
    return ran

def test_before(shell):
    assert asks(shell)

@pytest.mark.exec_deny("cleaner", enforce=True)
def test_denied(shell):
    assert not asks(shell)

def test_behind(shell):
    assert asks(shell)
""",
    "left_behind": """
def test_leaves():
    global stdin, stdout
    (read, stdin), (stdout, write) = os.pipe(), os.pipe()
    subprocess.run(["sh", "-c", "exec 3<&0; sh <&3 &"], stdin=read, stdout=write, check=True)
    os.close(write)

@pytest.mark.exec_deny("cleaner", enforce=True)
def test_next():
    os.write(stdin, f"{SCRIPT}; echo $?\\n".encode())
    assert os.read(stdout, 9) == b"0\\n"
    assert not FILE.exists()
    FILE.touch()
    os.close(stdin)
    assert os.read(stdout, 1) == b""  # it has ended
""",
    "cannot": """
@pytest.fixture(autouse=True)
def around(request):
    if "added" not in request.node.name:
        assert not "reached"

@pytest.mark.parametrize("expected", [False, True])
@pytest.mark.exec_deny("/nonexistent/folder/tool", enforce=True)
def test_no_folder(expected, request):
    assert not "reached"

test_expected = pytest.mark.xfail(test_no_folder)

def test_added(request):
    request.node.add_marker(pytest.mark.exec_deny("cleaner", enforce=True))
""",
    "wider": f"pytestmark = pytest.mark.exec_deny('cleaner', enforce=True)\n{WIDER}".replace("cleans()", "not cleans()")
    .replace('scope="session"', 'scope="module"')
    .replace("not not", "not"),
    "widest": WIDER,
}


@pytest.fixture(scope="module")
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    place = Folder(tmp_path_factory.mktemp("place"))
    place.build()
    head = SUITE.format(folder=str(place.folder))
    made = run_files(
        request.config, tmp_path_factory.mktemp("judged"), {name: head + text for name, text in FILES.items()}
    )
    assert place.file.exists()
    return made


def test_a_hard_link_fails_the_test_though_it_has_another_name(judged: dict[str, Ran]) -> None:
    (said,) = judged["hard_link"].said(failure=1)
    assert "hard is a file that must not run, and was stopped before it ran (call phase)" in said


def test_what_comes_to_be_at_a_path_later_is_stopped_there(judged: dict[str, Ran]) -> None:
    assert "later must not run, and was stopped before it ran, 3 times" in judged["later"].said(failure=1)[0]


def test_a_path_stands_for_what_is_there_when_a_phase_begins(judged: dict[str, Ran]) -> None:
    """Though the phase before has made it, and denied the same."""
    (said,) = judged["made_anew"].said(failure=1)
    assert "another is a file that must not run, and was stopped before it ran" in said
    assert "-9, -9" not in said


def test_it_is_in_force_in_the_phases_of_the_rule_alone(judged: dict[str, Ran]) -> None:
    judged["phases"].said(failure=1, passed=1)


def test_a_program_on_its_way_from_the_phase_before_goes_on(judged: dict[str, Ran]) -> None:
    """Popen returns before the program is in place."""
    judged["on_its_way"].said(passed=1)


def test_of_a_wider_fixture_its_own_rules_count(judged: dict[str, Ran]) -> None:
    judged["widest"].said(failure=1)
    begin, end = judged["wider"].said(error=2)
    assert "stopped before it ran (set-up of fixture 'wide' (module))" in begin
    assert "stopped before it ran (end of fixture 'wide' (module))" in end


def test_what_a_wider_fixture_has_begun_counts_for_the_test_that_runs(judged: dict[str, Ran]) -> None:
    judged["begun_before"].said(failure=1, passed=2)


def test_what_an_earlier_test_has_left_behind_is_let_go(judged: dict[str, Ran]) -> None:
    judged["left_behind"].said(passed=2)


def test_what_cannot_be_enforced_is_an_error_and_nothing_runs(judged: dict[str, Ran]) -> None:
    said = "\n".join(judged["cannot"].said(error=4, failure=1))
    assert "reached" not in said
    assert "there is no folder /nonexistent/folder: deny it by its name, tool" in said
    assert "cannot enforce what is denied in the call phase: it was added when that had begun" in said


@pytest.mark.own_helper
def test_helper_that_dies_leaves_no_test_passed(losing: pytest.Pytester, suite: Suite) -> None:  # noqa: ARG001
    text = """
from lose import lose_helper

@pytest.mark.exec_deny("cleaner", enforce=True)
def test_denied(request):
    lose_helper(request.config)

@pytest.mark.exec_deny("cleaner", enforce=True)
def test_next():
    assert not cleans()
"""
    suite.run(text, errors=3, failed=1)  # the third is of what ran outside of tests


# ---- for the whole run ----


def test_all_that_is_denied_can_be_enforced(suite: Suite) -> None:
    text = """
def test_option():
    assert not cleans()

@pytest.mark.exec_deny("rm", inherit=False)
def test_marker():
    status = subprocess.run([SCRIPT], check=False).returncode
    assert (status, FILE.exists()) == (137, True)
"""
    text = f"assert not cleans()\n{text}"
    out = suite.run(text, "--execprobe-deny=cleaner", "--execprobe-enforce", failed=2, errors=1)
    assert "cleaner must not run, and was stopped before it ran (collection)" in out
    assert "cleaner must not run, and was stopped before it ran" in out
    assert "rm must not run, and was stopped before it ran" in out


def test_a_run_that_executes_it_itself_dies(pytester: pytest.Pytester, place: Folder) -> None:
    text = """
@pytest.mark.exec_deny("cleaner", enforce=True)
def test_becomes_it():
    os.execv(SCRIPT, [str(SCRIPT)])
"""
    pytester.makepyfile(SUITE.format(folder=str(place.folder)) + text)
    for _ in range(2 + TIMES // 50):
        assert pytester.runpytest_subprocess("-s").ret == -signal.SIGKILL
        assert place.file.exists()


# ---- roots ----


def test_a_root_inside_another_stops_what_is_its_own(place: Folder) -> None:
    """Of a child that is a root itself."""
    with recording(AUTO) as outer:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                inner = outer.source.in_child(fresh=True, timeout=30)
                inner.stop(["cleaner"], 0, 30)
                status = subprocess.run([place.script], check=False).returncode == -9
                inner.stop([], 0, 30)
            finally:
                os._exit(status)
        assert subprocess.run([place.script, place.folder / "none"], check=False).returncode == 0
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        by_this = [record._lineage.enforced for record in outer.execprobe.records if record.stopped]
        assert by_this == [False]
    assert place.file.exists()


# ---- of several users ----

#: Denies what it is told.
DENIES = RECORDS.replace(
    'elif order == "run":',
    """elif order == "deny":
            source.stop(word.split(), 0, 30)
            print("denied", flush=True)
        elif order == "status":
            pid = os.posix_spawn(word.split()[0], word.split(), {})
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        elif order == "run":""",
)


@needs_root
@pytest.mark.bpf
def test_a_service_stops_for_each_what_is_its_own(town: Town, folder: Path) -> None:
    """And of another user's processes none, as kill(2) would not: here a setuid program's that has become its owner."""
    python = folder / "python"
    shutil.copyfile(os.path.realpath(PYTHON), python)
    owner = int(subprocess.check_output(["id", "-u", town.a]))
    os.chown(python, owner, -1)
    python.chmod(0o4755)
    becomes = folder / "becomes"
    becomes.write_text(f"import os\nos.setreuid({owner}, {owner})\nos.execv('/bin/true', ['true'])\n")
    with (
        service(folder / "made") as served,
        person(town.python, town.a, DENIES, served.path) as a,
        person(town.python, town.b, DENIES, served.path) as b,
    ):
        assert a.ask("record") == b.ask("record") == "recording 0"
        assert b.ask("deny true") == "denied"
        assert (a.ask("status /bin/true"), b.ask("status /bin/true")) == ("0", "-9")
        assert b.ask(f"status {PYTHON} -I -c import(os);") != "-9"
        assert b.ask(f"status {python} -I {becomes}") == "0"
        assert b.ask("deny") == "denied"
        assert b.ask("status /bin/true") == "0"


# ---- execprobe run ----


def test_run_command(place: Folder) -> None:
    command = [sys.executable, "-m", "pytest_execprobe.cli", "run", "--deny=cleaner", "--enforce", "--"]
    made = subprocess.run(
        [*command, "sh", "-c", f"{place.script}; ls /dev/null"], capture_output=True, text=True, check=False
    )
    assert (made.returncode, made.stdout) == (1, "/dev/null\n")
    assert "execprobe: cleaner must not run, and was stopped before it ran" in made.stderr
    assert place.file.exists()
    made = subprocess.run([*command, place.script], capture_output=True, text=True, check=False)
    assert made.returncode == 128 + signal.SIGKILL
    assert place.file.exists()
    for options, why in (
        (["--enforce"], "--enforce stops what --deny names"),
        (["--enforce", "--deny=cl*"], "can't be enforced"),
        (["--enforce", "--deny=/nonexistent/x/y"], "there is no folder /nonexistent/x"),
    ):
        refused = subprocess.run(
            [*command[:4], *options, "--", place.script], capture_output=True, text=True, check=False
        )
        assert refused.returncode == 2
        assert why in refused.stderr
        assert place.file.exists()
