"""The scheduler: looks at the wall clock and publishes trading hours. It remembers nothing.

The page is the authority: whoever needs the hours reads it, and the interval in it is enough to stop at the close
without us. Bells and mails only say "look now"; where one cannot be delivered, the next look comes by itself.
"""

from __future__ import annotations

import time
from time import monotonic_ns
from typing import Any

import pykka

from ipc.errors import IpcError
from ipc.wait import Bell
from oms_actors import instance
from oms_actors.actors.commands import Reload, SessionChanged, Stats
from oms_actors.actors.remote import remote_ref
from oms_actors.actors.shell import Context, main
from oms_actors.config import SessionConfig
from oms_actors.core.hours import CLOSED, SessionState
from oms_actors.core.schedule import local_date
from oms_actors.core.timetable import Timetable, years_around
from oms_actors.edges.hours import schedule_of
from oms_actors.edges.session_page import SessionWriter

TICK_NS = 1_000_000_000
STEP_NS = 1_000_000_000
"""A wall clock that has moved by so much more or less than the monotonic one has been set."""
LISTENERS = ("intake", "sender")


class SchedulerRole:
    """Role of the scheduler process."""

    def __init__(self, context: Context) -> None:
        self.context, self.log = context, context.log
        self.wall_ns = time.time_ns
        self.mono_ns = monotonic_ns
        self._bells: dict[str, Bell] = {}
        self._refs = {role: remote_ref(context.runtime, role) for role in LISTENERS}
        self._published: SessionState | None = None
        self._due_ns = 0

    def start(self) -> None:
        """Publishes the hours for the first time."""
        self.session: SessionConfig = instance.read_desk(self.context.runtime).config.session
        self.page = SessionWriter(self.context.runtime / instance.SESSION_PAGE)
        now, wall = self.mono_ns(), self.wall_ns()
        self._drift_ns = wall - now
        self._load(wall)
        self._look(now, wall)

    def _load(self, wall: int) -> None:
        """The schedule, with the holidays of the years around today."""
        self._today = local_date(self.session.zone, wall)
        self._timetable = Timetable(schedule_of(self.session, years_around(self._today)))

    def ready(self) -> bool:
        """Time is the only input."""
        return False

    def next_due_ns(self) -> int:
        """The next tick, or the next change if that is before it."""
        return self._due_ns

    def work(self) -> bool:
        """One look at the clocks."""
        now, wall = self.mono_ns(), self.wall_ns()
        self._notice_step(now, wall)
        if local_date(self.session.zone, wall) != self._today:
            self._load(wall)
        self._look(now, wall)
        return False

    def _notice_step(self, now: int, wall: int) -> None:
        drift = wall - now
        if abs(drift - self._drift_ns) > STEP_NS:
            self.log.warning("the wall clock was set by %+.3f s", (drift - self._drift_ns) / 1e9)
            self.page.page["clock_steps"] += 1
        self._drift_ns = drift

    def _look(self, now: int, wall: int) -> None:
        state = self._timetable.at(wall)
        if state != self._published:
            self._publish(state, now)
        left = self._timetable.next_change_ns(wall) - wall
        self._due_ns = now + (min(TICK_NS, left) if left > 0 else TICK_NS)

    def _publish(self, state: SessionState, now: int) -> None:
        self.page.publish(state, now)
        was, self._published = self._published or CLOSED, state
        self.log.info("trading hours: %s", _words(state) if state != was else "unchanged")
        for role in LISTENERS:
            self._announce(role)

    def _announce(self, role: str) -> None:
        """Wakes a listener; that it cannot be reached is no failure."""
        try:
            self._bell(role).ring()
            self._refs[role].tell(SessionChanged())
        except (IpcError, pykka.ActorDeadError) as error:
            self.log.info("%s will see it later: %s", role, error)

    def _bell(self, role: str) -> Bell:
        bell = self._bells.get(role)
        if bell is None:
            bell = self._bells[role] = Bell.attach(self.context.path(f"{role}.bell"))
        return bell

    def command(self, message: Any) -> object:
        """Stats, and Reload: the configuration as it is now."""
        if isinstance(message, Reload):
            self.session = instance.read_desk(self.context.runtime).config.session
            self._load(self.wall_ns())
            self._due_ns = self.mono_ns()
        return self.page.page.counters() if isinstance(message, Stats) else None

    def stop(self) -> None:
        """The page stays as it is: whoever reads it stops at the close by itself."""
        self.page.close()


def _words(state: SessionState) -> str:
    def at(ns: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // 1_000_000_000))

    if state.is_open_at(state.open_ns):
        until = "" if state.open_ns == 0 else f" from {at(state.open_ns)} until {at(state.close_ns)}"
        return f"open{until}, trade date {state.trade_date}"
    return f"closed until {at(state.next_open_ns)}" if state.next_open_ns else "closed, no opening known"


def run() -> None:
    """Entry of `python -m oms_actors.actors.scheduler`."""
    main("scheduler", SchedulerRole)


if __name__ == "__main__":
    run()
