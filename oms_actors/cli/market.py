"""`oms book`, `oms trades`: the simulated exchange's market data."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oms_actors.cli import options
from oms_actors.cli.output import Failed, console, emit, note, table, time_of
from oms_actors.errors import decimal_text

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from oms_actors.edges.market_data import Depth, MarketReader, MarketTrade

_LOOK_S = 0.05
_REDRAW_S = 0.2

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(rich_help_panel=options.MARKET)(book)
    app.command(rich_help_panel=options.MARKET)(trades)


def book(
    symbol: str,
    levels: Annotated[int, typer.Option(min=1, max=20, help="Price levels of each side.")] = 10,
    follow: Follow = False,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Show a symbol's book: price levels, best bid and ask, last trade."""
    with closing(_reader(instance)) as reader:
        found = reader.depth(symbol)
        if found is None and not follow:
            known = ", ".join(reader.symbols()[:20]) or "none yet"
            raise Failed(f"nothing is known of {symbol!r}; symbols with a book: {known}")
        if not follow:
            _show_book(found, levels, json)
            return
    try:
        _follow_book(_depths(instance, symbol), levels, json)
    except KeyboardInterrupt:
        return


def _follow_book(depths: Iterator[Depth], levels: int, json: bool) -> None:
    """On a terminal each picture takes the place of the last one."""
    screen = console()
    if json or not screen.is_terminal:
        for depth in depths:
            _show_book(depth, levels, json)
        return
    from rich.live import Live

    with Live(console=screen, auto_refresh=False) as live:
        for depth in depths:
            live.update(_picture(depth, levels), refresh=True)


def _depths(instance: str, symbol: str) -> Iterator[Depth]:
    """The book whenever it is another one; the page always has the latest, so nothing is ever missed for good."""
    reader, number = _reader(instance), 0
    try:
        while True:
            if reader.replaced():
                reader.close()
                reader = _reader(instance)
            found = reader.depth(symbol)
            if found and found.number != number:
                number = found.number
                yield found
            time.sleep(_REDRAW_S)
    finally:
        reader.close()


def _show_book(depth: Depth | None, levels: int, json: bool) -> None:
    if depth is None:
        return
    if json:
        emit(_book_fields(depth, levels))
        return
    console().print(_picture(depth, levels))


def _picture(depth: Depth, levels: int) -> Group:
    from rich.console import Group

    last = f"last {decimal_text(depth.last_quantity)} @ {decimal_text(depth.last_price)}" if depth.last_price else ""
    state = f"  [bold red]{depth.state.name}[/bold red]" if depth.state else ""
    head = f"[bold]{depth.symbol}[/bold]{state}  {depth.trades:,} trades, volume {decimal_text(depth.volume)}  {last}"
    return Group(head, _ladder(depth, levels))


def _ladder(depth: Depth, levels: int) -> Table:
    """Asks above, bids below, the best prices next to each other."""
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("orders", "bid", "price", "ask", "orders"):
        drawn.add_column(column, justify="right", min_width=8)
    for level in reversed(depth.asks[:levels]):
        price = f"[red]{decimal_text(level.price)}[/red]"
        drawn.add_row("", "", price, decimal_text(level.quantity), str(level.orders))
    for level in depth.bids[:levels]:
        price = f"[green]{decimal_text(level.price)}[/green]"
        drawn.add_row(str(level.orders), decimal_text(level.quantity), price, "", "")
    return drawn


def _book_fields(depth: Depth, levels: int) -> dict[str, Any]:
    def side(of: tuple[Any, ...]) -> list[dict[str, Any]]:
        return [{"price": decimal_text(level.price), "quantity": decimal_text(level.quantity), "orders": level.orders}
                for level in of[:levels]]  # fmt: skip

    return {
        "symbol": depth.symbol, "state": depth.state.name, "number": depth.number, "time_ns": depth.time_ns,
        "trades": depth.trades, "volume": decimal_text(depth.volume), "last_price": decimal_text(depth.last_price),
        "last_quantity": decimal_text(depth.last_quantity), "bids": side(depth.bids), "asks": side(depth.asks),
    }  # fmt: skip


def trades(
    symbol: Annotated[str, typer.Option("--symbol", "-s", help="Only of this symbol.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many of the latest.")] = 20,
    follow: Follow = False,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Show the latest trades of the exchange, and with --follow those that come."""
    told = _trades(instance, symbol)
    latest: deque[MarketTrade] = deque(maxlen=limit)
    for trade in told:
        if trade is None:
            break
        latest.append(trade)
    if follow:
        _follow(latest, told, json)
    elif json:
        emit({"trades": [_trade_fields(trade) for trade in latest]})
    else:
        columns = ("number", "time", "symbol", "side", "quantity", "price")
        table("", columns, map(_row, latest), right=("number", "quantity", "price"))


def _trades(instance: str, symbol: str) -> Iterator[MarketTrade | None]:
    """Trades from the oldest that is still there; None each time there is none yet. Says how many were missed."""
    from ipc.broadcast import Gap
    from oms_actors.edges.market_data import TradeTape

    with _there(instance):
        tape = TradeTape(_directory(instance))
        while True:
            try:
                trade = tape.read()
            except Gap as gap:
                note(f"{gap.lost:,} trades were missed")
                continue
            if trade is None or not symbol or trade.symbol == symbol:
                yield trade


def _follow(latest: Iterable[MarketTrade], told: Iterator[MarketTrade | None], json: bool) -> None:
    try:
        for trade in chain(latest, told):
            if trade is None:
                time.sleep(_LOOK_S)
            elif json:
                emit(_trade_fields(trade))
            else:
                number, at, symbol, side, quantity, price = _row(trade)
                print(f"{number:>9} {at} {symbol:<16} {side:<4} {quantity:>14} @ {price}", flush=True)
    except KeyboardInterrupt:
        return


def _row(trade: MarketTrade) -> tuple[str, ...]:
    from oms_actors.messages import Side

    side = Side(trade.aggressor).name if trade.aggressor in (1, 2) else ""
    return (str(trade.number), time_of(trade.time_ns), trade.symbol, side, decimal_text(trade.quantity),
            decimal_text(trade.price))  # fmt: skip


def _trade_fields(trade: MarketTrade) -> dict[str, Any]:
    number, _, symbol, side, quantity, price = _row(trade)
    return {"number": int(number), "time_ns": trade.time_ns, "symbol": symbol, "aggressor_side": side,
            "quantity": quantity, "price": price}  # fmt: skip


def _directory(instance: str) -> str:
    """Of the exchange that the desk trades on: its own, or the one that `[exchange.options]` names."""
    from oms_actors.instance import VENUE, read_desk, runtime_dir

    runtime = runtime_dir(instance)
    config = read_desk(runtime).config
    elsewhere = "" if config.venue.enabled else config.exchange.options.get("directory", "")
    return str(elsewhere or runtime / VENUE)


def _reader(instance: str) -> MarketReader:
    from oms_actors.edges.market_data import MarketReader

    with _there(instance):
        return MarketReader(_directory(instance))


@contextmanager
def _there(instance: str) -> Iterator[None]:
    """What cannot be read is said in words that help."""
    from ipc.errors import NotThere
    from oms_actors.instance import read_desk, runtime_dir

    try:
        yield
    except NotThere:
        config = read_desk(runtime_dir(instance)).config.venue
        why = "is not there" if config.model == "match" else 'has no book: set model = "match" in [venue]'
        raise Failed(f"the exchange of {instance!r} {why}") from None
