#!/bin/sh
# xonsh executes uname before it runs a command, and dircolors before an `ls`
#
# Expected: the command alone. Seen (xonsh 0.25.0), with --no-rc and no terminal:
#
#   xonsh --no-rc -c true           uname -p, true
#   xonsh --no-rc -c 'ls > f'       uname -p, dircolors -b, ls --color=auto -v
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need uname dircolors
packages xonsh==0.25.0
cd "$work"
observe xonsh --no-rc -c true
expect 1 '^uname -p$'
expect 1 '^true$'
expect 2 ''
observe xonsh --no-rc -c 'ls > f'
expect 1 '^dircolors -b$'
expect 1 '^ls --color=auto'
