"""BPF programs: compiled by BCC once, kept, and loaded through its library."""
