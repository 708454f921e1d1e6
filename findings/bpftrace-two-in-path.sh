#!/bin/sh
# `bpftrace -c` refuses a program that PATH has twice
#
# Expected: the first is executed, as by execvp. Seen (Debian 12, bpftrace 0.17.0): it is refused, and since /bin is a
# link to /usr/bin there, so is each program by its name alone where PATH has both folders:
#
#   Failed to fork child: path 'true' must refer to a unique binary but matched 2 binaries
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

unpacked bpftrace==0.17.0 libbpfcc==0.26.0 libbpf1==1.1 libclang1-14==14.0.6 libllvm14==14.0.6
cd "$work"
[ "$(readlink -f /bin)" = /usr/bin ] || cannot '/bin is a folder of its own'
# by PATH COMMAND...: bpftrace, with that PATH.
by() {
    folders=$1
    shift
    env PATH="$folders" LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu" \
        "$work/root/usr/bin/bpftrace" "$@" </dev/null >"$work/output" 2>&1
}
by /usr/bin -c true -e 'interval:s:60 { }' || cannot "bpftrace can't: $(tail -n 1 "$work/output")"
by /usr/bin:/bin -c /usr/bin/true -e 'interval:s:60 { }'
if by /usr/bin:/bin -c true -e 'interval:s:60 { }'; then
    echo 'changed: it runs'
    exit "$changed"
fi
says "path 'true' must refer to a unique binary but matched 2 binaries$"
