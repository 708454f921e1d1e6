/* bomb DEPTH WIDTH PROCESSES FILE: says in the file that it was executed, by one byte, then executes itself WIDTH times
 * at once, and so on to the depth. Its user may have only so many processes: where there can be no more, it goes on
 * without. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rlimit most;
    char depth[16];
    int file;

    if (argc != 5)
        return 2;
    file = open(argv[4], O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0 || write(file, ".", 1) != 1)
        return 1;
    most.rlim_cur = most.rlim_max = atoi(argv[3]);
    if (setrlimit(RLIMIT_NPROC, &most) != 0)
        return 1;
    alarm(120);
    snprintf(depth, sizeof(depth), "%d", atoi(argv[1]) - 1);
    for (int left = atoi(argv[1]) > 0 ? atoi(argv[2]) : 0; left > 0; left--) {
        if (fork() == 0) {
            execl("/proc/self/exe", "bomb", depth, argv[2], argv[3], argv[4], NULL);
            _exit(127);
        }
    }
    while (wait(NULL) > 0)
        ;
    return 0;
}
