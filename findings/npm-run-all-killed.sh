#!/bin/sh
# npm-run-all takes a script that a signal ends for a success
#
# Expected: status 1 and nothing run after it, as for a script that fails. Seen (npm-run-all 4.1.5): npm ends by the
# signal of its script, and so it has no status. npm-run-all and run-s go on to the next script and exit with 0, run-p
# exits with 0, too. npm-run-all2 8.0.4, which came out of it, stops there and exits with 1.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

modules npm-run-all@4.1.5 npm-run-all2@8.0.4
cd "$work"
cat >package.json <<'JSON'
{"name": "a", "version": "1.0.0", "scripts": {"fails": "exit 3", "killed": "kill -KILL $$", "next": "echo the next"}}
JSON
first=$work/node_modules/npm-run-all/bin
ends 1 node "$first/npm-run-all/index.js" fails next
ends 0 node "$first/npm-run-all/index.js" killed next
says '^the next$'
ends 0 node "$first/run-s/index.js" killed next
says '^the next$'
ends 0 node "$first/run-p/index.js" killed
ends 1 node "$work/node_modules/npm-run-all2/bin/npm-run-all/index.js" killed next
says '"killed" exited with 137'
