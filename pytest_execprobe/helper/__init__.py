"""The privileged half: a process of its own, under the system's Python, that owns the BPF program.

It draws on the standard library and bcc alone, runs on Python 3.9 and up, and imports nothing of the plugin.
The plugin imports :mod:`.wire` from here, the command line :mod:`.target` too, and neither anything else.
"""
