"""Requests to stop, as a file descriptor that poll(2) can watch."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Final

_ASKING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Catches SIGTERM, SIGINT and SIGHUP until `restore`. `fd` is readable when one has come."""

    def __init__(self) -> None:
        self.fd, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.came: list[signal.Signals] = []
        self._old_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # An ignored one stays ignored: that is how nohup keeps a terminal's end from us.
        self._old = {number: signal.signal(number, self._on_signal) for number in _ASKING
                     if signal.getsignal(number) is not signal.SIG_IGN}
        # Inherited as ignored, the kernel would reap our children itself and their exit codes be lost.
        self._old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.came.append(signal.Signals(number))

    def drain(self) -> bool:
        """Whether any came since the last call."""
        try:
            return bool(os.read(self.fd, 512))
        except BlockingIOError:
            return False

    def restore(self) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self.fd)
        os.close(self._writer)
