/* threads HOW PROGRAM ARGUMENT...: becomes the program from a thread that is not its first.
 *   second   while the first thread waits
 *   orphan   after the first thread has ended
 *   race     one of eight threads does, all of which try at once */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RACERS = 8 };

static char **command;
static int after_leader;
static pthread_barrier_t start;

/* The state letter of the first thread: it stands behind the name, which is in parentheses. */
static char state_of_leader(void)
{
    char path[64], text[512] = "";
    char *name_end;
    int fd;

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
    fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
        return '?';
    close(fd);
    name_end = strrchr(text, ')');
    return name_end ? name_end[2] : '?';
}

static void *become(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&start);
    while (after_leader && state_of_leader() != 'Z')
        sched_yield();
    execv(command[0], command);
    _exit(1); /* a racer that lost is killed before it gets here */
}

int main(int argc, char **argv)
{
    int threads;

    if (argc < 3)
        return 2;
    alarm(60);
    threads = strcmp(argv[1], "race") == 0 ? RACERS : 1;
    after_leader = strcmp(argv[1], "orphan") == 0;
    command = argv + 2;
    pthread_barrier_init(&start, NULL, threads);
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, become, NULL) != 0)
            return 1;
    }
    if (after_leader)
        pthread_exit(NULL);
    pause();
    return 1;
}
