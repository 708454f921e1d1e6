"""Something is done in a process of its own, while this one goes on: see :class:`Apart`."""

from __future__ import annotations

import json
import os
import signal
from typing import Callable, Iterable, Optional

from .errors import ProbeError
from .process import capture_output, close_others, explain

_DONE, _FAILED = b"+", b"-"


class Apart:
    """A child that does ``work``, and ends. No thread may be running here.

    It has no descriptors but those that it ``keeps``, and what is written there belongs to what went wrong there.
    ``died``: what is wrong if it ends without a word.
    """

    def __init__(self, work: Callable[[], bytes], died: ProbeError, keeps: Iterable[int] = ()) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or there is nobody to wait for, where a shell has it ignored
        self._died = died
        self.fd, writing = os.pipe()  # the first becomes readable when it is through
        self._pid = os.fork()
        if self._pid == 0:
            try:
                close_others({0, 1, 2, writing, *keeps})
                _tell(writing, work)
            finally:
                os._exit(0)
        os.close(writing)

    def let_go(self) -> None:
        """From now on it leaves nothing behind when it has ended, whether its result is asked for or not."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        self._reap(os.WNOHANG)

    def result(self) -> bytes:
        """Waits for its end. To be asked once. Raises ProbeError."""
        with open(self.fd, "rb") as pipe:
            answer = pipe.read()
        if self._reap(0) not in (0, None) or not answer:
            raise self._died
        if answer[:1] == _FAILED:
            raise ProbeError(*json.loads(answer[1:].decode()))
        return answer[1:]

    def _reap(self, options: int) -> Optional[int]:
        try:
            return os.waitpid(self._pid, options)[1]
        except ChildProcessError:  # let go of
            return None


def _tell(writing: int, work: Callable[[], bytes]) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    output = capture_output()
    try:
        answer = _DONE + work()
    except Exception as error:
        answer = _FAILED + json.dumps(explain(error, output)).encode()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(answer)
