/* Executes a command under a seccomp filter, as container engines set one.
 *
 *     confined PROFILE COMMAND [ARGUMENT]...
 *
 * Every profile refuses, with EPERM, what Docker's default profile lets no container without capabilities do, as its
 * documentation lists that, and clone3() with ENOSYS. Of ptrace(2) and its kin it refuses
 *
 *     now       nothing: Docker since 20.10.6, containerd since 1.7, Podman since 4.1
 *     ptrace    process_vm_readv() and process_vm_writev(): Docker 19.03
 *     before    all three
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMESPACES 0x7e020000 /* all flags of clone() that make one */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

static const int refused[] = {
    __NR_acct, __NR_add_key, __NR_bpf, __NR_clock_settime, __NR_delete_module, __NR_fanotify_init, __NR_finit_module,
    __NR_fsconfig, __NR_fsmount, __NR_fsopen, __NR_get_mempolicy, __NR_init_module, __NR_kcmp, __NR_kexec_file_load,
    __NR_kexec_load, __NR_keyctl, __NR_lookup_dcookie, __NR_mbind, __NR_mount, __NR_move_mount, __NR_move_pages,
    __NR_open_by_handle_at, __NR_open_tree, __NR_perf_event_open, __NR_pidfd_getfd, __NR_pivot_root, __NR_quotactl,
    __NR_reboot, __NR_request_key, __NR_set_mempolicy, __NR_setdomainname, __NR_sethostname, __NR_setns,
    __NR_settimeofday, __NR_swapoff, __NR_swapon, __NR_syslog, __NR_umount2, __NR_unshare, __NR_userfaultfd,
};
static const int of_tracing[] = {__NR_process_vm_readv, __NR_process_vm_writev, __NR_ptrace};

static struct sock_filter program[256];
static unsigned short length;

static void add(unsigned short code, unsigned char yes, unsigned char no, unsigned int value)
{
    program[length++] = (struct sock_filter){code, yes, no, value};
}

static void refuse(int number, int with)
{
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, number);
    add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | with);
}

int main(int argc, char **argv)
{
    static const char *const profiles[] = {"now", "ptrace", "before"};
    unsigned int kin = 0;

    while (argc > 2 && kin < 3 && strcmp(argv[1], profiles[kin]) != 0)
        kin++;
    if (argc < 3 || kin == 3) {
        fprintf(stderr, "confined now|ptrace|before COMMAND [ARGUMENT]...\n");
        return 2;
    }
    add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
    add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCH);
    add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW); /* of another machine: tests execute nothing like that here */
    add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
    for (unsigned int i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        refuse(refused[i], EPERM);
    for (unsigned int i = 0; i < (kin == 2 ? 3 : 2 * kin); i++)
        refuse(of_tracing[i], EPERM);
    refuse(__NR_clone3, ENOSYS);
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, __NR_clone);
    add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, args[0]));
    add(BPF_JMP | BPF_JSET | BPF_K, 0, 1, NAMESPACES);
    add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM);
    add(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);

    struct sock_fprog filter = {length, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        perror("confined: seccomp");
        return 2;
    }
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 127;
}
