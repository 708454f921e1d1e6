#!/bin/sh
# In sh a command that a real-time signal ends is a KeyError
#
# Expected: an error of sh's own, like SignalException_SIGKILL, with exit_code -40. Seen (sh 2.4.0): `KeyError: 40`,
# which no `except sh.ErrorReturnCode` and no `except sh.SignalException` catches.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages sh==2.4.0
cat >"$work/a.py" <<'PYTHON'
import sh

for signal in (9, 40):
    try:
        sh.sh("-c", f"kill -{signal} $$")
    except sh.ErrorReturnCode as error:
        print(signal, type(error).__name__, error.exit_code)
    except Exception as error:
        print(signal, repr(error))
PYTHON
ends 0 python "$work/a.py"
says '^9 SignalException_SIGKILL -9$'
says '^40 KeyError\(40\)$'
