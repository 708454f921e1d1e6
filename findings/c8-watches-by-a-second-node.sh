#!/bin/sh
# c8 executes a second node that watches over the first
#
# Expected: the command, here node once. Seen (c8 12.0.0, foreground-child 3.3.1): with each command a node with a script
# on its command line that ends the command when c8 is killed:
#
#   node -e 1
#   node -e "const pid = parseInt(process.argv[1], 10) process.title = 'node (foreground-child watchdog ..." ...
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

modules c8@12.0.0 foreground-child@3.3.1
mkdir "$work/project"
cd "$work/project"
observe c8 node -e 1
expect 1 '^node -e 1$'
expect 1 '^node -e .*foreground-child watchdog'
expect 3 ''
