"""Intake dies at every step it makes, one after the other, and comes back: nothing is lost, nothing comes twice.

Each shared effect (journal, rings, the words in an upstream's file) is a step, with a death just before and just after.
One run counts the steps, then there is one run for each.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from ipc.ring import RingReader, RingWriter
from oms_actors import CancelOrder, ReportFlag
from oms_actors.edges import journals
from oms_actors.edges.journal import JournalCorrupt, JournalWriter, SenderAhead
from oms_actors.edges.upstream_link import Link
from oms_actors.messages import ExecType, Report
from oms_actors.record import records
from tests.intake.desk import Desk
from tests.intake.makers import new

NAMES = ("a", "b")
ROUNDS = 3


class Killed(BaseException):
    """Intake is dead."""


class Reaper:
    """Kills before or after the n-th effect of intake (`at` counts both)."""

    def __init__(self, at: int) -> None:
        self.at, self.steps, self.armed = at, 0, False

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        for owner, name in (
            (JournalWriter, "append"), (JournalWriter, "sync"), (RingWriter, "try_put"), (RingReader, "commit"),
            (Link, "_note"), (Link, "begin"),
        ):  # fmt: skip
            patch.setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **keywords: Any) -> Any:
            self._step()
            result = method(*args, **keywords)
            self._step()
            return result

        return wrapped

    def _step(self) -> None:
        if self.armed:
            self.steps += 1
            if self.steps == self.at:
                raise Killed


class Run:
    """Two upstreams, a few rounds, one death."""

    def __init__(self, desk: Desk, reaper: Reaper) -> None:
        self.desk, self.reaper = desk, reaper
        self.told: dict[str, list[Report]] = {name: [] for name in NAMES}

    def work(self) -> None:
        """A cycle of intake, alive or not."""
        self.reaper.armed = True
        try:
            self.desk.intake.work()
        except Killed:
            self.reaper.armed = False
            self.desk.kill()
        self.reaper.armed = False

    def play(self) -> None:
        for round_ in range(ROUNDS):
            for name in NAMES:
                oms = self.desk.upstream(name)
                oms.submit_many([new(f"{name}{round_}1"), new(f"{name}{round_}2", price=None)])
                oms.submit(CancelOrder(client_order_id=f"C-{name}{round_}", orig_client_order_id=f"A-{name}{round_}1"))
            for _ in range(3):
                self.work()
                self.desk.sender.work()
            self.read()
        self.desk.settle()
        self.read()

    def read(self) -> None:
        for name in NAMES:
            self.told[name] += self.desk.upstream(name).reports()

    def check(self) -> None:
        seen = [record[96:132].rstrip(b"\0").decode() for record in self.desk.sender.seen]
        admitted = [
            name for u in NAMES for r in range(ROUNDS) for name in (f"A-{u}{r}1", f"C-{u}{r}")
        ]  # fmt: skip
        assert sorted(seen) == sorted(admitted)
        for name, told in self.told.items():
            story: dict[str, list[str]] = {}
            for report in told:
                story.setdefault(report.client_order_id, []).append(report.exec_type.name)
            for r in range(ROUNDS):
                assert story.pop(f"A-{name}{r}1") == ["PENDING_NEW", "NEW"]
                assert story.pop(f"C-{name}{r}") == ["PENDING_CANCEL", "NEW"]
                assert story.pop(f"A-{name}{r}2") == ["REJECTED"]
            assert story == {}
            for origin in (ReportFlag.FROM_SENDER, ReportFlag(0)):
                sequences = [r.sequence for r in told if r.flags & ReportFlag.FROM_SENDER == origin]
                assert sequences == sorted(set(sequences))
            assert all(r.text for r in told if r.flags & ReportFlag.HAS_TEXT)


def play(desk: Desk, at: int) -> int:
    """One run with a death at step `at` (0 = none); returns how many steps there were."""
    reaper = Reaper(at)
    run = Run(desk, reaper)
    with pytest.MonkeyPatch.context() as patch:
        reaper.watch(patch)
        run.play()
    run.check()
    return reaper.steps


def test_without_a_death_all_is_well(desk: Desk) -> None:
    assert play(desk, 0) > 50


def test_a_death_at_any_step_loses_nothing_and_repeats_nothing(make_desk: Callable[..., Desk]) -> None:
    for at in count(1):
        desk = make_desk()
        steps = play(desk, at)
        desk.remove()
        if steps < at:
            break
    assert at > 50


@pytest.mark.parametrize("report_bytes", [4 << 10, 8 << 10])
def test_deaths_while_an_upstream_lags_lose_nothing(make_desk: Callable[..., Desk], report_bytes: int) -> None:
    desk = make_desk(upstream_report_bytes=report_bytes)
    oms, told = desk.upstream("slow"), []
    with pytest.MonkeyPatch.context() as patch:
        reaper = Reaper(0)
        reaper.watch(patch)
        run = Run(desk, reaper)
        for round_ in range(30):
            oms.submit_many([new(f"{round_}-{n}") for n in range(10)], timeout=0.0)
            for step in range(6):
                reaper.steps, reaper.at = 0, 1 + (7 * round_ + 5 * step) % 23
                run.work()
                desk.sender.work()
            told += list(oms.reports()) if round_ % 3 else []
            for _ in range(40):
                desk.intake._tick_ns = 0
                desk.step()
                told += list(oms.reports()) if round_ % 3 else []
    for _ in range(100):
        desk.intake._tick_ns = 0
        desk.step()
        told += list(oms.reports())
    ids = [f"A-{r}-{n}" for r in range(30) for n in range(10)]
    assert [r.client_order_id for r in told if r.exec_type == ExecType.PENDING_NEW] == ids
    assert [r.client_order_id for r in told if r.exec_type == ExecType.NEW] == ids
    assert all(r.text for r in told if r.flags & ReportFlag.HAS_TEXT)


def test_an_upstream_whose_file_is_gone_is_told_what_it_had_not_taken(desk: Desk) -> None:
    oms = desk.upstream("u")
    oms.submit_many([new(1), new(2)])
    desk.settle()
    assert len(list(oms.reports())) == 4
    desk.intake.stop()  # notes the progress
    desk.intake.journal._file._fd = -1  # it is closed
    desk.kill()
    desk.settle()
    oms.submit(new(3))
    desk.settle()
    desk.kill()  # as after a reboot: shared memory is gone, the journals are there
    oms.close()
    (desk.runtime / "upstreams" / "u.up").unlink()
    del desk.upstreams["u"]
    desk.settle()
    oms = desk.upstream("u")
    desk.settle()
    assert [(r.client_order_id, r.exec_type.name) for r in oms.reports()] == [("A-3", "PENDING_NEW"), ("A-3", "NEW")]
    oms.submit(new(3))
    oms.submit(new(4))
    desk.settle()
    assert [(r.client_order_id, r.exec_type.name) for r in oms.reports()] == [
        ("A-3", "REJECTED"), ("A-4", "PENDING_NEW"), ("A-4", "NEW"),
    ]  # fmt: skip


def test_intake_keeps_the_numbers_of_its_upstreams(desk: Desk) -> None:
    for name in ("x", "y", "z"):
        desk.upstream(name).submit(new(name))
    desk.settle()
    before = {link.name: number for number, link in desk.intake.upstreams.links.items()}
    desk.kill()
    desk.settle()
    assert {link.name: number for number, link in desk.intake.upstreams.links.items()} == before
    notes = [r for frame in desk.all_frames() for r in records(frame.payload) if r[0] == 70]
    assert len(notes) == 3


def test_intake_refuses_to_go_on_from_less_than_the_sender_has_consumed(desk: Desk) -> None:
    """As after its journal was restored from an old copy: the next requests would get numbers that are taken."""
    desk.upstream("u").submit(new(1))
    desk.settle()
    folder = journals.folder(desk.resolved)
    old = {path: path.read_bytes() for path in folder.glob("intake-*.journal")}
    desk.upstream("u").submit(new(2))
    desk.settle()
    desk.kill()
    for path, data in old.items():
        path.write_bytes(data)
    (folder / "intake.mark").unlink()
    with pytest.raises(SenderAhead, match=r"SENDER_AHEAD: .* Restore the files of intake's journal"):
        desk.intake.work()


def test_a_journal_whose_files_are_gone_is_not_begun_anew_in_silence(desk: Desk) -> None:
    desk.upstream("u").submit(new(1))
    desk.settle()
    desk.kill()
    for path in journals.folder(desk.resolved).glob("intake-*.journal"):
        path.unlink()
    with pytest.raises(JournalCorrupt, match=r"got as far as record \d+, but no file of its journal is there"):
        desk.intake.work()
