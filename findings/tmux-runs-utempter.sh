#!/bin/sh
# tmux executes utempter at the start and the end of each pane
#
# Expected: the shell of the pane. Seen (Debian 12, tmux 3.3a), where the second comes from the server, after the command
# has ended:
#
#   utempter add tmux(...).%0
#   sh -c true               (the user's own shell)
#   utempter del
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need tmux
debian tmux==3.3a
cd "$work"
observe tmux -S "$work/socket" -f /dev/null new-session -d true
expect 1 '^utempter add tmux\([0-9]+\)\.%0$'
expect 1 '^utempter del$'
expect 3 ''
