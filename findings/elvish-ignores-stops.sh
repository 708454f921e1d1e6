#!/bin/sh
# What elvish starts ignores SIGTSTP, SIGTTIN and SIGTTOU, in a script, too
#
# Expected: no signal ignored in a script, as from the other shells; an interactive shell sets back for its jobs what it
# ignores for itself. Seen (Debian 12, elvish 0.19.2): all that `elvish -c` starts ignores the three, and so do all
# programs below it, which SIGTSTP does not stop. tmux 3.3a starts the command of a pane with two of them, SIGTTIN and
# SIGTTOU, ignored.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need tmux
debian tmux==3.3a
unpacked elvish==0.19.2
cd "$work"
mask=0x$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status)
[ $((mask & 0x380000)) -eq 0 ] || cannot 'they are ignored already'
cat >ignored <<'SH'
#!/bin/sh
sed -n 's/^SigIgn:[[:space:]]*/0x/p' /proc/self/status >"$1.part"
mv "$1.part" "$1"
SH
chmod +x ignored

# three MASK: so the last command ignores of the three.
three() {
    mask=$(cat mask)
    echo "$mask"
    if [ $((mask & 0x380000)) -ne $(($1)) ]; then
        echo 'changed: it ignores others'
        exit "$changed"
    fi
    rm mask
}
ends 0 bash -c './ignored mask; :'
three 0
ends 0 "$work/root/usr/bin/elvish" -c './ignored mask'
three 0x380000
TMUX_TMPDIR=$work tmux -f /dev/null -L findings new-session -d "$work/ignored $work/mask" ||
    cannot 'tmux does not start'
tries=100
until [ -e mask ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || cannot 'tmux does not run it'
    sleep 0.1
done
three 0x300000
