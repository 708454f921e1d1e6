#!/bin/sh
# Django's makemessages, in an app's folder, merges each message file twice
#
# Expected: xgettext, msguniq and msgmerge, once each. Seen (Django 5.2.19, gettext 0.21), from the second run on:
#
#   xgettext 1, msguniq 2, msgmerge 2
#
# for the folder `locale` is in its list twice: as the current folder's, and as one that it came upon in its walk. From
# the folder above, msguniq and msgmerge run once.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need xgettext msguniq msgmerge
packages Django==5.2.19
mkdir -p "$work/app/locale"
cd "$work/app"
echo 'from django.utils.translation import gettext as _; _("hello")' >views.py
observe django-admin makemessages -l de
observe django-admin makemessages -l de
expect 1 '^xgettext '
expect 2 '^msguniq '
expect 2 '^msgmerge '
cd "$work"
observe django-admin makemessages -l de --ignore 'venv/*'
expect 1 '^msguniq '
expect 1 '^msgmerge '
