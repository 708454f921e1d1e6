"""What the plugin does for a test in which nothing runs, counted in calls of its functions: time differs from machine
to machine."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(60), pytest.mark.bpf]

COUNTS = """
import importlib, sys

TESTS, calls = 50, []
sys.addaudithook(lambda event, _: event == "sys.addaudithook" and calls.extend([event] * 10000))  # is not traced

def count(frame, event, _):
    if event == "call" and "/pytest_execprobe/" in frame.f_code.co_filename:
        calls.append(frame.f_code.co_name)

def pytest_runtest_logstart(nodeid):
    if "[10]" in nodeid:
        sys.setprofile(count)
    elif f"[{10 + TESTS}]" in nodeid:
        sys.setprofile(None)

def import_again():
    for name in ["argparse", "ast", "csv", "decimal", "json", "json.decoder", "optparse", "textwrap"]:
        sys.modules.pop(name, None)
        importlib.import_module(name)

def pytest_unconfigure():
    print("calls", len(calls) // TESTS)
"""


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("@pytest.mark.exec_budget(0)\ndef test(n): pass", 102),
        ("def test(n, execprobe): assert execprobe.count() == 0", 131),
        ("def test(n, execprobe):\n    conftest.import_again()\n    assert execprobe.count() == 0", 131),
    ],
    ids=["rule", "read", "read after imports"],
)
def test_a_test_in_which_nothing_runs_takes_few_calls(pytester: pytest.Pytester, text: str, most: int) -> None:
    pytester.makeconftest(COUNTS)
    pytester.makepyfile(f"import conftest\nimport pytest\n\n@pytest.mark.parametrize('n', range(70))\n{text}")
    result = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=70)
    (number,) = [int(line.split()[1]) for line in result.outlines if line.startswith("calls ")]
    print(f"{number} calls for a test")
    assert 0 < number <= most
