#!/bin/sh
# The first environment that virtualenv makes in a home leaves two `pip download` behind
#
# Expected: one Python that looks at the interpreter. Seen (virtualenv 21.15.11), with no index to ask: besides that one
# two detached Pythons, for pip and for setuptools, see whether newer ones are to be had for the next environment. Each
# runs pip, and that its user agent's lsb_release and uname. They go on when virtualenv has ended; the second run has none.
#
#   python3.11 .../python_discovery/_py_info_collect.py
#   python3.11 -c 'import sys ...'                            twice
#   python3.11 -c '... runpy.run_module('pip' ...' download   twice
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages virtualenv==21.15.11
mkdir -p "$work/home/.config/pip"
printf '[global]\nno-index = true\n' >"$work/home/.config/pip/pip.conf"
cd "$work"
observe virtualenv -q first
expect 1 '^python[0-9.]* .*_py_info_collect\.py'
expect 2 "^python[0-9.]* -c .*run_module\('pip'.* download "
expect 5 '^python[0-9.]* '
observe virtualenv -q second
expect 0 ''
