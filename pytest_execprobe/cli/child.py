"""A command that runs as if it had been started without this: with the terminal, and the signals that it would get."""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
from collections.abc import Iterator, Sequence

from .._util.text import printable
from .terminal import CommandError

#: Those that end the wait for what the command has left running.
_ENDING = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
#: Those that would end this process, and leave the command alone.
_SIGNALS = _ENDING | {signal.SIGUSR1, signal.SIGUSR2}
#: Python ignores these, and what is ignored stays so in a new program.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
_SHELL = "/bin/sh"


class Child:
    """The command. Until :meth:`release` this process gets none of _SIGNALS; :meth:`wait` passes them on.

    Raises CommandError, with a shell's exit status, if it can't be started. Not to be used with other threads about,
    which would get the signals.
    """

    def __init__(self, command: Sequence[str]) -> None:
        #: As a shell has it, None as long as it runs.
        self.status: int | None = None
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or its status would be lost
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._pid = self._start(list(command))
            self._pidfd = os.pidfd_open(self._pid)
        except BaseException:
            self.release()
            raise

    def _start(self, command: list[str]) -> int:
        name = printable(command[0]) or "''"
        try:
            if not command[0]:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # which Python takes for a defect
            return self._spawn(command)
        except OSError as error:
            if error.errno == errno.ENOENT:
                if shutil.which(command[0]) is not None:
                    raise CommandError(f"{name}: the interpreter that its #! line names is not there", 127) from None
                where = "" if "/" in name else " in PATH"
                raise CommandError(f"{name}: there is no such command{where}", 127) from None
            raise CommandError(f"{name}: can't be executed ({error.strerror})", 126) from None

    def _spawn(self, command: list[str]) -> int:
        def spawn(program: str, argv: list[str]) -> int:
            return os.posix_spawnp(program, argv, os.environ, setsigmask=self._mask, setsigdef=_IGNORED)

        try:
            return spawn(command[0], command)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script without its #! line. As execvp(3) and every shell take it, it is one for sh.
            path = shutil.which(command[0]) or command[0]
            return spawn(_SHELL, [_SHELL, path, *command[1:]])

    def wait(self, timeout: float) -> bool:
        """For at most so many seconds. Whether the command has ended."""
        ended = bool(select.select([self._pidfd], [], [], timeout)[0])
        for received in _received():
            self._pass_on(received)
        if not ended:
            return False
        os.close(self._pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self.status = 128 - code if code < 0 else code
        return True

    def _pass_on(self, received: signal.struct_siginfo) -> None:
        # What the terminal sends it sends to the command as well. A hangup it may send to a session's leader alone.
        from_terminal = received.si_code > 0 and received.si_signo != signal.SIGHUP
        if not from_terminal and received.si_pid != self._pid:
            os.kill(self._pid, received.si_signo)  # it may have ended, but was not waited for

    def interrupted(self) -> str | None:
        """When the command has ended: the name of a signal that has come since, and is to end this."""
        came = [received.si_signo for received in _received() if received.si_signo in _ENDING]
        return signal.Signals(came[0]).name if came else None

    def release(self) -> None:
        """From now on signals do what they do. Those that came together with the command's end were meant for it."""
        for _ in _received():
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _received() -> Iterator[signal.struct_siginfo]:
    """The signals that wait to be taken. (signal.sigtimedwait() fails, or invents one, after Ctrl-Z and fg.)"""
    while pending := signal.sigpending() & _SIGNALS:
        yield signal.sigwaitinfo(pending)
