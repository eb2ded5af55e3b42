"""What is published about trading hours, and when it changes next."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from oms_actors.core.hours import FOREVER_NS, SessionState
from oms_actors.core.schedule import ALWAYS_OPEN, EVERY_DAY, Schedule, SessionRule, utc_ns
from oms_actors.core.timetable import Timetable, years_around

WEEKDAYS = frozenset(range(5))
INDIA = Schedule("Asia/Kolkata", (SessionRule(WEEKDAYS, time(10), time(13)),))


def utc(text: str) -> int:
    return utc_ns(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_the_classic_hours_of_india_in_utc() -> None:
    table = Timetable(INDIA)
    opens, closes = utc("2026-07-06T04:30"), utc("2026-07-06T07:30")
    tomorrow = utc("2026-07-07T04:30")
    assert table.at(opens - 1) == SessionState(0, 0, 0, 0, opens, 20260706)
    assert table.next_change_ns(opens - 1) == opens
    assert table.at(opens) == table.at(closes - 1) == SessionState(1, 20260706, opens, closes, tomorrow, 20260707)
    assert table.next_change_ns(opens) == closes
    assert table.at(closes) == SessionState(0, 0, 0, 0, tomorrow, 20260707)


def test_the_date_changes_when_its_last_session_closes() -> None:
    table = Timetable(Schedule("UTC", (
        SessionRule(WEEKDAYS, time(8), time(12)), SessionRule(WEEKDAYS, time(13), time(16)),
    )))  # fmt: skip
    dates = [(at, table.at(utc(at)).date) for at in (
        "2026-07-10T11:59", "2026-07-10T12:00", "2026-07-10T13:00", "2026-07-10T15:59", "2026-07-10T16:00",
        "2026-07-12T23:00", "2026-07-13T08:00",
    )]  # fmt: skip
    assert [date for _, date in dates] == [20260710] * 4 + [20260713] * 3, dates


def test_the_clock_may_step_back() -> None:
    table = Timetable(INDIA)
    opens = utc("2026-07-06T04:30")
    assert table.at(opens).state == 1
    assert table.at(opens - 1).state == 0
    assert table.at(opens).state == 1


def test_without_hours_it_is_open_for_ever_and_the_trade_date_follows_the_calendar() -> None:
    table = Timetable(ALWAYS_OPEN)
    noon = utc("2026-07-06T12:00")
    assert table.at(noon) == SessionState(1, 20260706, 0, FOREVER_NS, 0)
    midnight = utc("2026-07-07T00:00")
    assert table.next_change_ns(noon) == midnight
    assert table.at(midnight) == SessionState(1, 20260707, 0, FOREVER_NS, 0)


def test_sessions_without_a_gap_are_one_interval() -> None:
    table = Timetable(Schedule("UTC", (
        SessionRule(WEEKDAYS, time(8), time(12)), SessionRule(WEEKDAYS, time(12), time(16)),
    )))  # fmt: skip
    interval = (utc("2026-07-06T08:00"), utc("2026-07-06T16:00"))
    assert table.at(utc("2026-07-06T09:00"))[2:4] == interval
    assert table.at(utc("2026-07-06T13:00"))[2:4] == interval


def test_a_week_without_a_close_is_for_ever_until_the_close_comes_near() -> None:
    holiday = date(2026, 7, 20)
    table = Timetable(Schedule("UTC", (SessionRule(EVERY_DAY, time(0), time(0)),), {holiday: "closed"}))
    assert table.at(utc("2026-07-06T12:00"))[:4] == (1, 20260706, 0, FOREVER_NS)
    assert table.at(utc("2026-07-07T12:00"))[:4] == (1, 20260707, 0, FOREVER_NS)
    assert table.at(utc("2026-07-15T12:00")).close_ns == utc("2026-07-20T00:00")
    assert table.at(utc("2026-07-20T12:00")) == SessionState(0, 0, 0, 0, utc("2026-07-21T00:00"), 20260721)


def test_a_schedule_that_never_opens_says_so() -> None:
    table = Timetable(Schedule("UTC", ()))
    assert table.at(utc("2026-07-06T12:00")) == SessionState(0, 0, 0, 0, 0)
    assert table.next_change_ns(utc("2026-07-06T12:00")) == 0


def test_holidays_are_looked_up_for_as_far_as_an_opening_is_searched() -> None:
    assert list(years_around(date(2026, 7, 6))) == [2026, 2027]
    assert list(years_around(date(2026, 1, 3))) == [2025, 2026, 2027]
