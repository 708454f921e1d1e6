#!/bin/sh
# What Java starts has SIGQUIT blocked, and can't be ended by it
#
# Expected: a child with no signal blocked, as Java's own parent had none. Seen (Debian 12, OpenJDK 17.0.15): the
# virtual machine blocks SIGQUIT in its threads, for a thread of its own that prints the stacks, and a program that is
# started from one of them keeps it blocked, and so does all below it. `kill -QUIT` of a sleep does nothing; -TERM ends
# it.
set -eu
work=$(mktemp -d)
# shellcheck source=common
. "$(dirname "$0")/common"

need java javac
debian openjdk-17-jdk-headless==17
cd "$work"
[ "$(sed -n 's/^SigBlk:[[:space:]]*//p' /proc/self/status)" = 0000000000000000 ] || cannot 'a signal is blocked already'
cat >A.java <<'JAVA'
class A {
    static Process start(String... command) throws Exception {
        return new ProcessBuilder(command).inheritIO().start();
    }

    static int ended(String signal) throws Exception {
        Process sleep = start("sleep", "2");
        start("kill", signal, "" + sleep.pid()).waitFor();
        return sleep.waitFor();
    }

    public static void main(String[] arguments) throws Exception {
        start("grep", "SigBlk", "/proc/self/status").waitFor();
        System.out.println(ended("-TERM") + " " + ended("-QUIT"));
    }
}
JAVA
javac A.java
ends 0 java A
says '^SigBlk:[[:space:]]*0000000000000004$'
says '^143 0$'
