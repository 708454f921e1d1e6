"""What is said of a suite is the same whichever probe has recorded it: baselines, reports and the gate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_execprobe.cli import main

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(400), pytest.mark.bpf]

SUITE = """
import os, shutil, subprocess, sys, threading, pytest

subprocess.run(["uname"], check=True)

@pytest.fixture(scope="module")
def server():
    subprocess.run(["cat"], stdin=subprocess.DEVNULL, check=True)
    with subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        yield shell

@pytest.fixture
def script(tmp_path):
    path = tmp_path / "release"
    path.write_text("#!/usr/bin/env sh\\n/bin/true; ls / | sort >/dev/null\\n")
    path.chmod(0o755)
    return path

def test_script(script):
    subprocess.run([script], check=True)

@pytest.mark.parametrize("times", [1, 3])
def test_thread(times, server):
    def work():
        for _ in range(times):
            os.waitpid(os.posix_spawn("/bin/true", ["other"], os.environ), 0)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    server.stdin.write(b"/bin/false\\n" * times + b"echo\\n")
    server.stdin.flush()
    server.stdout.readline()

def test_search_in_path(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    path = f"{tmp_path}/a:{tmp_path}/b:{os.environ['PATH']}"
    subprocess.run(["env", "true"], env={"PATH": path}, check=True)

def test_daemon(tmp_path):
    read, write = os.pipe()
    subprocess.run(["sh", "-c", "(sleep 0; /bin/true) >/dev/null & exit 0"], pass_fds=[write], check=True)
    os.close(write)
    os.read(read, 1)  # until that has ended, too

def test_link_and_memory(tmp_path):
    link = tmp_path / "my-true"
    link.symlink_to("/bin/true")
    subprocess.run([link], check=True)
    file = os.memfd_create("in memory", 0)
    with open("/bin/true", "rb") as source:
        shutil.copyfileobj(source, open(file, "wb", closefd=False))
    subprocess.run([f"/proc/self/fd/{file}"], pass_fds=[file], check=True)

def test_privileged():
    subprocess.run(["mount", "-V"], stdout=subprocess.DEVNULL, check=True)

def test_children():
    if os.fork() == 0:
        os.execv("/bin/true", ["true"])
    assert os.wait()[1] == 0

@pytest.mark.xfail
def test_expected():
    subprocess.run(["false"], check=True)
"""


def run(folder: Path, backend: str, *options: str) -> str:
    """The summary of a run that is beyond nothing."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--execprobe-backend={backend}"]
    command += ["--execprobe-baseline=execs.toml", f"--execprobe-report={backend}.json", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_baseline_is_the_same(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SUITE)
    folder, baseline = pytester.path, pytester.path / "execs.toml"
    run(folder, "bpf", "--execprobe-update")
    written = baseline.read_text()
    assert "execs.toml: no change" in run(folder, "ptrace", "--execprobe-update")
    assert baseline.read_text() == written
    baseline.unlink()
    run(folder, "ptrace", "--execprobe-update")
    assert baseline.read_text() == written
    assert "execprobe: ptrace" in run(folder, "ptrace")
    assert "execprobe: BCC" in run(folder, "bpf")
    gate = ["gate", str(folder / "bpf.json"), str(folder / "ptrace.json"), "--budget", str(baseline)]
    assert main(gate) == 0
    baseline.write_text(written.replace("my-true = 1", "my-false = 1"))
    assert main(gate) == 1
