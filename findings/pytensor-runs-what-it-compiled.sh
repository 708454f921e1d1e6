#!/bin/sh
# With warm caches, PyTensor still compiles a program in each process, and runs it by a name that is new each time
#
# Expected: nothing in a second run, for the function's library is kept. Seen (pytensor 3.0.7, numpy 2.4.6, gcc 12.2), in
# each run that has a function compiled:
#
#   g++ -v, -dumpversion, and -E twice (cc1)
#   g++ (cc1plus, as, collect2, ld), and try_march_XXXXXXXX, to see whether code for this very processor runs
#   uname -p
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need g++ uname
debian gcc-12==12.2.0
packages pytensor==3.0.7 numpy==2.4.6
for run in first second; do
    echo "the $run run"
    observe python -c '
import pytensor
x = pytensor.tensor.dvector("x")
assert pytensor.function([x], (x**2).sum(), mode="CVM")([1.0, 2.0]) == 5'
    expect 1 '^try_march_[a-z0-9_]+$'
    expect 1 '^uname -p$'
done
expect 1 '^cc1plus '
expect 5 '^g\+\+ '
