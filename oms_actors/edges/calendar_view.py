"""What `oms calendar show` and `oms calendar explain` tell: rows of plain values, ready for a table or for JSON.

Instants are ISO 8601 texts, local ones with their offset; nothing here looks at a clock.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from oms_actors.core.schedule import (
    NS_PER_S,
    SEARCH_DAYS,
    YEARS,
    LocalTime,
    Schedule,
    Session,
    explain,
    local_date,
    local_time,
    next_open,
    session_at,
    utc_ns,
)
from oms_actors.errors import FieldError

Row = dict[str, Any]


def years_for(first: date, days: int = 1) -> range:
    """The years whose holidays matter to `days_of(schedule, first, days)` and to the next open after it."""
    last = first + timedelta(days + SEARCH_DAYS)
    return range((first - timedelta(1)).year, last.year + 1)


def days_of(schedule: Schedule, first: date, days: int = 14) -> list[Row]:
    """A row for each trade date from `first`: its sessions, which source decided them, what clock changes did."""
    return [_day(schedule, first + timedelta(n)) for n in range(days)]


def explain_time(schedule: Schedule, text: str, zone: str = "") -> Row:
    """What a date and time ("2026-03-08T02:30") means in `zone` ("": the schedule's), and what the desk does then.

    FieldError if the zone or the time cannot be read.
    """
    zone = zone or schedule.zone
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise FieldError("zone", zone, "must be an IANA time zone, such as America/New_York") from None
    read = _read(zone, text)
    instants = sorted({read.as_open_ns, read.as_close_ns})
    return {
        "time": f"{read.wall.isoformat()}",
        "zone": zone,
        "kind": read.kind,
        "as_open": _both(read.as_open_ns, zone),
        "as_close": _both(read.as_close_ns, zone),
        "meaning": _meaning(read, zone),
        "desk": [_at(schedule, instant_ns, zone) for instant_ns in instants],
    }


def _day(schedule: Schedule, day: date) -> Row:
    said = explain(schedule, day)
    return {
        "trade_date": day.isoformat(),
        "weekday": f"{day:%A}",
        "source": said.source,
        "reason": said.reason,
        "sessions": [_session(session, schedule.zone) for session in said.sessions],
        "notes": [_meaning(moved, schedule.zone) for moved in said.irregular],
    }


def _session(session: Session, zone: str) -> Row:
    return {
        "trade_date": session.trade_date.isoformat(),
        "open": _local(session.open_ns, zone),
        "close": _local(session.close_ns, zone),
        "open_utc": _local(session.open_ns, "UTC"),
        "close_utc": _local(session.close_ns, "UTC"),
    }


def _read(zone: str, text: str) -> LocalTime:
    try:
        asked = datetime.fromisoformat(text)
    except ValueError:
        raise FieldError("time", text, "must be a date and time such as 2026-03-08T02:30") from None
    if asked.year not in YEARS:
        raise FieldError("time", text, f"its year must be {YEARS[0]} to {YEARS[-1]}")
    if asked.tzinfo is None:
        return local_time(zone, asked)
    instant_ns = utc_ns(asked.astimezone(UTC))
    wall = asked.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return LocalTime(wall, "exact", instant_ns, instant_ns)


def _meaning(read: LocalTime, zone: str) -> str:
    """One sentence on a wall time and what daylight saving does to it."""
    opens, closes = _local(read.as_open_ns, zone), _local(read.as_close_ns, zone)
    if read.kind == "gap":
        return f"{read.wall} is skipped by the clocks of {zone}: open and close are at the next valid time, {opens}"
    if read.kind == "fold":
        return f"{read.wall} comes twice in {zone}: an open is at the first, {opens}, a close at the last, {closes}"
    return f"{read.wall} is {opens}"


def _at(schedule: Schedule, now_ns: int, zone: str) -> Row:
    """Open or closed at an instant, and why."""
    row: Row = {"at": _local(now_ns, zone)}
    session, upcoming = session_at(schedule, now_ns), next_open(schedule, now_ns)
    row["open"] = session is not None
    row["session"] = _session(session, schedule.zone) if session else None
    row["why"] = _why(schedule, session, now_ns)
    row["next_open"] = _local(upcoming.open_ns, schedule.zone) if upcoming else None
    return row


def _why(schedule: Schedule, session: Session | None, now_ns: int) -> str:
    day = session.trade_date if session else local_date(schedule.zone, now_ns)
    said = explain(schedule, day)
    because = said.reason if said.source in ("closed", "rule") else f"{said.source}: {said.reason}"
    if session or not said.sessions:
        return because
    return f"outside the sessions of {day} ({because})"


def _both(instant_ns: int, zone: str) -> Row:
    return {"local": _local(instant_ns, zone), "utc": _local(instant_ns, "UTC")}


def _local(instant_ns: int, zone: str) -> str:
    shown = datetime.fromtimestamp(instant_ns // NS_PER_S, ZoneInfo(zone)).isoformat()
    return shown.replace("+00:00", "Z") if zone == "UTC" else shown
