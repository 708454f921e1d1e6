"""What ``execprobe doctor`` looks at.

Checks are functions over a :class:`.machine.Machine`, so that a test can give them another, and return findings. How
those are shown is up to the command.
"""
