"""Following another process's journal through a ring of hints.

The ring carries the very frames of the journal, put there after they were durable. A feed takes the next sequence only,
skips what it has had, and reads the journal where frames are missing (a hint dropped because the ring was full, a
restart on either side, a ring that somebody scribbled over). So the ring may lose anything and nothing is lost.
"""

from __future__ import annotations

from ipc.errors import RingCorrupt
from ipc.ring import RingReader
from oms_actors.edges.journal import FRAME, Frame, JournalReader, Position


class Feed:
    """`take` → act → `commit`. `next_sequence` and `reader.position` say where it stands."""

    def __init__(self, ring: RingReader | None, reader: JournalReader, next_sequence: int) -> None:
        self.ring, self.reader, self.next_sequence = ring, reader, next_sequence
        self.gaps = 0
        """How often the journal had to be read."""
        self.corrupt: str = ""
        """Why the ring is not used any more."""
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
            self.next_sequence = sequence + count
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
