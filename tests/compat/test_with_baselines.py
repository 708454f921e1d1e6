"""Baselines and reports on the real kernel: the same however the tests are spread and ordered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inner import Inner, needs

#: How each unit came out, what it ran and what is missing.
Told = dict[tuple[str, str], tuple[str | None, list[str], int]]

SUITE = """
import os, subprocess, pytest

@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    subprocess.run(["sh", "-c", "true; env true"])
    yield tmp_path_factory.mktemp("r")
    subprocess.run(["ls"])

@pytest.fixture(scope="module")
def server():
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield process
    process.communicate()

@pytest.mark.xdist_group("a")
@pytest.mark.parametrize("n", range(4))
def test_many(n, repository):
    for _ in range(n):
        subprocess.run(["true"])

@pytest.mark.xdist_group("b")
class TestRelease:
    @classmethod
    def setup_class(cls):
        subprocess.run(["true"])

    def test_tag(self, server):
        subprocess.run("env ls / | cat", shell=True)

    @pytest.mark.xfail
    def test_expected(self):
        subprocess.run(["ls"])
        assert False

def test_stray(repository):
    os.system("true & wait")

def test_nothing():
    pass
"""

OPTIONS = ("--execprobe-baseline=execs.toml",)
UPDATE = "--execprobe-update"

CASES = [
    ((), ()),
    (("-n2",), ("xdist.plugin",)),
    (("-n2", "--dist=loadgroup"), ("xdist.plugin",)),
    ((), ("pytest_randomly",)),
]


AT_HOME = """
import os, subprocess, pytest

@pytest.mark.parametrize("place", ["/opt/home/x", "/opt/homely", "/srv/opt/home"])
def test_a(place):
    os.environ["HOME"] = os.environ["TMPDIR"] = "/srv"
    subprocess.run(["true"])
"""


@needs("xdist")
@needs("pytest_randomly")
@pytest.mark.exec_budget(500)
def test_file_and_report_are_the_same(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:
    """And names are those of the moment when the run began, also in workers whose home is another."""
    monkeypatch.setenv("HOME", "/opt/home")
    inner.suite(
        test_it=SUITE,
        test_home=AT_HOME,
        conftest="import os\nif 'PYTEST_XDIST_WORKER' in os.environ: os.environ['HOME'] = '/opt/homely'\n",
    )
    assert inner.run(*OPTIONS, UPDATE, "--execprobe-report=a.json").ret == 0
    file = inner.path / "execs.toml"
    first, told_first = file.read_bytes(), told(inner.path / "a.json")
    assert b'[tests."test_it.py::test_many[3]"]\ntrue = 3\n' in first
    assert told_first["fixture", "test_it.py::repository (session)"] == (None, ["sh", "env", "true", "ls"], 0)
    at_home = [f"test_home.py::test_a[{place}]" for place in ("/opt/homely", "/srv/opt/home", "~/x")]
    assert [line for line in first.decode().splitlines() if "test_home" in line] == [
        f'[tests."{name}"]' for name in at_home
    ]
    for options, plugins in CASES[1:]:
        if options == ("-n2",):  # rows that are there; and in another order, those of a new one
            run = inner.run(*OPTIONS, UPDATE, *options, plugins=plugins)
            assert (run.ret, file.read_bytes()) == (0, first)
            continue
        file.unlink()
        assert inner.run(*OPTIONS, UPDATE, *options, "--execprobe-report=b.json", plugins=plugins).ret == 0
        assert file.read_bytes() == first
        assert of_tests(told(inner.path / "b.json")) == of_tests(told_first)
    assert "no test is beyond it" in inner.run(*OPTIONS, *CASES[1][0], plugins=CASES[1][1]).summary()


def of_tests(units: Told) -> Told:
    return {name: what for name, what in units.items() if name[0] == "test"}


def units_of(path: Path) -> list[dict[str, Any]]:
    """Of a report, with the names of what ran in each."""
    data = json.loads(path.read_text())
    for unit in data["units"]:
        commands = data["runs"][unit["run"]]["commands"]
        for record in unit["records"]:
            record.update(commands[record["command"]])
    units: list[dict[str, Any]] = data["units"]
    return units


def told(path: Path) -> Told:
    """How each unit came out, what it ran and what is missing."""
    units = units_of(path)
    return {
        (unit["kind"], unit["name"]): (
            unit["outcome"],
            # What a pipeline's programs do first is the kernel's choice.
            sorted(record["program"] for record in unit["records"])
            if unit["name"].endswith("test_tag")
            else [record["program"] for record in unit["records"]],
            unit["lost"] + len(unit["unknown"]),
        )
        for unit in units
    }


@pytest.mark.parametrize(("options", "plugins"), CASES[:2], ids=["alone", "-n2"])
def test_a_limit_of_a_package_that_no_test_is_in(
    inner: Inner, options: tuple[str, ...], plugins: tuple[str, ...]
) -> None:
    inner.suite(test_it=SUITE)
    (inner.path / "execs.toml").write_text('version = 1\n[packages."test_it.py::TestRelaese"]\nat_most = 0\n')
    run = inner.run(*OPTIONS, *options, plugins=plugins)
    assert run.ret == 1
    headline = 'packages."test_it.py::TestRelaese" in execs.toml limits nothing: the file has nothing of that name'
    assert run.out.count(f"\n{headline}\n") == 1


@needs("xdist")
def test_what_is_beyond_is_told_from_a_worker(inner: Inner) -> None:
    inner.suite(test_it=SUITE)
    inner.run(*OPTIONS, UPDATE)
    inner.suite(test_it=SUITE.replace("env ls / | cat", "env ls / | cat; /bin/true"))
    run = inner.run(*OPTIONS, "-n1", plugins=("xdist.plugin",))
    assert run.ret == 1
    assert "\nbeyond the baseline: new: true ran once (" in run.text("TestRelease::test_tag")


@needs("xdist")
def test_a_worker_that_crashes_makes_the_report_incomplete(inner: Inner) -> None:
    inner.suite(test_it=SUITE + "\ndef test_crash():\n    subprocess.run(['true'])\n    os._exit(3)\n")
    inner.run("--execprobe-report=a.json", "-n1", plugins=("xdist.plugin",))
    document = json.loads((inner.path / "a.json").read_text())
    assert any("ended before it had sent all" in why for run in document["runs"] for why in run["unknown"])
    assert ("test", "test_it.py::test_crash") in told(inner.path / "a.json")


@needs("pytest_rerunfailures")
def test_tries_are_apart(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os, subprocess
        def test_flaky():
            subprocess.run(["true"])
            if not os.path.exists("there"):
                open("there", "w").close()
                subprocess.run(["ls"])
                assert False
        """
    )
    inner.run("--execprobe-report=a.json", "--reruns=1", plugins=("pytest_rerunfailures",))
    units = units_of(inner.path / "a.json")
    tries = [(u["outcome"], [r["program"] for r in u["records"]]) for u in units if u["kind"] == "test"]
    assert tries == [("rerun", ["true", "ls"]), ("passed", ["true"])]


def test_how_programs_ended_is_in_the_report(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess
        def test_ends():
            subprocess.run(["sh", "-c", "exit 3"])
            subprocess.run(["sh", "-c", "kill $$"])
        def test_later():
            global left
            left = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        def test_last():
            left.communicate()
        """
    )
    inner.run("--execprobe-report=a.json")
    units = units_of(inner.path / "a.json")
    ends = {
        unit["name"].partition("::")[2]: [(r["exit_code"], r["signal"]) for r in unit["records"]]
        for unit in units
        if unit["kind"] == "test"
    }
    assert ends == {"test_ends": [(3, None), (None, 15)], "test_later": [(0, None)], "test_last": []}


@needs("xdist")
def test_what_is_no_text_travels_too(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os, shutil, subprocess
        def test_odd(tmp_path):
            program = os.fsencode(tmp_path) + b"/caf\\xe9\\n"
            shutil.copy(shutil.which("true"), program)
            subprocess.run([program, b"\\xff\\x1b", "caf\u00e9"], check=True)
        """
    )
    how = (*OPTIONS, "--execprobe-report=a.json", "-n1")
    assert inner.run(*how, UPDATE, plugins=("xdist.plugin",)).ret == 0
    assert "no test is beyond it" in inner.run(*how, plugins=("xdist.plugin",)).summary()
    units = units_of(inner.path / "a.json")
    (record,) = [record for unit in units if unit["kind"] == "test" for record in unit["records"]]
    assert record["program"] == "caf\udce9\n"
    assert record["argv"][1:] == ["\udcff\x1b", "caf\u00e9"]
