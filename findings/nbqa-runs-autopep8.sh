#!/bin/sh
# nbqa black executes autopep8, too
#
# Expected: black, as a module of Python. Seen (nbqa 1.9.1, black 26.10.1, autopep8 2.3.2), where autopep8, which it
# depends on, works on the cells first; also before a checker:
#
#   python -m autopep8 --select=E3 --in-place ...ipynb.py
#   python -m black ...ipynb.py
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages nbqa==1.9.1 black==26.10.1 autopep8==2.3.2 pyflakes==3.4.0
cd "$work"
cat >a.ipynb <<'JSON'
{"cells": [{"cell_type": "code", "execution_count": null, "id": "a1", "metadata": {}, "outputs": [],
"source": ["a = 1"]}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
JSON
observe nbqa black a.ipynb
expect 1 ' -m autopep8 --select=E3 --in-place .*ipynb\.py$'
expect 1 ' -m black .*ipynb\.py$'
expect 2 ''
observe nbqa pyflakes a.ipynb
expect 1 ' -m autopep8 --select=E3 --in-place .*ipynb\.py$'
expect 1 ' -m pyflakes .*ipynb\.py$'
expect 2 ''
