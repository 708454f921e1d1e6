#!/bin/sh
# `strace -Y` goes on naming a process by the program before its last
#
# Expected: each line has the name of the program that made the call. Seen (Debian 12, strace 6.1): of two execs in one
# process it follows the first alone, and so what ls writes stands under env:
#
#   [pid ...<sh>] execve("/usr/bin/env", ["env", "ls", "a"], ...) = 0
#   [pid ...<env>] execve("/usr/bin/ls", ["ls", "a"], ...) = 0
#   [pid ...<env>] write(1, "a\n", 2) = 2
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need strace
debian strace==6.1
cd "$work"
touch a
strace -f -Y -e trace=execve,write -e signal=none -o trace sh -c 'env ls a; :' >output
sed -nE 's/^([0-9]+)(<[a-z]+>)? +/pid \2 /; /= -1|exited/!p' trace | tee lines | cut -c1-110
grep -q '^pid <sh> execve("[^"]*/env"' lines
grep -q '^pid <env> execve("[^"]*/ls"' lines
grep -qF 'pid <env> write(1, "a\n"' lines || {
    echo 'changed: the name is another'
    exit "$changed"
}
