"""What the probe costs: ``make bench``.

Runs the rows that are named, or all but the long ones, and prints their figures; with ``--page`` it writes the page of
them, too. This checkout is installed as a user would have it, in an environment of its own, and with ``--against``
another commit beside it, which is run in turn with it.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from page import PEERS, Page, peers_table, table
from pairs import Line, Trouble
from rows import LONG, OURS, ROWS, Bench
from sides import CHECKOUT, execute, helpers, install, install_commit

_QUIET = 0.5  # of the load average of the last minute


def machine(pairs: int, against: str | None) -> list[str]:
    """Where and under what conditions this is measured. To be asked before anything is run."""
    load = os.getloadavg()
    others = len(list(helpers()))
    quiet = load[0] < _QUIET and not others
    averages = ", ".join(f"{one:.2f}" for one in load)
    conditions = f"load average {averages} before it, {others} probes of others attached"
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    cpus = f"{len(os.sched_getaffinity(0))} CPUs" + (f" ({model[0]})" if model else "")
    return [
        f"{datetime.now(timezone.utc):%Y-%m-%d}, commit {_commit()}" + (f", against {against}" if against else ""),
        ("The machine was quiet: " if quiet else "**The machine was NOT quiet**: ") + conditions,
        f"Linux {platform.release()}, {platform.machine()}, {cpus}, Python {platform.python_version()}, BCC {_bcc()}",
        f"{pairs} interleaved pairs of each, save what has one figure",
    ]


def _commit() -> str:
    try:
        changed = execute(["git", "-C", CHECKOUT, "status", "--porcelain"]).strip()
        commit = execute(["git", "-C", CHECKOUT, "rev-parse", "--short", "HEAD"]).strip()
    except Trouble:
        return "unknown"
    return commit + (" with changes" if changed else "")


def _bcc() -> str:
    python = os.environ.get("EXECPROBE_PYTHON", "/usr/bin/python3")
    try:
        return execute([python, "-I", "-c", "import bcc; print(bcc.__version__)"]).strip()
    except Trouble:
        return "unknown"


def measure(bench: Bench, names: Sequence[str], machine: Sequence[str], against: str | None) -> Page:
    """Runs the rows, and prints each as soon as it is there."""
    rows: dict[str, tuple[str, Sequence[Line]]] = {}
    for name in names:
        begin = time.monotonic()
        try:
            lines = ROWS[name](bench)
        except Trouble as trouble:
            bench.not_run[name] = str(trouble)
            print(f"{name}: not run: {trouble}", flush=True)
            continue
        rows[name] = (ROWS[name].__doc__ or "", lines)
        shown = peers_table(lines) if name in PEERS else table(lines, OURS, against)
        print(f"\n{name} ({time.monotonic() - begin:.0f} s)\n" + "\n".join(shown), flush=True)
    return Page(OURS, against, machine, rows, dict(bench.not_run))


def write(page: Page, path: Path) -> None:
    for end, svg in page.plots().items():
        path.with_name(f"{path.stem}{end}.svg").write_text(svg)
    path.write_text(page.markdown(path.stem))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="what to run (--list)")
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("--pairs", type=int, default=11, help="how often each is run (default 11)")
    parser.add_argument(
        "--against", metavar="COMMIT", help="another commit of this repository, run in turn with this one"
    )
    parser.add_argument("--long", action="store_true", help="run the rows that take long, too")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="a part of the sizes alone, to try the rows themselves"
    )
    parser.add_argument("--page", type=Path, metavar="PATH", help="write a page (Markdown), and its plots beside it")
    options = parser.parse_args()
    if options.list:
        for name, row in ROWS.items():
            print(f"{name}{' (--long)' if name in LONG else ''}: {' '.join((row.__doc__ or '').split())}")
        return 0
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}; --list has them")
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that what runs ends, too, and the folder goes
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if options.pairs < 1:
        parser.error("--pairs is 1 at least")
    names = options.rows or [name for name in ROWS if options.long or name not in LONG]
    conditions = machine(options.pairs, options.against)
    print("\n".join(conditions), flush=True)
    with tempfile.TemporaryDirectory(prefix="execprobe-bench-") as temporary:
        folder = Path(temporary)
        try:
            sides = {OURS: install(OURS, CHECKOUT, folder / OURS)}
        except Trouble as trouble:
            print(trouble)
            return 2
        not_run = {}
        if options.against:
            try:
                sides[options.against] = install_commit(options.against, folder / "against")
            except Trouble as trouble:
                not_run[options.against] = str(trouble)
        bench = Bench(sides, folder, options.pairs, options.scale, not_run)
        page = measure(bench, names, conditions, options.against)
    for what, why in page.not_run.items():
        print(f"not run: {what}: {why}")
    if options.page:
        write(page, options.page)
    return 0 if set(page.rows) == set(names) else 1


if __name__ == "__main__":
    sys.exit(main())
