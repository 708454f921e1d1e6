#!/bin/sh
# copier executes git four times to copy a template that is a plain folder
#
# Expected: once at the most, for its version. Seen (copier 9.19.1, git 2.39), outside of any repository:
#
#   uname -p                        (plumbum's platform.uname, at import)
#   git rev-parse --show-toplevel
#   git init                        (of a temporary folder)
#   git bundle verify -- .../src    (whether the folder is a bundle)
#   git config --type=bool --get core.fileMode
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need git uname
packages copier==9.19.1
mkdir -p "$work/project/src"
cd "$work/project"
echo x >src/a.txt
observe copier copy src dst
expect 1 '^git bundle verify -- .*src$'
expect 1 '^git init'
expect 4 '^git '
expect 1 '^uname -p$'
