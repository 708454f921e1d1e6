#!/bin/sh
# `unshare --fork` of a command that SIGKILL ends complains about its own signal mask, and exits with 1
#
# Expected: it ends as the command did, by SIGKILL, or with 137. Seen (Debian 12, util-linux 2.38.1): by SIGTERM it ends
# itself, as its child did; SIGKILL it would set back to its default first, which can't be done, and stops there:
#
#   unshare: sigprocmask unblock failed: Invalid argument
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need unshare
debian util-linux==2.38.1
# shellcheck disable=SC2016 # $$ is the inner shell's
{
    ends -15 unshare --fork sh -c 'kill -TERM $$'
    ends 3 unshare --fork sh -c 'exit 3'
    ends 1 unshare --fork sh -c 'kill -KILL $$'
}
says '^unshare: sigprocmask unblock failed: Invalid argument$'
