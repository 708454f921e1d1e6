"""Whose exec is it, on the real kernel: the suites run in a pytest of their own."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest
from inner import Ran, run_files

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(40)]


def passes(pytester: pytest.Pytester, source: str, **outcomes: int) -> pytest.RunResult:
    pytester.makepyfile(source)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-s", timeout=60)
    result.assert_outcomes(**outcomes)
    return result


#: A file each: what is in it, and how many tests that are. All are run by one pytest.
SUITES = {
    "a_leaked_process_is_shared_while_it_runs": (
        """
        import subprocess

        shell = None

        def ask(command):
            shell.stdin.write(command + "; echo done\\n")
            shell.stdin.flush()
            assert shell.stdout.readline() == "done\\n"

        def test_begins(execprobe):
            global shell
            shell = subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            ask("/bin/true")
            assert execprobe.programs == ["sh", "true"]

        def test_uses(execprobe):
            ask("/bin/true")
            assert execprobe.programs == ["true"]
            (record,) = execprobe.records
            assert record.begun_by.endswith("::test_begins")
            assert record.parent.program == "sh"
            assert record.depth == 2
            assert execprobe.strays == ()

        def test_ends(execprobe):
            shell.communicate("/bin/ls / >/dev/null\\n")
            assert execprobe.programs == ["ls"]
        """,
        3,
    ),
    "what_goes_on_in_its_own_test_is_no_stray": (
        """
        import os, subprocess, pytest

        @pytest.fixture
        def pipe():
            return os.pipe()

        @pytest.fixture
        def at_the_end(execprobe, pipe):
            yield
            read, write = pipe
            os.close(write)
            execprobe.teardown.wait_for("true")
            assert execprobe.teardown.programs == ["true"]
            assert execprobe.programs == ["sh"]
            assert execprobe.strays == ()

        def test_leaves(at_the_end, pipe):
            read, write = pipe
            subprocess.run(["sh", "-c", "exec 3<&0; (read line <&3; /bin/true) &"], stdin=read, check=True)
        """,
        1,
    ),
    "threads": (
        """
        import subprocess, threading

        def test_threads(execprobe):
            threads = [threading.Thread(target=subprocess.run, args=[["true"]]) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert execprobe.programs == ["true"] * 8
            assert execprobe.direct.programs == ["true"] * 8
        """,
        1,
    ),
    "a_forked_test_process_uses_the_fixture": (
        """
        import os, subprocess

        def in_child(work):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    work()
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(pid, 0)[1] == 0

        def test_forks(execprobe):
            subprocess.run(["true"])

            def grandchild():
                subprocess.run(["env", "true"])
                assert execprobe.programs == ["env", "true"], execprobe.programs

            def child():
                subprocess.run(["ls", "/"], stdout=subprocess.DEVNULL)
                assert execprobe.programs == ["ls"], execprobe.programs
                assert execprobe.direct.programs == ["ls"]
                in_child(grandchild)
                assert execprobe.programs == ["ls", "env", "true"], execprobe.programs
                with execprobe.watch(at_most=1) as log:
                    subprocess.run(["true"])
                assert log.programs == ["true"]

            in_child(child)
            assert execprobe.programs == ["true", "ls", "env", "true", "true"]

        def test_next(execprobe):
            subprocess.run(["true"])
            assert execprobe.programs == ["true"]
        """,
        2,
    ),
    "fixtures_wider_than_a_test_are_windows_of_their_own": (
        """
        import subprocess, pytest

        @pytest.fixture(scope="module")
        def server():
            subprocess.run(["true"])
            with subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
                yield shell

        @pytest.fixture
        def own():
            subprocess.run(["ls", "/"], stdout=subprocess.DEVNULL)

        @pytest.mark.parametrize("n", [1, 2])
        def test_uses(execprobe, own, server, n):
            assert execprobe.setup.programs == ["ls"]
            server.stdin.write("/bin/true; echo\\n")
            server.stdin.flush()
            server.stdout.readline()
            assert execprobe.programs == ["true"]
            assert execprobe.records[0].begun_by == "fixture 'server' (module)"
        """,
        2,
    ),
    "a_root_that_replaces_itself_begins_a_branch": (
        """
        import os

        def test_exec(execprobe):
            pid = os.fork()
            if pid == 0:
                execprobe.assert_nothing_ran()
                os.execv("/bin/sh", ["sh", "-c", "/bin/true; exit 3"])
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
            assert execprobe.programs == ["sh", "true"]
            assert execprobe.direct.programs == ["sh"]
        """,
        1,
    ),
}
POOL = """
import concurrent.futures, multiprocessing, subprocess

context = multiprocessing.get_context({method!r})
pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)

def test_begins(execprobe):
    pool.submit(subprocess.call, ["true"]).result()
    execprobe.assert_ran("true", times=1)

def test_uses(execprobe):
    pool.submit(subprocess.call, ["true"]).result()
    assert execprobe.programs == ["true"]
    (record,) = execprobe.records
    assert record.begun_by.endswith("::test_begins")
    assert not execprobe.direct.programs or {method!r} != "forkserver"

def test_ends(execprobe):
    pool.shutdown()
    execprobe.assert_not_ran("true")
"""
SUITES |= {f"a_pool_is_shared_{method}": (POOL.format(method=method), 3) for method in ("fork", "spawn", "forkserver")}


@pytest.fixture(scope="module")
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    texts = {name: text for name, (text, _) in SUITES.items()}
    return run_files(request.config, tmp_path_factory.mktemp("suites"), texts)


@pytest.mark.parametrize("name", SUITES)
def test_it_is_told_whose_exec_it_is(ran: dict[str, Ran], name: str) -> None:
    ran[name].said(passed=SUITES[name][1])


HEAD = """
import os, pytest, subprocess

@pytest.fixture(scope="module")
def shell():
    shell = subprocess.Popen(["sh", "-c", "echo; read line; exec ls /"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    shell.stdout.readline()
    return shell

def go(shell):
    shell.communicate(b"go")

@pytest.fixture
def triggered(shell): go(shell)

def test_before(shell): pass
"""
#: Where it executes, and what is judged there.
PLACES = {
    "call": """
        @pytest.mark.exec_none(phases=("call",))
        def test_it(shell): go(shell)
        """,
    "setup": """
        @pytest.mark.exec_deny("ls", phases=("setup",))
        def test_it(triggered): pass
        """,
    "teardown": """
        @pytest.mark.exec_deny("ls", phases=("teardown",))
        def test_it(shell, request): request.addfinalizer(lambda: go(shell))
        """,
    "watch": """
        def test_it(execprobe, shell):
            with execprobe.watch(deny=["ls"]):
                go(shell)
        """,
    "wider_fixture": """
        @pytest.mark.exec_deny("ls")
        class TestIt:
            @pytest.fixture(scope="class")
            def wide(self, shell): go(shell)
            def test_it(self, wide): pass
        """,
    "after_a_wider_fixture": """
        @pytest.mark.exec_deny("ls", phases=("setup",))
        class TestIt:
            @pytest.fixture(scope="class")
            def wide(self): pass
            def test_it(self, wide, triggered): pass
        """,
}


@pytest.fixture(scope="module", params=["auto", "ptrace"])
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    files = {name: HEAD + dedent(body) for name, body in PLACES.items()}
    return run_files(request.config, tmp_path_factory.mktemp("judged"), files, f"--execprobe-backend={request.param}")


@pytest.mark.parametrize("place", PLACES)
def test_what_was_there_before_counts_where_it_executes(judged: dict[str, Ran], place: str) -> None:
    """However long it has waited for that."""
    (failed,) = judged[place].failed
    assert re.search(r"ls must not run, but it ran once|nothing may run, but ls ran", failed)


@pytest.mark.exec_budget(300)
@pytest.mark.parametrize("backend", ["auto", "ptrace"])
def test_order_is_that_in_which_execs_were_entered(pytester: pytest.Pytester, backend: str) -> None:
    """Also of processes that have waited with theirs, and of those that run at once."""
    pytester.makepyfile(
        """
        import os, pytest, subprocess

        def test_waits(execprobe):
            shell = subprocess.Popen(["sh", "-c", "read line; exec ls /"], stdin=subprocess.PIPE, stdout=-3)
            subprocess.run(["true"])
            shell.communicate(b"go")
            execprobe.assert_order("true", "ls")
            assert execprobe.programs == ["sh", "true", "ls"]

        def test_forked(execprobe):
            reader, writer = os.pipe()
            if os.fork() == 0:
                os.read(reader, 1)
                os.execv("/bin/ls", ["ls", "-d", "/"])
            subprocess.run(["true"])
            os.write(writer, b"x")
            os.wait()
            assert execprobe.programs == ["true", "ls"]

        @pytest.mark.parametrize("n", range(10))
        def test_at_once(execprobe, n):
            started = [subprocess.Popen([("true", "false")[m % 2]]) for m in range(20)]
            for process in started:
                process.wait()
            assert [record.pid for record in execprobe.records] == [process.pid for process in started]
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", f"--execprobe-backend={backend}", timeout=60)
    result.assert_outcomes(passed=12)


def test_what_a_test_left_behind_detached_is_its_stray(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import os, subprocess

        LEFT = ["sh", "-c", "(read line <&3; /bin/true; echo done >&4) &"]

        go = back = None

        def test_leaves(execprobe):
            global go, back
            read, go = os.pipe()
            back, write = os.pipe()
            os.dup2(read, 3), os.dup2(write, 4)
            subprocess.run(LEFT, pass_fds=(3, 4), check=True)
            assert execprobe.programs == ["sh"]

        def test_other(execprobe):
            os.write(go, b"go\\n")
            assert os.read(back, 10) == b"done\\n"
            execprobe.assert_nothing_ran()
            (stray,) = execprobe.strays
            assert stray.program == "true"
            assert stray.begun_by.endswith("::test_leaves")
            assert stray.phase == "call"
        """,
        passed=2,
    )


def test_the_whole_protocol_in_a_forked_child(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import os, pytest
        from _pytest.runner import runtestprotocol

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item, nextitem):
            pid = os.fork()
            if pid == 0:
                reports = runtestprotocol(item, log=False, nextitem=nextitem)
                os._exit(sum(report.failed for report in reports))
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            item.user_properties.append(("failed", status))
            for report in runtestprotocol(item, log=False, nextitem=nextitem):
                item.ihook.pytest_runtest_logreport(report=report)
            assert status == 0
            return True
        """
    )
    passes(
        pytester,
        """
        import subprocess

        def test_one(execprobe):
            subprocess.run(["true"])
            assert execprobe.programs == ["true"]

        def test_two(execprobe):
            subprocess.run(["ls", "/"], stdout=subprocess.DEVNULL)
            assert execprobe.programs == ["ls"]
        """,
        passed=2,
    )


def test_a_pytest_inside_a_pytest(pytester: pytest.Pytester) -> None:
    """Each has its own log, and no log shows how the other probes."""
    pytester.makepyfile(
        test_inner="""
        import subprocess

        def test_inner(execprobe):
            subprocess.run(["true"])
            assert execprobe.programs == ["true"]
        """
    )
    passes(
        pytester,
        """
        import subprocess, sys

        def test_outer(execprobe):
            inner = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_inner.py"]
            with execprobe.watch() as log:
                subprocess.run(inner, check=True)
            assert [record.executable for record in log.direct.records] == [log.records[0].executable]
            assert log.programs[-1] == "true"
            assert log.records[-1].parent == log.records[0]
            assert not any("pytest_execprobe/helper" in arg for record in log.records for arg in record.argv)
        """,
        passed=1 + 1,
    )


def test_processes_older_than_the_probe_are_adopted(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import subprocess

        shell = subprocess.Popen(
            ["sh", "-c", "while read line; do sh -c '/bin/true; echo done'; done"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

        def ask():
            shell.stdin.write("go\\n")
            shell.stdin.flush()
            assert shell.stdout.readline() == "done\\n"

        def pytest_unconfigure():
            shell.communicate()
        """
    )
    passes(
        pytester,
        """
        from conftest import ask

        def test_adopted(execprobe):
            ask()
            assert execprobe.programs == ["sh", "true"]
            inner, true = execprobe.records
            assert inner.begun_by is None
            assert inner.parent is None
            assert true.parent == inner
            assert execprobe.direct.programs == []
        """,
        passed=1,
    )


ORPHAN = """
import os, subprocess

read, go = os.pipe()
back, write = os.pipe()

def leave():
    # A shell in the background of one that ends at once: nothing leads to it any more.
    script = f"(read line <&{read}; /bin/ls / >/dev/null; echo done >&{write}) &"
    subprocess.run(["sh", "-c", script], pass_fds=(read, write), check=True)
    os.close(write)  # what is read ends with the orphan

def ask():
    os.write(go, b"go\\n")
    assert os.read(back, 10) == b"done\\n"
"""


def test_only_those_who_can_still_have_strays_are_remembered(pytester: pytest.Pytester) -> None:
    """So that a long session takes no more memory for what each test was judged by."""
    pytester.makepyfile(orphan=ORPHAN)
    pytester.makeconftest("from pytest_execprobe.timeline import recorder\n\nrecorder._MUCH = 10")
    pytester.makepyfile(
        """
        import gc, orphan, pytest, subprocess
        from pytest_execprobe.timeline.spans import Owner

        @pytest.mark.exec_deny("ls")
        @pytest.mark.parametrize("number", range(20))
        def test_one(number):
            orphan.leave() if number == 0 else subprocess.run(["/bin/true"])

        @pytest.mark.exec_none
        def test_last():
            orphan.ask()
            gc.collect()
            owners = [one for one in gc.get_objects() if isinstance(one, Owner)]
            assert 2 < sum(one.judge is not None for one in owners) < 15
        """
    )
    result = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(passed=21, errors=1)
    result.stdout.fnmatch_lines(
        ["* ERROR at teardown of test_one?0? *", "ls must not run, but it ran once (left behind)"]
    )


@pytest.mark.bpf  # who traces the tests has followed it
def test_an_orphan_older_than_the_probe_makes_logs_incomplete(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(orphan=ORPHAN)
    pytester.makeconftest("import orphan\n\norphan.leave()")
    passes(
        pytester,
        r"""
        import orphan, pytest
        from pytest_execprobe import IncompleteLogError

        def test_uses(execprobe):
            orphan.ask()
            with pytest.raises(IncompleteLogError, match="left behind by parents.*: pid [0-9]+ .sh -c "):
                execprobe.assert_not_ran("ls")
        """,
        passed=1,
    )


@pytest.mark.bpf  # it kills the helper, and there it is the only tracer
def test_an_orphan_that_outlives_the_helper_makes_logs_incomplete(losing: pytest.Pytester) -> None:
    losing.makepyfile(orphan=ORPHAN)
    passes(
        losing,
        """
        import orphan, pytest
        from lose import lose_helper
        from pytest_execprobe import IncompleteLogError

        def test_leaves(execprobe, request):
            orphan.leave()
            lose_helper(request.config)
            assert execprobe.lost is None

        def test_next(execprobe):
            orphan.ask()
            with pytest.raises(IncompleteLogError, match="left behind by parents"):
                execprobe.assert_not_ran("ls")
        """,
        passed=2,
    )
