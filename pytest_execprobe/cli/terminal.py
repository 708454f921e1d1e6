"""What the commands write: plain text where it is piped, and colour and movement on a terminal, if rich is there.

A line is made of parts, each a text or a text with the name of a style. rich is in the extra ``cli``; without it every
command works, in plain text. It is imported by what needs it, and that is nothing where output is piped.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from .._util import clock

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

COLORS = ("auto", "always", "never")

Part = str | tuple[str, str]
Line = Sequence[Part]

_STYLES = {"good": "green", "bad": "bold red", "warn": "yellow", "dim": "dim", "strong": "bold"}
_PATIENCE = 1.0  # seconds that something may take before it is said what takes so long
_TICK = 0.2  # seconds between two changes of what is said then
_ERASE = "\r\x1b[K"
_SIZE = (80, 24)  # of what is no terminal


class CommandError(Exception):
    """A command can't do what it was asked for. The message says why, and what to do."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def prepare_streams() -> None:
    """What standard output and error can't show as it is, they show escaped: no name makes a command fail."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # its descriptor was closed
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure") and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")


def as_ours(text: str) -> str:
    """What the probe says to users of pytest, to users of the commands."""
    text = text.removeprefix("execprobe: ").replace("--execprobe-", "--")
    return re.sub(r"(?<![\w./-])pytest(?![\w./-])", "execprobe", text)


class Terminal:
    """Standard output and standard error. ``color`` is one of COLORS."""

    def __init__(self, color: str = "auto") -> None:
        prepare_streams()
        self._out = sys.stdout
        self._err = sys.stderr
        self._color = color
        self._consoles: dict[TextIO, Console | None] = {}
        self._notice: _Notice | None = None
        #: Whether standard output is a screen, where a display can be redrawn.
        self.interactive = _is_screen(self._out) and find_spec("rich") is not None
        #: Whether standard error is a screen.
        self.attended = _is_screen(self._err)

    @property
    def height(self) -> int:
        """Lines that fit on standard output's screen."""
        return _size(self._out)[1]

    @property
    def width(self) -> int:
        """Characters that fit on a line of standard error's screen."""
        return _size(self._err)[0]

    def say(self, *parts: Part) -> None:
        """A line on standard output. Raises BrokenPipeError if its reader has gone, else CommandError if it fails."""
        with _named():
            self._write(self._out, parts)

    def put(self, text: str) -> None:
        """A whole text on standard output, as UTF-8 in any locale: it may be redirected to a file."""
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        with _named():
            self._out.flush()
            while data:  # an unbuffered stream may take less than all
                data = data[self._out.buffer.write(data) :]
            self._out.buffer.flush()

    def complain(self, *parts: Part) -> None:
        """A line on standard error. That it can't be written stops nothing."""
        with suppress(OSError):
            self._write(self._err, parts)

    def _write(self, stream: TextIO, parts: Line) -> None:
        with self._notice.hidden() if self._notice is not None else nullcontext():
            if stream not in self._consoles:
                self._consoles[stream] = _console(stream, self._color)
            console = self._consoles[stream]
            if console is None:
                stream.write(plain(parts) + "\n")
                stream.flush()
            else:
                console.print(_styled(parts), soft_wrap=True)

    @contextmanager
    def working(self, what: str) -> Iterator[Callable[[str], None]]:
        """While the block runs: what is being done, on standard error, if that is a terminal and it takes more than a
        second. The block may call what it is given to say how far it is."""
        if not self.attended:
            yield lambda _: None
            return
        with _Notice(self._err, what) as self._notice:
            try:
                yield self._notice.show
            finally:
                self._notice = None

    @contextmanager
    def live(self) -> Iterator[Callable[[Sequence[Line]], None]]:
        """While the block runs: on a terminal each call replaces the display, which is gone at the end. Elsewhere
        nothing is shown, so the block says at its end what is to stay."""
        if not self.interactive:
            yield lambda _: None
            return
        from rich.live import Live

        console = _make_console(self._out, self._color)
        with Live(console=console, transient=True, auto_refresh=False, vertical_overflow="crop") as live:
            yield lambda lines: live.update(_frame(lines), refresh=True)


class _Notice:
    """A line that is on the screen only while something takes long, and never in the way of another."""

    def __init__(self, stream: TextIO, what: str) -> None:
        self._stream = stream
        self._what = self._text = what
        self._began = clock.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._shown = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def show(self, done: str) -> None:
        self._text = f"{self._what}: {done}"

    def __enter__(self) -> _Notice:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        with self.hidden():
            pass

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """While the block runs, another may write."""
        with self._lock:
            if self._shown:
                self._shown = False
                self._put(_ERASE)
            yield

    def _run(self) -> None:
        patience = _PATIENCE
        while not self._over.wait(patience):
            patience = _TICK
            with self._lock:
                text = f"{self._text} ({clock.monotonic() - self._began:.0f} s)"
                self._shown = True
                self._put(_ERASE + text[: _size(self._stream)[0] - 1])

    def _put(self, text: str) -> None:
        with suppress(OSError, ValueError):  # it may be closed by now
            self._stream.write(text)
            self._stream.flush()


@contextmanager
def _named() -> Iterator[None]:
    """While the block runs, an error of standard output says so."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"standard output can't be written: {error.strerror or error}") from None


def _is_screen(stream: TextIO) -> bool:
    """Whether what is written there can be taken back."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines. As everywhere, COLUMNS and LINES come first."""
    try:
        size = tuple(os.get_terminal_size(stream.fileno()))
    except (OSError, ValueError):  # no terminal, or not even a file
        size = _SIZE
    set_to = (os.environ.get(name, "") for name in ("COLUMNS", "LINES"))
    columns, lines = (
        int(text) if text.isdecimal() and int(text) else is_so or default
        for text, is_so, default in zip(set_to, size, _SIZE, strict=True)
    )
    return columns, lines


def _frame(lines: Sequence[Line]) -> Text:
    from rich.text import Text

    text = Text("\n").join(_styled(line) for line in lines)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _console(stream: TextIO, color: str) -> Console | None:
    """What gives lines their styles; None where they have none, or rich is not installed."""
    if _is_plain(color) or not (color == "always" or stream.isatty() or os.environ.get("FORCE_COLOR")):
        return None
    if find_spec("rich") is None:
        return None
    return _make_console(stream, color)


def _is_plain(color: str) -> bool:
    return color == "never" or (color == "auto" and bool(os.environ.get("NO_COLOR")))


def _make_console(stream: TextIO, color: str) -> Console:
    from rich.console import Console

    class OurConsole(Console):
        def on_broken_pipe(self) -> None:
            raise  # what rich is handling when it calls this, and would else end the program for, with status 1

    plain = _is_plain(color)
    return OurConsole(
        file=stream,
        force_terminal=True if color == "always" else None,
        color_system=None if plain else "standard" if color == "always" else "auto",
        no_color=plain,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _styled(parts: Line) -> Text:
    from rich.text import Text

    return Text.assemble(*(part if isinstance(part, str) else (part[0], _STYLES[part[1]]) for part in parts))


def plain(parts: Line) -> str:
    """A line without its styles."""
    return "".join(part if isinstance(part, str) else part[0] for part in parts)
