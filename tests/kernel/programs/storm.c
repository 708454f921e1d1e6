/* storm PROGRAM TIMES [SECONDS]: starts the program so many times, shared out among all CPUs at once. With SECONDS it
 * stops after so long, done or not, and prints how many times it has started the program. Only those count that were
 * started, and ended with status 0; any that was not is a failure. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static int work(int cpu, const char *program, int times, long until, int *started)
{
    char *argv[] = {(char *)program, NULL}, *none[] = {NULL};
    cpu_set_t only;

    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    if (sched_setaffinity(0, sizeof(only), &only) != 0)
        return 1;
    while (times-- > 0 && (until == 0 || now() < until)) {
        int status;
        pid_t pid = vfork();

        if (pid == 0) {
            execve(program, argv, none);
            _exit(127);
        }
        if (waitpid(pid, &status, 0) != pid || status != 0)
            return 1;
        ++*started;
    }
    return 0;
}

int main(int argc, char **argv)
{
    cpu_set_t cpus;
    int left, seconds, workers, status;
    int failed = 0, total = 0;
    int *started; /* by each CPU */

    if (argc < 3 || argc > 4 || atoi(argv[2]) < 1 || sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
        return 2;
    seconds = argc == 4 ? atoi(argv[3]) : 0;
    started = mmap(NULL, CPU_SETSIZE * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (started == MAP_FAILED)
        return 2;
    alarm(120 + seconds);
    left = atoi(argv[2]);
    workers = CPU_COUNT(&cpus);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        int share;

        if (!CPU_ISSET(cpu, &cpus))
            continue;
        share = left / workers--;
        left -= share;
        switch (fork()) {
        case -1:
            return 1;
        case 0:
            _exit(work(cpu, argv[1], share, seconds ? now() + 1000L * seconds : 0, &started[cpu]));
        default:
            break;
        }
    }
    while (wait(&status) > 0)
        failed |= status != 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        total += started[cpu];
    if (seconds)
        printf("%d\n", total);
    return failed;
}
