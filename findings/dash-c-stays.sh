#!/bin/sh
# `dash -c ls` is two processes, and `bash -c ls` one
#
# Expected: the shell becomes the command, where it is the only one or the last of a list. Seen (Debian 12, dash 0.5.12,
# bash 5.2): bash does both; dash, which is /bin/sh, makes a process for each command, unless it is `exec ls`. So a
# signal to the process that was started is one to ls in bash, and to the shell alone in dash.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need dash bash
debian dash==0.5.12
debian bash==5.2.15
cd "$work"
# In so many processes what is in the trace was executed.
processes() {
    found=$(grep 'execve.*= 0$' "$work/trace" | cut -d' ' -f1 | sort -u | wc -l)
    if [ "$found" -ne "$1" ]; then
        echo "changed: $found and not $1 processes"
        exit "$changed"
    fi
}
observe bash -c ls
processes 1
observe bash -c 'ls; ls'
processes 2
observe dash -c 'exec ls'
processes 1
observe dash -c ls
expect 1 '^ls$'
processes 2
observe dash -c 'ls; ls'
expect 2 '^ls$'
processes 3
