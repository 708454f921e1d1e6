#!/bin/sh
# runtest of DejaGnu compiles C, without a test to run
#
# Expected: expect, and a shell with uname that guesses the system. Seen (Debian 12, dejagnu 1.6.3, gcc 12.2): 30
# programs. Its config.guess compiles a file to see that there is a cc, and asks its preprocessor twice:
#
#   uname 4, sed 7, expr 4, whoami, expect
#   cc -c -o .../dummy.o .../dummy.c, cc1, as
#   cc -E .../dummy.c, cc1            (which C library?)
#   cc -E -, cc1                      (is it x32?)
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need runtest cc
debian dejagnu==1.6.3
debian gcc-12==12.2
mkdir "$work/project"
cd "$work/project"
observe runtest
expect 1 '^cc -c -o .*/dummy\.o .*/dummy\.c$'
expect 2 '^cc -E '
expect 3 '^cc1 '
expect 1 '^as '
expect 4 '^uname '
