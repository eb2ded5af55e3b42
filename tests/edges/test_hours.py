"""`[session]` as a schedule."""

from __future__ import annotations

from datetime import date, time

import pytest

from oms_actors.config import HoursConfig, OverrideConfig, SessionConfig
from oms_actors.core.schedule import EVERY_DAY, SessionRule, sessions_of
from oms_actors.edges.hours import schedule_of
from oms_actors.errors import ConfigError


def test_without_hours_the_desk_is_always_open() -> None:
    assert schedule_of(SessionConfig()).rules == (SessionRule(EVERY_DAY, time(0), time(0)),)


def test_days_may_be_written_out_and_in_any_case() -> None:
    session = SessionConfig(hours=(HoursConfig(days=("Monday", "FRI"), open="10:00", close="13:00:30"),))
    assert schedule_of(session).rules == (SessionRule(frozenset({0, 4}), time(10), time(13, 0, 30)),)


def test_a_day_ends_at_24_00() -> None:
    session = SessionConfig(hours=(HoursConfig(open="22:00", close="24:00"),))
    (opened,) = sessions_of(schedule_of(session), date(2026, 11, 20))
    assert opened.close_ns - opened.open_ns == 2 * 3600 * 10**9


def test_holidays_are_those_of_the_years_asked_for_and_overrides_win() -> None:
    session = SessionConfig(
        zone="Asia/Kolkata", holidays="XNSE", hours=(HoursConfig(open="10:00", close="13:00"),),
        overrides=(
            OverrideConfig(date="2026-01-26", sessions=(("18:00", "19:00"),)), OverrideConfig(date="2026-01-27"),
        ),
    )  # fmt: skip
    schedule = schedule_of(session, (2026,))
    assert len(sessions_of(schedule, date(2026, 1, 26))) == 1
    assert sessions_of(schedule, date(2026, 1, 27)) == ()
    assert sessions_of(schedule, date(2026, 8, 15)) == ()
    assert schedule_of(session).holidays == {}


def test_everything_wrong_is_said_at_once() -> None:
    session = SessionConfig(
        hours=(HoursConfig(days=("someday",), open="9", close="13:00"),),
        overrides=tuple(OverrideConfig(date=day) for day in ("2026-02-30", "2026-01-01", "2026-01-01")),
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        schedule_of(session)
    keys = [problem.split(" = ")[0] for problem in caught.value.problems]
    assert keys == ["session.hours[0].days", "session.hours[0].open", "session.overrides[0].date",
                    "session.overrides[2].date"]  # fmt: skip
