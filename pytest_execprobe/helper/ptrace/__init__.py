"""The probe without privilege: ptrace(2) by event stops, where BPF can't be had."""
