#!/bin/sh
# jlink --strip-debug executes objcopy for each native file, each through jspawnhelper
#
# Expected: no program, or objcopy once, for jlink is Java and what it strips are class files. Seen (Debian 12, OpenJDK
# 17.0.15), for an image of java.base alone, 24 execs:
#
#   jspawnhelper 12, objcopy -g FILE 12
#
# one pair for each program and library in the image. With --strip-java-debug-attributes there is none.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need jlink java objcopy
debian openjdk-17-jdk-headless==17
cd "$work"
java -version 2>&1 | sed 1q
observe jlink --add-modules java.base --output image --strip-debug
stripped=$(count '^objcopy -g ')
if [ "$stripped" -lt 2 ]; then
    echo "changed: $stripped execs of objcopy"
    exit "$changed"
fi
expect "$stripped" '^jspawnhelper'
observe jlink --add-modules java.base --output other --strip-java-debug-attributes
expect 0 ''
