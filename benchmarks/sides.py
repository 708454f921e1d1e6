"""What is measured: this checkout and another commit, each installed by pip in an environment of its own; and how their
commands are run.

Nothing is waited for without a limit, and only what was started here is ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairs import Trouble

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
INSIDE = HERE / "inside"
_LIMIT = 300.0  # seconds
_PATIENCE = 15.0  # seconds that a helper may take to end, after its client has

Words = Sequence["str | Path | int"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Without what would change how pytest or Python start."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "VIRTUAL"))}
    return {**kept, "PYTHONHASHSEED": "0", **(extra or {})}


@contextlib.contextmanager
def started(command: Words, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own, which is killed with its children if it has not ended by then."""
    words = [str(word) for word in command]
    try:
        process = subprocess.Popen(words, text=True, start_new_session=True, **options)
    except OSError as error:
        raise Trouble(f"{words[0]} can't be run: {error.strerror}") from error
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def execute(command: Words, *, limit: float = _LIMIT, statuses: Sequence[int] = (0,), **options: Any) -> str:
    """Its standard output. Raises Trouble if it fails, or is not at its end in time."""
    options = {
        "env": environment(),
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        **options,
    }
    with started(command, **options) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{_shown(command)}: not at its end after {limit:g} s") from None
    if process.returncode not in statuses:
        said = "\n".join(f"{output or ''}\n{errors or ''}".strip().splitlines()[-12:])
        raise Trouble(f"{_shown(command)}: status {process.returncode}\n{said}")
    return output or ""


def _shown(command: Words) -> str:
    text = " ".join(str(word) for word in command)
    return text if len(text) < 200 else f"{text[:200]}…"


@dataclass(frozen=True)
class Side:
    """An installed execprobe. Bare is one that is installed and not loaded."""

    name: str
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def execprobe(self) -> Path:
        return self.folder / "bin" / "execprobe"

    def session(
        self,
        suite: str,
        kind: str,
        *options: str | Path,
        work: Path,
        limit: float = _LIMIT,
        prefix: Sequence[str] = (),
        audited: int | None = None,
        **variables: str | int | Path,
    ) -> dict[str, float]:
        """What a suite of ``inside`` says of a session; and ``wall``, the time that it took, and ``ended``, when.

        ``kind`` is what its tests have of the probe. In a bare session the plugin is not loaded. ``audited``: that many
        execs an audit must have recorded, and lost none.
        """
        result = work / "figures.json"
        result.unlink(missing_ok=True)
        plugin = {"bare": ["-p", "no:execprobe"], "unused": []}.get(kind, ["--execprobe=require", *options])
        command = [*prefix, *self.pytest, *plugin, work / "inside" / suite]
        variables = {"kind": kind, "result": result, **variables}
        env = environment({f"BENCH_{name.upper()}": str(value) for name, value in variables.items()})
        began = time.monotonic_ns()
        output = execute(command, cwd=work, env=env, limit=limit)
        ended = time.monotonic_ns()
        self.wait_for_helpers()
        if audited is not None and not re.search(rf"^recorded +{audited} execs? .* 0 lost$", output, re.MULTILINE):
            raise Trouble(f"the audit has not recorded {audited} execs and lost none:\n{output[-2000:]}")
        return {**json.loads(result.read_text()), "ended": ended, "wall": ended - began}

    @property
    def pytest(self) -> list[str | Path]:
        return [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]

    def wait_for_helpers(self) -> None:
        """Until no probe of this side is attached: its helpers detach it by ending."""
        deadline = time.monotonic() + _PATIENCE
        while left := [pid for pid, words in helpers() if any(str(self.folder) in word for word in words)]:
            if time.monotonic() > deadline:
                raise Trouble(f"its probe helper (pid {left[0]}) has not ended {_PATIENCE:g} s after its client")
            time.sleep(0.005)


def helpers() -> Iterator[tuple[int, list[str]]]:
    """The number and the command line of every probe helper on this machine, whoever has started it."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                words = Path("/proc", entry, "cmdline").read_bytes().decode(errors="replace").split("\0")
                if any(word.endswith("/pytest_execprobe/helper") for word in words):
                    yield int(entry), words


def install(name: str, source: Path, folder: Path) -> Side:
    execute([sys.executable, "-m", "venv", folder])
    side = Side(name, folder)
    execute([side.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"{source}[all]"])
    return side


def install_commit(commit: str, folder: Path) -> Side:
    """Another state of this repository, as it was committed."""
    source = folder / "source"
    source.mkdir(parents=True)
    archive = folder / "source.tar"
    execute(["git", "-C", CHECKOUT, "archive", "-o", archive, commit])
    execute(["tar", "-C", source, "-xf", archive])
    return install(commit, source, folder / "venv")
