#!/bin/sh
# strace shows half of a successful exec by another thread than the first: with -z its end, with --seccomp-bpf its start
#
# Expected: a call and its result, 0, for -z leaves out what fails, and --seccomp-bpf nothing that is traced. Seen (Debian
# 12, strace 6.1), where a thread of Python executes echo: without an option the call and the result, in two lines. With
# -z the line that has the path is not there; with --seccomp-bpf the result is a question mark, as for one that has not
# returned:
#
#   execve("/usr/bin/echo", ["echo", "a"], ... <pid changed to 4821 ...>    (none with -z)
#   +++ superseded by execve in pid 4822 +++
#   <... execve resumed>) = 0                                               (= ? with --seccomp-bpf)
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need strace
debian strace==6.1
cd "$work"
cat >a.py <<'PYTHON'
import os, threading

thread = threading.Thread(target=lambda: os.execv("/bin/echo", ["echo", "a"]))
thread.start()
thread.join()
PYTHON
python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')

# shows OPTION CALLS RESULT: what strace has of echo's exec.
shows() {
    # shellcheck disable=SC2086 # there may be no option
    strace -f $1 -e trace=execve -e signal=none -o trace "$python" a.py >output
    grep -v exited trace | cut -c1-110
    grep -qx a output
    [ "$(grep -c '"/bin/echo", .* <pid changed to ' trace)" -eq "$2" ] &&
        [ "$(grep -c "<\.\.\. execve resumed>) *= $3\$" trace)" -eq 1 ] || {
        echo "changed: strace $1 shows something else"
        exit "$changed"
    }
}
shows '' 1 0
shows -z 0 0
shows --seccomp-bpf 1 '?'
