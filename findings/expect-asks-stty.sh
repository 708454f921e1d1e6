#!/bin/sh
# expect's spawn executes a shell and stty before the program
#
# Expected: the program that is spawned. Seen (Debian 12, expect 5.45.4), for each spawn:
#
#   sh -c "/bin/stty sane < /dev/pts/..."
#   stty sane
#   ls
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need expect stty
debian expect==5.45.4
cd "$work"
observe expect -c 'spawn ls; expect eof; spawn ls; expect eof'
expect 2 '^sh -c /bin/stty sane < '
expect 2 '^stty sane$'
expect 2 '^ls$'
expect 6 ''
