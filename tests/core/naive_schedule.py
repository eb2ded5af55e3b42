"""Trading hours the slow way: ask of every minute what the wall clock shows. Shares nothing with the core.

A session begins at the first minute that shows its opening time and ends at the last minute that shows its closing
time; a time that is never shown is replaced by the first later one that is. Minutes count from 1970 in UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY_MINUTES = 1440


@dataclass(frozen=True)
class Hours:
    """The inputs as plain data: weekly rules (weekdays, open, close), closed dates, dates with their own hours."""

    zone: str
    rules: Sequence[tuple[frozenset[int], time, time]]
    holidays: frozenset[date] = frozenset()
    overrides: Mapping[date, Sequence[tuple[time, time]]] = field(default_factory=dict)

    def on(self, day: date) -> Sequence[tuple[time, time]]:
        if day in self.overrides:
            return self.overrides[day]
        if day in self.holidays:
            return []
        return [(opens, closes) for days, opens, closes in self.rules if day.weekday() in days]


class WallClock:
    """What the clock on the wall of a zone shows in each minute from `first` to `last` (dates, UTC).

    The zone is asked every quarter of an hour: offsets of our days change at no other minutes.
    """

    def __init__(self, zone: str, first: date, last: date) -> None:
        self.first, self.last = first, last
        self.begin, self.end = (minute_of(datetime.combine(day, time())) for day in (first, last))
        rules = ZoneInfo(zone)
        self.first_shown: dict[int, int] = {}
        self.shown_again: dict[int, int] = {}
        for quarter in range(self.begin, self.end, 15):
            shown = minute_of(datetime.fromtimestamp(quarter * 60, rules))
            table = self.shown_again if shown in self.first_shown else self.first_shown
            for minute in range(15):
                table[shown + minute] = quarter + minute

    def opening(self, wall: datetime) -> int:
        shown = minute_of(wall)
        while shown not in self.first_shown:
            shown += 1
        return self.first_shown[shown]

    def closing(self, wall: datetime) -> int:
        return self.shown_again.get(minute_of(wall)) or self.opening(wall)


def owners(hours: Hours, clock: WallClock) -> list[tuple[date, int] | None]:
    """Who is open in each minute of the clock: (trade date, how many-th session of it) or None."""
    owner: list[tuple[date, int] | None] = [None] * (clock.end - clock.begin)
    day = clock.first + timedelta(1)
    while day < clock.last - timedelta(2):
        claims = []
        for opens, closes in hours.on(day):
            close_day = day if closes > opens else day + timedelta(1)
            begin = clock.opening(datetime.combine(day, opens))
            claims.append((begin, clock.closing(datetime.combine(close_day, closes))))
        nth = 0
        for begin, end in sorted(claims):
            session = (day, nth)
            for minute in range(begin - clock.begin, end - clock.begin):
                if owner[minute] is None:
                    owner[minute] = session
                    nth = session[1] + 1
        day += timedelta(1)
    return owner


def next_opens(owner: list[tuple[date, int] | None]) -> list[tuple[date, int] | None]:
    """For each minute the first session that begins later."""
    upcoming: list[tuple[date, int] | None] = [None] * len(owner)
    for minute in range(len(owner) - 2, -1, -1):
        begins = owner[minute + 1] is not None and owner[minute + 1] != owner[minute]
        upcoming[minute] = owner[minute + 1] if begins else upcoming[minute + 1]
    return upcoming


def minute_of(shown: datetime) -> int:
    """A reading of a clock as a number, whatever its zone."""
    return int(shown.replace(tzinfo=UTC).timestamp()) // 60
