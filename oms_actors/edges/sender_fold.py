"""The sender's journal, and intake's requests as they were taken in, folded into a core: at a restart, for a
snapshot, and for `oms replay`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from oms_actors.core.recovery import Recovery, requests_of
from oms_actors.core.snapshot import dump, load
from oms_actors.edges import snapshots
from oms_actors.edges.disk import Disk
from oms_actors.edges.journal import Frame, Position, SenderAhead, frames, reaches, require_whole, segments

SENDER, INTAKE = "sender", "intake"
_MARKS = ("rebooted", "first_ns")


class SenderFold:
    """`run` folds what there is. Afterwards `core` is the state, `position` and `input` say how far it goes."""

    def __init__(self, core: Recovery, disk: Disk, boot: int) -> None:
        self.core, self._disk, self._boot = core, disk, boot
        self.position = Position(0, 0)
        """In the sender's journal."""
        self.source = Requests(frames(disk, INTAKE))
        self.rebooted = False
        """Did an earlier boot write some of it?"""
        self.first_ns = 0
        """Monotonic time of this boot's first frame, 0 if there is none."""

    @property
    def input(self) -> int:
        """Sequence of the last record of intake's journal that is in."""
        return self.source.input

    def load(self, folder: Path) -> bool:
        """Begins at the newest snapshot that fits; False if there is none."""
        for position, body in snapshots.read(folder, SENDER):
            if not (reaches(self._disk, SENDER, position) and reaches(self._disk, INTAKE, Position(*body["intake"]))):
                continue  # the journal has lost what the snapshot has: both go back to where it ends
            if not self._has(body["input"], body.get("intake_last")):
                continue  # intake's journal is not the one it was
            if load(self.core, body["core"]):
                self.position = position
                self.source = Requests(frames(self._disk, INTAKE, Position(*body["intake"])), body["input"])
                self.source.position = Position(*body["intake"])
                self.source.last = body["intake_last"] and Position(*body["intake_last"])
                for name in _MARKS:
                    setattr(self, name, body[name])
                if body["boot"] != self._boot:
                    self.rebooted, self.first_ns = True, 0
                return True
        return False

    def _has(self, input_: int, last: list[int] | None) -> bool:
        """Does intake's journal have the frame that was the last one taken in?"""
        if not input_:
            return True
        frame = next(frames(self._disk, INTAKE, Position(*last)), None) if last else None
        return frame is not None and frame.sequence + frame.records - 1 == input_

    def run(self, beat: Callable[[], None] = lambda: None) -> int:
        """Folds every frame from `position` to the end; returns how many. Raises JournalError, SenderAhead too."""
        if not self.position.offset:
            for role in (SENDER, INTAKE):
                require_whole(self._disk, role)
        boots = {segment.generation: segment.boot for segment in segments(self._disk, SENDER)}
        count = 0
        for frame in frames(self._disk, SENDER, self.position if self.position.offset else None):
            beat()  # a frame may hold thousands of records
            count += 1
            self.fold(frame, boots.get(frame.generation) == self._boot)
        return count

    def fold(self, frame: Frame, this_boot: bool) -> None:
        """One frame. What it decided upon must be there before: SenderAhead if it is not."""
        requests = self.source.up_to(frame.input)
        if frame.input > self.input:
            raise SenderAhead(frame.input, self.input)
        if not this_boot:
            self.rebooted = True
        elif not self.first_ns:
            self.first_ns = frame.mono_ns
            self.core.forget_calls()
        self.core.begin(frame.mono_ns, frame.wall_ns)
        self.core.base = frame.sequence
        self.core.replay(frame.payload, requests)
        self.position = Position(frame.generation, frame.end)

    def body(self) -> dict[str, Any]:
        """A snapshot of all this."""
        return {
            "core": dump(self.core),
            "intake": tuple(self.source.position or Position(0, 0)),
            "intake_last": self.source.last,
            "input": self.input,
            "boot": self._boot,
            **{name: getattr(self, name) for name in _MARKS},
        }


class Requests:
    """Intake's admitted requests in order; `position` is behind the last frame given out."""

    def __init__(self, source: Iterable[Frame], input_: int = 0) -> None:
        self._frames = iter(source)
        self.input = input_
        self.position: Position | None = None
        self.last: Position | None = None
        """Where that frame begins."""

    def up_to(self, sequence: int) -> list[bytes]:
        """The requests of the frames up to and including `sequence`."""
        found: list[bytes] = []
        while self.input < sequence:
            frame = next(self._frames, None)
            if frame is None:
                break
            found += requests_of(frame.payload)
            self.input = frame.sequence + frame.records - 1
            self.position, self.last = Position(frame.generation, frame.end), Position(frame.generation, frame.offset)
        return found
