#!/bin/sh
# `task --dry` runs commands: those of a task's status, and those that variables are of
#
# Expected: none, for it is said to print the tasks "without executing them". Seen (go-task 3.54.0, of PyPI): the
# commands of `status` and of each variable with `sh` are run, and only those of `cmds` are not. A task that does not use
# a global variable runs its command, too. `--list-all` and `--summary` run none.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

packages go-task-bin==3.54.0
cd "$work"
cat >Taskfile.yml <<'YAML'
version: '3'
vars:
  VALUE: {sh: 'echo variable >>ran; echo value'}
tasks:
  uses:
    status: ['echo status >>ran; false']
    cmds: ['echo command {{.VALUE}} >>ran']
  other: ['true']
YAML

# ran TEXT: what the last command has run.
ran() {
    found=$(sort ran 2>/dev/null | tr '\n' ' ')
    echo "  $found"
    if [ "$found" != "$1" ]; then
        echo "changed: not $1"
        exit "$changed"
    fi
    rm -f ran
}
ends 0 task --list-all
ran ''
ends 0 task --summary uses
ran ''
ends 0 task --dry uses
ran 'status variable '
ends 0 task other
ran 'variable '
