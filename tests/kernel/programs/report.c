/* Says what it is, to compare with what the probe says of it: NUL-terminated fields on standard output.
 * pid, ppid, uid, gid, the link /proc/self/exe, how many arguments, and these, from argv[0] on. */
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char exe[4096];
    ssize_t length = readlink("/proc/self/exe", exe, sizeof(exe));

    if (length < 0)
        return 1;
    printf("%d%c%d%c%u%c%u%c", getpid(), 0, getppid(), 0, getuid(), 0, getgid(), 0);
    fwrite(exe, 1, length, stdout);
    printf("%c%d%c", 0, argc, 0);
    for (int i = 0; i < argc; i++) {
        fputs(argv[i], stdout);
        putchar(0);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
