#!/bin/sh
# ldd executes the loader three times for each file
#
# Expected: twice, to verify the file and to list its libraries. Seen (Debian 12, libc-bin 2.36): ldd is a bash script
# that first runs each loader there is with --version, anew for every file, so two files are six:
#
#   ld-linux-x86-64.so.2 --version
#   ld-linux-x86-64.so.2 --verify /bin/true
#   ld-linux-x86-64.so.2 /bin/true
#   (the same three for /bin/ls)
#
# The last one is the program itself, with LD_TRACE_LOADED_OBJECTS set, though no program named `true` is executed.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need ldd
debian libc-bin==2.36
[ -e /lib64/ld-linux-x86-64.so.2 ] || cannot 'not x86-64 with glibc'
ldd --version | sed 1q
observe ldd /bin/true /bin/ls
expect 6 '^ld-linux'
expect 2 '^ld-linux.* --version$'
expect 2 '^ld-linux.* --verify /bin/(true|ls)$'
expect 2 '^ld-linux\S* /bin/(true|ls)$'
expect 6 ''
