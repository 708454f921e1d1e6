#!/bin/sh
# tini and catatonit take the options of the program that they are to run for their own
#
# Expected: their options end at the program's name, as those of dumb-init, env and setsid do. Seen (Debian 12, tini
# 0.19.0, catatonit 0.1.7): they go on behind it, so `tini sh -c ...` is an unknown option, status 1, and `-v` of the
# program would be tini's. Both take `--` before the program, and then run it.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

unpacked tini==0.19.0 catatonit==0.1.7 dumb-init==1.2.5
bin=$work/root/usr/bin
ends 3 setsid -w sh -c 'exit 3'
ends 3 "$bin/dumb-init" sh -c 'exit 3'
for init in tini catatonit; do
    ends 3 "$bin/$init" -- sh -c 'exit 3'
    ends 1 "$bin/$init" sh -c 'exit 3'
    says "$init: invalid option -- 'c'$"
done
