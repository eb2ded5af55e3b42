"""Trading hours against a model that looks at the wall clock in every minute (naive_schedule)."""

from datetime import date, time, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oms_actors.core.schedule import DateOverride, Schedule, SessionClock, SessionRule, next_open, session_at
from tests.core import naive_schedule as naive
from tests.core.naive_schedule import Hours, WallClock

MINUTE_NS = 60_000_000_000
WEEKDAYS = frozenset(range(5))
EVERY_DAY = frozenset(range(7))


def schedule_of(hours: Hours) -> Schedule:
    return Schedule(
        hours.zone,
        tuple(SessionRule(days, opens, closes) for days, opens, closes in hours.rules),
        dict.fromkeys(hours.holidays, "holiday"),
        {day: DateOverride(day, tuple(sessions), "override") for day, sessions in hours.overrides.items()},
    )


@cache
def wall_clock(zone: str, first: date, last: date) -> WallClock:
    return WallClock(zone, first, last)


def differences(hours: Hours, clock: WallClock, step: int = 1) -> list[str]:
    """Every minute (but the edges) in which the core and the model do not agree on who is open and who is next.

    The model knows nothing of the clock's first date, whose sessions may hide some of the second one's from it, which
    in turn may last until the end of the third.
    """
    owner = naive.owners(hours, clock)
    upcoming = naive.next_opens(owner)
    core = SessionClock(schedule_of(hours))
    found = []
    for at in range(4 * naive.DAY_MINUTES, len(owner) - 12 * naive.DAY_MINUTES, step):
        now_ns = (clock.begin + at) * MINUTE_NS
        session, later = core.at(now_ns), core.next_open(now_ns)
        said = session and (session.trade_date, session.index)
        next_said = later and (later.trade_date, later.index)
        if said != owner[at] or next_said != upcoming[at]:
            found.append(f"minute {clock.begin + at}: {said} then {next_said}, not {owner[at]} then {upcoming[at]}")
    return found


YEARS = {
    # A day with a lunch break and a night session over the weekend that both clock changes fall into.
    "America/New_York": Hours(
        "America/New_York",
        [
            (WEEKDAYS, time(9, 30), time(12)),
            (WEEKDAYS, time(13), time(16)),
            (frozenset({4, 5}), time(20), time(5)),
            (frozenset({6}), time(1, 30), time(2, 30)),
        ],
        frozenset({date(2024, 7, 4), date(2024, 12, 25), date(2025, 1, 1)}),
        {date(2024, 11, 29): [(time(9, 30), time(13))], date(2025, 3, 9): [(time(2), time(2, 45)), (time(6), time(7))]},
    ),
    # Round the clock but for one hour, and a date that is closed in its middle.
    "Europe/London": Hours(
        "Europe/London",
        [(EVERY_DAY, time(1, 30), time(0, 30))],
        frozenset({date(2024, 12, 25)}),
        {date(2024, 3, 31): [(time(0, 15), time(1, 15)), (time(1, 45), time(3))], date(2024, 6, 3): []},
    ),
    "Asia/Kolkata": Hours(
        "Asia/Kolkata",
        [(WEEKDAYS, time(9), time(9, 8)), (WEEKDAYS, time(9, 15), time(15, 30))],
        frozenset({date(2024, 1, 26), date(2024, 11, 1)}),
        {date(2024, 11, 1): [(time(18), time(19))], date(2024, 5, 18): [(time(9, 15), time(10)), (time(11), time(12))]},
    ),
    # Half-hour changes at 02:00 on Sundays: sessions that begin and end inside the gap and the fold.
    "Australia/Lord_Howe": Hours(
        "Australia/Lord_Howe",
        [
            (EVERY_DAY, time(1, 40), time(2, 10)),
            (EVERY_DAY, time(2, 10), time(2, 40)),
            (EVERY_DAY, time(22), time(1, 45)),
        ],
    ),
    # Clocks go back for Ramadan and forth after it.
    "Africa/Casablanca": Hours(
        "Africa/Casablanca",
        [(EVERY_DAY, time(2, 30), time(2, 59)), (EVERY_DAY, time(9), time(15, 30)), (EVERY_DAY, time(23), time(2, 15))],
        frozenset({date(2024, 3, 10)}),
    ),
}


@pytest.mark.parametrize("zone", YEARS)
def test_two_years_minute_by_minute(zone):
    """Offset changes of 2024 and 2025 are all inside."""
    assert differences(YEARS[zone], wall_clock(zone, date(2023, 12, 25), date(2026, 1, 15))) == []


CHANGES = {
    "America/New_York": [date(2026, 3, 8), date(2026, 11, 1)],
    "Europe/London": [date(2027, 3, 28), date(2027, 10, 31)],
    "Asia/Kolkata": [date(2026, 6, 1)],
    "Australia/Lord_Howe": [date(2026, 4, 5), date(2026, 10, 4)],
    "Africa/Casablanca": [date(2026, 2, 15), date(2026, 3, 22)],
    "Asia/Beirut": [date(2026, 3, 29), date(2026, 10, 25)],  # at midnight: a date begins late, a date begins twice
}


@st.composite
def hours_around_a_change(draw) -> tuple[Hours, WallClock]:
    """Random hours (overlaps included) whose times crowd around those at which clocks change."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = draw(st.sampled_from(CHANGES[zone]))
    early = st.builds(time, st.integers(0, 3), st.sampled_from([0, 1, 15, 29, 30, 31, 45, 59]))
    times = st.one_of(early, early, st.builds(time, st.integers(0, 23), st.integers(0, 59)))
    pairs = st.tuples(times, times)
    days = st.frozensets(st.integers(0, 6), min_size=1)
    dates = st.integers(-3, 3).map(lambda n: change + timedelta(n))
    hours = Hours(
        zone,
        [(on, *pair) for on, pair in draw(st.lists(st.tuples(days, pairs), min_size=1, max_size=4))],
        draw(st.frozensets(dates, max_size=2)),
        draw(st.dictionaries(dates, st.lists(pairs, max_size=3), max_size=3)),
    )
    return hours, wall_clock(zone, change - timedelta(7), change + timedelta(17))


@settings(max_examples=100, deadline=None)
@given(hours_around_a_change())
def test_any_hours_around_a_clock_change_minute_by_minute(drawn):
    hours, clock = drawn
    assert differences(hours, clock) == []


@settings(max_examples=100, deadline=None)
@given(hours_around_a_change(), st.data())
def test_a_session_clock_that_steps_anywhere_answers_as_if_asked_for_the_first_time(drawn, data):
    hours, clock = drawn
    schedule = schedule_of(hours)
    core = SessionClock(schedule)
    instants = st.integers(clock.begin * MINUTE_NS, clock.end * MINUTE_NS)
    for now_ns in data.draw(st.lists(instants, min_size=1, max_size=10)):
        assert core.next_open(now_ns) == next_open(schedule, now_ns)
        assert core.at(now_ns) == session_at(schedule, now_ns)
