#!/bin/sh
# zgrep executes grep twice for one file
#
# Expected: gzip and grep, once each. Seen (Debian 12, gzip 1.12): it first tries whether this grep knows --label:
#
#   grep -H --label=l e
#   gzip -cdfq -- f.gz
#   grep --label f.gz -- hi
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need zgrep gzip
debian gzip==1.12
cd "$work"
zgrep --version | sed 1q
echo hi | gzip >f.gz
observe zgrep hi f.gz
expect 1 '^grep -H --label=l e$'
expect 1 '^gzip .*f\.gz$'
expect 1 '^grep --label.* hi$'
expect 3 ''
