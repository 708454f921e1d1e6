"""Reports for tests: a rich one, an incomplete one, a hostile one and large ones."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from fakes import altered, record

from pytest_execprobe import ExecRecord
from pytest_execprobe.report.json import pieces
from pytest_execprobe.report.model import Collection, Document, LeftRunning, ReportedBreach, Run, Unit
from pytest_execprobe.timeline.site import CallSite, Frame

MS = 1_000_000
START = 5_000_000_000_000

#: Arguments that mean something to a page, a terminal, a table or a workflow command.
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><img src=x onerror='window.hacked = 1'>",
    '"><b id=injected>',
    "'single' \"double\" `back`",
    "a|b\\|c",
    "[link](https://example.org) @someone #1 :tada: www.example.org me@example.org",
    "\x1b[31mred\x07",
    "line one\nline two\r\n",
    "\udcff\udcfe",
    "\u202egnp.exe",
    "%0A::error::no",
    "{{ 7 * 7 }} {% raw %}",
    "\u2028\u2029",
    "",
)


#: What a run has collected that has looked through everything.
EVERYTHING = Collection(places=(".",), folders=(".",))


def dump(document: Document) -> str:
    """As JSON."""
    return "".join(pieces(document))


def run(**more: Any) -> Run:
    fields: dict[str, Any] = {
        "id": "f00d",
        "kind": "pytest",
        "command": ("pytest", "-n", "2", "tests"),
        "started": "2026-03-01T09:30:00Z",
        "start_ns": START,
        "end_ns": START + 1500 * MS,
        "exit_status": 0,
        "probe": "BCC 0.26 on Linux 6.1; execs by sched_process_exec",
        "platform": "cpython 3.13.1 on Linux x86_64",
        "collection": EVERYTHING,
        "redacted": True,
    }
    return Run(**{**fields, **more})


def ran(
    program: str | None,
    *args: str,
    at: float,
    lasted: float | None = None,
    exit_code: int | None = None,
    signal: int | None = None,
    **more: Any,
) -> ExecRecord:
    """A record; ``at`` is in milliseconds from the beginning of the run, ``lasted`` in milliseconds."""
    fields = {name: more.pop(name) for name in list(more) if name in _LATER}
    made = record(program, *args, at=START + round(at * MS), **more)
    duration = None if lasted is None else round(lasted * MS)
    return altered(made, duration_ns=duration, exit_code=exit_code, signal=signal, **fields)


_LATER = {"begun_by", "phase", "depth", "ppid", "call_site", "uid", "shared", "begun_in", "fork"}


def phases(begin: float, setup: float = 5, call: float = 80, teardown: float = 5) -> dict[Any, tuple[int, int]]:
    """Three phases that follow each other; lengths in milliseconds."""
    times = [START + round(at * MS) for at in itertools.accumulate([begin, setup, call, teardown])]
    return {"setup": (times[0], times[1]), "call": (times[1], times[2]), "teardown": (times[2], times[3])}


def rich() -> Document:
    """One run with something of everything that can be in a report."""
    covered = record("coverage", at=START - 10 * MS)  # ignored: in no unit
    git = ran("git", "commit", "-m", "It's done", at=10, lasted=60, exit_code=0, cwd="/srv/project", ppid=1)
    hook = ran("pre-commit", parent=git, at=14, lasted=40, exit_code=1, interpreter="/bin/sh", path="hooks/pre-commit")
    env = ran("env", "python3", "-c", "pass", parent=hook, at=16)
    python = ran("python3", "-c", "pass", parent=hook, previous=env, pid=env.pid, at=17, lasted=30, signal=9)
    gpg = ran("gpg", "--sign", parent=python, at=30)
    below = ran("sh", "-c", "true", parent=replace(covered, depth=1), at=70, lasted=1, exit_code=0)
    lineless = ran(None, parent=None, at=75, argv=None, executable=None, lineage_lost=True, depth=None)
    cut = ran("xargs", *(["a" * 100] * 80), at=78, lasted=2, exit_code=0, truncated=True)
    server = ran("redis-server", "--port", "0", at=101, lasted=1200, exit_code=0, begun_by="tests/conftest.py::redis")
    helper = ran("redis-cli", "ping", parent=server, at=260, lasted=3, exit_code=0, shared=True, begun_by="redis")
    stray = ran("sleep", "1", at=400, lasted=1000, exit_code=0)
    strays_child = ran("true", parent=stray, at=410, lasted=1, exit_code=0)
    breach = ReportedBreach(
        "exec budget exceeded: 8 execs, at most 4 allowed",
        "exec budget exceeded: 8 execs, at most 4 allowed (call phase)\n  rule  exec_budget(4) on TestRelease\n\n"
        "  if this is right: exec_budget(8)",
    )
    undecided = ReportedBreach("cannot tell whether curl ran: 3 execs missing from the log", "", undecided=True)
    units = (
        Unit("collection", "collection", worker="gw0", phases={"call": (START, START + 8 * MS)}),
        Unit(
            "test",
            "tests/test_release.py::TestRelease::test_tag",
            worker="gw0",
            outcome="failed",
            file="tests/test_release.py",
            line=31,
            phases=phases(5),
            records=(git, hook, env, python, gpg, below, lineless, cut),
            breaches=(breach,),
        ),
        Unit(
            "fixture",
            "tests/conftest.py::redis (module)",
            worker="gw1",
            phases={"setup": (START + 100 * MS, START + 150 * MS), "teardown": (START + 700 * MS, START + 720 * MS)},
            records=(server,),
        ),
        Unit(
            "test",
            "tests/test_cache.py::test_ping[a-b]",
            worker="gw1",
            outcome="passed",
            file="tests/test_cache.py",
            line=7,
            phases=phases(250),
            records=(helper,),
            strays=(stray, strays_child),
        ),
        Unit(
            "test",
            "tests/test_cache.py::test_flood",
            worker="gw1",
            outcome="error",
            phases=phases(350),
            lost=3,
            breaches=(undecided,),
        ),
        Unit("test", "tests/test_cache.py::test_later", outcome="xfailed", phases=phases(450), breaches=(breach,)),
        Unit("test", "tests/test_cache.py::test_blind", outcome="passed", not_checked="the probe helper has gone"),
        Unit("outside", "outside of tests", phases={"call": (START, START + 1500 * MS)}, unknown=("it hung up",)),
    )
    over = ReportedBreach("session budget exceeded: 14 execs, at most 10 allowed")
    return Document((run(exit_status=1, ignored={"coverage": 2}, breaches=(over,)),), units)


def good() -> Document:
    """Where nothing is wrong, and nothing missing."""
    git = ran("git", "status", at=10, lasted=5, exit_code=0)
    return Document((run(),), (Unit("test", "test_a.py::test_it", outcome="passed", phases=phases(5), records=(git,)),))


def left(**more: Any) -> Document:
    """A command that has left processes running, and nothing else is missing."""
    shell = ran("sh", at=1)
    running = (LeftRunning(42, "redis", True, START + 500 * MS), LeftRunning(None, "sh", False, None))
    made = run(kind="command", command=("sh", "-c", "redis &"), **{"running": running, **more})
    return Document((made,), (Unit("command", "sh -c 'redis &'", phases=phases(0), records=(shell,)),))


def hostile() -> Document:
    """Where every text is meant to break out of where it is shown."""
    units = []
    for index, text in enumerate(HOSTILE):
        program = text or "empty"
        bad = ran(
            program,
            *HOSTILE,
            path=f"/bin/{text}",
            executable=text,
            cwd=text,
            interpreter=text,
            begun_by=text,
            call_site=CallSite(text, 1, text, (Frame(text, 1, text),)),
            at=10 + index,
            lasted=1,
            exit_code=0,
        )
        breach = ReportedBreach(text or "empty", f"{text}\n{text}", undecided=bool(index % 2))
        units.append(
            Unit(
                "test",
                f"test_it.py::test[{text}]",
                worker=text or None,
                outcome="failed",
                file=text,
                line=1,
                phases=phases(5),
                records=(bad,),
                strays=(replace(bad, _identity=(index + 1, 10**12)),),
                unknown=(text,),
                not_checked=text or None,
                breaches=(breach,),
            )
        )
    running = tuple(
        LeftRunning(index or None, text, bool(index % 2), index or None) for index, text in enumerate(HOSTILE)
    )
    first = run(
        command=HOSTILE,
        started=HOSTILE[0],
        probe=HOSTILE[1],
        ignored={HOSTILE[0]: 1},
        unknown=HOSTILE[:2],
        running=running,
        more_running=3,
    )
    return Document((first,), tuple(units))


def many(tests: int, each: int, deep: bool = False) -> Document:
    """So many tests with so many execs each, each below the one before it or all by the test itself."""
    units = []
    for number in range(tests):
        begin = 100 * number
        records: list[ExecRecord] = []
        for index in range(each):
            program = ("git", "sh", "python3", "cc1plus", "make")[index % 5]
            records.append(
                ran(
                    program,
                    f"--number={number}-{index}",
                    "some/file/or/other.c",
                    parent=records[-1] if deep and records and index % 7 else None,
                    at=begin + 5 + 80 * index / each,
                    lasted=2,
                    exit_code=int(index % 50 == 49),
                )
            )
        name = f"tests/unit/test_module_{number // 10}.py::TestSome::test_number_{number}"
        worker = f"gw{number % 4}"
        units.append(Unit("test", name, 0, worker, "passed", phases=phases(begin), records=tuple(records)))
    return Document((run(end_ns=START + 100 * MS * tests + MS),), tuple(units))
