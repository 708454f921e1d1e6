#!/bin/sh
# `conan profile detect` compiles C++ by cc to learn the standard library
#
# Expected: `gcc --version` and `gcc -dumpversion`, each in a shell. Seen (conan 2.34.0, gcc 12.2): it asks cc, and no
# program of the name gcc or g++; the second without a shell:
#
#   sh -c ""cc" --version", cc --version
#   cc -std=c++11 -fsyntax-only -xc++ -
#   cc1plus ...
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need cc g++
debian gcc-12==12.2
packages conan==2.34.0
cd "$work"
observe conan profile detect
expect 1 '^cc --version$'
expect 1 '^cc .*-fsyntax-only -xc\+\+ -$'
expect 1 '^cc1plus '
expect 0 '^(gcc|g\+\+)'
expect 4 ''
