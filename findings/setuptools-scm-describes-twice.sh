#!/bin/sh
# setuptools-scm executes `git describe` twice where the tag has no dot
#
# Expected: once. Seen (setuptools-scm 10.3.4, git 2.39): once for tags with a digit, and again for those with a dot.
# Five git in all, and as often again for each process that asks:
#
#   git --git-dir D rev-parse --show-prefix
#   git --git-dir D describe ... --match *[0-9]*
#   git --git-dir D describe ... --match *[0-9]*.*[0-9]*
#   git --git-dir D rev-parse --abbrev-ref HEAD
#   git --git-dir D -c log.showSignature=false log -n 1 HEAD --format=%cI
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need git
packages setuptools-scm==10.3.4
mkdir "$work/project"
cd "$work/project"
git init -q .
git -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m first
git tag v1
observe python -c 'import setuptools_scm; print(setuptools_scm.get_version())'
expect 2 '^git .* describe '
expect 5 '^git '
git tag -d v1 >/dev/null
git tag v1.0
observe python -c 'import setuptools_scm; print(setuptools_scm.get_version())'
expect 1 '^git .* describe '
