"""Holidays by exchange code, hours from the configuration, and what `oms calendar` tells about them."""

import json
from datetime import date

import pytest

from oms_actors.config import HoursConfig, OverrideConfig, SessionConfig
from oms_actors.core.schedule import ALWAYS_OPEN, explain, sessions_of
from oms_actors.edges.calendar import holidays_of, known_exchanges
from oms_actors.edges.calendar_view import days_of, explain_time, years_for
from oms_actors.edges.hours import schedule_of
from oms_actors.errors import ConfigError, FieldError

INDIA = SessionConfig(
    zone="Asia/Kolkata",
    hours=(HoursConfig(open="09:15", close="15:30"),),
    holidays="XNSE",
    overrides=(OverrideConfig(date="2026-11-08", sessions=(("18:00", "19:00"),), reason="Muhurat trading"),),
)
NIGHT = SessionConfig(zone="America/New_York", hours=(HoursConfig(days=("sat",), open="20:00", close="02:30"),))


@pytest.mark.parametrize(
    ("exchange", "closed", "trades"),
    [
        ("XNSE", ["2026-01-26", "2025-10-02", "2025-08-15"], ["2026-07-03", "2026-05-25"]),
        ("XBOM", ["2026-01-26", "2024-11-01"], ["2026-07-03"]),
        ("XNYS", ["2026-07-03", "2025-01-09", "2026-11-26", "2025-06-19"], ["2026-01-26", "2026-12-28"]),
        ("XLON", ["2026-04-06", "2026-12-28", "2025-08-25"], ["2026-07-03", "2026-01-26"]),
    ],
)
def test_well_known_dates_of_an_exchange(exchange, closed, trades):
    """From the exchanges' published calendars (2025-01-09: the day of mourning for Jimmy Carter)."""
    holidays = holidays_of(exchange, range(2024, 2027))
    assert all(date.fromisoformat(day) in holidays for day in closed)
    assert not any(date.fromisoformat(day) in holidays for day in trades)
    assert list(holidays) == sorted(holidays)
    assert all(holidays.values())


def test_an_unknown_exchange_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"XXXX.*XNSE"):
        holidays_of("XXXX", [2026])
    assert {"XNSE", "XBOM", "XNYS", "XLON"} <= set(known_exchanges())


def test_a_configuration_s_hours_holidays_and_overrides_make_one_schedule():
    schedule = schedule_of(INDIA, [2026])
    told = [explain(schedule, date(2026, *day)) for day in ((1, 26), (1, 27), (11, 8), (11, 1))]
    assert [(said.source, len(said.sessions)) for said in told] == [
        ("holiday", 0),
        ("rule", 1),
        ("override", 1),
        ("closed", 0),
    ]


def test_without_hours_the_desk_is_always_open():
    assert schedule_of(SessionConfig(), [2026]).rules == ALWAYS_OPEN.rules
    assert len(sessions_of(schedule_of(SessionConfig()), date(2026, 1, 1))) == 1


def test_everything_that_is_wrong_with_hours_is_reported_at_once():
    wrong = SessionConfig(
        hours=(
            HoursConfig(open="9h", close="15:30"),
            HoursConfig(days=("mon", "someday"), open="09:00", close="10:00"),
        ),
        overrides=(OverrideConfig(date="2026-02-30"),),
    )
    with pytest.raises(ConfigError) as refused:
        schedule_of(wrong)
    text = "\n".join(refused.value.problems)
    assert len(refused.value.problems) == 3
    for named in ("hours[0].open", "someday", "2026-02-30"):
        assert named in text


def test_a_wrong_zone_and_an_unknown_exchange_are_problems():
    with pytest.raises(ConfigError, match="IANA time zone"):
        schedule_of(SessionConfig(zone="Mars/Olympus"))
    with pytest.raises(ConfigError, match="XXXX"):
        schedule_of(SessionConfig(holidays="XXXX"), [2026])


def test_the_calendar_shows_each_date_its_sessions_and_why():
    first = date(2026, 11, 6)
    rows = days_of(schedule_of(INDIA, years_for(first, 5)), first, 5)
    assert [(row["trade_date"], row["weekday"], row["source"], row["reason"]) for row in rows] == [
        ("2026-11-06", "Friday", "rule", "weekly rule for Friday"),
        ("2026-11-07", "Saturday", "closed", "no weekly rule for Saturday"),
        ("2026-11-08", "Sunday", "override", "Muhurat trading"),
        ("2026-11-09", "Monday", "rule", "weekly rule for Monday"),
        ("2026-11-10", "Tuesday", "holiday", "Diwali Balipratipada"),
    ]
    (special,) = rows[2]["sessions"]
    assert special == {
        "trade_date": "2026-11-08",
        "open": "2026-11-08T18:00:00+05:30",
        "close": "2026-11-08T19:00:00+05:30",
        "open_utc": "2026-11-08T12:30:00Z",
        "close_utc": "2026-11-08T13:30:00Z",
    }
    assert json.loads(json.dumps(rows)) == rows


def test_the_calendar_tells_what_a_clock_change_did_to_a_session():
    rows = days_of(schedule_of(NIGHT), date(2026, 3, 7), 1)
    (session,) = rows[0]["sessions"]
    assert session["close"] == "2026-03-08T03:00:00-04:00"
    (note,) = rows[0]["notes"]
    assert note == (
        "2026-03-08 02:30:00 is skipped by the clocks of America/New_York: "
        "open and close are at the next valid time, 2026-03-08T03:00:00-04:00"
    )


@pytest.mark.parametrize(
    ("text", "kind", "as_open", "as_close"),
    [
        ("2026-03-08T02:30", "gap", "2026-03-08T07:00:00Z", "2026-03-08T07:00:00Z"),
        ("2026-11-01T01:30", "fold", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"),
        ("2026-07-01 09:30", "exact", "2026-07-01T13:30:00Z", "2026-07-01T13:30:00Z"),
        ("2026-11-01T06:30Z", "exact", "2026-11-01T06:30:00Z", "2026-11-01T06:30:00Z"),
        ("2026-07-01", "exact", "2026-07-01T04:00:00Z", "2026-07-01T04:00:00Z"),
    ],
)
def test_a_time_is_explained_as_an_opening_and_as_a_closing(text, kind, as_open, as_close):
    said = explain_time(ALWAYS_OPEN, text, "America/New_York")
    assert (said["kind"], said["as_open"]["utc"], said["as_close"]["utc"]) == (kind, as_open, as_close)
    assert len(said["desk"]) == (2 if kind == "fold" else 1)
    assert all(at["open"] for at in said["desk"])
    assert json.loads(json.dumps(said)) == said


@pytest.mark.parametrize(
    ("text", "is_open", "why", "next_open"),
    [
        ("2026-11-06T10:00", True, "weekly rule for Friday", "2026-11-08T18:00:00+05:30"),
        ("2026-11-06T15:30", False, "outside the sessions of 2026-11-06 (weekly rule", "2026-11-08T18:00:00+05:30"),
        ("2026-11-07T10:00", False, "no weekly rule for Saturday", "2026-11-08T18:00:00+05:30"),
        ("2026-11-08T10:00", False, "(override: Muhurat trading)", "2026-11-08T18:00:00+05:30"),
        ("2026-11-10T10:00", False, "holiday: Diwali Balipratipada", "2026-11-11T09:15:00+05:30"),
    ],
)
def test_a_time_is_explained_with_what_the_desk_does_then(text, is_open, why, next_open):
    (at,) = explain_time(schedule_of(INDIA, [2026]), text)["desk"]
    assert at["open"] is is_open
    assert why in at["why"]
    assert at["next_open"] == next_open
    assert (at["session"] is not None) is is_open


@pytest.mark.parametrize(
    ("text", "zone", "field"),
    [
        ("half past two", "", "time"),
        ("2026-03-08", "Mars", "zone"),
        ("0001-01-01T00:00", "", "time"),
        ("9999-12-31T23:59", "", "time"),
    ],
)
def test_what_cannot_be_read_is_named(text, zone, field):
    with pytest.raises(FieldError) as refused:
        explain_time(ALWAYS_OPEN, text, zone)
    assert refused.value.field == field
