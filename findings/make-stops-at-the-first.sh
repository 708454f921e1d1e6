#!/bin/sh
# Where the first program of its name on PATH is a script without its interpreter, some run the second and some fail
#
# Expected: make goes by execvp, as env and xargs do, and that goes on to the next folder where an exec ends with
# ENOENT; of bash 126. Seen (Debian 12): the second script runs, without a word of the first, by dash, env, xargs, find,
# Python and perl. make 4.3, git 2.39 (an alias) and bash 5.2 look for the file themselves and fail at the first, bash
# with 127. The programs of a virtual environment whose Python has been removed are such scripts.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need dash env xargs find perl make git bash
debian make==4.3
debian git==2.39
debian dash==0.5.12
debian bash==5.2.15
cd "$work"
mkdir first second
printf '#!%s/none/python\n' "$work" >first/tool
printf '#!/bin/sh\necho the second\n' >second/tool
chmod +x first/tool second/tool
path=$work/first:$work/second:$path
printf 'all:\n\t@tool\n' >makefile
ends 0 dash -c 'tool; exit $?'
says '^the second$'
ends 0 env tool
says '^the second$'
ends 0 xargs tool
says '^the second$'
ends 0 find makefile -exec tool ';'
says '^the second$'
ends 0 python3 -c 'import subprocess; subprocess.run(["tool"])'
says '^the second$'
ends 0 perl -e 'system("tool")'
says '^the second$'
ends 2 make
says '^make: .*tool: No such file or directory$'
ends 128 git -c 'alias.a=!tool' a
says "'tool': No such file or directory$"
ends 127 bash -c 'tool; exit $?'
says ': cannot execute: required file not found$'
