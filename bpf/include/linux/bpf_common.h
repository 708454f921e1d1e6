/* BCC's copy of linux/bpf.h includes it; nothing of it is used here. */
