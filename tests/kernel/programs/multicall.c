/* multicall PATH NAME: executes itself by PATH, such as /proc/self/exe, as NAME. Without PATH it does NAME's work: none.
 * For "-" it is by a descriptor, with execveat(2). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char *command[] = {argc > 2 ? argv[2] : NULL, NULL}, *none[] = {NULL};

    if (argc < 3)
        return 0;
    if (strcmp(argv[1], "-") == 0)
        syscall(SYS_execveat, open("/proc/self/exe", O_PATH), "", command, none, AT_EMPTY_PATH);
    else
        execve(argv[1], command, none);
    return 1;
}
