/* SPDX-License-Identifier: MIT
 *
 * Reading kernel memory. Where members of the kernel's structs are comes in as OFF_* constants, which the helper looks
 * up in the running kernel's BTF (helper/bpf/btf.py): a header would be right for one kernel and silently wrong for
 * others.
 *
 * A BPF program may not follow a pointer into the kernel; bpf_probe_read_kernel() copies, and what can't be read is 0
 * here. A call costs 15 to 25 ns however little it copies, so members that stand side by side are read at once where
 * they mostly do.
 */
#ifndef EXECPROBE_KREAD_H
#define EXECPROBE_KREAD_H

#define SIGNAL_GROUP_EXIT 4         /* linux/sched/signal.h */
#define FMODE_EXEC 0x20             /* linux/fs.h: in f_flags of a file that an exec has opened */
#define PRESERVE_ARGV0 8            /* linux/binfmts.h: in interp_flags, since Linux 5.12 */
#define MNT_NS_INIT_INO 0xeffffff8U /* uapi/linux/nsfs.h: no namespace with a number of its own has a lower one */

/* Helpers under names of their own. BCC looks for bpf_probe_read_user() in all of /proc/kallsyms, for kernels before 5.5,
 * and at each call anew; where it can't read that it takes bpf_probe_read_kernel() for a helper of those kernels. */
static int (*read_kernel)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_kernel;
static int (*read_kernel_str)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_kernel_str;
static int (*read_user)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_user;
static int (*read_user_str)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_user_str;

static __always_inline u64 kread_u64(kptr at)
{
    u64 value = 0;
    read_kernel(&value, sizeof(value), (void *)at);
    return value;
}

static __always_inline u32 kread_u32(kptr at)
{
    u32 value = 0;
    read_kernel(&value, sizeof(value), (void *)at);
    return value;
}

static __always_inline u8 kread_u8(kptr at)
{
    u8 value = 0;
    read_kernel(&value, sizeof(value), (void *)at);
    return value;
}

/* Two members of one struct. */
static __always_inline void kread_pair(kptr at, u64 first, u64 second, u64 *values)
{
    if (second == first + sizeof(u64)) {
        read_kernel(values, 2 * sizeof(u64), (void *)(at + first));
    } else {
        values[0] = kread_u64(at + first);
        values[1] = kread_u64(at + second);
    }
}

/* ---- struct pid: a process has a number in its own PID namespace, and in each of those above ---- */

static __always_inline u32 pid_level(kptr pid)
{
    return kread_u32(pid + OFF_PID_LEVEL);
}

/* 0 where the process is outside of the namespace. */
static __always_inline u32 pid_at_level(kptr pid, u64 level)
{
    if (pid == 0)
        return PID_UNKNOWN; /* it is ending just now */
    if (pid_level(pid) < level)
        return 0;
    return kread_u32(pid + OFF_PID_NUMBERS + level * SIZE_UPID + OFF_UPID_NR);
}

/* ---- struct task_struct: a thread, and of a process its leader ---- */

static __always_inline u32 task_tgid(kptr task)
{
    return kread_u32(task + OFF_TASK_TGID);
}

static __always_inline kptr task_parent(kptr task)
{
    return kread_u64(task + OFF_TASK_REAL_PARENT);
}

static __always_inline kptr task_leader(kptr task)
{
    return kread_u64(task + OFF_TASK_GROUP_LEADER);
}

/* Set by its fork, before anybody can see it. */
static __always_inline u64 task_start(kptr task)
{
    return kread_u64(task + OFF_TASK_START_TIME);
}

/* The struct pid of the thread itself. */
static __always_inline kptr thread_pid(kptr task)
{
    return kread_u64(task + OFF_TASK_THREAD_PID);
}

/* The struct pid of its process. */
static __always_inline kptr task_pid(kptr task)
{
    return thread_pid(task_leader(task));
}

static __always_inline kptr task_signal(kptr task)
{
    return kread_u64(task + OFF_TASK_SIGNAL);
}

static __always_inline kptr task_mm(kptr task)
{
    return kread_u64(task + OFF_TASK_MM);
}

static __always_inline kptr task_works(kptr task)
{
    return kread_u64(task + OFF_TASK_WORKS);
}

static __always_inline int task_uses_io_uring(kptr task)
{
    return OFF_TASK_IO_URING != 0 && kread_u64(task + OFF_TASK_IO_URING) != 0;
}

static __always_inline int task_is_subreaper(kptr task)
{
    u8 bits = kread_u8(task_signal(task) + BIT_SIGNAL_SUBREAPER / 8);
    return bits >> BIT_SIGNAL_SUBREAPER % 8 & 1;
}

/* Whether its process has another thread that lives. Counted down before sched_process_exit. */
static __always_inline int task_has_others(kptr signal)
{
    return kread_u32(signal + OFF_SIGNAL_LIVE) != 0;
}

/* As wait() would have it, of a process whose last thread is ending. */
static __always_inline u32 task_exit_status(kptr task, kptr signal)
{
    if (kread_u32(signal + OFF_SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT)
        return kread_u32(signal + OFF_SIGNAL_GROUP_EXIT_CODE);
    return kread_u32(task_leader(task) + OFF_TASK_EXIT_CODE);
}

/* Whether it has another user's rights: in use, or saved, to be taken up again. */
static __always_inline int task_has_borrowed_rights(kptr task)
{
    kptr cred = kread_u64(task + OFF_TASK_CRED);
    u32 uid = kread_u32(cred + OFF_CRED_UID), gid = kread_u32(cred + OFF_CRED_GID);
    return uid != kread_u32(cred + OFF_CRED_EUID) || uid != kread_u32(cred + OFF_CRED_SUID) ||
           gid != kread_u32(cred + OFF_CRED_EGID) || gid != kread_u32(cred + OFF_CRED_SGID);
}

/* ---- struct linux_binprm: an exec's new image in the making ---- */

/* The names of the file and of its interpreter: two pointers that differ if it is a script. */
static __always_inline void bprm_names(kptr bprm, kptr *names)
{
    kread_pair(bprm, OFF_BPRM_FILENAME, OFF_BPRM_INTERP, names);
}

/* A file that the kernel keeps open for an interpreter. */
static __always_inline kptr bprm_executable(kptr bprm)
{
    return kread_u64(bprm + OFF_BPRM_EXECUTABLE);
}

static __always_inline int bprm_keeps_argv0(kptr bprm)
{
    return kread_u32(bprm + OFF_BPRM_INTERP_FLAGS) & PRESERVE_ARGV0;
}

/* ---- struct mm_struct: a process's memory ---- */

/* Where its arguments begin and end. */
static __always_inline void mm_arguments(kptr mm, uptr *range)
{
    kread_pair(mm, OFF_MM_ARG_START, OFF_MM_ARG_END, range);
}

/* ---- struct file, and struct path: a dentry in a mount ---- */

static __always_inline kptr file_path(kptr file)
{
    return file + OFF_FILE_PATH;
}

static __always_inline kptr path_dentry(kptr path)
{
    return kread_u64(path + OFF_PATH_DENTRY);
}

static __always_inline kptr mm_exe_path(kptr mm)
{
    return file_path(kread_u64(mm + OFF_MM_EXE_FILE));
}

static __always_inline kptr task_cwd_path(kptr task)
{
    return kread_u64(task + OFF_TASK_FS) + OFF_FS_PWD;
}

static __always_inline kptr work_next(kptr work)
{
    return kread_u64(work + OFF_WORK_NEXT);
}

/* The path of the file that a work of a task is to close; 0 if it is no file, or none that an exec has opened. A work
 * that is in no struct file leads to other memory: that this one is shows by two pointers to one inode. */
static __always_inline kptr work_exec_path(kptr work)
{
    kptr file = work - OFF_FILE_WORK;
    kptr inode = kread_u64(file + OFF_FILE_INODE);
    kptr dentry = path_dentry(file_path(file));
    int is_file = inode && dentry && kread_u64(dentry + OFF_DENTRY_INODE) == inode;

    return is_file && kread_u32(file + OFF_FILE_FLAGS) & FMODE_EXEC ? file_path(file) : 0;
}

/* Where a path is: its struct mount and its dentry. */
static __always_inline void read_path(kptr path, kptr *mount, kptr *dentry)
{
    kptr members[2] = {};
    kread_pair(path, OFF_PATH_MNT, OFF_PATH_DENTRY, members);
    *mount = members[0] - OFF_MOUNT_MNT; /* struct path has the struct vfsmount that is inside of it */
    *dentry = members[1];
}

/* ---- struct mount ---- */

struct mount_at {
    kptr parent;     /* the mount that it is mounted in; itself: in none */
    kptr mountpoint; /* the dentry there */
    kptr root;       /* the dentry that it begins with */
};

static __always_inline void read_mount(kptr mount, struct mount_at *found)
{
    u64 root = OFF_MOUNT_MNT + OFF_VFSMOUNT_ROOT;
    if (OFF_MOUNT_MOUNTPOINT == OFF_MOUNT_PARENT + 8 && root == OFF_MOUNT_PARENT + 16) {
        read_kernel(found, sizeof(*found), (void *)(mount + OFF_MOUNT_PARENT));
    } else {
        kread_pair(mount, OFF_MOUNT_PARENT, OFF_MOUNT_MOUNTPOINT, &found->parent);
        found->root = kread_u64(mount + root);
    }
}

/* Whether it is in a namespace of mounts: what `umount -l` has taken out is in none, and what is in no folder yet
 * (fsmount, open_tree) has one to itself, which has no number. */
static __always_inline int mount_is_in_a_tree(kptr mount)
{
    return kread_u32(kread_u64(mount + OFF_MOUNT_NS) + OFF_MNT_NS_NUMBER) >= MNT_NS_INIT_INO;
}

/* ---- struct dentry: an entry of a folder ---- */

struct dentry_at {
    kptr parent; /* itself: the root of a file system, or in no folder */
    u32 hash;
    u32 length; /* of its name */
    kptr name;
};

static __always_inline void read_dentry(kptr dentry, struct dentry_at *found)
{
    if (OFF_DENTRY_NAME == OFF_DENTRY_PARENT + __builtin_offsetof(struct dentry_at, name) &&
        OFF_DENTRY_LENGTH == OFF_DENTRY_PARENT + __builtin_offsetof(struct dentry_at, length)) {
        read_kernel(found, sizeof(*found), (void *)(dentry + OFF_DENTRY_PARENT));
    } else {
        found->parent = kread_u64(dentry + OFF_DENTRY_PARENT);
        found->length = kread_u32(dentry + OFF_DENTRY_LENGTH);
        found->name = kread_u64(dentry + OFF_DENTRY_NAME);
    }
}

/* ---- struct inode ---- */

/* The inode of a dentry: the number of its file system, and its own there. */
static __always_inline void read_inode(kptr dentry, u64 *device, u64 *number)
{
    kptr inode = kread_u64(dentry + OFF_DENTRY_INODE);
    *device = kread_u32(kread_u64(inode + OFF_INODE_SB) + OFF_SB_DEVICE);
    *number = kread_u64(inode + OFF_INODE_NUMBER);
}

/* ---- struct pt_regs: a system call's arguments, as a kprobe finds them ---- */

/* Where the kernel wraps its system calls, their arguments are in a second pt_regs. */
#ifdef SYSCALL_WRAPPER
#define SYSCALL_ARG(ctx, number) kread_u64(PT_REGS_PARM1(ctx) + OFF_REGS_ARG##number)
#else
#define SYSCALL_ARG(ctx, number) PT_REGS_PARM##number(ctx)
#endif

#endif
