#!/bin/sh
# run() of subprocess-tee, "a drop-in replacement", takes timeout= and input= and heeds neither
#
# Expected: TimeoutExpired, and the text on the command's standard input, as of subprocess.run, or a TypeError. Seen
# (subprocess-tee 0.4.2): with timeout=0.5 a sleep of two seconds ends with status 0; with input="a" cat prints
# nothing.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages subprocess-tee==0.4.2
cat >"$work/a.py" <<'PYTHON'
import subprocess, time

import subprocess_tee

start = time.monotonic()
print(subprocess_tee.run("sleep 2", timeout=0.5).returncode, time.monotonic() - start >= 2)
for run in (subprocess.run, subprocess_tee.run):
    print(repr(run("cat", shell=True, input="a", stdout=subprocess.PIPE, text=True).stdout))
PYTHON
ends 0 python "$work/a.py"
says '^0 True$'
says "^'a'$"
says "^''$"
