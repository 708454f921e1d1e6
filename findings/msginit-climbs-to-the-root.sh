#!/bin/sh
# msginit executes basename and /bin/pwd (twice) in each folder up to the root, to guess the project's name
#
# Expected: one helper script. Seen (Debian 12, gettext 0.21), with --no-translator, in a folder three below the root:
#
#   sh .../gettext/project-id yes
#   basename /a/b/c, pwd, pwd      (and so on for /a/b, /a and /)
#
# so the count depends on where the suite's temporary folder is. Without --no-translator there are some sixty, with wget
# to fetch the addresses of the translators' teams from the web.
set -eu
# shellcheck source=common
. "$(dirname "$0")/common"

need msginit
mkdir "$work/project"
cd "$work/project"
msginit --version | sed 1q
cat >a.pot <<'POT'
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\n"

msgid "a"
msgstr ""
POT
observe msginit --no-translator -l de -i a.pot -o de.po
folders=$(($(pwd -P | tr -cd / | wc -c) + 1))
expect 1 '^sh .*project-id'
expect "$folders" '^basename '
expect $((2 * folders)) '^pwd$'
