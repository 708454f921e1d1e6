#!/bin/sh
# SCons asks g++ three times and gcc twice for its version before it compiles a program in C
#
# Expected: `gcc --version` once. Seen (SCons 4.11.1), with no other line in SConstruct than Program("a.c"):
#
#   gcc --version, g++ --version, g++ --version, gcc --version, g++ --version
#
# and then sh -c for each of the two steps. It takes programs from a PATH of its own and not the caller's: a `gcc` in a
# folder that the caller puts first is not the one that is run.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need gcc g++
packages scons==4.11.1
mkdir "$work/project" "$work/first"
cd "$work/project"
echo 'int main(void) { return 0; }' >a.c
echo 'Program("a.c")' >SConstruct
printf '#!/bin/sh\nexit 1\n' >"$work/first/gcc"
chmod +x "$work/first/gcc"
path=$work/first:$path
observe scons
expect 2 '^gcc --version$'
expect 3 '^g\+\+ --version$'
expect 2 '^sh -c gcc '
expect 1 '^cc1 '
