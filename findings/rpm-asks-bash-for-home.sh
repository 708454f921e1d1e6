#!/bin/sh
# `rpm -qa` executes bash in a shell to learn where its database is
#
# Expected: nothing, the database is read by the library. Seen (Debian 12, rpm 4.18.0): Debian's macro for the folder is
# a command. `rpm --version` does not ask:
#
#   sh -c "bash -c 'echo ~/.rpmdb'"
#   bash -c "echo ~/.rpmdb"
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need rpm bash
debian rpm==4.18.0
cd "$work"
observe rpm --version
expect 0 ''
observe rpm -qa
expect 1 "^sh -c bash -c 'echo ~/\.rpmdb'$"
expect 1 '^bash -c echo ~/\.rpmdb$'
expect 2 ''
