#!/bin/sh
# `jupyter lab --version` executes node
#
# Expected: jupyter-lab, in the same process. Seen (jupyterlab 4.6.6, jupyter-builder 1.3.0): it also asks
# its own copy of Yarn for its configuration, which takes node where there is one:
#
#   jupyter-lab --version
#   node .../jupyter_builder/yarn.js config --json
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need node
packages jupyterlab==4.6.6 jupyter-builder==1.3.0 jupyter-core==5.9.1
observe jupyter lab --version
expect 1 '^jupyter-lab --version$'
expect 1 '^node .*/yarn\.js config --json$'
expect 2 ''
