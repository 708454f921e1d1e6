#!/bin/sh
# toybox's timeout exits now and then with 127 for a command that ends at once
#
# Expected: the command's status. Seen (Debian 12, toybox 0.8.9): of many runs of `exit 3` some end with 127, which is the
# status of a program that is not there, and nothing is printed: from one in a hundred, started by dash, to every other
# one, by bash. Of a command that takes a fifth of a second the status is right. So it is a race of the command's end
# with what timeout does before it waits.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need bash
unpacked toybox==0.8.9
toybox=$work/root/bin/toybox
cd "$work"
cat >ended.sh <<'BASH'
# Runs the rest of the arguments so often, or until the status has been 127: a line for each status.
times=$1
toybox=$2
shift 2
while [ $((times--)) -gt 0 ]; do
    "$toybox" timeout 9 "$@"
    ended=$?
    echo "status $ended"
    [ $ended -ne 127 ] || break
done
BASH
ends 0 bash ended.sh 20 "$toybox" sh -c 'sleep 0.2; exit 3'
[ "$(sort -u output)" = 'status 3' ] || {
    echo 'changed: of a slow command, too'
    exit "$changed"
}
ends 0 bash ended.sh 4000 "$toybox" sh -c 'exit 3'
sort output | uniq -c
[ "$(sort -u output | tr '\n' ' ' | sed 's/status 3 //')" = 'status 127 ' ] || {
    echo 'changed: it has the status each time'
    exit "$changed"
}
