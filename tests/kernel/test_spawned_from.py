"""Call sites on the real kernel, under both probes: each is the line that the test itself knows, or None.

The suite below runs in a pytest of its own. What C code spawns goes through ctypes, which no Python function sees.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(600), pytest.mark.bpf]

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh"]

CONFTEST = """
import subprocess, pytest

@pytest.fixture
def repository():
    subprocess.run(["true", "set-up"], check=True)
    yield
    subprocess.run(["true", "end"], check=True)
"""

LIBRARY = """
import subprocess

def compile(times):
    for _ in range(times):
        subprocess.run(["true", "gcc"], check=True)
"""

SUITE = """
import asyncio, ctypes, multiprocessing, os, posix, pty, subprocess, sys, threading
from collections import Counter

import pytest

libc = ctypes.CDLL(None)
THIS = os.path.basename(__file__)

def line():
    return sys._getframe(1).f_lineno

def sites(log):
    return [one.call_site and (os.path.basename(one.call_site.file), one.call_site.line) for one in log.records]

def by_word(log):
    # What stands behind the program's name: the tests below say it, for no two are alike.
    return {one.argv[-1]: one.call_site for one in log.records}

def test_each_route(execprobe):
    lines = []
    lines.append(line()), subprocess.run(["true"], check=True)
    lines.append(line()), subprocess.run(["/bin/true"], check=True, close_fds=False)
    lines.append(line()), subprocess.run("exec true", shell=True, check=True)
    lines.append(lines[-1])  # what the shell becomes
    lines.append(line()), os.popen("exit 0").close()
    lines.append(line()), os.system("exit 0")
    lines.append(line()), os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    lines.append(line()), os.waitpid(os.posix_spawnp("true", ["true"], os.environ), 0)
    lines.append(line()), os.spawnlp(os.P_WAIT, "true", "true")
    lines.append(line()), pty.spawn("true", lambda descriptor: b"")
    assert sites(execprobe) == [(THIS, number) for number in lines]
    assert {one.call_site.function for one in execprobe.records} == {"test_each_route"}

def test_descendants_have_that_of_their_branch(execprobe):
    here = line() + 1
    subprocess.run(["sh", "-c", "/bin/true; env true; (/bin/true &) ; exit 0"], check=True)
    execprobe.wait_for("true", times=3)
    assert set(sites(execprobe)) == {(THIS, here)}

def test_a_forked_child_that_spawns(execprobe):
    here = line() + 1
    child = os.fork()
    if child == 0:
        subprocess.run(["env", "true"])
        if os.fork() == 0:
            os.execv("/bin/true", ["true"])
        os.wait()
        os._exit(0)
    os.waitpid(child, 0)
    assert sites(execprobe) == [(THIS, here)] * 3

@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(execprobe, method):
    context = multiprocessing.get_context(method)
    here = line() + 1
    with context.Pool(1) as pool: pool.apply(os.system, ("exit 0",))
    assert execprobe.records
    assert set(sites(execprobe)) == {(THIS, here)}

def test_asyncio(execprobe):
    async def work():
        process = await asyncio.create_subprocess_exec("true", "a"); number = line()
        await process.wait()
        return number
    here = asyncio.run(work())
    (one,) = execprobe.records
    assert (one.call_site.line, one.call_site.function) == (here, "work")

def test_threads_that_spawn_at_once(execprobe):
    barrier = threading.Barrier(6)
    def one(name):
        barrier.wait()
        for _ in range(15):
            subprocess.run(["true", name], check=True)
    def other(name):
        barrier.wait()
        for _ in range(15):
            os.waitpid(os.posix_spawn("/bin/true", ["true", name], {}), 0)
    def by_c(name):
        barrier.wait()
        for _ in range(15):
            libc.system(b"/bin/true by_c")
    threads = [threading.Thread(target=work, args=(work.__name__,)) for work in (one, other, by_c) * 2]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    found = Counter(
        (record.argv[-1].split()[-1], record.call_site and record.call_site.function) for record in execprobe.records
        if record.program == "true"
    )
    assert found == {("one", "one"): 30, ("other", "other"): 30, ("by_c", None): 30}

def test_what_c_code_forks_between_two_calls(execprobe):
    first = line(); subprocess.run(["true", "first"], check=True)
    libc.system(b"/bin/true between")
    with pytest.raises(TypeError):
        subprocess.Popen(["true", None])  # it raises before it forks
    libc.system(b"/bin/true after")
    with pytest.raises(OSError):
        os.posix_spawn("/no-such-file", ["x"], {})
    libc.system(b"/bin/true last")
    second = line(); subprocess.run(["true", "second"], check=True)
    found = {word.split()[-1]: one and one.line for word, one in by_word(execprobe).items()}
    assert found == {"first": first, "between": None, "after": None, "last": None, "second": second}

def test_a_name_that_was_bound_before(execprobe):
    os.waitpid(posix.posix_spawn("/bin/true", ["true"], {}), 0)
    assert sites(execprobe) == [None]

busy = []

def by_c_code(word):
    if busy:
        busy.clear()
        libc.system(b"/bin/true " + word)

def test_c_code_forks_in_a_handler_of_forks(execprobe):
    os.register_at_fork(before=lambda: by_c_code(b"before"), after_in_parent=lambda: by_c_code(b"after"))
    busy.append(1); here = line(); child = os.fork()
    if child == 0:
        os.execv("/bin/true", ["true", "child"])
    os.waitpid(child, 0)
    found = {word.split()[-1]: one and one.line for word, one in by_word(execprobe).items()}
    assert found == {"before": None, "child": here}

def test_c_code_forks_in_a_hook_of_audit_events(execprobe):
    sys.addaudithook(lambda event, args: by_c_code(b"hook") if event == "os.posix_spawn" else None)
    busy.append(1); here = line(); os.waitpid(os.posix_spawn("/bin/true", ["true", "own"], {}), 0)
    found = {word.split()[-1]: one and one.line for word, one in by_word(execprobe).items()}
    assert found == {"hook": None, "own": here}

def test_python_spawns_before_the_child_executes(execprobe):
    # In the child: it is the same branch.
    here = line() + 1
    subprocess.run(["true", "own"], check=True, preexec_fn=lambda: libc.system(b"/bin/true child"))
    assert set(sites(execprobe)) == {(THIS, here)}

def test_a_handler_of_forks_spawns_by_python(execprobe):
    def handler():
        if spawns:
            spawns.clear()
            subprocess.run(["true", "handler"], check=True)
    spawns = [1]
    os.register_at_fork(before=handler)
    here = line(); child = os.fork()
    if child == 0:
        os.execv("/bin/true", ["true", "child"])
    os.waitpid(child, 0)
    found = by_word(execprobe)
    assert found["handler"].function == "handler"
    assert found["child"].line == here

def test_the_back_end_of_a_library(execprobe):
    import backend
    here = line() + 1
    backend.compile(3)
    (site,) = {one.call_site for one in execprobe.records}
    assert (os.path.basename(site.file), site.line) == (THIS, here)
    assert [(os.path.basename(frame.file), frame.function) for frame in site.stack] == [
        ("backend.py", "compile"), (THIS, "test_the_back_end_of_a_library")
    ]
    assert all(one.call_site is execprobe.records[0].call_site for one in execprobe.records)
    assert execprobe.count("from:backend") == execprobe.count(f"from:{THIS}") == 3
    assert execprobe.count("from:backend.py:test_*") == 0

def test_what_a_fixture_spawns(repository, execprobe):
    subprocess.run(["true", "test"], check=True)
    assert [one.call_site.function for one in execprobe.setup.records] == ["repository"]
    execprobe.setup.assert_only_ran("from:conftest.py")
    execprobe.call.assert_not_ran("from:conftest.py")

@pytest.mark.exec_deny("from:conftest.py:repository", phases=("setup",))
@pytest.mark.xfail(raises=AssertionError, strict=True)
def test_a_rule_by_call_site(repository):
    pass

@pytest.mark.exec_allow(f"from:{THIS}")
def test_a_rule_that_allows_by_call_site(repository):
    subprocess.run(["uname"], check=True)

@pytest.mark.exec_none
@pytest.mark.parametrize("who", ["python", "c"])
def test_fails(who):
    subprocess.run(["true"]) if who == "python" else libc.system(b"exit 0")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Path:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=SUITE)
    library = pytester.mkdir("site-packages")
    (library / "backend.py").write_text(LIBRARY)
    return pytester.path


def run(folder: Path, backend: str, *options: str, prefix: list[str] | None = None) -> tuple[int, str]:
    command = [*(prefix or ()), sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA"]
    command += [f"--execprobe-backend={backend}", "--execprobe=require", *options]
    env = {**os.environ, "PYTHONPATH": f"{folder}/site-packages:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("backend", "prefix"),
    [("bpf", []), ("ptrace", []), ("bpf", NAMESPACE)],  # a tracer is in the namespace itself
    ids=["bpf", "ptrace", "bpf, in a PID namespace"],
)
def test_each_site_is_the_line_that_spawned_it(suite: Path, backend: str, prefix: list[str]) -> None:
    if prefix and os.geteuid() != 0:
        pytest.skip("execprobe: it takes root to make PID namespaces")
    (suite / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    _, said = run(suite, backend, "--execprobe-report=report.md", prefix=prefix)
    failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert len(failed) == 2, said
    assert all("::test_fails[" in line for line in failed), said
    assert "nothing may run, but true ran" in said
    assert "  from  test_it.py:" in said
    assert "Where Python spawned most" in (suite / "report.md").read_text()


def test_where_nothing_is_probed_nothing_is_replaced(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import os, subprocess, sys, _posixsubprocess

        def test_it():
            builtin = type(len)
            assert type(os.system) is type(os.posix_spawn) is type(_posixsubprocess.fork_exec) is builtin
            assert type(getattr(subprocess, "_fork_exec", len)) is builtin
            assert not [name for name in sys.modules if name.startswith("pytest_execprobe.timeline")]
        """
    )
    status, said = run_plain(pytester.path)
    assert status == 0, said


def run_plain(folder: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("backend", ["bpf", "ptrace"])
def test_all_is_as_it_was_after_the_run_and_an_inner_run_takes_nothing(pytester: pytest.Pytester, backend: str) -> None:
    pytester.makepyfile(
        test_it="""
        import os, subprocess, sys
        import pytest

        pytest_plugins = ["pytester"]

        def test_outer(execprobe, pytester):
            pytester.makepyfile(test_inner='''
                import os
                def test_inner(execprobe):
                    os.system("exit 0")
                    (one,) = execprobe.records
                    assert one.call_site.function == "test_inner"
            ''')
            pytester.inline_run("-p", "no:cacheprovider").assertoutcome(passed=1)
            os.system("exit 1")
            assert [one.call_site and one.call_site.function for one in execprobe.records if one.program == "sh"] == [
                "test_inner", "test_outer"
            ]
        """
    )
    (pytester.path / "start.py").write_text(
        "import os, pytest, subprocess, sys\n"
        "before = os.system, os.execve, getattr(subprocess, '_fork_exec', None)\n"
        f"status = pytest.main(['-p', 'no:cacheprovider', '--execprobe=require', '--execprobe-backend={backend}'])\n"
        "after = os.system, os.execve, getattr(subprocess, '_fork_exec', None)\n"
        "assert [type(one) for one in before] == [type(one) for one in after]\n"
        "sys.exit(status)\n"
    )
    env = {**os.environ, "PYTEST_ADDOPTS": f"--execprobe-backend={backend}"}
    command = [sys.executable, "start.py"]
    done = subprocess.run(command, cwd=pytester.path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("backend", ["bpf", "ptrace"])
def test_c_code_forks_in_a_handler_that_was_there_before_the_probe(pytester: pytest.Pytester, backend: str) -> None:
    """It runs closer to the fork than the probe's own; and for a while its child is the only one to be seen."""
    pytester.makepyfile(
        test_it="""
        import ctypes, os, sys

        busy, libc = [], ctypes.CDLL(None)

        def handler():
            if busy:
                busy.clear()
                libc.system(b"/bin/true handler")

        os.register_at_fork(before=handler)

        def test_it(execprobe):
            assert "pytest_execprobe.timeline.noting" in sys.modules  # which was not when the handler was registered
            read, write = os.pipe()
            busy.append(1)
            here = sys._getframe().f_lineno + 1
            child = os.fork()
            if child == 0:
                os.read(read, 1)
                os.execv("/bin/true", ["true", "child"])
            assert [one.call_site for one in execprobe.records] in ([None], [None, None])
            os.write(write, b"x")
            os.waitpid(child, 0)
            *others, last = execprobe.records
            assert {one.call_site for one in others} == {None}
            assert (last.argv[1], last.call_site.line) == ("child", here)
        """
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--execprobe-backend={backend}"]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_failed_attempts_of_the_test_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import ctypes, os, subprocess, pytest

        def test_it(execprobe):
            with pytest.raises(OSError):
                os.execvp("no-such-program", ["x"])
            with pytest.raises(OSError):
                subprocess.run(["no-such-program"])
            ctypes.CDLL(None).execve(b"/no/such/program", None, None)
            found = [one.call_site and one.call_site.function for one in execprobe.attempts]
            assert found[-1] is None
            assert len(found) > 2 and set(found[:-1]) == {"test_it"}
        """
    )
    status, said = run(pytester.path, "bpf", "--execprobe-attempts=tracepoint")
    assert status == 0, said
