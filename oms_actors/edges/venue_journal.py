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
from collections.abc import Callable

import msgspec

from oms_actors import record
from oms_actors.config import Resolved
from oms_actors.edges import journals, snapshots
from oms_actors.edges.journal import JournalWriter, Position, remove_below
from oms_actors.edges.venue_past import ROLE, Snapshot, VenuePast
from oms_actors.messages import Kind
from oms_actors.record import UPSTREAM, VERSION


class VenueJournal(VenuePast):
    """The journal and the snapshots of one venue. `load`, then `replay`, then it may be written."""

    def __init__(self, resolved: Resolved) -> None:
        super().__init__(resolved)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._writer = JournalWriter(
            self.disk, ROLE, durability="process", segment_bytes=resolved.config.desk.segment_bytes,
            desk=resolved.desk_id, boot=journals.boot_word(), wall_ns=time.time_ns(),
            mark=journals.mark(resolved, ROLE),
        )  # fmt: skip
        self._child = 0
        self._parts: list[bytes] = []
        self._records = 0

    @property
    def generation(self) -> int:
        """Which start of this venue it is, from 1."""
        return self._writer.generation

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
        return self.covered != self._writer.position

    def snapshot(self, dump: Callable[[], bytes], pending: dict[int, list[bytes]]) -> None:
        """Begins a snapshot of the state as it is now, between two cycles; `dump` runs in the child."""
        self.covered = at = self._writer.position
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
            self.covered = Position(0, 0)
            return False
        remove_below(self.disk, ROLE, snapshots.oldest_position(self.folder, ROLE) or Position(0, 0))
        return True
