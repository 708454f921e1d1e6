"""Baselines: a file that people write and merges break is read or refused, and what was read can be asked."""

from __future__ import annotations

import contextlib
from pathlib import Path

import fuzzing

with fuzzing.instrumented():
    from pytest_execprobe.baseline.model import Limit
    from pytest_execprobe.baseline.read import BaselineError, parse_baseline

from fakes import evidence, record

SEEDS = [
    b'version = 1\n[tests."t.py::test_a"]\ngit = 2\nsh = [1, 3]\n"argv:git push" = "any"\n"?" = 1\n',
    b'version = 1\neverywhere = ["locale"]\npatterns = ["subtree:make", "/usr/*"]\n[aliases]\n"python3*" = "python"\n',
    b'version = 1\n[fixtures."*"]\ngit = 0\n[around.collection]\nx = 1\n[total]\nat_most = 3\nprograms = {git = 1}\n',
    b'version = 1\n[packages."tests/a/"]\nat_most = 2\n',
]
WORDS = [b"version = 1\n", b"[tests.", b"[aliases]\n", b"[total]\n", b"at_most = ", b'"any"', b'"subtree:', b'"argv:']
_RAN = evidence(record("git", "push"), record("python3.12"), record(None, executable=None, argv=None), lost=1)


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    # How long a regular expression takes is the business of whoever writes it.
    if "re:" in text:
        return
    with contextlib.suppress(BaselineError):
        baseline = parse_baseline(text, Path("execs.toml"))
        for section, tables in baseline.sections.items():
            for name, rows in tables.items():
                assert all(isinstance(limit, Limit) for limit in rows.limits.values())
                baseline.beyond(rows, _RAN)
                baseline.table(section, name)
            baseline.rows(section, "t.py::test_a")
        for sums in baseline.sums:
            baseline.beyond_sums(sums, _RAN)


if __name__ == "__main__":
    fuzzing.run(check, SEEDS, WORDS)
