#!/bin/sh
# What PHP, rsync and tar's --to-command start ignores SIGPIPE
#
# Expected: a child with SIGPIPE as it was for its parent, for Python, perl, git, ssh and `tar -I` start theirs so. Seen
# (Debian 12, PHP 8.2, rsync 3.5.0, tar 1.34): exec() and the like of PHP, the command that tar hands a member to, and
# the shell of `rsync -e` ignore it, and so do all below them. There `yes | head -n 1` is an error of yes, "Broken
# pipe". rsync's ignores SIGXFSZ, too.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need tar yes
debian tar==1.34
unpacked php8.2-cli==8.2 rsync==3.5.0 libpopt0==1.19
cd "$work"
echo a >a
tar -cf a.tar a
cat >piped <<SH
#!/bin/sh
sed -n 's/^SigIgn:[[:space:]]*/0x/p' /proc/self/status >>$work/masks
kill -PIPE \$\$
echo still there >>$work/still
SH
chmod +x piped

# ignored MASK: the last command was ended by SIGPIPE if none of these is ignored, and not if it is.
ignored() {
    mask=$(tail -n 1 masks)
    echo "$mask"
    if [ $((mask & 0x7fffffff)) -ne $(($1)) ]; then
        echo "changed: it ignores others, not $1"
        exit "$changed"
    fi
    [ "$(cat still 2>/dev/null)" = "${1:+still there}" ] || [ "$1" = 0 ] || {
        echo 'changed: SIGPIPE ends it'
        exit "$changed"
    }
    rm -f still
}
ends -13 ./piped
ignored 0
[ ! -e still ]
env "$work/root/usr/bin/php8.2" -n -v >output 2>&1 || cannot "PHP can't: $(tail -n 1 output)"
ends 0 "$work/root/usr/bin/php8.2" -n -r 'exec("./piped");'
ignored 0x1000
ends 0 "$work/root/usr/bin/php8.2" -n -r 'passthru("yes | head -n 1");'
says 'yes: standard output: Broken pipe$'
ends 0 tar -xf a.tar --to-command=./piped
ignored 0x1000
ends 0 tar -xf a.tar --to-command='yes | head -n 1'
says 'yes: standard output: Broken pipe$'
ends 12 env LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu:$work/root/lib/x86_64-linux-gnu" \
    "$work/root/usr/bin/rsync" -e ./piped a host:a
ignored 0x1001000
