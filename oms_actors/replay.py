"""`oms replay`: the journals folded through the same cores, without a desk: what state do they say, and its hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from oms_actors.core.answers import runs
from oms_actors.core.intake import Intake, IntakeRules
from oms_actors.core.order import Phase
from oms_actors.core.pending import SenderSettings
from oms_actors.core.sender import Sender
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import JournalError, frames
from oms_actors.edges.sender_fold import INTAKE, SENDER, SenderFold


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What the journals of a data directory say. The hashes cover everything that decides what happens next."""

    frames: int
    requests: int
    ids: int
    upstreams: int
    orders: dict[str, int]
    changes: int
    waiting: int
    working: int
    in_doubt: int
    intake_hash: str
    sender_hash: str
    hash: str


def replay(
    data_dir: Path, from_snapshot: bool = False, progress: Callable[[int], None] = lambda frames: None
) -> Replayed:
    """Folds both journals of an instance's data directory. Raises JournalError (none there, or one that is damaged)."""
    folder = data_dir / "journal"
    if not folder.is_dir():
        raise JournalError(f"{folder}: no journal: name the data directory of an instance, such as oms-data/default")
    disk = OsDisk(folder)
    count = 0
    intake = Intake(IntakeRules())
    for count, frame in enumerate(frames(disk, INTAKE), 1):
        intake.replay(frame.payload, frame.sequence)
        if not count & 63:
            progress(count)
    fold = SenderFold(Sender(SenderSettings(), Throttle(ThrottleLimit())), disk, 0)
    if from_snapshot:
        fold.load(folder)
    count += fold.run(lambda: progress(count))
    for frame in frames(disk, SENDER):
        intake.departed(runs(frame.payload), frame.mono_ns)
    core = fold.core
    orders = {id(order): order for order in core.ids.values()}.values()
    first, second = _hash(_intake_state(intake)), _hash(core.state())
    return Replayed(
        frames=count, requests=fold.input, ids=len(intake.ids), upstreams=len(intake.upstreams),
        orders=dict(Counter(Phase(order.phase).name for order in orders)), changes=len(core.changes),
        waiting=core.waiting, working=core.working, in_doubt=core.doubtful, intake_hash=first, sender_hash=second,
        hash=_hash([first, second]),
    )  # fmt: skip


def _intake_state(intake: Intake) -> list[object]:
    upstreams = [(u.number, u.name, u.token, u.place, u.committed) for _, u in sorted(intake.upstreams.items())]
    return [sorted(intake.ids), sorted(intake.waiting), upstreams]


def _hash(state: object) -> str:
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]
