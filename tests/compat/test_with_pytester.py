"""pytester: a plugin's tests run other pytests, in their own process and in others, and those use the probe as well."""

from __future__ import annotations

from inner import Inner

PLAIN = """
import subprocess
pytest_plugins = "pytester"

def test_passes(pytester):
    pytester.makepyfile("import subprocess\\n\\ndef test(): subprocess.run(['true'])")
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)

def test_fails(pytester):
    pytester.makepyfile("def test(): pass")
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(failed=1)
"""

RULES = """
import subprocess, pytest
pytest_plugins = "pytester"

SUITE = '''
import subprocess, pytest

@pytest.mark.exec_budget(1)
def test_keeps():
    subprocess.run(["true"])

@pytest.mark.exec_budget(1)
def test_breaks(execprobe):
    subprocess.run(["true"])
    subprocess.run(["uname"])
    assert execprobe.programs == ["true", "uname"]

def test_server(server, execprobe):
    execprobe.assert_nothing_ran()

@pytest.fixture(scope="module")
def server():
    subprocess.run(["sleep", "0"])
'''

@pytest.fixture
def run(pytester):
    pytester.makepyfile(test_inner=SUITE)
    def run(how):
        result = getattr(pytester, "runpytest_" + how)("-p", "pytest_execprobe.plugin", "-p", "no:cacheprovider")
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["*exec budget exceeded: 2 execs, at most 1 allowed*"])
    return run

@pytest.mark.exec_budget(4)
@pytest.mark.exec_allow("true", "uname", "sleep")
def test_in_process(run, execprobe):
    run("inprocess")
    assert execprobe.counts == {"true": 2, "uname": 1, "sleep": 1}

@pytest.mark.exec_budget(5)
@pytest.mark.exec_allow("true", "uname", "sleep", "python*")
def test_in_another(run, execprobe):
    run("subprocess")
    assert len(execprobe.records) == 5
    assert execprobe.counts.items() >= {"true": 2, "uname": 1, "sleep": 1}.items()

@pytest.mark.exec_budget(3)
def test_breaks_in_process(run):
    run("inprocess")

@pytest.mark.exec_deny("sleep")
def test_breaks_in_another(run):
    run("subprocess")

@pytest.mark.exec_none
def test_next():
    pass

def test_its_own(execprobe):
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--execprobe-audit")
    assert run.outcomes == {"test_passes": ["passed"], "test_fails": ["failed"]}


def test_rules(inner: Inner) -> None:
    inner.suite(test_it=RULES)
    run = inner.run()
    assert run.outcomes == {
        "test_in_process": ["passed"],
        "test_in_another": ["passed"],
        "test_breaks_in_process": ["failed"],
        "test_breaks_in_another": ["failed"],
        "test_next": ["passed"],
        "test_its_own": ["passed"],
    }
    assert "exec budget exceeded: 4 execs, at most 3 allowed" in run.text("test_breaks_in_process")
    assert "sleep must not run, but it ran once" in run.text("test_breaks_in_another")


def test_what_is_unknown_inside_is_not_so_outside(inner: Inner) -> None:
    """The helper of the inner run is killed: that run knows nothing any more, and the one around it everything."""
    inner.suite(
        test_it="""
        import pytest
        pytest_plugins = "pytester"

        @pytest.mark.parametrize("how", ["inprocess", "subprocess"])
        @pytest.mark.exec_deny("uname")
        def test(how, pytester):
            pytester.makepyfile(test_inner='''
                import pytest
                from lose import lose_helper

                @pytest.mark.exec_none(phases=["call"])
                def test(request):
                    lose_helper(request.config)
            ''')
            options = "-p", "pytest_execprobe.plugin", "-p", "no:cacheprovider"
            getattr(pytester, "runpytest_" + how)(*options).assert_outcomes(errors=2)
        """
    )
    run = inner.run()
    assert run.outcomes == {"test[inprocess]": ["passed"], "test[subprocess]": ["passed"]}
    assert run.ret == 0
