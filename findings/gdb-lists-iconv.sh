#!/bin/sh
# gdb executes `iconv -l` whenever it starts, before it has a program to debug
#
# Expected: nothing but what is asked for. Seen (Debian 12, gdb 13.1): its list of charsets comes from a program, even
# with -nx -batch and a command that needs none; the program is looked for along PATH:
#
#   iconv -l
#   sh -c true
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need gdb iconv
debian gdb==13.1
gdb --version | sed 1q
observe gdb -nx -batch -ex 'shell true'
expect 1 '^iconv -l$'
expect 1 '^sh -c true$'
expect 2 ''
