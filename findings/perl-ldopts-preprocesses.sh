#!/bin/sh
# perl's ExtUtils::Embed runs the preprocessor to print the linker's options
#
# Expected: none, for they are in perl's own Config. Seen (Debian 12, perl 5.36): it looks for the compiler's folders,
# so a build that only asks how to link executes the compiler, and /bin/pwd:
#
#   pwd
#   sh -c x86_64-linux-gnu-gcc -E -v - </dev/null 2>&1 >/dev/null
#   x86_64-linux-gnu-gcc -E -v -
#   cc1 -E -quiet -v ...
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need perl gcc
debian perl==5.36
perl -MExtUtils::Embed -e 1 2>/dev/null || cannot 'no ExtUtils::Embed'
perl -e 'print "perl $^V\n"'
observe perl -MExtUtils::Embed -e ldopts
expect 1 '^pwd$'
expect 1 '^sh -c .*gcc.* -E -v -'
expect 1 '^cc1 -E '
expect 4 ''
