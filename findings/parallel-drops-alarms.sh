#!/bin/sh
# The jobs of GNU parallel ignore SIGALRM
#
# Expected: a job with its signals as parallel's own parent has them. Seen (Debian 12, parallel 20221122), where no
# signal is ignored otherwise: SIGALRM is, and so an alarm that is to end a job does nothing.
#
#   perl -e 'alarm 1; sleep 2; print "slept"'       (Alarm clock, by itself; "slept" as a job)
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need perl
unpacked parallel==20221122
cd "$work"
echo 'alarm 1; sleep 2; print "slept\n"' >a.pl
ends -14 perl a.pl
ends 0 perl root/usr/bin/parallel --will-cite --jobs 1 ::: 'perl a.pl'
says '^slept$'
ends 0 perl root/usr/bin/parallel --will-cite --jobs 1 ::: 'grep SigIgn: /proc/self/status'
says '^SigIgn:[[:space:]]*0000000000002000$'
