/* The registers that a kprobe is given: the user-space ABI's layout, which does not change. */
#ifndef EXECPROBE_PTRACE_H
#define EXECPROBE_PTRACE_H
#if defined(__x86_64__)
struct pt_regs {
    unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#else
struct user_pt_regs {
    unsigned long long regs[31], sp, pc, pstate;
};
struct pt_regs {
    unsigned long long regs[31], sp, pc, pstate;
};
#endif
#endif
