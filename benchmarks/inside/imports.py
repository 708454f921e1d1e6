"""Imports the same modules of the standard library again and again, which makes audit events by the thousand."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable

ROUNDS = int(os.environ["BENCH_ROUNDS"])
MODULES = (
    *("argparse", "ast", "asyncio", "calendar", "cgitb", "configparser", "csv", "difflib", "email.message", "ftplib"),
    *("html.parser", "http.client", "imaplib", "json", "mailbox", "optparse", "pdb", "plistlib", "poplib", "smtplib"),
    *("sqlite3", "statistics", "tarfile", "unittest.mock", "urllib.request", "xml.etree.ElementTree", "zipfile"),
)

if os.environ["BENCH_HOOK"] == "yes":
    sys.addaudithook(lambda *_: None)


def import_all() -> None:
    before = set(sys.modules)
    for name in MODULES:
        with contextlib.suppress(ImportError):  # a Python may lack it
            importlib.import_module(name)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test(tell: Callable[..., None]) -> None:
    took = []
    for _ in range(ROUNDS):
        begin = time.process_time_ns()
        import_all()
        took.append(time.process_time_ns() - begin)
    tell(cpu=min(took))  # of the same work each time: what is beyond it is the machine's
