"""What pytest loads: the hooks. The module that it loads it compiles itself, to rewrite assertions in it, and at each
start where Python is to write no bytecode; so there is next to nothing here."""

from __future__ import annotations

from ._util import imports  # noqa: F401  (the first: what follows Python itself imports)
from .session.hooks import *  # noqa: F403
