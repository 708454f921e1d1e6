#!/bin/sh
# doxygen without a source to read executes dot in a shell
#
# Expected: nothing. Seen (Debian 12, doxygen 1.9.4), with the configuration that `doxygen -g` writes, in which Debian
# has HAVE_DOT on: the legend of graphs that are not there. Where there is no dot the shell runs all the same:
#
#   sh -c "dot ".../html/graph_legend.dot" -Tpng -o ".../html/graph_legend.png""
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need doxygen
debian doxygen==1.9.4
mkdir "$work/project"
cd "$work/project"
doxygen -g >/dev/null
observe doxygen
expect 1 '^sh -c dot .*/html/graph_legend\.dot'
expect 1 '^sh '
