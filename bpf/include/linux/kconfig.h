/* Stand-ins for kernel headers, so that BCC can compile without any. They hold only what BCC's own headers and
 * execprobe.c ask for, and no layout of a kernel struct: those come from the running kernel's BTF. */
#define CONFIG_BPF_SYSCALL 1 /* BCC refuses to compile without it */
