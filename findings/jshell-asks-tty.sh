#!/bin/sh
# jshell without a terminal executes test and tty, each through jspawnhelper, to learn that there is none
#
# Expected: a second java, in which the code is run. Seen (Debian 12, OpenJDK 17.0.15), with an input that is empty:
# besides it `test -t 0`, `test -t 1` twice, `test -t 2` and `tty`, for the library that it reads lines with asks
# programs and not the system:
#
#   jspawnhelper 6, java 1, test 4, tty 1
#
# With a file that ends in /exit there is the second java alone.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need jshell java tty
debian openjdk-17-jdk-headless==17
cd "$work"
java -version 2>&1 | sed 1q
observe jshell
expect 1 '^java '
expect 6 '^jspawnhelper'
expect 4 '^test -t '
expect 1 '^tty$'
echo '/exit' >a.jsh
observe jshell a.jsh
expect 1 '^java '
expect 0 '^(test|tty)'
