#!/bin/sh
# Of the applets that BusyBox's shell runs, some are executed and some are not, and a child's may be another program's
#
# Expected: `ls` and `cat` are each an exec of busybox. Seen (Debian 12, busybox 1.35): in `ls; cat f | wc` none of ls,
# and cat, wc as /proc/self/exe; but `nice ls` executes nice and ls of the machine, and not busybox:
#
#   exe f        (/proc/self/exe, argv[0] "cat")
#   exe          (/proc/self/exe, argv[0] "wc")
#   nice ls      (/usr/bin/nice)
#   ls           (/usr/bin/ls)
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need busybox nice
debian busybox-static==1.35
cd "$work"
busybox | sed 1q
echo hi >f
observe busybox sh -c 'ls; cat f | wc; nice ls; true'
expect 1 '^exe f$'
expect 1 '^exe$'
expect 1 '^nice ls$'
expect 1 '^ls$'
expect 4 ''
