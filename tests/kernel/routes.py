"""Every way to execute a program that would remove a file. Run as a program: tries each of them, while it is to be
stopped before it runs, and writes what came of that.

    python routes.py BACKEND FOLDER TIMES
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.connect import HelperSettings, start_helper
from pytest_execprobe.source.events import Exec

#: What stands in the script: removes what it is given, else the file beside it.
SCRIPT = '#!{interpreter}\n/bin/rm -f "${{1:-{file}}}"\n'


class Town:
    """The folder, the script in it, and the file that it would remove. Nothing else of its names is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file, self.script = folder / "precious", folder / "cleaner"
        self.link, self.hard_link, self.interpreted = folder / "soft", folder / "hard", folder / "interpreted"
        self.interpreter, self.copy = folder / "reader", folder / "wiper"

    def build(self) -> None:
        self.file.touch()
        self.link.symlink_to(self.script)
        self.interpreter.symlink_to("/bin/sh")
        for path, interpreter in ((self.script, "/bin/sh"), (self.interpreted, self.interpreter)):
            path.write_text(SCRIPT.format(interpreter=interpreter, file=self.file))
            path.chmod(0o755)
        self.hard_link.hardlink_to(self.script)
        self.copy.write_bytes(Path("/bin/rm").read_bytes())
        self.copy.chmod(0o755)


def routes(town: Town) -> dict[str, tuple[str, Callable[[], object]]]:
    """By name: what is denied, and how it is executed. Each returns when all that it has begun has ended."""
    script, file, environment = str(town.script), str(town.file), os.environ

    def call(*command: str, **options: object) -> Callable[[], object]:
        return lambda: subprocess.run(command, stderr=subprocess.DEVNULL, check=False, **options)  # type: ignore[call-overload]

    def forked(execute: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            child = os.fork()
            if child == 0:
                try:
                    execute()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)

        return run

    def in_thread(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

        return run

    def spawn() -> None:
        os.waitpid(os.posix_spawn(script, [script], environment), 0)

    def by_descriptor(path: str, argv: list[str]) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        os.set_inheritable(descriptor, True)  # the interpreter opens it once more
        os.execve(descriptor, argv, environment)

    def in_memory() -> None:
        memory = os.memfd_create("anything")
        os.write(memory, town.copy.read_bytes())
        os.execve(memory, ["wiper", "-f", file], environment)

    def detached() -> None:
        reading, writing = os.pipe()
        subprocess.run(["/bin/sh", "-c", f"({script} &) &"], pass_fds=[writing], check=False)
        os.close(writing)
        os.read(reading, 1)  # until the last that has it has ended
        os.close(reading)

    wipe = f"import os; os.unlink({file!r})"
    return {
        "Popen": ("cleaner", call(script)),
        "fork": ("cleaner", call(script, preexec_fn=lambda: None)),
        "posix_spawn": ("cleaner", spawn),
        "system": ("cleaner", lambda: os.system(f"{script} 2>/dev/null")),
        "system, by path": (script, lambda: os.system(f"{script} 2>/dev/null")),
        "exec in a fork": ("cleaner", forked(lambda: os.execv(script, [script]))),
        "exec in a thread": ("cleaner", forked(in_thread(lambda: os.execv(script, [script])))),
        "thread": ("cleaner", in_thread(call(script))),
        "pipeline": ("cleaner", call("/bin/sh", "-c", f"echo | {script} | /bin/cat")),
        "detached": ("cleaner", detached),
        "PATH": ("cleaner", call("/usr/bin/env", "cleaner", env={"PATH": str(town.folder)})),
        "relative": (script, call("./cleaner", cwd=town.folder)),
        "link": ("cleaner", call(str(town.link))),
        "link, by path": (script, call(str(town.link))),
        "by the link": (str(town.link), call(str(town.link))),
        "hard link, by path": (script, call(str(town.hard_link))),
        "interpreter": ("reader", call(str(town.interpreted))),
        "interpreter, by path": (str(town.interpreter), call(str(town.interpreted))),
        "argv[0]": ("cleaner", forked(lambda: os.execv("/proc/self/exe", ["cleaner", "-c", wipe]))),
        "argv[0] with a path": ("cleaner", forked(lambda: os.execv("/proc/self/exe", ["/x/cleaner", "-c", wipe]))),
        "login shell": ("cleaner", forked(lambda: os.execv("/proc/self/exe", ["-cleaner", "-c", wipe]))),
        "descriptor": ("cleaner", forked(lambda: by_descriptor(script, ["other"]))),
        "descriptor, by path": (script, forked(lambda: by_descriptor(script, ["other"]))),
        "binary": ("wiper", call(str(town.copy), "-f", file)),
        "memfd": ("wiper", forked(in_memory)),
    }


def main(backend: str, folder: str, times: int) -> dict[str, list[int]]:
    """By name of the route: how often the program was stopped, and how often the file was gone; of each once more than
    ``times`` with nothing denied, when it is to be gone."""
    town = Town(Path(folder))
    source = start_helper(HelperSettings(backend=backend))
    assert isinstance(source, HelperSource)

    def count(run: Callable[[], object], times: int) -> list[int]:
        gone = 0
        for _ in range(times):
            run()
            if not town.file.exists():
                gone += 1
                town.file.touch()
        batch = source.sync(60)
        assert (batch.in_flight, batch.unplaced) == (0, 0)
        return [sum(event.stopped for event in batch.events if isinstance(event, Exec)), gone]

    def in_the_root(child_does: Callable[[], object]) -> Callable[[], None]:
        """Of a child that is a root itself."""

        def run() -> None:
            child = os.fork()
            if child == 0:
                try:
                    own = source.in_child(fresh=True, timeout=30)
                    own.stop(["cleaner"], 0, 30)
                    child_does()
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(0)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == -9, status

        return run

    found = {}
    for name, (denied, run) in routes(town).items():
        source.stop([denied], 0, 30)
        found[name] = count(run, times)
        source.stop([], 0, 30)
        found[name] += count(run, 1)
    script = str(town.script)
    execute = in_the_root(lambda: os.execv(script, [script]))
    found["exec in the root itself"] = [0, *count(execute, times)[1:], 0, 1]
    source.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
