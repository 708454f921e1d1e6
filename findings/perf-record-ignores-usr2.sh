#!/bin/sh
# What `perf record` runs ignores SIGUSR2
#
# Expected: the command under perf has the signals that perf was started with, as under strace and gdb. Seen (Debian 12,
# perf 6.1): it is ignored in the command and in all below it, and a program that the signal would end goes on. `perf
# stat` and `perf trace` leave it as it is.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need perf
debian linux-perf==6.1
perf stat -e task-clock -o "$work/counts" true >"$work/output" 2>&1 || cannot 'perf may not count'
mask=0x$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status)
[ $((mask & 0x800)) -eq 0 ] || cannot 'it is ignored already'
cat >"$work/signalled" <<'SH'
#!/bin/sh
sed -n 's/^SigIgn:[[:space:]]*/0x/p' /proc/self/status
sleep 0.3
kill -USR2 $$
echo still there
SH
chmod +x "$work/signalled"
ends -12 "$work/signalled"
ends 0 perf record -q -e task-clock -o "$work/data" "$work/signalled"
says '^0x0*800$'
says '^still there$'
for command in stat trace; do
    perf "$command" -o "$work/counts" "$work/signalled" >"$work/output" 2>&1 || :
    says '^0x0*$'
    if grep -q '^still there$' "$work/output"; then
        echo "changed: below perf $command it is ignored, too"
        exit "$changed"
    fi
done
