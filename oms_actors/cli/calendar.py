"""`oms calendar show|explain`: what the trading hours mean."""

from __future__ import annotations

import os
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oms_actors.cli import options
from oms_actors.cli.output import console, emit, table, usage

if TYPE_CHECKING:
    from pathlib import Path

    from oms_actors.core.schedule import Schedule

group = typer.Typer(help="Trading hours: sessions, holidays, clock changes.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(group, name="calendar", rich_help_panel=options.SETUP)


@group.command()
def show(
    days: Annotated[int, typer.Option(min=1, max=1000, help="How many days.")] = 14,
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="First day (default: today).")] = "",
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Show the sessions of the coming days, and why they are as they are."""
    from oms_actors.edges.calendar_view import days_of, years_for

    begin = _date(first) if first else date.today()
    schedule = _schedule(config, instance, years_for(begin, days))
    rows = days_of(schedule, begin, days)
    if json:
        emit({"zone": schedule.zone, "days": rows})
    else:
        columns = ("date", "", f"sessions ({schedule.zone})", "UTC", "decided by", "")
        table("", columns, map(_cells, rows))


def _cells(row: dict[str, Any]) -> list[str]:
    sessions = row["sessions"]
    local = ", ".join(f"{each['open'][11:16]}-{each['close'][11:16]}" for each in sessions)
    utc = ", ".join(f"{each['open_utc'][11:16]}-{each['close_utc'][11:16]}" for each in sessions)
    why = "; ".join([row["reason"], *row["notes"]])
    return [row["trade_date"], row["weekday"][:3], local or "closed", utc, row["source"], why]


@group.command()
def explain(
    when: Annotated[str, typer.Argument(metavar="TIME", help="Date and time, such as 2026-03-08T02:30.")],
    zone: Annotated[str, typer.Option(help="Its time zone (default: the session's).")] = "",
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Say what a date and time means (skipped or repeated by a clock change?) and whether the desk is open then."""
    from oms_actors.edges.calendar_view import explain_time, years_for

    day = _date(when[:10])
    found = explain_time(_schedule(config, instance, years_for(day - timedelta(1), 3)), when, zone)
    if json:
        emit(found)
        return
    screen = console()
    screen.print(found["meaning"])
    for at in found["desk"]:
        state = "open" if at["open"] else "closed"
        after = "" if at["open"] else f"; next open {at['next_open'] or 'not known'}"
        screen.print(f"At {at['at']} the desk is {state}: {at['why']}{after}")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        usage(f"{text!r}: must be a date such as 2026-03-08")


def _schedule(config: Path | None, instance: str, years: range) -> Schedule:
    from oms_actors.edges import settings
    from oms_actors.edges.hours import schedule_of

    found, _ = settings.load(config, os.environ, instance)
    return schedule_of(found.session, years)
