#!/bin/sh
# CMake's FindPython runs the interpreter eight times, twice for its version and once for its copyright
#
# Expected: once or twice. Seen (cmake 3.25.1), for the component Interpreter alone, in a project without a language:
#
#   sh -c '/usr/bin/uname -r', uname -r, sh -c '/usr/bin/uname -m', uname -m
#   python3 -c ...    seven times, a value each: the version twice, the ABI flags, whether it has 64 bits, the copyright,
#                     the folders of modules, the suffix of extensions
#   python3 -V
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need cmake python3
debian cmake==3.25.1
debian python3==3.11.2
mkdir "$work/project"
cd "$work/project"
cat >CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.18)
project(a LANGUAGES NONE)
find_package(Python COMPONENTS Interpreter REQUIRED)
CMAKE
observe cmake -S . -B build
expect 2 '^python[0-9.]* -c .*sys\.version_info\[:3\]'
expect 1 '^python[0-9.]* -c .*sys\.copyright'
expect 8 '^python[0-9.]* '
expect 12 ''
