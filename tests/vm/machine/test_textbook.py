"""The program that textbooks teach, beside ``execprobe run`` and ``execprobe top``, on the same work."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_execprobe.report import read as reading
from pytest_execprobe.source.connect import HelperSettings

pytestmark = pytest.mark.usefixtures("kernel")

PROJECT = Path(__file__).parents[3]
SYSTEM_PYTHON = "/usr/bin/python3"
PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]

#: Five times true and one ls, each looked for in PATH, and a pipeline: ten programs, and the Python that starts them.
WORK = f"""
import os, subprocess
os.environ["PATH"] = "{":".join(PATH)}"
for _ in range(5):
    subprocess.run(["true"])
subprocess.run(["ls", "/"], stdout=subprocess.DEVNULL)
subprocess.run("seq 3 | sort | head -n 1", shell=True, stdout=subprocess.DEVNULL)
"""
TRUTH = Counter({"python3": 1, "true": 5, "ls": 1, "sh": 1, "seq": 1, "sort": 1, "head": 1})


@contextlib.contextmanager
def counting(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A program that says on its terminal when it counts, and on standard output, when it is interrupted, what."""
    main, side = pty.openpty()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=side, text=True)
    os.close(side)
    try:
        said = b""
        while b"ounting" not in said:
            try:
                said += os.read(main, 4096)
            except OSError:  # it has ended
                pytest.fail(f"{command} does not count:\n{said.decode()}", pytrace=False)
        yield process
    finally:
        process.kill()
        process.communicate()
        os.close(main)


def counted(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    return output


def test_what_they_say(helper: HelperSettings, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    execprobe = [sys.executable, "-m", "pytest_execprobe.cli"]
    work = [SYSTEM_PYTHON, "-I", "-c", WORK]
    with (
        counting(*execprobe, "top", "--json") as top,
        counting(SYSTEM_PYTHON, str(PROJECT / "examples" / "textbook.py")) as textbook,
    ):
        run = [*execprobe, "run", "--helper", str(helper.address), "--report", str(report), "--", *work]
        ran = subprocess.run(run, check=True, stderr=subprocess.PIPE, text=True, timeout=300)
        said = counted(textbook)
        on_the_machine = json.loads(counted(top))
    print(f"textbook.py\n{said}\nexecprobe run\n{ran.stderr}\nexecprobe top\n{json.dumps(on_the_machine['counts'])}")

    (unit,) = reading.read(report).units
    assert unit.complete
    assert unit.programs == TRUTH
    counts = {row["program"]: row["count"] for row in on_the_machine["counts"]}
    assert {program: counts[program] for program in TRUTH if program != "python3"} == TRUTH - Counter(["python3"])

    textbook_counts = dict(ast.literal_eval(said))
    # Nothing that was started by name is there by its name. What is there is who started it, once for each folder of
    # PATH up to the one where the program was, and once for the shell.
    assert not textbook_counts.keys() & {"true", "ls", "seq", "sort", "head"}
    tries = PATH.index("/usr/bin") + 1
    assert textbook_counts["python3"] == 6 * tries + 1
    assert textbook_counts["sh"] == 3
