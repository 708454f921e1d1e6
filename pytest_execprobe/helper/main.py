"""The helper's life: become a daemon, call the client back, make the probe, give up privilege, serve."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import sys
import traceback
from typing import List, Optional

from . import privilege, probe, wire
from .server import Server


def main(argv: Optional[List[str]] = None) -> None:
    options = _parse(argv)
    _become_daemon()
    first = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    first.connect("\0" + options.connect)
    output = _capture_output()
    try:
        server = _make_server(options, first)
    except probe.ProbeError as error:
        _fail(first, error.code, error.reason + _last_words(output), error.remedy)
    except Exception as error:
        _fail(first, "helper-failed", "%s: %s" % (type(error).__name__, error) + _last_words(output), "")
    try:
        server.run()
    except Exception as error:
        server.abandon("%s: %s (%s)" % (type(error).__name__, error, traceback.format_exc().splitlines()[-3].strip()))
    os._exit(0)  # not through atexit: the kernel takes the probe down with the process, at once


def _parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="execprobe-helper", description=__doc__)
    parser.add_argument("--connect", required=True, help="abstract socket on which the client waits")
    parser.add_argument("--bpf", required=True, help="folder of execprobe.c")
    parser.add_argument("--attempts", choices=probe.ROUTES, default="auto")
    parser.add_argument("--pages", type=int, default=probe.Settings().pages)
    parser.add_argument("--procs", type=int, default=probe.Settings().procs)
    return parser.parse_args(argv)


def _make_server(options: argparse.Namespace, first: socket.socket) -> Server:
    bcc = probe.import_bcc()
    made = probe.Probe(bcc, options.bpf, probe.Settings(options.attempts, options.pages, options.procs))
    _, uid, gid = wire.credentials(first)
    left = privilege.give_up(uid, gid, probe.kernel_version())
    address = "pytest-execprobe-" + secrets.token_hex(16)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("\0" + address)
    listener.listen(64)
    listener.setblocking(False)
    welcome = dict(made.describe(), privilege=left, address=address, pid=os.getpid(), python=sys.executable)
    return Server(made, first, listener, welcome)


def _become_daemon() -> None:
    """Leaves the client's session, and its children: a test that waits for any child must not meet this process."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that ends with this process may hang up before setsid()
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")


def _capture_output() -> int:
    """BCC's compiler and the verifier write to standard error; kept for the reason of a failure."""
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.memfd_create("execprobe-output")
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    return output


def _last_words(output: int) -> str:
    text = os.pread(output, 1 << 16, max(0, os.fstat(output).st_size - (1 << 16))).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if "error" in line.lower() or "denied" in line.lower()]
    return ": " + "; ".join(lines[-3:]) if lines else ""


def _fail(sock: socket.socket, code: str, reason: str, remedy: str) -> None:
    sock.sendall(wire.frame(wire.FAILED, 0, {"code": code, "reason": reason[:4000], "remedy": remedy}))
    os._exit(1)
