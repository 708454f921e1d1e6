#!/bin/sh
# debhelper asks gcc for its machine five times for a package that holds nothing to compile
#
# Expected: a program for each step of debhelper, some of find, and tar. Seen (Debian 12, debhelper 13.11.4), `dh binary`
# for a package of its changelog alone: 70, of them 17 of debhelper's and
#
#   gcc -dumpmachine 5       (by dpkg-architecture 3, each with a dpkg, by dpkg-gencontrol, and by dh)
#   find 12, xargs 6         (dh_fixperms: a shell, find and xargs for each rule)
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need dh gcc
debian debhelper==13.11.4
mkdir -p "$work/aa/debian"
cd "$work/aa"
cat >debian/control <<'CONTROL'
Source: aa
Section: misc
Priority: optional
Maintainer: A <a@example.com>
Build-Depends: debhelper-compat (= 13)

Package: aa
Architecture: all
Description: nothing
 Nothing at all.
CONTROL
cat >debian/changelog <<'CHANGELOG'
aa (1) unstable; urgency=low

  * New.

 -- A <a@example.com>  Mon, 30 Nov 2026 00:00:00 +0000
CHANGELOG
printf '#!/usr/bin/make -f\n%%:\n\tdh $@\n' >debian/rules
chmod +x debian/rules
observe dh binary
expect 5 '^gcc -dumpmachine$'
expect 3 '^dpkg-architecture$'
expect 1 '^dpkg-deb '
expect 12 '^find '
expect 6 '^xargs '
expect 0 '^cc1 '
expect 70 ''
