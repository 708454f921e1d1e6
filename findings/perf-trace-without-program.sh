#!/bin/sh
# `perf trace` exits with 0, for a command that fails or is killed, and for a program that is not there
#
# Expected: the command's status, or for a program that could not be run at least 255, which `perf stat` and `perf
# record` exit with. Seen (Debian 12, perf 6.1): 0 for each, beside the message that there is no such file.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need perf
debian linux-perf==6.1
perf trace -o "$work/calls" true >"$work/output" 2>&1 || cannot 'perf may not trace'
ends 255 perf stat -o "$work/counts" "$work/none"
ends 255 perf record -q -e task-clock -o "$work/data" "$work/none"
ends 0 perf trace -o "$work/calls" "$work/none"
says 'none: No such file or directory$'
ends 0 perf trace -o "$work/calls" sh -c 'sleep 0.3; exit 3'
# shellcheck disable=SC2016 # $$ is the inner shell's
ends 0 perf trace -o "$work/calls" sh -c 'sleep 0.3; kill -KILL $$'
