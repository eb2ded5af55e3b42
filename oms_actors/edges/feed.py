"""Following another process's journal through a ring of hints.

The ring carries the very frames of the journal, put there after they were durable. A feed takes the next sequence only,
skips what it has had, and reads the journal where frames are missing (a hint dropped because the ring was full, a
restart on either side, a ring that somebody scribbled over). So the ring may lose anything and nothing is lost.
"""

from __future__ import annotations

import struct

from ipc.errors import RingCorrupt
from ipc.ring import RingReader
from oms_actors.edges.journal import FRAME, Frame, JournalReader, Position
from oms_actors.record import REQUEST_BYTES

_WHICH = struct.Struct("<14xHQQ")
"""Of FRAME: records, generation, first sequence."""


class Feed:
    """`take` → act → `commit`. `next_sequence` and `reader.position` say where it stands."""

    def __init__(self, ring: RingReader | None, reader: JournalReader, next_sequence: int) -> None:
        self.ring, self.reader, self.next_sequence = ring, reader, next_sequence
        self.gaps = 0
        """How often the journal had to be read."""
        self.corrupt: str = ""
        """Why the ring is not used any more."""
        self._generation = 0  # of what `peek_one` showed
        self._moved = False  # the ring brought us further than the reader's own segment and sequence know

    def ready(self) -> bool:
        """Cheap: is there anything to take?"""
        return (self.ring is not None and self.ring.ready()) or self.reader.ready()

    def take(self, max_bytes: int = 1 << 20) -> list[Frame]:
        """The next frames in order, none twice."""
        frames: list[Frame] = []
        if self.ring is not None:
            try:
                hints = self.ring.peek_views(max_bytes)  # our own process wrote them
            except RingCorrupt as error:
                self.corrupt, self.ring, hints = str(error), None, []
            for data in hints:
                self._hint(data, frames, max_bytes)
        if not frames and self.reader.ready():
            frames = self._read(max_bytes)
        return frames

    def peek_one(self) -> bytes | None:
        """The next frame's payload, if that is one request and nothing is behind it (else None). Then `took_one` takes
        it, or `leave_one` leaves it for `take`. Everything taken before must have been committed."""
        if self.ring is None or (data := self.ring.peek_one(FRAME.size + REQUEST_BYTES)) is None:
            return None
        count, self._generation, sequence = _WHICH.unpack_from(data)
        if count == 1 and sequence == self.next_sequence:
            return data[FRAME.size :].tobytes()
        self.ring.rewind()
        return None

    def took_one(self) -> None:
        """What `peek_one` showed has been acted upon: like `take` and `commit`."""
        self._advance(1, self._generation, self.reader.position.offset + FRAME.size + REQUEST_BYTES)
        self.ring.commit()  # type: ignore[union-attr]

    def leave_one(self) -> None:
        """What `peek_one` showed has not been acted upon."""
        self.ring.rewind()  # type: ignore[union-attr]

    def commit(self) -> None:
        """What was taken has been acted upon: its room in the ring goes back."""
        if self.ring is not None:
            self.ring.commit()

    def _hint(self, data: memoryview, frames: list[Frame], max_bytes: int) -> None:
        _, size, _, _, count, generation, sequence, _, wall, mono, input_ = FRAME.unpack_from(data)
        while sequence > self.next_sequence:
            more = self._read(max_bytes)
            if not more:
                return  # not readable yet: the next look at the journal brings this frame, too
            frames += more
        if sequence == self.next_sequence:
            offset = self.reader.position.offset
            end = offset + FRAME.size + size
            payload = data[FRAME.size :].tobytes()
            frames.append(Frame(sequence, count, generation, offset, end, wall, mono, input_, payload))
            self._advance(count, generation, end)

    def _advance(self, count: int, generation: int, end: int) -> None:
        """The ring has brought `count` records more; the journal would go on at `end`."""
        self.next_sequence += count
        self.reader.position = Position(generation, end)
        self._moved = True

    def _read(self, max_bytes: int) -> list[Frame]:
        self.gaps += 1
        if self._moved:
            self.reader.seek(self.reader.position, self.next_sequence)
            self._moved = False
        frames = self.reader.read(max_bytes)
        if frames:
            self.next_sequence = frames[-1].sequence + frames[-1].records
        return frames

    def close(self) -> None:
        """Releases ring and journal."""
        self.reader.close()
        if self.ring is not None:
            self.ring.close()
