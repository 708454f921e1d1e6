/* storm PROGRAM TIMES: starts the program so many times, shared out among all CPUs at once. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int work(int cpu, const char *program, int times)
{
    char *argv[] = {(char *)program, NULL}, *none[] = {NULL};
    cpu_set_t only;

    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    if (sched_setaffinity(0, sizeof(only), &only) != 0)
        return 1;
    while (times-- > 0) {
        int status;
        pid_t pid = vfork();

        if (pid == 0) {
            execve(program, argv, none);
            _exit(127);
        }
        if (waitpid(pid, &status, 0) != pid || status != 0)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    cpu_set_t cpus;
    int left, workers, status;
    int failed = 0;

    if (argc != 3 || atoi(argv[2]) < 1 || sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
        return 2;
    alarm(120);
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
            _exit(work(cpu, argv[1], share));
        default:
            break;
        }
    }
    while (wait(&status) > 0)
        failed |= status != 0;
    return failed;
}
