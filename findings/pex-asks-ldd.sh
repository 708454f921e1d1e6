#!/bin/sh
# pex runs ldd on the interpreter five times to pack one wheel
#
# Expected: pip, in a Python or two. Seen (pex 2.105.2, glibc 2.36), for a wheel that is at hand: each Python that it
# starts asks ldd whether this is glibc or musl, and so does pex itself. Each ldd runs the loader three times, so that 20
# of 39 execs are of ldd and ld-linux-x86-64.so.2.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need ldd uname
debian libc-bin==2.36
packages pex==2.105.2
cd "$work"
python3 - <<'PYTHON'
import zipfile

with zipfile.ZipFile("pk-1-py3-none-any.whl", "w") as wheel:
    wheel.writestr("pk.py", "")
    wheel.writestr("pk-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: pk\nVersion: 1\n")
    wheel.writestr("pk-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("pk-1.dist-info/RECORD", "pk.py,,\npk-1.dist-info/METADATA,,\npk-1.dist-info/WHEEL,,\n")
PYTHON
observe pex --no-pypi --find-links . pk -o a.pex
expect 5 '^ldd .*python'
expect 15 '^ld-linux'
