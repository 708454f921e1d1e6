#!/bin/sh
# node-gyp builds by shells that run a comment each
#
# Expected: python twice to configure; make, cc and g++ to build. Seen (node-gyp 12.4.0, make 4.3), for one file of C:
# python three times, and a uname; then 35 below node, of them four compilations and links and
#
#   sh -c "# The depfile may not exist if the input file didn't have any #includes."   (six such)
#   printf "%s\\n" "  CC(target) ..."                                                  (the program, three times)
#   mkdir 3, sed 3, touch, grep, rm, ln
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need make cc g++ printf
debian make==4.3
modules node-gyp@12.4.0
prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
[ -e "$prefix/include/node/common.gypi" ] || cannot "no headers of node in $prefix"
mkdir "$work/project"
cd "$work/project"
echo '{"name": "a", "version": "1.0.0"}' >package.json
echo '{"targets": [{"target_name": "a", "sources": ["a.c"]}]}' >binding.gyp
echo 'int a;' >a.c
observe node-gyp configure --nodedir="$prefix"
expect 3 '^python3'
expect 1 '^uname$'
observe node-gyp build --nodedir="$prefix"
expect 6 '^sh -c # '
expect 3 '^printf '
expect 1 '^cc1 '
