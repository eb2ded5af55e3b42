"""`oms kill`, `oms resume`: the kill switch. `oms upstream …`: who sends orders."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from oms_actors.cli import options
from oms_actors.cli.output import Failed, emit, note, size, table, usage
from oms_actors.cli.places import data_dir

if TYPE_CHECKING:
    from oms_actors.edges.kill_switch import KillState

group = typer.Typer(help="Upstreams: who sends orders.", no_args_is_help=True)

Account = Annotated[str | None, typer.Option("--account", "-a", help="Only this account.")]
Symbol = Annotated[str | None, typer.Option("--symbol", "-s", help="Only this symbol.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(rich_help_panel=options.CONTROL)(kill)
    app.command(rich_help_panel=options.CONTROL)(resume)
    app.command(rich_help_panel=options.CONTROL)(reload)
    app.add_typer(group, name="upstream", rich_help_panel=options.CONTROL)


def kill(
    account: Account = None,
    symbol: Symbol = None,
    cancel_working: Annotated[
        bool, typer.Option("--cancel-working", help="Also cancel our orders that are at the exchange.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Stop sending orders at once: all of them, or those of an account or symbol. It holds until `oms resume`.

    It is a file that the sender looks at before every call: it works while other processes hang or are dead, and it
    survives a restart.
    """
    from oms_actors.edges.kill_switch import Kill, KillSwitch

    flag = Kill(*_scope(account, symbol), _user(), time.time_ns(), reason)
    state = KillSwitch(data_dir(config, instance)).kill(flag, cancel_working)
    again = f" --account {account}" if account else f" --symbol {symbol}" if symbol else ""
    _tell(state, f"killed {flag.scope}; `oms resume{again}` lets it go on", json)


def resume(
    account: Account = None,
    symbol: Symbol = None,
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Let orders go again: for an account or symbol, or (neither named) for everything that was stopped."""
    from oms_actors.edges.kill_switch import Kill, KillSwitch

    switch, wanted = KillSwitch(data_dir(config, instance)), Kill(*_scope(account, symbol))
    stopped = switch.read().kills
    if (account or symbol) and wanted.flag not in {kill.flag for kill in stopped}:
        there = ", ".join(kill.scope for kill in stopped) or "nothing"
        raise Failed(f"{wanted.scope} is not stopped by name; stopped is: {there}")
    state = switch.resume(wanted.account, wanted.symbol, _user())
    left = ", ".join(kill.scope for kill in state.kills)
    _tell(state, f"resumed; still stopped: {left}" if left else "resumed; nothing is stopped", json)


def _scope(account: str | None, symbol: str | None) -> tuple[str, str]:
    """Account and symbol, "" where none is named. A name that no order can have is none: an empty variable in
    somebody's script must not mean everything."""
    from oms_actors.messages import ACCOUNT_MAX, SYMBOL_MAX, text_of

    if account is not None and symbol is not None:
        usage("name an account or a symbol, not both")
    if account is not None:
        text_of("account", account, ACCOUNT_MAX)
    if symbol is not None:
        text_of("symbol", symbol, SYMBOL_MAX)
    return account or "", symbol or ""


def _user() -> str:
    """Who does it, for the record."""
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    by = os.environ.get("SUDO_USER")
    return f"{by} as {name}" if by else name


def _tell(state: KillState, text: str, json: bool) -> None:
    if json:
        emit({"stopped": [{"account": each.account, "symbol": each.symbol, "by": each.by, "time_ns": each.time_ns,
                           "reason": each.reason} for each in state.kills]})  # fmt: skip
    else:
        note(text)


def reload(
    config: options.ConfigFile = None, instance: options.Instance = options.DEFAULT, json: options.Json = False
) -> None:
    """Let a running desk take over the risk limits of oms.toml and the environment: all of them at once, or none.

    Everything is checked first. What else has changed there waits for the next start, and is named.
    """
    from oms_actors.cli.reloading import reload as take_over

    found = take_over(config, instance, _user())
    if json:
        emit(found._asdict())
        return
    for change in found.changed:
        note(change)
    note("the risk limits are taken over" if found.changed else "the risk limits are the same as before")
    if found.later:
        note(f"not before the next start: {', '.join(found.later)}")


@group.command("list")
def list_(instance: options.Instance = options.DEFAULT, json: options.Json = False) -> None:
    """Show every upstream: whether it lives, and what lies in its rings."""
    from oms_actors.edges.upstream_files import upstreams
    from oms_actors.instance import read_desk, runtime_dir

    runtime = runtime_dir(instance)
    read_desk(runtime)
    found = upstreams(runtime)
    stopped = {name for name, (_, is_stopped) in _who_is_there(instance).items() if is_stopped}
    if json:
        emit({"upstreams": [
            each._asdict() | {"rings": [ring._asdict() for ring in each.rings], "stopped": each.name in stopped}
            for each in found
        ]})  # fmt: skip
        return
    columns = ("upstream", "pid", "state", "requests waiting", "reports waiting", "memory")
    table("", columns, (
        (each.name, str(each.pid or "-"), each.problem or _state(each.alive, each.name in stopped),
         *([size(ring.depth) for ring in each.rings] or ["-", "-"]), size(each.bytes)) for each in found
    ), right=(columns[1], *columns[3:]))  # fmt: skip


def _state(alive: bool, stopped: bool) -> str:
    return ("attached" if alive else "gone") + (", stopped: repeated executions" if stopped else "")


def _who_is_there(instance: str) -> dict[str, tuple[int, bool]]:
    """Every upstream that intake knows; none while it cannot be asked."""
    from oms_actors.actors.commands import WhoIsThere
    from oms_actors.cli.asking import ask

    try:
        found = ask(instance, "intake", WhoIsThere(), timeout=1.0)
    except Failed:
        return {}
    return {name: (number, stopped) for name, (number, stopped) in found.items()}


def upstream_number(instance: str, name: str) -> int:
    """The number under which the journals know an upstream: by intake's word or, if that is silent, the database's."""
    known = _who_is_there(instance)
    return known[name][0] if name in known else _stored_number(instance, name)


def _stored_number(instance: str, name: str) -> int:
    import sqlite3
    from contextlib import closing

    from oms_actors.cli.places import locate
    from oms_actors.queries import database_path

    path = database_path(*locate(None, instance))
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
        row = database.execute("SELECT number FROM upstreams WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise Failed(f"no upstream {name!r}: `oms upstream list` shows those that are there")
    return int(row[0])


@group.command()
def enable(name: str, instance: options.Instance = options.DEFAULT, json: options.Json = False) -> None:
    """Let an upstream go on that was stopped because its orders executed too often in too short a time."""
    from oms_actors.actors.commands import ReEnable
    from oms_actors.cli.asking import ask

    if not ask(instance, "sender", ReEnable(upstream_number(instance, name))):
        raise Failed(f"{name!r} is not stopped: `oms upstream list` shows who is")
    if json:
        emit({"enabled": name})
    else:
        note(f"{name} may send orders again")


@group.command()
def remove(name: str, instance: options.Instance = options.DEFAULT, json: options.Json = False) -> None:
    """Take a dead upstream's shared memory away. Its orders stay; reports that it has not read are in the database."""
    from oms_actors.edges.upstream_files import remove as remove_file
    from oms_actors.instance import read_desk, runtime_dir

    runtime = runtime_dir(instance)
    read_desk(runtime)
    try:
        remove_file(runtime, name)
    except FileNotFoundError:
        raise Failed(f"no upstream {name!r}: `oms upstream list` shows them") from None
    if json:
        emit({"removed": name})
    else:
        note(f"removed {name}")
