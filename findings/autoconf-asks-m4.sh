#!/bin/sh
# autoconf executes m4 twice to learn what it can, also when there is nothing to do
#
# Expected: autom4te, and m4 once or twice; nothing below autom4te where its cache holds. Seen (Debian 12, autoconf 2.71,
# m4 1.4.19), for two lines: 15, and 13 in the second run, of them
#
#   sh -c "m4 --help </dev/null 2>&1 | grep reload-state >/dev/null", m4, grep
#   sh -c "echo dumpdef | m4 --nesting-limit=1024 2>&1 >/dev/null", m4
#   expr and basename 5     (the command is a shell script)
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need autoconf m4
debian autoconf==2.71
debian m4==1.4.19
cd "$work"
printf 'AC_INIT([a],[1])\nAC_OUTPUT\n' >configure.ac
for run in 15/5 13/4; do
    observe autoconf
    expect 1 '^m4 --help$'
    expect 1 '^grep reload-state$'
    expect 1 '^m4 --nesting-limit=1024$'
    expect "${run#*/}" '^m4 '
    expect 5 '^(expr|basename) '
    expect "${run%/*}" ''
done
