#!/bin/sh
# `file -z` executes zstd with no environment, and takes what it unpacks for empty
#
# Expected: `zstd -cd`, with the environment of file, and the type of what it unpacks, as for gzip and xz, which file
# unpacks itself. Seen (Debian 12, file 5.44, zstd 1.5.4): a null pointer in place of the environment, and "empty":
#
#   execve("/usr/bin/zstd", ["zstd", "-cd"], NULL)
#   a.zst: empty (Zstandard compressed data ...)
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need file zstd xz
debian file==5.44
debian zstd==1.5.4
cd "$work"
echo 'a line of text' >a
xz --keep a
zstd --quiet a
observe file -z a.xz
expect 0 ''
grep -q '^a.xz: ASCII text ' "$work/output"
observe file -z a.zst
expect 1 '^zstd -cd$'
expect 1 ''
grep -qE 'execve\(.*/zstd", \["zstd", "-cd"\], NULL' "$work/trace" || {
    echo 'changed: zstd has an environment'
    exit "$changed"
}
grep -q '^a.zst: empty (Zstandard ' "$work/output" || {
    echo 'changed: it says what was unpacked'
    exit "$changed"
}
