"""The unprivileged end of ``execprobe top``: starts the process that counts, and reads what it writes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .._util.fields import Fields, is_whole
from ..errors import ProbeUnavailable, SourceLost
from ..source.launch import PYTHON_VARIABLE, helper_command, helper_environment, interpreters, no_interpreter

_ELSEWHERE = ("no-bcc", "wrong-bcc", "old-bcc")  # another interpreter may do
_PATIENCE = 10.0  # seconds that the helper has to end


# ---- what it says ----


@dataclass(frozen=True)
class TopFailed:
    """There can be no probe. The code is for programs, and the names are of probes that may have been meant."""

    code: str
    reason: str
    remedy: str
    near: tuple[str, ...]

    def __str__(self) -> str:
        near = f". Near it: {', '.join(self.near)}" if self.near else ""
        remedy = f". Fix: {self.remedy}" if self.remedy else ""
        return self.reason + near + remedy


@dataclass(frozen=True)
class TopAttached:
    """It counts from now on."""

    where: tuple[str, ...]


@dataclass(frozen=True)
class TopCounts:
    """All that was counted since the probe was attached, the most first: by name, or by the user's number.

    ``no_room`` were seen when there were too many names, ``missed`` were not seen: None where the kernel has no count.
    """

    elapsed: float
    by: tuple[tuple[str | int, int], ...]
    no_room: int
    missed: int | None
    last: bool

    @property
    def total(self) -> int:
        return sum(count for _, count in self.by) + self.no_room


Message = TopFailed | TopAttached | TopCounts


def parse_line(line: bytes) -> Message:
    """Raises ValueError for what the helper can't have written."""
    fields = Fields(json.loads(line), "", ValueError, "the line")
    kind = fields.choice("type", ("failed", "attached", "counts"))
    if kind == "failed":
        code, reason, remedy = map(fields.text, ("code", "reason", "remedy"))
        return TopFailed(code, reason, remedy, tuple(fields.texts("near")))
    if kind == "attached":
        return TopAttached(tuple(fields.texts("where")))
    by = [_count(pair) for pair in fields.items("counts")]
    # Of equals the first by name is first: so nothing moves about on the screen.
    by.sort(key=lambda pair: (-pair[1], str(pair[0])))
    missed = fields.maybe(fields.whole, "missed")
    return TopCounts(fields.real("elapsed"), tuple(by), fields.whole("no_room"), missed, fields.flag("last"))


def _count(pair: Any) -> tuple[str | int, int]:
    if not isinstance(pair, list) or len(pair) != 2 or not is_whole(pair[1]):
        raise ValueError(f"{pair!r} expected a name and a count")
    key, count = pair
    if not isinstance(key, str) and not is_whole(key):
        raise ValueError(f"{key!r} is neither a name nor a user's number")
    return key, count


# ---- the process ----


class Counting:
    """The helper that counts, perhaps with sudo before it. It ends when its standard input does."""

    def __init__(self, command: Sequence[str], *, asks: bool) -> None:
        # Where sudo asks for a password, what it says of a wrong one is to be read at once.
        self._words = None if asks else os.memfd_create("execprobe-stderr")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, env=helper_environment()
        )

    def messages(self) -> Iterator[Message]:
        """Until it ends. Raises SourceLost for what it can't have written."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):
                return  # it was killed within it
            try:
                yield parse_line(line)
            except ValueError as error:
                raise SourceLost(f"the helper that counts wrote what can't be read: {error}") from error

    def end_input(self) -> None:
        """Lets it end, with its last counts still to come."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def last_words(self) -> str:
        """What there is to say of a helper that has said nothing itself."""
        status = self._process.wait()
        said = "" if self._words is None else os.pread(self._words, 2000, 0).decode("utf-8", "replace").strip()
        return said.splitlines()[-1] if said else f"it ended with status {status}"

    def close(self) -> None:
        self.end_input()
        assert self._process.stdout is not None
        self._process.stdout.close()  # or it might wait for its words to be read
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            with suppress(PermissionError):  # sudo is root's; it ends with what it runs
                self._process.kill()
        if self._words is not None:
            os.close(self._words)


def start_counting(prefix: Sequence[str], python: str | None, options: Sequence[str], *, asks: bool) -> Counting:
    """A helper that counts by now. ``prefix`` is the route to its privilege, ``options`` are its own; ``asks``: the
    route may ask for a password.

    Raises ProbeUnavailable with reason and remedy.
    """
    tried = []
    for path in interpreters(python, f"--python or {PYTHON_VARIABLE}"):
        helper = Counting(helper_command(prefix, path, "top", *options), asks=asks)
        try:
            first = next(helper.messages(), None)
            if isinstance(first, TopAttached):
                return helper
            tried.append(f"{path}: {_why_not(first, helper, prefix)}")
        except BaseException:
            helper.close()
            raise
        helper.close()
    raise no_interpreter(tried, "--python")


def _why_not(first: Message | None, helper: Counting, prefix: Sequence[str]) -> str:
    """Why this interpreter does not do. Raises ProbeUnavailable if no other would."""
    if isinstance(first, TopFailed):
        if first.code not in _ELSEWHERE:
            raise ProbeUnavailable(str(first))
        return first.reason
    said = helper.last_words()
    if prefix and ("sudo:" in said or "-n" not in prefix):
        raise ProbeUnavailable(
            f"the probe needs privilege, and sudo did not give it ({said}). Run execprobe as root, or allow this user"
            " to run its helper (docs/top.md has the line for sudo)"
        )
    return f"the helper did not start ({said})"
