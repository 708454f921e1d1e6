/* The running kernel's, handed in by the helper. */
#define LINUX_VERSION_CODE EXECPROBE_KERNEL_VERSION
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
