#!/bin/sh
# PyInstaller executes `file -b` and an ldd without a file whenever it is imported
#
# Expected: none before it has a library to look at. Seen (PyInstaller 6.22.3, glibc 2.36), when it only writes a .spec:
#
#   file -b .../bin/python3.11    (platform.architecture)
#   ldd                           (to see from its usage text whether the libc is musl)
#
# A build imports it in five child processes, too: the build of `print(1)` had six of each, and one ldd more for each
# extension module and library, for each of which the loader ran three times.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need ldd file
packages pyinstaller==6.22.3
mkdir "$work/project"
cd "$work/project"
echo 'print(1)' >a.py
observe pyi-makespec a.py
expect 1 '^ldd$'
expect 1 '^file -b '
