/* vforks PROGRAM TIMES: starts the program so many times by vfork(2), each after an attempt that fails.
 * As a shared library, spawn_by_vfork() is for callers in this process. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Returns as soon as the child has left this address space, so possibly before its execve is over. */
pid_t spawn_by_vfork(const char *program)
{
    char *argv[] = {(char *)program, NULL};
    pid_t pid = vfork();

    if (pid == 0) {
        execve(program, argv, environ);
        _exit(127);
    }
    return pid;
}

static int one_round(char **program)
{
    char *argv[] = {program[0], NULL}, *none[] = {NULL};
    int status;
    pid_t pid = vfork();

    if (pid == 0) {
        execve("/nonexistent/program", argv, none);
        execve(program[0], argv, none);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
    if (argc != 3 || atoi(argv[2]) < 1)
        return 2;
    for (int times = atoi(argv[2]); times > 0; times--)
        if (!one_round(argv + 1))
            return 1;
    return 0;
}
