"""`oms venue …`: the simulated exchange by itself: run, replay an order file, stress, trading states."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from oms_actors.cli import options
from oms_actors.cli.output import FAILED, FINE, Failed, console, emit, note, table

if TYPE_CHECKING:
    from oms_actors.config import Config, Resolved
    from oms_actors.venue_replay import Replayed
    from oms_actors.venue_stress import Result

group = typer.Typer(
    help="The simulated exchange by itself (alone: `oms venue run`).", invoke_without_command=True
)  # fmt: skip
ALONE = "exchange"

Instance = Annotated[str, typer.Option("--instance", "-i", help="Name of the exchange.")]
Symbol = Annotated[str, typer.Option("--symbol", "-s", help="Only this symbol (default: the whole market).")]
BAD_LINES_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(group, name="venue", rich_help_panel=options.MARKET)


@group.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        run()


@group.command()
def run(config: options.ConfigFile = None, instance: Instance = ALONE, json: options.Json = False) -> None:
    """Run an exchange without a desk, for several desks to trade on.

    It matches orders unless the configuration says otherwise.
    """
    from oms_actors import app
    from oms_actors.cli.desk import exit_code, print_note
    from oms_actors.edges import settings
    from oms_actors.instance import VENUE

    resolved = app.resolve(_matching(config, instance), instance, str(settings.config_dir(config, os.environ)))
    directory = Path(resolved.runtime_dir) / VENUE
    note(f"exchange {instance!r}: data in {resolved.data_dir}. A desk trades here with this in its oms.toml:")
    note(f'[venue]\nenabled = false\n[exchange.options]\ndirectory = "{directory}"\nsession = "a name of its own"')
    code = exit_code(app.run(resolved, print_note, app.VENUE_ALONE))
    if json:
        emit({"instance": instance, "exit_code": code})
    raise typer.Exit(code)


# -- replay -----------------------------------------------------------------------------------------------------------


@group.command()
def replay(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Order file, as for `oms send`.")],
    trades: Annotated[Path | None, typer.Option(help="Write every trade to this CSV file.")] = None,
    tick: Annotated[str, typer.Option(help="Tick size.")] = "0.00000001",
    lot: Annotated[str, typer.Option(help="Lot size.")] = "0.00000001",
    json: options.Json = False,
) -> None:
    """Run an order file straight through the matching engine: orders, trades, top of book, state hash, speed."""
    from oms_actors.messages import fixed
    from oms_actors.venue_replay import replay as run_file

    tick_size, lot_size = fixed("tick", tick), fixed("lot", lot)
    with contextlib.ExitStack() as stack:
        sink: IO[str] | None = stack.enter_context(open(trades, "w", encoding="utf-8")) if trades else None
        progress = stack.enter_context(_progress("bytes"))
        found = run_file(file, tick=tick_size, lot=lot_size, trades=sink,
                         progress=lambda done, total: progress(file.name, done, total))  # fmt: skip
    if json:
        emit(_fields(found) | {"requests_per_s": round(found.requests_per_s)})
    else:
        _show_replay(found)
    raise typer.Exit(FAILED if found.bad_lines else FINE)


def _show_replay(found: Replayed) -> None:
    names = ("requests", "new", "modify", "cancel", "acks", "trades", "volume", "canceled", "replaced", "duplicates")
    rows: list[tuple[str, Any]] = [(name, getattr(found, name)) for name in names]
    rows += [(f"rejected: {name}", count) for name, count in found.rejects.items()]
    rows += [("lines that are no request", len(found.bad_lines))] if found.bad_lines else []
    rows += [("seconds, engine", f"{found.seconds:.3f}"), ("seconds, with reading", f"{found.seconds_total:.3f}"),
             ("requests per second, engine", round(found.requests_per_s))]  # fmt: skip
    table("", ("", "count"), rows, right=("count",))
    columns = ("symbol", "bid size", "bid", "ask", "ask size", "last", "resting", "trades", "volume")
    table("", columns, (
        (top.symbol, top.bid_quantity, top.bid, top.ask, top.ask_quantity, top.last_price, top.resting, top.trades,
         top.volume) for top in found.books
    ), right=columns[1:])  # fmt: skip
    console().print(f"state {found.state_hash}")
    for line in found.bad_lines[:BAD_LINES_SHOWN]:
        note(line)


# -- the event log ----------------------------------------------------------------------------------------------------


@group.command()
def events(
    first: Annotated[int, typer.Option("--from", metavar="NUMBER", help="First event.")] = 1,
    symbol: Annotated[str, typer.Option("--symbol", "-s", help="Only of this symbol.")] = "",
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per event, the state's hash last.")] = False,
) -> None:
    """Print what the books did, event by event, and the state's hash; also while the exchange runs."""
    from oms_actors import venue_events
    from oms_actors.cli.output import time_of

    def tell(event: venue_events.VenueEvent) -> None:
        if event.number < first or symbol not in ("", event.symbol):
            return
        if json:
            emit(_fields(event))
            return
        fields = " ".join(f"{name}={value}" for name, value in event.fields.items())
        head = f"{event.number:>9} {time_of(event.time_ns)} {event.symbol:<8} {event.event:<9}"
        sys.stdout.write(f"{head} {event.client_order_id} {fields}\n")

    told = venue_events.events(_resolved(config, instance), tell)
    if json:
        emit(_fields(told))
    else:
        note(f"{told.events:,} events, state {told.state_hash}")


def _resolved(config: Path | None, instance: str) -> Resolved:
    """Of the exchange that runs or, where none does, that would."""
    from oms_actors import app
    from oms_actors.cli.places import locate
    from oms_actors.edges import settings
    from oms_actors.errors import DeskDown
    from oms_actors.instance import read_desk, runtime_dir

    try:
        return read_desk(runtime_dir(instance))
    except DeskDown:
        locate(config, instance)
        return app.resolve(_matching(config, instance), instance, str(settings.config_dir(config, os.environ)))


def _matching(config: Path | None, instance: str) -> Config:
    """The configuration of an exchange by itself: it matches orders unless that is said otherwise."""
    import msgspec

    from oms_actors.edges import settings

    found, sources = settings.load(config, os.environ, instance)
    if sources["venue.model"] == settings.DEFAULT:
        found = msgspec.structs.replace(found, venue=msgspec.structs.replace(found.venue, model="match"))
    return found


# -- stress -----------------------------------------------------------------------------------------------------------


@group.command()
def stress(
    scenarios: Annotated[
        list[str] | None, typer.Argument(help="burst, steady, balanced, trades (default: all).", metavar="SCENARIO...")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the orders.")] = 7,
    json: options.Json = False,
) -> None:
    """Stress an exchange of its own: 1,000 orders of 50 clients; 50/s for 60 s; 2,000 balanced; 200,000 trades."""
    from oms_actors.venue_stress import SCENARIOS
    from oms_actors.venue_stress import stress as run_scenarios

    names = [scenario.name for scenario in SCENARIOS]
    for name in scenarios or ():
        if name not in names:
            raise typer.BadParameter(f"{name!r}: must be one of {', '.join(names)}", param_hint="SCENARIO")
    wanted = tuple(scenario for scenario in SCENARIOS if not scenarios or scenario.name in scenarios)
    with _progress("orders") as progress:
        found = list(run_scenarios(wanted, progress, seed))
    if json:
        emit({"scenarios": [_fields(each) | {"success_percent": each.success_percent} for each in found]})
    else:
        _show_stress(found)
    raise typer.Exit(FINE if all(each.succeeded == each.orders for each in found) else FAILED)


def _show_stress(found: list[Result]) -> None:
    columns = ("scenario", "clients", "orders", "success %", "orders/s", "p50 µs", "p99 µs", "p99.9 µs", "max µs",
               "trades", "volume", "CPU %", "memory MB")  # fmt: skip
    table("", columns, (
        (each.scenario, each.clients, each.orders, each.success_percent, round(each.orders_per_s),
         *(round(_percentile(each, at)) for at in (50.0, 99.0, 99.9, 100.0)), each.trades, each.volume,
         each.venue_cpu_percent, each.venue_memory_mb) for each in found
    ), right=columns[1:])  # fmt: skip


def _percentile(found: Result, wanted: float) -> float:
    """Of the percentiles that were taken; their names say which they are."""
    return next((us for name, us in found.latency_us.items() if float(name.lstrip("p")) == wanted), 0.0)


# -- trading states ---------------------------------------------------------------------------------------------------


@group.command()
def halt(
    symbol: Symbol = "", instance: options.Instance = options.DEFAULT, json: options.Json = False
) -> None:
    """Halt trading: orders may be canceled, nothing trades."""
    _trading(instance, "halt", symbol, json)


@group.command()
def resume(
    symbol: Symbol = "", instance: options.Instance = options.DEFAULT, json: options.Json = False
) -> None:
    """Let a halted or closed market trade again."""
    _trading(instance, "resume", symbol, json)


@group.command()
def close(
    symbol: Symbol = "", instance: options.Instance = options.DEFAULT, json: options.Json = False
) -> None:
    """Close the market: orders may be canceled, everything else is refused."""
    _trading(instance, "close", symbol, json)


@group.command("end-day")
def end_day(instance: options.Instance = options.DEFAULT, json: options.Json = False) -> None:
    """End the exchange's day: DAY orders expire."""
    _trading(instance, "end_day", "", json)


def _trading(instance: str, do: Literal["halt", "resume", "close", "end_day"], symbol: str, json: bool) -> None:
    from oms_actors.actors.commands import Trading
    from oms_actors.cli.asking import ask

    refusal = ask(instance, "venue", Trading(do, symbol))
    if refusal:
        raise Failed(refusal)
    if json:
        emit({"done": do, "symbol": symbol or None})
    else:
        note(f"{do.replace('_', ' ')}: {symbol or 'the whole market'}")


# -- shared -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _progress(unit: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar per name on stderr, if that is a terminal: yields draw(name, done, total)."""
    if not sys.stderr.isatty():
        yield lambda name, done, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    with Progress(TextColumn("{task.description}"), BarColumn(None), count, TimeElapsedColumn(),
                  console=console(stderr=True)) as bar:  # fmt: skip
        tasks: dict[str, Any] = {}

        def draw(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield draw


def _fields(found: Any) -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(found)
    return fields
