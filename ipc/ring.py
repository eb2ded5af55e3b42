"""A ring of frames between one producer and one consumer, in a region of shared memory.

The producer copies a frame in and publishes it by storing the tail; the consumer copies frames out (peek), acts,
and only then stores the head (commit). Both are ever-growing byte positions, each stored with one aligned 8-byte
store on its own cache line, so a process killed at any instruction leaves a frame either unpublished or still
there. There is no lock to poison. x86-64 keeps stores in order, so the tail is seen after the frame.

    region   0  magic u64 | 8 version u32, header bytes u32 | 16 capacity u64
            64  tail u64 | 72 producer's pid u64
           128  head u64, written by the consumer
           248  data, `capacity` bytes; 8 bytes that nobody uses

    frame    0  length u32 | 4 lap u31, counted from 1 | wrap u1 (go on at the start of the data)
             8  payload; both are padded to 16 bytes together, so each payload begins at a multiple of 16, where copies
                are fastest

A frame says its lap, and its place in the lap is where it lies: exactly one value is right at any place in any lap, so
stale and torn frames are told apart without a counter that a kill could leave behind. A frame never wraps, hence it is
at most a quarter of the ring (above half, some offsets could never fit it). Neither side trusts the other: each keeps
its own position in its own memory and checks whatever it reads.
"""

from __future__ import annotations

import os
import time

from ipc import lock, segment
from ipc.errors import AlreadyLocked, FrameTooLarge, RingCorrupt, RingFull, VersionMismatch
from ipc.fence import fence
from ipc.segment import CACHE_LINE_BYTES
from ipc.wait import Bell

RING_MAGIC = int.from_bytes(b"OMSRING\0", "little")
RING_VERSION = 2
RING_HEADER_BYTES = 256
RING_MAGIC_AT, RING_VERSION_AT, RING_CAPACITY_AT = 0, 8, 16
RING_TAIL_AT, RING_PRODUCER_PID_AT, RING_HEAD_AT = 64, 72, 128
RING_DATA_AT = 248
FRAME_HEADER_BYTES = 8
FRAME_ALIGN_BYTES = 16
FRAME_LAPS = (1 << 31) - 1  # then a lap's number begins anew: after two terabytes in the smallest ring
FRAME_LAP_SHIFT, WRAP_BIT = 32, 1 << 63
RING_CAPACITY_BYTES_MIN, RING_CAPACITY_BYTES_MAX = 1024, 1 << 34  # the length of a quarter fits into a u32
POSITION_MAX = 1 << 62  # no ring ever gets there; what begins beyond it would run over the end of a word

_TAIL, _HEAD = RING_TAIL_AT // 8, RING_HEAD_AT // 8
_ROUND = FRAME_HEADER_BYTES + FRAME_ALIGN_BYTES - 1
_MASK = -FRAME_ALIGN_BYTES
_VERSION_WORD = RING_VERSION | RING_HEADER_BYTES << 32
_NEVER_WAITING = memoryview(bytes(4)).cast("I")


def region_bytes(capacity_bytes: int) -> int:
    """Bytes of a ring's region. Raises ValueError unless the capacity is a multiple of 64 from 1,024 to 16 GiB."""
    if not RING_CAPACITY_BYTES_MIN <= capacity_bytes <= RING_CAPACITY_BYTES_MAX or capacity_bytes % CACHE_LINE_BYTES:
        limits = f"from {RING_CAPACITY_BYTES_MIN} to {RING_CAPACITY_BYTES_MAX}"
        raise ValueError(f"ring capacity {capacity_bytes}: must be a multiple of 64 {limits}")
    return RING_HEADER_BYTES + capacity_bytes


def format_region(view: memoryview, capacity_bytes: int) -> None:
    """Make `view`, fresh zeroed memory of `region_bytes(capacity_bytes)`, an empty ring."""
    words = view[: region_bytes(capacity_bytes)].cast("Q")
    words[RING_VERSION_AT // 8] = _VERSION_WORD
    words[RING_CAPACITY_AT // 8] = capacity_bytes
    words[RING_MAGIC_AT // 8] = RING_MAGIC


class _End:
    """What both ends share: the checked header. `name` is for messages; `segment` is set by the `open_*` calls."""

    __slots__ = (
        "_headers", "_lap", "_mark", "_payloads", "_view", "_words", "capacity_bytes", "frame_bytes_max", "name",
        "segment",
    )  # fmt: skip

    def __init__(self, view: memoryview, name: str) -> None:
        self.name = name
        self.segment: segment.Segment | None = None
        if len(view) < RING_HEADER_BYTES + RING_CAPACITY_BYTES_MIN:
            raise VersionMismatch(name, f"{len(view)} bytes", "a ring")
        words = view[: len(view) & -8].cast("Q")
        magic, version, capacity = (words[at // 8] for at in (RING_MAGIC_AT, RING_VERSION_AT, RING_CAPACITY_AT))
        if magic != RING_MAGIC or version != _VERSION_WORD:
            layout = f"version {version & 0xFFFF_FFFF} with {version >> 32} bytes of header"
            expected = f"a ring of version {RING_VERSION} with {RING_HEADER_BYTES}"
            raise VersionMismatch(name, layout if magic == RING_MAGIC else f"magic {magic:#x}", expected)
        most = min(len(view) - RING_HEADER_BYTES, RING_CAPACITY_BYTES_MAX)
        if not RING_CAPACITY_BYTES_MIN <= capacity <= most or capacity % CACHE_LINE_BYTES:
            raise RingCorrupt(name, f"capacity {capacity} in {len(view)} bytes", 0, RING_CAPACITY_AT)
        head, tail = words[_HEAD], words[_TAIL]
        if not head <= tail <= min(head + capacity, POSITION_MAX) or (head | tail) % FRAME_ALIGN_BYTES:
            raise RingCorrupt(name, f"head {head}, tail {tail}, capacity {capacity}", head, RING_HEAD_AT)
        self._view, self._words = view, words
        data = view[RING_DATA_AT : RING_DATA_AT + capacity]
        self._headers, self._payloads = data.cast("Q"), data[FRAME_HEADER_BYTES:]
        self.capacity_bytes = capacity
        self.frame_bytes_max = capacity // 4 - FRAME_HEADER_BYTES

    def depth_bytes(self) -> int:
        """Published and not committed, as the header says now."""
        return max(0, self._words[_TAIL] - self._words[_HEAD])

    def _enter_lap(self, position: int) -> None:
        """The lap that `position` lies in begins at `_lap`; its frames' headers are `_mark` and their length."""
        lap = position // self.capacity_bytes
        self._lap = lap * self.capacity_bytes
        self._mark = lap % FRAME_LAPS + 1 << FRAME_LAP_SHIFT

    def close(self) -> None:
        """Release the memory and, for a writer, the producer's lock (if opened by path)."""
        for view in (self._headers, self._payloads, self._words, self._view):
            view.release()
        if self.segment:
            lock.unlock(self.segment.fd)
            self.segment.close()


class RingWriter(_End):
    """The producer's end. A restarted producer goes on where the tail is."""

    __slots__ = ("_bell", "_fence", "_flag", "_limit", "_stop", "_tail")

    def __init__(self, view: memoryview, bell: Bell | None = None, name: str = "ring") -> None:
        super().__init__(view, name)
        self._tail = self._words[_TAIL]
        self._enter_lap(self._tail)
        self._limit = self._stop = 0
        self._has_room(0)
        self._bell = bell
        self._flag = bell.flag if bell else _NEVER_WAITING
        self._fence = fence()

    def try_put(self, payload: bytes | bytearray | memoryview) -> bool:
        """Publish one frame (bytes, or a view of bytes); False when the ring is full, and nothing has changed.

        Raises FrameTooLarge (over a quarter of the ring), RingCorrupt (the consumer wrote an impossible head).
        """
        length = len(payload)
        tail = self._tail
        end = tail + (length + _ROUND & _MASK)
        if end > self._stop or length > self.frame_bytes_max:
            if not self._make_room(length):
                return False
            tail = self._tail
            end = tail + (length + _ROUND & _MASK)
        at = tail - self._lap
        self._headers[at >> 3] = self._mark | length
        self._payloads[at : at + length] = payload
        self._tail = self._words[_TAIL] = end
        try:
            self._fence()  # before the look at the flag, so that no wake-up is lost (ipc.wait)
        except ValueError:  # it is used up
            self._fence = fence()
            self._fence()
        if self._flag[0]:
            self._bell.wake()  # type: ignore[union-attr]  # without a bell the flag is for ever 0
        return True

    def _make_room(self, length: int) -> bool:
        """The frame does not fit into what is known to be free in a row: asks the consumer's head, begins a new lap.

        False when the ring is full, and nothing has changed. Raises FrameTooLarge, RingCorrupt.
        """
        if length > self.frame_bytes_max:
            raise FrameTooLarge(self.name, length, self.frame_bytes_max)
        size, tail, lap_end = length + _ROUND & _MASK, self._tail, self._lap + self.capacity_bytes
        if tail + size <= lap_end:
            return self._has_room(tail + size)
        if not self._has_room(lap_end + size):
            return False
        if tail < lap_end:  # else the last frame ended exactly at the ring's end
            self._headers[(tail - self._lap) >> 3] = WRAP_BIT | self._mark
        self._tail = lap_end
        self._enter_lap(lap_end)
        self._stop = min(self._limit, lap_end + self.capacity_bytes)
        return True

    def put(self, payload: bytes | bytearray | memoryview, timeout_s: float = 0.0) -> None:
        """Like try_put, but raises RingFull, at once or after trying politely for `timeout_s`."""
        if self.try_put(payload):
            return
        deadline = time.monotonic() + timeout_s
        pause_s = 20e-6
        while (left_s := deadline - time.monotonic()) > 0:
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, 1e-3)
            if self.try_put(payload):
                return
        raise RingFull(self.name, len(payload), self.free_bytes(), self.capacity_bytes)

    @property
    def position(self) -> int:
        """Where the next frame goes, ever growing: everything put is committed once the reader's head is there."""
        return self._tail

    def committed(self) -> int:
        """Up to where the consumer has committed. Raises RingCorrupt."""
        self._has_room(0)
        return self._limit - self.capacity_bytes

    def free_bytes(self) -> int:
        """Bytes the consumer has left free, frame headers and the gap at a wrap included."""
        self._has_room(0)
        return self._limit - self._tail

    def _has_room(self, end: int) -> bool:
        """Look at the consumer's head again: is everything up to position `end` free?"""
        head = self._words[_HEAD]
        limit = head + self.capacity_bytes
        if head > self._tail or limit < self._limit or head % FRAME_ALIGN_BYTES:
            raise RingCorrupt(self.name, f"head {head} with tail {self._tail}", self._tail, RING_HEAD_AT)
        self._limit = limit  # what the consumer is known to have left free, and what of it lies in a row:
        self._stop = min(limit, self._lap + self.capacity_bytes)
        return end <= limit


class RingReader(_End):
    """The consumer's end: peek → act → commit. A restarted consumer sees again what was not committed."""

    __slots__ = ("_head", "_position", "_tail_seen")

    def __init__(self, view: memoryview, name: str = "ring") -> None:
        super().__init__(view, name)
        self._head = self._position = self._words[_HEAD]
        self._enter_lap(self._head)
        self._tail_seen = self._head

    @property
    def position(self) -> int:
        """How far was peeked, in bytes since the ring was made: a frame's place that nothing else ever has."""
        return self._position

    def ready(self) -> bool:
        """Whether there is something to peek."""
        return self._words[_TAIL] != self._position

    def peek(self) -> bytes | None:
        """A copy of the next frame not peeked yet; None when there is none. Raises RingCorrupt, again and again."""
        frame = self.peek_view()
        return None if frame is None else frame.tobytes()

    def peek_view(self) -> memoryview | None:
        """Like `peek`, where it lies: valid until `commit`, and only as good as the producer, who could still write
        into it."""
        frames = self.peek_views(1)
        return frames[0] if frames else None

    def peek_one(self, length: int) -> memoryview | None:
        """Like `peek_view`, but only a frame of so many bytes that has nothing behind it; else None, and nothing is
        peeked (what may be wrong is for `peek` to say). Everything peeked before must have been committed."""
        position = self._position
        at, end = position - self._lap, position + (length + _ROUND & _MASK)
        if self._words[_TAIL] != end or at == self.capacity_bytes or end - self._lap > self.capacity_bytes:
            return None  # (a new lap is for the other ways)
        if self._headers[at >> 3] != self._mark | length:
            return None
        self._position = self._tail_seen = end
        return self._payloads[at : at + length]

    def peek_many(self, max_bytes: int) -> list[bytes]:
        """Copies of the next frames: those known to be there, ending with the one that reaches `max_bytes`. The tail is
        looked at only when all that it said the last time is peeked, for a look costs the producer's processor, too."""
        return [frame.tobytes() for frame in self.peek_views(max_bytes)]

    def peek_views(self, max_bytes: int) -> list[memoryview]:
        """Like `peek_many`, where they lie (see `peek_view`)."""
        frames: list[memoryview] = []
        position = self._position
        if position == self._tail_seen and not self._look():
            return frames
        headers, payloads, longest, seen = self._headers, self._payloads, self.frame_bytes_max, self._tail_seen
        lap, mark, lap_end = self._lap, self._mark, self._lap + self.capacity_bytes
        left = max_bytes
        while left > 0 and position < seen:
            at = position - lap
            if position < lap_end and 0 <= (length := headers[at >> 3] - mark) <= longest:
                end = position + (length + _ROUND & _MASK)
                if end > seen or end > lap_end:
                    self._position = position
                    raise self._corrupt(f"frame of {length} bytes goes beyond tail {seen} or the ring's end")
                frames.append(payloads[at : at + length])
                position = end
                left -= length + FRAME_HEADER_BYTES
            else:
                self._position = position
                self._wrap()
                position, lap, mark = self._position, self._lap, self._mark
                lap_end = lap + self.capacity_bytes
        self._position = position
        return frames

    def commit(self) -> None:
        """Everything peeked so far has been acted upon: its room goes back to the producer."""
        self._head = self._words[_HEAD] = self._position

    def rewind(self) -> None:
        """Forget what was peeked and not committed: it will be peeked again."""
        self._position = self._head
        self._enter_lap(self._head)

    def _look(self) -> bool:
        """Read the producer's tail; True when it has moved."""
        tail = self._words[_TAIL]
        if not self._tail_seen <= tail <= self._head + self.capacity_bytes or tail % FRAME_ALIGN_BYTES:
            raise self._corrupt(f"tail {tail} after {self._tail_seen}, head {self._head}")
        moved = tail != self._tail_seen
        self._tail_seen = tail
        return moved

    def _wrap(self) -> None:
        """Into the next lap: the last frame ended exactly at the ring's end, or there is a wrap marker, which is the
        only thing allowed besides a frame."""
        start = self._lap + self.capacity_bytes
        at = self._position - self._lap
        if self._position < start:
            header = self._headers[at >> 3]
            if header != WRAP_BIT | self._mark or at == 0 or start > self._tail_seen:
                lap = self._mark >> FRAME_LAP_SHIFT
                raise self._corrupt(f"header {header:#x} in lap {lap}, tail {self._tail_seen}")
        self._position = start
        self._enter_lap(start)

    def _corrupt(self, reason: str) -> RingCorrupt:
        return RingCorrupt(self.name, reason, self._position, RING_DATA_AT + self._position - self._lap)


def producer_pid(view: memoryview) -> int:
    """The process that last opened the ring as its producer, for messages; 0 for none."""
    return view[RING_PRODUCER_PID_AT : RING_PRODUCER_PID_AT + 8].cast("Q")[0]


def create_ring(path: str, capacity_bytes: int) -> segment.Segment:
    """A file with one empty ring, replacing what had that name. Raises NoSpace, NoDescriptors."""
    size = region_bytes(capacity_bytes)
    return segment.create(path, size, lambda view: format_region(view, capacity_bytes))


def open_writer(path: str, bell: Bell | None = None) -> RingWriter:
    """The one producer of the ring file. Raises AlreadyLocked for a second one, NotThere, VersionMismatch."""
    file = segment.attach(path)
    try:
        if not lock.try_lock(file.fd):
            raise AlreadyLocked(path, producer_pid(file.view))
        writer = RingWriter(file.view, bell, path)
        writer._words[RING_PRODUCER_PID_AT // 8] = os.getpid()
    except BaseException:
        file.close()
        raise
    writer.segment = file
    return writer


def open_reader(path: str) -> RingReader:
    """The consumer's end of the ring file. Raises NotThere, VersionMismatch, RingCorrupt."""
    file = segment.attach(path)
    try:
        reader = RingReader(file.view, path)
    except BaseException:
        file.close()
        raise
    reader.segment = file
    return reader
