"""Intake's journal, and what the sender's says of its queue, folded into a core: at a restart and for a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from oms_actors.core.answers import runs
from oms_actors.core.intake import Intake
from oms_actors.core.intake_snapshot import dump, load
from oms_actors.edges import snapshots
from oms_actors.edges.disk import Disk
from oms_actors.edges.journal import JournalReader, Position, reaches, require_whole
from oms_actors.edges.journal_format import segment_names
from oms_actors.edges.refill import Places

INTAKE, SENDER = "intake", "sender"
_START = Position(0, 0)


class IntakeFold:
    """`run` folds what there is. Afterwards `core` is the state, `position` and `senders` say how far it goes.

    `open_reader` (role → reader) makes those that stop at what is durable; without it everything valid is read.
    """

    def __init__(
        self, core: Intake, disk: Disk, open_reader: Callable[[str], JournalReader] | None = None
    ) -> None:  # fmt: skip
        self.core, self._disk = core, disk
        self._open_reader = open_reader or (lambda role: JournalReader(disk, role))
        self.position = self.senders = _START
        """In intake's and in the sender's journal."""
        self.sequence = self.senders_sequence = 1
        """Of the next records there."""
        self.places = (Places(), Places())
        """Where intake's and the sender's records are."""
        self.ahead = 0
        """The sender has consumed so much, and that is more than there is (0: it is not). Nothing unusual while both
        journals grow."""
        self.uncounted = False
        """There are limits, but orders open from before the snapshot are not counted: there were none then."""

    def load(self, folder: Path) -> bool:
        """Begins at the newest snapshot that fits; False if there is none."""
        for position, body in snapshots.read(folder, INTAKE):
            senders = Position(*body["senders"])
            if not (reaches(self._disk, INTAKE, position) and reaches(self._disk, SENDER, senders)):
                continue
            uncounted = self.core.exposure.watching and body["core"].get("exposure") is None
            if uncounted and self.is_whole():
                continue
            if load(self.core, body["core"]):
                self.position, self.senders, self.uncounted = position, senders, uncounted
                self.sequence, self.senders_sequence = body["sequence"], body["senders_sequence"]
                for places, found in zip(self.places, body["places"], strict=True):
                    places.load(found)
                return True
        return False

    def is_whole(self) -> bool:
        """Do the journals still have everything from the very beginning?"""
        firsts = [segment_names(self._disk, role)[:1] for role in (INTAKE, SENDER)]
        return all(not found or found[0][0].offset == 0 for found in firsts)

    def run(self, beat: Callable[[], None] = lambda: None) -> int:
        """Folds every frame there is; returns how many. Of the sender's only those whose requests are in."""
        if self.sequence == 1:
            for role in (INTAKE, SENDER):
                require_whole(self._disk, role)
        return self._mine(beat) + self._senders(beat)

    def _mine(self, beat: Callable[[], None]) -> int:
        reader, count, core = self._reader(INTAKE, self.position, self.sequence), 0, self.core
        while found := reader.read():
            for frame in found:
                core.replay(frame.payload, frame.sequence)
                self.places[0].note(frame.sequence, frame.generation, frame.offset)
                self.sequence = frame.sequence + frame.records
            count += len(found)
            self.position = reader.position
            beat()
        reader.close()
        return count

    def _senders(self, beat: Callable[[], None]) -> int:
        reader, count = self._reader(SENDER, self.senders, self.senders_sequence), 0
        while found := reader.read():
            for frame in found:
                if frame.input >= self.sequence:
                    reader.close()
                    self.ahead = frame.input
                    return count
                self.core.departed(runs(frame.payload), frame.mono_ns)
                self.places[1].note(frame.sequence, frame.generation, frame.offset)
                self.senders = Position(frame.generation, frame.end)
                self.senders_sequence = frame.sequence + frame.records
                count += 1
            beat()
        reader.close()
        return count

    def _reader(self, role: str, position: Position, sequence: int) -> JournalReader:
        reader = self._open_reader(role)
        if position != _START:
            reader.seek(position, sequence)
        return reader

    def body(self) -> dict[str, Any]:
        """A snapshot of all this."""
        return {
            "core": dump(self.core),
            "sequence": self.sequence,
            "senders": tuple(self.senders),
            "senders_sequence": self.senders_sequence,
            "places": [places.dump() for places in self.places],
        }
