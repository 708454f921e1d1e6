"""Ordinary users, and interpreters that they can run."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/bin/python3.13", "/usr/bin/python3.12", "/usr/bin/python3.11")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="execprobe: these tests become other users, as root can")


def enterable_python() -> Path:
    """A Python that other users can run, and that is new enough for the plugin."""
    for path in map(Path, (sys.executable, *SYSTEM_PYTHONS)):
        if path.exists() and _enterable(path):
            return path
    pytest.skip(f"execprobe: no Python 3.10 that other users can run ({', '.join(SYSTEM_PYTHONS)})")


def _enterable(python: Path) -> bool:
    for path in (python, python.resolve()):
        if not all(folder.stat().st_mode & 0o001 for folder in path.parents):
            return False
    check = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]
    return subprocess.run(check, check=False).returncode == 0


@pytest.fixture
def user() -> Iterator[str]:
    """An ordinary user."""
    with ordinary_user("test") as name:
        yield name


@contextlib.contextmanager
def ordinary_user(word: str) -> Iterator[str]:
    """One whose name has this in it, and is no one's else: other test runs make users, too."""
    name = f"execprobe-{secrets.token_hex(4)}-{word}"
    if shutil.which("useradd") is None:
        pytest.skip("execprobe: there is no useradd to make an ordinary user with")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
        try:
            yield name
        finally:
            _wait_for_all_of(pwd.getpwnam(name).pw_uid)
            subprocess.run(["userdel", name], check=True)


def _wait_for_all_of(uid: int) -> None:
    """Helpers end a moment after those whom they have served, and no user goes before."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if f"\nUid:\t{uid}\t" not in (entry / "status").read_text(errors="replace"):
                continue
            pidfd = os.pidfd_open(int(entry.name))
            try:
                assert select.select([pidfd], [], [], 30)[0], f"process {entry.name} of user {uid} goes on"
            finally:
                os.close(pidfd)


def as_user(name: str, *options: str) -> list[str]:
    """What to put before a command that this user is to run. ``options`` are setpriv's."""
    ids = pwd.getpwnam(name)
    setpriv = shutil.which("setpriv") or "setpriv"
    return [setpriv, f"--reuid={ids.pw_uid}", f"--regid={ids.pw_gid}", "--clear-groups", *options, "--"]


@contextlib.contextmanager
def without_privilege(word: str) -> Iterator[list[str]]:
    """What to put before a command that is to be run by an ordinary user, who has no capability and can get none."""
    if os.geteuid() != 0:
        yield ["setpriv", "--no-new-privs", "--"]
        return
    with ordinary_user(word) as name:
        yield as_user(name, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


@contextlib.contextmanager
def being(name: str) -> Iterator[None]:
    """What this process does meanwhile, it does as that user, with the user's rights alone."""
    ids, groups = pwd.getpwnam(name), os.getgroups()
    os.setgroups([])
    os.setegid(ids.pw_gid)
    os.seteuid(ids.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
