#!/bin/sh
# For psutil there is no process with a thread's id, and Process() makes one of it
#
# Expected: NoSuchProcess, for pid_exists() says False. Seen (psutil 7.2.2): a Process with the thread's id as its pid,
# and with the command line and the parent of the process that the thread is in.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages psutil==7.2.2
cat >"$work/a.py" <<'PYTHON'
import os, threading
import psutil

end = threading.Event()
thread = threading.Thread(target=end.wait)
thread.start()
number = thread.native_id
print("pid_exists()", psutil.pid_exists(number), "pids()", number in psutil.pids())
process = psutil.Process(number)
own = psutil.Process()
print("pid is the thread's", process.pid == number != own.pid)
print("the rest is the process's", process.cmdline() == own.cmdline() and process.ppid() == os.getppid())
end.set()
PYTHON
ends 0 python3 "$work/a.py"
says '^pid_exists\(\) False pids\(\) False$'
says "^pid is the thread's True$"
says "^the rest is the process's True$"
