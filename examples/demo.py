"""What `make demo` shows: a suite that passes, then the same suite with a test in it that catches a regression.

Ends with status 0 only if both came out as they should, so not on a machine that can't probe.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_SUITE = Path(__file__).parent / "release"
_REGRESSION = "test_checksums_offline"


class Outcomes:
    """A pytest plugin that keeps what a run came to."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.skip_reasons: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid.rpartition("::")[2])
        elif report.skipped and isinstance(report.longrepr, tuple):
            self.skip_reasons.add(report.longrepr[2].removeprefix("Skipped: "))


def main() -> None:
    heading("1. A release script's tests, which say what it may execute: all pass")
    status, failed = run_pytest("-v", str(_SUITE / "test_release.py"))
    if status != pytest.ExitCode.OK:
        sys.exit(f"\ndemo: these tests were to pass, and pytest ended with status {status:d}")

    heading("2. The same with a curl slipped into a pipeline: a test fails, and shows who started it")
    status, failed = run_pytest(str(_SUITE))
    if status != pytest.ExitCode.TESTS_FAILED or failed != [_REGRESSION]:
        sys.exit(f"\ndemo: {_REGRESSION} alone was to fail, and these did: {', '.join(failed) or 'none'}")


def heading(text: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{text}{plain}\n", flush=True)


def run_pytest(*arguments: str) -> tuple[int, list[str]]:
    """Its exit status, and the names of the tests that failed. Ends the demo if a test was skipped."""
    outcomes = Outcomes()
    status = pytest.main([*arguments], plugins=[outcomes])
    if outcomes.skip_reasons:
        sys.exit("\ndemo: nothing was shown, for there can be no probe here.\n" + "\n".join(outcomes.skip_reasons))
    return status, outcomes.failed


if __name__ == "__main__":
    main()
