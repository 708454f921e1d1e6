/* Ends its first thread with status 3 and then, when that is gone, its second with 4: no thread ends the process. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *second(void *nothing)
{
    char path[64], state[512];
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
    do {
        FILE *file = fopen(path, "r");
        size_t length = fread(state, 1, sizeof(state) - 1, file);
        state[length] = 0;
        fclose(file);
    } while (!strstr(state, ") Z "));
    syscall(SYS_exit, 4);
    return nothing;
}

int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, second, NULL);
    syscall(SYS_exit, 3);
}
