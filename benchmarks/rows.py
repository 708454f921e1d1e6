"""What is measured, a function a row: each returns the lines that its runs make. The page has the docstrings."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import peers
from pairs import BARE, TIMES, Line, Run, Trouble, interleave, prepare
from sides import HERE, INSIDE, Side, environment, execute, started

OURS = "execprobe"
_LONG = 3600.0  # seconds, for what --long runs
_ANSWER = 120.0  # seconds
_HOOK = "a hook of audit events"
_PEERS_PART = 10  # a tracer that makes a storm so many times slower is given a storm so many times smaller
_Made = TypeVar("_Made")
_NS = {"s": 1e9, "ms": 1e6, "µs": 1e3, "ns": 1.0}


@dataclass
class Bench:
    """The sides, and the folder that all takes place in."""

    sides: Mapping[str, Side]  # this checkout is OURS
    folder: Path
    pairs: int
    scale: float = 1.0
    #: What could not be run, and why.
    not_run: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        programs = self.folder / "programs"
        programs.mkdir()
        for name, flags in (("spawn", ["-O2"]), ("syscalls", ["-O2"]), ("nothing", ["-Os", "-static", "-nostdlib"])):
            execute(["gcc", *flags, "-o", programs / name, HERE / f"{name}.c"])
        for name in ("one", "two", "three", "four", "marker"):
            (programs / name).hardlink_to(programs / "nothing")
        execute(["cp", "-r", INSIDE, self.folder / "inside"])

    @property
    def ours(self) -> Side:
        return self.sides[OURS]

    def program(self, name: str) -> str:
        return str(self.folder / "programs" / name)

    def number(self, whole: int) -> int:
        return max(2, round(whole * self.scale))

    def storm(self, spawns: int, workers: int = 2, storms: int = 1) -> dict[str, str | int]:
        """The variables of a session with a storm of about so many spawns, or several that make as many: helpers of
        earlier commits keep less than 100,000 execs for who does not read.
        """
        times = spawns // workers // storms
        programs = [self.program(name) for name in ("one", "two", "three", "four")]
        command = [self.program("spawn"), str(times), str(workers), *programs]
        return {"command": json.dumps(command), "storms": storms, "execs": (times * workers + 1) * storms}

    def take(self, name: str, series: Mapping[str, Run], pairs: int | None = None) -> dict[str, dict[str, list[float]]]:
        """The samples, by line and series. Bare and this checkout are needed, another commit or a peer may fail."""
        needed = [one for one in series if one.partition(" ")[0] in (BARE, OURS)]
        taken = interleave(pairs or self.pairs, series, needed)
        self._tell(name, taken.failed)
        return taken.lines

    def prepare(self, name: str, make: Callable[[Side], _Made]) -> dict[str, _Made]:
        """What is made once for each side. Only this checkout's is needed."""
        made, failed = prepare(self.sides, make, OURS)
        self._tell(name, failed)
        return made

    def _tell(self, name: str, failed: Mapping[str, str]) -> None:
        self.not_run |= {f"{name}, {one}": why for one, why in failed.items()}


Row = Callable[[Bench], list[Line]]
ROWS: dict[str, Row] = {}
#: What only ``--long``, or its name, has run.
LONG = frozenset({"large_reports", "large_gate", "session"})


def row(function: Row) -> Row:
    ROWS[function.__name__] = function
    return function


def _scaled(unit: str, samples: Mapping[str, list[float]], by: float = 1.0) -> dict[str, list[float]]:
    return {series: [value / _NS[unit] / by for value in values] for series, values in samples.items()}


# ---- start ----


def _start(bench: Bench, name: str, title: str, prefix: list[str]) -> list[Line]:
    def run(side: Side, kind: str) -> Mapping[str, float]:
        return {"wall": side.session("empty.py", kind, work=bench.folder, tests=1, prefix=prefix)["wall"]}

    series: dict[str, Run] = {BARE: lambda: run(bench.ours, "bare")}
    series |= {label: lambda side=side: run(side, "fixture") for label, side in bench.sides.items()}
    for one in series.values():
        with contextlib.suppress(Trouble):  # it will be told the next time
            one()  # leaves nothing to be compiled by Python, and nothing on disk alone
    return [Line(title, "s", _scaled("s", bench.take(name, series)["wall"]), "beyond")]


@row
def start(bench: Bench) -> list[Line]:
    """One test that uses the fixture and runs nothing: wall time of the whole run."""
    return _start(bench, "start", "start, from the second run on", [])


@row
def first_start(bench: Bench) -> list[Line]:
    """The same the first time on a machine: what is kept of the compiled probe is out of sight."""
    if os.geteuid() != 0:
        raise Trouble("needs root, who can mount an empty folder over /var/cache")
    script = 'mount -t tmpfs none /var/cache && exec "$@"'
    return _start(bench, "first_start", "start, the first time", ["unshare", "--mount", "sh", "-c", script, "sh"])


# ---- storms ----


@row
def storm(bench: Bench) -> list[Line]:
    """20,000 execs on two CPUs in one test, read once when they are over: the time that the test takes, which leaves
    out the start, and the CPU that helper and client use up to the complete, counted log."""
    variables = bench.storm(bench.number(20_000))

    def run(side: Side, kind: str) -> Mapping[str, float]:
        told = side.session("storm.py", kind, work=bench.folder, **variables)
        return {"took": told["took"], **({} if kind == "bare" else {"cpu": told["cpu"]})}

    series: dict[str, Run] = {BARE: lambda: run(bench.ours, "bare")}
    series |= {label: lambda side=side: run(side, "read") for label, side in bench.sides.items()}
    lines = bench.take("storm", series)
    execs = int(variables["execs"])
    return [
        Line(f"{execs - 1:,} execs on two CPUs in one test, read once", "s", _scaled("s", lines["took"]), "ratio"),
        Line("CPU of helper and client, per exec", "µs", _scaled("µs", lines["cpu"], execs)),
    ]


@row
def kernel(bench: Bench) -> list[Line]:
    """3,000 spawns on one CPU while the kernel measures BPF programs, which itself costs some 0.1 µs a spawn: how long
    the probe's programs run."""
    variables = bench.storm(bench.number(3_000), workers=1)

    def run(side: Side) -> Mapping[str, float]:
        return {"kernel": side.session("storm.py", "read", work=bench.folder, kernel="yes", **variables)["kernel"]}

    series: dict[str, Run] = {label: lambda side=side: run(side) for label, side in bench.sides.items()}
    with _bpf_stats():
        lines = bench.take("kernel", series)
    return [Line("BPF programs, per spawn", "µs", _scaled("µs", lines["kernel"], int(variables["execs"])))]


@contextlib.contextmanager
def _bpf_stats() -> Iterator[None]:
    """While this is open the kernel measures how long BPF programs run."""
    number = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
    if number is None:
        raise Trouble(f"the number of bpf(2) is not known here on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(128)  # type: BPF_STATS_RUN_TIME
    descriptor = libc.syscall(number, 32, attributes, len(attributes))  # BPF_ENABLE_STATS
    if descriptor < 0:
        raise Trouble(f"BPF_ENABLE_STATS was refused: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        os.close(descriptor)


_Wrap = Callable[[list[str | Path | int]], list[str | Path | int]]


@dataclass(frozen=True)
class _Workloads:
    """Commands that print how long they take, which leaves out a tracer's start; ``prefix`` is put before them."""

    bench: Bench
    prefix: tuple[str, ...] = ()

    def run(self, wrap: _Wrap, part: int = 1) -> dict[str, float]:
        """ns for each, by line; of so small a part."""
        took = {}
        for line, (command, number) in self._commands(part).items():
            took[line] = int(execute(wrap([*self.prefix, *command]), cwd=self.bench.folder)) / number
        return took

    def _commands(self, part: int) -> dict[str, tuple[list[str | Path | int], int]]:
        """(the command, in how many its time is divided)"""
        spawn, minimal = self.bench.program("spawn"), self.bench.program("nothing")
        again = [self.bench.ours.python, "-I", self.bench.folder / "inside" / "commands.py"]
        spawns, runs, pipelines = (max(1, self.bench.number(number) // part) for number in (3_000, 300, 150))
        return {
            "posix_spawn on one CPU": ([spawn, spawns, 1, minimal], spawns),
            "posix_spawn on two CPUs": ([spawn, spawns, 2, minimal], spawns),
            'subprocess.run(["true"])': ([*again, runs, "true"], runs),
            "shell pipelines": ([*again, pipelines, "sh", "-c", "ls / | sort | wc -l"], pipelines),
        }

    def ours(self, side: Side, backend: str) -> dict[str, float]:
        # A limit that is not exceeded makes it fail if it is not known that it is not.
        prefix = [side.execprobe, "run", "-q", "--budget", 1_000_000]
        prefix += ["--backend", backend] if backend != "bpf" else []  # earlier commits have no other

        def wrap(command: list[str | Path | int]) -> list[str | Path | int]:
            side.wait_for_helpers()
            return [*prefix, "--", *command]

        try:
            return self.run(wrap)
        finally:
            side.wait_for_helpers()

    def lines(self, name: str, series: dict[str, Run]) -> list[Line]:
        taken = self.bench.take(name, {BARE: lambda: self.run(list), **series})
        return [Line(line, "µs", _scaled("µs", samples), "ratio") for line, samples in taken.items()]


@row
def run(bench: Bench) -> list[Line]:
    """`execprobe run` and other tracers, by what the workload itself takes, which leaves out the tracer's start:
    3,000 `posix_spawn`s of a minimal static program on one CPU, twice 3,000 on two, 300 `subprocess.run(["true"])`, 150
    shell pipelines of three programs. strace is given a tenth of each."""
    workloads = _Workloads(bench)

    def beside(name: str) -> dict[str, float]:
        with peers.watching(name, bench.folder, Path(bench.program("marker"))):
            return workloads.run(list)

    missing = peers.missing()
    bench.not_run |= missing
    series: dict[str, Run] = {
        label: lambda side=side: workloads.ours(side, "bpf") for label, side in bench.sides.items()
    }
    series |= {name: lambda name=name: beside(name) for name in peers.WATCHERS if name not in missing}
    for name in peers.WRAPPERS:
        if name not in missing:
            series[name] = lambda name=name: workloads.run(lambda command: peers.wrapped(name, command), _PEERS_PART)
    return workloads.lines("run", series)


@row
def traced(bench: Bench) -> list[Line]:
    """The same by ptrace, and by strace with `--seccomp-bpf`; workloads and tracers at SCHED_RR 1, so that what else
    the machine does counts for less."""
    if os.geteuid() != 0 or shutil.which("chrt") is None:
        raise Trouble("needs root, and chrt, for a real-time priority")
    workloads, name = _Workloads(bench, ("chrt", "--rr", "1")), "strace --seccomp-bpf"
    series: dict[str, Run] = {
        label: lambda side=side: workloads.ours(side, "ptrace") for label, side in bench.sides.items()
    }
    if name not in peers.missing():
        strace = ["chrt", "--rr", "1", *peers.wrapped(name, [])]
        series[name] = lambda: workloads.run(lambda command: [*strace, *command], _PEERS_PART)
    return workloads.lines("traced", series)


@row
def synchronising(bench: Bench) -> list[Line]:
    """A read in a test right after `Popen(["true"])`, the median of 300, by each probe."""

    def read(side: Side, backend: str) -> Mapping[str, float]:
        return {"took": side.session("syncs.py", "read", f"--execprobe-backend={backend}", work=bench.folder)["sync"]}

    lines = []
    for backend in ("bpf", "ptrace"):
        name = f"synchronising, {backend}"
        series: dict[str, Run] = {
            label: lambda side=side, backend=backend: read(side, backend) for label, side in bench.sides.items()
        }
        taken = bench.take(name, series)["took"]
        lines.append(Line(f"a read right after Popen(), {backend}", "µs", _scaled("µs", taken)))
    return lines


# ---- call sites ----


@row
def call_sites(bench: Bench) -> list[Line]:
    """What call sites cost: CPU of the test's process for a spawn from Python, from two frames of the test's own code
    and from twenty, beyond that of a spawn by a name that is not noted; and CPU of a test that imports modules of the
    standard library, the least of 90 times, with a hook of audit events in Python, which could have noted them as
    well, beside it."""
    program, lines = bench.program("nothing"), []
    for depth in (1, 19):
        variables = {"rounds": bench.number(20), "program": program, "depth": depth}

        def run(side: Side, variables: Mapping[str, str | int] = variables) -> Mapping[str, float]:
            return {"cpu": side.session("sites.py", "read", work=bench.folder, **variables)["beyond"]}

        series: dict[str, Run] = {label: lambda side=side, run=run: run(side) for label, side in bench.sides.items()}
        title = f"a call site with {depth + 1} frames"
        lines.append(Line(f"{title}: CPU, per spawn", "µs", _scaled("µs", bench.take(title, series)["cpu"])))

    def imports(kind: str, side: Side, hook: str = "no") -> Mapping[str, float]:
        variables = {"rounds": bench.number(30), "hook": hook}
        return {"cpu": min(side.session("imports.py", kind, work=bench.folder, **variables)["cpu"] for _ in range(3))}

    series = {BARE: lambda: imports("bare", bench.ours)}
    series |= {label: lambda side=side: imports("read", side) for label, side in bench.sides.items()}
    series[_HOOK] = lambda: imports("bare", bench.ours, "yes")
    cpu = {name: _scaled("ms", {name: values})[name] for name, values in bench.take("imports", series)["cpu"].items()}
    hook = cpu.pop(_HOOK)
    return [
        *lines,
        Line("imports in a test: CPU", "ms", cpu, "ratio"),
        Line("the same without a probe, with a hook of audit events", "ms", {BARE: cpu[BARE], OURS: hook}, "ratio"),
    ]


# ---- what is asked of records ----

#: Rules that the storms keep, as (marker, patterns, keywords).
_RULES: dict[str, tuple[str, list[str], dict[str, bool]]] = {
    "exec_deny of a name": ("exec_deny", ["none"], {}),
    "the same, to be stopped": ("exec_deny", ["none"], {"enforce": True}),
    "exec_success": ("exec_success", [], {}),
    "exec_no_shell": ("exec_no_shell", [], {}),
    "exec_deny of from:": ("exec_deny", ["from:none.py"], {}),
    "exec_allow of unowned:": ("exec_allow", ["unowned:"], {}),
}


@row
def parts(bench: Bench) -> list[Line]:
    """What is done with 20,000 records of a test besides reading them; "bare" is here a test that only reads them, or
    an audit without a report. Of each the run without its start; of programs to be stopped what it takes in the kernel,
    too; of `log.tree()` the CPU. Where programs come from is looked up for every report."""
    variables = bench.storm(bench.number(20_000))
    execs = int(variables["execs"])

    def run(kind: str, *options: str, **more: str) -> Mapping[str, float]:
        told = bench.ours.session("storm.py", kind, *options, work=bench.folder, kernel="yes", **variables, **more)
        found = {name: told[name] for name in ("kernel", "tree") if name in told}
        return {"took": told["ended"] - told["stormed"] + told["took"], **found}

    def reported(*options: str) -> Mapping[str, float]:
        return run("audit", "--execprobe-audit", *options)

    plain, read, tree = BARE, f"{OURS} read", f"{OURS} tree"
    series: dict[str, Run] = {plain: lambda: reported(), read: lambda: run("read"), tree: lambda: run("tree")}
    series |= {name: lambda rule=rule: run("read", rules=json.dumps([rule])) for name, rule in _RULES.items()}
    reports = {"a report, secrets shown": ["--execprobe-redact=none"], "a report, secrets hidden": []}
    for name, options in reports.items():
        series[name] = lambda options=options: reported("--execprobe-report=parts.json", *options)
    with _bpf_stats():
        lines = bench.take("parts", series)
    took = _scaled("s", lines["took"])
    stopped = "the same, to be stopped"
    kernel = _scaled("µs", {BARE: lines["kernel"][read], OURS: lines["kernel"][stopped]}, execs)
    return [
        *(Line(f"{execs:,} records, {name}", "s", {BARE: took[read], OURS: took[name]}, "ratio") for name in _RULES),
        Line("BPF programs, per spawn, where one is to be stopped", "µs", kernel, "ratio"),
        Line(f"{execs:,} records, tree()", "ms", _scaled("ms", {OURS: lines["tree"][tree]})),
        *(Line(f"{execs:,} records, {name}", "s", {BARE: took[plain], OURS: took[name]}, "ratio") for name in reports),
    ]


# ---- many tests ----


def _tests(bench: Bench, name: str, kind: str, title: str) -> list[Line]:
    tests = bench.number(2_000)

    def run(side: Side, kind: str) -> Mapping[str, float]:
        told = side.session("empty.py", kind, work=bench.folder, tests=tests)
        return {"each": (told["last_ended"] - told["first_ended"]) / (tests - 1), "wall": told["wall"]}

    series: dict[str, Run] = {BARE: lambda: run(bench.ours, "bare")}
    series |= {label: lambda side=side: run(side, kind) for label, side in bench.sides.items()}
    lines = bench.take(name, series)
    title = f"{tests:,} empty tests, {title}"
    return [
        Line(f"{title}: per test", "µs", _scaled("µs", lines["each"]), "beyond"),
        Line(f"{title}: the whole run", "s", _scaled("s", lines["wall"]), "ratio"),
    ]


@row
def reads(bench: Bench) -> list[Line]:
    """Tests that use the fixture, read it once and run nothing. Per test: from the end of the first to that of the
    last."""
    return _tests(bench, "reads", "read", "one read in each")


@row
def rules(bench: Bench) -> list[Line]:
    """Tests with `exec_budget(0)`, without the fixture."""
    return _tests(bench, "rules", "rule", "a rule for each")


@row
def unused(bench: Bench) -> list[Line]:
    """A suite that does not use the plugin, which is installed."""
    return _tests(bench, "unused", "unused", "the plugin unused")[1:]


@row
def windows(bench: Bench) -> list[Line]:
    """A `watch()` block around nothing, the median of 500 in a test."""

    def run(side: Side) -> Mapping[str, float]:
        return {"window": side.session("windows.py", "read", work=bench.folder)["window"]}

    series: dict[str, Run] = {label: lambda side=side: run(side) for label, side in bench.sides.items()}
    return [Line("a window around nothing", "µs", _scaled("µs", bench.take("windows", series)["window"]))]


@row
def syscalls(bench: Bench) -> list[Line]:
    """A cheap system call, `getppid()`, of any process of the machine while the probe is attached, by the way in which
    it sees failed attempts: not at all, as it does if no test reads them, and by tracepoints of system calls, as where
    a test reads them and the kernel has no kprobes."""
    calls = bench.number(2_000_000)
    variables = {"command": json.dumps([bench.program("syscalls"), str(calls)]), "storms": 1, "execs": 1}

    def run(kind: str, *options: str) -> Mapping[str, float]:
        return {"printed": bench.ours.session("storm.py", kind, *options, work=bench.folder, **variables)["printed"]}

    series: dict[str, Run] = {BARE: lambda: run("bare")}
    routes = {f"{OURS} {route}": route for route in ("off", "auto", "tracepoint")}
    for name, route in routes.items():
        series[name] = lambda route=route: run("read", f"--execprobe-attempts={route}")
    samples = bench.take("syscalls", series)["printed"]
    return [
        Line(f"getppid(), attempts {route}", "ns", {BARE: bare, OURS: ours}, "ratio")
        for name, route in routes.items()
        for bare, ours in [([value / calls for value in samples[one]] for one in (BARE, name))]
    ]


# ---- many records ----

_LOGGED = 100_000


@row
def records(bench: Bench) -> list[Line]:
    """A log of 100,000 records in one test: what it adds to the memory of the client, once a side, and how long it
    takes to answer when the records are there and one exec is new. The sides' sessions live side by side, and answer
    in turn."""
    variables = bench.storm(bench.number(_LOGGED), storms=5)
    with contextlib.ExitStack() as stack:

        def make(side: Side) -> tuple[float, Run]:
            ask = stack.enter_context(_living(bench, side, variables))
            memory = int(ask("")) / int(variables["execs"])
            return memory, lambda: {line: int(ask(line)) for line in ("only ran", "counts", "failure")}

        made = bench.prepare("records", make)
        memory = {name: [each] for name, (each, _) in made.items()}
        series = {name: run for name, (_, run) in made.items()}
        lines = bench.take("records", series)
    count = f"{int(variables['execs']):,} records"
    return [
        Line(f"{count}: assert_only_ran, five patterns", "ms", _scaled("ms", lines["only ran"])),
        Line(f"{count}: counts", "ms", _scaled("ms", lines["counts"])),
        Line(f"{count}: a failure and its text", "ms", _scaled("ms", lines["failure"])),
        Line(f"{count}: memory of the client, each", "bytes", memory),
    ]


@contextlib.contextmanager
def _living(bench: Bench, side: Side, variables: Mapping[str, str | int]) -> Iterator[Callable[[str], str]]:
    """A session of ``log.py``, and a function that asks it; asked for nothing, it gives what it says by itself."""
    ours, theirs = socket.socketpair()
    env = {"kind": "read", "result": bench.folder / "log.json", "socket": theirs.fileno(), **variables}
    command = [*side.pytest, "-s", "--tb=line", "--execprobe=require", bench.folder / "inside" / "log.py"]
    said = bench.folder / "log.txt"
    with ours, theirs, open(said, "w") as output:
        ours.settimeout(_ANSWER)
        with started(
            command,
            cwd=bench.folder,
            env=environment({f"BENCH_{name.upper()}": str(value) for name, value in env.items()}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
        ) as process:
            theirs.close()
            with ours.makefile("rw") as wire:

                def ask(what: str) -> str:
                    try:
                        if what:
                            print(what, file=wire, flush=True)
                        answer = wire.readline()
                    except OSError as error:
                        raise Trouble(f"the session of {side.name} does not answer: {error}") from error
                    if not answer:
                        process.wait(_ANSWER)
                        raise Trouble(f"the session of {side.name} has ended:\n{said.read_text()[-2000:]}")
                    return answer

                yield ask
            ours.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ANSWER)
    side.wait_for_helpers()


def _reports(bench: Bench, name: str, execs: int) -> list[Line]:
    variables = bench.storm(bench.number(execs), storms=5)
    count = int(variables["execs"])

    def run(side: Side) -> Mapping[str, float]:
        took = {}
        for form in ("none", "json", "html"):
            options = ["--execprobe-audit", *([] if form == "none" else [f"--execprobe-report=report.{form}"])]
            told = side.session(
                "storm.py", "audit", *options, work=bench.folder, limit=_LONG, audited=count, **variables
            )
            took[form] = told["ended"] - told["first_began"]  # the storms are the same in each
            if form != "html":
                took[f"memory {form}"] = (told["peak"] - told["before"]) / count
        return {
            "json": took["json"] - took["none"],
            "html": took["html"] - took["none"],
            "memory": took["memory none"],
            "memory json": took["memory json"],
        }

    series: dict[str, Run] = {label: lambda side=side: run(side) for label, side in bench.sides.items()}
    lines = bench.take(name, series)
    title = f"audit of {count:,} records"
    return [
        Line(f"{title}: JSON, per record", "µs", _scaled("µs", lines["json"], count)),
        Line(f"{title}: HTML, per record", "µs", _scaled("µs", lines["html"], count)),
        Line(f"{title}: most memory, per record", "bytes", lines["memory"]),
        Line(f"{title}: most memory with JSON, per record", "bytes", lines["memory json"]),
    ]


@row
def reports(bench: Bench) -> list[Line]:
    """Reports of five tests with 10,000 execs in all: what they take beyond the audit, without the start, and how much
    more memory the client has at its most than before the first."""
    return _reports(bench, "reports", 10_000)


@row
def large_reports(bench: Bench) -> list[Line]:
    """The same with 100,000 execs."""
    return _reports(bench, "large_reports", _LOGGED)


@row
def gate(bench: Bench) -> list[Line]:
    """`execprobe gate` over one stored report (JSON), which is within its budget."""
    return _gate(bench, "gate", 20_000)


@row
def large_gate(bench: Bench) -> list[Line]:
    """The same of 100,000 records."""
    return _gate(bench, "large_gate", _LOGGED)


def _gate(bench: Bench, name: str, execs: int) -> list[Line]:
    variables = bench.storm(bench.number(execs), storms=5)
    count = int(variables["execs"])

    def make(side: Side) -> Run:
        report, budget = bench.folder / f"{side.folder.name}.json", bench.folder / f"{side.folder.name}.toml"
        options = [f"--execprobe-report={report}", f"--execprobe-baseline={budget}", "--execprobe-update"]
        options.append("--execprobe-audit")
        side.session("storm.py", "audit", *options, work=bench.folder, limit=_LONG, audited=count, **variables)

        def run() -> Mapping[str, float]:
            begin = time.monotonic_ns()
            execute([side.execprobe, "gate", report, "--budget", budget])
            return {"took": time.monotonic_ns() - begin}

        return run

    series = bench.prepare(name, make)
    lines = bench.take(name, series)
    return [Line(f"gate over {count:,} records", "s", _scaled("s", lines["took"]))]


@row
def audit(bench: Bench) -> list[Line]:
    """50,000 execs on two CPUs in one test under `--execprobe-audit`, wall time of the whole run, and without the
    start."""
    variables = bench.storm(bench.number(50_000))

    def run(side: Side, kind: str) -> Mapping[str, float]:
        options = [] if kind == "bare" else ["--execprobe-audit"]
        audited = None if kind == "bare" else int(variables["execs"])
        told = side.session("storm.py", kind, *options, work=bench.folder, audited=audited, **variables)
        return {"wall": told["wall"], "without": told["ended"] - told["stormed"] + told["took"]}

    series: dict[str, Run] = {BARE: lambda: run(bench.ours, "bare")}
    series |= {label: lambda side=side: run(side, "audit") for label, side in bench.sides.items()}
    lines = bench.take("audit", series)
    title = f"audit of {int(variables['execs']) - 1:,} execs in one test"
    return [
        Line(f"{title}: the whole run", "s", _scaled("s", lines["wall"]), "ratio"),
        Line(f"{title}, without the start", "s", _scaled("s", lines["without"]), "ratio"),
    ]


@row
def session(bench: Bench) -> list[Line]:
    """10,000 tests with 100 execs each under `--execprobe-audit`, once: wall time, and memory after a tenth of the
    tests and after all."""
    tests = bench.number(10_000)
    variables = {**bench.storm(99, workers=1), "tests": tests}

    def run(side: Side, kind: str) -> Mapping[str, float]:
        options = [] if kind == "bare" else ["--execprobe-audit"]
        audited = None if kind == "bare" else tests * int(variables["execs"])
        told = side.session("many.py", kind, *options, work=bench.folder, limit=_LONG, audited=audited, **variables)
        grown = {line: value for line, value in told.items() if line.endswith(("_tenth", "_end"))}
        return {"wall": told["wall"], **grown}

    series: dict[str, Run] = {BARE: lambda: run(bench.ours, "bare")}
    series |= {label: lambda side=side: run(side, "audit") for label, side in bench.sides.items()}
    lines = bench.take("session", series, pairs=1)
    title = f"{tests:,} tests, {tests * int(variables['execs']):,} execs, audit"
    result = [Line(f"{title}: the whole run", "s", _scaled("s", lines["wall"]), "ratio")]
    for who in ("client", "helper"):
        tenth, end = lines[f"{who}_tenth"], lines[f"{who}_end"]
        grown = {name: [last / first for first, last in zip(tenth[name], end[name], strict=True)] for name in end}
        mb = {name: [value / 1e6 for value in values] for name, values in end.items()}
        result.append(Line(f"{title}: memory of the {who} at the end", "MB", mb))
        result.append(Line(f"{title}: the same, to that after a tenth", TIMES, grown))
    return result
