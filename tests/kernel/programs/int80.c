/* int80 [PROGRAM]: becomes the program through the 32-bit system call of an otherwise 64-bit process.
 * Without a program: status 0 if the kernel takes such calls at all (it may also kill). */
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXECVE_32 11
#define GETPID_32 20

static int call(int number, uint32_t first, uint32_t second, uint32_t third)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}

int main(int argc, char **argv)
{
    /* Pointers that have 32 bits. */
    struct low {
        uint32_t argv[2];
        uint32_t envp[1];
        char path[4096];
    } *low;

    if (argc < 2)
        return call(GETPID_32, 0, 0, 0) == getpid() ? 0 : 1;
    low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED || strlen(argv[1]) >= sizeof(low->path))
        return 1;
    strcpy(low->path, argv[1]);
    low->argv[0] = (uint32_t)(uintptr_t)low->path;
    call(EXECVE_32, low->argv[0], (uint32_t)(uintptr_t)low->argv, (uint32_t)(uintptr_t)low->envp);
    return 1;
}
