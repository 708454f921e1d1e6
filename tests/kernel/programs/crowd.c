/* crowd TIMES: makes so many children, each of which executes this program again (crowd wait), so that all are there at
 * once. Says how many have become it, and ends, and they with it, when its standard input does.
 *
 * crowd wait: waits for that. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_for_the_end(void)
{
    char nothing;

    while (read(0, &nothing, 1) > 0)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    char *again[] = {argv[0], "wait", NULL}, *none[] = {NULL};
    static int begun; /* in memory, or a vfork() may clobber it */

    if (argc != 2)
        return 2;
    if (strcmp(argv[1], "wait") == 0)
        return wait_for_the_end();
    while (begun < atoi(argv[1])) {
        /* It shares the memory, and this goes on only when it has become the program, or failed to. */
        volatile int failed = 0;
        pid_t pid = vfork();

        if (pid == 0) {
            execve("/proc/self/exe", again, none);
            failed = 1;
            _exit(127);
        }
        if (pid < 0 || failed)
            break;
        begun++;
    }
    printf("%d\n", begun);
    fflush(stdout);
    wait_for_the_end();
    while (wait(NULL) > 0)
        ;
    return 0;
}
