"""What the commands write, to terminals and to what is none, with rich and without."""

from __future__ import annotations

import io
import os
import sys
import threading

import pytest

from pytest_execprobe.cli import terminal as module
from pytest_execprobe.cli.terminal import CommandError, Terminal, as_ours


class Stream(io.TextIOWrapper):
    """A standard stream that keeps what is written to it."""

    def __init__(self, *, tty: bool = False, encoding: str = "utf-8") -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept, encoding=encoding, errors="strict", write_through=True)
        self.tty = tty
        self.awaited = ""
        self.has_come = threading.Event()

    def isatty(self) -> bool:
        return self.tty

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")

    def write(self, text: str, /) -> int:
        count = super().write(text)
        if self.awaited and self.awaited in self.text:
            self.has_come.set()
        return count

    @property
    def text(self) -> str:
        return self.kept.getvalue().decode(self.encoding)

    def until(self, text: str) -> None:
        """Waits for it to be written."""
        self.awaited = text
        if text not in self.text:
            assert self.has_come.wait(10), self.text


class Streams:
    """Those that the module takes for its own. (pytest puts its own into ``sys`` once more before each call.)"""

    def __init__(self) -> None:
        self.stdout: Stream | None = Stream()
        self.stderr: Stream | None = Stream()

    def use(self, name: str, **kind: object) -> Stream:
        stream = Stream(**kind)  # type: ignore[arg-type]
        setattr(self, name, stream)
        return stream

    @property
    def out(self) -> Stream:
        assert self.stdout is not None
        return self.stdout

    @property
    def err(self) -> Stream:
        assert self.stderr is not None
        return self.stderr


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    streams = Streams()
    monkeypatch.setattr(module, "sys", streams)
    return streams


@pytest.fixture
def no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name == "rich" or name.startswith("rich."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)


GREEN = "\x1b[32mgood\x1b[0m and plain\n"


# ---- colour ----


@pytest.mark.parametrize(
    ("color", "tty", "environment", "colored"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
        ("auto", False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("always", False, {}, True),
        ("always", True, {"NO_COLOR": "1"}, True),
        ("always", False, {"TERM": "dumb"}, True),
        ("never", True, {}, False),
        ("never", True, {"FORCE_COLOR": "1"}, False),
    ],
)
def test_when_there_is_colour(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, color: str, tty: bool, environment: dict[str, str], colored: bool
) -> None:
    pytest.importorskip("rich", reason="without rich there is no colour")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out, err = streams.use("stdout", tty=tty), streams.use("stderr", tty=tty)
    terminal = Terminal(color)
    terminal.say(("good", "good"), " and plain")
    terminal.complain(("good", "good"), " and plain")
    for stream in (out, err):
        assert stream.text == (GREEN if colored else "good and plain\n")


@pytest.mark.usefixtures("no_rich")
@pytest.mark.parametrize("color", module.COLORS)
def test_without_rich_it_is_plain(streams: Streams, color: str) -> None:
    out, err = streams.use("stdout", tty=True), streams.use("stderr", tty=True)
    terminal = Terminal(color)
    terminal.say(("good", "good"), " and plain")
    terminal.complain("bad")
    with terminal.live() as show:
        show([["a line"]])
    assert not terminal.interactive
    assert (out.text, err.text) == ("good and plain\n", "bad\n")


def test_nothing_is_interpreted(streams: Streams) -> None:
    out = streams.use("stdout", tty=True)
    text = "[bold]x[/bold] :smile: 'quoted' 12 " + "long " * 60
    Terminal("always").say(text)
    assert out.text == text + "\n"


# ---- what can't be shown, and what can't be written ----


@pytest.mark.parametrize("color", ["never", "always"])
def test_no_name_makes_it_fail(streams: Streams, color: str) -> None:
    out, err = streams.use("stdout", encoding="ascii"), streams.use("stderr", encoding="ascii")
    terminal = Terminal(color)
    terminal.say("ñ … \udcff")
    terminal.complain("ñ … \udcff")
    assert out.text == err.text == "\\xf1 \\u2026 \\udcff\n"


def test_a_surrogate_in_utf_8(streams: Streams) -> None:
    Terminal().say("\udcff ñ")
    assert streams.out.text == "\\udcff ñ\n"


def test_a_whole_text_is_utf_8_in_any_locale(streams: Streams) -> None:
    out = streams.use("stdout", encoding="ascii")
    terminal = Terminal()
    terminal.say("first")
    terminal.put("ñ\n\udcff")
    assert out.kept.getvalue() == "first\nñ\n\\udcff".encode()


def test_a_whole_text_is_written_in_parts_if_need_be(streams: Streams) -> None:
    """As an unbuffered stream takes it."""
    write = streams.out.kept.write
    streams.out.kept.write = lambda data: write(bytes(data)[:3])  # type: ignore[method-assign,assignment]
    Terminal().put("0123456789")
    assert streams.out.text == "0123456789"


def test_streams_that_were_closed(streams: Streams) -> None:
    streams.stdout = streams.stderr = None
    terminal = Terminal()
    terminal.say("to nobody")
    terminal.complain("to nobody")
    with terminal.working("work"):
        pass
    streams.out.close()
    streams.err.close()


def failing(stream: Stream, error: OSError) -> None:
    def fail(_: str) -> int:
        raise error

    stream.write = fail  # type: ignore[method-assign]


@pytest.mark.parametrize("color", ["never", "always"])
def test_who_reads_standard_output_may_go(streams: Streams, color: str) -> None:
    failing(streams.out, BrokenPipeError(32, "Broken pipe"))
    with pytest.raises(BrokenPipeError):
        Terminal(color).say(("text", "good"))


@pytest.mark.parametrize("color", ["never", "always"])
def test_standard_output_may_be_full(streams: Streams, color: str) -> None:
    failing(streams.out, OSError(28, "No space left on device"))
    with pytest.raises(CommandError, match="standard output can't be written: No space left on device"):
        Terminal(color).say(("text", "good"))


@pytest.mark.parametrize("color", ["never", "always"])
def test_a_complaint_that_can_not_be_written_stops_nothing(streams: Streams, color: str) -> None:
    failing(streams.err, BrokenPipeError(32, "Broken pipe"))
    Terminal(color).complain(("text", "bad"))


# ---- screens ----


@pytest.mark.parametrize(
    ("out", "err", "term", "interactive", "attended"),
    [
        (True, True, "xterm", True, True),
        (True, False, "xterm", True, False),
        (False, True, "xterm", False, True),
        (True, True, "dumb", False, False),
        (True, True, None, False, False),
    ],
)
def test_which_streams_are_screens(
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
    out: bool,
    err: bool,
    term: str | None,
    interactive: bool,
    attended: bool,
) -> None:
    pytest.importorskip("rich", reason="without rich nothing is redrawn")
    if term is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", term)
    streams.use("stdout", tty=out)
    streams.use("stderr", tty=err)
    terminal = Terminal()
    assert (terminal.interactive, terminal.attended) == (interactive, attended)


@pytest.mark.usefixtures("streams")
def test_the_size_of_what_is_no_terminal() -> None:
    assert (Terminal().width, Terminal().height) == (80, 24)


def test_the_size_of_a_terminal(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "fileno", lambda self: 1 if self is streams.out else 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((100 + fd, 40 + fd)))
    assert (Terminal().width, Terminal().height) == (102, 41)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))  # not known
    assert (Terminal().width, Terminal().height) == (80, 24)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "?")
    assert (Terminal().width, Terminal().height) == (120, 24)


# ---- what takes long ----


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0)
    monkeypatch.setattr(module, "_TICK", 0.001)


@pytest.mark.usefixtures("impatient")
def test_what_takes_long_is_said_and_taken_back(streams: Streams) -> None:
    err = streams.use("stderr", tty=True)
    with Terminal().working("reading") as say:
        err.until("reading (0 s)")
        say("a.json")
        err.until("reading: a.json (0 s)")
    assert err.text.endswith("\r\x1b[K")
    assert "\n" not in err.text
    assert streams.out.text == ""


@pytest.mark.usefixtures("impatient", "no_rich")
def test_it_needs_no_rich(streams: Streams) -> None:
    err = streams.use("stderr", tty=True)
    with Terminal().working("reading"):
        err.until("reading (0 s)")


@pytest.mark.usefixtures("impatient")
def test_it_makes_way_for_a_line(streams: Streams) -> None:
    err = streams.use("stderr", tty=True)
    terminal = Terminal("never")
    with terminal.working("reading"):
        err.until("reading (0 s)")
        terminal.complain("a line")
    assert "\r\x1b[Ka line\n" in err.text


@pytest.mark.usefixtures("impatient")
def test_it_fits_on_a_line(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    err = streams.use("stderr", tty=True)
    with Terminal().working("x" * 100):
        err.until("x" * 19)
    assert "x" * 20 not in err.text


def test_what_takes_no_time_is_not_said(streams: Streams) -> None:
    err = streams.use("stderr", tty=True)
    with Terminal().working("reading") as say:
        say("a.json")
    assert err.text == ""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_nothing_moves_where_there_is_no_screen(streams: Streams, monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    err = streams.use("stderr", tty=term == "dumb")
    before = threading.active_count()
    with Terminal("always").working("reading") as say:
        say("a.json")
        assert threading.active_count() == before
    assert err.text == ""


@pytest.mark.usefixtures("impatient")
def test_it_ends_with_an_error(streams: Streams) -> None:
    err = streams.use("stderr", tty=True)
    before = threading.active_count()

    def work() -> None:
        with Terminal().working("reading"):
            err.until("reading")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert threading.active_count() == before
    assert err.text.endswith("\r\x1b[K")


# ---- displays ----


@pytest.mark.parametrize("color", ["auto", "never"])
def test_a_display_is_replaced_and_gone_at_the_end(streams: Streams, color: str) -> None:
    pytest.importorskip("rich", reason="without rich there is none")
    out = streams.use("stdout", tty=True)
    terminal = Terminal(color)
    with terminal.live() as show:
        show([["first"], [("strong", "strong")]])
        assert "first" in out.text
        assert ("\x1b[1mstrong" in out.text) == (color == "auto")
        show([["second"]])
    assert "second" in out.text
    assert out.text.rstrip("\x1b[?25h\r").endswith("\x1b[2K")
    terminal.say("what stays")
    assert out.text.endswith("what stays\n")


def test_no_display_where_there_is_no_screen(streams: Streams) -> None:
    with Terminal("always").live() as show:
        show([["first"]])
    assert streams.out.text == ""


# ---- words ----


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("execprobe: Run pytest as root, or give it CAP_BPF", "Run execprobe as root, or give it CAP_BPF"),
        ("raise --execprobe-buffer-pages", "raise --buffer-pages"),
        ("reinstall pytest-execprobe", "reinstall pytest-execprobe"),
        ("/opt/pytest/bin/python: no; pytest_execprobe", "/opt/pytest/bin/python: no; pytest_execprobe"),
    ],
)
def test_what_users_of_pytest_are_told_is_put_in_words_of_the_commands(theirs: str, ours: str) -> None:
    assert as_ours(theirs) == ours
