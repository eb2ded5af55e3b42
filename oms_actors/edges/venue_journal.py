"""What the venue remembers beyond its process: a journal of its inputs, and snapshots of its whole state.

    journal/venue-*.journal     per cycle one frame: for each ring frame taken a head (UPSTREAM: ring's file, position
                                behind the frame, bytes) and the frame; a head without a name: time passed
    venue/venue-<generation>-<offset>.snapshot     the state when the journal was read up to there (`edges.snapshots`)

A snapshot is written by a forked child, to which the parent's memory stands still, so the venue goes on at once. The
child touches nothing but its own file, and first lets go of every descriptor: it must not keep the role's lock.
"""

from __future__ import annotations

import gc
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from oms_actors import record
from oms_actors.config import Resolved
from oms_actors.edges import journals, snapshots
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import JournalError, JournalWriter, Position, ReaderAhead, frames, remove_below
from oms_actors.edges.journal_format import segment_names
from oms_actors.messages import Kind
from oms_actors.record import UPSTREAM, VERSION

ROLE = journals.VENUE


class Snapshot(msgspec.Struct):
    """`pending`: by member's number the frames of reports that have not left yet."""

    desk: int
    links: dict[str, tuple[int, int]]
    """By link: its file and how far its ring was read."""
    venue: bytes
    pending: dict[int, list[bytes]]


class Input(msgspec.Struct, gc=False):
    """Something that happened: `frame` came over `link` (none: time passed) at `time_ns` (UTC)."""

    link: str
    frame: bytes
    time_ns: int


@dataclass
class VenueJournal:
    """The journal and the snapshots of one venue. `load`, then `replay`, then it may be written."""

    resolved: Resolved
    links: dict[str, tuple[int, int]] = field(default_factory=dict)
    _child: int = 0
    _parts: list[bytes] = field(default_factory=list)
    _records: int = 0

    def __post_init__(self) -> None:
        desk = self.resolved.config.desk
        self.folder = Path(self.resolved.data_dir) / "venue"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._disk = OsDisk(journals.folder(self.resolved))
        self._from: Position | None = None
        self._writer = JournalWriter(
            self._disk, ROLE, durability="process", segment_bytes=desk.segment_bytes, desk=self.resolved.desk_id,
            boot=journals.boot_word(), wall_ns=time.time_ns(), mark=journals.mark(self.resolved, ROLE),
        )  # fmt: skip
        self._covered = Position(0, 0)

    @property
    def generation(self) -> int:
        """Which start of this venue it is, from 1."""
        return self._writer.generation

    # -- recovery ---------------------------------------------------------------------------------------------------

    def load(self) -> Snapshot | None:
        """The newest snapshot that checks out and is of this desk; None at the first start.

        Raises JournalError if none does, and what it would stand for is no longer in the journal either.
        """
        for position, body in snapshots.read(self.folder, ROLE):
            snapshot = msgspec.convert(body, Snapshot)
            if snapshot.desk == self.resolved.desk_id:
                self.links = dict(snapshot.links)
                self._from = self._covered = position
                return snapshot
        oldest = segment_names(self._disk, ROLE)[0][0]
        if oldest.offset:
            raise JournalError(
                f"{self.folder}: no snapshot of the exchange checks out, and its journal begins only at offset "
                f"{oldest.offset}: put a backup of {self.resolved.data_dir} in its place, or move it away and begin "
                "with an empty exchange"
            )
        return None

    def replay(self) -> Iterator[list[Input]]:
        """What happened since the snapshot, cycle by cycle; keeps `links` up to date."""
        try:
            for frame in frames(self._disk, ROLE, self._from):
                yield list(self._inputs(frame.payload, frame.wall_ns))
        except ReaderAhead:
            # A power cut took the journal's unsynced end; the snapshot was synced and knows more.
            self._covered = Position(0, 0)

    def _inputs(self, payload: bytes, wall_ns: int) -> Iterator[Input]:
        at = 0
        while at < len(payload):
            _, _, _, file, position, size, name = UPSTREAM.unpack_from(payload, at)
            at += UPSTREAM.size
            link = name.rstrip(b"\0").decode()
            if link:
                self.links[link] = file, position
            yield Input(link, payload[at : at + size], wall_ns)
            at += size

    # -- writing ----------------------------------------------------------------------------------------------------

    def note(self, link: str, file: int, position: int, frame: bytes) -> None:
        """Adds an input to the cycle: `frame`, up to `position` of the ring in `file`; without a link: time passed."""
        self._parts += (UPSTREAM.pack(Kind.UPSTREAM, VERSION, 0, file, position, len(frame), link.encode()), frame)
        self._records += 1 + len(frame) // record.REQUEST_BYTES
        if link:
            self.links[link] = file, position

    def reserve(self, size: int) -> None:
        """Before taking up to `size` bytes of input: they will fit. JournalFull if not."""
        self._writer.reserve(size)

    def flush(self, now_ns: int) -> bool:
        """Writes the cycle: after this it survives the process. False if it had no input."""
        if not self._parts:
            return False
        self._writer.append(b"".join(self._parts), self._records, now_ns, 0)
        self._parts.clear()
        self._records = 0
        return True

    def close(self) -> None:
        self._writer.close()

    # -- snapshots --------------------------------------------------------------------------------------------------

    @property
    def is_writing(self) -> bool:
        """Is a snapshot being written?"""
        return self._child != 0

    @property
    def is_behind(self) -> bool:
        """Has anything happened since the last snapshot was begun?"""
        return self._covered != self._writer.position

    def snapshot(self, dump: Callable[[], bytes], pending: dict[int, list[bytes]]) -> None:
        """Begins a snapshot of the state as it is now, between two cycles; `dump` runs in the child."""
        self._covered = at = self._writer.position
        with warnings.catch_warnings():  # threads that hold a lock now hold it for ever in the child: it takes none
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = os.fork()
        if self._child == 0:
            code = 1
            try:
                gc.disable()  # it would only walk over, and so copy, all of the parent's memory
                os.closerange(3, os.sysconf("SC_OPEN_MAX"))
                os.nice(10)
                whole = Snapshot(self.resolved.desk_id, self.links, dump(), pending)
                snapshots.write(self.folder, ROLE, at, msgspec.structs.asdict(whole))
                code = 0
            finally:
                os._exit(code)

    def finish(self, wait: bool = False) -> bool | None:
        """Has the snapshot been written? True: yes, and what the last two make superfluous is gone; False: it failed;
        None: not yet, or there is none."""
        if not self._child:
            return None
        child, status = os.waitpid(self._child, 0 if wait else os.WNOHANG)
        if not child:
            return None
        self._child = 0
        if status:
            self._covered = Position(0, 0)
            return False
        remove_below(self._disk, ROLE, snapshots.oldest_position(self.folder, ROLE) or Position(0, 0))
        return True
