#!/bin/sh
# In BusyBox's shell `exec -a NAME` runs the applet NAME, whatever program comes after it
#
# Expected: the program with NAME as its argv[0], as in bash, zsh and ksh. Seen (Debian 12, busybox 1.35): where the
# program is an applet the shell executes BusyBox by NAME, and that goes by it. `exec -a x sleep 0` is "applet not
# found", and `exec -a echo sleep 0` prints 0. Of a program by its path it is as in bash.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need busybox bash
debian busybox-static==1.35
ends 0 bash -c 'exec -a x sleep 0'
ends 0 bash -c 'exec -a echo sleep 0'
[ ! -s "$work/output" ]
ends 0 busybox sh -c 'exec sleep 0'
ends 127 busybox sh -c 'exec -a x sleep 0'
says '^x: applet not found$'
ends 0 busybox sh -c 'exec -a echo sleep 0'
says '^0$'
ends 0 busybox sh -c 'exec -a x /bin/sleep 0'
