#!/bin/sh
# What catatonit starts has SIGTSTP, SIGTTIN and SIGTTOU blocked, and Ctrl-Z does not stop it
#
# Expected: a child with no signal blocked, as from tini and dumb-init. Seen (Debian 12, catatonit 0.1.7): these three
# stay blocked in the program and in all below it, so that SIGTSTP, which the terminal sends, does nothing until a shell
# of its own sets it back.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

unpacked catatonit==0.1.7 tini==0.19.0 dumb-init==1.2.5
bin=$work/root/usr/bin
[ "$(sed -n 's/^SigBlk:[[:space:]]*//p' /proc/self/status)" = 0000000000000000 ] || cannot 'a signal is blocked already'
# Stops a sleep that it starts, once that is executed.
cat >"$work/stopped.py" <<'PYTHON'
import os, signal, subprocess

print(next(line.strip() for line in open("/proc/self/status") if line.startswith("SigBlk")))
sleep = subprocess.Popen(["sleep", "0.5"])
os.kill(sleep.pid, signal.SIGTSTP)
ended = os.waitpid(sleep.pid, os.WUNTRACED)[1]
print("stopped" if os.WIFSTOPPED(ended) else "ended")
sleep.kill()
PYTHON
ends 0 "$bin/dumb-init" grep SigBlk /proc/self/status
says '^SigBlk:[[:space:]]*0000000000000000$'
ends 0 "$bin/tini" -s -- python3 "$work/stopped.py"
says '^SigBlk:[[:space:]]*0000000000000000$'
says '^stopped$'
ends 0 "$bin/catatonit" -- python3 "$work/stopped.py"
says '^SigBlk:[[:space:]]*0000000000380000$'
says '^ended$'
