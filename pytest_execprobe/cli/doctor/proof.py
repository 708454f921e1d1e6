"""The proof: a probe is loaded, a program is run, and the probe is to have seen that program and no other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from signal import SIGKILL
from typing import Any

from ..._util import clock
from ...errors import ProbeUnavailable, SourceLost
from ...source.client import in_words
from ...source.connect import HelperSettings, start_helper
from ...source.events import Batch, Exec, Source
from ...source.stopping import StopError
from .diagnosis import Diagnosis, bad, note, ok

_CHECK, _STOPPING = "proof", "enforcement"
_TIMEOUT = 30.0  # seconds for an exec to be reported
_REPORT = "report this, with all of what is above"


@dataclass(frozen=True)
class Proof:
    """``description`` is the helper's of itself, empty without one; ``stopping`` whether a program can be stopped
    before it runs."""

    finding: Diagnosis
    description: dict[str, Any]
    stopping: Diagnosis | None = None


def known_program() -> list[str]:
    """A program that is there, and that is one exec."""
    true = shutil.which("true")
    return [true] if true is not None else [sys.executable, "-c", "pass"]


def prove(
    settings: HelperSettings,
    start: Callable[[HelperSettings], Source] = start_helper,
    run: Callable[[Sequence[str]], object] = subprocess.call,
    command: Sequence[str] | None = None,
) -> Proof:
    command = command or known_program()
    before = clock.monotonic()
    try:
        source = start(settings)
    except ProbeUnavailable as error:
        found, _, remedy = str(error).removeprefix("execprobe: ").partition(". Fix: ")
        return Proof(bad(_CHECK, found, remedy or "do what this line says"), {})
    loaded = clock.monotonic()
    description = dict(source.description)
    try:
        run(command)
        batch = source.sync(_TIMEOUT)
        seen = clock.monotonic()
        stopping = _stops(source, lambda: run(command), command[0])
    except OSError as error:
        return Proof(
            bad(_CHECK, f"{command[0]} could not be run: {error.strerror}", f"make {command[0]} run"), description
        )
    except SourceLost as error:
        return Proof(bad(_CHECK, f"a probe was loaded, but the helper was lost: {error}", _REPORT), description)
    finally:
        source.close()
    if wrong := _wrong(batch, command[0]):
        return Proof(bad(_CHECK, f"a probe was loaded, but {wrong}", _REPORT), description)
    return Proof(
        ok(
            _CHECK,
            f"a probe was loaded in {loaded - before:.2f} s and saw a program run: {command[0]}, and nothing else,"
            f" after {(seen - loaded) * 1000:.0f} ms. {in_words(description)}",
        ),
        description,
        stopping,
    )


def _stops(source: Source, run: Callable[[], object], program: str) -> Diagnosis:
    """Whether a program that is to be stopped runs. Raises SourceLost."""
    try:
        source.stop([program], clock.monotonic_ns(), _TIMEOUT)
    except StopError as error:
        return note(_STOPPING, f"exec_deny(…, enforce=True) is an error here: {error}")
    status = run()
    if status != -SIGKILL:
        return note(_STOPPING, f"{program} was to be stopped before it ran, and ended with {status}", _REPORT)
    return ok(_STOPPING, f"a program can be stopped before it runs: {program} was (exec_deny(…, enforce=True))")


def _wrong(batch: Batch, program: str) -> str | None:
    """What is wrong with what was seen of one run of a program."""
    execs = [event for event in batch.events if isinstance(event, Exec) and event.error is None]
    if batch.in_flight or batch.unplaced or not batch.complete_to or any(event.lost for event in execs):
        return f"it lost what it saw while {program} ran"
    paths = [str(event.command and event.command.path) for event in execs]
    if paths != [program]:
        return f"of {program} it saw {'nothing' if not paths else ', then '.join(paths)}"
    return None
