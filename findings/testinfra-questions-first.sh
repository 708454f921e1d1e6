#!/bin/sh
# testinfra asks what system it is on before it looks whether a file is there: seven execs for one `exists`
#
# Expected: `sh -c "test -e /etc/passwd"`. Seen (pytest-testinfra 10.2.2, Debian 12), once for each host object:
#
#   sh -c uname -s            uname -s
#   sh -c cat /etc/os-release cat /etc/os-release
#   sh -c uname -m            uname -m
#   sh -c test -e /etc/passwd
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages pytest-testinfra==10.2.2
observe python -c '
import testinfra
host = testinfra.get_host("local://")
assert host.file("/etc/passwd").exists'
expect 4 '^sh -c '
expect 1 '^uname -s$'
expect 1 '^uname -m$'
expect 1 '^cat /etc/os-release$'
