"""Mailboxes: the control plane. Many writers, one reader (the owner), low rate; faster-fifo inside, guarded.

faster-fifo's own mutex and condition variable are not robust: a process killed inside a call wedges the queue for
everybody. So no blocking call is ever made on it, and around each call stands a robust lock with a time limit
(ipc.guard). Before the call its four counters are copied aside; whoever takes the lock of a dead holder re-creates
the queue object (an image of a fresh one: its mutexes open) and puts the counters back. A message is thus either in
the mailbox or not, and one that `get_many` handed out stays until `commit`: delivery is at least once.

A holder can also be *stopped*. Writers then get MailboxBusy after 50 ms. The owner waits 1 ms at a time; once the
lock was taken for 50 ms it retires this generation, copies what is in it to a new file and renames that over the
old one. A writer that finds its generation retired, before or after its put, puts into the new one.

    0    magic u64 | 8 version u64 | 16 generation u64 | 24 capacity u64 | 32 retired u64
         40 plea u64: a writer found the lock taken too long, the owner is to look | 48 holders that died u64
    64   guard (64 bytes)
    128  undo: valid u64, head, tail, size, count u64
    192  name of the owner's doorbell file, in the same directory, UTF-8, zero padded to 128 bytes
    320  faster-fifo's queue object (208 bytes)
    576  its buffer, `capacity` bytes

This leans on the private layout of faster-fifo 1.5.2, which is probed before first use.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Full

import faster_fifo

from ipc import segment
from ipc.errors import (
    MailboxBusy,
    MailboxFull,
    NoDescriptors,
    NoSpace,
    NotThere,
    Unsupported,
    VersionMismatch,
)
from ipc.guard import GUARD_BYTES, Guard, format_guard
from ipc.wait import Bell, process_barrier

MAILBOX_MAGIC = int.from_bytes(b"OMSMAIL\0", "little")
MAILBOX_VERSION = 1
PUT_TIMEOUT_S = 0.05
OWNER_TIMEOUT_S = 0.001
STUCK_NS = 50_000_000

_MAGIC, _VERSION, _GENERATION, _CAPACITY, _RETIRED, _PLEA, _DEATHS = range(7)
_GUARD_AT = 64
_VALID = 16  # word of the undo copy; the counters follow
_UNDO = slice(17, 21)
_BELL_AT, _BELL_BYTES = 192, 128
_QUEUE_AT, _QUEUE_BYTES = 320, 208
_DATA_AT = 576
_COUNTERS = slice(_QUEUE_AT // 8 + 2, _QUEUE_AT // 8 + 6)  # head, tail, size, count
_COUNT = _QUEUE_AT // 8 + 5
_COUNT_MAX = 1 << 30


@functools.cache
def _fresh_queue_object() -> bytes:
    """The image of an empty queue of 64 bytes. Raises Unsupported if faster-fifo is not laid out as 1.5.2 is."""
    image = bytes(faster_fifo.Queue(64, _COUNT_MAX).queue_obj_buffer)
    if len(image) != _QUEUE_BYTES or memoryview(image).cast("Q")[:6].tolist() != [64, _COUNT_MAX, 0, 0, 0, 0]:
        raise Unsupported(f"mailboxes need faster-fifo 1.5.2: its queue object has {len(image)} bytes, other content")
    memory = memoryview(bytearray(image + bytes(64)))
    queue = _queue_over(memory, 64)
    counters = memory[:_QUEUE_BYTES].cast("Q")[2:6]
    queue.put_many_nowait([b"abc", b"d"])
    seen = counters.tolist()
    taken = queue.get_many_nowait()
    if (seen, taken, counters.tolist()) != ([0, 20, 20, 2], [b"abc", b"d"], [20, 20, 0, 0]):
        raise Unsupported("mailboxes need faster-fifo 1.5.2: its counters are elsewhere")
    return image


def _queue_object(capacity_bytes: int, counters: bytes) -> bytes:
    """The image of a queue object with open mutexes; `counters` are head, tail, size and count."""
    size = capacity_bytes.to_bytes(8, "little")
    return size + _fresh_queue_object()[8:16] + counters + _fresh_queue_object()[48:]


def _queue_over(memory: memoryview, capacity_bytes: int) -> faster_fifo.Queue:
    """faster-fifo's Python object over a queue object at the start of `memory` and a buffer at its end."""
    queue = faster_fifo.Queue.__new__(faster_fifo.Queue)
    queue.max_size_bytes = queue.max_bytes_to_read = capacity_bytes
    queue.maxsize = _COUNT_MAX
    queue.loads, queue.dumps = bytes, _identity
    queue.closed = ctypes.c_bool(False)
    queue.queue_obj_buffer = (ctypes.c_ubyte * _QUEUE_BYTES).from_buffer(memory)
    queue.shared_memory = (ctypes.c_ubyte * capacity_bytes).from_buffer(memory, len(memory) - capacity_bytes)
    queue.message_buffer = faster_fifo.TLSBuffer(None)
    queue.last_error = None
    return queue


def _identity(message: bytes) -> bytes:
    return message


def _take_all(queue: faster_fifo.Queue) -> list[bytes]:
    messages: list[bytes] = []
    while True:
        try:
            messages += queue.get_many_nowait()
        except Empty:
            return messages


class _Generation:
    """One mapped file: the guarded queue."""

    __slots__ = ("_file", "_guard", "_memory", "_queue", "bell_name", "capacity_bytes", "path", "words")

    def __init__(self, file: segment.Segment, path: str) -> None:
        self._file = _identity_of(os.fstat(file.fd))
        memory = _memory_of(file)
        words = memory[: len(memory) & -8].cast("Q")
        if len(memory) <= _DATA_AT or (words[_MAGIC], words[_VERSION]) != (MAILBOX_MAGIC, MAILBOX_VERSION):
            found = f"{len(memory)} bytes, version {words[_VERSION] if len(words) > _VERSION else None}"
            raise VersionMismatch(path, found, f"mailbox version {MAILBOX_VERSION}")
        _fresh_queue_object()  # the probe
        self.path, self._memory, self.words = path, memory, words
        self.capacity_bytes = words[_CAPACITY]
        self.bell_name = bytes(memory[_BELL_AT : _BELL_AT + _BELL_BYTES]).rstrip(b"\0").decode(errors="replace")
        self._guard = Guard(memory[_GUARD_AT : _GUARD_AT + GUARD_BYTES], path)
        self._queue = _queue_over(memory[_QUEUE_AT : _DATA_AT + self.capacity_bytes], self.capacity_bytes)

    @contextlib.contextmanager
    def locked(self, timeout_s: float) -> Iterator[None]:
        """Who is killed, or raises, between here and the end has not touched the queue. Raises MailboxBusy."""
        words = self.words
        if self._guard.acquire(timeout_s):
            # The holder died, perhaps inside faster-fifo: fresh mutexes, and the counters of before its call.
            counters = self._stable_counters()
            self._memory[_QUEUE_AT : _QUEUE_AT + _QUEUE_BYTES] = _queue_object(self.capacity_bytes, counters)
            words[_VALID] = 0
            words[_DEATHS] += 1
            self._guard.mended()
        try:
            words[_UNDO] = words[_COUNTERS]
            words[_VALID] = 1
            yield
        except BaseException:
            words[_COUNTERS] = words[_UNDO]
            raise
        finally:
            words[_VALID] = 0
            self._guard.release()

    def holder_pid(self) -> int:
        return self._guard.holder_pid()

    def is_there(self) -> bool:
        """Does the name still lead to this file? Not after its desk was stopped, or after the next generation."""
        try:
            return _identity_of(os.stat(self.path)) == self._file
        except FileNotFoundError:
            return False

    def put(self, message: bytes, timeout_s: float) -> bool:
        """False when this generation is retired: the message belongs into the next one."""
        words = self.words
        try:
            with self.locked(timeout_s):
                if not words[_RETIRED]:  # looked at after the undo copy is valid: see `retire`
                    self._queue.put_many_nowait([message])
        except Full:
            raise MailboxFull(self.path, len(message), self.capacity_bytes) from None
        return not words[_RETIRED]

    def drop(self, count: int) -> None:
        """Under the lock: remove the first `count` messages."""
        while count:
            count -= len(self._queue.get_many_nowait(count))

    def peek(self) -> list[bytes]:
        """Under the lock: all messages; they stay."""
        before = self.words[_COUNTERS].tobytes()
        messages = _take_all(self._queue)
        self.words[_COUNTERS] = memoryview(before).cast("Q")
        return messages

    def retire(self) -> list[bytes]:
        """Without the lock, whose holder is stuck: let no put happen here any more; returns what is in it.

        A put makes its undo copy valid and then looks at the word that is set here; the barrier orders our store and
        the look at the undo copy. So a put either sees that it is too late or is undone here, and then sees it
        afterwards; both put again into the next generation.
        """
        self.words[_RETIRED] = 1
        process_barrier()
        data = self._memory[_DATA_AT : _DATA_AT + self.capacity_bytes]
        copy = bytearray(_queue_object(self.capacity_bytes, self._stable_counters()) + data)
        return _take_all(_queue_over(memoryview(copy), self.capacity_bytes))

    def _stable_counters(self) -> bytes:
        """The counters as they were when no call was under way."""
        seen = self._counters_now()
        while (again := self._counters_now()) != seen:
            seen = again
        return seen

    def _counters_now(self) -> bytes:
        return self.words[_UNDO if self.words[_VALID] else _COUNTERS].tobytes()


def _identity_of(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _attach_generation(path: str) -> _Generation:
    return _Generation(segment.attach(path), path)


def _memory_of(file: segment.Segment) -> memoryview:
    """The mapping outlives the file descriptor: nobody locks a mailbox's file."""
    memory = memoryview(file.view)
    file.close()
    return memory


def _format(memory: memoryview, generation: int, bell_name: bytes, messages: Sequence[bytes]) -> None:
    capacity = len(memory) - _DATA_AT
    words = memory[: len(memory) & -8].cast("Q")
    words[_GENERATION], words[_CAPACITY] = generation, capacity
    memory[_BELL_AT : _BELL_AT + len(bell_name)] = bell_name
    memory[_QUEUE_AT : _QUEUE_AT + _QUEUE_BYTES] = _queue_object(capacity, bytes(32))
    format_guard(memory[_GUARD_AT : _GUARD_AT + GUARD_BYTES])
    if messages:
        _queue_over(memory[_QUEUE_AT:], capacity).put_many_nowait(messages)
    words[_VERSION] = MAILBOX_VERSION
    words[_MAGIC] = MAILBOX_MAGIC


class Mailbox:
    """The owner's end: `get_many` → act → `commit`. One owner at a time; that is the business of its role's lock."""

    def __init__(self, path: str, bell: Bell, capacity_bytes: int) -> None:
        self.path = path
        self._bell_name = _bell_name(path, bell)
        self._capacity_bytes = capacity_bytes
        self._handed_out = 0  # messages that get_many returned and that are still in the queue ...
        self._acted = 0  # ... and those of them that the next `locked` section removes
        self._busy_since_ns = 0
        self._box = self._adopt() or self._create(1, list)

    @classmethod
    def create(cls, path: str, bell: Bell, capacity_bytes: int = 65536) -> Mailbox:
        """The mailbox of the owner of `bell`, a file in the same directory. One that a predecessor left is adopted
        with what is in it, and its writers stay attached.

        Raises NoSpace, NoDescriptors, Unsupported (another faster-fifo).
        """
        return cls(path, bell, capacity_bytes)

    @staticmethod
    def attach(path: str) -> MailboxWriter:
        """Raises NotThere, VersionMismatch, NoDescriptors."""
        return MailboxWriter(path)

    def ready(self) -> bool:
        """Whether `get_many` has something to do."""
        words = self._box.words
        return words[_COUNT] != self._handed_out or self._acted != 0 or words[_PLEA] != 0

    def get_many(self) -> list[bytes]:
        """The messages not handed out yet. Waits 1 ms at most; a holder that is stuck for 50 ms is left behind."""
        box = self._box
        try:
            with box.locked(OWNER_TIMEOUT_S):
                self._drop_acted(box)
                box.words[_PLEA] = 0
                messages = box.peek()
        except MailboxBusy:
            self._leave_if_stuck()
            return []
        self._busy_since_ns = 0
        fresh = messages[self._handed_out :]
        self._handed_out = len(messages)
        return fresh

    def commit(self, count: int) -> None:
        """The first `count` messages handed out and not committed yet have been acted upon."""
        self._acted += count
        try:
            with self._box.locked(OWNER_TIMEOUT_S):
                self._drop_acted(self._box)
        except MailboxBusy:
            pass  # the next get_many does it

    @property
    def generation(self) -> int:
        return self._box.words[_GENERATION]

    @property
    def deaths(self) -> int:
        """How many processes died holding this generation's lock."""
        return self._box.words[_DEATHS]

    def is_there(self) -> bool:
        """Can writers find it? Not if somebody took its file away."""
        return self._box.is_there()

    def close(self) -> None:
        """Remove the mailbox's name: for a reply box, whose owner has no successor."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _drop_acted(self, box: _Generation) -> None:
        box.drop(self._acted)
        self._handed_out -= self._acted
        self._acted = 0

    def _leave_if_stuck(self) -> None:
        now_ns = time.monotonic_ns()
        self._busy_since_ns = self._busy_since_ns or now_ns
        if now_ns - self._busy_since_ns >= STUCK_NS:
            self._busy_since_ns = 0
            with contextlib.suppress(NoSpace, NoDescriptors):  # tried again in 50 ms
                self._replace(self._box)

    def _replace(self, old: _Generation) -> _Generation:
        """A new generation with what is in `old`. If there is no space for it, `old` is not touched."""
        acted = self._acted
        self._box = box = self._create(old.words[_GENERATION] + 1, lambda: old.retire()[acted:])
        self._handed_out -= acted
        self._acted = 0
        return box

    def _create(self, generation: int, messages: Callable[[], list[bytes]]) -> _Generation:
        def init(memory: memoryview) -> None:
            _format(memory, generation, self._bell_name, messages())

        file = segment.create(self.path, _DATA_AT + self._capacity_bytes, init)
        return _Generation(file, self.path)

    def _adopt(self) -> _Generation | None:
        try:
            box = _attach_generation(self.path)
        except (NotThere, VersionMismatch):
            return None
        self._capacity_bytes = box.capacity_bytes
        if box.words[_RETIRED] or box.bell_name != self._bell_name.decode():
            return self._replace(box)
        return box


class MailboxWriter:
    """A writer's end. Threads may share it. It outlives the mailbox's file: the next one under that name is used."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._attach()

    def _attach(self) -> None:
        box = _attach_generation(self.path)
        self._bell = Bell.attach(os.path.join(os.path.dirname(self.path), box.bell_name))
        self._box = box

    def put(self, message: bytes, timeout_s: float = PUT_TIMEOUT_S) -> None:
        """The message is in the mailbox when this returns, and the owner was woken.

        Raises MailboxFull and NotThere at once; MailboxBusy after `timeout_s`, naming who holds the lock: the owner, if
        it is alive, then sees to it that the mailbox works again within about 0.1 s.
        """
        deadline = time.monotonic() + timeout_s
        if not self._box.is_there():
            self._attach()
        while not self._put(message, deadline):
            self._next_generation(deadline)
        self._bell.ring()

    def holder_pid(self) -> int:
        """The process that is inside a put or get this very moment, or was stopped there; 0 for none."""
        if self._box.words[_RETIRED]:
            self._next_generation(deadline=0.0)
        return self._box.holder_pid()

    def _put(self, message: bytes, deadline: float) -> bool:
        box = self._box
        try:
            return box.put(message, max(0.0, deadline - time.monotonic()))
        except MailboxBusy:
            if box.words[_RETIRED]:
                return False
            box.words[_PLEA] = 1
            self._bell.ring()
            raise

    def _next_generation(self, deadline: float) -> None:
        """The owner is just about to rename the new file over the retired one, or was killed there."""
        while True:
            box = _attach_generation(self.path)
            if not box.words[_RETIRED]:
                self._box = box
                return
            if time.monotonic() >= deadline:
                raise MailboxBusy(self.path, 0, 0)
            time.sleep(0.001)


def _bell_name(path: str, bell: Bell) -> bytes:
    if bell.segment is None or os.path.dirname(bell.segment.path) != os.path.dirname(path):
        raise ValueError(f"mailbox {path}: its owner's doorbell must be a file in the same directory")
    name = os.path.basename(bell.segment.path).encode()
    if len(name) > _BELL_BYTES:
        raise ValueError(f"doorbell name {name!r}: {len(name)} bytes, at most {_BELL_BYTES}")
    return name
