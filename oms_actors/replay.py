"""`oms replay`: the journals folded through the same cores, without a desk: what state do they say, and its hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from oms_actors.core.intake import Intake, IntakeRules
from oms_actors.core.order import Phase
from oms_actors.core.pending import SenderSettings
from oms_actors.core.sender import Sender
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.intake_fold import IntakeFold
from oms_actors.edges.journal import JournalError
from oms_actors.edges.sender_fold import INTAKE, SENDER, SenderFold
from oms_actors.journal_tools import require_whole_end


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
    data_dir: Path, from_snapshot: bool = False, progress: Callable[[int], None] = lambda records: None
) -> Replayed:
    """Folds both journals of an instance's data directory, from the newest snapshots on if so wanted or if their
    beginning has been removed. Raises JournalError (none there, or one that is damaged)."""
    folder = data_dir / "journal"
    if not folder.is_dir():
        raise JournalError(f"{folder}: no journal: name the data directory of an instance, such as oms-data/default")
    disk = OsDisk(folder)
    mine = IntakeFold(Intake(IntakeRules()), disk)
    fold = SenderFold(Sender(SenderSettings(), Throttle(ThrottleLimit())), disk, 0)
    if from_snapshot or not mine.is_whole():
        mine.load(folder)
        fold.load(folder)
    count = mine.run(lambda: progress(mine.sequence))
    fold.run(lambda: progress(fold.input))
    for role in (INTAKE, SENDER):
        require_whole_end(disk, role)
    intake = mine.core
    core = fold.core
    first, second = _hash(_intake_state(intake)), _hash(core.state())
    return Replayed(
        frames=count, requests=fold.input, ids=len(intake.ids), upstreams=len(intake.upstreams),
        orders=dict(Counter(Phase(order.phase).name for order in core.orders())), changes=len(core.changes),
        waiting=core.waiting, working=core.working, in_doubt=core.doubtful, intake_hash=first, sender_hash=second,
        hash=_hash([first, second]),
    )  # fmt: skip


def _intake_state(intake: Intake) -> list[object]:
    upstreams = [(u.number, u.name, u.token, u.place, u.committed) for _, u in sorted(intake.upstreams.items())]
    carried = intake.carried
    before = [(date, sorted(ids)) for date, ids in sorted(carried.before.items())]
    return [intake.trade_date, sorted(intake.ids), sorted(carried.keys), before, sorted(intake.waiting), upstreams]


def _hash(state: object) -> str:
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]
