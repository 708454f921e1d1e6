#!/bin/sh
# Rscript asks for the system's name twice, and removes its folder by a shell
#
# Expected: R, a script with a uname and a sed, and its binary, and at the end a shell with rm. Seen (Debian 12, R
# 4.2.2): 12 for `Rscript -e 1`: three sed, and of the package utils, when it is loaded,
#
#   sh -c "/usr/bin/which 'uname' 2>/dev/null", which uname
#   sh -c "uname -a", uname -a
#
# With --default-packages=base these four are not there.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need Rscript
debian r-base-core==4.2.2.20221110
cd "$work"
observe Rscript -e 1
expect 1 '^uname -m$'
expect 3 '^sed '
expect 1 '^which uname$'
expect 1 '^uname -a$'
expect 1 '^rm -Rf .*/Rtmp'
expect 12 ''
observe Rscript --default-packages=base -e 1
expect 0 '^(which|uname -a)'
expect 8 ''
