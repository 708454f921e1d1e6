#!/bin/sh
# `perf stat` of a command that a signal ends exits with 0, and so it does of one that fails too soon
#
# Expected: 137, or the end by the same signal, for it passes on the status of a command that exits. Seen (Debian 12,
# perf 6.1): it says "sh: Killed" and exits with 0, where `perf record` ends by the signal. The status of a command that
# ends before perf waits for it is lost, too: of a command as short as `exit 3` about once in fifteen times, and of each that
# ends within the time that -D gives.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need perf
debian linux-perf==6.1
perf stat -e task-clock -o "$work/counts" true >"$work/output" 2>&1 || cannot 'perf may not count'
ends 3 perf stat -e task-clock -o "$work/counts" sh -c 'sleep 0.5; exit 3'
ends 0 perf stat -e task-clock -o "$work/counts" -D 500 sh -c 'exit 3'
# shellcheck disable=SC2016 # $$ is the inner shell's
{
    ends -9 perf record -q -e task-clock -o "$work/data" sh -c 'sleep 0.2; kill -KILL $$'
    ends 0 perf stat -e task-clock -o "$work/counts" sh -c 'sleep 0.5; kill -KILL $$'
}
says '^sh: Killed$'
