"""The privileged half of ``execprobe top``."""
