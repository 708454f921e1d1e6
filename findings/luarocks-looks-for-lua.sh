#!/bin/sh
# `luarocks --version` executes 23 programs: most look for a Lua, gcc is asked twice, and a shell for nothing
#
# Expected: lua, and uname once or twice. Seen (Debian 12, luarocks 3.8.0): its first line names lua-any, a script that
# reads three fields of the file by head, grep, cut and two sed each. Then, and no uname:
#
#   lua5.1 /usr/bin/luarocks --version
#   sh -c "gcc -print-multiarch 2>/dev/null > /tmp/lua_..."   (twice, with the gcc)
#   sh -c ""                                                  (an empty command)
#   sh -c "pwd 2> /dev/null"
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need luarocks gcc
debian luarocks==3.8.0
debian lua-any==29
debian lua5.1==5.1.5
cd "$work"
observe luarocks --version
expect 3 '^head /usr/bin/luarocks$'
expect 6 '^sed '
expect 2 '^gcc -print-multiarch$'
expect 1 '^sh -c $'
expect 0 '^uname'
expect 23 ''
