"""Stored reports, which come from other machines: read or refused, and what was read is written the same."""

from __future__ import annotations

import fuzzing

with fuzzing.instrumented():
    from pytest_execprobe.report import read as reading

from documents import dump, good, hostile, rich

SEEDS = [dump(document()).encode() for document in (good, rich, hostile)]
WORDS = [f'"{name}":'.encode() for name in ("parent", "previous", "id", "run", "phases", "uncounted", "lost", "strays")]
WORDS += [b"null", b"true", b"[]", b"{}", b"1e999", b"NaN", b"-1", b'"\\ud800"']


def check(data: bytes) -> None:
    try:
        document = reading.load(data.decode("utf-8", "replace"))
    except reading.DocumentError:
        return
    written = dump(document)
    assert dump(reading.load(written)) == written


if __name__ == "__main__":
    fuzzing.run(check, SEEDS, WORDS)
