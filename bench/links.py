"""The ways to get frames from one process to another that the ring benchmarks compare: one interface, four links.

A link is made before the fork. `put` says False where the link is full, or blocks; `take` blocks until there is a
frame. The ring shows its frames where they lie until the next `take`, as it does to the desk's own processes; the
others give copies. Each is used as well as it can be: without a call of Python in between that it does not need.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol

import faster_fifo

from bench.measure import WrongAnswer
from ipc.ring import create_ring, open_reader, open_writer
from ipc.wait import LOOK_NS, Bell

CAPACITY_BYTES = 16 << 20
TAKE_BYTES = 1 << 20
RECORD_BYTES = 192


class Link(Protocol):
    def writer(self) -> Callable[[bytes], object]: ...
    def reader(self) -> Callable[[], Sequence[bytes | memoryview]]: ...
    def finish(self) -> None:
        """In the writer's process, before it ends: what was put is on its way."""

    def close(self) -> None: ...


class Ring(Link):
    """Ours. `look_ns`: how long the reader looks before it sleeps."""

    def __init__(self, look_ns: int = LOOK_NS) -> None:
        self.look_ns = look_ns
        self.folder = tempfile.mkdtemp(prefix="oms-bench-", dir="/dev/shm")
        Bell.create(f"{self.folder}/a.bell")
        create_ring(f"{self.folder}/a.ring", CAPACITY_BYTES)

    def writer(self) -> Callable[[bytes], object]:
        return open_writer(f"{self.folder}/a.ring", Bell.attach(f"{self.folder}/a.bell")).try_put

    def reader(self) -> Callable[[], Sequence[bytes | memoryview]]:
        reader = open_reader(f"{self.folder}/a.ring")
        bell = Bell.attach(f"{self.folder}/a.bell", self.look_ns)

        def take() -> Sequence[bytes | memoryview]:
            reader.commit()  # what was taken the last time has been acted upon
            while not (frames := reader.peek_views(TAKE_BYTES)):
                bell.wait(reader.ready, 60)
            return frames

        return take

    def close(self) -> None:
        shutil.rmtree(self.folder)


class SleepingRing(Ring):
    """The same, but it always sleeps at once."""

    def __init__(self) -> None:
        super().__init__(look_ns=0)


class CopyingRing(Ring):
    """The same, but its reader gets copies, as an upstream does."""

    def reader(self) -> Callable[[], Sequence[bytes | memoryview]]:
        take = super().reader()
        return lambda: [bytes(frame) for frame in take()]


class FasterFifo(Link):
    def __init__(self) -> None:
        self.queue = faster_fifo.Queue(CAPACITY_BYTES, loads=bytes, dumps=bytes)

    def writer(self) -> Callable[[bytes], object]:
        put: Callable[[bytes], object] = self.queue.put
        return put

    def reader(self) -> Callable[[], list[bytes]]:
        self.queue.reallocate_msg_buffer(TAKE_BYTES)  # so much it takes at once; else 5,000 bytes
        take: Callable[[], list[bytes]] = self.queue.get_many
        return take

    def close(self) -> None:
        """Its memory goes with the last process that has it."""


class MultiprocessingQueue(Link):
    def __init__(self) -> None:
        self.queue: multiprocessing.Queue[bytes] = multiprocessing.Queue(maxsize=10_000)

    def writer(self) -> Callable[[bytes], object]:
        return self.queue.put

    def reader(self) -> Callable[[], list[bytes]]:
        return lambda: [self.queue.get()]

    def finish(self) -> None:
        self.queue.close()
        self.queue.join_thread()  # it hands over on a thread of its own

    def close(self) -> None:
        self.queue.close()
        self.queue.cancel_join_thread()


class Pipe(Link):
    def __init__(self) -> None:
        self.receiving, self.sending = multiprocessing.Pipe(duplex=False)

    def writer(self) -> Callable[[bytes], object]:
        return self.sending.send_bytes

    def reader(self) -> Callable[[], list[bytes]]:
        return lambda: [self.receiving.recv_bytes()]

    def close(self) -> None:
        self.receiving.close()
        self.sending.close()


LINKS: dict[str, Callable[[], Link]] = {
    "ring": Ring,
    "faster-fifo": FasterFifo,
    "multiprocessing.Queue": MultiprocessingQueue,
    "pipe": Pipe,
}


class Other:
    """The other process of a bench, forked to do `act`. It ends with the block; if it fails, nobody waits for it."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._code: int | None = None
        self._before = signal.signal(signal.SIGCHLD, lambda number, frame: self._look(os.WNOHANG))
        self._pid = _forked(act)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        signal.signal(signal.SIGCHLD, self._before)  # before the kill, which must not hide why there is one
        if kind is not None and self._code is None:
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(WrongAnswer) if kind is not None else contextlib.nullcontext():
            self._look(0)

    def _look(self, flags: int) -> None:
        """Has it ended? WrongAnswer if it has failed."""
        if self._code is None:
            pid, status = os.waitpid(self._pid, flags)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
            if self._code:
                raise WrongAnswer("the other process of the bench failed")


def _forked(act: Callable[[], None]) -> int:
    """A child that does `act` and ends; its exit code says whether that went well."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        act()
        code = 0
    finally:
        os._exit(code)
