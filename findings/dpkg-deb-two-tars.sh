#!/bin/sh
# dpkg-deb builds by two tars, and only looks by a tar and `rm -rf`
#
# Expected: one tar to build, and none to show the control file. Seen (Debian 12, dpkg 1.21): one tar for each member of
# the package, and `dpkg-deb --info` unpacks into a temporary folder, that a program takes away again:
#
#   build:    tar -cf - ... ; tar -cf - ...
#   --info:   tar -x -m -f - ... ; rm -rf -- /tmp/dpkg-deb.XXXXXX
#
# Compression is in the library: no xz either way.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need dpkg-deb tar
debian dpkg==1.21
cd "$work"
dpkg-deb --version | sed 1q
mkdir -p a/DEBIAN
printf 'Package: a\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a\n' >a/DEBIAN/control
observe dpkg-deb --root-owner-group --build a a.deb
expect 2 '^tar -cf '
expect 2 ''
observe dpkg-deb --info a.deb
expect 1 '^tar -x '
expect 1 '^rm -rf -- .*dpkg-deb\.'
expect 2 ''
