"""Whether the audit of real test suites changes, misses or invents anything: ``python benchmarks/suites.py [NAME…]``.

Each suite of suites.toml comes from PyPI, is installed beside this checkout in an environment of its own, and runs
three times: plain, with ``--execprobe-audit``, and with the audit under strace. The outcomes must be the same test by
test, nothing may be lost, and in the last run audit and strace must have counted the same execs of the same programs.

Of a process that was killed inside of execve strace does not know whether that had succeeded. Such execs may have
happened: they are counted apart, and the audit may have each of them or not.

Left out of strace's count is what is outside of the audit by nature: what was entered before the probe was armed
(pytest itself, the launching of the probe's helper), or after the totals were asked for.

For a suite that is to be added, or on a new machine: ``--plain 3`` runs it three times without a probe and compares the
outcomes. Tests that differ are to be left out in suites.toml, with the reason.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest has brought it

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
FOLDER = Path(tempfile.gettempdir()) / "execprobe-suites"
TIMEOUT = 1800  # seconds, of a run
GRACE = 10.0  # seconds that strace is given for what a suite has left behind
SHOWN = 20  # differences of a kind

Outcomes = Mapping[str, list[str]]


class Trouble(Exception):
    """What makes it impossible to compare."""


# ---- suites ----


@dataclass(frozen=True)
class Suite:
    """A table of suites.toml; what the fields mean is said there."""

    name: str
    version: str
    sha256: str
    requirements: Sequence[str]
    arguments: Sequence[str] = ()
    prepare: Sequence[Sequence[str]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    deselect: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


def read_suites() -> dict[str, Suite]:
    tables = tomllib.loads((HERE / "suites.toml").read_text())
    return {name: Suite(name=name, **table) for name, table in tables.items()}


class Place:
    """The folder of a suite: its source, its environment, and what its runs leave."""

    def __init__(self, suite: Suite, folder: Path, python: str) -> None:
        self.suite = suite
        self.folder = folder / suite.name
        self.folder.mkdir(exist_ok=True)
        self.python = self.folder / "venv" / "bin" / "python"
        self._base = python
        self._temporary: str | None = None

    def make(self, *, probe: bool) -> None:
        """Downloads and installs. What is there already is used again, but not the plugin."""
        self._download()
        version = subprocess.run([self._base, "-VV"], check=True, stdout=subprocess.PIPE, text=True).stdout
        made_of = hashlib.sha256("\n".join([version, *self.suite.requirements]).encode()).hexdigest()
        stamp = self.folder / "venv" / "made-of"
        if not stamp.is_file() or stamp.read_text() != made_of:
            self._do("installing", self._base, "-m", "venv", "--clear", self.folder / "venv")
            self._pip("install", *self.suite.requirements)
            stamp.write_text(made_of)
        if probe:
            self._pip("install", "--force-reinstall", "--no-deps", CHECKOUT)
            ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
            purelib = subprocess.run([self.python, "-c", ask], check=True, stdout=subprocess.PIPE, text=True).stdout
            shutil.copy(HERE / "execprobe_totals.py", purelib.strip())

    def fresh(self) -> Path:
        """The source as it was released, and nothing that another run has left in it or in the home directory."""
        self.clear()
        (self.folder / "home").mkdir()
        self._temporary = tempfile.mkdtemp(prefix="execprobe-")  # of a short name, for sockets
        (self.folder / "source").mkdir()
        (archive,) = (self.folder / "sdist").iterdir()
        self._do("unpacking", "tar", "-C", self.folder / "source", "--no-same-owner", "-xf", archive)
        (source,) = (self.folder / "source").iterdir()
        for command in self.suite.prepare:
            words = [self.python if word == "python" else word for word in command]
            self._do("preparing", *words, cwd=source, env=self.environment())
        return source

    def clear(self) -> None:
        """What a suite has left running (a gpg-agent) ends with its folder."""
        for folder in (self.folder / "source", self.folder / "home", self._temporary):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        self._temporary = None

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.python.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self._temporary),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            **self.suite.environment,
        }

    def _download(self) -> None:
        folder, suite = self.folder / "sdist", self.suite
        if folder.is_dir() and [_sha256(file) for file in folder.iterdir()] == [suite.sha256]:
            return
        shutil.rmtree(folder, ignore_errors=True)
        wanted = self.folder / "sdist.txt"
        wanted.write_text(f"{suite.name}=={suite.version} --hash=sha256:{suite.sha256}\n")
        only = ("--no-deps", "--no-binary", suite.name, "--require-hashes")
        self._do("downloading", self._base, "-m", "pip", "download", "-q", *only, "-d", folder, "-r", wanted)

    def _pip(self, *words: str | Path) -> None:
        self._do("installing", self.python, "-m", "pip", "--disable-pip-version-check", *words)

    def _do(self, what: str, *command: str | Path, **options: Any) -> None:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )
        if done.returncode != 0:
            raise Trouble(f"{what} failed: {' '.join(map(str, command))}\n{_tail(done.stdout)}")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


# ---- runs ----


class Counted(NamedTuple):
    """What the audit says of a run."""

    programs: Counter[str]
    execs: int
    lost: int | None
    since: int  # ns, wall clock
    until: int


class Programs(NamedTuple):
    """What strace says that the audit must have counted."""

    certain: Counter[str]
    #: Those that may have happened.
    possible: Counter[str]


@dataclass
class Run:
    outcomes: Outcomes
    seconds: float
    counted: Counted | None = None
    traced: Programs | None = None

    @property
    def summary(self) -> str:
        kinds = Counter(kind for kinds in self.outcomes.values() for kind in kinds)
        return ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())


def run(place: Place, label: str, *, audit: bool = False, strace: bool = False) -> Run:
    try:
        return _run_in(place, place.fresh(), label, audit=audit, strace=strace)
    finally:
        place.clear()


def _run_in(place: Place, source: Path, label: str, *, audit: bool, strace: bool) -> Run:
    log, junit, totals, trace = (place.folder / f"{label}.{end}" for end in ("log", "xml", "json", "strace"))
    for file in (junit, totals, trace):
        file.unlink(missing_ok=True)
    suite = place.suite
    command: list[str | Path] = [place.python, "-m", "pytest", f"--junit-xml={junit}"]
    if audit:
        command += ["-p", "execprobe_totals", "--execprobe-audit", f"--execprobe-totals={totals}"]
    else:
        command += ["-p", "no:execprobe"]
    command += [*suite.arguments, *(f"--deselect={test}" for test in suite.deselect)]
    begin = time.monotonic()
    with open(log, "wb") as output:
        status = _status(command, trace if strace else None, cwd=source, env=place.environment(), output=output)
    seconds = time.monotonic() - begin
    if status not in (0, 1) or not junit.is_file():
        raise Trouble(f"pytest ended with status {status}, see {log}\n{_tail(log.read_text(errors='replace'))}")
    result = Run(outcomes_of(junit), seconds)
    if audit:
        result.counted = _counted(totals, log)
        if strace:
            result.traced = programs_of(read_strace(trace), result.counted)
    return result


def _status(command: Sequence[str | Path], trace: Path | None, *, cwd: Path, env: dict[str, str], output: Any) -> int:
    """pytest's exit status."""
    prefix: list[str | Path] = []
    if trace is not None:
        options = ["-f", "-ttt", "-xx", "-s", "4096", "-e", "trace=execve,execveat", "-e", "signal=none", "-o", trace]
        if os.geteuid() == 0:
            # Stops at the two calls only. What it does to a process beside makes no difference to root, but no sudo of
            # another user would work any more.
            prefix = ["strace", "--seccomp-bpf", *options]
        else:
            user = pwd.getpwuid(os.geteuid()).pw_name
            prefix = ["sudo", "-n", "strace", "-u", user, *options, "env", "-i", *(f"{k}={v}" for k, v in env.items())]
    process = subprocess.Popen(
        [*prefix, *command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        if trace is None:
            return process.wait(TIMEOUT)
        return _wait_for_traced(process, trace)
    except subprocess.TimeoutExpired:
        raise Trouble(f"not at its end after {TIMEOUT} s") from None
    finally:
        if process.poll() is None:
            _kill_session(process)


def _wait_for_traced(process: subprocess.Popen[bytes], trace: Path) -> int:
    """strace goes on until the last daemon of a suite has ended, which may be never; pytest's end is what counts."""
    deadline = time.monotonic() + TIMEOUT
    status, read, end = None, 0, b""
    while status is None:
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(process.args, TIMEOUT)
        over = process.poll() is not None
        if trace.is_file():
            with open(trace, "rb") as file:
                pid = file.readline().partition(b" ")[0]
                file.seek(read)
                new = file.read()
            read += len(new)
            status = _exit_status(pid, end + new)
            end = (end + new)[-200:]  # a line of an exit is shorter
        if over and status is None:
            raise Trouble(f"strace ended with status {process.returncode} before pytest did")
        time.sleep(0.5)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    return status


def _exit_status(pid: bytes, trace: bytes) -> int | None:
    match = re.search(rb"\n%s +[\d.]+ \+\+\+ (?:exited with (\d+)|killed by)" % pid, trace) if pid else None
    return None if match is None else int(match[1] or 128)


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """All that is left of the session that the process leads: what it started, and nothing else."""
    members = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
            except OSError:
                continue
            if session == process.pid:
                members.append(folder.name)
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*sudo, "kill", "-KILL", *members], check=False, stderr=subprocess.DEVNULL)
    process.wait()


def _counted(totals: Path, log: Path) -> Counted:
    said = json.loads(totals.read_text()) if totals.is_file() else {}
    counted = said.get("totals")
    if counted is None or not counted["since"]:
        raise Trouble(f"there was no audit, see {log}\n{_tail(log.read_text(errors='replace'))}")
    return Counted(
        programs=Counter(counted["programs"]),
        execs=counted["execs"],
        lost=counted["lost"],
        since=counted["since"] + said["wall"],
        until=said["until"] + said["wall"],
    )


def outcomes_of(junit: Path) -> Outcomes:
    """What became of each test. It is a list, for a test can fail and then fail to be taken down as well."""
    outcomes = collections.defaultdict(list)
    for case in ElementTree.parse(junit).iter("testcase"):
        marks = [child for child in case if child.tag in ("failure", "error", "skipped")]
        kinds = ["xfailed" if mark.get("type") == "pytest.xfail" else _KINDS[mark.tag] for mark in marks]
        outcomes[f"{case.get('classname')}::{case.get('name')}"] += kinds or ["passed"]
    return {test: sorted(kinds) for test, kinds in outcomes.items()}


_KINDS = {"failure": "failed", "error": "error", "skipped": "skipped"}


# ---- strace ----


NAMELESS = "?"  # a program of which strace could not read the name


class Exec(NamedTuple):
    """A successful exec, or one that may have been."""

    pid: int
    entered: int  # ns, wall clock
    path: str
    argv: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def is_helper(self) -> bool:
        """Whether it is a launching of the probe's helper, with or without sudo before it."""
        places = [place for place, word in enumerate(self.argv) if word.endswith("/pytest_execprobe/helper")]
        return any(self.argv[place - 2 : place + 2] == ("-I", "-B", self.argv[place], "--connect") for place in places)


_LINE = re.compile(r"(?P<pid>\d+) +(?P<seconds>\d+)\.(?P<micros>\d{6}) (?P<event>.*)")
_RESUMED = re.compile(r"<\.\.\. execve(?:at)? resumed>(?P<rest>.*)")
_SUPERSEDED = re.compile(r"\+\+\+ superseded by execve in pid (?P<thread>\d+) \+\+\+")
_BROKEN_OFF = re.compile(r" *<(?:unfinished|pid changed to \d+) \.\.\.>$")
_CALL = re.compile(r'execve(?:at\([^,]+, |\()"(?P<path>[^"]*)", \[(?P<argv>[^\]]*)\].*\) += (?P<value>-?\d+|\?).*')
_FAILED = re.compile(r"\) += -1 E[A-Z0-9]+ ")  # maybe with an address that is none
# Of a process that was killed before strace could read what it executes, or how that ended.
_UNREAD = re.compile(r"(?:execve|execveat|\?\?\?)\(.*(?:<detached \.\.\.>|\) += \?)")
_OTHER = re.compile(r"\+\+\+ (?:exited with|killed by) .* \+\+\+|\[ Process PID=\d+ runs in (?:32|64) bit mode\. \]")


class Trace(NamedTuple):
    """What strace saw."""

    execs: list[Exec]
    #: Those whose process was killed inside of execve, or that had not returned when strace ended.
    possible: list[Exec]


def read_strace(file: Path) -> Trace:
    """Execs that succeeded, and such as may have. What it does not understand is an error: a truth must not have
    holes."""
    trace = Trace([], [])
    begun: dict[int, tuple[int, str]] = {}
    with open(file, encoding="ascii") as lines:
        for line in lines:
            match = _LINE.fullmatch(line.rstrip("\n"))
            if match is None:
                raise Trouble(f"not a line of strace -f -ttt: {line!r}")
            pid, event = int(match["pid"]), match["event"]
            entered = int(match["seconds"]) * 10**9 + int(match["micros"]) * 1000
            if resumed := _RESUMED.fullmatch(event):
                entered, call = begun.pop(pid)
                call += resumed["rest"]
            elif superseded := _SUPERSEDED.fullmatch(event):  # a thread that succeeds becomes the process
                begun[pid] = begun.pop(int(superseded["thread"]))
                continue
            elif _OTHER.fullmatch(event):
                continue
            else:
                call = event
            if _BROKEN_OFF.search(call):
                begun[pid] = entered, _BROKEN_OFF.sub("", call)
                continue
            if not _take(trace, pid, entered, call):
                raise Trouble(f"not understood: {line!r}")
    for pid, (entered, call) in begun.items():
        _take(trace, pid, entered, f"{call}) = ?")
    return trace


def _take(trace: Trace, pid: int, entered: int, call: str) -> bool:
    """Puts a call where it belongs. Whether it was understood."""
    ended = _CALL.fullmatch(call)
    if ended is None:
        if _UNREAD.fullmatch(call):
            trace.possible.append(Exec(pid, entered, NAMELESS, ()))
        return _UNREAD.fullmatch(call) is not None or _FAILED.search(call) is not None
    argv = tuple(_text(word) for word in re.findall(r'"([^"]*)"', ended["argv"]))
    if ended["value"] in ("0", "?"):
        where = trace.execs if ended["value"] == "0" else trace.possible
        where.append(Exec(pid, entered, _text(ended["path"]), argv))
    return True


def _text(escaped: str) -> str:
    return bytes.fromhex(escaped.replace("\\x", "")).decode("utf-8", "surrogateescape")


def programs_of(trace: Trace, counted: Counted) -> Programs:
    """What the audit must have counted. The helper's launching is before it, and seen, if the two clocks agree."""
    before = [one for one in trace.execs if one.entered < counted.since]
    if not any(one.is_helper for one in before):
        raise Trouble("strace saw no helper being launched before the probe was armed: was the clock set?")

    def of(execs: Iterable[Exec]) -> Counter[str]:
        return Counter(one.program for one in execs if counted.since <= one.entered < counted.until)

    return Programs(of(trace.execs), of(trace.possible))


# ---- comparisons ----


def differing_outcomes(plain: Run, other: Run, what: str) -> list[str]:
    lines = []
    for test in sorted(plain.outcomes.keys() | other.outcomes.keys()):
        kinds = [", ".join(run.outcomes.get(test, ["not run"])) for run in (plain, other)]
        if kinds[0] != kinds[1]:
            lines.append(f"{test}: plain {kinds[0]}, {what} {kinds[1]}")
    return _shortened(lines)


def losses(run: Run, what: str) -> list[str]:
    counted = run.counted
    assert counted is not None
    lines = []
    if counted.lost != 0:
        lines.append(f"{what}: {'an unknown number of' if counted.lost is None else counted.lost} execs lost")
    if counted.execs != counted.programs.total() + (counted.lost or 0):
        lines.append(f"{what}: {counted.execs} execs, but {counted.programs.total()} by program")
    return lines


def differing_programs(run: Run) -> list[str]:
    assert run.counted is not None
    assert run.traced is not None
    audit, (certain, possible) = run.counted.programs, run.traced
    over = audit - (certain + possible)
    if over.total() <= possible[NAMELESS]:  # any of those
        over.clear()
    under = certain - audit
    return _shortened(
        [
            f"{name}: audit {audit[name]}, strace {certain[name]}"
            + (f" and maybe {possible[name]} more" if possible[name] else "")
            for name in sorted(over.keys() | under.keys())
        ]
    )


def _shortened(lines: list[str]) -> list[str]:
    return [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else lines


@dataclass
class Row:
    suite: Suite
    cells: list[str]
    top: str
    differences: list[str]


def compare(place: Place, say: Callable[[str], None]) -> Row:
    say("plain")
    plain = run(place, "plain")
    say(f"with the audit (plain: {plain.summary}, {plain.seconds:.0f} s)")
    audited = run(place, "audit", audit=True)
    say("with the audit under strace")
    traced = run(place, "strace", audit=True, strace=True)
    assert traced.counted is not None
    assert traced.traced is not None
    differences = [
        *differing_outcomes(plain, audited, "with the audit"),
        *differing_outcomes(plain, traced, "with the audit under strace"),
        *losses(audited, "with the audit"),
        *losses(traced, "with the audit under strace"),
        *differing_programs(traced),
    ]
    cells = [
        str(len(plain.outcomes)),
        *(f"{each.seconds:.0f}" for each in (plain, audited, traced)),
        str(audited.counted.execs if audited.counted else ""),
        str(traced.counted.execs),
        str(traced.traced.certain.total()),
        str(traced.traced.possible.total()),
        str(len(traced.traced.certain)),
        "?" if traced.counted.lost is None else str(traced.counted.lost),
    ]
    top = ", ".join(f"{name} {number}" for name, number in traced.traced.certain.most_common(5))
    return Row(place.suite, cells, f"{plain.summary}; {top}", differences)


HEADS = ("tests", "plain s", "audit s", "strace s", "execs", "execs/strace", "strace", "maybe", "programs", "lost", "")


def print_table(rows: Sequence[Row]) -> None:
    print(f"\n{'suite':<24}" + "".join(f"{head:>{max(8, len(head) + 2)}}" for head in HEADS))
    for row in rows:
        verdict = "DIFFERS" if row.differences else "same"
        cells = zip([*row.cells, verdict], HEADS, strict=True)
        print(f"{row.suite.title:<24}" + "".join(f"{cell:>{max(8, len(head) + 2)}}" for cell, head in cells))
        print(f"    {row.top}")
    print(
        "\nexecs: counted by the audit. execs/strace: counted by the audit of the run under strace; strace: counted by"
        "\nstrace in the same run, which must be the same, program by program. maybe: besides, execs whose process was"
        "\nkilled inside of execve (= ? in strace): they may have happened, and the audit may have each of them or not."
    )


def steadiness(place: Place, times: int, say: Callable[[str], None]) -> list[str]:
    """Differences between plain runs."""
    first, differences = None, []
    for number in range(1, times + 1):
        done = run(place, f"plain{number}")
        say(f"plain run {number}: {done.summary}, {done.seconds:.0f} s")
        if first is None:
            first = done
        else:
            differences += differing_outcomes(first, done, f"run {number}")
    return differences


def main() -> int:
    suites = read_suites()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(suites)}; all by default")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help=f"where all of it goes ({FOLDER}); not in a checkout"
    )
    parser.add_argument("--plain", type=int, metavar="N", help="only compare N plain runs")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in suites]
    if unknown:
        parser.error(f"no suite is called {', '.join(unknown)}")
    if options.plain is None and shutil.which("strace") is None:
        parser.error("there is no strace to compare with")
    options.folder.mkdir(mode=0o700, exist_ok=True)
    if options.folder.stat().st_uid != os.geteuid():
        parser.error(f"{options.folder} is another user's; name a --folder")
    version = subprocess.run([options.python, "-V"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    print(f"Linux {platform.release()}, {platform.machine()}, {version}", flush=True)
    rows, failed = [], []
    for name in options.names or suites:
        suite = suites[name]

        def say(what: str, suite: Suite = suite) -> None:
            print(f"{suite.title}: {what}", flush=True)

        try:
            say("downloading and installing")
            place = Place(suite, options.folder.resolve(), options.python)
            place.make(probe=options.plain is None)
            if options.plain is None:
                rows.append(compare(place, say))
                differences = rows[-1].differences
            else:
                differences = steadiness(place, options.plain, say)
        except Trouble as trouble:
            differences = [str(trouble)]
        if differences:
            failed.append(name)
        for difference in differences:
            say(f"DIFFERS: {difference}")
    if rows:
        print_table(rows)
    if failed:
        print(f"\nnot the same: {', '.join(failed)}; the runs are in {options.folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
