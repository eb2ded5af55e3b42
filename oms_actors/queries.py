"""What the database knows of orders: for the command line and for whoever wants to look.

The database is opened read-only, which disturbs nobody, while the desk runs and when it is down. Searching by a client
order id reads the tables from end to end (0.1 s for a million orders): an index would cost every order more than all
of its rows.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from oms_actors.errors import ONE, OmsError, Reason, reason_text
from oms_actors.messages import (
    ExecType,
    Kind,
    OrderType,
    OrdStatus,
    Outcome,
    ReportFlag,
    ResponseType,
    Side,
    TimeInForce,
)

BUSY_TIMEOUT_S = 2.0
CHAIN_MAX = 1_000
_DONE = frozenset({OrdStatus.FILLED, OrdStatus.CANCELED, OrdStatus.REJECTED, OrdStatus.EXPIRED, OrdStatus.DONE_UNKNOWN})


class NoDatabase(OmsError):
    """No database there, or one that cannot be read now."""


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it stands. Times are ns since the epoch (UTC), 0 = never; enums by name."""

    order_number: int
    order_id: str
    client_order_id: str
    """The current one; `first_client_order_id` is the NEW's."""
    first_client_order_id: str
    account: str
    upstream: str
    symbol: str
    side: str
    order_type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    stop_price: Decimal
    status: str
    cum_quantity: Decimal
    leaves_quantity: Decimal
    avg_price: Decimal
    reason: str
    """Why it ended, in words."""
    receive_time_ns: int
    update_time_ns: int


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `source`: upstream, desk or exchange. `what`: NEW, MODIFY, CANCEL for a request, SENT
    for a call of the exchange, else the ExecType of the report (TRADE = an execution)."""

    time_ns: int
    source: str
    what: str
    client_order_id: str
    quantity: Decimal | None = None
    price: Decimal | None = None
    exec_id: str = ""
    response: str = ""
    latency_ns: int = 0
    text: str = ""
    """Reason, or the exchange's own words."""


class OrderHistory(msgspec.Struct, frozen=True, kw_only=True):
    """An order and all that happened to it, in order of time."""

    order: OrderRow
    events: list[OrderEvent]


def database_path(data_dir: Path, database: str = "") -> Path:
    """The file; `database` is `persistence.database` of the configuration."""
    return data_dir / (database or "oms.sqlite")


def orders(
    data_dir: Path, limit: int = 50, *, status: str = "", symbol: str = "", upstream: str = "",
    overfilled: bool = False, database: str = "",
) -> list[OrderRow]:  # fmt: skip
    """The newest orders first. `status` is an OrdStatus by name; KeyError for another word. Raises NoDatabase."""
    also = ["o.cum_quantity > o.current_quantity"] if overfilled else []
    wanted: dict[str, Any] = {}
    if status:
        wanted["o.ord_status = ?"] = int(OrdStatus[status.upper()])
    if symbol:
        wanted["o.symbol = ?"] = symbol
    if upstream:
        wanted["u.name = ?"] = upstream
    with _open(database_path(data_dir, database)) as connection:
        return _orders(connection, " AND ".join(["o.ord_status <> 0", *also, *wanted]), [*wanted.values()], limit)


def order_history(data_dir: Path, id_: str, *, account: str | None = None, database: str = "") -> OrderHistory | None:
    """All about one order. `id_`: the client order id of any of its requests, its order id (UUID) or number; with
    `account`, only that account's. None if there is no such order. Raises NoDatabase."""
    with _open(database_path(data_dir, database)) as connection:
        number = _number_of(connection, id_, account)
        found = _orders(connection, "o.order_number = ?", [number], 1) if number is not None else []
        return OrderHistory(order=found[0], events=_events(connection, found[0])) if found else None


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise NoDatabase(f"{path}: there is no database (yet)")
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")  # one picture for all that follows
            yield connection
    except sqlite3.Error as error:
        raise NoDatabase(f"{path}: {error}") from error


# -- orders -----------------------------------------------------------------------------------------------------------


def _orders(connection: sqlite3.Connection, where: str, values: list[Any], limit: int) -> list[OrderRow]:
    prefix = connection.execute("SELECT order_id_prefix FROM desk").fetchone()[0]
    rows = connection.execute(
        "SELECT o.*, u.name AS upstream_name FROM orders o LEFT JOIN upstreams u ON u.number = o.upstream "
        f"WHERE {where} ORDER BY o.order_number DESC LIMIT ?", (*values, limit),
    )  # fmt: skip
    return [_order(row, prefix) for row in rows]


def _order(row: sqlite3.Row, prefix: str) -> OrderRow:
    quantity, status, cum = row["current_quantity"], row["ord_status"], row["cum_quantity"]
    return OrderRow(
        order_number=row["order_number"],
        order_id=f"{prefix}{row['order_number']:012x}",
        client_order_id=row["current_client_order_id"],
        first_client_order_id=row["client_order_id"],
        account=row["account"],
        upstream=row["upstream_name"] or str(row["upstream"] or ""),
        symbol=row["symbol"],
        side=_name(Side, row["side"]),
        order_type=_name(OrderType, row["order_type"]),
        time_in_force=_name(TimeInForce, row["time_in_force"]),
        quantity=_decimal(quantity),
        price=_decimal(row["current_price"]),
        stop_price=_decimal(row["stop_price"]),
        status=_name(OrdStatus, status),
        cum_quantity=_decimal(cum),
        leaves_quantity=_decimal(0 if status in _DONE else max(quantity - cum, 0)),
        avg_price=_decimal(row["avg_price"]),
        reason=_reason(row),
        receive_time_ns=row["receive_time_ns"],
        update_time_ns=row["update_time_ns"],
    )


def _decimal(value: int | None) -> Decimal:
    return Decimal(value or 0) / ONE


def _name(members: Any, value: int | None) -> str:
    found = members._value2member_map_.get(value)
    return found.name if found is not None else str(value or "")


def _reason(row: sqlite3.Row) -> str:
    words: str | None = row["text"] if "text" in row.keys() else None  # noqa: SIM118 (a Row's `in` looks at values)
    return words or reason_text(row["reason"] or 0, row["field"] or 0, row["value"] or 0, row["limit_value"] or 0)


# -- which order is meant ---------------------------------------------------------------------------------------------


def _number_of(connection: sqlite3.Connection, id_: str, account: str | None) -> int | None:
    """By client order id (the newest that has it, refused repeats of it last), by UUID, by number."""
    found = _by_client_order_id(connection, id_, account)
    if found is not None:
        return found
    if id_.isdigit():
        return int(id_)
    try:
        return uuid.UUID(id_).int & (1 << 48) - 1
    except ValueError:
        return None


def _by_client_order_id(connection: sqlite3.Connection, id_: str, account: str | None) -> int | None:
    before, seen = (1 << 63) - 1, 0
    while seen < CHAIN_MAX:
        row = connection.execute(
            "SELECT order_number FROM orders WHERE (client_order_id = ?1 OR current_client_order_id = ?1) "
            "AND (?2 IS NULL OR account = ?2) AND ord_status <> 0 AND order_number < ?3 "
            "ORDER BY reason IS ?4, order_number DESC LIMIT 1",
            (id_, account, before, int(Reason.DUPLICATE_CLIENT_ORDER_ID)),
        ).fetchone()
        if row is not None:
            return int(row[0])
        row = connection.execute(
            "SELECT sequence, orig_client_order_id, account FROM changes WHERE client_order_id = ?1 "
            "AND (?2 IS NULL OR account = ?2) AND sequence < ?3 ORDER BY sequence DESC LIMIT 1", (id_, account, before),
        ).fetchone()  # fmt: skip
        if row is None:
            return None
        before, id_, account = row
        seen += 1
    return None


# -- what happened ----------------------------------------------------------------------------------------------------


def _events(connection: sqlite3.Connection, order: OrderRow) -> list[OrderEvent]:
    said = [*_sends(connection, order), *_reports(connection, order), *_executions(connection, order)]
    first = _row(connection, "SELECT * FROM orders WHERE order_number = ?", order.order_number)
    events = [_request(first, Kind.NEW), *_changes(connection, order), *said]
    if not said and first["reason"]:
        events.append(_refusal(first, ExecType.REJECTED, order.update_time_ns))
    return sorted(events, key=lambda event: event.time_ns)


def _row(connection: sqlite3.Connection, sql: str, *values: object) -> sqlite3.Row:
    row: sqlite3.Row = connection.execute(sql, values).fetchone()
    return row


def _request(row: sqlite3.Row, kind: Kind) -> OrderEvent:
    asked = kind is not Kind.CANCEL
    return OrderEvent(
        time_ns=row["receive_time_ns"], source="upstream", what=kind.name, client_order_id=row["client_order_id"],
        quantity=_decimal(row["quantity"]) if asked and row["quantity"] else None,
        price=_decimal(row["price"]) if asked and row["price"] else None,
    )  # fmt: skip


def _refusal(row: sqlite3.Row, exec_type: ExecType, time_ns: int) -> OrderEvent:
    return OrderEvent(
        time_ns=time_ns, source="desk", what=exec_type.name, client_order_id=row["client_order_id"], text=_reason(row)
    )


def _changes(connection: sqlite3.Connection, order: OrderRow) -> Iterator[OrderEvent]:
    """Requests that name the order, or a change of it, as far as its ids are its own: until a later NEW takes them."""
    end = _row(
        connection, "SELECT min(order_number) FROM orders WHERE client_order_id = ? AND account = ? "
        "AND order_number > ? AND ord_status <> 0 AND reason IS NOT ?",
        order.first_client_order_id, order.account, order.order_number, int(Reason.DUPLICATE_CLIENT_ORDER_ID),
    )[0] or (1 << 63) - 1  # fmt: skip
    ids = [order.first_client_order_id]
    for id_ in ids:  # grows while it goes
        for row in connection.execute(
            "SELECT * FROM changes WHERE orig_client_order_id = ? AND account = ? AND sequence > ? AND sequence < ? "
            "ORDER BY sequence", (id_, order.account, order.order_number, end),
        ):  # fmt: skip
            yield _request(row, Kind(row["kind"]))
            if row["reason"]:
                yield _refusal(row, ExecType.CANCEL_REJECT, row["receive_time_ns"])
            elif row["client_order_id"] not in ids and len(ids) < CHAIN_MAX:
                ids.append(row["client_order_id"])
        for row in connection.execute(
            "SELECT * FROM own_cancels WHERE orig_client_order_id = ? AND account = ?", (id_, order.account)
        ):
            yield OrderEvent(
                time_ns=row["time_ns"], source="desk", what=Kind.CANCEL.name, client_order_id=row["client_order_id"]
            )


def _sends(connection: sqlite3.Connection, order: OrderRow) -> Iterator[OrderEvent]:
    for row in connection.execute("SELECT * FROM sends WHERE order_number = ?", (order.order_number,)):
        outcome = row["outcome"]
        yield OrderEvent(
            time_ns=row["time_ns"], source="desk", what="SENT" if outcome is None else _name(Outcome, outcome),
            client_order_id=row["client_order_id"] or order.first_client_order_id,
        )  # fmt: skip


def _reports(connection: sqlite3.Connection, order: OrderRow) -> Iterator[OrderEvent]:
    for row in connection.execute("SELECT * FROM reports WHERE order_number = ?", (order.order_number,)):
        response = row["response_type"]
        yield OrderEvent(
            time_ns=row["time_ns"], source="exchange" if response else "desk",
            what=_name(ExecType, row["exec_type"]),
            client_order_id=row["client_order_id"] or order.first_client_order_id,
            quantity=_decimal(row["quantity"]) if row["quantity"] else None,
            price=_decimal(row["price"]) if row["price"] else None, exec_id=row["exec_id"] or "",
            response=_name(ResponseType, response) if response else "", latency_ns=row["latency_ns"],
            text=_reason(row),
        )  # fmt: skip


def _executions(connection: sqlite3.Connection, order: OrderRow) -> Iterator[OrderEvent]:
    for row in connection.execute("SELECT * FROM executions WHERE order_number = ?", (order.order_number,)):
        by_exchange = bool(row["flags"] & ReportFlag.FROM_VENUE)
        yield OrderEvent(
            time_ns=row["time_ns"], source="exchange" if by_exchange else "desk", what=ExecType.TRADE.name,
            client_order_id=order.client_order_id, quantity=_decimal(row["quantity"]), price=_decimal(row["price"]),
            exec_id=row["exec_id"] or "", response=ResponseType.FILL.name if by_exchange else "",
            latency_ns=row["latency_ns"], text=row["text"] or "",
        )  # fmt: skip
