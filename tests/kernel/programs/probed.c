/* probed TIMES: passes each kind of probe so many times, in a thread that has another name than the process.
 *   the function probed_tick
 *   getppid(), of libc and of the kernel
 *   the USDT probe probed:plain, in two places, one after the other
 *   the USDT probe probed:guarded, while its semaphore says that somebody listens
 * Says how often the last was passed. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A nop, and a note that says where it is, whose probe it is and where the semaphore stands. */
#define USDT(name, semaphore)                                                                                          \
    __asm__ volatile("100: nop\n"                                                                                      \
                     ".pushsection .note.stapsdt, \"\", %%note\n"                                                      \
                     ".balign 4\n"                                                                                     \
                     ".4byte 102f - 101f, 104f - 103f, 3\n"                                                            \
                     "101: .asciz \"stapsdt\"\n"                                                                       \
                     "102: .balign 4\n"                                                                                \
                     "103: .8byte 100b, 0, " semaphore "\n"                                                            \
                     ".asciz \"probed\"\n"                                                                             \
                     ".asciz \"" name "\"\n"                                                                           \
                     ".asciz \"\"\n"                                                                                   \
                     "104: .balign 4\n"                                                                                \
                     ".popsection\n" ::)

/* Not all zero, so that it stands in the file. */
volatile unsigned short probed_semaphores[2] = {0, 1};

static int guarded;

__attribute__((noinline)) void probed_tick(void)
{
    __asm__ volatile("");
}

static void *pass(void *times)
{
    pthread_setname_np(pthread_self(), "another-name");
    for (int left = *(int *)times; left > 0; left--) {
        probed_tick();
        getppid();
        USDT("plain", "0");
        USDT("plain", "0");
        if (probed_semaphores[0]) {
            USDT("guarded", "probed_semaphores");
            guarded++;
        }
    }
    return times;
}

int main(int argc, char **argv)
{
    int times = argc == 2 ? atoi(argv[1]) : 0;
    pthread_t thread;

    if (times < 1 || pthread_create(&thread, NULL, pass, &times) != 0)
        return 2;
    pthread_join(thread, NULL);
    printf("%d\n", guarded);
    return 0;
}
