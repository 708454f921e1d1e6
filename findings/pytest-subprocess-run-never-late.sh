#!/bin/sh
# Of a process faked by pytest-subprocess subprocess.run() never raises TimeoutExpired
#
# Expected: TimeoutExpired of each way to wait for less than the time that register(wait=...) gives, as Popen.wait() and
# subprocess.call() raise it. Seen (pytest-subprocess 1.6.0): run(), check_output() and communicate() wait the whole time
# and return as if there were no timeout. So a test of what a program does about a slow command never sees it.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages pytest==9.2.0 pytest-subprocess==1.6.0
mkdir "$work/project"
cd "$work/project"
cat >test_a.py <<'PYTHON'
import subprocess

import pytest

WAYS = {
    "wait": lambda: subprocess.Popen(["slow"]).wait(timeout=0.1),
    "call": lambda: subprocess.call(["slow"], timeout=0.1),
    "communicate": lambda: subprocess.Popen(["slow"]).communicate(timeout=0.1),
    "run": lambda: subprocess.run(["slow"], timeout=0.1),
    "check_output": lambda: subprocess.check_output(["slow"], timeout=0.1),
}


@pytest.mark.parametrize("way", WAYS)
def test_slow(fp, way):
    fp.register(["slow"], wait=0.5)
    try:
        WAYS[way]()
    except subprocess.TimeoutExpired:
        print(way, "is late")
    else:
        print(way, "returns")
PYTHON
ends 0 python -m pytest -q -s -p no:cacheprovider test_a.py
for way in wait call; do says "^\.?$way is late$"; done
for way in communicate run check_output; do says "^\.?$way returns$"; done
