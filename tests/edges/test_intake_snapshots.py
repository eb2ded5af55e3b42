"""Intake's snapshots: what is loaded goes on as if everything had been folded, whatever was cut, lost or damaged."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from oms_actors import CancelOrder, ModifyOrder
from oms_actors.core import intake_snapshot
from oms_actors.core.answers import runs
from oms_actors.core.carried import Carried
from oms_actors.core.exposure import Exposure
from oms_actors.core.hours import ALWAYS
from oms_actors.core.intake import Intake, IntakeRules, Piece, Upstream, upstream_record
from oms_actors.core.mass_action import Mass, MassAction
from oms_actors.core.reports import report
from oms_actors.core.risk import NO_LIMITS, Limits, Risk, RiskLimits
from oms_actors.edges import snapshots
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.intake_fold import INTAKE, SENDER, IntakeFold
from oms_actors.edges.journal import JournalWriter, Position, frames, remove_below
from oms_actors.errors import Reason
from oms_actors.messages import ExecType, Kind, OrdStatus, SessionEvent
from oms_actors.record import KEY, SESSION, VERSION, records
from tests.intake.makers import new
from tests.intake.makers import records as frame

LIMITS = RiskLimits(Limits(max_open_orders=1_000), messages_per_s=40, duplicate_window_ns=250_000_000)
BOOT = 7


class Day:
    """A random life of intake's core, in journals; `at` (ns) is the only clock."""

    def __init__(self, folder: Path, seed: int, limits: RiskLimits = NO_LIMITS) -> None:
        self.folder, self.dice, self.limits = folder, random.Random(seed), limits
        folder.mkdir()
        self.writers = {role: self._writer(role) for role in (INTAKE, SENDER)}
        self.core = self.fresh()
        self.at, self.date, self.asked = 1, 20260100, 0
        self.waiting: list[bytes] = []
        self._append(upstream_record(Upstream(1, b"algo", 5)), 1)

    def fresh(self) -> Intake:
        return Intake(IntakeRules(), exposure=Exposure(Risk(self.limits)))

    def _writer(self, role: str) -> JournalWriter:
        return JournalWriter(
            OsDisk(self.folder), role, durability="process", segment_bytes=32_768, desk=1, boot=BOOT, wall_ns=0,
            mark=[0] * 8,
        )  # fmt: skip

    def _append(self, payload: bytes, count: int) -> None:
        writer = self.writers[INTAKE]
        sequence = writer.sequence
        writer.append(payload, count, self.at, self.at)
        self.core.apply(payload, sequence)

    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.at += 100_000_000
            self.dice.choice((self.ask, self.ask, self.answer, self.answer, self.roll))()

    def ask(self) -> None:
        requests: list[object] = []
        for _ in range(self.dice.randrange(1, 30)):
            self.asked += 1
            name = f"A-{self.dice.randrange(max(1, self.asked))}"
            requests.append(self.dice.choice((
                new(self.asked, price=self.asked), new(self.asked), new(self.asked, price=None),
                ModifyOrder(client_order_id=f"M{self.asked}", orig_client_order_id=name, price=3),
                CancelOrder(client_order_id=f"C{self.asked}", orig_client_order_id=name),
            )))  # fmt: skip
        batch = self.core.batch(self.writers[INTAKE].sequence, self.at, self.at, ALWAYS)
        batch.take([Piece(1, 16 * self.asked, frame(*requests))])  # type: ignore[arg-type]
        payload = batch.payload()
        self._append(payload, batch.records)
        self.waiting += [record for record in records(payload) if record[0] == Kind.NEW and not record[28]]

    def answer(self) -> None:
        out = []
        for record in self.waiting[: self.dice.randrange(20)]:
            self.waiting.remove(record)
            out.append(bytes((Kind.INTENT_NEW,)) + record[1:])
            if self.dice.random() < 0.5:
                out.append(report(
                    key=record[KEY], exec_type=ExecType.TRADE, ord_status=OrdStatus.FILLED, flags=4, request_kind=0,
                    sequence=1, upstream=1, number=int.from_bytes(record[184:], "little"), last_price=7,
                    symbol=record[168:184],
                ))  # fmt: skip
        self._hear(out)

    def _hear(self, out: list[bytes]) -> None:
        if out:
            payload = b"".join(out)
            self.writers[SENDER].append(payload, len(out), self.at, self.at, self.writers[INTAKE].sequence - 1)
            self.core.departed(runs(payload), self.at)

    def roll(self) -> None:
        if self.dice.random() < 0.7:
            return
        self.date += 1
        batch = self.core.batch(self.writers[INTAKE].sequence, self.at, self.at, ALWAYS)
        batch.roll(self.date)
        self._append(batch.payload(), 1)
        tail = MassAction(Mass.ROLL, Reason.END_OF_DAY).tail()
        begun = SESSION.pack(Kind.SESSION, VERSION, SessionEvent.MASS_ACTION, 0, 0, 0, 0, 0, self.date, b"")
        kept = [
            report(
                key=record[KEY], exec_type=ExecType.RESTATED, ord_status=OrdStatus.NEW, flags=4, request_kind=0,
                sequence=1, upstream=1, number=1,
            ) for record in self.waiting[:3]
        ]  # fmt: skip
        self._hear([begun[: SESSION.size - len(tail)] + tail, *kept])
        if self.dice.random() < 0.8:
            self._hear([SESSION.pack(Kind.SESSION, VERSION, SessionEvent.ROLL, 0, 0, 0, 0, 0, self.date, b"")])

    def fold(self, with_snapshot: bool = True) -> IntakeFold:
        fold = IntakeFold(self.fresh(), OsDisk(self.folder))
        if with_snapshot:
            fold.load(self.folder)
        fold.run()
        return fold

    def snapshot(self) -> Path:
        fold = self.fold()
        return snapshots.write(self.folder, INTAKE, fold.position, fold.body())


def state_of(core: Intake) -> object:
    risk = core.exposure.risk
    counted = (risk._open, risk._messages, risk._contents, risk._last_prices) if core.exposure.watching else ()
    return core.trade_date, core.ids, core.carried, core.waiting, core.upstreams, core.exposure.open, counted


@pytest.mark.parametrize("limits", [NO_LIMITS, LIMITS], ids=["free", "limited"])
@pytest.mark.parametrize("seed", range(12))
def test_a_fold_from_a_snapshot_ends_where_a_fold_from_the_beginning_does(
    tmp_path: Path, seed: int, limits: RiskLimits
) -> None:
    day = Day(tmp_path / "journal", seed, limits)
    for _ in range(3):
        day.go_on(12)
        day.snapshot()
        day.go_on(6)
        short, long = day.fold(), day.fold(with_snapshot=False)
        assert state_of(short.core) == state_of(long.core)
        assert (short.position, short.senders, short.sequence) == (long.position, long.senders, long.sequence)
    assert (short.core.ids, short.core.waiting) == (day.core.ids, day.core.waiting)
    assert day.asked > 100


def test_a_damaged_snapshot_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    day = Day(tmp_path / "journal", 3)
    day.go_on(10)
    older = day.snapshot()
    day.go_on(10)
    newer = day.snapshot()
    day.go_on(5)
    data = bytearray(newer.read_bytes())
    data[len(data) // 2] ^= 1
    newer.write_bytes(data)
    wanted = state_of(day.fold(with_snapshot=False).core)
    assert state_of(day.fold().core) == wanted
    fold = IntakeFold(day.fresh(), OsDisk(day.folder))
    assert fold.load(day.folder)
    assert fold.position == snapshots._position(older.name)
    older.write_bytes(b"")
    assert state_of(day.fold().core) == wanted


def test_a_snapshot_of_what_the_journal_has_lost_is_passed_over(tmp_path: Path) -> None:
    day = Day(tmp_path / "journal", 3)
    day.go_on(10)
    older = day.snapshot()
    day.go_on(10)
    day.snapshot()
    cut = day.fold(with_snapshot=False)
    position = snapshots._position(older.name)
    for role, end in ((INTAKE, position), (SENDER, Position(0, 0))):  # as a power cut may leave it
        kept = [f for f in frames(OsDisk(day.folder), role) if (f.generation, f.end) <= end]
        for path in day.folder.glob(f"{role}-*.journal"):
            path.unlink()
        day.writers[role] = day._writer(role)
        for f in kept:
            day.writers[role].append(f.payload, f.records, f.wall_ns, f.mono_ns, f.input)
        day.writers[role].close()
        day.writers[role] = day._writer(role)
    fold = IntakeFold(day.fresh(), OsDisk(day.folder))
    fold.load(day.folder)
    fold.run()
    assert fold.sequence < cut.sequence
    assert state_of(fold.core) == state_of(day.fold(with_snapshot=False).core)


@pytest.mark.parametrize("seed", range(12))
def test_what_no_snapshot_needs_may_go(tmp_path: Path, seed: int) -> None:
    day = Day(tmp_path / "journal", seed)
    for _ in range(4):
        day.go_on(15)
        day.snapshot()
    day.go_on(5)
    wanted = state_of(day.fold(with_snapshot=False).core)
    (mine, body) = list(snapshots.read(day.folder, INTAKE))[-1]
    gone = remove_below(OsDisk(day.folder), INTAKE, mine)
    gone += remove_below(OsDisk(day.folder), SENDER, Position(*body["senders"]))
    assert gone
    assert state_of(day.fold().core) == wanted

    newest = sorted(day.folder.glob("intake-*.snapshot"))[-1]
    newest.write_bytes(b"damaged")
    assert state_of(day.fold().core) == wanted


def test_limits_that_are_new_count_from_the_journals_as_long_as_these_are_whole(tmp_path: Path) -> None:
    day = Day(tmp_path / "journal", 2)
    for _ in range(3):
        day.go_on(20)
        day.snapshot()
    day.limits = LIMITS
    whole = day.fold()
    assert not whole.uncounted
    assert state_of(whole.core) == state_of(day.fold(with_snapshot=False).core)
    remove_below(OsDisk(day.folder), INTAKE, list(snapshots.read(day.folder, INTAKE))[-1][0])
    assert day.fold().uncounted


def test_a_snapshot_has_every_field_of_the_state() -> None:
    """A field that is new must be dumped and loaded, and needs another FORMAT."""
    assert set(intake_snapshot._UPSTREAM) == {field.name for field in dataclasses.fields(Upstream)}
    assert {field.name for field in dataclasses.fields(Intake)} == {
        "rules", "trade_date", "ids", "carried", "waiting", "upstreams", "exposure",
    }  # fmt: skip
    assert {field.name for field in dataclasses.fields(Carried)} == {"keys", "before", "restated"}
