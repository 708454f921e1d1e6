"""Coverage-guided fuzzing of what reads bytes that somebody else wrote.

Each ``fuzz_NAME.py`` beside this file is one target: ``check(data)`` is given bytes and may raise only where the
product is wrong, and ``SEEDS`` are inputs to begin with. To let one run for a minute::

    python3 -m venv build/fuzz
    build/fuzz/bin/pip install atheris pytest tomli
    build/fuzz/bin/python tests/fuzz/fuzz_reader.py -max_total_time=60

All options of libFuzzer work. What was found worth keeping is in ``build/fuzz-corpus/NAME``, and a next run goes on
from there. An input that makes ``check`` fail is written to ``build/``, and is run again by naming it::

    build/fuzz/bin/python tests/fuzz/fuzz_reader.py build/reader-crash-…

What a run finds becomes a case of an ordinary test, once it is mended. The ordinary tests also put the seeds through
every target (tests/unit/test_fuzz_targets.py), without atheris, so that no target falls behind the code.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests")]

try:
    import atheris
except ImportError:
    atheris = None


def instrumented() -> contextlib.AbstractContextManager[object]:
    """What is imported within, of the product, tells atheris where it went."""
    if atheris is None:
        return contextlib.nullcontext()
    return atheris.instrument_imports(include=["pytest_execprobe"])  # type: ignore[no-any-return]


class Bytes:
    """Numbers and pieces from the front of an input. An input that is used up gives zeros and empty pieces."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def rest(self) -> bytes:
        return self._data

    def number(self, size: int = 1) -> int:
        return int.from_bytes(self.take(size), "little")

    def take(self, size: int) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def cut(self) -> list[bytes]:
        """All that is left, in pieces as the input itself says."""
        pieces = []
        while self._data:
            pieces.append(self.take(1 + self.number()))
        return pieces


def run(check: Callable[[bytes], None], seeds: Iterable[bytes], words: Iterable[bytes] = ()) -> None:
    """Runs a target until libFuzzer has had enough. ``words`` are what an input is likely to hold."""
    if atheris is None:
        sys.exit("atheris is missing: tests/fuzz/fuzzing.py says how to get it")
    name = Path(sys.argv[0]).stem.partition("_")[2]
    corpus = _ROOT / "build" / "fuzz-corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = corpus.parent / f"{name}.dict"
    dictionary.write_text(
        "".join('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word)) for word in words), encoding="ascii"
    )
    options = [f"-artifact_prefix={_ROOT}/build/{name}-", f"-dict={dictionary}", "-timeout=10", "-rss_limit_mb=1024"]
    given = sys.argv[1:]
    if all(word.startswith("-") for word in given):
        options.append(str(corpus))
    atheris.Setup([sys.argv[0], *options, *given], check)
    atheris.Fuzz()
