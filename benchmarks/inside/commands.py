"""Runs a command so many times, one after the other, and prints how many ns that took: TIMES COMMAND..."""

from __future__ import annotations

import subprocess
import sys
import time

begin = time.monotonic_ns()
for _ in range(int(sys.argv[1])):
    subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL)
print(time.monotonic_ns() - begin)
