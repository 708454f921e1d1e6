"""What the privileged ``helper top`` is told on its command line: refused in words, or a target that is safe to use."""

from __future__ import annotations

import fuzzing

with fuzzing.instrumented():
    from pytest_execprobe.helper.errors import ProbeError
    from pytest_execprobe.helper.top import main as top
    from pytest_execprobe.helper.top import target

SEEDS = [
    b"--probe=kprobe:do_sys_open",
    b"--probe\0tracepoint:sched:sched_switch\0--by\0user",
    b"--probe=uprobe:/lib/x:y.so:malloc\0--max-names=5",
    b"--probe=usdt:c:libc:setjmp\0--interval\x000.5\0--duration=1e3",
    b"--probe=exec",
]
WORDS = [b"--probe=", b"--by", b"program", b"--max-names=", b"--interval=", b"--duration=", b"kprobe:", b"tracepoint:"]
WORDS += [b"uprobe:", b"usdt:", b"nan", b"inf", b"1_0", b"--", b"/", b":"]


def check(data: bytes) -> None:
    words = [word.decode("utf-8", "surrogateescape") for word in data.split(b"\0")]
    try:
        options = top._parse(words)
    except ProbeError:
        return
    assert options.by in ("program", "user")
    assert 1 <= options.max_names <= 262144
    assert options.interval is None or 0.1 <= options.interval <= 3600
    assert options.duration is None or 0.1 <= options.duration <= 1e8
    asked = options.probe
    assert asked.kind in ("exec", "kprobe", "tracepoint", "uprobe", "usdt")
    for text in (asked.place, asked.name):
        assert len(text) <= 4096
        assert not any(char < " " or char == "\x7f" for char in text)
    if asked.kind in ("kprobe", "tracepoint", "usdt"):
        assert (asked.name + (asked.place if asked.kind == "tracepoint" else "")).isascii()
        assert "/" not in asked.name
        assert ".." not in asked.place or "/" in asked.place
    target.near(asked.name, ["malloc", "do_sys_open", "sched:sched_switch"])


if __name__ == "__main__":
    fuzzing.run(check, SEEDS, WORDS)
