"""`oms run`, `oms stop`, `oms status`: the desk as a whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oms_actors.cli import options
from oms_actors.cli.output import FAILED, FINE, USAGE, Failed, cell, console, emit, note, size, table

if TYPE_CHECKING:
    from supervisor.notes import Note


CRASH_LINES_SHOWN = 3


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(rich_help_panel=options.DESK)(run)
    app.command(rich_help_panel=options.DESK)(stop)
    app.command(rich_help_panel=options.DESK)(status)


def run(
    config: options.ConfigFile = None, instance: options.Instance = options.DEFAULT, json: options.Json = False
) -> None:
    """Run the desk until Ctrl-C or `oms stop`.

    Exit codes: 0 after an orderly stop; 1 it gave up restarting a process, could not start, or was killed by a second
    Ctrl-C; 2 the configuration is wrong, or the desk already runs.
    """
    from oms_actors import app
    from oms_actors.edges import settings

    found, _ = settings.load(config, os.environ, instance)
    resolved = app.resolve(found, instance, str(settings.config_dir(config, os.environ)))
    note(f"desk {instance!r}: data in {resolved.data_dir}; end it with Ctrl-C or `oms stop --instance {instance}`")
    last: list[Note] = []

    def tell(what: Note) -> None:
        last[:] = [what]
        print_note(what)

    code = exit_code(app.run(resolved, tell))
    if json:
        emit({"instance": instance, "exit_code": code, "reason": last[0].text if last else ""})
    raise typer.Exit(code)


def exit_code(supervisors: int) -> int:
    """The supervisor's own exit code as one of ours. That the desk already runs is a matter of how it was called."""
    from supervisor.supervisor import EXIT_BAD_SPEC, EXIT_LOCKED, EXIT_OK

    return {EXIT_OK: FINE, EXIT_BAD_SPEC: USAGE, EXIT_LOCKED: USAGE}.get(supervisors, FAILED)


def print_note(what: Note) -> None:
    """A line on stderr."""
    from datetime import datetime

    clock = datetime.fromtimestamp(what.at_ns / 1e9).strftime("%H:%M:%S.%f")[:-3]
    note(f"{clock}  {what.child or 'desk':<12} {what.what}{f': {what.text}' if what.text else ''}")


def stop(
    timeout: Annotated[float, typer.Option(help="Seconds to wait until everything is gone.")] = 60.0,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Stop a running desk in order, and see it gone."""
    from oms_actors.instance import runtime_dir
    from supervisor.control import Stopped
    from supervisor.control import stop as stop_supervisor

    outcome = stop_supervisor(runtime_dir(instance), timeout)
    if outcome is Stopped.NOT_RUNNING:
        raise Failed(f"no desk runs as {instance!r}: there is nothing to stop")
    if outcome is Stopped.STILL_RUNNING:
        raise Failed(f"desk {instance!r} still runs after {timeout:g} s: look at `oms status`, or call this again")
    if json:
        emit({"instance": instance, "stopped": True})
    else:
        note(f"desk {instance!r} is stopped")


def status(instance: options.Instance = options.DEFAULT, json: options.Json = False) -> None:
    """Show processes, session, throttle, queue, rings, counters, latencies and alarms, even if an actor hangs."""
    from oms_actors.status import snapshot

    found = snapshot(instance)
    if json:
        emit(found)
    else:
        _show(found)
    raise typer.Exit(FAILED if found["state"] == "ended" else 0)


def _until(ms: float) -> str:
    """When the next token frees, as people say it."""
    if not ms:
        return ""
    return f", next token in {ms:,.1f} ms" if ms < 10_000 else f", next token in {ms / 1000:,.0f} s"


def _show(found: dict[str, Any]) -> None:
    session, throttle, queue = found["session"], found["throttle"], found["queue"]
    screen = console()
    pid, up = found["pid"], f"{found['up_s']:,.0f} s"
    screen.print(f"[bold]Desk {found['instance']}[/bold] is {found['state']} (pid {pid}, up {up})")
    if "sender" in found["counters"]:  # an exchange alone has none of it
        change = f", until {session['next_change']}" if session["next_change"] else ""
        date = f" for {session['trade_date']}" if session["trade_date"] else ""
        screen.print(f"Session {session['state']}{date}{change}; exchange connection {session['link']}")
        window = f"{throttle['rate']:,} per {throttle['per_ms']:,} ms" if "per_ms" in throttle else throttle["rate"]
        kept = f" ({throttle['reserve_cancels']:,} kept for cancels)" if throttle.get("reserve_cancels") else ""
        screen.print(f"Throttle {throttle['used']:,} of {window} used{kept}{_until(throttle['next_free_ms'])}")
        for each in throttle["limits"]:
            whose = f"{each['scope']} {each['name']}".strip()
            window = f"{each['rate']:,} per {each['per_ms']:,} ms"
            screen.print(f"  {whose}: {each['used']:,} of {window} used{_until(each['next_free_ms'])}")
        screen.print(f"Queue {queue['depth']:,} of {queue['capacity']:,} waiting")
    for alarm in found["alarms"]:
        screen.print(f"[bold red]! {alarm}[/bold red]")
    columns = ("process", "pid", "state", "restarts", "heartbeat ms", "memory", "last exit")
    table("", columns, (
        (each["name"], str(each["pid"] or "-"), each["state"], each["restarts"], each["heartbeat_age_ms"],
         size(each["rss_bytes"]), each["last_exit"]) for each in found["processes"]
    ), right=columns[1:2] + columns[3:6])  # fmt: skip
    table("", ("ring", "depth", "capacity", "put"), (
        (each["name"], size(each["depth"]), size(each["capacity"]), size(each["put"])) for each in found["rings"]
    ), right=("depth", "capacity", "put"))  # fmt: skip
    _show_counters(found)
    for crash in found["crashes"]:
        screen.print(f"crash of {crash['role']} at {crash['time']}, exit code {crash['exit_code']}: {crash['reason']}")
        for line in crash["log"][-CRASH_LINES_SHOWN:]:
            screen.print(f"    {line.splitlines()[0] if line else ''}", style="dim", markup=False, highlight=False)


def _show_counters(found: dict[str, Any]) -> None:
    for role, counters in found["counters"].items():
        shown = {name: value for name, value in counters.items() if not name.endswith("_ns") and "limit_" not in name}
        words = [f"{name} {cell(value)}" for name, value in shown.items() if value]
        console().print(f"[bold]{role}[/bold]  {', '.join(words) or 'nothing yet'}")
    table("", ("latency", "count", "p50 µs", "p99 µs", "p99.9 µs", "max µs"), (
        (name, each["count"], each["p50_us"], each["p99_us"], each["p999_us"], each["max_us"])
        for name, each in found["latencies"].items()
    ), right=("count", "p50 µs", "p99 µs", "p99.9 µs", "max µs"))  # fmt: skip
