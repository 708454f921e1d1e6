#!/bin/sh
# With pytest-rerunfailures a report in JUnit's format has a test for each attempt, and counts one
#
# Expected: one <testcase>, that has passed, with what failed before as <flakyFailure>, or not at all. Seen
# (pytest-rerunfailures 16.7, pytest 9.2.0): two of the same name, neither of them with a failure or a word of the other
# attempt, in a suite of tests="1". So who counts the elements has a test more than who reads the number.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages pytest==9.2.0 pytest-rerunfailures==16.7
mkdir "$work/project"
cd "$work/project"
cat >test_a.py <<'PYTHON'
attempts = []


def test_second():
    attempts.append(1)
    assert len(attempts) == 2
PYTHON
ends 0 python -m pytest -q -p no:cacheprovider --reruns 2 --junitxml=a.xml test_a.py
says '^1 passed, 1 rerun in'
ends 0 python -c '
from xml.etree import ElementTree
suite = ElementTree.parse("a.xml").getroot()[0]
print(suite.get("tests"), [(case.get("name"), len(case)) for case in suite])'
says "^1 \[\('test_second', 0\), \('test_second', 0\)\]$"
