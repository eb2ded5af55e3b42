"""Trading hours, rule by rule; the clock changes are written out from the zones' published dates."""

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest

from oms_actors.core.schedule import (
    ALWAYS_OPEN,
    DateOverride,
    Schedule,
    SessionClock,
    SessionRule,
    check,
    continues,
    explain,
    local_date,
    local_time,
    merged_at,
    next_open,
    session_at,
    sessions_of,
    utc_ns,
)

SECOND = 1_000_000_000
EVERY_DAY = frozenset(range(7))
WEEKDAYS = frozenset(range(5))
NEW_YORK, LONDON, KOLKATA = "America/New_York", "Europe/London", "Asia/Kolkata"
LORD_HOWE, CASABLANCA = "Australia/Lord_Howe", "Africa/Casablanca"


def ns(text: str) -> int:
    """'2026-03-08 07:00' UTC as ns."""
    return utc_ns(datetime.fromisoformat(text).replace(tzinfo=UTC))


def text(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // SECOND, UTC):%Y-%m-%d %H:%M}"


def one_rule(zone: str, opens: time, closes: time, days: frozenset[int] = EVERY_DAY, **more) -> Schedule:
    return Schedule(zone, (SessionRule(days, opens, closes),), **more)


def hours_utc(schedule: Schedule, trade_date: date) -> list[tuple[str, str]]:
    return [(text(session.open_ns), text(session.close_ns)) for session in sessions_of(schedule, trade_date)]


@pytest.mark.parametrize(
    ("zone", "wall", "kind", "as_open", "as_close"),
    [
        (NEW_YORK, "2026-03-08 01:59", "exact", "2026-03-08 06:59", "2026-03-08 06:59"),
        (NEW_YORK, "2026-03-08 02:00", "gap", "2026-03-08 07:00", "2026-03-08 07:00"),
        (NEW_YORK, "2026-03-08 02:30", "gap", "2026-03-08 07:00", "2026-03-08 07:00"),
        (NEW_YORK, "2026-03-08 03:00", "exact", "2026-03-08 07:00", "2026-03-08 07:00"),
        (NEW_YORK, "2026-11-01 00:59", "exact", "2026-11-01 04:59", "2026-11-01 04:59"),
        (NEW_YORK, "2026-11-01 01:00", "fold", "2026-11-01 05:00", "2026-11-01 06:00"),
        (NEW_YORK, "2026-11-01 01:30", "fold", "2026-11-01 05:30", "2026-11-01 06:30"),
        (NEW_YORK, "2026-11-01 02:00", "exact", "2026-11-01 07:00", "2026-11-01 07:00"),
        (LONDON, "2026-03-29 01:30", "gap", "2026-03-29 01:00", "2026-03-29 01:00"),
        (LONDON, "2026-10-25 01:30", "fold", "2026-10-25 00:30", "2026-10-25 01:30"),
        (KOLKATA, "2026-03-08 02:30", "exact", "2026-03-07 21:00", "2026-03-07 21:00"),
        (LORD_HOWE, "2026-10-04 02:15", "gap", "2026-10-03 15:30", "2026-10-03 15:30"),
        (LORD_HOWE, "2026-10-04 02:30", "exact", "2026-10-03 15:30", "2026-10-03 15:30"),
        (LORD_HOWE, "2026-04-05 01:45", "fold", "2026-04-04 14:45", "2026-04-04 15:15"),
        (CASABLANCA, "2026-02-15 02:30", "fold", "2026-02-15 01:30", "2026-02-15 02:30"),
        (CASABLANCA, "2026-03-22 02:30", "gap", "2026-03-22 02:00", "2026-03-22 02:00"),
        ("Pacific/Apia", "2011-12-30 10:00", "gap", "2011-12-30 10:00", "2011-12-30 10:00"),  # a date left out
    ],
)
def test_a_wall_time_that_clocks_skip_or_repeat_is_read_by_rule(zone, wall, kind, as_open, as_close):
    read = local_time(zone, datetime.fromisoformat(wall))
    assert (read.kind, text(read.as_open_ns), text(read.as_close_ns)) == (kind, as_open, as_close)


@pytest.mark.parametrize(
    ("opens", "closes", "trade_date", "expected"),
    [
        # 2026-03-08 02:00 EST becomes 03:00 EDT (07:00 UTC)
        (time(2, 30), time(9), date(2026, 3, 8), [("2026-03-08 07:00", "2026-03-08 13:00")]),
        (time(0), time(2, 30), date(2026, 3, 8), [("2026-03-08 05:00", "2026-03-08 07:00")]),
        (time(2), time(3), date(2026, 3, 8), []),
        (time(22), time(2, 30), date(2026, 3, 7), [("2026-03-08 03:00", "2026-03-08 07:00")]),
        # 2026-11-01 02:00 EDT becomes 01:00 EST (06:00 UTC)
        (time(1, 30), time(9), date(2026, 11, 1), [("2026-11-01 05:30", "2026-11-01 14:00")]),
        (time(0), time(1, 30), date(2026, 11, 1), [("2026-11-01 04:00", "2026-11-01 06:30")]),
        (time(1, 15), time(1, 45), date(2026, 11, 1), [("2026-11-01 05:15", "2026-11-01 06:45")]),
        (time(22), time(1, 30), date(2026, 10, 31), [("2026-11-01 02:00", "2026-11-01 06:30")]),
    ],
)
def test_a_session_that_meets_a_clock_change_in_new_york(opens, closes, trade_date, expected):
    assert hours_utc(one_rule(NEW_YORK, opens, closes), trade_date) == expected


def test_adjacent_sessions_in_a_repeated_hour_do_not_overlap():
    rules = (SessionRule(EVERY_DAY, time(0), time(1, 30)), SessionRule(EVERY_DAY, time(1, 30), time(3)))
    schedule = Schedule(NEW_YORK, rules)
    assert hours_utc(schedule, date(2026, 11, 1)) == [
        ("2026-11-01 04:00", "2026-11-01 06:30"),
        ("2026-11-01 06:30", "2026-11-01 08:00"),
    ]


def test_a_session_that_opens_before_the_date_comes_back_is_found():
    """St. John's, 2010: 00:01 became 23:01 of the day before."""
    schedule = one_rule("America/St_Johns", time(0), time(9), frozenset({6}))
    now_ns = ns("2010-11-07 02:45")
    assert local_date(schedule.zone, now_ns) == date(2010, 11, 6)
    session = session_at(schedule, now_ns)
    assert session is not None
    assert session.trade_date == date(2010, 11, 7)
    assert text(session.open_ns) == "2010-11-07 02:30"


def test_the_classic_session_is_half_open():
    schedule = one_rule(KOLKATA, time(10), time(13), WEEKDAYS)
    opens, closes = ns("2026-01-05 04:30"), ns("2026-01-05 07:30")
    assert session_at(schedule, opens - 1) is None
    assert session_at(schedule, opens) == session_at(schedule, closes - 1) == sessions_of(schedule, date(2026, 1, 5))[0]
    assert session_at(schedule, closes) is None


def test_seconds_in_hours_are_exact():
    schedule = one_rule("UTC", time(9, 15, 30), time(9, 15, 31))
    (session,) = sessions_of(schedule, date(2026, 1, 5))
    assert session.close_ns - session.open_ns == SECOND


def test_an_overnight_session_belongs_to_the_date_on_which_it_opens():
    schedule = one_rule(NEW_YORK, time(18), time(17), frozenset({6, 0, 1, 2, 3}))
    session = session_at(schedule, ns("2026-01-05 15:00"))  # Monday 10:00 in New York
    assert session is not None
    assert session.trade_date == date(2026, 1, 4)
    assert session_at(schedule, ns("2026-01-05 22:30")) is None  # the hour's break


def test_the_most_specific_source_wins_and_says_so():
    day = date(2026, 11, 8)  # a Sunday: Diwali's evening session on a holiday that no rule covers either
    special = DateOverride(day, ((time(18), time(19)),), "Muhurat trading")
    rules = (SessionRule(WEEKDAYS, time(9, 15), time(15, 30)),)
    friday, saturday = date(2026, 11, 6), date(2026, 11, 7)
    schedule = Schedule(KOLKATA, rules, {day: "Diwali", date(2026, 11, 10): "Diwali-Balipratipada"}, {day: special})
    told = {each: explain(schedule, each) for each in (friday, saturday, day, date(2026, 11, 10))}
    assert [(said.source, said.reason, len(said.sessions)) for said in told.values()] == [
        ("rule", "weekly rule for Friday", 1),
        ("closed", "no weekly rule for Saturday", 0),
        ("override", "Muhurat trading", 1),
        ("holiday", "Diwali-Balipratipada", 0),
    ]


def test_an_override_without_sessions_closes_a_date_and_a_half_day_shortens_it():
    overrides = {
        date(2026, 11, 26): DateOverride(date(2026, 11, 26), (), "storm"),
        date(2026, 11, 27): DateOverride(date(2026, 11, 27), ((time(9, 30), time(13)),), "half day"),
    }
    schedule = one_rule(NEW_YORK, time(9, 30), time(16), WEEKDAYS, overrides=overrides)
    assert hours_utc(schedule, date(2026, 11, 26)) == []
    assert hours_utc(schedule, date(2026, 11, 27)) == [("2026-11-27 14:30", "2026-11-27 18:00")]


def test_explain_names_the_wall_times_that_clocks_moved():
    said = explain(one_rule(NEW_YORK, time(2, 30), time(9)), date(2026, 3, 8))
    (moved,) = said.irregular
    assert (moved.wall, moved.kind) == (datetime(2026, 3, 8, 2, 30), "gap")


def test_always_open_has_no_gap_and_rolls_its_trade_date_at_midnight():
    midnight = ns("2026-01-06 00:00")
    before, after = session_at(ALWAYS_OPEN, midnight - 1), session_at(ALWAYS_OPEN, midnight)
    assert before is not None
    assert after is not None
    assert (before.trade_date, after.trade_date) == (date(2026, 1, 5), date(2026, 1, 6))
    assert before.close_ns == after.open_ns == midnight
    assert continues(ALWAYS_OPEN, before)
    week = 7 * 86_400 * SECOND
    merged = merged_at(ALWAYS_OPEN, midnight)
    assert merged is not None
    assert merged[0] < midnight - week
    assert merged[1] > midnight + week


def test_adjacent_sessions_are_merged_and_a_break_ends_them():
    rules = (
        SessionRule(EVERY_DAY, time(9), time(12)),
        SessionRule(EVERY_DAY, time(12), time(15)),
        SessionRule(EVERY_DAY, time(16), time(18)),
    )
    schedule = Schedule("UTC", rules)
    merged = merged_at(schedule, ns("2026-01-05 13:00"))
    assert merged == (ns("2026-01-05 09:00"), ns("2026-01-05 15:00"))
    assert merged_at(schedule, ns("2026-01-05 15:30")) is None
    first, second, third = sessions_of(schedule, date(2026, 1, 5))
    assert [continues(schedule, session) for session in (first, second, third)] == [True, False, False]


def test_the_next_open_is_found_across_a_long_break_and_never_beyond_the_horizon():
    christmas = {date(2026, 12, day): "break" for day in range(1, 32)}
    schedule = one_rule("UTC", time(9), time(10), WEEKDAYS, holidays=christmas)
    upcoming = next_open(schedule, ns("2026-11-30 12:00"))
    assert upcoming is not None
    assert upcoming.trade_date == date(2027, 1, 1)
    never = Schedule("UTC", (), overrides={date(2026, 1, 5): DateOverride(date(2026, 1, 5), (), "")})
    assert next_open(never, ns("2026-01-05 00:00")) is None
    assert SessionClock(never).next_open(ns("2026-01-05 00:00")) is None


def test_a_session_clock_follows_a_clock_that_steps_either_way():
    clock = SessionClock(one_rule("UTC", time(9), time(10)))
    inside, closed = ns("2026-01-05 09:30"), ns("2026-01-05 12:00")
    for now_ns in (inside, closed, inside, inside + 86_400 * SECOND, closed, inside - 10 * 86_400 * SECOND):
        session = clock.at(now_ns)
        assert (session is not None) == ((now_ns // SECOND) % 86_400 // 3_600 == 9)
        upcoming = clock.next_open(now_ns)
        assert upcoming is not None
        assert now_ns < upcoming.open_ns <= now_ns + 86_400 * SECOND


RULE = SessionRule(EVERY_DAY, time(9), time(17))


@pytest.mark.parametrize(
    ("schedule", "field", "problem"),
    [
        (Schedule("Mars/Olympus", (RULE,)), "zone", "'Mars/Olympus' is not an IANA time zone"),
        (Schedule("../etc/passwd", (RULE,)), "zone", "not an IANA time zone"),
        (Schedule("", (RULE,)), "zone", "not an IANA time zone"),
        (Schedule("UTC", ()), "rules", "no rule and no override ever opens"),
        (Schedule("UTC", (SessionRule(frozenset(), time(9), time(17)),)), "rules[0].days", "must name at least one"),
        (Schedule("UTC", (SessionRule(frozenset({7}), time(9), time(17)),)), "rules[0].days", "not [7]"),
        (Schedule("UTC", (SessionRule(EVERY_DAY, time(9, tzinfo=UTC), time(17)),)), "rules[0]", "without a zone"),
        (Schedule("UTC", (RULE, SessionRule(EVERY_DAY, time(16), time(18)))), "rules", "overlaps Mon 16:00-Mon 18:00"),
        (Schedule("UTC", (RULE, SessionRule(frozenset({0}), time(22), time(10)))), "rules", "overlaps Tue 09:00"),
        (
            Schedule("UTC", (RULE,), overrides={date(2026, 1, 5): DateOverride(date(2026, 1, 6), (), "")}),
            "overrides[2026-01-05]",
            "another date, 2026-01-06",
        ),
        (
            Schedule("UTC", (RULE,), overrides={date(1, 1, 1): DateOverride(date(1, 1, 1), (), "")}),
            "overrides[0001-01-01]",
            "year must be 1970 to 2200",
        ),
        (
            Schedule(
                "UTC",
                (RULE,),
                overrides={date(2026, 1, 5): DateOverride(date(2026, 1, 5), ((time(10), time(9, 30)),), "a long day")},
            ),
            "overrides[2026-01-05]",
            "overlaps Tue 09:00",
        ),
    ],
)
def test_what_is_wrong_with_a_schedule_is_named(schedule, field, problem):
    found = check(schedule)
    assert any(said.field == field and problem in said.problem for said in found), found


@pytest.mark.parametrize(
    "schedule",
    [
        ALWAYS_OPEN,
        Schedule("UTC", (RULE, SessionRule(EVERY_DAY, time(17), time(9)))),
        Schedule("UTC", (), overrides={date(2026, 1, 5): DateOverride(date(2026, 1, 5), ((time(9), time(10)),), "")}),
    ],
)
def test_a_sound_schedule_has_no_problems(schedule):
    assert check(schedule) == []


def test_utc_ns_is_exact():
    assert utc_ns(datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=UTC)) == 9_223_372_036_854_775_000
    assert utc_ns(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1_000
    assert utc_ns(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0
