#!/bin/sh
# zig, as a C compiler, executes the machine's
#
# Expected: zig, and zig again as clang; to link in the same process. Seen (ziglang 0.17.1): it asks `cc` for folders of
# headers and of two files, and links in a process of its own:
#
#   cc -E -Wp,-v -xc /dev/null, cc1
#   cc -print-file-name=crt1.o, cc -print-file-name=crtbeginS.o
#   zig clang a.c ...
#   zig ld.lld ...
#
# With -target it does not ask.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need cc
debian gcc-12==12.2
packages ziglang==0.17.1
cd "$work"
echo 'int main(void) { return 0; }' >a.c
observe python -m ziglang cc a.c -o a
expect 1 '^cc -E -Wp,-v -xc /dev/null$'
expect 2 '^cc -print-file-name='
expect 1 '^zig clang a\.c '
expect 1 '^zig ld\.lld '
observe python -m ziglang cc -target x86_64-linux-gnu.2.36 -c a.c -o a.o
expect 0 '^cc '
