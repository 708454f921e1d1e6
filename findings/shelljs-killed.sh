#!/bin/sh
# In ShellJS `exec` of a command that a signal ends has code 0, and is no error
#
# Expected: a code that is not 0, as node has no status for it and a signal. Seen (shelljs 0.10.0): code 0, error() is
# null, and with config.fatal nothing is thrown.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

modules shelljs@0.10.0
cd "$work"
# shellcheck disable=SC2016 # $$ is the inner shell's
observe node -e '
const shell = require("shelljs");
for (const command of ["exit 3", "kill -KILL $$", "kill -TERM $$"]) {
    const result = shell.exec(command, { silent: true });
    console.log(command, result.code, shell.error() !== null);
}
shell.config.fatal = true;
shell.exec("kill -KILL $$");
console.log("nothing was thrown");'
says '^exit 3 3 true$'
says '^kill -KILL \$\$ 0 false$'
says '^kill -TERM \$\$ 0 false$'
says '^nothing was thrown$'
