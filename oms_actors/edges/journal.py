"""The journal: the truth. One writer appends frames of records; any number of readers follow, at no cost to it.

    folder/  intake-00000003-0000000000004e80.journal      role, generation, logical offset of its first frame
             intake.spare                                  the next segment, preallocated
             intake.mark                                   shared words: how far it is written, how far durable

A *generation* is one run of the writer: it opens a segment of its own at the end of what it found valid, so a position
(generation, offset) can never by accident mean other bytes after a torn tail was cut or a machine lost its page cache.
Logical offsets go on across segments and generations; the unused rest of a segment does not count.

A frame carries a CRC over everything behind it, the sequence of its first record (records are counted, so every record
has a number) and `synced_up_to`, the offset known to be on the disk when it was written. A frame that does not check
out is a *torn tail* (cut, and reported) unless something later vouches for it: then it is damage, and the journal is
refused by name (`journal_recovery`). `journal_format` has the bytes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, MutableSequence
from itertools import pairwise
from typing import NoReturn
from zlib import crc32

from oms_actors.edges.disk import Disk, File
from oms_actors.edges.journal_format import (
    FRAME,
    FRAME_FRONT,
    FRAME_MAGIC,
    FRAME_MAX_BYTES,
    FRAME_REST,
    HEAD,
    REMEDY,
    VERSION,
    Frame,
    JournalCorrupt,
    JournalError,
    JournalFailed,
    JournalFull,
    Position,
    ReaderAhead,
    ReaderBehind,
    Segment,
    SenderAhead,
    frame_at,
    make_head,
    read_head,
    segment_name,
    segment_names,
    segments,
)
from oms_actors.edges.journal_recovery import (
    MARK_BOOT,
    MARK_CHECK,
    MARK_DURABLE,
    MARK_DURABLE_SEQUENCE,
    MARK_GENERATION,
    MARK_NEXT_SEQUENCE,
    MARK_SYNCED,
    MARK_WORDS,
    MARK_WRITTEN,
    Recovered,
    recover,
)

__all__ = [
    "FRAME",
    "MARK_BOOT",
    "MARK_CHECK",
    "MARK_DURABLE",
    "MARK_DURABLE_SEQUENCE",
    "MARK_GENERATION",
    "MARK_NEXT_SEQUENCE",
    "MARK_SYNCED",
    "MARK_WORDS",
    "MARK_WRITTEN",
    "Frame",
    "JournalCorrupt",
    "JournalError",
    "JournalFailed",
    "JournalFull",
    "JournalReader",
    "JournalWriter",
    "Position",
    "ReaderAhead",
    "ReaderBehind",
    "Recovered",
    "Segment",
    "SenderAhead",
    "frames",
    "reaches",
    "remove_below",
    "require_whole",
    "segments",
]  # fmt: skip

READ_BYTES = 1 << 20
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class JournalReader:
    """Follows one role's journal from a position: `read()` returns the frames that are there, up to `limit`.

    `mark` are the writer's shared words: the reader stops at the published durable position of the live generation.
    Without a mark (writer dead, other boot, a tool) it reads to the valid end.
    """

    def __init__(
        self, disk: Disk, role: str, position: Position | None = None, mark: MutableSequence[int] | None = None,
        boot: int = 0,
    ) -> None:  # fmt: skip
        self._disk, self.role, self._mark, self._boot = disk, role, mark, boot
        self._file: File | None = None
        self._segment: Segment | None = None
        self.position = position or Position(0, 0)
        self._expected: int | None = None
        self.sequence: int | None = None
        """Of the next record, once a frame or segment was seen."""

    def close(self) -> None:
        """Closes the segment it reads."""
        if self._file:
            self._file.close()
        self._file = self._segment = None

    def seek(self, position: Position, sequence: int | None) -> None:
        """Goes on at a place that is known from elsewhere; `sequence` is the next record's there."""
        self.close()
        self.position, self._expected = position, sequence

    def reaches(self) -> bool:
        """Is there anything to be read from its position on, now or later? Not if the journal has lost that in a power
        cut, or has been cut below it."""
        try:
            return self._locate()
        except (ReaderAhead, ReaderBehind):
            return False

    def ready(self) -> bool:
        """Cheap: does the mark say that there is more?"""
        mark = self._mark
        if mark is None:
            return True
        return mark[MARK_DURABLE] != self.position.offset or mark[MARK_GENERATION] != self.position.generation

    def durable(self) -> int | None:
        """The offset up to which the live writer says it is durable; None: no writer of this boot has said yet."""
        limit = self._limit()
        return None if limit is None else limit.offset

    def _limit(self) -> Position | None:
        mark = self._mark
        if mark is None or mark[MARK_BOOT] != self._boot or not mark[MARK_GENERATION]:
            return None
        while True:
            generation, durable = mark[MARK_GENERATION], mark[MARK_DURABLE]
            if mark[MARK_GENERATION] == generation:
                return Position(generation, durable)

    def read(self, max_bytes: int = READ_BYTES) -> list[Frame]:
        """The next frames, at least one if there is any, about `max_bytes` of them.

        Raises ReaderAhead if the position lies beyond the journal, JournalCorrupt if a durable frame is bad.
        """
        limit = self._limit()
        if limit is not None and self.position >= limit and self.position.generation >= limit.generation:
            if self.position > limit and self._segment is None:
                self._locate()
            return []
        if self._segment is None and not self._locate():
            return []
        frames = self._read_segment(max_bytes, limit)
        while not frames and self._advance():
            frames = self._read_segment(max_bytes, limit)
        return frames

    def _read_segment(self, max_bytes: int, limit: Position | None) -> list[Frame]:
        segment, file = self._segment, self._file
        if segment is None or file is None or (limit is not None and segment.generation > limit.generation):
            return []  # of a writer that has only just begun: the next look knows its limit
        offset = self.position.offset
        end = limit.offset if limit is not None and limit.generation == segment.generation else None
        size = max_bytes if end is None else max(0, min(max_bytes, end - offset))  # behind it lie megabytes of zeros
        data = file.pread(size, HEAD.size + offset - segment.start)
        if len(data) >= FRAME.size and FRAME.unpack_from(data)[0] == FRAME_MAGIC:
            need = FRAME.size + FRAME.unpack_from(data)[1]
            if len(data) < need <= FRAME_MAX_BYTES:
                data = file.pread(need, HEAD.size + offset - segment.start)
        frames = []
        at = 0
        while end is None or offset < end:
            frame = frame_at(data, at, segment.generation, self.sequence, offset)
            if frame is None:
                break
            frames.append(frame)
            at += frame.end - offset
            offset = frame.end
            self.sequence = frame.sequence + frame.records
        if end is not None and not frames and offset < end and not self._follows(segment):
            raise JournalCorrupt(
                f"{segment.name}: the frame at offset {offset} was durable and does not check out: {REMEDY}"
            )
        self.position = Position(segment.generation, offset)
        return frames

    def _follows(self, segment: Segment) -> bool:
        """Is there a segment behind this one?"""
        return any(position > segment.position for position, _ in segment_names(self._disk, self.role))

    def _locate(self) -> bool:
        """Opens the segment that holds the position; False: there is no journal yet."""
        found = segment_names(self._disk, self.role)
        if self.position == Position(0, 0) and found:
            return self._open(found[0][1], found[0][0].offset, None)
        if not found:
            if self.position.offset:
                raise ReaderAhead(f"{self.role}: position {self.position} but there is no journal")
            return False
        generation, offset = self.position
        inside = [name for start, name in found if start.generation == generation and start.offset <= offset]
        if not inside:
            self._refuse_position(found[0][0])
        later = [start for start, _ in found if start.generation > generation]
        if later and later[0].offset < offset:
            raise ReaderAhead(
                f"{self.role}: position {self.position} lies beyond generation {generation}, which ended at "
                f"{later[0].offset}: the journal lost its unsynced tail"
            )
        return self._open(inside[-1], offset, self._expected)

    def _refuse_position(self, oldest: Position) -> NoReturn:
        if self.position < oldest:
            raise ReaderBehind(
                f"{self.role}: position {self.position} lies before the oldest segment that is left ({oldest}): move "
                f"what holds it away, and begin anew with what the journal still has"
            )
        raise ReaderAhead(f"{self.role}: position {self.position} is in no segment that is there")

    def _advance(self) -> bool:
        """At the end of a segment: the one that begins exactly here, if the writer has opened it."""
        segment, here = self._segment, self.position.offset
        if segment is None:
            return False
        later = [found for found in segment_names(self._disk, self.role) if found[0] > segment.position]
        if not later:
            return False
        start, name = later[0]
        if start.offset < here:
            raise ReaderAhead(f"{self.role}: read up to {here}, but {name} begins before")
        if start.offset > here:
            if segment.position < segment_names(self._disk, self.role)[0][0]:
                raise ReaderBehind(f"{self.role}: what follows {segment.name} at offset {here} has been removed")
            raise JournalCorrupt(f"{segment.name}: no valid frame at offset {here}, but {name} follows: {REMEDY}")
        return self._open(name, here, None)

    def _open(self, name: str, offset: int, sequence: int | None) -> bool:
        """Goes on in a segment; without `sequence` at its first frame, whose number the head knows."""
        self.close()
        segment = read_head(self._disk, name)
        self._file, self._segment = self._disk.open(name), segment
        self.position = Position(segment.generation, offset)
        self.sequence = segment.sequence if sequence is None and offset == segment.start else sequence
        return True


class JournalWriter:
    """The one writer of a role's journal (the caller holds the role's lock).

    `durability` "power": `sync` is an fdatasync; "process": the page cache, which survives any kill. After
    JournalFailed the process must end: what the disk holds is unknown until the next start has read it, and a sync
    that is tried again may succeed without having written anything.
    """

    def __init__(
        self, disk: Disk, role: str, *, durability: str, segment_bytes: int, desk: int, boot: int, wall_ns: int,
        mark: MutableSequence[int],
    ) -> None:  # fmt: skip
        self.disk, self.role, self._power = disk, role, durability == "power"
        self._segment_bytes, self._desk, self._boot, self._mark = segment_bytes, desk, boot, mark
        self._failed: str | None = None
        self._tidy()
        self.recovered = recover(disk, role, boot, mark, self._power)
        self.generation = self.recovered.generation + 1
        self.offset = self.durable = self.recovered.offset
        self.sequence = self.recovered.sequence
        """Of the next record."""
        self._synced = self.recovered.synced
        self._spare: File | None = None
        self._file: File
        self._start = self._end = 0
        self._begin_segment(wall_ns)
        self._publish_start()

    # -- appending --------------------------------------------------------------------------------------------------

    def append(self, payload: bytes, count: int, wall_ns: int, mono_ns: int, input_: int = 0) -> bytes:
        """Writes one frame of `count` records; returns its bytes.

        JournalFull: nothing was written, and later it may work. JournalFailed: the process must end.
        """
        size = FRAME.size + len(payload)
        if self.offset + size > self._end:
            self._roll(wall_ns, size)
        sequence = self.sequence
        rest = FRAME_REST.pack(VERSION, count, self.generation, sequence, self._synced, wall_ns, mono_ns, input_)
        front = FRAME_FRONT.pack(FRAME_MAGIC, len(payload), crc32(payload, crc32(rest)))
        frame = b"".join((front, rest, payload))
        try:
            self._file.pwrite(frame, HEAD.size + self.offset - self._start)
        except OSError as error:
            raise self._fail("write", error) from error
        self.offset += size
        self.sequence = sequence = sequence + count
        mark = self._mark
        mark[MARK_NEXT_SEQUENCE] = sequence
        mark[MARK_WRITTEN] = self.offset
        mark[MARK_CHECK] = self.offset ^ sequence
        if not self._power:
            mark[MARK_DURABLE_SEQUENCE] = sequence
            self.durable = mark[MARK_DURABLE] = self.offset
        return frame

    def sync(self) -> bool:
        """After this, everything appended survives what `durability` promises; True if the disk was waited for.
        JournalFailed: the process must end."""
        if self._failed is not None:
            raise JournalFailed(self._failed)
        if self.durable == self.offset:
            return False
        try:
            self._file.sync()
        except OSError as error:
            raise self._fail("sync", error) from error
        self._synced = self.offset
        self._publish_durable()
        return True

    def _publish_durable(self) -> None:
        self.durable = self.offset
        mark = self._mark
        mark[MARK_SYNCED] = self._synced
        mark[MARK_DURABLE_SEQUENCE] = self.sequence
        mark[MARK_DURABLE] = self.offset

    def _publish_start(self) -> None:
        mark = self._mark
        mark[MARK_GENERATION] = 0  # a reader that looks now waits
        mark[MARK_BOOT] = self._boot
        mark[MARK_NEXT_SEQUENCE] = self.sequence
        mark[MARK_WRITTEN] = self.offset
        mark[MARK_CHECK] = self.offset ^ self.sequence
        self._publish_durable()
        mark[MARK_GENERATION] = self.generation

    def _fail(self, what: str, error: OSError) -> JournalFailed:
        self._failed = f"{self.role}: {what} at offset {self.offset} of its journal failed: {error}"
        self._end = self.offset  # so nothing fits any more
        return JournalFailed(self._failed)

    # -- segments ---------------------------------------------------------------------------------------------------

    def room(self) -> int:
        """Bytes that can be appended for certain, frame headers included: the rest of this segment and the spare."""
        spare = self._segment_bytes - HEAD.size if self._spare is not None else 0
        return self._end - self.offset + spare

    def wants_spare(self) -> bool:
        """Half of the segment is used and the next one is not there: a good moment for `prepare`."""
        return self._spare is None and 2 * (self._end - self.offset) < self._segment_bytes

    def prepare(self) -> None:
        """Makes the next segment, so that it need not be made when it is needed. JournalFull."""
        if self._spare is None:
            self._spare = self._allocate(self._spare_name, b"")

    def reserve(self, size: int) -> None:
        """Before accepting: frames of up to `size` bytes together, with headers, will fit. JournalFull if not."""
        if self.offset + size > self._end:
            self.prepare()

    @property
    def _spare_name(self) -> str:
        return f"{self.role}.spare"

    def _allocate(self, name: str, head: bytes) -> File:
        try:
            return self.disk.create(name, head, self._segment_bytes)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise self._fail("a new segment", error) from error
            raise JournalFull(f"{name}: {error}: free some space; nothing was accepted meanwhile") from error

    def _begin_segment(self, wall_ns: int) -> None:
        """A segment that begins at `offset`, out of the spare if there is one."""
        position = Position(self.generation, self.offset)
        head = make_head(position, self.sequence, self._desk, wall_ns, self._boot, self._synced)
        name = segment_name(self.role, position)
        if self._spare is None:
            self._file = self._allocate(name, head)
        else:
            self._file, self._spare = self._spare, None
            try:
                self._file.pwrite(head, 0)
                self._file.sync()
                self.disk.rename(self._spare_name, name)
            except OSError as error:
                raise self._fail("a new segment", error) from error
        self._start = self.offset
        self._end = self._start + self._segment_bytes - HEAD.size

    def _roll(self, wall_ns: int, size: int) -> None:
        if self._failed is not None:
            raise JournalFailed(self._failed)
        if size > min(self._segment_bytes - HEAD.size, FRAME_MAX_BYTES):
            raise JournalError(f"{self.role}: a frame of {size} bytes is above the segment's {self._segment_bytes}")
        self.sync()
        full = self._file
        self._begin_segment(wall_ns)
        full.close()

    def _tidy(self) -> None:
        """What a predecessor left half made."""
        for name in self.disk.names():
            if name == self._spare_name or name.startswith((f".{self.role}-", f".{self._spare_name}")):
                self.disk.remove(name)

    @property
    def position(self) -> Position:
        """Where the next frame goes."""
        return Position(self.generation, self.offset)

    def close(self) -> None:
        """Syncs and gives what is not used back."""
        self.sync()
        self._file.truncate(HEAD.size + self.offset - self._start)
        self._file.close()
        if self._spare is not None:
            self._spare.close()
            self.disk.remove(self._spare_name)
            self._spare = None


def frames(disk: Disk, role: str, position: Position | None = None) -> Iterator[Frame]:
    """Every frame from a position to the valid end (for tools and recovery)."""
    reader = JournalReader(disk, role, position)
    try:
        while batch := reader.read():
            yield from batch
    finally:
        reader.close()


def reaches(disk: Disk, role: str, position: Position) -> bool:
    """Can the journal be read from there on? Not if it has lost that in a power cut, or has been cut below it."""
    reader = JournalReader(disk, role, position)
    try:
        return reader.reaches()
    finally:
        reader.close()


def require_whole(disk: Disk, role: str) -> None:
    """A fold from the beginning needs the beginning: JournalError where it has been removed."""
    first = segments(disk, role)[:1]
    if first and first[0].sequence != 1:
        raise JournalError(
            f"{role}: its journal begins with record {first[0].sequence} ({first[0].name}), and there is no snapshot "
            f"to go on from: restore the journal folder from a copy, or move it away to begin anew (the database keeps "
            f"what it has)"
        )


def remove_below(disk: Disk, role: str, position: Position) -> list[str]:
    """Retention: removes the segments that lie wholly below a position that nobody will read before; their names."""
    found = segment_names(disk, role)
    gone = [name for (_, name), (start, _) in pairwise(found) if start <= position]
    for name in gone:
        disk.remove(name)
    return gone
