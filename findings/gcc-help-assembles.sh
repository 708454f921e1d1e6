#!/bin/sh
# `gcc -Q --help=optimizers` executes the assembler
#
# Expected: cc1, which has the list. Seen (Debian 12, gcc 12.2): it compiles an input that is not there, and assembles
# what cc1 was to write; with -S there is no `as`:
#
#   cc1 ... help-dummy ... --help=optimizers -o /tmp/....s
#   as --64 -o /tmp/....o /tmp/....s
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need gcc
debian gcc-12==12.2
cd "$work"
observe gcc -Q --help=optimizers
expect 1 '^cc1 .*help-dummy .*--help=optimizers'
expect 1 '^as '
expect 2 ''
observe gcc -S -Q --help=optimizers
expect 1 '^cc1 '
expect 1 ''
