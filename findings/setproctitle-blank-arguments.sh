#!/bin/sh
# After setproctitle the command line of a process is its title and a hundred empty arguments
#
# Expected: the title, as one argument. Seen (setproctitle 1.3.8, psutil 7.2.2): /proc/PID/cmdline is as long as before,
# and cmdline() of psutil has an empty argument for each byte that is left of it; environ() is empty. A process that was
# started without any variable keeps its command line, for the title is not set, and no error is raised.
#
#   ['a title', '', '', '', ...]
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages setproctitle==1.3.8 psutil==7.2.2
cat >"$work/a.py" <<'PYTHON'
import sys
import psutil, setproctitle

process = psutil.Process()
first = process.cmdline()
setproctitle.setproctitle("a title")
arguments = process.cmdline()
if arguments == first:
    print("not set")
else:
    left = sum(len(argument) + 1 for argument in first) - len("a title") - 1
    print(arguments[0], arguments[1:] == [""] * left, left > 20, process.environ())
PYTHON
interpreter=$work/venv/bin/python
ends 0 "$interpreter" "$work/a.py"
says '^a title True True \{\}$'
ends 0 env -i "$interpreter" "$work/a.py"
says '^not set$'
