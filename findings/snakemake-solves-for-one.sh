#!/bin/sh
# snakemake executes a solver of integer programs to decide that its one job may run
#
# Expected: `uname -p`, and bash with the command of the rule. Seen (snakemake 9.27.1, PuLP 3.3.2), with one rule:
#
#   uname -p
#   cbc .../....-pulp.mps -max -sec 10 -threads 2 ...     (the solver that PuLP brings)
#   bash -c "set -euo pipefail;  ls > a.txt"
#   ls
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need uname bash
packages snakemake==9.27.1 PuLP==3.3.2
mkdir "$work/project"
cd "$work/project"
cat >Snakefile <<'SNAKEFILE'
rule a:
    output: "a.txt"
    shell: "ls > {output}"
SNAKEFILE
observe snakemake --cores 1
expect 1 '^cbc .*-pulp\.mps -max '
expect 1 '^bash -c set -euo pipefail;'
expect 4 ''
