#!/bin/sh
# systeminformation reads the kernel's log to tell the system's name
#
# Expected: three shells, for the distribution, the host and the machine's id. Seen (systeminformation 5.33.26),
# osInfo(): seven shells, cat, and among what they run
#
#   sh -c "dmesg | grep -E "EFI v"", dmesg, grep       (is it booted by EFI?)
#   sh -c "echo $LANG"
#   sh -c "... /usr/sbin/ip link show up ...", ip      (addresses)
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need dmesg grep
modules systeminformation@5.33.26
cd "$work"
observe node -e 'require("systeminformation").osInfo().then((system) => console.log(system.platform))'
expect 1 '^dmesg$'
expect 1 '^grep -E EFI v$'
# shellcheck disable=SC2016 # as it is run
expect 1 '^sh -c echo \$LANG$'
expect 1 '^sh -c export LC_ALL=C; .*ip link show up'
expect 7 '^sh '
