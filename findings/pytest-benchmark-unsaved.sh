#!/bin/sh
# pytest-benchmark asks git, hg and file about the machine although nothing is saved
#
# Expected: the nine of py-cpuinfo (lscpu and others), for it describes the machine, and no version control, for nothing
# is stored. Seen (pytest-benchmark 5.3.1, pytest 9.2.0): nothing of py-cpuinfo, which --benchmark-json asks, but `git
# rev-parse --git-dir`, an attempt of `hg`, and `file -b` of the interpreter (platform.architecture), in each run:
#
#   git rev-parse --git-dir
#   file -b .../bin/python3.11
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need git file lscpu
packages pytest==9.2.0 pytest-benchmark==5.3.1
mkdir "$work/project"
cd "$work/project"
cat >test_a.py <<'PYTHON'
def test_a(benchmark):
    benchmark(len, "a")
PYTHON
observe python -m pytest -q -p no:cacheprovider --benchmark-max-time=0.1 test_a.py
expect 1 '^git rev-parse --git-dir$'
expect 1 '^file -b '
expect 0 '^(lscpu|sysctl|dmesg)'
grep -qE 'execve\("[^"]*/hg", .* = -1' "$work/trace" || {
    command -v hg >/dev/null || { echo 'changed: hg was not tried'; exit "$changed"; }
}
observe python -m pytest -q -p no:cacheprovider --benchmark-max-time=0.1 --benchmark-json=a.json test_a.py
expect 1 '^lscpu'
