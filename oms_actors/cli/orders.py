"""`oms order …`: one request at a time, and what the database knows of orders."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from oms_actors.cli import options
from oms_actors.cli.output import FAILED, FINE, Failed, console, emit, note, table, time_of, usage
from oms_actors.cli.places import locate

if TYPE_CHECKING:
    from oms_actors.messages import Report, Request
    from oms_actors.queries import OrderEvent, OrderRow

_LOOK_S, _AFTERWARDS_S = 0.05, 0.2
_DIGITS = ".0123456789"

group = typer.Typer(help="One order: send, change, cancel, look at it.", no_args_is_help=True)

Id = Annotated[str, typer.Option("--id", help="Client order id of this request (default: a new one).")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for the request's final answer.")]
Resend = Annotated[bool, typer.Option("--possible-resend", help="It may have been submitted before under this id.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(group, name="order", rich_help_panel=options.ORDERS)
    app.command(rich_help_panel=options.ORDERS)(orders)
    app.command(rich_help_panel=options.ORDERS)(why)
    app.command(rich_help_panel=options.ORDERS)(resolve)


class NegativeNumbers(TyperCommand):
    """A command for which -5 is a value, to be refused as such, and no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.ignore_unknown_options = any(word[0] == "-" and word[1:2] in _DIGITS for word in args if len(word) > 1)
        return super().parse_args(ctx, args)


@group.command(cls=NegativeNumbers)
def new(
    symbol: str,
    side: Annotated[str, typer.Argument(help="BUY or SELL.")],
    quantity: str,
    price: Annotated[str | None, typer.Argument(help="Limit price.")] = None,
    order_type: Annotated[
        str, typer.Option("--type", help="LIMIT, MARKET, STOP, STOP_LIMIT (default: LIMIT with a price, else MARKET).")
    ] = "",
    time_in_force: Annotated[str, typer.Option("--tif", help="DAY, GTC, IOC, FOK, GTD.")] = "DAY",
    stop_price: Annotated[str | None, typer.Option(help="Trigger of a STOP or STOP_LIMIT.")] = None,
    post_only: Annotated[bool, typer.Option("--post-only", help="Refuse it where it would trade at once.")] = False,
    account: options.Account = "",
    id_: Id = "",
    possible_resend: Resend = False,
    wait: Wait = 1.0,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Send one order: oms order new AAPL BUY 100 585.33."""
    from oms_actors.messages import NewOrder

    order = NewOrder(
        client_order_id=id_ or _new_id(), symbol=symbol, side=side, quantity=quantity, price=price, account=account,
        order_type=order_type or ("MARKET" if price is None else "LIMIT"), time_in_force=time_in_force,
        stop_price=stop_price, post_only=post_only, possible_resend=possible_resend,
    )  # fmt: skip
    _submit(order, wait, instance, json)


@group.command()
def modify(
    orig: Annotated[str, typer.Argument(metavar="ID", help="Client order id of the order.")],
    quantity: Annotated[str | None, typer.Option(help="New total quantity.")] = None,
    price: Annotated[str | None, typer.Option(help="New limit price.")] = None,
    stop_price: Annotated[str | None, typer.Option(help="New trigger.")] = None,
    account: options.Account = "",
    id_: Id = "",
    possible_resend: Resend = False,
    wait: Wait = 1.0,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Change an order's total quantity or price."""
    from oms_actors.messages import ModifyOrder

    change = ModifyOrder(
        client_order_id=id_ or _new_id(), orig_client_order_id=orig, quantity=quantity, price=price,
        stop_price=stop_price, account=account, possible_resend=possible_resend,
    )  # fmt: skip
    _submit(change, wait, instance, json)


@group.command()
def cancel(
    orig: Annotated[str, typer.Argument(metavar="ID", help="Client order id of the order.")],
    account: options.Account = "",
    id_: Id = "",
    possible_resend: Resend = False,
    wait: Wait = 1.0,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Cancel an order."""
    from oms_actors.messages import CancelOrder

    request = CancelOrder(
        client_order_id=id_ or _new_id(), orig_client_order_id=orig, account=account, possible_resend=possible_resend
    )
    _submit(request, wait, instance, json)


def _new_id() -> str:
    return f"O{time.time_ns():x}"


def _submit(request: Request, wait: float, instance: str, json: bool) -> None:
    """Sends it and tells every report until the final answer and what follows at once, or until the time is up."""
    from oms_actors.cli.send import attach

    reports: list[Report] = []
    with attach(instance, "order") as upstream:
        upstream.submit(request, timeout=1.0)
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            done = any(map(_is_the_answer, reports))  # a fill may follow at once
            found = [report for report in upstream.reports(min(left, _AFTERWARDS_S) if done else min(left, _LOOK_S))
                     if report.client_order_id == request.client_order_id]  # fmt: skip
            if done and not found:
                break
            reports += found
            for report in found if not json else ():
                console().print(str(report), markup=False)
    if not reports:
        note(f"no answer within {wait:g} s: ask with `oms order show {request.client_order_id}`")
    rejected = any(report.exec_type.name in ("REJECTED", "CANCEL_REJECT") for report in reports)
    doubtful = bool(reports) and reports[-1].exec_type.name == "IN_DOUBT"
    if json:
        emit({
            "client_order_id": request.client_order_id,
            "accepted": bool(reports) and not rejected,
            "final": any(report.final for report in reports),
            "reports": [as_dict(report) for report in reports],
        })  # fmt: skip
    raise typer.Exit(FINE if reports and not rejected and not doubtful else FAILED)


def _is_the_answer(report: Report) -> bool:
    return report.final or report.exec_type.name == "ORDER_STATUS"  # to a possible resend


def as_dict(report: Report) -> dict[str, Any]:
    """A report for machines: enums by name, decimals as text, and the reason in words."""
    found: dict[str, Any] = {}
    for name in report.__struct_fields__:
        value = getattr(report, name)
        found[name] = value.name if hasattr(value, "name") and name != "flags" else value
    refused = report.cxl_rej_reason
    found |= {"flags": int(report.flags), "reason_text": report.reason_text}
    return found if refused is None else found | {"cxl_rej_reason": refused.name}


# -- what the database knows ------------------------------------------------------------------------------------------


def orders(
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 50,
    status: Annotated[str, typer.Option(help="Only of this status: NEW, FILLED, IN_DOUBT ...")] = "",
    symbol: Annotated[str, typer.Option(help="Only of this symbol.")] = "",
    upstream: Annotated[str, typer.Option(help="Only from this upstream.")] = "",
    overfilled: Annotated[bool, typer.Option("--overfilled", help="Only filled beyond what was ordered.")] = False,
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Show the newest orders and how they stand."""
    from oms_actors import queries
    from oms_actors.messages import OrdStatus

    if status and status.upper() not in OrdStatus.__members__:
        usage(f"--status {status}: must be one of {', '.join(OrdStatus.__members__)}")
    place = locate(config, instance)
    found = queries.orders(
        place.data_dir, limit, status=status, symbol=symbol, upstream=upstream, overfilled=overfilled,
        database=place.database,
    )  # fmt: skip
    if json:
        emit({"orders": [_fields(order) for order in found]})
        return
    columns = ("received", "client order id", "upstream", "account", "symbol", "side", "quantity", "price", "status",
               "filled", "average", "reason")  # fmt: skip
    table("", columns, (
        (time_of(each.receive_time_ns), each.client_order_id, each.upstream, each.account, each.symbol, each.side,
         each.quantity, each.price, each.status, each.cum_quantity, each.avg_price, each.reason) for each in found
    ), right=("quantity", "price", "filled", "average"))  # fmt: skip


@group.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Client order id of any of its requests, or its order id.")],
    account: Annotated[str | None, typer.Option("--account", "-a", help="Only of this account.")] = None,
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Show one order and its whole history."""
    from oms_actors import queries

    place = locate(config, instance)
    found = queries.order_history(place.data_dir, id_, account=account, database=place.database)
    if found is None:
        raise Failed(f"no order {id_!r} in the database (a new one may take a moment): `oms orders` lists them")
    if json:
        emit({"order": _fields(found.order), "events": [_fields(event) for event in found.events]})
        return
    show_order(found.order)
    show_events(found.events)


def why(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Client order id of any of its requests, or its order id.")],
    account: Annotated[str | None, typer.Option("--account", "-a", help="Only of this account.")] = None,
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Say why an order waits and when it will go, or how it ended, with its history."""
    from oms_actors.why import why as ask

    place = locate(config, instance)
    found = ask(place.data_dir, instance, id_, account, place.database)
    if found is None:
        raise Failed(f"no order {id_!r} in the database (a new one may take a moment): `oms orders` lists them")
    if json:
        emit({
            "order": _fields(found.order) if found.order else None, "state": found.state, "why": found.why,
            "blocked_by": found.blocked_by,
            "position": found.position, "send_time_ns": found.send_time_ns,
            "sender_asked": found.asked,
            "events": [_fields(event) for event in found.history.events] if found.history else [],
        })  # fmt: skip
        return
    if found.order:
        show_order(found.order)
    console().print(f"[bold]{found.state}[/bold]: {found.why}", soft_wrap=True)
    if found.position:
        when = f", goes at about {time_of(found.send_time_ns)}" if found.send_time_ns else ""
        console().print(f"number {found.position:,} in the queue{when}")
    if not found.asked and found.state != "done":
        note("the sender does not answer: this is what database and shared memory say")
    if found.history:
        show_events(found.history.events)


def show_order(order: OrderRow) -> None:
    """One order in words."""
    screen = console()
    kind = f"{order.order_type} {order.time_in_force}"
    price = f" @ {order.price}" if order.price else ""
    screen.print(f"[bold]{order.client_order_id}[/bold]  {order.side} {order.quantity} {order.symbol}{price}  {kind}")
    filled = f", {order.cum_quantity} filled @ {order.avg_price}, {order.leaves_quantity} left"
    screen.print(f"{order.status}{filled if order.cum_quantity else ''}{f': {order.reason}' if order.reason else ''}")
    account = f", account {order.account}" if order.account else ""
    screen.print(f"order id {order.order_id}, number {order.order_number}, from {order.upstream}{account}")


def show_events(events: list[OrderEvent]) -> None:
    """What happened, in order of time."""
    columns = ("time", "by", "what", "client order id", "quantity", "price", "latency µs", "")
    table("", columns, (
        (time_of(each.time_ns), each.source, each.what, each.client_order_id, each.quantity, each.price,
         round(each.latency_ns / 1000) if each.latency_ns else None, " ".join(filter(None, (each.exec_id, each.text))))
        for each in events
    ), right=("quantity", "price", "latency µs"))  # fmt: skip


def _fields(row: OrderRow | OrderEvent) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


# -- what an operator says --------------------------------------------------------------------------------------------


@group.command("cancel-all")
def cancel_all(
    upstream: Annotated[str, typer.Option(help="Only of this upstream.")] = "",
    account: options.Account = "",
    symbol: Annotated[str, typer.Option(help="Only of this symbol.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="All orders, if nothing else is named.")] = False,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Cancel every order of an upstream, account or symbol, waiting or at the exchange."""
    from oms_actors.actors.commands import MassCancel
    from oms_actors.cli.asking import ask
    from oms_actors.cli.control import upstream_number

    if not (upstream or account or symbol or everything):
        usage("name an --upstream, an --account or a --symbol, or say --everything")
    number = upstream_number(instance, upstream) if upstream else 0
    count = ask(instance, "sender", MassCancel(number, account, symbol))
    if json:
        emit({"canceled": count})
    else:
        note(f"{count} orders are being canceled")


def resolve(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Client order id of the request in doubt.")],
    sent: Annotated[
        bool | None, typer.Option("--sent/--not-sent", help="Does the exchange have it?", show_default=False)
    ] = None,
    account: options.Account = "",
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Say what became of a request in doubt, after you have asked the exchange.

    --sent: it has it, and the order goes on as sent. --not-sent: it does not, and never will.
    """
    from oms_actors.actors.commands import Resolve
    from oms_actors.cli.asking import ask

    if sent is None:
        usage("say --sent or --not-sent: only you know, after asking the exchange")
    if not ask(instance, "sender", Resolve(id_, account, sent)):
        raise Failed(f"{id_!r} is not in doubt: `oms orders --status IN_DOUBT` lists what is")
    if json:
        emit({"client_order_id": id_, "resolved": "sent" if sent else "not sent"})
    else:
        note(f"{id_} is resolved as {'sent' if sent else 'not sent'}")
