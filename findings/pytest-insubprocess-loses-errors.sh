#!/bin/sh
# Under pytest-insubprocess a test whose fixture fails at its end has passed, and the run with it
#
# Expected: what a run without it says, one passed and one error, and status 1, for the pytest that it starts for the
# test ends with 1. Seen (pytest-insubprocess 1.2, pytest 9.2.0): "1 passed" and status 0. Of what the other pytest has
# found it reads failures alone:
#
#   python -m pytest --capture=fd -o junit_logging=all --junitxml=.../results.xml test_a.py::test_a
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages pytest==9.2.0 pytest-insubprocess==1.2
mkdir "$work/project"
cd "$work/project"
cat >test_a.py <<'PYTHON'
import pytest


@pytest.fixture
def closed():
    yield
    raise OSError("it could not be closed")


def test_a(closed):
    pass
PYTHON
observe sh -c 'python -m pytest -q -p no:cacheprovider test_a.py; test $? -eq 1'
grep -q '^1 passed, 1 error in' "$work/output"
observe python -m pytest -q -p no:cacheprovider --insubprocess test_a.py
expect 1 ' test_a\.py::test_a'
grep -q '^1 passed in' "$work/output" || {
    echo 'changed: it has another outcome'
    exit "$changed"
}
