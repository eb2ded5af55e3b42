"""Snapshots: what is loaded goes on as if it had been folded from the beginning, and a bad one costs only time."""

from __future__ import annotations

from pathlib import Path

import pytest

from oms_actors.core.intake import Intake, Upstream
from oms_actors.core.sender import Sender
from oms_actors.edges import snapshots
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import JournalError, JournalWriter, SenderAhead
from oms_actors.edges.sender_fold import INTAKE, SENDER, SenderFold
from oms_actors.record import records
from oms_actors.replay import replay
from tests.core.sender_bench import Bench, new
from tests.core.test_sender_replay import Chaos

BOOT = 7


class Day:
    """A random life of the sender's core, written to journals in two halves."""

    def __init__(self, folder: Path, seed: int, durability: str = "process") -> None:
        self.folder, self.durability = folder / "journal", durability
        self.bench: Bench = Chaos(seed).run(60)
        self.writers = [self._writer(role) for role in (INTAKE, SENDER)]
        self.done = 0

    def _writer(self, role: str) -> JournalWriter:
        return JournalWriter(
            OsDisk(self.folder), role, durability=self.durability, segment_bytes=1 << 20, desk=1, boot=BOOT, wall_ns=0,
            mark=[0] * 8,
        )  # fmt: skip

    def write(self, until: int) -> None:
        intake, sender = self.writers
        for payload, consumed, mono, wall in self.bench.journal[self.done : until]:
            for record in self.bench.admitted[intake.sequence - 1 : consumed]:
                intake.append(record, 1, wall, mono)
                intake.sync()
            sender.append(payload, len(list(records(payload))), wall, mono, consumed)
            sender.sync()
        self.done = until

    def fold(self, with_snapshot: bool = True) -> SenderFold:
        fold = SenderFold(self.bench.fresh(), OsDisk(self.folder), BOOT)
        if with_snapshot:
            fold.load(self.folder)
        fold.run()
        return fold

    def snapshot(self) -> Path:
        fold = self.fold()
        return snapshots.write(self.folder, SENDER, fold.position, fold.body())


@pytest.mark.parametrize("seed", range(20))
def test_a_fold_from_a_snapshot_ends_where_a_fold_from_the_beginning_does(tmp_path: Path, seed: int) -> None:
    day = Day(tmp_path, seed)
    for until in (20, 40):
        day.write(until)
        day.snapshot()
    day.write(len(day.bench.journal))
    short, long = day.fold(), day.fold(with_snapshot=False)
    assert isinstance(short.core, Sender)
    assert short.core.state() == long.core.state() == day.bench.core.state()
    assert (short.position, short.input) == (long.position, long.input)


def test_a_damaged_snapshot_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    day = Day(tmp_path, 3)
    day.write(20)
    older = day.snapshot()
    day.write(40)
    newer = day.snapshot()
    day.write(len(day.bench.journal))
    data = bytearray(newer.read_bytes())
    for at in (3, 20, len(data) // 2, len(data) - 1):
        data[at] ^= 1
        newer.write_bytes(data)
        data[at] ^= 1
        assert [position for position, _ in snapshots.read(day.folder, SENDER)] == [
            snapshots._position(older.name)
        ]
        assert day.fold().core.state() == day.bench.core.state()
    older.write_bytes(b"")
    newer.write_bytes(data[:100])
    assert day.fold().core.state() == day.bench.core.state()


def test_only_the_newest_two_are_kept(tmp_path: Path) -> None:
    day = Day(tmp_path, 5)
    for until in (10, 20, 30, 40):
        day.write(until)
        day.snapshot()
    assert len(list(day.folder.glob("*.snapshot"))) == 2


def test_replay_says_the_same_every_time_and_from_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms_actors.replay.Intake", lambda rules: Intake(rules, upstreams={1: Upstream(1, b"algo")}))
    day = Day(tmp_path, 9)
    day.write(30)
    day.snapshot()
    day.write(len(day.bench.journal))
    first = replay(tmp_path)
    assert replay(tmp_path) == first
    assert replay(tmp_path, from_snapshot=True).hash == first.hash


@pytest.mark.parametrize("role", [INTAKE, SENDER])
def test_replay_does_not_take_damage_for_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    monkeypatch.setattr("oms_actors.replay.Intake", lambda rules: Intake(rules, upstreams={1: Upstream(1, b"algo")}))
    day = Day(tmp_path, 9, "power")
    day.write(len(day.bench.journal))
    replay(tmp_path)
    (path,) = day.folder.glob(f"{role}-*.journal")
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match=role):
        replay(tmp_path)


def test_a_sender_that_has_consumed_what_intake_has_lost_says_so(tmp_path: Path) -> None:
    day = Day(tmp_path, 3)
    day.write(20)
    old = {path: path.read_bytes() for path in day.folder.glob("intake-*.journal")}
    day.write(len(day.bench.journal))
    for path, data in old.items():
        path.write_bytes(data)
    with pytest.raises(SenderAhead, match=r"SENDER_AHEAD: the sender has consumed .* up to record \d+, but it ends"):
        day.fold()


def test_so_does_one_that_has_even_sent_it(tmp_path: Path) -> None:
    day = Day(tmp_path, 3)
    day.bench = Bench(rate=10)
    old = {path: path.read_bytes() for path in day.folder.glob("intake-*.journal")}
    day.bench.cycle(new("A"))
    day.write(len(day.bench.journal))
    day.fold()
    for path, data in old.items():
        path.write_bytes(data)
    with pytest.raises(SenderAhead, match=r"up to record 1, but it ends with record 0: .* Restore the files"):
        day.fold()


def test_a_snapshot_of_another_intake_journal_is_not_used(tmp_path: Path) -> None:
    day = Day(tmp_path, 3)
    day.write(20)
    old = {path: path.read_bytes() for path in day.folder.glob("intake-*.journal")}
    day.write(len(day.bench.journal))
    day.snapshot()
    assert SenderFold(day.bench.fresh(), OsDisk(day.folder), BOOT).load(day.folder)
    for path, data in old.items():
        path.write_bytes(data)
    assert not SenderFold(day.bench.fresh(), OsDisk(day.folder), BOOT).load(day.folder)


def test_a_snapshot_of_another_version_is_passed_over(tmp_path: Path) -> None:
    day = Day(tmp_path, 3)
    day.write(20)
    path = day.snapshot()
    data = bytearray(path.read_bytes())
    data[8] = 9
    path.write_bytes(data)
    day.write(len(day.bench.journal))
    assert not list(snapshots.read(day.folder, SENDER))
    assert day.fold().core.state() == day.bench.core.state()
