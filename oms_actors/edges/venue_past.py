"""What is left of a venue's past: its newest sound snapshot, and everything that came in since. Reads only.

The venue itself begins with this (`edges.venue_journal` goes on writing); anybody else may read it while it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from oms_actors.config import Resolved, VenueConfig
from oms_actors.core.book import SelfTrade
from oms_actors.core.engine import Engine
from oms_actors.core.execution import Rules
from oms_actors.core.fill import FillModel
from oms_actors.core.venue import Model
from oms_actors.edges import journals, snapshots
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import JournalError, Position, ReaderAhead, frames
from oms_actors.edges.journal_format import segment_names
from oms_actors.messages import fixed
from oms_actors.record import UPSTREAM

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


class VenuePast:
    """`load`, then `replay`."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved
        self.folder = Path(resolved.data_dir) / "venue"
        self.disk = OsDisk(journals.folder(resolved))
        self.links: dict[str, tuple[int, int]] = {}
        """By link: its file and how far its ring was read."""
        self.covered = Position(0, 0)
        """What the snapshot covers; nothing if the journal does not reach so far."""

    def load(self, oldest: bool = False) -> Snapshot | None:
        """The newest (or oldest) snapshot that checks out and is of this desk; None as long as there was none.

        Raises JournalError if none does, and what it would stand for is no longer in the journal either.
        """
        begins = min((start.offset for start, _ in segment_names(self.disk, ROLE)), default=0)
        if oldest and not begins:
            return None  # the journal has everything
        found = snapshots.read(self.folder, ROLE)
        for position, body in reversed(list(found)) if oldest else found:
            snapshot = msgspec.convert(body, Snapshot)
            if snapshot.desk == self.resolved.desk_id:
                self.links = dict(snapshot.links)
                self.covered = position
                return snapshot
        if begins:
            raise JournalError(
                f"{self.folder}: no snapshot of the exchange checks out, and its journal begins only at offset "
                f"{begins}: put a backup of {self.resolved.data_dir} in its place, or move it away and begin "
                "with an empty exchange"
            )
        return None

    def replay(self) -> Iterator[list[Input]]:
        """What happened since the snapshot, cycle by cycle; keeps `links` up to date."""
        try:
            for frame in frames(self.disk, ROLE, self.covered):
                yield list(self._inputs(frame.payload, frame.wall_ns))
        except ReaderAhead:
            # A power cut took the journal's unsynced end; the snapshot was synced and knows more.
            self.covered = Position(0, 0)

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


def make_model(config: VenueConfig) -> Model:
    """The configured model."""
    rules = Rules(config.symbols, fixed("tick_size", config.tick_size), fixed("lot_size", config.lot_size))
    if config.model == "fill":
        return FillModel(rules)
    return Engine(rules, SelfTrade[config.self_trade.upper()])
