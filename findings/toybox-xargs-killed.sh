#!/bin/sh
# toybox's xargs exits with 0 where a signal has ended the command
#
# Expected: 125, as POSIX has it and as xargs of GNU and BusyBox do, which stop there. Seen (Debian 12, toybox 0.8.9):
# the rest is run, nothing is said, and the status is 0. A command that fails is seen (123), and one that exits with 255
# stops it (124).
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need xargs
debian findutils==4.9.0
unpacked toybox==0.8.9
toybox=$work/root/bin/toybox
cd "$work"
printf 'KILL\nTERM\n' >signals
printf '%s\n' '#!/bin/sh' 'echo "with $1"' 'kill -$1 $$' >killed
chmod +x killed
ends 125 xargs -a signals -n 1 ./killed
says '^with KILL$'
says 'terminated by signal 9$'
ends 0 sh -c "'$toybox' xargs -n 1 ./killed <signals"
says '^with KILL$'
says '^with TERM$'
[ "$(wc -l <output)" -eq 2 ] || {
    echo 'changed: it says something'
    exit "$changed"
}
ends 123 sh -c "'$toybox' xargs -n 1 false <signals"
ends 124 sh -c "'$toybox' xargs -n 1 sh -c 'exit 255' <signals"
