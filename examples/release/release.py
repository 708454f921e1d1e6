"""A small release script: it tags a git repository, builds a tarball of the tag, and writes and verifies checksums."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path


class ReleaseError(Exception):
    """The release can't go on."""


def release(repository: Path, version: str, folder: Path) -> Path:
    """Tags the repository's head and puts a verified tarball of it into a folder."""
    tag(repository, version)
    tarball = build(repository, version, folder)
    check_contents(tarball)
    write_checksums(folder)
    verify(folder)
    return tarball


def tag(repository: Path, version: str) -> None:
    """Puts an annotated tag on the head, provided that all is committed."""
    if _git(repository, "status", "--porcelain"):
        raise ReleaseError(f"{repository} has changes that are not committed")
    _git(repository, "tag", "--annotate", "--message", f"Version {version}", version)


def build(repository: Path, version: str, folder: Path) -> Path:
    """Builds the tarball of a version, the same to the last byte each time."""
    tarball = folder / f"demo-{version}.tar.gz"
    archive = shlex.join(["git", "archive", f"--prefix=demo-{version}/", version])
    with tarball.open("wb") as file:
        subprocess.run(["sh", "-c", f"{archive} | gzip --no-name"], cwd=repository, stdout=file, check=True)
    return tarball


def check_contents(tarball: Path) -> None:
    """Unpacks a tarball to nowhere: so that it is whole is known before anyone downloads it."""
    command = ["tar", "--extract", "--gzip", "--to-stdout", "--file", tarball]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write_checksums(folder: Path) -> None:
    subprocess.run(["sh", "-c", "sha256sum *.tar.gz | sort > SHA256SUMS"], cwd=folder, check=True)


def verify(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def recompress(tarball: Path) -> None:
    """Makes a tarball as small as can be: by zopfli if it is installed, else by gzip."""
    plain = tarball.with_suffix("")
    subprocess.run(["gzip", "--decompress", "--force", tarball], check=True)
    try:
        subprocess.run(["zopfli", plain], check=True)
    except FileNotFoundError:
        subprocess.run(["gzip", "--best", "--no-name", plain], check=True)


def _git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=repository, check=True, capture_output=True, text=True).stdout
