"""Trading hours: weekly rules, holidays and date overrides of one time zone, expanded to UTC intervals.

Theory of operation. For a trade date the most specific source wins: date override > holiday > weekly rules.
It gives pairs of wall-clock times (close <= open means the next day), and each pair becomes a half-open
interval `[open_ns, close_ns)` of UTC nanoseconds. Where daylight saving skips a wall time, the first valid
instant after the gap stands for it; where it repeats one, an open is its first instant and a close its
last. So no minute that anybody could read as inside the session is outside. Sessions never overlap: should
two claim the same minutes (a repeated hour between adjacent sessions, overlapping rules, which `check`
reports), the earlier one keeps them, and a session left empty does not exist.

The trade date is the date on which a session opens. `ALWAYS_OPEN` has one session per UTC date, each
opening at the instant the last one closes: the trade date rolls at midnight while `continues` tells that no
logout is due.

Pure: no clock in here. Callers look at the wall clock at every tick, and it may step either way:
`SessionClock` answers from the interval it is in, and computes anew when the clock is outside of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NS_PER_S = 1_000_000_000
YEARS = range(1970, 2201)
"""Years that may be named: what UTC ns in an int64 can hold, with room to look ahead."""
SEARCH_DAYS = 400
"""`next_open` looks this many days ahead: a schedule that is closed for longer is as good as closed."""

Source = Literal["override", "holiday", "rule", "closed"]
Hours = tuple[time, time]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class SessionRule:
    """A session on each of these weekdays (Monday = 0). `close <= open`: it ends on the next day."""

    days: frozenset[int]
    open: time
    close: time


@dataclass(frozen=True, slots=True)
class DateOverride:
    """What one date does instead of holiday and rules; no sessions: closed."""

    date: date
    sessions: tuple[Hours, ...]
    reason: str


@dataclass(frozen=True)
class Schedule:
    """Opening hours in the IANA zone `zone`; `holidays` maps closed dates to their names."""

    zone: str
    rules: tuple[SessionRule, ...]
    holidays: Mapping[date, str] = field(default_factory=lambda: MappingProxyType({}))
    overrides: Mapping[date, DateOverride] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Session:
    """`[open_ns, close_ns)` in UTC ns; `index` counts the sessions of the trade date from 0."""

    trade_date: date
    open_ns: int
    close_ns: int
    index: int


class Problem(NamedTuple):
    """What is wrong with a schedule: the field (as a path) and a sentence."""

    field: str
    problem: str


class LocalTime(NamedTuple):
    """What a wall-clock reading means: an ordinary instant, skipped ("gap") or repeated ("fold")."""

    wall: datetime
    kind: Literal["exact", "gap", "fold"]
    as_open_ns: int
    as_close_ns: int


class DayExplained(NamedTuple):
    """Why a trade date has the sessions it has; `irregular` are the wall times daylight saving moved."""

    trade_date: date
    source: Source
    reason: str
    sessions: tuple[Session, ...]
    irregular: tuple[LocalTime, ...]


EVERY_DAY = frozenset(range(7))
ALWAYS_OPEN = Schedule("UTC", (SessionRule(EVERY_DAY, time(0), time(0)),))


def sessions_of(schedule: Schedule, trade_date: date) -> tuple[Session, ...]:
    """The sessions of a trade date in order, disjoint also from those of the day before."""
    floor_ns = max((close for _, close in _claims(schedule, trade_date - _DAY)), default=0)
    sessions: list[Session] = []
    for open_ns, close_ns in sorted(_claims(schedule, trade_date)):
        open_ns = max(open_ns, floor_ns)
        if open_ns < close_ns:
            sessions.append(Session(trade_date, open_ns, close_ns, len(sessions)))
            floor_ns = close_ns
    return tuple(sessions)


def session_at(schedule: Schedule, now_ns: int) -> Session | None:
    """The session that contains `now_ns` (UTC), if any."""
    today = local_date(schedule.zone, now_ns)
    for trade_date in (today - _DAY, today, today + _DAY):
        for session in sessions_of(schedule, trade_date):
            if session.open_ns <= now_ns < session.close_ns:
                return session
    return None


def next_open(schedule: Schedule, now_ns: int) -> Session | None:
    """The first session that opens after `now_ns`, within `SEARCH_DAYS`."""
    today = local_date(schedule.zone, now_ns)
    for days in range(-1, SEARCH_DAYS + 1):
        for session in sessions_of(schedule, today + timedelta(days)):
            if session.open_ns > now_ns:
                return session
    return None


def continues(schedule: Schedule, session: Session) -> bool:
    """Does another session open at the very instant this one closes? Then a close is no reason to log out."""
    return session_at(schedule, session.close_ns) is not None


def merged_at(schedule: Schedule, now_ns: int, horizon_days: int = 8) -> tuple[int, int] | None:
    """`[open_ns, close_ns)` around `now_ns` with adjacent sessions joined, at most `horizon_days` each way.

    For a logon that stays up from session to session; the end of a schedule that never closes moves on.
    """
    session = session_at(schedule, now_ns)
    if session is None:
        return None
    open_ns, close_ns = session.open_ns, session.close_ns
    horizon_ns = horizon_days * 86_400 * NS_PER_S
    while close_ns - now_ns < horizon_ns and (later := session_at(schedule, close_ns)):
        close_ns = later.close_ns
    while now_ns - open_ns < horizon_ns and (earlier := session_at(schedule, open_ns - 1)):
        open_ns = earlier.open_ns
    return open_ns, close_ns


def explain(schedule: Schedule, trade_date: date) -> DayExplained:
    """Which source decided a trade date, and which of its wall times daylight saving moved."""
    source, reason, _ = _hours_of(schedule, trade_date)
    walls = [wall for pair in _walls_of(schedule, trade_date) for wall in pair]
    read = (local_time(schedule.zone, wall) for wall in walls)
    irregular = tuple(each for each in read if each.kind != "exact")
    return DayExplained(trade_date, source, reason, sessions_of(schedule, trade_date), irregular)


def check(schedule: Schedule) -> list[Problem]:
    """Everything that makes a schedule wrong or surprising; empty when it is fine."""
    try:
        ZoneInfo(schedule.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return [Problem("zone", f"{schedule.zone!r} is not an IANA time zone")]
    problems = [*_bad_rules(schedule), *_bad_overrides(schedule)]
    if not problems:
        problems = [*_overlaps(schedule)]
    if not any(rule.days for rule in schedule.rules) and not any(o.sessions for o in schedule.overrides.values()):
        problems.append(Problem("rules", "no rule and no override ever opens"))
    return problems


def local_time(zone: str, wall: datetime) -> LocalTime:
    """Read a naive wall-clock time in `zone` (fold and tzinfo of `wall` are ignored)."""
    wall = wall.replace(tzinfo=None, fold=0)
    rules = ZoneInfo(zone)
    local = wall.replace(tzinfo=rules)
    first, last = local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
    if first == last:
        return LocalTime(wall, "exact", utc_ns(first), utc_ns(first))
    if first < last:
        return LocalTime(wall, "fold", utc_ns(first), utc_ns(last))
    valid_ns = utc_ns(_end_of_gap(rules, last, first))
    return LocalTime(wall, "gap", valid_ns, valid_ns)


def local_date(zone: str, now_ns: int) -> date:
    """The calendar date in `zone` at a UTC instant."""
    return (_EPOCH + timedelta(seconds=now_ns // NS_PER_S)).astimezone(ZoneInfo(zone)).date()


def utc_ns(instant: datetime) -> int:
    """UTC nanoseconds of an aware datetime, exactly (microsecond steps, no float)."""
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000


def _hours_of(schedule: Schedule, trade_date: date) -> tuple[Source, str, tuple[Hours, ...]]:
    override = schedule.overrides.get(trade_date)
    if override is not None:
        return "override", override.reason, override.sessions
    holiday = schedule.holidays.get(trade_date)
    if holiday is not None:
        return "holiday", holiday, ()
    weekday = trade_date.weekday()
    hours = tuple((rule.open, rule.close) for rule in schedule.rules if weekday in rule.days)
    if hours:
        return "rule", f"weekly rule for {trade_date:%A}", hours
    return "closed", f"no weekly rule for {trade_date:%A}", ()


def _claims(schedule: Schedule, trade_date: date) -> list[tuple[int, int]]:
    """The intervals the hours of a date ask for, before overlaps are settled."""
    zone, walls = schedule.zone, _walls_of(schedule, trade_date)
    return [(local_time(zone, begin).as_open_ns, local_time(zone, end).as_close_ns) for begin, end in walls]


def _walls_of(schedule: Schedule, trade_date: date) -> list[tuple[datetime, datetime]]:
    return [_walls(trade_date, hours) for hours in _hours_of(schedule, trade_date)[2]]


def _walls(trade_date: date, hours: Hours) -> tuple[datetime, datetime]:
    opens, closes = hours
    close_date = trade_date + _DAY if closes <= opens else trade_date
    return datetime.combine(trade_date, opens), datetime.combine(close_date, closes)


def _bad_rules(schedule: Schedule) -> Iterator[Problem]:
    for i, rule in enumerate(schedule.rules):
        if not rule.days or not rule.days <= EVERY_DAY:
            days = sorted(rule.days)
            yield Problem(f"rules[{i}].days", f"must name at least one of 0 (Monday) to 6 (Sunday), not {days}")
        if rule.open.tzinfo or rule.close.tzinfo:
            yield Problem(f"rules[{i}]", "times are wall times of the schedule's zone, without a zone of their own")


def _bad_overrides(schedule: Schedule) -> Iterator[Problem]:
    for day, override in schedule.overrides.items():
        if override.date != day:
            yield Problem(f"overrides[{day}]", f"is an override of another date, {override.date}")
        if day.year not in YEARS:
            yield Problem(f"overrides[{day}]", f"its year must be {YEARS[0]} to {YEARS[-1]}")
        if any(edge.tzinfo for hours in override.sessions for edge in hours):
            yield Problem(f"overrides[{day}]", "times are wall times of the schedule's zone")


def _overlaps(schedule: Schedule) -> Iterator[Problem]:
    """In wall time, so that a repeated hour is no problem: a plain week, then around each override."""
    plain = Schedule(schedule.zone, schedule.rules)
    monday = date(2024, 1, 1)
    for days in range(7):
        yield from _overlaps_on(plain, monday + timedelta(days), "rules")
    for day in sorted(schedule.overrides):
        yield from _overlaps_on(schedule, day - _DAY, f"overrides[{day}]", day)
        yield from _overlaps_on(schedule, day, f"overrides[{day}]")


def _overlaps_on(schedule: Schedule, day: date, where: str, only: date | None = None) -> Iterator[Problem]:
    """Sessions of `day` that run into a later one of that day or of the next (`only` those that open then)."""
    walls = sorted(_walls_of(schedule, day)) + sorted(_walls_of(schedule, day + _DAY))
    for (begin, end), (then_begin, then_end) in pairwise(walls):
        relevant = begin.date() == day and (only is None or then_begin.date() == only)
        if relevant and then_begin < end:
            times = f"{begin:%a %H:%M}-{end:%a %H:%M} overlaps {then_begin:%a %H:%M}-{then_end:%a %H:%M}"
            yield Problem(where, times)


def _end_of_gap(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The transition in (before, after]: bisect to the second, the resolution of zone data."""
    old = before.astimezone(zone).utcoffset()
    low, high = before.replace(microsecond=0), after.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == old:
            low = middle
        else:
            high = middle
    return high


class SessionClock:
    """`session_at` for every tick: answers from the interval the last answer holds for. Not thread-safe."""

    __slots__ = ("_from_ns", "_session", "_until_ns", "_upcoming", "schedule")

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._session: Session | None = None
        self._upcoming: Session | None = None
        self._from_ns = self._until_ns = 0

    def at(self, now_ns: int) -> Session | None:
        """The session that contains `now_ns`; the clock may have stepped either way since the last call."""
        if not self._from_ns <= now_ns < self._until_ns:
            self._look_up(now_ns)
        return self._session

    def next_open(self, now_ns: int) -> Session | None:
        """The first session that opens after `now_ns`."""
        if not self._from_ns <= now_ns < self._until_ns:
            self._look_up(now_ns)
        return self._upcoming

    def _look_up(self, now_ns: int) -> None:
        self._session = session_at(self.schedule, now_ns)
        self._upcoming = next_open(self.schedule, now_ns)
        if self._session is not None:
            self._from_ns, self._until_ns = self._session.open_ns, self._session.close_ns
        else:
            self._from_ns = now_ns
            later = now_ns + 86_400 * NS_PER_S  # nothing within the horizon: look again a day later
            self._until_ns = self._upcoming.open_ns if self._upcoming else later
