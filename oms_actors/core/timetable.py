"""What to publish about trading hours at an instant, and when that changes next. Pure; the scheduler asks it.

Sessions that follow each other without a gap are published as one interval, so that nobody logs out in between; the
trade date changes all the same. A schedule without hours of its own is open for ever, with the calendar's trade dates.
"""

from __future__ import annotations

from datetime import date, timedelta

from oms_actors.core.hours import FOREVER_NS, SessionState
from oms_actors.core.schedule import ALWAYS_OPEN, NS_PER_S, Schedule, Session, SessionClock, merged_at

HORIZON_DAYS = 8
"""A schedule that does not close for so long counts as open for ever, until its close is nearer."""
DAY_NS = 86_400 * NS_PER_S


class Timetable:
    """A schedule as a series of SessionStates."""

    def __init__(self, schedule: Schedule) -> None:
        self._clock = SessionClock(schedule)
        self._forever = schedule.rules == ALWAYS_OPEN.rules and not (schedule.holidays or schedule.overrides)
        self._session: Session | None = None
        self._merged = (0, 0)

    def at(self, wall_ns: int) -> SessionState:
        """The state at `wall_ns` (UTC)."""
        session = self._clock.at(wall_ns)
        upcoming = self._clock.next_open(wall_ns)
        opens = (upcoming.open_ns, _number(upcoming.trade_date)) if upcoming else (0, 0)
        if session is None:
            return SessionState(0, 0, 0, 0, *opens)
        if self._forever:
            return SessionState(1, _number(session.trade_date), 0, FOREVER_NS, 0)
        if session != self._session:
            self._session = session
            self._merged = merged_at(self._clock.schedule, wall_ns, HORIZON_DAYS) or (0, 0)
            if self._merged[1] - wall_ns >= HORIZON_DAYS * DAY_NS:
                self._merged = (0, FOREVER_NS)
        return SessionState(1, _number(session.trade_date), *self._merged, *opens)

    def next_change_ns(self, wall_ns: int) -> int:
        """When (UTC ns) the state is another one; 0 where nothing is known to come."""
        session = self._clock.at(wall_ns)
        if session is not None:
            return session.close_ns
        upcoming = self._clock.next_open(wall_ns)
        return upcoming.open_ns if upcoming else 0


def years_around(today: date) -> range:
    """The years whose holidays may matter: last session's, next opening's."""
    return range((today - timedelta(days=7)).year, (today + timedelta(days=400)).year + 1)


def _number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day
