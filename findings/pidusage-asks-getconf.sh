#!/bin/sh
# pidusage executes getconf twice, in a shell each
#
# Expected: nothing, it reads /proc. Seen (pidusage 4.1.0), for the first question of a process, not for the second:
#
#   sh -c "getconf CLK_TCK", getconf CLK_TCK
#   sh -c "getconf PAGESIZE", getconf PAGESIZE
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need getconf
modules pidusage@4.1.0
cd "$work"
observe node -e '
const pidusage = require("pidusage");
const ask = () => pidusage(process.pid);
ask().then(ask).then((usage) => console.log(usage.pid));'
expect 1 '^sh -c getconf CLK_TCK$'
expect 1 '^sh -c getconf PAGESIZE$'
expect 2 '^getconf '
expect 4 ''
