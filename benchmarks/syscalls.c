/* Makes a cheap system call N times and prints how many nanoseconds that took. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec begin, end;
    int times = argc > 1 ? atoi(argv[1]) : 0;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < times; i++)
        syscall(SYS_getppid);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%lld\n", (end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec);
    return 0;
}
