/* execat FOLDER NAME...: becomes the first program NAME of the folder that there is, by execveat(2). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int folder;

    if (argc < 3)
        return 2;
    folder = open(argv[1], O_PATH | O_DIRECTORY);
    for (int i = 2; i < argc; i++) {
        char *command[] = {argv[i], NULL}, *none[] = {NULL};
        syscall(SYS_execveat, folder, argv[i], command, none, 0);
    }
    return 1;
}
