/* SPDX-License-Identifier: MIT
 *
 * The kernel side of `execprobe top`: counts on the whole machine how often a probe is passed, by program or by user.
 *
 * Compiled by BCC, with EXECS for successful execs and without for any other probe, and with BY_USER to count by user.
 * It counts here, in a map, and sends no events: so no count can be lost on its way. What finds the map full is counted
 * too, without its name.
 *
 *   on_exec        raw tracepoint sched_process_exec   the name is that of the new program
 *   on_tracepoint  tracepoint                          the name is that of the process that passes by
 *   on_probe       kprobe or uprobe                    the same
 */
#include <uapi/linux/ptrace.h>

#ifdef EXECS
#define NAME_CAP 256 /* NAME_MAX and the NUL: no file's name is longer */
#else
#define NAME_CAP 16 /* the kernel's own names of tasks */
#endif
#define PATH_CAP 4096

struct key {
    char name[NAME_CAP]; /* empty where users are counted */
    u32 uid;             /* 0 where programs are counted */
};

BPF_HASH(found, struct key, u64, NAMES_MAX);
BPF_PERCPU_ARRAY(no_room, u64, 1);

static __always_inline u64 read64(u64 from)
{
    u64 value = 0;
    bpf_probe_read_kernel(&value, sizeof(value), (void *)from);
    return value;
}

static __always_inline void count(struct key *key)
{
    u64 one = 1;
    int zero = 0;
    u64 *times = found.lookup(key);

    if (!times) {
        if (found.insert(key, &one) == 0)
            return;
        times = found.lookup(key); /* another CPU may have been first */
    }
    if (!times)
        times = no_room.lookup(&zero);
    if (times)
        lock_xadd(times, 1);
}

#ifdef EXECS

/* Per CPU, and safe there: the tracepoint's programs run with preemption off, and none of them runs inside another. */
struct scratch {
    struct key key;
    char path[PATH_CAP];
    char tail[NAME_CAP]; /* the path's last bytes */
    u32 start;           /* where in it the last component begins */
};

BPF_PERCPU_ARRAY(scratch, struct scratch, 1);

/* The last component of the path as it was executed: so a script counts as the script, and a link as the link. It is
 * named like ExecRecord.program. */
static __always_inline void name_program(struct scratch *scratch, u64 task, u64 filename)
{
    char *path = scratch->path, *tail = scratch->tail;
    char *name = scratch->key.name;
    int length = bpf_probe_read_kernel_str(path, PATH_CAP, (void *)filename);
    u64 from = length > NAME_CAP ? length - NAME_CAP : 0;
    u32 start;

    scratch->start = 0;
    bpf_probe_read_kernel_str(tail, NAME_CAP, (void *)(filename + from));
    for (int i = 0; i < NAME_CAP; i++) {
        if (tail[i] == 0)
            break;
        /* It stands in memory, so that the verifier sees one case at each turn and not one for every slash. */
        if (tail[i] == '/')
            *(volatile u32 *)&scratch->start = i + 1;
    }
    start = *(volatile u32 *)&scratch->start;
    bpf_probe_read_kernel_str(name, NAME_CAP, (void *)(filename + from + start));

    /* A path through a descriptor, /dev/fd/N, /proc/PID/fd/N or /proc/PID/exe, names no file: the file that was loaded
     * does, and if it has none (memfd_create) the kernel calls it memfd:NAME. */
    int descriptor = 0;
    if (path[0] == '/' && path[1] == 'd' && path[2] == 'e' && path[3] == 'v' && path[4] == '/' && path[5] == 'f' &&
        path[6] == 'd' && path[7] == '/') {
        descriptor = start == 8; /* /dev/fd/N/NAME is the file NAME of a folder */
    } else if (path[0] == '/' && path[1] == 'p' && path[2] == 'r' && path[3] == 'o' && path[4] == 'c' &&
               path[5] == '/') {
        char above[4] = {};
        if (start >= 4)
            bpf_probe_read_kernel(above, sizeof(above), (void *)(filename + from + start - 4));
        descriptor = (above[0] == '/' && above[1] == 'f' && above[2] == 'd' && above[3] == '/') ||
                     (name[0] == 'e' && name[1] == 'x' && name[2] == 'e' && name[3] == 0);
    }
    if (descriptor) {
        u64 file = read64(read64(task + OFF_TASK_MM) + OFF_MM_EXE_FILE);
        u64 dentry = read64(file + OFF_FILE_PATH + OFF_PATH_DENTRY);
        __builtin_memset(name, 0, NAME_CAP);
        bpf_probe_read_kernel_str(name, NAME_CAP, (void *)read64(dentry + OFF_DENTRY_NAME));
    }
    if (name[0] == 0)
        bpf_get_current_comm(name, 16);
}

int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0;
    struct scratch *memory = scratch.lookup(&zero);

    if (!memory)
        return 0;
    __builtin_memset(&memory->key, 0, sizeof(memory->key));
#ifdef BY_USER
    memory->key.uid = bpf_get_current_uid_gid();
#else
    name_program(memory, ctx->args[0], read64(ctx->args[2] + OFF_BPRM_FILENAME));
#endif
    count(&memory->key);
    return 0;
}

#else

/* Where these run, preemption may be on, and nothing per CPU but a counter would be safe: the key is on the stack. */
static __always_inline void passed(void)
{
    struct key key = {};
#ifdef BY_USER
    key.uid = bpf_get_current_uid_gid();
#else
    /* The process's name and not the thread's: threads are often named for what they do. */
    u64 leader = read64(bpf_get_current_task() + OFF_TASK_GROUP_LEADER);
    bpf_probe_read_kernel_str(key.name, sizeof(key.name), (void *)(leader + OFF_TASK_COMM));
#endif
    count(&key);
}

/* A 0 would take the samples of this tracepoint from everyone else's perf. */
int on_tracepoint(void *ctx)
{
    passed();
    return 1;
}

/* The event is the helper's own, so nobody else has samples of it. */
int on_probe(struct pt_regs *ctx)
{
    passed();
    return 0;
}

#endif
