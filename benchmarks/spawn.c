/* Spawns programs, each in its turn, TIMES times in each of WORKERS processes, every one on a CPU of its own, and prints
 * how many nanoseconds that took: spawn TIMES WORKERS PROGRAM... */
#define _GNU_SOURCE
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* On the n-th of the CPUs that this process may use, from the first on again where there are not so many. */
static int stay_on(int n)
{
    cpu_set_t all, one;

    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return -1;
    n %= CPU_COUNT(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && n-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            return sched_setaffinity(0, sizeof one, &one);
        }
    return -1;
}

static int work(int times, char **programs, int count)
{
    for (int i = 0; i < times; i++) {
        char *argv[] = {programs[i % count], "an argument", NULL};
        pid_t pid;

        if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) != 0 || waitpid(pid, NULL, 0) != pid)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct timespec begin, end;
    int failed = 0, status;

    if (argc < 4)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int worker = 0; worker < atoi(argv[2]); worker++)
        if (fork() == 0)
            _exit(stay_on(worker) != 0 || work(atoi(argv[1]), argv + 3, argc - 3) != 0);
    while (wait(&status) > 0)
        failed |= status;
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%lld\n", (end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec);
    return failed != 0;
}
