#!/bin/sh
# A program that is started by posix_spawn ignores signals 32 and 33, and so do all below it
#
# Expected: the signals that its parent ignores. Seen (Debian 12, glibc 2.36): these two, which glibc keeps for itself,
# are ignored besides, as /proc/PID/status says (SigIgn), and no program sets them back by glibc, for its sigaction
# refuses their numbers. So it is below make, os.system() and subprocess with close_fds=False, and not below a shell or
# subprocess as it is:
#
#   SigIgn: 0000000180000000
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need make
debian libc6==2.36
debian make==4.3
cd "$work"

# two YES COMMAND...: both signals are ignored in what the command runs, 1, or none of them, 0.
two() {
    wanted=$1
    shift
    mask=$("$@" | sed -n 's/^SigIgn:[[:space:]]*/0x/p')
    echo "$mask: $*" | tr '\n' ' ' | cut -c1-110
    [ $((mask >> 31 & 3)) -eq $((wanted * 3)) ] || {
        echo 'changed: it ignores others'
        exit "$changed"
    }
}
status='["/usr/bin/grep", "SigIgn:", "/proc/self/status"]'
mask=$(sed -n 's/^SigIgn:[[:space:]]*/0x/p' /proc/self/status)
[ $((mask >> 31 & 3)) -eq 0 ] || cannot 'they are ignored already: it was started by posix_spawn'
printf 'all:\n\t@grep SigIgn: /proc/self/status\n' >makefile
two 0 sh -c 'grep SigIgn: /proc/self/status; :'
two 1 make
two 0 python3 -c "import subprocess; subprocess.run($status)"
two 1 python3 -c "import subprocess; subprocess.run($status, close_fds=False)"
two 1 python3 -c "import os; os.system('grep SigIgn: /proc/self/status')"
two 1 python3 -c "import os; os.system('bash -c \"grep SigIgn: /proc/self/status; :\"; :')"
