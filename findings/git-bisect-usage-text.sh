#!/bin/sh
# `git bisect start` executes gettext, envsubst, sed, basename and uname, to have a usage text that it doesn't print
#
# Expected: git some three times, as with most commands in C. Seen (Debian 12, git 2.39): bisect is a shell script
# there, and what it reads at its start translates the usage text, in each call:
#
#   git-bisect, git --exec-path, basename, sed, gettext, envsubst --variables, envsubst, uname -s,
#   git rev-parse (3), git bisect--helper, git checkout
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need git gettext envsubst
debian git==2.39
mkdir "$work/project"
cd "$work/project"
git --version
git init -q .
for number in 1 2 3 4; do
    git -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m "$number"
done
observe git bisect start HEAD HEAD~3
expect 1 '^git-bisect start '
expect 1 '^gettext '
expect 2 '^envsubst '
expect 1 '^uname -s$'
expect 3 '^git rev-parse '
