"""Runs a probe helper that unprivileged users share, until Ctrl-C or SIGTERM ends it.

Users who may use its socket need neither sudo nor a privilege of their own: they run pytest with
``--execprobe-helper=PATH``. Each sees the processes that descend from their own, and no others. It takes root, or
CAP_BPF and CAP_PERFMON, to start; once it probes, it keeps none of that. systemd can run it, and make its socket:
docs/serve.md has the units, and says who can do what.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from .._util.text import printable
from ..errors import ProbeUnavailable
from ..source.launch import (
    PYTHON_VARIABLE,
    bpf_folder,
    helper_command,
    helper_environment,
    interpreters,
    no_interpreter,
    privilege_route,
)
from .doctor.bcc import ask
from .doctor.machine import Machine
from .terminal import CommandError, Terminal, as_ours
from .values import add_options, whole

SUMMARY = "run a probe helper for unprivileged users"

_SOCKET = "/run/execprobe/execprobe.sock"
_CLIENTS_MAX = 900
_ATTEMPTS = {"choices": ("auto", "always", "kprobe", "tracepoint", "off")}
_PAGES, _PROCESSES = {"type": whole(1, 1 << 20)}, {"type": whole(64, 1 << 22)}
#: How systemd passes a service its sockets, besides the descriptors.
_SYSTEMD = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(
        parser,
        [
            ("--socket", "PATH", f"where to listen (default: {_SOCKET})", {"default": _SOCKET}),
            ("--mode", "OCTAL", "the socket's mode: who can write to it may use it (default: 0660)", {"type": _mode}),
            ("--group", "NAME", "the socket's group (default: the user's who starts this)", {}),
            ("--user", "NAME", "the user the helper becomes once it probes, if it is root (default: nobody)", {}),
            ("--python", "PATH", f"interpreter to run it with, one that has BCC (also {PYTHON_VARIABLE})", {}),
            ("--attempts", "HOW", "how to see failed attempts, as --execprobe-attempts (default: auto)", _ATTEMPTS),
        ],
    )
    clients = whole(1, _CLIENTS_MAX)
    add_options(
        parser.add_argument_group("limits"),
        [
            ("--buffer-pages", "N", "perf buffer per CPU, in pages, a power of two (default: 512)", _PAGES),
            ("--max-processes", "N", "processes of all watched trees together (default: 32768)", _PROCESSES),
            ("--max-clients", "N", f"connections of all users, up to {_CLIENTS_MAX} (default: 512)", {"type": clients}),
            ("--max-clients-per-user", "N", "connections of one user at a time (default: 128)", {"type": clients}),
        ],
    )


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:  # noqa: ARG001
    """Becomes the service: what has started this command, such as systemd, has started that."""
    try:
        route = privilege_route("this", may_ask=sys.stdin.isatty())
        if route and os.environ.get("LISTEN_PID") == str(os.getpid()):
            raise ProbeUnavailable(
                "sudo closes the socket that systemd has handed over: have the unit run this as root, or with"
                " AmbientCapabilities=CAP_BPF CAP_PERFMON"
            )
        command = helper_command(route, _interpreter(arguments.python), "serve", "--bpf", str(bpf_folder()))
    except ProbeUnavailable as error:
        raise CommandError(printable(as_ours(str(error)))) from error
    for option, value in (
        ("--socket", os.path.abspath(arguments.socket)),
        ("--mode", arguments.mode),
        ("--group", arguments.group),
        ("--user", arguments.user),
        ("--attempts", arguments.attempts),
        ("--pages", arguments.buffer_pages),
        ("--procs", arguments.max_processes),
        ("--max-clients", arguments.max_clients),
        ("--max-clients-per-user", arguments.max_clients_per_user),
    ):
        if value is not None:
            command += [f"{option}={value}"]
    _become(command)


def _become(command: list[str]) -> NoReturn:
    passed = {name: os.environ[name] for name in _SYSTEMD if name in os.environ}
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], command, {**helper_environment(), **passed})
    except OSError as error:
        raise CommandError(printable(f"{command[0]} can't be run: {error.strerror}")) from error


def _interpreter(named: str | None) -> str:
    """One that has BCC: asked first, because what it becomes can't become another."""
    tried = []
    for path in interpreters(named, f"--python or {PYTHON_VARIABLE}"):
        interpreter = ask(Machine(), path)
        if interpreter.reason is None:
            return path
        tried.append(f"{path}: {interpreter.reason}")
    raise no_interpreter(tried, "--python")


def _mode(text: str) -> str:
    if not (text.isascii() and 1 <= len(text) <= 4 and all(digit in "01234567" for digit in text)) or (
        int(text, 8) > 0o777
    ):
        raise argparse.ArgumentTypeError(f"expected a mode such as 0660, not {text!r}")
    return text
