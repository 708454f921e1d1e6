"""Inner runs of pytest on the real kernel, each in a process of its own, and what they tell."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ready import Ready

_INSIDE = Path(__file__).with_name("inside")
_PROBE = "pytest_execprobe.plugin"
_TIMEOUT = 120  # seconds that no inner run takes unless it hangs


@dataclass(frozen=True)
class Report:
    """What an inner run showed of a phase of a test."""

    nodeid: str
    when: str
    category: str
    text: str
    sections: list[list[str]]
    properties: list[list[Any]]


@dataclass
class Run:
    """An inner run that has ended."""

    ret: int
    out: str
    err: str
    reports: list[Report] = field(default_factory=list)
    #: The last helper of each process that had one.
    helpers: dict[int, int] = field(default_factory=dict)
    #: All of them.
    helpers_ever: set[int] = field(default_factory=set)
    #: The same without the probe, if that was run.
    without: Run | None = None

    @property
    def outcomes(self) -> dict[str, list[str]]:
        """How each test is shown: ``["passed"]``, or ``["passed", "error"]`` if its teardown failed, and so on."""
        shown: dict[str, list[str]] = {}
        for report in self.reports:
            of_test = shown.setdefault(_name(report.nodeid), [])
            if report.category:
                of_test.append(report.category)
        return shown

    def report(self, name: str, category: str) -> Report:
        """The one report of a test that is shown so."""
        (found,) = [r for r in self.reports if _name(r.nodeid) == name and r.category == category]
        return found

    def text(self, name: str, category: str = "failed") -> str:
        """The failure of a test."""
        return self.report(name, category).text

    def properties(self, name: str) -> dict[str, Any]:
        """Those of a test's last report."""
        last = [report for report in self.reports if _name(report.nodeid) == name][-1]
        assert len(dict(map(tuple, last.properties))) == len(last.properties), "a property is there twice"
        return dict(map(tuple, last.properties))

    def summary(self) -> str:
        """The section of execprobe's in the terminal's summary, ``""`` without one."""
        lines = self.out.splitlines()
        starts = [n for n, line in enumerate(lines) if line.strip("=").strip() == "execprobe" and line[:1] == "="]
        if not starts:
            return ""
        rest = lines[starts[-1] + 1 :]
        return "\n".join(itertools.takewhile(lambda line: not line.startswith("="), rest))

    def __str__(self) -> str:
        return f"exit status {self.ret}\n{self.out}\n{self.err}"


class Inner:
    """Runs a suite that ``pytester`` has written, with and without the probe.

    No plugin is loaded by itself: ``plugins`` are the names of modules. ``backend`` is the probe, None for the usual.
    ``helper`` is the address of one to be used, by runs that do not lose it. ``ready`` forks those with the probe, and
    ``bare`` those without it.
    """

    def __init__(
        self,
        pytester: pytest.Pytester,
        monkeypatch: pytest.MonkeyPatch,
        ready: Ready,
        bare: Ready,
        backend: str | None = None,
        helper: str | None = None,
    ) -> None:
        self._ready = {True: ready, False: bare}
        self._pytester = pytester
        self._backend = backend
        self._helper = helper if backend is None else None
        self._numbers = itertools.count()
        self._patch = monkeypatch
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.delenv("PYTEST_PLUGINS", raising=False)
        monkeypatch.setenv("PYTHONPATH", str(_INSIDE), prepend=os.pathsep)
        monkeypatch.setenv("COLUMNS", "200")
        for name in [name for name in os.environ if name.startswith(("PYTEST_XDIST", "EXECPROBE_TOLD"))]:
            monkeypatch.delenv(name)

    @property
    def path(self) -> Path:
        """The folder of the suite."""
        return self._pytester.path

    def suite(self, **files: str) -> None:
        """Writes the files of the suite; ``conftest`` and the like by their names."""
        self._pytester.makepyfile(**files)

    def run(
        self,
        *options: str,
        plugins: Iterable[str] = (),
        stdin: bytes | None = None,
        probe: bool = True,
        before: Iterable[str] | None = None,
    ) -> Run:
        """``before`` are Python's arguments, in a process that is not forked; None for ``python -m pytest``."""
        told = self._pytester.path / f"told-{next(self._numbers)}"
        loaded = [part for name in (*([_PROBE] if probe else []), "told", *plugins) for part in ("-p", name)]
        backend = [f"--execprobe-backend={self._backend}"] if probe and self._backend is not None else []
        if probe and self._helper is not None and not self._loses():
            backend = [f"--execprobe-helper={self._helper}"]
        with self._patch.context() as patch:
            patch.setenv("EXECPROBE_TOLD", str(told))
            if not probe:
                patch.delenv("PYTEST_ADDOPTS", raising=False)  # of the outer run's
            command = [*loaded, "-p", "no:cacheprovider", *backend, *options]
            # In a session of its own, so that what other inner runs leave behind just then is certainly not this one's.
            if before is None:
                result = self._ready[probe].run(command, self.path, stdin or b"", _TIMEOUT)
            else:
                result = subprocess.run(
                    [sys.executable, *before, *command],
                    cwd=self.path,
                    input=stdin or b"",
                    capture_output=True,
                    timeout=_TIMEOUT,
                    start_new_session=True,
                    check=False,
                )
        run = Run(result.returncode, result.stdout.decode(), result.stderr.decode())
        for line in told.read_text().splitlines() if told.exists() else ():
            fields = json.loads(line)
            if "helper" in fields:
                run.helpers[fields["process"]] = fields["helper"]
                run.helpers_ever.add(fields["helper"])
            else:
                run.reports.append(Report(**fields))
        print(*options)  # for whoever looks at a test that has failed
        print(run)
        assert "INTERNALERROR" not in run.out + run.err
        return run

    def _loses(self) -> bool:
        return any(b"lose_helper" in file.read_bytes() for file in self.path.rglob("*.py"))

    def bare(self, *options: str, plugins: Iterable[str] = (), stdin: bytes | None = None) -> Run:
        """Without the probe, and without its options."""
        kept = [option for option in options if not option.startswith("--execprobe")]
        return self.run(*kept, plugins=plugins, stdin=stdin, probe=False)

    def as_without(self, *options: str, plugins: Iterable[str] = (), stdin: bytes | None = None) -> Run:
        """With the probe, and with the same outcomes as without it. In every test something must have been recorded."""
        run = self.run(*options, plugins=plugins, stdin=stdin)
        bare = self.bare(*options, plugins=plugins, stdin=stdin)
        assert run.outcomes, f"no test ran\n{run}"
        assert (run.outcomes, run.ret) == (bare.outcomes, bare.ret), f"{run}\n---- without the probe ----\n{bare}"
        assert any("passed" in shown for shown in run.outcomes.values()), f"nothing passed\n{run}"
        assert run.helpers, f"nothing was recorded\n{run}"
        run.without = bare
        return run


def needs(module: str) -> Callable[..., Any]:
    """Marks a test that needs a plugin, by its module's name."""
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed: make test-compat has it")


def alike(*values: Any) -> list[Any]:
    """Values of a parameter that pytest's version does not set apart: under the older one the first stands for all."""
    rest = (value if isinstance(value, tuple) else (value,) for value in values[1:])
    return [values[0], *(pytest.param(*value, marks=pytest.mark.beside) for value in rest)]


def pytest_version() -> tuple[int, ...]:
    return tuple(int(part) for part in pytest.__version__.split(".")[:2])


#: Where a helper was lost, nobody knows what tests left behind either: that is an error at the end of the run.
LOST = {"outside of tests": ["error"]}


def gone(pid: int) -> bool:
    """Whether a process that is no child has ended, or ends within half a minute."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], 30)[0])
    finally:
        os.close(pidfd)


def _name(nodeid: str) -> str:
    """What is written of a test here: ``test_a[1]``, ``Class::test_b``."""
    return nodeid.partition("::")[2] or nodeid
