"""``python -m pytest_execprobe.cli``, for where the script ``execprobe`` is not on PATH."""

from __future__ import annotations

from . import script

if __name__ == "__main__":
    script()
