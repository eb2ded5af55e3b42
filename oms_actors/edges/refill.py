"""Telling a lagging upstream what it has missed, from the journals.

Intake's part comes first, the sender's after it: so an order's acceptance precedes what became of it. While it lags
nothing is taken from the upstream, hence intake's part has an end. Each step reads a piece of journal, tells what the
ring has room for, and remembers where it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable

from oms_actors.core.answers import for_upstream
from oms_actors.edges.journal import Frame, JournalReader, Position, ReaderBehind
from oms_actors.edges.upstream_link import INTAKE, SENDER, Link, Said

STEP_BYTES = 1 << 19
_APART_BYTES = 1 << 20


class Places:
    """Where in a journal a sequence is, to about a megabyte; noted by whoever passes by."""

    def __init__(self) -> None:
        self._sequences: list[int] = []
        self._positions: list[Position] = []

    def note(self, sequence: int, generation: int, offset: int) -> None:
        """A frame begins there, with the record `sequence`."""
        if not self._positions or offset - self._positions[-1].offset >= _APART_BYTES:
            self._sequences.append(sequence)
            self._positions.append(Position(generation, offset))

    def dump(self) -> list[tuple[int, int, int]]:
        """For a snapshot."""
        return [(sequence, *place) for sequence, place in zip(self._sequences, self._positions, strict=True)]

    def load(self, found: list[list[int]]) -> None:
        """What `dump` gave."""
        self._sequences = [sequence for sequence, _, _ in found]
        self._positions = [Position(generation, offset) for _, generation, offset in found]

    def before(self, sequence: int) -> Position:
        """Where to begin reading in order to see the record `sequence`."""
        found = bisect_right(self._sequences, sequence)
        return self._positions[found - 1] if found else Position(0, 0)


class Refill:
    """One link's way back. `open_reader(origin, sequence)` opens a journal at or before a record."""

    def __init__(self, link: Link, open_reader: Callable[[int, int], JournalReader]) -> None:
        self.link = link
        self._open_reader = open_reader
        self._reader: JournalReader | None = None
        self._origin = INTAKE
        self._frames: deque[Frame] = deque()

    @property
    def reads(self) -> bool:
        """Does it hold a journal open?"""
        return self._reader is not None

    def step(self, last: Said, crowded: bool = False) -> bool:
        """Goes on; True if it got somewhere. The link no longer lags once it was told everything up to `last`.

        `crowded`: as many journals are held open as may be, so who cannot use his now lets go of it.
        """
        link = self.link
        if not link.has_room():
            if crowded:
                self.close()
            return False
        if link.said[self._origin] < last[self._origin]:
            return (self.reads or not crowded) and self._tell()
        if self._origin == INTAKE:
            self._turn_to(SENDER)
            return True
        self.close()
        link.lagging = False
        link.heard_nothing(INTAKE, last[INTAKE])  # its requests were not taken meanwhile
        return True

    def _turn_to(self, origin: int) -> None:
        self.close()
        self._origin = origin

    def _tell(self) -> bool:
        link, origin = self.link, self._origin
        if self._reader is None:
            self._reader = self._open_reader(origin, link.said[origin] + 1)
        if not self._frames and not self._read(self._reader):
            return True
        told = bool(self._frames)
        while self._frames:
            frame = self._frames[0]
            end, said = frame.sequence + frame.records - 1, link.said[origin]
            if end > said and not link.say(origin, end, for_upstream(frame.payload, frame.wall_ns, link.number, said)):
                break
            self._frames.popleft()
        return told

    def _read(self, reader: JournalReader) -> bool:
        """False: what comes next was removed while we were at it; the next step goes on with what there is."""
        try:
            self._frames.extend(reader.read(STEP_BYTES))
        except (ReaderBehind, FileNotFoundError):
            self.close()
            return False
        return True

    def close(self) -> None:
        """Lets go of the journal."""
        self._frames.clear()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
