"""The scheduler's role under clocks that the test sets."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from ipc.mailbox import Mailbox
from ipc.wait import Bell
from oms_actors import instance
from oms_actors.actors.commands import SessionChanged, Stats, decode_mail
from oms_actors.actors.scheduler import SchedulerRole
from oms_actors.config import Config, HoursConfig, Resolved, SessionConfig
from oms_actors.edges.session_page import SessionView
from tests.intake.test_timetable import utc

SECOND = 1_000_000_000
OPENS, CLOSES = utc("2026-07-06T04:30"), utc("2026-07-06T07:30")


class Clocks:
    """Wall and monotonic clock."""

    def __init__(self, wall: int) -> None:
        self.wall, self.mono = wall, 1000 * SECOND

    def go(self, ns: int) -> None:
        self.wall += ns
        self.mono += ns


def scheduler(runtime: Path, clocks: Clocks, **session: object) -> SchedulerRole:
    """A started role over a desk with the classic hours."""
    hours = (HoursConfig(open="10:00", close="13:00"),)
    config = Config(session=SessionConfig(**{"zone": "Asia/Kolkata", "hours": hours, **session}))  # type: ignore[arg-type]
    instance.write_desk(Resolved(
        instance="default", runtime_dir=str(runtime), data_dir=str(runtime), config_dir=str(runtime), desk_id=1,
        config=config,
    ))  # fmt: skip
    context = SimpleNamespace(
        runtime=runtime, name="scheduler", log=logging.getLogger("scheduler"), path=lambda name: str(runtime / name)
    )
    role = SchedulerRole(context)  # type: ignore[arg-type]
    role.wall_ns, role.mono_ns = lambda: clocks.wall, lambda: clocks.mono
    role.start()
    return role


def test_open_and_close_are_published_at_their_instant(tmp_path: Path) -> None:
    clocks = Clocks(OPENS - 300_000_000)
    role, view = scheduler(tmp_path, clocks), SessionView(tmp_path / "session.page")
    assert view.read()[:] == (0, 0, 0, 0, OPENS, 20260706)
    assert role.next_due_ns() == clocks.mono + 300_000_000
    clocks.go(300_000_000)
    role.work()
    assert view.read()[:4] == (1, 20260706, OPENS, CLOSES)
    assert role.next_due_ns() == clocks.mono + SECOND
    clocks.go(CLOSES - OPENS)
    role.work()
    assert view.read().state == 0


def test_nothing_is_published_while_nothing_changes(tmp_path: Path) -> None:
    clocks = Clocks(OPENS)
    role = scheduler(tmp_path, clocks)
    version = role.page.page["version"]
    for _ in range(10):
        clocks.go(SECOND)
        role.work()
    assert role.page.page["version"] == version
    assert not role.ready()


@pytest.mark.parametrize("step_s", [-3600, 3600, 2])
def test_a_step_of_the_wall_clock_is_noticed_and_followed(
    tmp_path: Path, step_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    clocks = Clocks(CLOSES - 1800 * SECOND)
    role, view = scheduler(tmp_path, clocks), SessionView(tmp_path / "session.page")
    clocks.go(SECOND)
    role.work()
    assert role.page.page["clock_steps"] == 0
    clocks.wall += step_s * SECOND
    role.work()
    assert role.page.page["clock_steps"] == 1
    assert "wall clock was set" in caplog.text
    assert view.read().state == (0 if step_s == 3600 else 1)


def test_listeners_are_woken_and_told_once_per_change(tmp_path: Path) -> None:
    bells = {name: Bell.create(str(tmp_path / f"{name}.bell")) for name in ("intake", "sender")}
    mailbox = Mailbox.create(str(tmp_path / "intake.mail"), bells["intake"])  # the sender has none yet
    clocks = Clocks(OPENS - SECOND)
    role = scheduler(tmp_path, clocks)
    bells["sender"].flag[0] = 1
    clocks.go(SECOND)
    role.work()
    assert bells["sender"].flag[0] == 0
    assert [decode_mail(data).command for data in mailbox.get_many()] == [SessionChanged(), SessionChanged()]
    mailbox.close()


def test_a_restarted_scheduler_goes_on_with_the_page(tmp_path: Path) -> None:
    clocks = Clocks(OPENS)
    scheduler(tmp_path, clocks)
    view = SessionView(tmp_path / "session.page")
    assert view.read().state == 1
    clocks.go(CLOSES - OPENS)
    role = scheduler(tmp_path, clocks)
    assert view.read().state == 0
    counters = role.command(Stats())
    assert isinstance(counters, dict)
    assert counters["state"] == 0


def test_holidays_of_the_exchange_count(tmp_path: Path) -> None:
    clocks = Clocks(utc("2026-01-26T05:00"))  # Republic Day
    scheduler(tmp_path, clocks, holidays="XNSE")
    state = SessionView(tmp_path / "session.page").read()
    assert (state.state, state.next_open_ns) == (0, utc("2026-01-27T04:30"))
