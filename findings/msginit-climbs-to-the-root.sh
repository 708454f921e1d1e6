#!/bin/sh
# msginit executes basename and /bin/pwd (twice) in each folder up to the root, to guess the project's name
#
# Expected: one helper script. Seen (Debian 12, gettext 0.21), with --no-translator, in a folder three below the root:
#
#   sh .../gettext/project-id yes
#   basename /a/b/c, pwd, pwd      (and so on for /a/b, /a and /)
#
# so the count depends on where the suite's temporary folder is, and on its name: one with a letter and then a digit in it
# (tmp.aB3, for mktemp) is taken for a project and its version, and ends the climb. Without --no-translator there are some sixty, with wget
# to fetch the addresses of the translators' teams from the web.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need msginit
debian gettext==0.21
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
folder=$(pwd -P)
left=0
while :; do
    case ${folder##*/} in
    *[A-Za-z]*[0-9]*) looked=$((left + 1)) && break ;;
    esac
    left=$((left + 1)) looked=$left
    [ -n "$folder" ] || break
    folder=${folder%/*}
done
expect 1 '^sh .*project-id'
expect "$looked" '^basename '
expect $((2 * left)) '^pwd$'
