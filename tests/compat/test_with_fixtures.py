"""Fixtures of wider scope that start servers: their work counts for whichever test runs."""

from __future__ import annotations

import pytest
from inner import LOST, Inner, alike

SERVER = """
import subprocess, pytest

class Server:
    '''Runs a program for each line that it is sent, and answers when that is over.'''

    def __init__(self):
        script = 'while read program; do /usr/bin/$program > /dev/null; echo done; done'
        self.process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, program):
        self.process.stdin.write(program + "\\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\\n"

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

@pytest.fixture(scope="SCOPE")
def server():
    SETUP
    server = Server()
    yield server
    server.stop()
    END
"""

TESTS = """
import subprocess, pytest

pytestmark = pytest.mark.exec_deny(MODULE)

def test_first(server):
    server.run("true")

@pytest.mark.exec_budget(1)
def test_keeps(server):
    server.run("true")

@pytest.mark.exec_budget(1)
def test_breaks(server):
    server.run("true")
    server.run("true")

@pytest.mark.exec_none(phases=["call"])
def test_does_not_use_it():
    pass

def test_fails(server):
    server.run("true")
    assert False

@pytest.mark.exec_budget(0)
def test_last(server):
    pass
"""


def write(inner: Inner, scope: str, setup: str = "pass", end: str = "pass", module: str = "inherit=False") -> None:
    conftest = SERVER.replace("SCOPE", scope).replace("SETUP", setup).replace("END", end)
    inner.suite(conftest=conftest, test_it=TESTS.replace("MODULE", module))


@pytest.mark.parametrize("scope", ["session", *alike("module", "package", "class", "function")])
def test_outcomes_stay(inner: Inner, scope: str) -> None:
    write(inner, scope)
    run = inner.as_without("--execprobe-audit", "--execprobe-deny=uname", "--deselect=test_it.py::test_breaks")
    assert run.outcomes["test_fails"] == ["failed"]


@pytest.mark.parametrize("scope", ["session", "module"])
def test_its_work_counts_for_the_test_that_runs(inner: Inner, scope: str) -> None:
    write(inner, scope)
    run = inner.run("--execprobe-audit")
    assert run.outcomes == {
        "test_first": ["passed"],
        "test_keeps": ["passed"],
        "test_breaks": ["failed"],
        "test_does_not_use_it": ["passed"],
        "test_fails": ["failed"],
        "test_last": ["passed"],
    }
    assert "exec budget exceeded: 2 execs, at most 1 allowed" in run.text("test_breaks")
    assert f"(begun by fixture 'server' ({scope}))" in run.text("test_breaks")
    assert f"fixture 'server' ({scope}): sh 1" in run.summary()


UNAME = "subprocess.run(['uname'])"


@pytest.mark.parametrize(
    ("scope", "option", "module"),
    [
        *alike(("session", "--execprobe-deny=uname", ""), ("session", "--execprobe-deny=uname", "'ls'")),
        *alike(("module", "--execprobe-audit", "'uname'"), ("module", "--execprobe-deny=uname", "'ls'")),
    ],
)
def test_its_set_up_and_end_are_judged(inner: Inner, scope: str, option: str, module: str) -> None:
    write(inner, scope, setup=UNAME, end=UNAME, module=module or "inherit=False")
    run = inner.run(option)
    if not module:  # the module drops the suite's rule, but a fixture of the session is not the module's
        assert run.outcomes["test_first"] == ["error"]
    assert run.outcomes["test_first"] == ["error"]
    assert run.outcomes["test_keeps"] == ["passed"]
    assert run.outcomes["test_last"] == ["passed", "error"]
    where = f"of fixture 'server' ({scope})"
    assert f"uname must not run, but it ran once (set-up {where})" in run.text("test_first", "error")
    assert f"uname must not run, but it ran once (end {where})" in run.text("test_last", "error")


def test_a_module_s_rule_does_not_judge_a_fixture_of_the_session(inner: Inner) -> None:
    write(inner, "session", setup=UNAME, end=UNAME, module="'uname'")
    run = inner.run("--deselect=test_it.py::test_fails", "--deselect=test_it.py::test_breaks")
    assert run.ret == 0
    assert all(outcome == ["passed"] for outcome in run.outcomes.values())


def test_the_server_s_work_in_a_test_is_judged_as_the_test_s(inner: Inner) -> None:
    inner.suite(
        conftest=SERVER.replace("SCOPE", "session").replace("SETUP", "pass").replace("END", "pass"),
        test_it="""
        import pytest

        @pytest.fixture
        def before(server):
            server.run("uname")

        def test_one(server):
            server.run("uname")

        @pytest.mark.exec_deny("uname")
        def test_two(server):
            server.run("true")

        @pytest.mark.exec_deny("uname")
        def test_three(before):
            pass
        """,
    )
    run = inner.run()
    assert run.outcomes == {"test_one": ["passed"], "test_two": ["passed"], "test_three": ["error"]}
    assert "(setup phase)" in run.text("test_three", "error")


def test_what_is_unknown_of_a_set_up_is_an_error(inner: Inner) -> None:
    write(inner, "module", setup="from lose import lose_helper; lose_helper(CONFIG)", module="'uname'")
    (inner.path / "conftest.py").write_text(
        (inner.path / "conftest.py")
        .read_text()
        .replace("CONFIG", "request.config")
        .replace("server():", "server(request):")
    )
    run = inner.run("-k", "first or keeps")
    assert run.outcomes == {"test_first": ["error", "error"], "test_keeps": ["passed"], **LOST}
    assert "cannot tell whether uname ran" in run.reports[0].text
