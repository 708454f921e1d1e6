#!/bin/sh
# `perl Makefile.PL` executes `make -v` twice and perl once more, each in a shell, and compiles nothing
#
# Expected: none, for the module has no C and the answers are in perl's own Config. Seen (Debian 12, perl 5.36,
# ExtUtils::MakeMaker 7.64):
#
#   sh -c "/usr/bin/perl" -le "require 5; print qq{VER_OK}"    perl -le ...
#   sh -c "make" -v 2>&1                                       make -v
#   sh -c "make" -v 2>&1                                       make -v
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need perl make
debian perl==5.36
perl -MExtUtils::MakeMaker -e 1 || cannot 'no ExtUtils::MakeMaker'
cd "$work"
perl -MExtUtils::MakeMaker -e 'print "MakeMaker $ExtUtils::MakeMaker::VERSION\n"'
echo 'use ExtUtils::MakeMaker; WriteMakefile(NAME => "A", VERSION => "1");' >Makefile.PL
observe perl Makefile.PL
expect 2 '^make -v$'
expect 3 '^sh -c '
expect 1 '^perl -le '
expect 6 ''
