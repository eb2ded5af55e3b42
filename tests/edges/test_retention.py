"""Retention: what is removed is needed by nobody, and what is left recovers to the same."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from ipc.page import Page
from oms_actors.edges import snapshots
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.intake_fold import INTAKE, SENDER
from oms_actors.edges.journal import JournalError, JournalReader, Position, frames, segments
from oms_actors.edges.retention import DAY_NS, LOOK_NS, Retention, recovery_needs, removable
from oms_actors.edges.sender_fold import SenderFold
from tests.edges.test_intake_snapshots import Day as IntakesDay
from tests.edges.test_intake_snapshots import state_of
from tests.edges.test_snapshots import Day

END = Position(1 << 40, 1 << 60)


def page(folder: Path, intake: int = 1 << 40, sender: int = 1 << 40) -> Path:
    """What intake says its upstreams have been told."""
    path = folder / "intake.page"
    with_page = Page.create(str(path), ("taken_intake", "taken_sender"))
    with_page["taken_intake"], with_page["taken_sender"] = intake, sender
    with_page.close()
    return path


class Kept:
    """Intake's random day with snapshots of both roles; the sender's are of nothing but positions."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.day, self.dice = IntakesDay(folder / "journal", seed), random.Random(seed)
        self.disk = OsDisk(self.day.folder)
        self.now = 0

    def snapshot(self) -> None:
        self.day.snapshot()
        fold = self.day.fold()
        body = {"core": {}, "intake": tuple(fold.position), "input": fold.sequence - 1}
        snapshots.write(self.day.folder, SENDER, fold.senders, body)

    def retention(self, intake_page: Path, keep_days: int = 0, settles: bool = True) -> Retention:
        return Retention(
            self.disk, self.day.folder, intake_page, keep_days, lambda: settles, logging.getLogger("retention")
        )

    def look_twice(self, retention: Retention, committed: dict[str, Position], wall_ns: int = 1 << 62) -> list[str]:
        retention.look(committed, self.now + LOOK_NS, wall_ns)
        self.now += 2 * LOOK_NS
        return retention.look(committed, self.now, wall_ns)

    def somewhere(self, role: str) -> Position:
        ends = [Position(f.generation, f.end) for f in frames(self.disk, role)]
        return self.dice.choice([Position(0, 0), END, *ends])


@pytest.mark.parametrize("seed", range(25))
def test_whatever_is_removed_recovery_is_the_same_and_everybody_can_read_on(tmp_path: Path, seed: int) -> None:
    kept = Kept(tmp_path, seed)
    for _ in range(4):
        kept.day.go_on(15)
        kept.snapshot()
    kept.day.go_on(5)
    wanted = state_of(kept.day.fold(with_snapshot=False).core)
    places = {role: kept.somewhere(role) for role in (INTAKE, SENDER)}
    said = {role: kept.dice.choice((0, 1 << 40, kept.dice.randrange(500))) for role in (INTAKE, SENDER)}
    gone = kept.look_twice(kept.retention(page(tmp_path, said[INTAKE], said[SENDER])), places)
    assert state_of(kept.day.fold().core) == wanted
    newest = sorted(kept.day.folder.glob("intake-*.snapshot"))[-1]
    newest.write_bytes(b"damaged")
    assert state_of(kept.day.fold().core) == wanted
    for role in (INTAKE, SENDER):
        first = segments(kept.disk, role)[0]
        assert first.sequence - 1 <= said[role] or first.sequence == 1
        if (Position(0, 0)) < places[role] < END:
            assert JournalReader(kept.disk, role, places[role]).reaches()
        elif places[role] == Position(0, 0):
            assert not [name for name in gone if name.startswith(role)]


def test_with_everything_behind_it_the_beginning_goes(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 1)
    for _ in range(4):
        kept.day.go_on(60)
        kept.snapshot()
    before = {role: len(segments(kept.disk, role)) for role in (INTAKE, SENDER)}
    gone = kept.look_twice(kept.retention(page(tmp_path)), {INTAKE: END, SENDER: END})
    assert {name.split("-")[0] for name in gone} == {INTAKE, SENDER}
    assert {role: len(segments(kept.disk, role)) for role in before} == {
        role: count - sum(name.startswith(role) for name in gone) for role, count in before.items()
    }


@pytest.mark.parametrize("why", ["one look", "young", "no page", "database", "snapshot damaged", "one snapshot"])
def test_nothing_goes_while_anything_stands_against_it(tmp_path: Path, why: str) -> None:
    kept = Kept(tmp_path, 1)
    for _ in range(1 if why == "one snapshot" else 4):
        kept.day.go_on(40)
        kept.snapshot()
    if why == "snapshot damaged":
        sorted(kept.day.folder.glob("sender-*.snapshot"))[0].write_bytes(b"x")
    path = tmp_path / "nothing" if why == "no page" else page(tmp_path)
    retention = kept.retention(path, keep_days=2 if why == "young" else 0, settles=why != "database")
    committed, wall = {INTAKE: END, SENDER: END}, 2 * DAY_NS if why == "young" else 1 << 62
    if why == "one look":
        assert retention.look(committed, LOOK_NS, wall) == []
    else:
        assert kept.look_twice(retention, committed, wall) == []


def test_without_its_beginning_a_journal_is_not_folded_as_if_it_were_whole(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 1)
    for _ in range(4):
        kept.day.go_on(15)
        kept.snapshot()
    assert kept.look_twice(kept.retention(page(tmp_path)), {INTAKE: END, SENDER: END})
    for path in kept.day.folder.glob("*.snapshot"):
        path.unlink()
    with pytest.raises(JournalError, match=r"begins with record \d+ .* restore the journal folder"):
        kept.day.fold()


def test_the_sender_recovers_the_same_after_its_beginning_was_removed(tmp_path: Path) -> None:
    for seed in range(8):
        (tmp_path / str(seed)).mkdir()
        day = Day(tmp_path / str(seed), seed)
        for until in (15, 30, 45):
            day.write(until)
            day.snapshot()
            for role in (INTAKE, SENDER):  # the next segment
                day.writers[(INTAKE, SENDER).index(role)].close()
            day.writers = [day._writer(role) for role in (INTAKE, SENDER)]
        day.write(len(day.bench.journal))
        disk = OsDisk(day.folder)
        ((own, intakes), _) = snapshots.references(day.folder, SENDER)
        gone = removable(disk, SENDER, own, 1 << 40, 1 << 62) + removable(disk, INTAKE, intakes, 1 << 40, 1 << 62)
        for name in gone:
            disk.remove(name)
        assert gone
        assert day.fold().core.state() == day.bench.core.state()
        with pytest.raises(JournalError, match="begins with record"):
            SenderFold(day.bench.fresh(), disk, 7).run()


def test_needs_are_unknown_until_both_roles_have_two_snapshots(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 4)
    kept.day.go_on(10)
    kept.snapshot()
    assert recovery_needs(kept.day.folder) is None
    kept.day.go_on(10)
    kept.snapshot()
    needs = recovery_needs(kept.day.folder)
    assert needs is not None
    assert needs[INTAKE] == snapshots.oldest_position(kept.day.folder, INTAKE)
