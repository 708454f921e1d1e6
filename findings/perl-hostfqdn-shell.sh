#!/bin/sh
# perl's Net::Domain::hostfqdn executes domainname in a shell
#
# Expected: none, for the host's name comes by a system call (Sys::Hostname executes nothing). Seen (Debian 12, perl
# 5.36), at the first call in a process:
#
#   sh -c domainname 2>/dev/null
#   domainname
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need perl domainname
debian perl==5.36
perl -e 'print "perl $^V\n"'
observe perl -MNet::Domain=hostfqdn -e 'hostfqdn(); hostfqdn()'
expect 1 '^sh -c domainname'
expect 1 '^domainname$'
observe perl -MSys::Hostname -e 'hostname()'
expect 0 ''
