#!/bin/sh
# What CMake starts no longer ignores the signals that it was started to ignore
#
# Expected: a command started with SIGHUP ignored, as nohup does it, has it ignored wherever it is below, as make's own
# commands have. Seen (Debian 12, cmake 3.25.1): `cmake -E env`, execute_process() and `cmake --build` start their
# programs with each signal at its default, and so a build under nohup ends with its terminal.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need cmake make
debian cmake==3.25.1
cd "$work"
mkdir project
cat >project/CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.20)
project(a NONE)
add_custom_target(signals ALL COMMAND grep SigIgn: /proc/self/status)
CMAKE
echo 'execute_process(COMMAND grep SigIgn: /proc/self/status)' >a.cmake
cmake -G 'Unix Makefiles' -S project -B build >configured

# ignores HUP COMMAND...: started with SIGHUP ignored, the command shows that it is, 1, or is not, 0.
ignores() {
    wanted=$1
    shift
    mask=$(env --ignore-signal=HUP "$@" 2>&1 </dev/null | sed -n 's/^.*SigIgn:[[:space:]]*/0x/p')
    echo "$mask: $*"
    [ $((mask & 1)) -eq "$wanted" ] || {
        echo 'changed: it is as the other programs are'
        exit "$changed"
    }
}
ignores 1 grep SigIgn: /proc/self/status
ignores 1 make -C build
ignores 0 cmake --build build
ignores 0 cmake -P a.cmake
ignores 0 cmake -E env grep SigIgn: /proc/self/status
