/* SPDX-License-Identifier: MIT
 *
 * The kernel side: follow watched process trees by fork, and report every exec in them.
 *
 * Compiled by BCC. It filters and copies and decides nothing. What it must know of the kernel's
 * structs comes in as OFF_* constants, which the helper looks up in the running kernel's BTF.
 *
 * The programs, and where the helper attaches them:
 *   on_rename    raw tracepoint task_rename           a process claims to be a root
 *   on_newtask   raw tracepoint task_newtask          a child inherits its creator's lineage
 *   *_again      as without                           for what the one before has been passed over (newest kernels)
 *   *_bell       behind those                         wakes the helper for what they have recorded (newest kernels)
 *   on_prepare   raw tracepoint sched_prepare_exec    an exec is in flight, and has opened its files (since Linux 6.10)
 *   *_prepare    kprobe begin_new_exec                the same, before that
 *   *_enter_*    kprobe or system-call tracepoint     an exec is under way: earlier, and with its arguments
 *   on_exec      raw tracepoint sched_process_exec    an exec has succeeded
 *   *_leave      kretprobe or system-call tracepoint  an exec has failed
 *   on_exit      raw tracepoint sched_process_exit    a process, or a thread of it, has ended
 *   on_wait      raw tracepoint sched_process_wait    the helper asks who a process is (in a PID namespace alone)
 *
 * Newer kernels run these programs so that they can be preempted (PREEMPTED): others of them can run on the same CPU in
 * the middle of one. There the counters are added to atomically, and scratch memory is taken and given back. The kernel
 * does not let a program begin on a CPU where it has not ended: then another one does its work. If that is passed over as
 * well, the kernel has counted it, and the helper looks.
 */
#include <uapi/linux/ptrace.h>

#define CLONE_THREAD 0x00010000 /* uapi/linux/sched.h */
#define AT_FDCWD -100           /* uapi/linux/fcntl.h */
#define SIGNAL_GROUP_EXIT 4     /* linux/sched/signal.h */
#define FMODE_EXEC 0x20         /* linux/fs.h: in f_flags of a file that an exec has opened */
#define PRESERVE_ARGV0 8        /* linux/binfmts.h: in interp_flags, since Linux 5.12 */
#define MNT_NS_INIT_INO 0xeffffff8U /* uapi/linux/nsfs.h: no namespace with a number of its own has a lower one */
#define NOT_KNOWN 0xffffffff    /* of a number of a process */

/* Records that can be in the making on a CPU at once. */
#ifdef PREEMPTED
#define SCRATCHES 4
#else
#define SCRATCHES 1
#endif

#define ANCESTORS 64 /* of a root that are looked at, and how many of them may be subreapers */
#define REAPERS 8

/* How many roots (a pytest inside a pytest inside ...) one process can belong to. */
#define SLOTS 6
#define PATH_CAP 4096
#define NAME_CAP 256
#define INTERP_CAP 512
#define FILE_CAP (PATH_CAP + NAME_CAP) /* a path's components, and what ends them */
#define STEPS 16                       /* components, mount points and entries of lists that one program takes */
#define ARGV_CAP 16384
#define ATTEMPT_ARGS 48
#define ATTEMPT_ARG_CAP 1024
#define FILES_CAP (2 * FILE_CAP + 2048) /* a record has to fit into 32 KiB, the limit of a map for each CPU */
#define DATA_CAP (PATH_CAP + INTERP_CAP + FILES_CAP + ARGV_CAP)

#define BPF_F_MMAPABLE (1U << 10) /* uapi/linux/bpf.h */

enum kind { KIND_EXEC = 1, KIND_ATTEMPT = 2, KIND_EXIT = 3, KIND_UNFOLLOWED = 4, KIND_UNMARKED = 5 };

enum flag {
    FLAG_ARGV_CUT = 1,
    FLAG_ARGV_UNREAD = 2,
    FLAG_ENTRY_UNSEEN = 4,
    FLAG_SCRIPTS_ALL = 8, /* of a script: all files of FILE_SCRIPTS are there */
    FLAG_BORROWED = 32,   /* the process has another user's rights, or another group's, as setuid programs have */
    FLAG_ARGV0_KEPT = 16, /* of a script: argv has the caller's argv[0], behind the path of what it belongs to */
};

/* The files of an exec, in the order in which a record has their paths. From FILE_SCRIPTS on they are what the kernel
 * opened before the executable, the last first: the script that was executed stands behind those that are its
 * interpreters. */
enum exec_file { FILE_EXECUTABLE, FILE_CWD, FILE_SCRIPTS };

/* What stands behind the components of a path, and can be none: it reaches the root, no folder holds the file (a memfd),
 * or where it goes on is not known. */
enum path_end { END_ROOT = '/', END_NOWHERE = '.', END_UNKNOWN = '.' | '.' << 8 };

/* Where a process stands below one root: which branch of the root it belongs to. */
struct slot {
    u64 root;   /* the root's id, 0: none, or one that had gone; others may follow */
    u64 born;   /* when the branch left the root, 0: before the root was watched, or the root itself */
    u32 top;    /* the process that the root forked, 0: this is the root itself */
    u32 thread; /* the thread of the root that forked it, 0: not known */
};

/* One process of a watched tree. An image is named by its pid and the time of its exec. */
struct proc {
    u64 image_at;  /* the image it runs, 0: the one that was there when watching began */
    u64 parent_at; /* the image its creator ran when it forked this process */
    u32 image_pid;
    u32 parent_pid;
    u32 own_exec; /* has it exec'd since it was forked? */
    u32 recorded; /* has on_exec seen its exec? until on_exec_again knows that */
    struct slot slots[SLOTS];
    u64 forked;      /* when it was, 0: before the root was watched */
    char comm[16];   /* of its image, as the exec has named it */
    u32 pids[SLOTS]; /* its pid as the root of each slot sees it, 0: not known */
};

struct head {
    u32 kind;
    s32 error; /* an attempt's errno; of an exit the status, as wait() has it */
    u64 at;
    u64 entered; /* when execve was entered; at, where that was not seen */
    u64 parent_at;
    u64 previous_at; /* the image this process ran before, 0: none of its own */
    u32 parent_pid;
    u32 pid;
    u32 ppid;
    u32 uid;
    u32 gid;
    u32 unused;
    struct slot slots[SLOTS];
    /* pid and ppid in the PID namespace of each slot's root, as users see them; 0 where the parent is outside of it. */
    u32 pids[SLOTS];
    u32 ppids[SLOTS];
    /* From here on, with what follows the head, all bytes are the same for execs of one command. */
    u32 flags;
    s32 dirfd; /* an attempt's execveat argument */
    char comm[16];
    /* What follows the head: the path, the interpreter, the paths of files, argv. Each length counts the NULs of its
     * strings. A file's path is its components, the last first, and an enum path_end. */
    u32 path_len;
    u32 interp_len;
    u32 argv_len;
    u32 data_len;
};

/* How far the paths of an exec's files are recorded. */
struct walk {
    u64 mount;    /* where the path that is being appended has come to; no dentry: at the next file */
    u64 above[2]; /* the mount that it is mounted in, and the dentry there */
    u64 top;      /* its root; these three are read at once */
    u64 dentry;
    u64 climbed; /* the mount whose root was reached first since the last component */
    u64 rooted;  /* one that was climbed to the end of a path: most paths end there, and need not climb it again */
    u64 mm;
    u64 works;      /* what is left of the task's list */
    u64 executable; /* see struct entry */
    u32 file;       /* enum exec_file */
    u32 cap;        /* how far data may be filled by then */
    u32 has_scripts; /* that can be found */
    u32 is_over;
    u32 end; /* enum path_end. In memory, as the verifier would follow each value of a local variable by itself */
    u32 again; /* by executed_again() */
};

struct record {
    struct head head;
    union {
        char data[DATA_CAP];
        struct proc child; /* on the stack, the verifier would take seven times as long for a fork */
    };
    struct walk walk;
    u32 place; /* in its CPU's scratch memory */
};

struct entry {
    u64 at;
    u64 path;
    u64 argv;
    u32 tgid;
    s32 dirfd;
    u64 args_known;
    u64 works;      /* the task's list of works when its new image was prepared, 0: none, or that was not seen */
    u64 executable; /* a file that the kernel keeps open for an interpreter, 0: none */
    u64 prepared;   /* these two are known, and the list stays as it is till the exec is over */
};

/* One for each CPU, so that they cost nothing, and a page that is shared with who waits for them to change. seen == submitted + dropped once all is quiet; and seen comes after these two,
 * because the helper gets them in this order, and must not find them equal while something is in the making. */
struct counters {
    u64 submitted;
    u64 dropped;
    u64 unlisted; /* dropped, and the list of dropped ones was full too */
    u64 seen;
    u64 entered;
    u64 ended;
    u64 bell;   /* is to be rung, by the program for that */
    u64 unread; /* bytes submitted since the reader was last woken for them */
    u64 blind;  /* of the unlisted: each stands for any number of execs. Counted first, and read last */
    u64 apart[7]; /* no two CPUs have the same cache line */
};

enum want { WANT_BELL, WANT_CLAIMS, WANT_NUMBER, WANTS };

struct claim {
    char comm[16];
};

struct root {
    u64 armed_at;
    u64 forks; /* in its tree; counted after the child is in the map, so that a list of the map can be checked by it */
    u32 tgid;
    u32 refused; /* all SLOTS of the process were taken */
    u32 level;   /* how many PID namespaces its own is below the machine's first */
    u32 reapers[REAPERS]; /* its ancestors that are subreapers */
    u32 all_reapers;      /* 0: there are more of them, or more ancestors, than there is room for */
    u32 found;
};

/* The helper, in its PID namespace. */
struct asker {
    u64 device; /* the namespace's */
    u64 inode;
    u32 pid;
};

/* What a process is to the kernel that the helper knows by its number in a PID namespace. */
struct answer {
    u32 given;
    u32 pid; /* 0: there is none */
};

BPF_PERF_OUTPUT(events);
BPF_PERF_OUTPUT(bell);
BPF_PERCPU_ARRAY(scratch, struct record, SCRATCHES);
#ifdef PREEMPTED
BPF_HASH(taken, u32, u8, CPUS_MAX * SCRATCHES); /* which of them are, by CPU */
#endif
BPF_PROG_ARRAY(parts, 1); /* on_exec_paths, which goes on with itself: the kernel allows 33 of these in a row */
BPF_F_TABLE("array", u32, struct counters, counts, CPUS_MAX, BPF_F_MMAPABLE);
BPF_ARRAY(wanted, u64, WANTS); /* by enum want: what the helper waits for, 0 if it does not */
BPF_HASH(procs, u32, struct proc, 32768); /* the helper may have it made larger or smaller */
BPF_HASH(entering, u64, struct entry, 8192);
BPF_HASH(claims, struct claim, u64, 256);
BPF_HASH(roots, u64, struct root, 1024);
BPF_ARRAY(answers, struct answer, 1);
BPF_ARRAY(asker, struct asker, 1);
BPF_QUEUE(dropped, struct head, 4096);

static __always_inline u64 read64(u64 at)
{
    u64 value = 0;
    bpf_probe_read_kernel(&value, sizeof(value), (void *)at);
    return value;
}

static __always_inline u32 read32(u64 at)
{
    u32 value = 0;
    bpf_probe_read_kernel(&value, sizeof(value), (void *)at);
    return value;
}

static __always_inline u8 read8(u64 at)
{
    u8 value = 0;
    bpf_probe_read_kernel(&value, sizeof(value), (void *)at);
    return value;
}

/* Two that mostly stand side by side: a read costs more than what is read. */
static __always_inline void read_two(u64 at, u64 first, u64 second, u64 *values)
{
    if (second == first + sizeof(u64)) {
        bpf_probe_read_kernel(values, 2 * sizeof(u64), (void *)(at + first));
    } else {
        values[0] = read64(at + first);
        values[1] = read64(at + second);
    }
}

/* A process has a number in its own PID namespace and in each of those above; 0 in one that it is outside of. */
static __always_inline u32 number(u64 pid, u64 level)
{
    if (pid == 0)
        return NOT_KNOWN; /* it is ending just now */
    if (read32(pid + OFF_PID_LEVEL) < level)
        return 0;
    return read32(pid + OFF_PID_NUMBERS + level * SIZE_UPID + OFF_UPID_NR);
}

static __always_inline u64 pid_of(u64 task)
{
    return read64(read64(task + OFF_TASK_GROUP_LEADER) + OFF_TASK_THREAD_PID);
}

static __always_inline struct counters *counters(void)
{
    u32 cpu = bpf_get_smp_processor_id();
    return counts.lookup(&cpu);
}

/* To be given back. 0 where all are taken. */
static __always_inline struct record *take_record(void)
{
#ifndef PREEMPTED
    int zero = 0;
    return scratch.lookup(&zero);
#else
    u32 first = bpf_get_smp_processor_id() * SCRATCHES;
    u8 one = 1;
#pragma unroll
    for (int i = 0; i < SCRATCHES; i++) {
        u32 key = first + i;
        if (taken.insert(&key, &one) == 0) {
            struct record *record = scratch.lookup(&i);
            if (record)
                record->place = i;
            return record;
        }
    }
    return 0;
#endif
}

static __always_inline void give_back(struct record *record)
{
#ifdef PREEMPTED
    u32 key = bpf_get_smp_processor_id() * SCRATCHES + record->place;
    taken.delete(&key);
#endif
}

static __always_inline void add(u64 *number)
{
#ifdef PREEMPTED
    __sync_fetch_and_add(number, 1);
#else
    (*number)++;
#endif
}

/* What can't be recorded, and not even listed. */
static __always_inline void lose(void)
{
    struct counters *count = counters();
    if (!count)
        return;
    add(&count->seen);
    add(&count->unlisted);
    add(&count->dropped);
}

static __always_inline int is_wanted(int what)
{
    u64 *value = wanted.lookup(&what);
    return value && *value;
}

/* Wakes the helper. That costs more than a record does, so records alone do not: only much of them, one that found no
 * room, and the end of an exec while somebody waits for it. */
static __always_inline void ring_bell(void *ctx, int later)
{
    u64 nothing = 0;
#ifdef PREEMPTED
    /* The helper would put aside the program that wakes it, and others of its kind would be passed over. */
    struct counters *count = counters();
    if (later && count) {
        count->bell = 1;
        return;
    }
#endif
    bell.perf_submit(ctx, &nothing, sizeof(nothing));
}

/* What can't be delivered is listed by its head alone, so that it can be charged to the right window. */
static __always_inline void deliver(void *ctx, struct head *head, u64 size, int bell_later)
{
    struct counters *count = counters();
    if (!count)
        return;
    add(&count->seen);
    if (events.perf_submit(ctx, head, size) == 0) {
        add(&count->submitted);
        count->unread += size; /* this may lose some to another program's: then the bell rings a little later */
        if (count->unread < WATERMARK)
            return;
    } else {
        if (dropped.push(head, 0) != 0)
            add(&count->unlisted);
        add(&count->dropped);
    }
    count->unread = 0;
    ring_bell(ctx, bell_later);
}

static __always_inline void deliver_record(void *ctx, struct record *record, int bell_later)
{
    u64 size = sizeof(struct head) + *(volatile u32 *)&record->head.data_len;
    asm volatile("" : "+r"(size)); /* or the compiler bounds one register and passes another, which 6.1 refuses */
    if (size > sizeof(struct head) + DATA_CAP)
        size = sizeof(struct head) + DATA_CAP;
    deliver(ctx, &record->head, size, bell_later);
}

/* One of those kinds that stand for any number of execs is not listed. */
static __always_inline void lose_sight(struct counters *count, u32 kind)
{
    if (kind == KIND_UNFOLLOWED || kind == KIND_UNMARKED)
        add(&count->blind);
}

/* For what has no record of its own: a map was full, or the end of an attempt went unseen. */
static __always_inline void deliver_loss(u32 kind, struct proc *proc, u32 pid, u64 entered)
{
    struct counters *count = counters();
    struct record *record = take_record();
    if (!count)
        return;
    if (!record) {
        lose_sight(count, kind);
        lose();
        return;
    }
    __builtin_memset(&record->head, 0, sizeof(record->head));
    record->head.kind = kind;
    record->head.at = bpf_ktime_get_ns();
    record->head.entered = entered ? entered : record->head.at;
    record->head.pid = pid;
    __builtin_memcpy(record->head.slots, proc->slots, sizeof(proc->slots));
    add(&count->seen);
    if (dropped.push(&record->head, 0) != 0) {
        lose_sight(count, kind);
        add(&count->unlisted);
    }
    add(&count->dropped);
    give_back(record);
}

/* ---- lineage ---- */

/* Who takes in what a tree leaves behind: PR_SET_CHILD_SUBREAPER shows in no file of /proc. Those of other PID namespaces
 * take in nothing. */
static __always_inline void find_reapers(struct root *root, u64 task)
{
    /* Their number is counted in the map: the verifier would follow each value of a local variable by itself. */
#pragma nounroll
    for (int i = 0; i < ANCESTORS; i++) {
        task = read64(task + OFF_TASK_REAL_PARENT);
        u32 tgid = read32(task + OFF_TASK_TGID);
        if (tgid <= 1 || read32(pid_of(task) + OFF_PID_LEVEL) != root->level) {
            root->all_reapers = 1;
            return;
        }
        u8 bits = read8(read64(task + OFF_TASK_SIGNAL) + BIT_SIGNAL_SUBREAPER / 8);
        if (bits >> BIT_SIGNAL_SUBREAPER % 8 & 1) {
            if (root->found >= REAPERS)
                return;
            root->reapers[root->found & (REAPERS - 1)] = tgid;
            root->found++;
        }
    }
}

/* A process becomes a root by taking, for a moment, a name that only it was told. So it is the kernel that
 * says which process that is, and pid namespaces do not matter. */
static __always_inline int claim_root(struct bpf_raw_tracepoint_args *ctx)
{
    struct claim claim = {};
    struct root root = {}, *kept;
    struct slot slot = {};
    u64 *id;
    struct proc *proc;

    if (!is_wanted(WANT_CLAIMS)) /* every exec comes here */
        return 0;
    bpf_probe_read_kernel_str(claim.comm, sizeof(claim.comm), (void *)ctx->args[1]);
    id = claims.lookup(&claim);
    if (!id)
        return 0;
    slot.root = *id;
    if (claims.delete(&claim) != 0)
        return 0; /* it was withdrawn just now */
    root.armed_at = bpf_ktime_get_ns();
    root.tgid = read32(ctx->args[0] + OFF_TASK_TGID);
    root.level = read32(pid_of(ctx->args[0]) + OFF_PID_LEVEL);

    proc = procs.lookup(&root.tgid);
    if (!proc) {
        struct proc fresh = {};
        fresh.slots[0] = slot;
        if (procs.update(&root.tgid, &fresh) != 0)
            root.refused = 1;
    } else {
        int placed = 0;
#pragma unroll
        for (int i = 0; i < SLOTS; i++) {
            if (!placed && (proc->slots[i].root == 0 || !roots.lookup(&proc->slots[i].root))) {
                proc->slots[i] = slot;
                placed = 1;
            }
        }
        root.refused = !placed;
    }
    roots.update(&slot.root, &root);
    kept = roots.lookup(&slot.root);
    if (kept)
        find_reapers(kept, ctx->args[0]);
    return 0;
}

static __always_inline int follow(struct bpf_raw_tracepoint_args *ctx)
{
    u64 child = ctx->args[0];
    u64 self = bpf_get_current_pid_tgid();
    u32 tgid = self >> 32;
    u32 child_tgid;
    u64 followed = 0; /* the roots' ids: of a mere yes the verifier would follow both values by themselves */
    struct proc *parent, *fresh;
    struct record *record;
    struct root *root;

    if (ctx->args[1] & CLONE_THREAD)
        return 0;
    child_tgid = read32(child + OFF_TASK_TGID);
    parent = procs.lookup(&tgid);
    if (!parent) {
        procs.delete(&child_tgid); /* pid numbers come back: nothing stale may match */
        return 0;
    }
    record = take_record();
    if (!record) {
        deliver_loss(KIND_UNFOLLOWED, parent, child_tgid, 0);
        return 0;
    }
    fresh = &record->child;
    __builtin_memset(fresh, 0, sizeof(*fresh));
    fresh->image_at = fresh->parent_at = parent->image_at;
    fresh->image_pid = fresh->parent_pid = parent->image_pid;
    fresh->forked = bpf_ktime_get_ns();
    __builtin_memcpy(fresh->comm, parent->comm, sizeof(fresh->comm));
#pragma unroll
    for (int i = 0; i < SLOTS; i++) {
        struct slot slot = parent->slots[i];
        root = slot.root ? roots.lookup(&slot.root) : 0;
        if (!root)
            continue; /* a root that has gone takes its slot along */
        if (slot.top == 0) {
            slot.top = child_tgid;
            slot.thread = self;
            slot.born = fresh->forked;
        }
        fresh->slots[i] = slot;
        fresh->pids[i] = root->level ? number(pid_of(child), root->level) : child_tgid;
        followed |= slot.root;
    }
    if (!followed) {
        procs.delete(&child_tgid);
    } else if (procs.update(&child_tgid, fresh) != 0) {
        deliver_loss(KIND_UNFOLLOWED, parent, child_tgid, 0);
    } else {
#pragma unroll
        for (int i = 0; i < SLOTS; i++) { /* looked up again, for kept pointers are more states for the verifier */
            root = fresh->slots[i].root ? roots.lookup(&fresh->slots[i].root) : 0;
            if (root)
                __sync_fetch_and_add(&root->forks, 1);
        }
    }
    give_back(record);
    return 0;
}

static __always_inline int follow_again(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    u32 child_tgid = read32(ctx->args[0] + OFF_TASK_TGID);
    struct proc *parent, *child;

    if (ctx->args[1] & CLONE_THREAD)
        return 0;
    child = procs.lookup(&child_tgid);
    parent = procs.lookup(&tgid);
    if (!parent)
        return child ? follow(ctx) : 0;
    if (child && !child->own_exec && child->parent_pid == parent->image_pid && child->parent_at == parent->image_at)
        return 0; /* done */
    return follow(ctx);
}

/* The helper knows processes by their numbers in its own PID namespace, and the kernel's are nowhere to be read there.
 * So it waits for a process that is no child of its. Nothing comes of it, but the kernel has looked the process up. */
static __always_inline int answer_helper(struct bpf_raw_tracepoint_args *ctx)
{
    struct bpf_pidns_info self = {};
    struct answer answer = {.given = 1};
    int zero = 0;
    struct asker *helper = asker.lookup(&zero);
    u64 pid = ctx->args[0];

    if (!is_wanted(WANT_NUMBER)) /* every wait() of the machine comes here */
        return 0;
    if (!helper || bpf_get_ns_current_pid_tgid(helper->device, helper->inode, &self, sizeof(self)) != 0 ||
        self.tgid != helper->pid)
        return 0;
    if (pid)
        answer.pid = number(pid, 0);
    answers.update(&zero, &answer);
    return 0;
}

static __always_inline void lose_attempt(struct proc *proc, u32 tgid, u64 entered)
{
#ifdef ATTEMPTS
    deliver_loss(KIND_ATTEMPT, proc, tgid, entered);
#endif
}

static __always_inline void leave(void *ctx, u64 task, int bell_later)
{
    struct counters *count = counters();
    if (entering.delete(&task) == 0 && count) {
        add(&count->ended);
        if (is_wanted(WANT_BELL))
            ring_bell(ctx, bell_later);
    }
}

/* As wait() would have it, of a process whose last thread is ending. */
static __always_inline u32 exit_status(u64 task, u64 signal)
{
    if (read32(signal + OFF_SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT)
        return read32(signal + OFF_SIGNAL_GROUP_EXIT_CODE);
    return read32(read64(task + OFF_TASK_GROUP_LEADER) + OFF_TASK_EXIT_CODE);
}

static __always_inline int ended(struct bpf_raw_tracepoint_args *ctx)
{
    u64 task = ctx->args[0];
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    int tops = 0;
    u64 signal;
    struct entry *entry;
    struct proc *proc;

    proc = procs.lookup(&tgid);
    entry = entering.lookup(&task);
    if (entry) { /* also of one that is not the last of its process to go, and comes here after the last */
        if (proc)
            lose_attempt(proc, tgid, entry->at); /* killed inside execve, or it has failed and that went unseen */
        leave(ctx, task, 1);
    }
    if (!proc)
        return 0;
    /* signal->live was counted down before: 0 when this was the process's last thread. */
    signal = read64(task + OFF_TASK_SIGNAL);
    if (read32(signal + OFF_SIGNAL_LIVE) != 0)
        return 0;
#pragma unroll
    for (int i = 0; i < SLOTS; i++)
        if (proc->slots[i].root != 0 && proc->slots[i].top == tgid)
            tops = 1;
    if (tops || proc->own_exec) {
        struct head head = {.kind = KIND_EXIT, .pid = tgid};
        head.at = head.entered = bpf_ktime_get_ns();
        head.previous_at = proc->own_exec ? proc->image_at : 0;
        head.error = exit_status(task, signal);
        __builtin_memcpy(head.slots, proc->slots, sizeof(proc->slots));
        deliver(ctx, &head, sizeof(head), 1);
    }
    procs.delete(&tgid);
    return 0;
}

static __always_inline int ended_again(struct bpf_raw_tracepoint_args *ctx)
{
    u64 task = ctx->args[0];
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    if (procs.lookup(&tgid) || entering.lookup(&task))
        return ended(ctx); /* else both were taken out; what lives on in other threads is left as it is */
    return 0;
}

static __always_inline int ring_now(void *ctx)
{
    struct counters *count = counters();
    if (count && count->bell) {
        count->bell = 0;
        ring_bell(ctx, 0);
    }
    return 0;
}

/* ---- an exec is under way ---- */

static __always_inline void enter(void *ctx, struct entry *entry, int replace)
{
    u64 task = bpf_get_current_task();
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct proc *proc = procs.lookup(&tgid);
    struct counters *count = counters();
    struct entry *known;

    if (!proc || !count)
        return;
    proc->recorded = 0;
    entry->tgid = tgid;
    known = entering.lookup(&task);
    if (known && replace) { /* the end of the last one, which failed, went unseen: kretprobes can be missed */
        u64 entered = known->at;
        entry->at = bpf_ktime_get_ns();
        *known = *entry;
        lose_attempt(proc, tgid, entered);
        return;
    }
    if (known) {
        known->works = entry->works;
        known->executable = entry->executable;
        known->prepared = entry->prepared;
        return;
    }
    add(&count->entered); /* before the clock is read: whoever looks after that moment must find something */
    entry->at = bpf_ktime_get_ns();
    if (entering.update(&task, entry) != 0) {
        add(&count->ended);
        deliver_loss(KIND_UNMARKED, proc, tgid, 0);
    }
}

/* The last moment at which the files that the exec has opened stand alone on the task's list of works. */
static __always_inline void prepare(void *ctx, u64 bprm)
{
    u64 task = bpf_get_current_task();
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct entry entry = {};
    u64 names[2] = {};

    if (!procs.lookup(&tgid)) /* every exec of the machine comes here */
        return;
    read_two(bprm, OFF_BPRM_FILENAME, OFF_BPRM_INTERP, names);
    if (names[1] != names[0]) { /* a script: of others nothing of this is needed */
        entry.works = read64(task + OFF_TASK_WORKS);
        entry.executable = read64(bprm + OFF_BPRM_EXECUTABLE);
        entry.prepared = OFF_TASK_IO_URING == 0 || read64(task + OFF_TASK_IO_URING) == 0; /* or it does works early */
    }
    enter(ctx, &entry, 0);
}

/* ---- an exec has succeeded, or failed ---- */

static __always_inline void fill_head(struct record *record, u32 kind, struct proc *proc, u32 tgid, u64 task)
{
    u64 ids = bpf_get_current_uid_gid();
    u64 parent = read64(task + OFF_TASK_REAL_PARENT);
    struct head *head = &record->head;
    __builtin_memset(head, 0, sizeof(*head));
    head->kind = kind;
    head->at = bpf_ktime_get_ns();
    head->pid = tgid;
    head->ppid = read32(parent + OFF_TASK_TGID);
    head->uid = ids;
    head->gid = ids >> 32;
    head->parent_at = proc->parent_at;
    head->parent_pid = proc->parent_pid;
    head->previous_at = proc->own_exec ? proc->image_at : 0;
    __builtin_memcpy(head->slots, proc->slots, sizeof(proc->slots));
    for (int i = 0; i < SLOTS; i++) {
        u64 id = proc->slots[i].root;
        struct root *root = id ? roots.lookup(&id) : 0;
        if (!root)
            continue;
        head->pids[i] = root->level ? number(pid_of(task), root->level) : tgid;
        head->ppids[i] = root->level ? number(pid_of(parent), root->level) : head->ppid;
    }
    bpf_get_current_comm(head->comm, sizeof(head->comm));
}

/* Appends a string and returns its length with the NUL, 0 if it can't be read. How much data there is stands in the
 * record and is read anew each time: so the verifier sees one case at each turn of a loop, not one for every length. */
static __always_inline u32 append(struct record *record, u32 cap, u64 from, int user)
{
    u32 used = *(volatile u32 *)&record->head.data_len;
    int len;
    if (used > DATA_CAP - cap)
        return 0;
    if (user)
        len = bpf_probe_read_user_str(&record->data[used], cap, (void *)from);
    else
        len = bpf_probe_read_kernel_str(&record->data[used], cap, (void *)from);
    if (len <= 0)
        return 0;
    *(volatile u32 *)&record->head.data_len = used + len;
    return len;
}

/* A task's list of works has the files that it closes: for good they are closed only as the system call returns. There
 * this exec has left scripts when it turned to their interpreters. Other works are in no struct file; that this one is
 * shown by two pointers to one inode. */
static __always_inline int is_opened_to_execute(u64 file)
{
    u64 inode = read64(file + OFF_FILE_INODE);
    u64 dentry = read64(file + OFF_FILE_PATH + OFF_PATH_DENTRY);

    return inode && dentry && read64(dentry + OFF_DENTRY_INODE) == inode && read32(file + OFF_FILE_FLAGS) & FMODE_EXEC;
}

/* The struct path of the file that comes next; 0: none at this step, and none any more once the walk is over. */
static __always_inline u64 next_file(struct record *record, u64 task)
{
    struct walk *walk = &record->walk;
    u32 file = *(volatile u32 *)&walk->file;

    *(volatile u32 *)&walk->file = file + 1;
    if (file == FILE_EXECUTABLE) {
        walk->cap = PATH_CAP + INTERP_CAP + FILE_CAP;
        return read64(walk->mm + OFF_MM_EXE_FILE) + OFF_FILE_PATH;
    }
    if (file == FILE_CWD) {
        walk->cap += FILE_CAP;
        return read64(task + OFF_TASK_FS) + OFF_FS_PWD;
    }
    walk->cap = PATH_CAP + INTERP_CAP + FILES_CAP;
    if (!walk->has_scripts) {
        walk->is_over = 1;
        return 0;
    }
    if (file == FILE_SCRIPTS && walk->executable)
        return walk->executable + OFF_FILE_PATH;

    u64 work = walk->works;
    if (!work) {
        record->head.flags |= FLAG_SCRIPTS_ALL;
        walk->is_over = 1;
        return 0;
    }
    walk->works = read64(work + OFF_WORK_NEXT);
    return is_opened_to_execute(work - OFF_FILE_WORK) ? work - OFF_FILE_WORK + OFF_FILE_PATH : 0;
}

/* What stands behind a path's components. */
static __always_inline void end_path(struct record *record, u32 end)
{
    u32 used = *(volatile u32 *)&record->head.data_len;
    if (used > DATA_CAP - sizeof(end))
        return;
    __builtin_memcpy(&record->data[used], &end, sizeof(end));
    *(volatile u32 *)&record->head.data_len = used + (end > 0xff ? 3 : 2);
}

static __always_inline void enter_mount(struct walk *walk, u64 mount, u64 dentry)
{
    walk->mount = mount;
    walk->dentry = dentry;
    if (OFF_MOUNT_MOUNTPOINT == OFF_MOUNT_PARENT + 8 && OFF_MOUNT_MNT + OFF_VFSMOUNT_ROOT == OFF_MOUNT_PARENT + 16) {
        bpf_probe_read_kernel(walk->above, sizeof(walk->above) + sizeof(walk->top), (void *)(mount + OFF_MOUNT_PARENT));
    } else {
        read_two(mount, OFF_MOUNT_PARENT, OFF_MOUNT_MOUNTPOINT, walk->above);
        walk->top = read64(mount + OFF_MOUNT_MNT + OFF_VFSMOUNT_ROOT);
    }
}

struct entry_of_folder {
    u64 parent;
    u32 hash;
    u32 length;
    u64 name;
};

static __always_inline void read_dentry(u64 dentry, struct entry_of_folder *found)
{
    if (OFF_DENTRY_NAME == OFF_DENTRY_PARENT + __builtin_offsetof(struct entry_of_folder, name) &&
        OFF_DENTRY_LENGTH == OFF_DENTRY_PARENT + __builtin_offsetof(struct entry_of_folder, length)) {
        bpf_probe_read_kernel(found, sizeof(*found), (void *)(dentry + OFF_DENTRY_PARENT));
    } else {
        found->parent = read64(dentry + OFF_DENTRY_PARENT);
        found->length = read32(dentry + OFF_DENTRY_LENGTH);
        found->name = read64(dentry + OFF_DENTRY_NAME);
    }
}

/* One component of a path, or one mount point, or the next path. Components come from the end, as d_path() takes them;
 * but what has no place in the tree of mounts any more (umount -l) has no path. */
static __always_inline void step(struct record *record, u64 task)
{
    struct walk *walk = &record->walk;
    struct entry_of_folder found = {};
    u64 dentry = walk->dentry, path, start[2] = {};
    walk->end = END_UNKNOWN;

    if (!dentry) {
        path = next_file(record, task);
        walk->climbed = 0;
        if (path) {
            read_two(path, OFF_PATH_MNT, OFF_PATH_DENTRY, start);
            enter_mount(walk, start[0] - OFF_MOUNT_MNT, start[1]);
        }
        return;
    }
    if (dentry == walk->top) {
        if (!walk->climbed)
            walk->climbed = walk->mount;
        if (walk->mount == walk->rooted) {
            walk->end = END_ROOT;
        } else if (walk->above[0] != walk->mount) {
            enter_mount(walk, walk->above[0], walk->above[1]);
            return;
        } else if (read32(read64(walk->mount + OFF_MOUNT_NS) + OFF_MNT_NS_NUMBER) >= MNT_NS_INIT_INO) {
            /* A mount that is in no folder yet (fsmount, open_tree) has a namespace to itself, which has no number. */
            walk->end = END_ROOT;
            walk->rooted = walk->climbed;
        }
    } else {
        read_dentry(dentry, &found);
        /* A file system that ends here, though the mount's root has not been met: the folder was moved away from under a
         * bind mount, or the file was opened by a handle. Memfds end themselves, too, but have names. Those of FUSE and
         * vfat can be longer than others, and half a name is none. */
        if (found.length < NAME_CAP && (found.parent != dentry || read8(found.name) != '/') &&
            *(volatile u32 *)&record->head.data_len <= walk->cap - 2 * NAME_CAP &&
            append(record, NAME_CAP, found.name, 0) != 0) {
            walk->dentry = found.parent;
            walk->climbed = 0;
            if (found.parent != dentry)
                return;
            walk->end = END_NOWHERE;
        }
    }
    end_path(record, *(volatile u32 *)&walk->end);
    walk->dentry = 0;
}

/* What is left of an exec's record, once it has all paths that it can have. */
static __always_inline void finish(struct bpf_raw_tracepoint_args *ctx, struct record *record)
{
    u64 task = ctx->args[0];
    u32 used = *(volatile u32 *)&record->head.data_len;
    u64 range[2] = {};
    u64 length;

    read_two(record->walk.mm, OFF_MM_ARG_START, OFF_MM_ARG_END, range);
    length = range[1] - range[0];
    if (length > ARGV_CAP) {
        length = ARGV_CAP;
        record->head.flags |= FLAG_ARGV_CUT;
    }
    if (used > DATA_CAP - ARGV_CAP || bpf_probe_read_user(&record->data[used], length, (void *)range[0]) != 0) {
        record->head.flags |= FLAG_ARGV_UNREAD;
        length = 0;
    }
    record->head.argv_len = length;
    record->head.data_len += length;
    deliver_record(ctx, record, 1);
    give_back(record);
    leave(ctx, task, 1);
}

/* Goes on with an exec's record. One program for all paths would keep the verifier busy for a fifth of a second. */
static __always_inline void record_paths(struct bpf_raw_tracepoint_args *ctx)
{
    struct record *record;
    int place = 0;

#ifdef PREEMPTED
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct proc *proc = procs.lookup(&tgid);
    place = proc ? proc->recorded - 1 : SCRATCHES;
#endif
    record = scratch.lookup(&place);
#ifdef PREEMPTED
    if (!proc || !record || record->head.pid != tgid) { /* the helper has written over its place meanwhile */
        lose();
        leave(ctx, ctx->args[0], 1);
        return;
    }
#else
    if (!record)
        return;
#endif
#pragma nounroll
    for (int i = 0; i < STEPS && !*(volatile u32 *)&record->walk.is_over; i++)
        step(record, ctx->args[0]);
    if (!*(volatile u32 *)&record->walk.is_over) {
        parts.call(ctx, 0);
        end_path(record, END_UNKNOWN); /* it was the last one */
    }
#ifdef PREEMPTED
    if (record->walk.again) /* nothing returns to executed_again() */
        proc->recorded = 0;
#endif
    finish(ctx, record);
}

static __always_inline int executed(struct bpf_raw_tracepoint_args *ctx, int again)
{
    u64 task = ctx->args[0];
    u64 bprm = ctx->args[2];
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    u64 names[2] = {}; /* the file's and the interpreter's, in kernel memory */
    struct proc *proc = procs.lookup(&tgid);
    struct record *record;
    struct entry *entry;
    struct walk *walk;

    if (!proc)
        return 0;
    record = take_record();
    if (!record) {
        bpf_get_current_comm(proc->comm, sizeof(proc->comm));
        proc->image_at = bpf_ktime_get_ns(); /* what is above it is not known, and must not seem to be */
        proc->image_pid = tgid;
        proc->own_exec = 1;
        proc->recorded = 1;
        lose();
        leave(ctx, task, 1);
        return 0;
    }
    walk = &record->walk;
    fill_head(record, KIND_EXEC, proc, tgid, task);
    entry = entering.lookup(&task);
    if (entry) {
        record->head.entered = entry->at;
        walk->works = entry->works;
        walk->executable = entry->executable;
        walk->has_scripts = entry->prepared;
    } else {
        record->head.entered = record->head.at;
        record->head.flags |= FLAG_ENTRY_UNSEEN;
        walk->has_scripts = 0;
    }
    /* A root that replaces itself begins a branch of its own. */
#pragma unroll
    for (int i = 0; i < SLOTS; i++) {
        if (proc->slots[i].root != 0 && proc->slots[i].top == 0) {
            proc->slots[i].born = record->head.entered;
            proc->slots[i].top = tgid;
            proc->slots[i].thread = bpf_get_current_pid_tgid();
            record->head.slots[i] = proc->slots[i];
        }
    }
    proc->image_at = record->head.at;
    proc->image_pid = tgid;
    proc->own_exec = 1;
    __builtin_memcpy(proc->comm, record->head.comm, sizeof(proc->comm));
#ifdef PREEMPTED
    proc->recorded = record->place + 1;
#endif

    read_two(bprm, OFF_BPRM_FILENAME, OFF_BPRM_INTERP, names);
    record->head.path_len = append(record, PATH_CAP, names[0], 0);
    if (names[1] != names[0]) {
        record->head.interp_len = append(record, INTERP_CAP, names[1], 0);
        if (read32(bprm + OFF_BPRM_INTERP_FLAGS) & PRESERVE_ARGV0)
            record->head.flags |= FLAG_ARGV0_KEPT;
    } else {
        walk->has_scripts = 0;
    }

    walk->again = again;
    walk->dentry = 0;
    walk->rooted = 0;
    walk->mm = read64(task + OFF_TASK_MM);
    walk->file = FILE_EXECUTABLE;
    walk->is_over = 0;
    parts.call(ctx, 0);
    finish(ctx, record); /* not reached */
    return 0;
}

static __always_inline int executed_again(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct proc *proc = procs.lookup(&tgid);
    if (!proc)
        return 0;
    if (!proc->recorded)
        executed(ctx, 1);
    proc->recorded = 0;
    return 0;
}

/* In use, or put aside to be taken up again. */
static __always_inline int has_borrowed(u64 task)
{
    u64 cred = read64(task + OFF_TASK_CRED);
    u32 uid = read32(cred + OFF_CRED_UID), gid = read32(cred + OFF_CRED_GID);
    return uid != read32(cred + OFF_CRED_EUID) || uid != read32(cred + OFF_CRED_SUID) ||
           gid != read32(cred + OFF_CRED_EGID) || gid != read32(cred + OFF_CRED_SGID);
}

static __always_inline void failed(void *ctx, s64 result)
{
    u64 task = bpf_get_current_task();
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct entry *entry;
    struct entry copy;

    if (result >= 0) {
        leave(ctx, task, 0); /* it was only to check whether it may be executed (AT_EXECVE_CHECK): else on_exec has */
        return;
    }
    struct proc *proc = procs.lookup(&tgid);
    entry = entering.lookup(&task);
    if (!entry) {
        if (proc)
            lose_attempt(proc, tgid, 0); /* its beginning went unseen */
        return;
    }
    copy = *entry;
#ifdef ATTEMPTS
    struct record *record = proc ? take_record() : 0;
    if (proc && !record)
        lose();
    if (proc && record) {
        fill_head(record, KIND_ATTEMPT, proc, tgid, task);
        record->head.entered = copy.at;
        record->head.error = -result;
        if (has_borrowed(task))
            record->head.flags |= FLAG_BORROWED;
        record->head.dirfd = copy.dirfd;
        if (copy.args_known) {
            record->head.path_len = append(record, PATH_CAP, copy.path, 1);
            record->head.flags |= FLAG_ARGV_CUT;
        } else {
            record->head.flags |= FLAG_ARGV_UNREAD;
        }
        for (int i = 0; copy.args_known && i < ATTEMPT_ARGS; i++) {
            u64 arg = 0;
            u32 len;
            if (bpf_probe_read_user(&arg, sizeof(arg), (void *)(copy.argv + 8 * i)) != 0) {
                record->head.flags |= FLAG_ARGV_UNREAD;
                break;
            }
            if (arg == 0) {
                record->head.flags &= ~FLAG_ARGV_CUT;
                break;
            }
            len = append(record, ATTEMPT_ARG_CAP, arg, 1);
            if (len == 0) {
                record->head.flags |= FLAG_ARGV_UNREAD;
                break;
            }
            if (len == ATTEMPT_ARG_CAP) /* it may go on: what follows is not known */
                break;
        }
        record->head.argv_len = *(volatile u32 *)&record->head.data_len - record->head.path_len;
        deliver_record(ctx, record, 0);
        give_back(record);
    }
#endif
    leave(ctx, task, 0);
}

/* ---- where it begins: one part is compiled at a time ---- */

#ifdef TRACE
#define AT(name, call)                             \
    int name(struct bpf_raw_tracepoint_args *ctx) \
    {                                              \
        call;                                      \
        return 0;                                  \
    }

AT(on_rename, claim_root(ctx))
AT(on_newtask, follow(ctx))
AT(on_prepare, prepare(ctx, ctx->args[1]))
AT(on_exec, executed(ctx, 0))
AT(on_exec_paths, record_paths(ctx))
AT(on_exit, ended(ctx))
#ifdef OWN_NUMBERS
AT(on_wait, answer_helper(ctx))
#endif
#ifdef PREEMPTED
AT(on_newtask_again, follow_again(ctx))
AT(on_exec_again, executed_again(ctx))
AT(on_exit_again, ended_again(ctx))
AT(on_exec_bell, ring_now(ctx))
AT(on_exit_bell, ring_now(ctx))
#endif
#endif

#ifdef KPROBES /* they cost execs alone */

/* Where the kernel wraps its system calls, their arguments are in a second pt_regs. */
#ifdef SYSCALL_WRAPPER
#define SYSCALL_ARG(ctx, offset, direct) read64(PT_REGS_PARM1(ctx) + (offset))
#else
#define SYSCALL_ARG(ctx, offset, direct) direct(ctx)
#endif

int kprobe_enter_execve(struct pt_regs *ctx)
{
    struct entry entry = {.args_known = 1, .dirfd = AT_FDCWD};
    entry.path = SYSCALL_ARG(ctx, OFF_REGS_ARG1, PT_REGS_PARM1);
    entry.argv = SYSCALL_ARG(ctx, OFF_REGS_ARG2, PT_REGS_PARM2);
    enter(ctx, &entry, 1);
    return 0;
}

int kprobe_enter_execveat(struct pt_regs *ctx)
{
    struct entry entry = {.args_known = 1};
    entry.dirfd = SYSCALL_ARG(ctx, OFF_REGS_ARG1, PT_REGS_PARM1);
    entry.path = SYSCALL_ARG(ctx, OFF_REGS_ARG2, PT_REGS_PARM2);
    entry.argv = SYSCALL_ARG(ctx, OFF_REGS_ARG3, PT_REGS_PARM3);
    enter(ctx, &entry, 1);
    return 0;
}

#ifdef COMPAT
/* 32-bit callers: their pointers are laid out otherwise, so that the exec is marked and no more. */
int kprobe_enter_compat(struct pt_regs *ctx)
{
    struct entry entry = {};
    enter(ctx, &entry, 1);
    return 0;
}
#endif

/* Where there is no tracepoint for it. */
int kprobe_prepare(struct pt_regs *ctx)
{
    prepare(ctx, PT_REGS_PARM1(ctx));
    return 0;
}

int kprobe_leave(struct pt_regs *ctx)
{
    failed(ctx, (s32)PT_REGS_RC(ctx));
    return 0;
}
#endif

#ifdef SYSCALLS
/* By system-call tracepoint: their attachment slows every system call of the machine a little.
 * These return 1: a 0 would take the samples of this tracepoint from everyone else's perf. */

struct sys_enter_args {
    u64 common;
    u64 nr;
    u64 args[6];
};

struct sys_exit_args {
    u64 common;
    u64 nr;
    s64 ret;
};

int tracepoint_enter_execve(struct sys_enter_args *ctx)
{
    struct entry entry = {.args_known = 1, .dirfd = AT_FDCWD};
    entry.path = ctx->args[0];
    entry.argv = ctx->args[1];
    enter(ctx, &entry, 1);
    return 1;
}

int tracepoint_enter_execveat(struct sys_enter_args *ctx)
{
    struct entry entry = {.args_known = 1};
    entry.dirfd = ctx->args[0];
    entry.path = ctx->args[1];
    entry.argv = ctx->args[2];
    enter(ctx, &entry, 1);
    return 1;
}

int tracepoint_leave(struct sys_exit_args *ctx)
{
    failed(ctx, ctx->ret);
    return 1;
}
#endif
