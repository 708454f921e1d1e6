#!/bin/sh
# junit-to-ctrf takes a test of 1,234.5 seconds for one of a second
#
# Expected: 1234500 ms, as junitparser 5.0.3 reads it; Maven's Surefire wrote such times, with a comma for thousands.
# Seen (junit-to-ctrf 0.0.14): 1000 ms, without a warning.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages junitparser==5.0.3
modules junit-to-ctrf@0.0.14
cd "$work"
cat >long.xml <<'XML'
<testsuite name="s" tests="1" failures="0"><testcase classname="c" name="long" time="1,234.5"/></testsuite>
XML
ends 0 python -c '
import junitparser
print(*(case.time for case in junitparser.JUnitXml.fromfile("long.xml")))'
says '^1234\.5$'
ends 0 junit-to-ctrf long.xml -o long.json
ends 0 python -c '
import json
print(*(test["duration"] for test in json.load(open("long.json"))["results"]["tests"]))'
says '^1000$'
