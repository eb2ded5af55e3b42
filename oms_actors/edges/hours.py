"""`[session]` as text becomes a `core.schedule.Schedule`; everything wrong with it is found at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, time
from typing import NamedTuple

from oms_actors.config import HoursConfig, SessionConfig
from oms_actors.core import schedule as core
from oms_actors.errors import ConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class HoursProblem(NamedTuple):
    """Which key of `[session]` is wrong, its value, and what to write instead."""

    key: str
    value: object
    fix: str


def schedule_of(session: SessionConfig, years: Iterable[int] = ()) -> core.Schedule:
    """The trading hours; `years` are those whose holidays are looked up. ConfigError carries every problem."""
    problems: list[HoursProblem] = []
    schedule = read(session, problems)
    problems += check(session, schedule) if not problems else []
    if problems:
        raise ConfigError([f"session.{key} = {value!r}: {fix}" for key, value, fix in problems])
    if not session.holidays or not (wanted := list(years)):
        return schedule
    from oms_actors.edges.calendar import holidays_of

    return core.Schedule(schedule.zone, schedule.rules, holidays_of(session.holidays, wanted), schedule.overrides)


def read(session: SessionConfig, problems: list[HoursProblem]) -> core.Schedule:
    """The schedule without holidays; appends what cannot be read. Without hours it is always open (in its zone)."""
    rules = [rule for at, hours in enumerate(session.hours) if (rule := _rule(at, hours, problems))]
    overrides: dict[date, core.DateOverride] = {}
    for at, override in enumerate(session.overrides):
        key = f"overrides[{at}]"
        day = _date(f"{key}.date", override.date, problems)
        sessions = tuple(_pair(f"{key}.sessions[{n}]", *pair, problems) for n, pair in enumerate(override.sessions))
        if day is None:
            continue
        if day in overrides:
            problems.append(HoursProblem(f"{key}.date", override.date, "is there twice: put its sessions into one"))
        overrides[day] = core.DateOverride(day, sessions, override.reason or "override")
    always = core.ALWAYS_OPEN.rules
    return core.Schedule(session.zone, tuple(rules) if session.hours else always, overrides=overrides)


def check(session: SessionConfig, schedule: core.Schedule) -> Iterator[HoursProblem]:
    """What is wrong with hours that could be read: zone, overlaps, holidays of an unknown exchange."""
    for field, problem in core.check(schedule):
        if field == "zone":
            yield HoursProblem("zone", session.zone, 'must be an IANA time zone, such as "Asia/Kolkata" or "UTC"')
        else:
            yield HoursProblem("overrides" if field.startswith("overrides") else "hours", field, problem)
    if session.holidays:
        yield from _unknown_exchange(session.holidays)


def _unknown_exchange(code: str) -> Iterator[HoursProblem]:
    from oms_actors.edges.calendar import known_exchanges

    known = known_exchanges()
    if code not in known:
        yield HoursProblem("holidays", code, f"is no known exchange code: use one of {', '.join(known)}")


def _rule(at: int, hours: HoursConfig, problems: list[HoursProblem]) -> core.SessionRule | None:
    key = f"hours[{at}]"
    wrong = [day for day in hours.days if day.lower()[:3] not in DAYS]
    if wrong or not hours.days:
        problems.append(HoursProblem(f"{key}.days", list(hours.days), f"must be some of {', '.join(DAYS)}"))
    opens, closes = _pair(key, hours.open, hours.close, problems)
    if wrong or not hours.days:
        return None
    return core.SessionRule(frozenset(DAYS.index(day.lower()[:3]) for day in hours.days), opens, closes)


def _pair(key: str, opens: str, closes: str, problems: list[HoursProblem]) -> core.Hours:
    """`close` may say "24:00", as people write the end of a day."""
    return _time(f"{key}.open", opens, problems), _time(f"{key}.close", closes.replace("24:00", "00:00"), problems)


def _time(key: str, text: str, problems: list[HoursProblem]) -> time:
    try:
        value = time.fromisoformat(text)
        if ":" in text and value.tzinfo is None:
            return value
    except ValueError:
        pass
    problems.append(HoursProblem(key, text, 'must be a wall time "HH:MM" or "HH:MM:SS"'))
    return time(0)


def _date(key: str, text: str, problems: list[HoursProblem]) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        problems.append(HoursProblem(key, text, 'must be a date "YYYY-MM-DD"'))
        return None
