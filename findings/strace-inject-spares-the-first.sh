#!/bin/sh
# An error that strace injects into execve never meets the program that strace starts
#
# Expected: with `-e inject=execve:error=EPERM` the command can't be executed, and strace ends with an error. Seen
# (Debian 12, strace 6.1): it is, and does not count: `when=1` is the next exec of that process. So of `env ls` it is
# the ls, and of `ls` alone nothing.
#
#   execve("/usr/bin/env", ["env", "ls"], ...) = 0
#   execve("/usr/sbin/ls", ["ls"], ...) = -1 EPERM (Operation not permitted) (INJECTED)
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need strace
debian strace==6.1
cd "$work"
strace true >output 2>&1 || cannot 'strace may not trace'
ends 0 strace -e trace=execve -e inject=execve:error=EPERM ls
ends 0 strace -e trace=execve -e inject=execve:error=EPERM:when=1 ls
ends 126 strace -e trace=execve -e inject=execve:error=EPERM:when=1 env ls
says '^execve\(".*/env", .* = 0$'
says '^execve\(".*/ls", .* = -1 EPERM \(Operation not permitted\) \(INJECTED\)$'
