/* SPDX-License-Identifier: MIT
 *
 * The kernel side: follows watched process trees by fork, and reports every exec in them.
 *
 * Compiled by BCC, which makes calls of the kernel out of map.lookup() and the like. It filters and copies, and decides
 * nothing but what to stop. What it shares with the helper is in abi.h, how it reads the kernel's structs in kread.h.
 * The sections follow the life of a process: registration, fork, exec entered, exec succeeded, exec failed, exit.
 *
 * The programs, and where the helper attaches them:
 *   on_rename    raw tracepoint task_rename           a process becomes a root
 *   on_newtask   raw tracepoint task_newtask          a child inherits its creator's lineage
 *   *_enter_*    kprobe or system-call tracepoint     an exec is entered: its earliest moment, and its arguments
 *   on_prepare   raw tracepoint sched_prepare_exec    an exec is in flight, and has opened its files (since Linux 6.10)
 *   *_prepare    kprobe begin_new_exec                the same, before that
 *   on_exec      raw tracepoint sched_process_exec    an exec has succeeded: goes on in on_exec_stop, on_exec_paths
 *   *_leave      kretprobe or system-call tracepoint  an exec has failed
 *   on_exit      raw tracepoint sched_process_exit    a process, or a thread of it, has ended
 *   on_wait      raw tracepoint sched_process_wait    the helper asks who a process is (in a PID namespace alone)
 *   *_fallback   behind on_newtask, on_exec, on_exit  does the same if the kernel skipped that (newest kernels)
 *   *_wakeup     behind those                         wakes the reader for what they have recorded (newest kernels)
 *
 * Newer kernels (seen on 7.3) run these programs with preemption on (PREEMPTED): others of them can run on the same CPU
 * in the middle of one. There counters are added to atomically, and scratch memory is taken and returned. And the
 * kernel skips a program on a CPU where the same program has been preempted: then its fallback does the work. If that
 * is skipped as well, the kernel has counted both (recursion_misses), and the helper looks.
 */
#include <uapi/linux/ptrace.h>

#include "abi.h"
#include "kread.h"

#define CLONE_THREAD 0x00010000   /* uapi/linux/sched.h */
#define SIGKILL 9                 /* asm-generic/signal.h */
#define AT_FDCWD -100             /* uapi/linux/fcntl.h */
#define BPF_F_MMAPABLE (1U << 10) /* uapi/linux/bpf.h */

#define FILE_CAP (PATH_CAP + NAME_CAP)  /* a path's components, and what ends them */
#define FILES_CAP (2 * FILE_CAP + 2048) /* a record has to fit into 32 KiB, the limit of a per-CPU map's value */
#define ARGV_CAP 16384
#define DATA_CAP (PATH_CAP + INTERP_CAP + FILES_CAP + ARGV_CAP)
#define ATTEMPT_ARGS 48
#define ATTEMPT_ARG_CAP 1024
#define ANCESTORS 64 /* of a root that are looked at */
#define STEPS 16     /* components, mount points and entries of lists that one program takes */

/* Records that can be in the making on a CPU at once. */
#ifdef PREEMPTED
#define SCRATCHES 4
#else
#define SCRATCHES 1
#endif

/* Four characters as a little-endian machine reads them. */
#define IN_ASCII(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)

/* A local variable whose value is known has the verifier follow each value by itself, through all that comes after: so
 * what changes in a loop is in a map, and is read and written there by this each time. */
#define IN_MEMORY(field) (*(volatile u32 *)&(field))

/* How far the paths of an exec's files are recorded. */
struct walk {
    kptr mount;         /* where the path that is being appended has come to */
    struct mount_at at; /* where that is mounted */
    kptr dentry;        /* 0: at the next file */
    kptr climbed;       /* the mount whose root was reached first since the last component */
    kptr rooted;        /* one that was climbed to the end of a path: most end there, and need not climb it again */
    kptr mm;
    kptr works;      /* what is left of the task's list */
    kptr executable; /* see struct exec_in_flight */
    u32 file;        /* enum exec_file */
    u32 cap;         /* how far data may be filled by then */
    u32 end;         /* enum path_end */
    u32 has_scripts; /* that can be found */
    u32 is_over;
    u32 in_fallback; /* begun by on_exec_fallback */
};

/* Which of its roots stop an exec. */
struct stops {
    struct denial denial;  /* that is looked up */
    u64 bits[SLOTS];       /* of the root of each slot, 0: it stops nothing of this */
    u64 found;             /* bits of all roots that deny what was looked up */
    u32 at;                /* where a name begins */
};

/* on_exec_paths, which goes on with itself, and on_exec_stop before it. */
enum tail_call { CALL_PATHS, CALL_STOP, TAIL_CALLS };

struct record {
    struct nested nested;
    struct head head; /* as in struct nested_head */
    union {
        char data[DATA_CAP];
        struct proc child; /* on the stack, the verifier would take seven times as long for a fork */
    };
    struct walk walk;
    struct stops stops;
    u32 place; /* in its CPU's scratch memory */
};

BPF_PERF_OUTPUT(events);
BPF_PERF_OUTPUT(wakeups);
BPF_PERCPU_ARRAY(scratch, struct record, SCRATCHES);
#ifdef PREEMPTED
BPF_HASH(scratch_in_use, u32, u8, CPUS_MAX * SCRATCHES); /* keys are CPU * SCRATCHES + place */
#endif
BPF_PROG_ARRAY(tail_calls, TAIL_CALLS); /* the kernel allows 33 of these in a row */
BPF_F_TABLE("array", u32, struct counters, counts, CPUS_MAX, BPF_F_MMAPABLE);
BPF_ARRAY(wanted, u64, WANTS); /* by enum want: whether the helper waits for it */
BPF_HASH(procs, u32, struct proc, 32768); /* the helper may have it made larger or smaller */
BPF_HASH(execs_in_flight, kptr, struct exec_in_flight, 8192);
BPF_HASH(claims, struct claim, u64, 256);
BPF_HASH(roots, u64, struct root, 1024);
BPF_HASH(denied, struct denial, u64, 4096);
BPF_HASH(enforcers, u64, struct enforcer, 64); /* as many as there are bits */
BPF_ARRAY(pid_answer, struct pid_answer, 1);
BPF_ARRAY(helper_process, struct helper_process, 1);
BPF_QUEUE(dropped, struct nested_head, 4096);

/* ---- counters, scratch memory and records: what all sections use ---- */

static __always_inline void wake_reader(void *ctx, int later); /* see wakeups */

static __always_inline u32 current_tgid(void)
{
    return bpf_get_current_pid_tgid() >> 32;
}

static __always_inline int is_wanted(int what)
{
    u64 *value = wanted.lookup(&what);
    return value && *value;
}

static __always_inline struct counters *counters(void)
{
    u32 cpu = bpf_get_smp_processor_id();
    return counts.lookup(&cpu);
}

static __always_inline void add(u64 *number)
{
#ifdef PREEMPTED
    __sync_fetch_and_add(number, 1);
#else
    (*number)++;
#endif
}

/* Memory for a record, to be put back; 0 where all of it is in use. Insertion of a key that is not there is the atomic
 * exchange that BCC's compiler lacks. */
static __always_inline struct record *scratch_get(void)
{
#ifndef PREEMPTED
    int zero = 0;
    return scratch.lookup(&zero);
#else
    u32 first = bpf_get_smp_processor_id() * SCRATCHES;
    u8 one = 1;
#pragma nounroll
    for (int i = 0; i < SCRATCHES; i++) {
        u32 key = first + i;
        if (scratch_in_use.insert(&key, &one) == 0) {
            struct record *record = scratch.lookup(&i);
            if (record)
                record->place = i;
            return record;
        }
    }
    return 0;
#endif
}

static __always_inline void scratch_put(struct record *record)
{
#ifdef PREEMPTED
    u32 key = bpf_get_smp_processor_id() * SCRATCHES + record->place;
    scratch_in_use.delete(&key);
#endif
}

static __always_inline void count_unlisted(struct counters *count, u32 kind)
{
    if (kind == KIND_UNFOLLOWED || kind == KIND_UNMARKED) /* these stand for any number of execs */
        add(&count->blind);
    add(&count->unlisted);
}

/* For what there is no memory to record, or to list. */
static __always_inline void count_loss(u32 kind)
{
    struct counters *count = counters();
    if (!count)
        return;
    add(&count->seen);
    count_unlisted(count, kind);
    add(&count->dropped);
}

/* The first slot into the head, whose record that is, unless there are others. Returns where the record begins. */
static __always_inline void *fill_slot(struct nested_head *both)
{
    struct nested *nested = &both->nested;
    u64 others = 0;

    both->head.slot = nested->slots[0];
    both->head.seen_pid = nested->pids[0];
    both->head.seen_ppid = nested->ppids[0];
    nested->kind = KIND_NESTED;
#pragma unroll
    for (int i = 1; i < SLOTS; i++)
        others |= nested->slots[i].root;
    return others ? (void *)both : &both->head;
}

/* Of so many bytes behind the head. What can't be delivered is listed by its head alone. */
static __always_inline void deliver(void *ctx, struct nested_head *both, u64 data_len, int wake_later)
{
    struct counters *count = counters();
    u64 size = sizeof(struct head) + data_len;
    void *begin;

    if (!count)
        return;
    add(&count->seen);
    begin = fill_slot(both);
    if (begin == both)
        size += sizeof(struct nested);
    if (events.perf_submit(ctx, begin, size) == 0) {
        add(&count->submitted);
        count->unread += size; /* may lose a part to a program that preempts this: the reader is woken a little later */
        if (count->unread < WATERMARK)
            return;
    } else {
        if (dropped.push(both, 0) != 0)
            add(&count->unlisted);
        add(&count->dropped);
    }
    count->unread = 0;
    wake_reader(ctx, wake_later);
}

static __always_inline void deliver_record(void *ctx, struct record *record, int wake_later)
{
    u64 length = IN_MEMORY(record->head.data_len);
    asm volatile("" : "+r"(length)); /* or the compiler bounds one register and passes another, which 6.1 refuses */
    if (length > DATA_CAP)
        length = DATA_CAP;
    deliver(ctx, (struct nested_head *)record, length, wake_later);
}

/* For what has no record of its own: a map was full, or the end of an attempt went unseen. */
static __always_inline void deliver_loss(u32 kind, struct proc *proc, u32 pid, u64 entered)
{
    struct counters *count = counters();
    struct record *record;

    if (!count)
        return;
    record = scratch_get();
    if (!record) {
        count_loss(kind);
        return;
    }
    __builtin_memset(record, 0, sizeof(struct nested_head));
    record->head.kind = kind;
    record->head.at = bpf_ktime_get_ns();
    record->head.entered = entered ? entered : record->head.at;
    record->head.pid = pid;
    record->nested.kind = KIND_NESTED;
    __builtin_memcpy(record->nested.slots, proc->slots, sizeof(proc->slots));
    add(&count->seen);
    if (dropped.push((struct nested_head *)record, 0) != 0)
        count_unlisted(count, kind);
    add(&count->dropped);
    scratch_put(record);
}

static __always_inline void deliver_lost_attempt(struct proc *proc, u32 tgid, u64 entered)
{
#ifdef ATTEMPTS
    deliver_loss(KIND_ATTEMPT, proc, tgid, entered);
#endif
}

/* The pids of the task and its parent as the root of each slot sees them. */
static __always_inline void fill_pids(struct record *record, kptr task, kptr parent)
{
    int are_own = is_wanted(WANT_NUMBERS); /* or each root sees what the kernel does, and need not be looked up */

#pragma nounroll
    for (int i = 0; i < SLOTS; i++) {
        u64 id = record->nested.slots[i].root;
        struct root *root = id && are_own ? roots.lookup(&id) : 0;
        u32 level = root ? root->level : 0;
        if (!id)
            continue;
        record->nested.pids[i] = level ? pid_at_level(task_pid(task), level) : record->head.pid;
        record->nested.ppids[i] = level ? pid_at_level(task_pid(parent), level) : record->head.ppid;
    }
}

static __always_inline void fill_head(struct record *record, u32 kind, struct proc *proc, u32 tgid, kptr task)
{
    struct head *head = &record->head;
    u64 ids = bpf_get_current_uid_gid();
    kptr parent = task_parent(task);

    record->nested.stopped = 0;
    __builtin_memcpy(record->nested.slots, proc->slots, sizeof(proc->slots));
    __builtin_memset(head, 0, sizeof(*head));
    head->kind = kind;
    head->at = bpf_ktime_get_ns();
    head->pid = tgid;
    head->ppid = task_tgid(parent);
    head->uid = ids;
    head->gid = ids >> 32;
    head->parent_at = proc->parent_at;
    head->parent_pid = proc->parent_pid;
    head->previous_at = proc->own_exec ? proc->image_at : 0;
    fill_pids(record, task, parent);
    bpf_get_current_comm(head->comm, sizeof(head->comm));
}

/* Appends a string from the kernel's memory or the user's, and returns its length with the NUL, 0 if it can't be read.
 * */
static __always_inline u32 append(struct record *record, u32 cap, u64 from, int is_user)
{
    u32 used = IN_MEMORY(record->head.data_len);
    int len;

    if (used > DATA_CAP - cap)
        return 0;
    if (is_user)
        len = read_user_str(&record->data[used], cap, (void *)from);
    else
        len = read_kernel_str(&record->data[used], cap, (void *)from);
    if (len <= 0)
        return 0;
    IN_MEMORY(record->head.data_len) = used + len;
    return len;
}

/* ---- registration: a process becomes a root ---- */

/* Its ancestors that take in what a tree leaves behind: PR_SET_CHILD_SUBREAPER shows in no file of /proc. Those of
 * other PID namespaces take in nothing. */
static __always_inline void find_reapers(struct root *root, kptr task)
{
#pragma nounroll
    for (int i = 0; i < ANCESTORS; i++) {
        task = task_parent(task);
        u32 tgid = task_tgid(task);
        if (tgid <= 1 || pid_level(task_pid(task)) != root->level) {
            root->all_reapers = 1;
            return;
        }
        u32 is_reaper = task_is_subreaper(task);
        root->reapers[root->found & (REAPERS - 1)] |= tgid * is_reaper; /* a branch would double the verifier's work */
        root->found += is_reaper;
        if (root->found > REAPERS)
            return;
    }
}

/* Puts a root into the first free slot of its own process. Returns whether there was one. */
static __always_inline int fill_free_slot(u32 tgid, struct slot *slot)
{
    struct proc *proc = procs.lookup(&tgid);
    int is_placed = 0;

    if (!proc) {
        struct proc fresh = {};
        fresh.slots[0] = *slot;
        return procs.update(&tgid, &fresh) == 0;
    }
#pragma nounroll
    for (int i = 0; i < SLOTS; i++) {
        if (!is_placed && (proc->slots[i].root == 0 || !roots.lookup(&proc->slots[i].root))) {
            proc->slots[i] = *slot;
            is_placed = 1;
        }
    }
    return is_placed;
}

/* The comm handshake: see struct claim. So it is the kernel that says which process that is, and PID namespaces do not
 * matter. */
static __always_inline void register_root(kptr task, kptr comm)
{
    struct claim claim = {};
    struct root root = {}, *kept;
    struct slot slot = {};
    int numbers = WANT_NUMBERS;
    u64 *id, one = 1;

    if (!is_wanted(WANT_CLAIMS)) /* every exec comes here */
        return;
    read_kernel_str(claim.comm, sizeof(claim.comm), (void *)comm);
    id = claims.lookup(&claim);
    if (!id)
        return;
    slot.root = *id;
    if (claims.delete(&claim) != 0)
        return; /* it was withdrawn just now */
    root.armed_at = bpf_ktime_get_ns();
    root.tgid = task_tgid(task);
    root.level = pid_level(task_pid(task));
    if (root.level)
        wanted.update(&numbers, &one);
    root.refused = !fill_free_slot(root.tgid, &slot);
    roots.update(&slot.root, &root);
    kept = roots.lookup(&slot.root);
    if (kept) /* in the map, where the verifier does not follow what is counted */
        find_reapers(kept, task);
}

/* ---- fork ---- */

/* The number of the current thread in a PID namespace, by which its process knows it. */
static __always_inline u32 thread_at_level(u64 level)
{
    return level ? pid_at_level(thread_pid(bpf_get_current_task()), level) : (u32)bpf_get_current_pid_tgid();
}

/* Returns the root's id; 0 where there is none: a root that has gone takes its slot along. */
static __always_inline u64 inherit_slot(struct proc *parent, struct proc *child, int i, kptr task, u32 tgid)
{
    struct slot slot = parent->slots[i];
    struct root *root = slot.root ? roots.lookup(&slot.root) : 0;

    if (!root)
        return 0;
    if (slot.top == 0) {
        slot.top = tgid;
        slot.thread = thread_at_level(root->level);
        slot.born = child->forked;
    }
    child->slots[i] = slot;
    child->pids[i] = root->level ? pid_at_level(task_pid(task), root->level) : tgid;
    return slot.root;
}

/* Roots are looked up again: each pointer that was kept would be two cases more for the verifier. */
static __always_inline void count_fork(struct proc *child)
{
#pragma nounroll
    for (int i = 0; i < SLOTS; i++) {
        struct root *root = child->slots[i].root ? roots.lookup(&child->slots[i].root) : 0;
        if (root)
            __sync_fetch_and_add(&root->forks, 1);
    }
}

/* Whether the helper has already put it into its tree, as what was there before: a child is in /proc a moment before this
 * program runs, and its creator may be kept waiting in between. */
static __always_inline int is_adopted(kptr task, u32 tgid)
{
    struct proc *known = procs.lookup(&tgid);
    return known && known->adopted > task_start(task);
}

/* Pids are used again, and nothing stale may match. */
static __always_inline void forget_former(kptr task, u32 tgid)
{
    if (!is_adopted(task, tgid))
        procs.delete(&tgid);
}

/* Into the trees of its creator. It is lost to them if it was adopted meanwhile: for another root, mostly. */
static __always_inline void add_child(struct record *record, struct proc *parent, kptr task, u32 tgid)
{
    struct proc *child = &record->child;
    u64 any = 0; /* not a mere yes or no, of which the verifier would follow both */

    __builtin_memset(child, 0, sizeof(*child));
    child->image_at = child->parent_at = parent->image_at;
    child->image_pid = child->parent_pid = parent->image_pid;
    child->forked = bpf_ktime_get_ns();
    __builtin_memcpy(child->comm, parent->comm, sizeof(child->comm));
#pragma unroll /* LLVM would make a loop of it that Linux 6.1 refuses (back-edge) */
    for (int i = 0; i < SLOTS; i++)
        any |= inherit_slot(parent, child, i, task, tgid);
    if (!any)
        forget_former(task, tgid);
    else if (is_adopted(task, tgid) || procs.update(&tgid, child) != 0)
        deliver_loss(KIND_UNFOLLOWED, parent, tgid, 0);
    else
        count_fork(child);
}

static __always_inline void inherit_lineage(kptr task, u64 clone_flags)
{
    u32 tgid = current_tgid(), child_tgid;
    struct proc *parent;
    struct record *record;

    if (clone_flags & CLONE_THREAD)
        return;
    child_tgid = task_tgid(task);
    parent = procs.lookup(&tgid);
    if (!parent) {
        forget_former(task, child_tgid);
        return;
    }
    record = scratch_get();
    if (!record) {
        count_loss(KIND_UNFOLLOWED);
        return;
    }
    add_child(record, parent, task, child_tgid);
    scratch_put(record);
}

static __always_inline void inherit_lineage_if_skipped(kptr task, u64 clone_flags)
{
    u32 tgid = current_tgid();
    u32 child_tgid = task_tgid(task);
    struct proc *parent, *child;

    if (clone_flags & CLONE_THREAD)
        return;
    child = procs.lookup(&child_tgid);
    parent = procs.lookup(&tgid);
    if (parent && child && !child->own_exec && child->parent_pid == parent->image_pid &&
        child->parent_at == parent->image_at)
        return; /* done */
    inherit_lineage(task, clone_flags);
}

/* ---- exec entered ---- */

/* Begun by kprobe or tracepoint (replace), or met by on_prepare, which adds what it knows. */
static __always_inline void enter_exec(struct proc *proc, u32 tgid, struct exec_in_flight *exec, int replace)
{
    kptr task = bpf_get_current_task();
    struct counters *count = counters();
    struct exec_in_flight *known;

    if (!count)
        return;
    proc->recorded = 0;
    exec->tgid = tgid;
    known = execs_in_flight.lookup(&task);
    if (known && replace) { /* the last one failed, and that went unseen: kretprobes can be missed */
        u64 entered = known->at;
        exec->at = bpf_ktime_get_ns();
        *known = *exec;
        deliver_lost_attempt(proc, tgid, entered);
        return;
    }
    if (known) {
        known->works = exec->works;
        known->executable = exec->executable;
        known->prepared = exec->prepared;
        return;
    }
    add(&count->entered); /* before the clock is read: whoever looks after that moment must find something */
    exec->at = bpf_ktime_get_ns();
    if (execs_in_flight.update(&task, exec) != 0) {
        add(&count->ended);
        deliver_loss(KIND_UNMARKED, proc, tgid, 0);
    }
}

/* Seen by kprobe or tracepoint, as every exec of the machine is. */
static __always_inline void begin_exec(struct exec_in_flight *exec)
{
    u32 tgid = current_tgid();
    struct proc *proc = procs.lookup(&tgid);
    if (proc)
        enter_exec(proc, tgid, exec, 1);
}

/* Of a script, the last moment at which the files that the exec has opened stand alone on the task's list of works. */
static __always_inline void prepare_exec(kptr bprm)
{
    kptr task = bpf_get_current_task();
    u32 tgid = current_tgid();
    struct proc *proc = procs.lookup(&tgid);
    struct exec_in_flight exec = {};
    kptr names[2] = {};

    if (!proc) /* every exec of the machine comes here */
        return;
    bprm_names(bprm, names);
    if (names[1] != names[0]) {
        exec.works = task_works(task);
        exec.executable = bprm_executable(bprm);
        exec.prepared = !task_uses_io_uring(task); /* or it does works early */
    }
    enter_exec(proc, tgid, &exec, 0);
}

/* However it has ended. */
static __always_inline void leave_exec(void *ctx, kptr task, int wake_later)
{
    struct counters *count = counters();
    if (execs_in_flight.delete(&task) == 0 && count) {
        add(&count->ended);
        if (is_wanted(WANT_WAKEUP))
            wake_reader(ctx, wake_later);
    }
}

/* ---- exec succeeded ---- */

/* The struct path of the file that comes next; 0: none at this step, and none any more once the walk is over.
 *
 * Scripts are found on the task's list of works, which has the files that it closes: for good they are closed only as
 * the system call returns. There this exec has left scripts when it turned to their interpreters. */
static __always_inline kptr next_path(struct record *record, kptr task)
{
    struct walk *walk = &record->walk;
    u32 file = IN_MEMORY(walk->file);
    kptr work;

    IN_MEMORY(walk->file) = file + 1;
    if (file == FILE_EXECUTABLE) {
        walk->cap = PATH_CAP + INTERP_CAP + FILE_CAP;
        return mm_exe_path(walk->mm);
    }
    if (file == FILE_CWD) {
        walk->cap += FILE_CAP;
        return task_cwd_path(task);
    }
    walk->cap = PATH_CAP + INTERP_CAP + FILES_CAP;
    if (!walk->has_scripts) {
        walk->is_over = 1;
        return 0;
    }
    if (file == FILE_SCRIPTS && walk->executable)
        return file_path(walk->executable);
    work = walk->works;
    if (!work) {
        record->head.flags |= FLAG_SCRIPTS_ALL;
        walk->is_over = 1;
        return 0;
    }
    walk->works = work_next(work);
    return work_exec_path(work);
}

static __always_inline void enter_mount(struct walk *walk, kptr mount, kptr dentry)
{
    walk->mount = mount;
    walk->dentry = dentry;
    read_mount(mount, &walk->at);
}

/* From a mount's root to where it is mounted. Returns 0 at the end of the path, and sets which it is. */
static __always_inline int leave_mount(struct walk *walk)
{
    if (!walk->climbed)
        walk->climbed = walk->mount;
    if (walk->mount == walk->rooted) {
        walk->end = END_ROOT;
    } else if (walk->at.parent != walk->mount) {
        enter_mount(walk, walk->at.parent, walk->at.mountpoint);
        return 1;
    } else if (mount_is_in_a_tree(walk->mount)) {
        walk->end = END_ROOT;
        walk->rooted = walk->climbed;
    }
    return 0;
}

/* Returns 0 at the end of the path, likewise. Half a name is none: those of FUSE and vfat can be longer than others. A
 * root of a file system that is not the mount's has the name "/": its folder was moved away from under a bind mount, or
 * the file was opened by a handle. Memfds are in no folder either, but have names. */
static __always_inline int append_component(struct record *record)
{
    struct walk *walk = &record->walk;
    kptr dentry = walk->dentry;
    struct dentry_at found = {};

    read_dentry(dentry, &found);
    if (found.length >= NAME_CAP || (found.parent == dentry && kread_u8(found.name) == '/') ||
        IN_MEMORY(record->head.data_len) > walk->cap - 2 * NAME_CAP || append(record, NAME_CAP, found.name, 0) == 0)
        return 0;
    walk->dentry = found.parent;
    walk->climbed = 0;
    if (found.parent != dentry)
        return 1;
    walk->end = END_NOWHERE;
    return 0;
}

static __always_inline void end_path(struct record *record, u32 end)
{
    u32 used = IN_MEMORY(record->head.data_len);
    if (used > DATA_CAP - sizeof(end))
        return;
    __builtin_memcpy(&record->data[used], &end, sizeof(end));
    IN_MEMORY(record->head.data_len) = used + (end > 0xff ? 3 : 2);
}

/* One component of a path, or one mount point, or the next path. Components come from the end, as d_path() takes them.
 * */
static __always_inline void take_step(struct record *record, kptr task)
{
    struct walk *walk = &record->walk;
    kptr path, mount, dentry;

    walk->end = END_UNKNOWN;
    if (!walk->dentry) {
        path = next_path(record, task);
        walk->climbed = 0;
        if (path) {
            read_path(path, &mount, &dentry);
            enter_mount(walk, mount, dentry);
        }
        return;
    }
    if (walk->dentry == walk->at.root) {
        if (leave_mount(walk))
            return;
    } else if (append_component(record)) {
        return;
    }
    end_path(record, IN_MEMORY(walk->end));
    walk->dentry = 0;
}

/* The last part of an exec's record. */
static __always_inline void append_argv(struct record *record)
{
    u32 used = IN_MEMORY(record->head.data_len);
    uptr range[2] = {};
    u64 length;

    mm_arguments(record->walk.mm, range);
    length = range[1] - range[0];
    if (length > ARGV_CAP) {
        length = ARGV_CAP;
        record->head.flags |= FLAG_ARGV_CUT;
    }
    if (used > DATA_CAP - ARGV_CAP || read_user(&record->data[used], length, (void *)range[0]) != 0) {
        record->head.flags |= FLAG_ARGV_UNREAD;
        length = 0;
    }
    record->head.argv_len = length;
    record->head.data_len += length;
}

/* The record that record_exec() has begun; 0 if it is not there any more. */
static __always_inline struct record *record_in_the_making(void)
{
    struct record *record;
    int place = 0;

#ifdef PREEMPTED
    u32 tgid = current_tgid();
    struct proc *proc = procs.lookup(&tgid);
    place = proc ? proc->recorded - 1 : SCRATCHES;
#endif
    record = scratch.lookup(&place);
#ifdef PREEMPTED
    if (!record || record->head.pid != tgid)
        record = 0; /* the helper has written over its place, while it adopted the process */
    asm volatile("" : "+r"(record)); /* or the compiler asks that again instead of for 0, and the verifier is lost */
#endif
    return record;
}

/* Goes on with an exec's record: the paths of its files, and what comes behind. One program for all of them would keep
 * the verifier busy for a fifth of a second, so this one takes a few steps and calls itself. */
static __always_inline void record_paths(void *ctx, kptr task)
{
    struct record *record = record_in_the_making();

    if (record) {
#pragma nounroll
        for (int i = 0; i < STEPS && !IN_MEMORY(record->walk.is_over); i++)
            take_step(record, task);
        if (!IN_MEMORY(record->walk.is_over)) {
            tail_calls.call(ctx, CALL_PATHS);
            end_path(record, END_UNKNOWN); /* the kernel allows no more calls */
        }
#ifdef PREEMPTED
        u32 tgid = record->head.pid;
        struct proc *proc = record->walk.in_fallback ? procs.lookup(&tgid) : 0;
        if (proc) /* a tail call does not return to record_exec_if_skipped() */
            proc->recorded = 0;
#endif
        append_argv(record);
        deliver_record(ctx, record, 1);
        scratch_put(record);
    } else {
        count_loss(KIND_EXEC);
    }
    leave_exec(ctx, task, 1);
}

/* The process runs another image from now on. A root that replaces itself begins a branch of its own. */
static __always_inline void change_image(struct proc *proc, struct record *record)
{
    struct head *head = &record->head;

#pragma nounroll
    for (int i = 0; i < SLOTS; i++) {
        if (proc->slots[i].root != 0 && proc->slots[i].top == 0) {
            proc->slots[i].born = head->entered;
            proc->slots[i].top = head->pid;
            proc->slots[i].thread = bpf_get_current_pid_tgid();
            record->nested.slots[i] = proc->slots[i];
        }
    }
    proc->image_at = head->at;
    proc->image_pid = head->pid;
    proc->own_exec = 1;
    __builtin_memcpy(proc->comm, head->comm, sizeof(proc->comm));
}

/* The same where there is no memory for the record: what is above the image is not known, and must not seem to be. */
static __always_inline void change_image_unrecorded(struct proc *proc, u32 tgid)
{
    bpf_get_current_comm(proc->comm, sizeof(proc->comm));
    proc->image_at = bpf_ktime_get_ns();
    proc->image_pid = tgid;
    proc->own_exec = 1;
    proc->recorded = 1;
}

static __always_inline void begin_walk(struct record *record, kptr task, int in_fallback)
{
    struct walk *walk = &record->walk;
    struct exec_in_flight *exec = execs_in_flight.lookup(&task);

    if (exec) {
        record->head.entered = exec->at;
        walk->works = exec->works;
        walk->executable = exec->executable;
        walk->has_scripts = exec->prepared;
    } else {
        record->head.entered = record->head.at;
        record->head.flags |= FLAG_ENTRY_UNSEEN;
        walk->has_scripts = 0;
    }
    walk->in_fallback = in_fallback;
    walk->dentry = 0;
    walk->rooted = 0;
    walk->mm = task_mm(task);
    walk->file = FILE_EXECUTABLE;
    walk->is_over = 0;
}

static __always_inline void append_names(struct record *record, kptr bprm)
{
    kptr names[2] = {};

    bprm_names(bprm, names);
    record->head.path_len = append(record, PATH_CAP, names[0], 0);
    if (names[1] == names[0]) {
        record->walk.has_scripts = 0;
        return;
    }
    record->head.interp_len = append(record, INTERP_CAP, names[1], 0);
    if (bprm_keeps_argv0(bprm))
        record->head.flags |= FLAG_ARGV0_KEPT;
}

static __always_inline void record_exec(void *ctx, kptr task, kptr bprm, int in_fallback)
{
    u32 tgid = current_tgid();
    struct proc *proc = procs.lookup(&tgid);
    struct record *record;

    if (!proc)
        return;
    record = scratch_get();
    if (record) {
        fill_head(record, KIND_EXEC, proc, tgid, task);
        begin_walk(record, task, in_fallback);
        change_image(proc, record);
#ifdef PREEMPTED
        proc->recorded = record->place + 1;
#endif
        append_names(record, bprm);
        if (is_wanted(WANT_STOPS))
            tail_calls.call(ctx, CALL_STOP); /* which goes on to the other */
        tail_calls.call(ctx, CALL_PATHS);    /* to record_paths(), which does not return here */
        scratch_put(record);                 /* not reached */
    } else {
        change_image_unrecorded(proc, tgid);
    }
    count_loss(KIND_EXEC);
    leave_exec(ctx, task, 1);
}

static __always_inline void record_exec_if_skipped(void *ctx, kptr task, kptr bprm)
{
    u32 tgid = current_tgid();
    struct proc *proc = procs.lookup(&tgid);
    if (!proc)
        return;
    if (!proc->recorded)
        record_exec(ctx, task, bprm, 1);
    proc->recorded = 0;
}

/* ---- stopping a program before it runs ---- */

/* Here the exec can't fail any more, and the process has not left the kernel since: a signal that it is sent now kills
 * it before its first instruction. */

#define LAID_DOWN (PATH_CAP + INTERP_CAP) /* where argv[0] is kept for a moment: files of the record come there later */
#define ARGV0_CAP 1024
#define FIRST_BYTES 8191 /* a mask: all names are among these */
#define LOW_BITS 0x7f7f7f7f7f7f7f7f
#define DENIED_FILES 16  /* that an exec has opened, as far as they are looked at */

static __always_inline void look_up_denial(struct record *record)
{
    u64 *bits = denied.lookup(&record->stops.denial);
    if (bits)
        *(volatile u64 *)&record->stops.found |= *bits;
}

static __always_inline void look_up_name(struct record *record, kptr name)
{
    struct denial *denial = &record->stops.denial;
    __builtin_memset(denial, 0, sizeof(*denial));
    if (read_kernel_str(denial->name, NAME_CAP, (void *)name) > 0)
        look_up_denial(record);
}

/* Of each of eight bytes that is a slash the highest bit, and of others none. */
static __always_inline u64 slashes(u64 bytes)
{
    u64 others = bytes ^ 0x2f2f2f2f2f2f2f2f; /* 0 is left of a slash */
    return ~(((others & LOW_BITS) + LOW_BITS) | others | LOW_BITS);
}

/* How many bytes come behind the last slash, all if there is none: without a branch, for the verifier follows each. */
static __always_inline u32 behind_slash(u64 found)
{
    found |= found >> 8;
    found |= found >> 16;
    found |= found >> 32; /* up to the last */
    return sizeof(found) - ((found >> 7) * 0x0101010101010101 >> 56);
}

/* The last component of a path that is among the record's first bytes. Each turn of a loop is verified anew, so one
 * takes eight bytes; what it takes from before the path does not count in the end. */
static __always_inline void look_up_base(struct record *record, u32 begin, u32 length)
{
    IN_MEMORY(record->stops.at) = begin + length - 1;
#pragma nounroll
    for (int i = 0; i < NAME_CAP / 8; i++) {
        u32 at = IN_MEMORY(record->stops.at) & FIRST_BYTES, behind;
        u64 bytes = 0;
        read_kernel(&bytes, sizeof(bytes), &record->data[0] + at - sizeof(bytes));
        behind = behind_slash(slashes(bytes));
        IN_MEMORY(record->stops.at) = at - behind;
        if (behind < sizeof(bytes) || at - begin <= sizeof(bytes))
            break;
    }
    if ((s32)IN_MEMORY(record->stops.at) < (s32)begin)
        IN_MEMORY(record->stops.at) = begin;
    look_up_name(record, (kptr)&record->data[IN_MEMORY(record->stops.at) & FIRST_BYTES]);
}

/* By its name, as what has that name in its folder, and as itself: other names of it are hard links. */
static __always_inline void look_up_file(struct record *record, kptr path)
{
    struct denial *denial = &record->stops.denial;
    struct dentry_at found = {};
    kptr dentry = path_dentry(path);

    read_dentry(dentry, &found);
    look_up_name(record, found.name);
    read_inode(found.parent, &denial->device, &denial->inode);
    look_up_denial(record);
    __builtin_memset(denial->name, 0, sizeof(denial->name));
    read_inode(dentry, &denial->device, &denial->inode);
    look_up_denial(record);
}

/* Whether a path says nothing of the file, so that argv[0] does: /proc/self/exe, /dev/fd/3 and their like. */
static __always_inline int names_descriptor(struct record *record)
{
    u32 at = IN_MEMORY(record->stops.at), before = 0, base = 0;
    u64 first = 0;

    read_kernel(&first, 6, &record->data[0]);
    read_kernel(&base, sizeof(base), &record->data[at & FIRST_BYTES]);
    if (at >= 4)
        read_kernel(&before, sizeof(before), &record->data[(at - 4) & FIRST_BYTES]);
    if (first == IN_ASCII('/', 'p', 'r', 'o') + ((u64)IN_ASCII('c', '/', 0, 0) << 32))
        return before == IN_ASCII('/', 'f', 'd', '/') || base == IN_ASCII('e', 'x', 'e', 0);
    return (u32)first == IN_ASCII('/', 'd', 'e', 'v') && before == IN_ASCII('/', 'f', 'd', '/');
}

static __always_inline void look_up_argv0(struct record *record)
{
    uptr range[2] = {};
    int length;

    mm_arguments(record->walk.mm, range);
    length = read_user_str(&record->data[LAID_DOWN], ARGV0_CAP, (void *)range[0]);
    if (length <= 0 || length == ARGV0_CAP)
        return;
    look_up_base(record, LAID_DOWN, length);
    if (record->data[LAID_DOWN] == '-' && IN_MEMORY(record->stops.at) == LAID_DOWN)
        look_up_name(record, (kptr)&record->data[LAID_DOWN + 1]); /* a login shell */
}

/* All names of an exec: what it was called, what its interpreter was called, and the files. */
static __always_inline void look_up_names(struct record *record)
{
    u32 path_len = IN_MEMORY(record->head.path_len) & (2 * PATH_CAP - 1);
    u32 interp_len = IN_MEMORY(record->head.interp_len) & (2 * INTERP_CAP - 1);
    kptr works = record->walk.works, path;

    if (path_len) {
        look_up_name(record, (kptr)&record->data[0]);
        look_up_base(record, 0, path_len);
        if (!interp_len && names_descriptor(record))
            look_up_argv0(record);
    }
    if (interp_len) {
        look_up_name(record, (kptr)&record->data[path_len]);
        look_up_base(record, path_len, interp_len);
    }
#pragma nounroll
    for (int i = 0; i < DENIED_FILES; i++) {
        if (i == 0) {
            path = mm_exe_path(record->walk.mm);
        } else if (!record->walk.has_scripts) {
            return;
        } else if (i == 1) {
            path = record->walk.executable ? file_path(record->walk.executable) : 0;
        } else {
            if (!works)
                return;
            path = work_exec_path(works);
            works = work_next(works);
        }
        if (path)
            look_up_file(record, path);
    }
}

/* Whether what a branch executes counts for what is running: one that was begun before may be what is left of something
 * that has ended. */
static __always_inline int branch_counts(struct proc *proc, int i, u64 since)
{
    struct slot *slot = &proc->slots[i];
    struct proc *top;

    if (slot->born >= since)
        return 1;
    top = procs.lookup(&slot->top);
    return top && top->slots[i].root == slot->root && top->slots[i].born == slot->born;
}

/* Returns whether any of its roots stops programs, and may this one: no more than kill(2) lets a user do. */
static __always_inline int find_enforcers(struct record *record, struct proc *proc)
{
    u32 uid = bpf_get_current_uid_gid();

    record->stops.found = 0;
    __builtin_memset(record->stops.bits, 0, sizeof(record->stops.bits));
#pragma nounroll
    for (int i = 0; i < SLOTS; i++) {
        u64 root = proc->slots[i].root;
        struct enforcer *enforcer = root ? enforcers.lookup(&root) : 0;
        if (enforcer && (enforcer->uid == 0 || enforcer->uid == uid) && branch_counts(proc, i, enforcer->since)) {
            record->stops.bits[i] = enforcer->bit;
            *(volatile u64 *)&record->stops.found |= enforcer->bit;
        }
    }
    return record->stops.found != 0;
}

static __always_inline void stop_if_denied(void *ctx, kptr task)
{
    u32 tgid = current_tgid(), stopped = 0;
    struct proc *proc = procs.lookup(&tgid);
    struct record *record = record_in_the_making();

    if (record && proc && find_enforcers(record, proc)) {
        *(volatile u64 *)&record->stops.found = 0;
        look_up_names(record);
#pragma nounroll
        for (int i = 0; i < SLOTS; i++)
            stopped |= (record->stops.bits[i] & record->stops.found) != 0 ? 1 << i : 0;
        if (stopped && bpf_send_signal(SIGKILL) == 0) {
            record->nested.stopped = stopped;
            record->head.stopped = stopped & 1 ? STOPPED_FOR_THIS : STOPPED_FOR_OTHERS;
        }
    }
    tail_calls.call(ctx, CALL_PATHS);
    count_loss(KIND_EXEC); /* not reached */
}

/* ---- exec failed ---- */

/* An attempt's arguments, from the memory of the process that goes on. */
static __always_inline void append_arguments(struct record *record, uptr argv)
{
    struct head *head = &record->head;

    head->flags |= FLAG_ARGV_CUT;
    for (int i = 0; i < ATTEMPT_ARGS; i++) {
        uptr arg = 0;
        u32 len;
        if (read_user(&arg, sizeof(arg), (void *)(argv + 8 * i)) != 0) {
            head->flags |= FLAG_ARGV_UNREAD;
            break;
        }
        if (arg == 0) {
            head->flags &= ~FLAG_ARGV_CUT;
            break;
        }
        len = append(record, ATTEMPT_ARG_CAP, arg, 1);
        if (len == 0) {
            head->flags |= FLAG_ARGV_UNREAD;
            break;
        }
        if (len == ATTEMPT_ARG_CAP) /* it may go on: what follows is not known */
            break;
    }
}

/* Of a root that has failed to replace itself: which thread of it that was. */
static __always_inline void name_thread(struct slot *slots)
{
#pragma nounroll
    for (int i = 0; i < SLOTS; i++) {
        struct root *root = slots[i].root && !slots[i].top ? roots.lookup(&slots[i].root) : 0;
        if (root)
            slots[i].thread = thread_at_level(root->level);
    }
}

static __always_inline void record_attempt(void *ctx, struct proc *proc, struct exec_in_flight *exec, u32 error)
{
    kptr task = bpf_get_current_task();
    struct record *record = scratch_get();
    struct head *head;

    if (!record) {
        count_loss(KIND_ATTEMPT);
        return;
    }
    head = &record->head;
    fill_head(record, KIND_ATTEMPT, proc, current_tgid(), task);
    head->entered = exec->at;
    head->error = error;
    head->dirfd = exec->dirfd;
    name_thread(record->nested.slots);
    if (task_has_borrowed_rights(task))
        head->flags |= FLAG_BORROWED;
    if (exec->args_known) {
        head->path_len = append(record, PATH_CAP, exec->path, 1);
        append_arguments(record, exec->argv);
    } else {
        head->flags |= FLAG_ARGV_UNREAD;
    }
    head->argv_len = IN_MEMORY(head->data_len) - head->path_len;
    deliver_record(ctx, record, 0);
    scratch_put(record);
}

static __always_inline void record_failed_exec(void *ctx, s64 result)
{
    kptr task = bpf_get_current_task();
    u32 tgid = current_tgid();
    struct proc *proc;
    struct exec_in_flight *exec, copy;

    if (result >= 0) {
        leave_exec(ctx, task, 0); /* a check whether it may be executed (AT_EXECVE_CHECK): else on_exec has left it */
        return;
    }
    proc = procs.lookup(&tgid);
    exec = execs_in_flight.lookup(&task);
    if (!exec) {
        if (proc)
            deliver_lost_attempt(proc, tgid, 0); /* its beginning went unseen */
        return;
    }
    copy = *exec;
#ifdef ATTEMPTS
    if (proc)
        record_attempt(ctx, proc, &copy, -result);
#endif
    leave_exec(ctx, task, 0);
}

/* ---- exit ---- */

/* Whether it is the process that a root forked, at the top of a branch. */
static __always_inline int is_top(struct proc *proc, u32 tgid)
{
    int found = 0;
#pragma nounroll
    for (int i = 0; i < SLOTS; i++)
        if (proc->slots[i].root != 0 && proc->slots[i].top == tgid)
            found = 1;
    return found;
}

static __always_inline void record_exit(void *ctx, struct proc *proc, u32 tgid, u32 status)
{
    struct record *record = scratch_get();
    struct head *head;

    if (!record) {
        count_loss(KIND_EXIT);
        return;
    }
    head = &record->head;
    __builtin_memset(record, 0, sizeof(struct nested_head)); /* what was there may be another user's */
    head->kind = KIND_EXIT;
    head->error = status;
    head->pid = tgid;
    head->at = head->entered = bpf_ktime_get_ns();
    head->previous_at = proc->own_exec ? proc->image_at : 0;
    __builtin_memcpy(record->nested.slots, proc->slots, sizeof(proc->slots));
    deliver(ctx, (struct nested_head *)record, 0, 1);
    scratch_put(record);
}

/* Of a thread, and with the last one of its process. */
static __always_inline void handle_exit(void *ctx, kptr task)
{
    u32 tgid = current_tgid();
    struct proc *proc = procs.lookup(&tgid);
    struct exec_in_flight *exec = execs_in_flight.lookup(&task);
    kptr signal;

    if (exec) { /* also of a thread that comes here after the last one of its process */
        if (proc)
            deliver_lost_attempt(proc, tgid, exec->at); /* killed inside execve, or its failure went unseen */
        leave_exec(ctx, task, 1);
    }
    if (!proc)
        return;
    signal = task_signal(task);
    if (task_has_others(signal))
        return;
    if (is_top(proc, tgid) || proc->own_exec)
        record_exit(ctx, proc, tgid, task_exit_status(task, signal));
    procs.delete(&tgid);
}

static __always_inline void handle_exit_if_skipped(void *ctx, kptr task)
{
    u32 tgid = current_tgid();
    if (procs.lookup(&tgid) || execs_in_flight.lookup(&task))
        handle_exit(ctx, task); /* else both were taken out; what lives on in other threads is left as it is */
}

/* ---- pid translation ---- */

/* The helper knows processes by their numbers in its own PID namespace, and the kernel's are nowhere to be read there.
 * So it waits for a process that is no child of its own: the kernel looks that up, and finds nothing to wait for. */
static __always_inline void translate_pid(kptr pid)
{
    struct bpf_pidns_info self = {};
    struct pid_answer answer = {.given = 1};
    int zero = 0;
    struct helper_process *helper = helper_process.lookup(&zero);

    if (!is_wanted(WANT_PID)) /* every wait() of the machine comes here */
        return;
    if (!helper || bpf_get_ns_current_pid_tgid(helper->device, helper->inode, &self, sizeof(self)) != 0 ||
        self.tgid != helper->pid)
        return;
    if (pid)
        answer.pid = pid_at_level(pid, 0);
    pid_answer.update(&zero, &answer);
}

/* ---- wakeups ---- */

/* Wakes the reader. That costs more than a record does, so records alone do not: only much of them, one that found no
 * room, and the end of an exec while the helper waits for it. */
static __always_inline void wake_reader(void *ctx, int later)
{
    u64 nothing = 0;
#ifdef PREEMPTED
    /* The helper has real-time priority: it would preempt the program that wakes it, and others of its kind would be
     * skipped. So a program behind these does it. */
    struct counters *count = counters();
    if (later && count) {
        count->wakeup = 1;
        return;
    }
#endif
    wakeups.perf_submit(ctx, &nothing, sizeof(nothing));
}

static __always_inline void wake_if_deferred(void *ctx)
{
    struct counters *count = counters();
    if (count && count->wakeup) {
        count->wakeup = 0;
        wake_reader(ctx, 0);
    }
}

/* ---- the programs: one of these parts is compiled at a time ---- */

#define AT(name, call)                             \
    int name(struct bpf_raw_tracepoint_args *ctx) \
    {                                              \
        call;                                      \
        return 0;                                  \
    }

#ifdef STOP
AT(on_exec_stop, stop_if_denied(ctx, ctx->args[0]))
#endif

#ifdef TRACE
AT(on_rename, register_root(ctx->args[0], ctx->args[1]))
AT(on_newtask, inherit_lineage(ctx->args[0], ctx->args[1]))
AT(on_prepare, prepare_exec(ctx->args[1]))
AT(on_exec, record_exec(ctx, ctx->args[0], ctx->args[2], 0))
AT(on_exec_paths, record_paths(ctx, ctx->args[0]))
AT(on_exit, handle_exit(ctx, ctx->args[0]))
#ifdef PID_NAMESPACE
AT(on_wait, translate_pid(ctx->args[0]))
#endif
#ifdef PREEMPTED
AT(on_newtask_fallback, inherit_lineage_if_skipped(ctx->args[0], ctx->args[1]))
AT(on_exec_fallback, record_exec_if_skipped(ctx, ctx->args[0], ctx->args[2]))
AT(on_exit_fallback, handle_exit_if_skipped(ctx, ctx->args[0]))
AT(on_exec_wakeup, wake_if_deferred(ctx))
AT(on_exit_wakeup, wake_if_deferred(ctx))
#endif
#endif

#ifdef KPROBES /* they cost execs alone */

int kprobe_enter_execve(struct pt_regs *ctx)
{
    struct exec_in_flight exec = {.args_known = 1, .dirfd = AT_FDCWD};
    exec.path = SYSCALL_ARG(ctx, 1);
    exec.argv = SYSCALL_ARG(ctx, 2);
    begin_exec(&exec);
    return 0;
}

int kprobe_enter_execveat(struct pt_regs *ctx)
{
    struct exec_in_flight exec = {.args_known = 1};
    exec.dirfd = SYSCALL_ARG(ctx, 1);
    exec.path = SYSCALL_ARG(ctx, 2);
    exec.argv = SYSCALL_ARG(ctx, 3);
    begin_exec(&exec);
    return 0;
}

#ifdef COMPAT
/* 32-bit callers: their pointers are laid out otherwise, so that the exec is marked and no more. */
int kprobe_enter_compat(struct pt_regs *ctx)
{
    struct exec_in_flight exec = {};
    begin_exec(&exec);
    return 0;
}
#endif

/* Where there is no tracepoint for it. */
int kprobe_prepare(struct pt_regs *ctx)
{
    prepare_exec(PT_REGS_PARM1(ctx));
    return 0;
}

int kprobe_leave(struct pt_regs *ctx)
{
    record_failed_exec(ctx, (s32)PT_REGS_RC(ctx));
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
    struct exec_in_flight exec = {.args_known = 1, .dirfd = AT_FDCWD};
    exec.path = ctx->args[0];
    exec.argv = ctx->args[1];
    begin_exec(&exec);
    return 1;
}

int tracepoint_enter_execveat(struct sys_enter_args *ctx)
{
    struct exec_in_flight exec = {.args_known = 1};
    exec.dirfd = ctx->args[0];
    exec.path = ctx->args[1];
    exec.argv = ctx->args[2];
    begin_exec(&exec);
    return 1;
}

int tracepoint_leave(struct sys_exit_args *ctx)
{
    record_failed_exec(ctx, ctx->ret);
    return 1;
}
#endif
