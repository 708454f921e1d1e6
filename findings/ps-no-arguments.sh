#!/bin/sh
# What was executed without a single argument is a question mark in ps and pgrep
#
# Expected: its name in brackets, as of a process that has no command line. Seen (Debian 12, procps 4.0.2), from Linux
# 5.18 on, which puts an empty string where a program would have none: the command line is one NUL, ps and pgrep show it
# as `?`, and `pgrep -f` finds no word of it:
#
#   ps -o comm=,args=    sleeper         ?
#   pgrep -a sleeper     4821 ?
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need ps pgrep
debian procps==4.0.2
cd "$work"
mkfifo input output
cp "$(readlink -f "$(command -v cat)")" sleeper
cat >a.py <<'PYTHON'
import ctypes

none = (ctypes.c_char_p * 1)(None)
ctypes.CDLL(None).execve(b"./sleeper", none, none)
PYTHON
python3 a.py <input >output &
pid=$!
exec 3>input 4<output
echo runs >&3 # sleeper is cat: it has been executed when this has come back, and waits for more
read -r line <&4
[ "$line" = runs ]
length=$(wc -c <"/proc/$pid/cmdline")
[ "$length" -eq 1 ] || cannot 'before Linux 5.18 there is no argument at all'
ps -o comm=,args= -p "$pid" | tee shown
pgrep -a -x sleeper | grep "^$pid " | tee found
named=$(pgrep -f sleeper | grep -cx "$pid" || :)
exec 3>&-
wait "$pid"
if ! grep -qE '^sleeper +\?$' shown || [ "$(cat found)" != "$pid ?" ] || [ "$named" -ne 0 ]; then
    echo 'changed: it is shown in another way'
    exit "$changed"
fi
