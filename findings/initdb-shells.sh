#!/bin/sh
# initdb executes postgres in a shell each time, five times where the first guess of its limits holds
#
# Expected: some dozen, for it tries one number of connections and one size of buffers after the other. Seen (Debian 12,
# PostgreSQL 15): the first try of each passes, and so there are six shells, five postgres and one locale:
#
#   sh -c "postgres" -V, postgres -V
#   sh -c "postgres" --check ..., postgres --check ...    (twice)
#   sh -c "postgres" --boot ..., postgres --boot ...
#   sh -c "postgres" --single ..., postgres --single ...
#   sh -c locale -a, locale -a
#
# On a machine with little shared memory the --check are more.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

debian postgresql-15==15

initdb=
for folder in /usr/lib/postgresql/*/bin; do
    [ -x "$folder/initdb" ] && initdb=$folder/initdb
done
[ -n "$initdb" ] || cannot 'no initdb in /usr/lib/postgresql'
"$initdb" --version
if [ "$(id -u)" = 0 ]; then
    need setpriv  # initdb refuses root
    chmod 711 "$work"
    mkdir -m 777 "$work/data"
    set -- setpriv --reuid=65534 --regid=65534 --clear-groups
fi
observe "$@" "$initdb" -A trust -D "$work/data/a"
expect 6 '^sh -c '
expect 5 '^postgres '
expect 2 '^postgres --check '
expect 1 '^locale -a$'
