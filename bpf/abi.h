/* SPDX-License-Identifier: MIT
 *
 * What the kernel side and the helper share: records, and the keys and values of maps. The helper reads and writes them
 * by formats of Python's struct module (helper/wire.py, helper/bpf/probe.py, source/decode.py); tests/unit/test_abi.py
 * compiles this file and compares.
 *
 * Times are of CLOCK_MONOTONIC in nanoseconds. Processes have the kernel's own numbers, those of the machine's first
 * PID namespace, where nothing else is said. "tgid" is the kernel's word for a process's number.
 */
#ifndef EXECPROBE_ABI_H
#define EXECPROBE_ABI_H

typedef u64 kptr; /* the address of something in the kernel, to be read by kread.h alone */
typedef u64 uptr; /* the address of something in the process's own memory */

#define SLOTS 6        /* roots (a pytest inside a pytest inside ...) that one process can belong to */
#define REAPERS 8      /* subreapers above a root that are kept */
#define PATH_CAP 4096  /* bytes that are kept of a path, with the NUL */
#define INTERP_CAP 512 /* likewise of an interpreter's */
#define COMM_SIZE 16   /* bytes of a task's name in the kernel, with the NUL */
#define NAME_CAP 256   /* bytes of a file's name, with the NUL */
#define PID_UNKNOWN 0xffffffff

enum kind {
    KIND_EXEC = 1,
    KIND_ATTEMPT = 2,
    KIND_EXIT = 3,
    KIND_UNFOLLOWED = 4,
    KIND_UNMARKED = 5,
    KIND_UNTRACED = 6, /* what has executed this is traced no longer, as was wanted of the tracer. Never made here */
    KIND_NESTED = 7,   /* no record, but what stands in front of one: struct nested */
};

enum flag {
    FLAG_ARGV_CUT = 1,
    FLAG_ARGV_UNREAD = 2,
    FLAG_ENTRY_UNSEEN = 4,
    FLAG_SCRIPTS_ALL = 8, /* of a script: all files of FILE_SCRIPTS are there */
    FLAG_ARGV0_KEPT = 16, /* of a script: argv has the caller's argv[0], behind the path of what it belongs to */
    FLAG_BORROWED = 32,   /* the process has another user's rights, or another group's, as setuid programs have */
    FLAG_PRIVILEGE_LOST = 64, /* of a setuid program: it runs without that, for it is traced. Never set here */
};

/* The files of an exec, in the order in which a record has their paths. From FILE_SCRIPTS on they are what the kernel
 * opened before the executable, the last first: the script that was executed stands behind its interpreters that are
 * scripts themselves. */
enum exec_file { FILE_EXECUTABLE, FILE_CWD, FILE_SCRIPTS };

/* What follows the components of a path: it reaches the root; no folder holds the file (a memfd); where it goes on is
 * not known. None of these can be a component. */
enum path_end { END_ROOT = '/', END_NOWHERE = '.', END_UNKNOWN = '.' | '.' << 8 };

/* What the helper waits for, and numbers of PID namespaces as soon as a root is in one below the first: keys of the map
 * `wanted`. */
enum want { WANT_WAKEUP, WANT_CLAIMS, WANT_PID, WANT_STOPS, WANT_NUMBERS, WANTS };

/* Where a process stands below one root: which branch of the root it belongs to.
 *
 * Written by a fork (inherited from the parent) and by the registration of a root; the helper writes slots of processes
 * that were there before. A slot whose root has gone from `roots` is free, and others may follow an empty one. */
struct slot {
    u64 root;   /* the root's id, 0: empty */
    u64 born;   /* when the branch left the root, 0: before the root was watched, or the root itself */
    u32 top;    /* the process that the root forked, 0: this is the root itself */
    u32 thread; /* the thread of the root that forked it, as the root sees it, 0: not known. Of the root itself: 0, and
                 * in the record of a failed attempt the thread that has made it */
};

/* One process of a watched tree: the map `procs`, by tgid.
 *
 * Made by its creator's fork, changed by its own execs, deleted by the exit of its last thread. The helper adds
 * processes that were there before (BPF_NOEXIST, BPF_EXIST). An image is named by its process and the time of its exec.
 * */
struct proc {
    u64 image_at;  /* the image it runs, 0: the one that was there when watching began */
    u64 parent_at; /* the image its creator ran when it forked this process */
    u32 image_pid;
    u32 parent_pid;
    u32 own_exec; /* whether it has exec'd since it was forked */
    u32 recorded; /* 1 + where in scratch its exec's record is, until the fallback has seen that it is recorded */
    struct slot slots[SLOTS];
    u64 forked;           /* when it was, 0: before the root was watched */
    u64 adopted;          /* when the helper has put it here, 0: it has not */
    char comm[COMM_SIZE]; /* of its image, as the exec has named it */
    u32 pids[SLOTS];      /* its pid as the root of each slot sees it, 0: not known */
};

/* Of an exec: whether it was stopped, by SIGKILL. */
enum stopped { STOPPED_FOR_THIS = 1, STOPPED_FOR_OTHERS = 2 };

/* How a record begins: what the perf buffer `events` carries, and the queue `dropped`.
 *
 * A record is for one root: most processes are in one tree, and so it is half as long as with room for all. In front of
 * that of a process which may be in others stands a struct nested, and the helper makes a record for each root of it.
 *
 * A record that finds no room in the buffer is dropped, and its head alone goes to the queue, behind a struct nested in
 * any case, so that the loss can be charged to the right window. By the counters the helper knows whether it has all of
 * both. */
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
    u32 stopped; /* enum stopped, 0: it was not */
    struct slot slot; /* the first */
    u32 seen_pid; /* in the PID namespace of the root, as users see them; 0 where it is outside of that */
    u32 seen_ppid;
    /* From here on, with what follows the head, all bytes are the same for execs of one command. */
    u32 flags;
    s32 dirfd; /* an attempt's execveat argument */
    char comm[COMM_SIZE];
    /* What follows the head: the path, the interpreter, the paths of files, argv. Each length counts the NULs of its
     * strings. A file's path is its components, the last first, and an enum path_end. */
    u32 path_len;
    u32 interp_len;
    u32 argv_len;
    u32 data_len;
};

/* What is not the same for each root, as in struct head. Empty slots have no root. */
struct nested {
    u32 kind; /* KIND_NESTED */
    u32 stopped; /* bit N says that it was, for the root of slot N */
    struct slot slots[SLOTS];
    u32 pids[SLOTS];
    u32 ppids[SLOTS];
};

struct nested_head {
    struct nested nested;
    struct head head;
};

/* What one CPU has counted: an array that the helper and its clients have mapped, and read while it changes.
 *
 * seen == submitted + dropped once nothing is in the making. `seen` is counted before those two and read after them, so
 * they are never found equal while a record is missing; `entered` and `ended` likewise count execs in flight. */
struct counters {
    u64 submitted;
    u64 dropped;
    u64 unlisted; /* dropped, and the queue of dropped heads was full, too */
    u64 seen;
    u64 entered;
    u64 ended;
    u64 wakeup; /* the reader is to be woken, by the program for that */
    u64 unread; /* bytes submitted since the reader was last woken for them */
    u64 blind;  /* of the unlisted: each stands for any number of execs. Counted before them, and read after them */
    u64 padding[7]; /* so that no two CPUs write to the same cache line */
};

/* The comm handshake, by which a process becomes a root: the map `claims` has a root's id by such a name.
 *
 * The helper makes up a name, puts it into the map and gives it to one client. The process that takes that name (prctl)
 * is the root; the kernel side deletes the claim and makes a struct root. Deleting is what decides between two. */
struct claim {
    char comm[COMM_SIZE];
};

/* A watched root: the map `roots`, by its id.
 *
 * Made once by the comm handshake, deleted by the helper when its client has gone. `forks` is counted after the child
 * is in `procs`: so a list of that map, read between two equal counts, has every process. */
struct root {
    u64 armed_at;
    u64 forks;
    u32 tgid;
    u32 refused; /* all slots of the process were taken */
    u32 level;   /* how many PID namespaces its own is below the machine's first */
    u32 reapers[REAPERS]; /* its ancestors that are subreapers */
    u32 all_reapers;      /* 0: there are more of them, or more ancestors, than there is room for */
    u32 found;            /* how many there are, up to one more than there is room for */
};

/* What must not run: a key of the map `denied`, whose value has the bit of each root that denies it.
 *
 * A name or a path (device and inode 0), a file (no name), or the file that has a name in a folder (all three, the
 * inode being the folder's). Written by the helper. */
struct denial {
    u64 device; /* the file system's, as the kernel has it */
    u64 inode;
    char name[NAME_CAP]; /* all behind the NUL is 0 */
};

/* A root for which programs are stopped: the map `enforcers`, by the root's id. Written by the helper. */
struct enforcer {
    u64 bit;   /* of no other root */
    u64 since; /* branches that were begun before count while their top process lives */
    u32 uid;   /* whose processes may be killed; 0: all */
    u32 padding;
};

/* An exec that has been entered and is neither done nor failed: the map `execs_in_flight`, by task.
 *
 * Made when execve is entered, deleted when the exec has succeeded or failed, or the task has ended. The helper reads
 * `at` and `tgid`, to know how long an answer must wait. */
struct exec_in_flight {
    u64 at;
    uptr path;
    uptr argv;
    u32 tgid;
    s32 dirfd;
    u64 args_known;  /* whether path, argv and dirfd are */
    kptr works;      /* the task's list of works when its new image was prepared, 0: none, or that was not seen */
    kptr executable; /* a file that the kernel keeps open for an interpreter, 0: none */
    u64 prepared;    /* these two are known, and the list stays as it is until the exec is over */
};

/* The helper itself, in its PID namespace: written once by the helper, the map `helper_process`. */
struct helper_process {
    u64 device; /* the namespace's */
    u64 inode;
    u32 pid;
};

/* What a process's number in that namespace is to the kernel: the map `pid_answer`.
 *
 * The helper empties it, sets WANT_PID and calls waitid(); the kernel side, in the middle of that call, fills it. */
struct pid_answer {
    u32 given;
    u32 pid; /* 0: there is no such process */
};

#endif
