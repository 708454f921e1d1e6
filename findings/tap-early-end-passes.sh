#!/bin/sh
# For tap-xunit and tap-spec a run that bails out, or ends before its plan, is a good one
#
# Expected: a failure and status 1, as of tap-parser 18.3.4, for the specification of TAP has both as failures. Seen
# (tap-xunit 2.4.1, tap-spec 5.0.0): a report without a failure, and status 0, where two of three planned tests have
# passed, and where one has passed before "Bail out!".
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

modules tap-parser@18.3.4 tap-xunit@2.4.1 tap-spec@5.0.0
cd "$work"
printf '%s\n' 'TAP version 13' 1..2 'ok 1 a' 'not ok 2 b' >fails.tap
printf '%s\n' 'TAP version 13' 1..3 'ok 1 a' 'ok 2 b' >early.tap
printf '%s\n' 'TAP version 13' 1..3 'ok 1 a' 'Bail out! no disk' >bails.tap
for reader in tap-parser tap-xunit tap-spec; do
    ends 1 sh -c "$reader <fails.tap"
done
for file in early bails; do
    ends 1 sh -c "tap-parser <$file.tap"
    ends 0 sh -c "tap-spec <$file.tap"
    ends 0 sh -c "tap-xunit <$file.tap"
    says '<testsuite .*failures="0" errors="0"'
done
