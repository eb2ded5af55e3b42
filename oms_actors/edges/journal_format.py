"""What a journal's files contain, byte by byte; `edges/journal.py` says what they are for.

A segment is a file: a HEAD, then FRAMEs one behind the other, then zeros to its preallocated size. A frame is this
header and its payload, a plain concatenation of records:

     0 magic u32, payload bytes u32, crc u32, version u16, records u16
    16 generation u64, first sequence u64, synced_up_to u64
    40 wall_ns i64, mono_ns i64, input u64

The CRC covers everything behind it. `synced_up_to` is the logical offset that was known to be on the disk when the
frame was written: what a later frame vouches for and does not check out was damaged, it is no torn tail.

The upgrade rule: a reader refuses another version by name. A journal is read to its end by the release that wrote it
and put aside; the release after begins a new one. Record kinds are added without a new version, and skipped by who
does not know them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from oms_actors.edges.disk import Disk
from oms_actors.errors import OmsError

FRAME = struct.Struct("<IIIHHQQQqqQ")
"""magic, payload bytes, crc, version, records, generation, first sequence, synced_up_to, wall_ns, mono_ns, input."""
FRAME_FRONT, FRAME_REST = struct.Struct("<III"), struct.Struct("<HHQQQqqQ")
"""The same in two: what its CRC does not cover, and what it does."""
HEAD = struct.Struct("<8sIIQQQQqQQ56x")
"""magic, version, crc, generation, start offset, first sequence, desk, wall_ns, boot, synced_up_to."""
FRAME_MAGIC = 0x4A534D4F  # "OMSJ"
HEAD_MAGIC = b"OMSJRNL\0"
VERSION = 1
CRC_FROM = 12
"""A frame's CRC covers its header from here, and the payload."""
HEAD_CRC_FROM = 16
RECORDS_MAX = 65_535
FRAME_MAX_BYTES = 1 << 24
_SYNCED_UP_TO = 7  # field of FRAME


class JournalError(OmsError):
    """The journal cannot be used; says which file, where and why."""


REMEDY = "restore the file from a copy, or move the journal folder away to begin anew"


class JournalCorrupt(JournalError):
    """A frame that was durable does not check out any more."""


class JournalFull(JournalError):
    """No disk space for the next segment; nothing was written, and later it may work."""


class JournalFailed(JournalError):
    """A write or sync failed: what the disk holds is unknown until a new writer has read it. Never tried again."""


class ReaderAhead(JournalError):
    """A stored position lies beyond the journal's valid end: the journal lost what the reader had seen."""


class ReaderBehind(JournalError):
    """A stored position lies before the oldest segment that is left."""


class SenderAhead(JournalError):
    """The sender's journal refers to records of intake's journal that are not there."""

    def __init__(self, consumed: int, there: int) -> None:
        super().__init__(
            f"SENDER_AHEAD: the sender has consumed intake's journal up to record {consumed}, but it ends with record "
            f"{there}: it was restored from an old copy, or lost its tail in a power cut without durability = "
            f'"power". Restore the files of intake\'s journal as they were; or look in the database for what is still '
            f"open at the exchange, settle that by hand, and move the journal folder away to begin anew"
        )


class Position(NamedTuple):
    """A place between two frames: run of the writer, logical offset in bytes."""

    generation: int
    offset: int


class Frame(NamedTuple):
    """One frame as read. `sequence`: of its first record; `input`: the other journal's sequence it had consumed."""

    sequence: int
    records: int
    generation: int
    offset: int
    end: int
    wall_ns: int
    mono_ns: int
    input: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a journal: what its head says."""

    name: str
    generation: int
    start: int
    sequence: int
    desk: int
    boot: int
    synced: int
    wall_ns: int
    """When it was begun (UTC)."""

    @property
    def position(self) -> Position:
        """Of its first frame."""
        return Position(self.generation, self.start)


LOST = ".lost"
"""Ending of a segment that lay behind the valid end: kept for people, and its generation is never used again."""
_NAME = re.compile(r"^([a-z0-9_]+)-(\d{8})-([0-9a-f]{16})\.journal(\.lost)?$")


def segment_name(role: str, position: Position) -> str:
    """`intake-00000003-0000000000004e80.journal`: role, generation, logical offset of the first frame."""
    return f"{role}-{position.generation:08d}-{position.offset:016x}.journal"


def segment_names(disk: Disk, role: str) -> list[tuple[Position, str]]:
    """The role's segments by where they begin, in order, as their names say."""
    matches = [match for name in disk.names() if (match := _NAME.match(name)) and match[1] == role]
    return sorted((Position(int(match[2]), int(match[3], 16)), match[0]) for match in matches if not match[4])


def last_generation(disk: Disk, role: str) -> int:
    """The highest that was ever used; 0 = none."""
    matches = [match for name in disk.names() if (match := _NAME.match(name)) and match[1] == role]
    return max((int(match[2]) for match in matches), default=0)


def segments(disk: Disk, role: str) -> list[Segment]:
    """The role's segments in order; JournalCorrupt if a head does not check out, JournalError for another version."""
    return [read_head(disk, name) for _, name in segment_names(disk, role)]


def read_head(disk: Disk, name: str) -> Segment:
    """What the head of a segment says. Raises as `segments`."""
    file = disk.open(name)
    try:
        head = file.pread(HEAD.size, 0)
    finally:
        file.close()
    if len(head) < HEAD.size:
        raise JournalCorrupt(f"{name}: has {len(head)} bytes, a segment's head {HEAD.size}")
    magic, version, crc, generation, start, sequence, desk, wall, boot, synced = HEAD.unpack(head)
    if magic != HEAD_MAGIC:
        raise JournalCorrupt(f"{name}: not a journal segment")
    if version != VERSION:
        raise JournalError(
            f"{name}: journal version {version}, this program speaks {VERSION}: stop the desk with the release that "
            f"wrote it, with nothing open, and move the journal folder away; or go on with that release"
        )
    if crc32(head[HEAD_CRC_FROM:]) != crc:
        raise JournalCorrupt(f"{name}: its head does not check out")
    if not name.endswith(segment_name("", Position(generation, start))):
        raise JournalCorrupt(f"{name}: its head says generation {generation}, offset {start:#x}: was it renamed?")
    return Segment(name, generation, start, sequence, desk, boot, synced, wall)


def make_head(position: Position, sequence: int, desk: int, wall_ns: int, boot: int, synced: int) -> bytes:
    """A segment's first 128 bytes."""
    body = HEAD.pack(HEAD_MAGIC, VERSION, 0, *position, sequence, desk, wall_ns, boot, synced)
    return body[:12] + crc32(body[HEAD_CRC_FROM:]).to_bytes(4, "little") + body[HEAD_CRC_FROM:]


def frame_at(data: bytes, at: int, generation: int, sequence: int | None, offset: int) -> Frame | None:
    """The valid frame at byte `at` of `data`, or None (also where the buffer ends inside it).

    `offset` is its logical one, `sequence` what its first record must have (None = any).
    """
    if at + FRAME.size > len(data):
        return None
    magic, size, crc, version, count, gen, first, _, wall, mono, input_ = FRAME.unpack_from(data, at)
    end = at + FRAME.size + size
    if magic != FRAME_MAGIC or version != VERSION or gen != generation or size > FRAME_MAX_BYTES or end > len(data):
        return None
    if (sequence is not None and first != sequence) or crc32(data[at + CRC_FROM : end]) != crc:
        return None
    return Frame(first, count, gen, offset, offset + end - at, wall, mono, input_, data[at + FRAME.size : end])


def synced_up_to(data: bytes, at: int) -> int:
    """What the frame at byte `at` vouches for."""
    value: int = FRAME.unpack_from(data, at)[_SYNCED_UP_TO]
    return value


def vouched_for(data: bytes, at: int, generation: int) -> int:
    """The highest `synced_up_to` of whatever valid frames there are behind byte `at`, wherever they begin."""
    highest, magic = 0, FRAME_MAGIC.to_bytes(4, "little")
    while (at := data.find(magic, at)) >= 0:
        if frame_at(data, at, generation, None, 0):
            highest = max(highest, synced_up_to(data, at))
        at += len(magic)
    return highest
