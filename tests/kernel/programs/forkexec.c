/* Executes the program that its arguments say while another thread is at the stop of its fork, and so ends that: the
 * child executes /bin/echo. Only a tracer sees to it that there is such a stop. Where this thread does not come to see
 * it, that one has ended: status 3. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int forking;

static void *second(void *nothing)
{
    forking = syscall(SYS_gettid);
    if (fork() == 0)
        execl("/bin/echo", "echo", "forked", NULL);
    return nothing;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    char path[64], state[512];

    pthread_create(&thread, NULL, second, NULL);
    while (!forking)
        ;
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", forking);
    do { /* by no function that takes memory, for a thread that forks holds the lock of that */
        int file = open(path, O_RDONLY);
        if (file < 0)
            return 3;
        ssize_t length = read(file, state, sizeof(state) - 1);
        state[length < 0 ? 0 : length] = 0;
        close(file);
    } while (argc > 1 && !strstr(state, ") t "));
    return execv(argv[1], argv + 1);
}
