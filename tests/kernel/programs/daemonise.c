/* daemonise GO DONE PROGRAM ARGUMENT...: a daemon, detached by two forks. It waits until something is written to the
 * FIFO "GO", and then becomes the program, with the FIFO "DONE" as standard output. */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char byte;
    int go, done;
    pid_t middle;

    if (argc < 4)
        return 2;
    switch (middle = fork()) {
    case -1:
        return 1;
    case 0:
        break;
    default:
        waitpid(middle, 0, 0); /* the daemon has another parent by then */
        return 0;
    }
    setsid();
    switch (fork()) {
    case -1:
        return 1;
    case 0:
        break;
    default:
        return 0;
    }
    alarm(60); /* if nobody writes */
    /* Whoever waits for the end of the first process's output is not to wait for the daemon. */
    close(0), close(1), close(2);
    go = open(argv[1], O_RDONLY);
    if (go < 0 || read(go, &byte, 1) != 1)
        return 1;
    done = open(argv[2], O_WRONLY);
    if (done < 0 || dup2(done, 1) < 0)
        return 1;
    execv(argv[3], argv + 3);
    return 1;
}
