#!/bin/sh
# bats executes forty programs for one test that executes none
#
# Expected: some 25, seven of them bash. Seen (bats 1.13.0): each of its eight scripts is two execs, by `env bash`, and
# the names of all tests are compared by nl, two sort, uniq and cut, though there is one:
#
#   bash 8, readlink 2, mktemp, dirname, basename, touch 4, mkdir 5, ln, rm 2, grep, cat
#   nl, sort -k 2, uniq -f 1, sort -n, cut -f 2-
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need bash
modules bats@1.13.0
cd "$work"
printf '@test "a" { true; }\n' >a.bats
observe "$work/node_modules/bats/bin/bats" a.bats
expect 8 '^bash '
expect 2 '^sort '
expect 1 '^uniq -f 1$'
expect 5 '^mkdir '
expect 40 ''
