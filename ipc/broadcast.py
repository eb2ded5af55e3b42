"""One writer, any number of readers, nobody waits: the newest frames of a stream, in a file of ours.

The writer overwrites the oldest frames. Before it does, it moves `oldest` past them; after it has written, it moves
`tail`. A reader copies a frame and then looks at `oldest` again: if the frame was passed meanwhile, the copy is worth
nothing and the reader has a *gap*; it knows how many frames it lost, for they are numbered, and goes on at the oldest
one. x86-64 keeps stores in order and loads in order, so these two words are all there is.

    file     0  magic u64 | 8 version u64 | 16 capacity u64
            64  tail u64 | 72 oldest u64 | 80 frames put u64
           128  data, `capacity` bytes
    frame    0  length u64 (or WRAP: go on at the start of the data) | 8 number u64 | 16 payload, padded to 16 bytes

A writer that starts makes a new file; a reader notices (`replaced`) and opens that.
"""

from __future__ import annotations

import contextlib
import os

from ipc import segment
from ipc.errors import FrameTooLarge, VersionMismatch

CAST_MAGIC = int.from_bytes(b"OMSCAST\0", "little")
CAST_VERSION = 1
CAST_HEADER_BYTES = 128
_VERSION, _CAPACITY, _TAIL, _OLDEST, _FRAMES = 1, 2, 8, 9, 10
_HEAD_BYTES = 16
_WRAP = 1 << 63
_FIRST_WORD = CAST_HEADER_BYTES // 8


def _size(length: int) -> int:
    """Bytes that a frame of `length` takes."""
    return (_HEAD_BYTES + length + 15) & -16


class Gap(Exception):
    """The reader was too slow: `lost` frames were overwritten before it saw them. It goes on after them."""

    def __init__(self, name: str, lost: int) -> None:
        super().__init__(f"{name}: {lost} frames were overwritten before they were read")
        self.lost = lost


class CastWriter:
    """The writer of a new broadcast of `capacity_bytes`, a multiple of 16. Raises NoSpace, NoDescriptors."""

    def __init__(self, path: str, capacity_bytes: int) -> None:
        if capacity_bytes < 1024 or capacity_bytes % 16:
            raise ValueError(f"broadcast capacity {capacity_bytes}: must be a multiple of 16, at least 1,024")

        def init(view: memoryview) -> None:
            words = view.cast("Q")
            words[_VERSION], words[_CAPACITY] = CAST_VERSION, capacity_bytes
            words[0] = CAST_MAGIC

        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # its room may be all that is left
        self._segment = segment.create(path, CAST_HEADER_BYTES + capacity_bytes, init)
        self._words = self._segment.view.cast("Q")
        self._capacity = capacity_bytes
        self._tail = self._oldest = self._frames = 0
        self.path = path
        self.frame_bytes_max = capacity_bytes // 4 - _HEAD_BYTES

    def put(self, payload: bytes) -> None:
        """Publishes one frame. Raises FrameTooLarge (over a quarter of the capacity)."""
        length = len(payload)
        if length > self.frame_bytes_max:
            raise FrameTooLarge(self.path, length, self.frame_bytes_max)
        size, tail, words = _size(length), self._tail, self._words
        at = tail % self._capacity
        start = tail if at + size <= self._capacity else tail + self._capacity - at
        self._forget_before(start + size - self._capacity)
        if start != tail:
            words[_FIRST_WORD + at // 8] = _WRAP
            at = 0
        self._frames = number = self._frames + 1
        word = _FIRST_WORD + at // 8
        words[word] = length
        words[word + 1] = number
        begin = CAST_HEADER_BYTES + at + _HEAD_BYTES
        self._segment.view[begin : begin + length] = payload
        self._tail = start + size
        words[_FRAMES] = number
        words[_TAIL] = self._tail

    def _forget_before(self, position: int) -> None:
        oldest, words, capacity = self._oldest, self._words, self._capacity
        while oldest < position:
            at = oldest % capacity
            length = words[_FIRST_WORD + at // 8]
            oldest += capacity - at if length == _WRAP else _size(length)
        at = oldest % capacity
        if oldest < self._tail and words[_FIRST_WORD + at // 8] == _WRAP:
            oldest += capacity - at  # so that it always names a frame
        self._oldest = words[_OLDEST] = oldest

    def close(self) -> None:
        self._words.release()
        self._segment.close()


class CastReader:
    """A reader, from the newest frame on, or with `history` from the oldest that is still there.

    Raises NotThere, VersionMismatch.
    """

    def __init__(self, path: str, history: bool = False) -> None:
        self.path = path
        self._segment = segment.attach(path)
        view = self._segment.view
        words = self._words = view[: len(view) & -8].cast("Q")
        if len(view) < CAST_HEADER_BYTES or (words[0], words[_VERSION]) != (CAST_MAGIC, CAST_VERSION):
            raise VersionMismatch(path, "another layout", f"a broadcast of version {CAST_VERSION}")
        self._capacity = words[_CAPACITY]
        self._next = 0 if history else words[_FRAMES] + 1
        self._position = words[_OLDEST] if history else words[_TAIL]

    def read(self) -> bytes | None:
        """The next frame; None when there is none yet. Raises Gap, once per gap."""
        words = self._words
        while self._position != words[_TAIL]:
            at = self._position % self._capacity
            word = _FIRST_WORD + at // 8
            length, number = words[word], words[word + 1]
            begin = CAST_HEADER_BYTES + at + _HEAD_BYTES
            payload = bytes(self._segment.view[begin : begin + length]) if length <= self._capacity else b""
            if words[_OLDEST] > self._position:
                self._fall_behind()
            elif length == _WRAP:
                self._position += self._capacity - at
            else:
                self._position += _size(length)
                self._next = number + 1
                return payload
        return None

    def _fall_behind(self) -> None:
        """Goes on at the oldest frame. Raises Gap; a reader of history has lost nothing before its first frame."""
        words, expected = self._words, self._next
        while True:
            self._position = position = words[_OLDEST]
            number = words[_FIRST_WORD + position % self._capacity // 8 + 1]
            if words[_OLDEST] == position:
                break
        self._next = number
        if expected:
            raise Gap(self.path, number - expected)

    def replaced(self) -> bool:
        """Has the writer been started anew, and made another file?"""
        try:
            return os.stat(self.path).st_ino != os.fstat(self._segment.fd).st_ino
        except FileNotFoundError:
            return True

    def close(self) -> None:
        self._words.release()
        self._segment.close()
