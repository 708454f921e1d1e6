#!/bin/sh
# tcsh executes ls before what it is to run
#
# Expected: `tcsh -c true` executes true. Seen (Debian 12, tcsh 6.24.07): each tcsh reads Debian's /etc/csh.cshrc, which
# looks by ls for files in a folder. With -f it does not:
#
#   ls /etc/csh/cshrc.d
#   true
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need tcsh
debian tcsh==6.24.07
grep -q 'cshrc\.d' /etc/csh.cshrc || cannot '/etc/csh.cshrc is not that of Debian'
cd "$work"
observe tcsh -c true
expect 1 '^ls /etc/csh/cshrc\.d$'
expect 1 '^true$'
expect 2 ''
observe tcsh -f -c true
expect 1 ''
