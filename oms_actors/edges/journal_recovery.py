"""Opening a journal for writing: where does it end?

After a mere death of the writer (same boot) its shared words say how far it had written, and only what may lie behind
is looked at. Otherwise the longest valid prefix counts. What a frame or a head vouches for was on the disk once, so
only what lies behind may be torn: there the journal is cut, segments that follow the cut are removed. A bad frame
below the newest vouch is damage, and the journal is refused by name rather than shortened.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from dataclasses import dataclass
from itertools import pairwise

from oms_actors.edges.disk import Disk
from oms_actors.edges.journal_format import (
    FRAME,
    FRAME_MAGIC,
    HEAD,
    LOST,
    REMEDY,
    JournalCorrupt,
    Segment,
    frame_at,
    last_generation,
    segments,
    synced_up_to,
    vouched_for,
)

MARK_WORDS = 8
(MARK_BOOT, MARK_GENERATION, MARK_WRITTEN, MARK_DURABLE, MARK_NEXT_SEQUENCE, MARK_DURABLE_SEQUENCE, MARK_CHECK,
 MARK_SYNCED) = range(MARK_WORDS)  # fmt: skip
"""A writer's shared words: WRITTEN, DURABLE (as `durability` means it) and SYNCED (on the disk) are logical offsets.
CHECK is WRITTEN xor NEXT_SEQUENCE and stored last, so that words of two different moments are recognised."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What opening a journal for writing found. `cut_bytes`: length of the torn tail that was cut."""

    generation: int
    offset: int
    sequence: int
    cut_bytes: int
    same_boot: bool
    synced: int
    """Logical offset up to which it is on the disk for certain."""


@dataclass(slots=True)
class _Walk:
    """One segment, walked along its valid frames."""

    segment: Segment
    data: bytes
    end: int
    sequence: int
    synced: int
    base: int = 0
    """Of the segment's bytes behind its head: where `data` begins."""

    @property
    def rest(self) -> int:
        """Bytes behind the last valid frame that are not zero."""
        return len(self.data[self.end - self.segment.start - self.base :].rstrip(b"\0"))


def recover(disk: Disk, role: str, boot: int, mark: MutableSequence[int], power: bool) -> Recovered:
    """The valid end, with everything behind it cut; with `power`, all of it is on the disk afterwards."""
    found = segments(disk, role)
    if not found:
        if mark[MARK_NEXT_SEQUENCE] > 1:
            raise JournalCorrupt(
                f"{role}: the last writer got as far as record {mark[MARK_NEXT_SEQUENCE] - 1}, but no file of its "
                f"journal is there: restore them from a copy, or move the whole journal folder away to begin anew"
            )
        return Recovered(last_generation(disk, role), 0, 1, 0, True, 0)
    last = _written(disk, found, boot, mark) or _walked(disk, found)
    kept = [segment for segment in found if segment.position <= last.segment.position]
    cut = last.rest + _put_aside(disk, found[len(kept) :])
    if power:
        _sync_closed(disk, kept, last.synced)
    _settle(disk, last, power)
    synced = last.end if power else min(last.synced, last.end)
    generation = last_generation(disk, role)
    return Recovered(generation, last.end, last.sequence, cut, found[-1].boot == boot, synced)


def _read(disk: Disk, segment: Segment) -> bytes:
    file = disk.open(segment.name)
    try:
        return file.pread(file.size(), HEAD.size)
    finally:
        file.close()


def _read_tail(disk: Disk, segment: Segment, base: int, at: int) -> bytes:
    """From byte `base` to the end of the one frame that may begin at `at`: a writer that was killed left no more."""
    file = disk.open(segment.name)
    try:
        data = file.pread(at - base + FRAME.size, HEAD.size + base)
        if len(data) == at - base + FRAME.size:
            magic, size = FRAME.unpack_from(data, at - base)[:2]
            data += file.pread(size, HEAD.size + base + len(data)) if magic == FRAME_MAGIC else b""
        return data
    finally:
        file.close()


def _walk(disk: Disk, segment: Segment) -> _Walk:
    """Follows a segment's frames from its head."""
    return _follow(_Walk(segment, _read(disk, segment), segment.start, segment.sequence, segment.synced))


def _follow(walk: _Walk) -> _Walk:
    at = walk.end - walk.segment.start - walk.base
    while frame := frame_at(walk.data, at, walk.segment.generation, walk.sequence, walk.end):
        walk.synced = max(walk.synced, synced_up_to(walk.data, at))
        at += frame.end - frame.offset
        walk.end, walk.sequence = frame.end, frame.sequence + frame.records
    return walk


def _written(disk: Disk, found: list[Segment], boot: int, mark: MutableSequence[int]) -> _Walk | None:
    """The same boot, and words that belong together: on from where the writer was. Else None."""
    last, written, sequence = found[-1], mark[MARK_WRITTEN], mark[MARK_NEXT_SEQUENCE]
    fits = mark[MARK_BOOT] == boot == last.boot and mark[MARK_GENERATION] == last.generation and last.start <= written
    if not fits or mark[MARK_CHECK] != written ^ sequence:
        return None
    synced = max(mark[MARK_SYNCED], last.synced)
    base, at = max(0, min(synced, written) - last.start), written - last.start
    return _follow(_Walk(last, _read_tail(disk, last, base, at), written, sequence, synced, base))


def _walked(disk: Disk, found: list[Segment]) -> _Walk:
    """The last segment of the valid prefix; walks those that may have lost something."""
    newest = _walk(disk, found[-1])
    last = first = len(found) - 1
    synced = newest.synced
    while first and synced < found[first].start:
        first -= 1
        synced = max(synced, found[first].synced)
    walk = newest
    for at in range(first, last):
        walk = _walk(disk, found[at])
        if walk.end != found[at + 1].start:
            break
    else:
        walk = newest
    _refuse_damage(disk, walk, [segment for segment in found if segment.position > walk.segment.position])
    return walk


def _refuse_damage(disk: Disk, last: _Walk, later: list[Segment]) -> None:
    """JournalCorrupt if anything behind the valid end vouches for more than that."""
    vouched = vouched_for(last.data, last.end - last.segment.start - last.base, last.segment.generation)
    for segment in later:
        vouched = max(vouched, segment.synced, vouched_for(_read(disk, segment), 0, segment.generation))
    if vouched > last.end:
        raise JournalCorrupt(
            f"{last.segment.name}: the frame at offset {last.end} was durable and does not check out: {REMEDY}"
        )


def _put_aside(disk: Disk, lost: list[Segment]) -> int:
    """Segments behind the valid end get another name, newest first; returns how many bytes were in them."""
    size = 0
    for segment in reversed(lost):
        size += len(_read(disk, segment).rstrip(b"\0"))
        disk.rename(segment.name, segment.name + LOST)
    return size


def _sync_closed(disk: Disk, kept: list[Segment], synced: int) -> None:
    """A run without `power` may have left closed segments in the page cache only."""
    for segment, following in pairwise(kept):
        if following.start > synced:
            file = disk.open(segment.name)
            try:
                file.sync()
            finally:
                file.close()


def _settle(disk: Disk, last: _Walk, power: bool) -> None:
    """Cuts the tail. With `power`, what is not on the disk for certain is written again before it is synced: after a
    failed sync the kernel may hold pages that it calls clean and that the disk never got."""
    start = last.segment.start
    file = disk.open(last.segment.name)
    try:
        if power and last.synced < last.end:
            at = max(last.synced, start) - start
            file.pwrite(last.data[at - last.base : last.end - start - last.base], HEAD.size + at)
        file.truncate(HEAD.size + last.end - start)
        if power:
            file.sync()
    finally:
        file.close()
