#!/bin/sh
# gcc -flto=2 executes make twice, and a shell with touch and mv
#
# Expected: make once, where it is given two jobs, and no shell. Seen (Debian 12, gcc 12.2, make 4.3), for one file:
#
#   cc1, as, collect2, ld, lto-wrapper
#   make --version                       (to see whether there is one)
#   gcc, lto1                            (the whole program)
#   make -f /tmp/....mk -j2 all          (a makefile of its own)
#   gcc, lto1, as                        (the one part)
#   sh -c "touch -r ... && mv ..."       (empties the part's file), touch, mv
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need gcc make
debian gcc-12==12.2
cd "$work"
gcc --version | sed 1q
echo 'int main(void) { return 0; }' >a.c
observe gcc -O2 -flto=2 a.c -o a
expect 1 '^make --version$'
expect 1 '^make -f .* -j2 all$'
expect 1 '^sh -c touch '
expect 1 '^touch '
expect 1 '^mv '
expect 2 '^lto1 '
