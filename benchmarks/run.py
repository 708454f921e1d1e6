"""What the probe costs, as ratios of interleaved pairs: ``make benchmark``.

Machines are shared and noisy, so each measurement is taken in pairs, bare and probed in turn, and the median of the
ratios counts. The bare runs are made with no probe attached to the kernel.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_execprobe.connect import HelperSettings, start_helper
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.recorder import Recorder
from pytest_execprobe.render import Style

HERE = Path(__file__).resolve().parent
SPAWNS = 5000
SYSTEM_CALLS = 2_000_000
WINDOWS = 2000
EMPTY_TESTS = 2000
ROUTES = ("auto", "off", "always")


@contextlib.contextmanager
def watching(attempts: str = "auto") -> Iterator[Recorder]:
    """This process's tree is watched, as in a test's call; afterwards the probe is gone from the kernel."""
    recorder = Recorder(lambda: start_helper(HelperSettings(attempts=attempts)), style=Style(), timeout=10)
    recorder.ensure()
    source = recorder._source
    assert source is not None
    helper = source.description["pid"]  # type: ignore[attr-defined]
    recorder.begin_test("benchmark")
    recorder.begin_phase("setup")
    recorder.in_use = True
    try:
        yield recorder
    finally:
        recorder.close()
        while Path(f"/proc/{helper}").exists():  # it detaches the probe by ending
            time.sleep(0.01)


def printed_ns(*command: str | Path | int) -> int:
    return int(subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE).stdout)


def ratios(pairs: int, bare: Callable[[], float], probed: Callable[[], float]) -> tuple[float, float, list[float]]:
    """(median bare, median probed, the ratios); the two take turns in going first."""
    bares, probeds = [], []
    for pair in range(pairs):
        for which in "bp" if pair % 2 == 0 else "pb":
            (bares if which == "b" else probeds).append((bare if which == "b" else probed)())
    return (
        statistics.median(bares),
        statistics.median(probeds),
        [after / before for before, after in zip(bares, probeds, strict=True)],
    )


def report(name: str, result: tuple[float, float, list[float]], unit: str, goal: float | None) -> bool:
    bare, probed, every = result
    median = statistics.median(every)
    reached = goal is None or median <= goal
    print(
        f"{name}\n  bare {bare:.1f} {unit}, probed {probed:.1f} {unit}: ratio {median:.4f}"
        f" (of {len(every)} pairs, {min(every):.4f} to {max(every):.4f})"
        + ("" if goal is None else f"; goal {goal}: {'reached' if reached else 'MISSED'}"),
        flush=True,
    )
    return reached


def spawns(folder: Path, pairs: int, attempts: str) -> bool:
    """5,000 spawns of a minimal static program, one after the other."""

    def bare() -> float:
        return printed_ns(folder / "spawn", folder / "nothing", SPAWNS) / SPAWNS / 1000

    def probed() -> float:
        with watching(attempts) as recorder:
            window = recorder.open_window("the benchmark")
            took = bare()
            evidence = window.evidence()
            assert evidence.missing == 0
            assert len(evidence.records) == SPAWNS + 1, len(evidence.records)
            return took

    name = f"{SPAWNS} posix_spawns of a minimal static program (attempts: {attempts})"
    # Where there are no kprobes, seeing failed attempts costs each of the some 70 system calls of a spawn.
    return report(name, ratios(pairs, bare, probed), "us each", 1.05 if attempts != "always" else None)


def system_calls(folder: Path, pairs: int, attempts: str) -> None:
    """What an attached probe costs a program that nobody watches, per system call."""

    def bare() -> float:
        return printed_ns(folder / "syscalls", SYSTEM_CALLS) / SYSTEM_CALLS

    def probed() -> float:
        with watching(attempts):
            return bare()

    name = f"getppid(), any process of the machine (attempts: {attempts})"
    report(name, ratios(pairs, bare, probed), "ns each", None)


def windows() -> bool:
    """Opening and closing a window around nothing."""
    with watching() as recorder:
        took = []
        for _ in range(WINDOWS):
            begin = time.perf_counter_ns()
            recorder.close_window(recorder.open_window("nothing"))
            took.append((time.perf_counter_ns() - begin) / 1000)
    took.sort()
    median, late = statistics.median(took), took[len(took) * 99 // 100]
    reached = median < 250
    print(
        f"a window around nothing, opened and closed\n  median {median:.0f} us, 99th percentile {late:.0f} us"
        f" (of {WINDOWS}); goal 250 us: {'reached' if reached else 'MISSED'}",
        flush=True,
    )
    return reached


def unused(folder: Path, pairs: int) -> bool:
    """A suite that does not use the plugin."""
    suite = folder / "test_empty.py"
    suite.write_text(f"import pytest\n@pytest.mark.parametrize('n', range({EMPTY_TESTS}))\ndef test(n): pass\n")

    def run(*options: str) -> float:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(suite)]
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        return time.perf_counter() - begin

    result = ratios(pairs, lambda: run("-p", "no:execprobe"), run)
    return report(f"{EMPTY_TESTS} empty tests, the plugin installed and unused", result, "s", 1.01)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="pairs of each measurement")
    parser.add_argument("--only", choices=("spawns", "windows", "unused", "syscalls"), help="one measurement alone")
    options = parser.parse_args()
    print(f"Linux {platform.release()}, {platform.machine()}, Python {platform.python_version()}", flush=True)
    reached = []
    with tempfile.TemporaryDirectory(prefix="execprobe-benchmark-") as name:
        folder = Path(name)
        for program, flags in (("spawn", ["-O2"]), ("syscalls", ["-O2"]), ("nothing", ["-Os", "-static", "-nostdlib"])):
            subprocess.run(["gcc", *flags, "-o", folder / program, HERE / f"{program}.c"], check=True)
        try:
            if options.only in (None, "spawns"):
                reached += [spawns(folder, options.pairs, attempts) for attempts in ROUTES]
            if options.only in (None, "windows"):
                reached.append(windows())
            if options.only in (None, "unused"):
                reached.append(unused(folder, options.pairs))
            if options.only in (None, "syscalls"):
                for attempts in ROUTES:
                    system_calls(folder, options.pairs, attempts)
        except ProbeUnavailable as error:
            print(error)
            return 2
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
