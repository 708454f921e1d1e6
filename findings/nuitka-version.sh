#!/bin/sh
# `python -m nuitka --version` executes itself, another python, ldconfig and gcc
#
# Expected: `gcc -dumpversion`, for it prints the compiler's version. Seen (Nuitka 4.3.3): it starts over without the
# site module, and asks the installed packages in a third python:
#
#   python -X frozen_modules=off -S .../nuitka/__main__.py ... --version    (the same process)
#   ldconfig -p
#   python -W ignore .../nuitka/...
#   gcc -dumpversion -dumpfullversion
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need gcc
packages Nuitka==4.3.3
observe python -m nuitka --version
expect 2 '^python[0-9.]* '
expect 1 '^ldconfig -p$'
expect 1 '^gcc -dumpversion'
expect 4 ''
