"""The database's schema, once, as SQLAlchemy Core metadata: cold, never imported by a working process.

`python -m oms_actors.edges.schema` writes `schema.sql` beside it, which the persistence process executes; a test
compares the two. Each fact is stored once. The tables that grow with every order (`new_orders`, `order_states`,
`sends`, `reports`, `executions`) have an integer key that only grows, no other index, and hold numbers wherever they
can: this is what makes a row cost less than a microsecond. What people ask for is views over them: `orders`, `requests`
and `responses` with the same plain numbers, `v_orders` and its like with decimals, names and our order id.

Conventions: quantities and prices are fixed point with 8 decimals, times ns since the epoch (UTC), enums their numbers
in `messages`. A `sequence` is the record's number in its journal: intake's for orders (`order_number`), changes and
raw input, the sender's for everything else. NULL means "never happened" or "as requested"; an
order with OrdStatus 0 was the repeat of another and is none.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from oms_actors.core.order import PARTIAL, SIMPLE, Phase
from oms_actors.edges.store import SCHEMA_VERSION
from oms_actors.errors import Reason
from oms_actors.messages import (
    ExecType,
    Kind,
    OrderType,
    OrdStatus,
    ReportFlag,
    ResponseType,
    SessionEvent,
    Side,
    TimeInForce,
)

SQL_FILE = Path(__file__).with_name("schema.sql")

metadata = MetaData()


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger().with_variant(Integer, "sqlite"))


def _key(name: str) -> Column[int]:
    """Assigned by the journal, never by the database."""
    kind = BigInteger().with_variant(Integer, "sqlite")
    return Column(name, kind, primary_key=True, autoincrement=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text)


_REFUSAL = ("reason", "field", "value", "limit_value")

new_orders = Table(
    "new_orders", metadata,  # one row per NEW as it came, refused ones too; never changed
    _key("order_number"), _text("client_order_id"), _text("account"), _text("symbol"), _number("upstream"),
    _number("side"), _number("order_type"), _number("time_in_force"), _number("flags"),
    _number("quantity"), _number("price"), _number("stop_price"), _number("expire_time_ns"),
    _number("receive_time_ns"),
)  # fmt: skip

order_states = Table(
    "order_states", metadata,  # how an order stands; no row: PENDING_NEW, nothing has happened
    _key("order_number"), _number("ord_status"), _number("cum_quantity"), _number("avg_price"),
    _number("update_time_ns"), _text("current_client_order_id"), _number("current_quantity"), _number("current_price"),
    *map(_number, _REFUSAL), _text("text"),
)  # fmt: skip

changes = Table(
    "changes", metadata,  # one row per MODIFY or CANCEL, refused ones too
    _key("sequence"), _number("kind"), _text("client_order_id"), _text("orig_client_order_id"), _text("account"),
    _text("symbol"), _number("upstream"), _number("side"), _number("flags"), _number("quantity"), _number("price"),
    _number("stop_price"), _number("receive_time_ns"), *map(_number, _REFUSAL),
)  # fmt: skip

sends = Table(
    "sends", metadata,  # one row per call of the exchange; time_ns is when it was journalled, just before the call
    _key("sequence"), _number("order_number"), _number("kind"), _text("client_order_id"), _number("time_ns"),
    _number("outcome"), _number("call_duration_ns"),
)  # fmt: skip

reports = Table(
    "reports", metadata,  # what happened to orders, except executions; client_order_id NULL: the order's first
    _key("sequence"), _number("order_number"), _number("exec_type"), _number("response_type"), _number("flags"),
    _number("latency_ns"), _number("time_ns"), _number("ord_status"), _number("kind"), _text("client_order_id"),
    _text("orig_client_order_id"), _text("account"), _number("upstream"), _number("quantity"), _number("price"),
    _text("exec_id"), *map(_number, _REFUSAL), _text("text"),
)  # fmt: skip

executions = Table(
    "executions", metadata,
    _key("sequence"), _number("order_number"), _text("exec_id"), _number("quantity"), _number("price"),
    _number("flags"), _number("latency_ns"), _number("time_ns"), _text("text"),
)  # fmt: skip

sessions = Table(
    "sessions", metadata,
    _key("sequence"), _number("event"), _number("reason"), _number("time_ns"), _number("open_ns"), _number("close_ns"),
    _number("trade_date"), _text("text"),
)  # fmt: skip

raw = Table(
    "raw", metadata,  # input that could not be decoded, as it came; origin "intake" or "sender" (a journal's frame)
    Column("origin", Text, primary_key=True), _key("sequence"), _number("upstream"), _number("time_ns"),
    Column("data", LargeBinary), *map(_number, _REFUSAL),
)  # fmt: skip

upstreams = Table("upstreams", metadata, _key("number"), _text("name"))

positions = Table(
    "positions", metadata,  # how far each journal is in here: written with the rows, in the same transaction
    Column("journal", Text, primary_key=True), _number("generation"), _number("byte_offset"), _number("sequence"),
)  # fmt: skip

matches = Table(
    "matches", metadata,  # internal crossing: two waiting orders that met before they were sent
    _key("sequence"), _number("time_ns"), _number("buy_order_number"), _number("sell_order_number"), _text("symbol"),
    _number("quantity"), _number("price"),
)  # fmt: skip

own_cancels = Table(
    "own_cancels", metadata,  # cancels that the desk itself asked for (kill switch, close, mass cancel)
    _key("sequence"), _text("client_order_id"), _text("orig_client_order_id"), _text("account"), _number("time_ns"),
)  # fmt: skip

desk = Table("desk", metadata, Column("order_id_prefix", Text, primary_key=True))


def _names(column: str, members: type[OrdStatus | ExecType | Kind | Side | OrderType | TimeInForce | ResponseType |
                                       SessionEvent | Reason]) -> str:  # fmt: skip
    cases = " ".join(f"WHEN {member.value} THEN '{member.name}'" for member in members)
    return f"CASE {column} {cases} END"


def _decimal(column: str) -> str:
    """Exact decimal text of a fixed-point column."""
    digits = f"printf('%s%d.%08d', iif({column} < 0, '-', ''), abs({column} / 100000000), abs({column} % 100000000))"
    return f"rtrim(rtrim({digits}, '0'), '.')"


def _time(column: str) -> str:
    seconds = f"strftime('%Y-%m-%d %H:%M:%S', {column} / 1000000000, 'unixepoch')"
    return f"{seconds} || printf('.%09d', {column} % 1000000000)"


def _order_id(column: str) -> str:
    return f"(SELECT order_id_prefix FROM desk) || printf('%012x', {column})"


_DONE = ", ".join(
    str(int(s)) for s in (OrdStatus.FILLED, OrdStatus.CANCELED, OrdStatus.REJECTED, OrdStatus.EXPIRED,
                          OrdStatus.DONE_UNKNOWN)
)  # fmt: skip
_LEAVES = "max(o.current_quantity - o.cum_quantity, 0)"

VIEWS = {
    "orders": (
        f"SELECT n.*, COALESCE(s.ord_status, {int(OrdStatus.PENDING_NEW)}) AS ord_status, "
        "COALESCE(s.cum_quantity, 0) AS cum_quantity, COALESCE(s.avg_price, 0) AS avg_price, "
        "COALESCE(s.update_time_ns, 0) AS update_time_ns, "
        "COALESCE(s.current_client_order_id, n.client_order_id) AS current_client_order_id, "
        "COALESCE(s.current_quantity, n.quantity) AS current_quantity, "
        "COALESCE(s.current_price, n.price) AS current_price, s.reason, s.field, s.value, s.limit_value, s.text "
        "FROM new_orders n LEFT JOIN order_states s USING (order_number)"
    ),
    "requests": (
        "SELECT order_number AS sequence, 1 AS kind, client_order_id, NULL AS orig_client_order_id, account, symbol, "
        "upstream, side, flags, quantity, price, stop_price, receive_time_ns, reason, field, value, limit_value "
        "FROM orders UNION ALL "
        "SELECT sequence, kind, client_order_id, orig_client_order_id, account, symbol, upstream, side, flags, "
        "quantity, price, stop_price, receive_time_ns, reason, field, value, limit_value FROM changes"
    ),
    "responses": (
        "SELECT r.sequence, r.order_number, r.response_type, COALESCE(r.client_order_id, o.client_order_id) AS "
        "client_order_id, r.latency_ns, r.time_ns, r.text FROM reports r LEFT JOIN new_orders o USING (order_number) "
        "WHERE r.response_type > 0 UNION ALL "
        f"SELECT e.sequence, e.order_number, {int(ResponseType.FILL)}, o.client_order_id, e.latency_ns, e.time_ns, "
        f"e.text FROM executions e LEFT JOIN new_orders o USING (order_number) "
        f"WHERE e.flags & {int(ReportFlag.FROM_VENUE)}"
    ),
    "v_orders": (
        f"SELECT o.order_number, {_order_id('o.order_number')} AS order_id, "
        "o.current_client_order_id AS client_order_id, o.account, u.name AS upstream, "
        f"o.symbol, {_names('o.side', Side)} AS side, {_names('o.order_type', OrderType)} AS order_type, "
        f"{_names('o.time_in_force', TimeInForce)} AS time_in_force, {_decimal('o.current_quantity')} AS quantity, "
        f"{_decimal('o.current_price')} AS price, {_names('o.ord_status', OrdStatus)} AS status, "
        f"{_decimal('o.cum_quantity')} AS cum_quantity, {_decimal('o.avg_price')} AS avg_price, "
        f"CASE WHEN o.ord_status IN ({_DONE}) THEN '0' ELSE {_decimal(_LEAVES)} END "
        f"AS leaves_quantity, {_names('o.reason', Reason)} AS reason, o.text, "
        f"{_time('o.receive_time_ns')} AS received, {_time('NULLIF(o.update_time_ns, 0)')} AS updated, "
        f"CASE WHEN o.ord_status = {int(OrdStatus.FILLED)} THEN '{SIMPLE[Phase.FILLED]}' "
        f"WHEN o.ord_status IN ({_DONE}) THEN '{SIMPLE[Phase.CANCELED]}' WHEN o.cum_quantity > 0 THEN '{PARTIAL}' "
        f"WHEN o.order_number IN (SELECT order_number FROM sends) THEN '{SIMPLE[Phase.SENT]}' "
        f"ELSE '{SIMPLE[Phase.QUEUED]}' END AS simple "
        "FROM orders o LEFT JOIN upstreams u ON u.number = o.upstream WHERE o.ord_status <> 0"
    ),
    "v_executions": (
        "SELECT e.sequence, e.order_number, o.client_order_id, o.symbol, e.exec_id, "
        f"{_decimal('e.quantity')} AS quantity, {_decimal('e.price')} AS price, e.latency_ns / 1000 AS latency_us, "
        f"{_time('e.time_ns')} AS time FROM executions e LEFT JOIN new_orders o USING (order_number)"
    ),
    "v_responses": (
        f"SELECT sequence, order_number, client_order_id, {_names('response_type', ResponseType)} AS response_type, "
        f"latency_ns / 1000 AS latency_us, {_time('time_ns')} AS time, text FROM responses"
    ),
    "order_matching": (
        f"SELECT m.sequence, {_order_id('m.buy_order_number')} AS buy_order_id, "
        f"{_order_id('m.sell_order_number')} AS sell_order_id, b.client_order_id AS buy_client_order_id, "
        f"s.client_order_id AS sell_client_order_id, m.symbol, {_decimal('m.quantity')} AS quantity, "
        f"{_decimal('m.price')} AS price, {_time('m.time_ns')} AS time FROM matches m "
        "LEFT JOIN new_orders b ON b.order_number = m.buy_order_number "
        "LEFT JOIN new_orders s ON s.order_number = m.sell_order_number"
    ),
    "v_sessions": (
        f"SELECT sequence, {_names('event', SessionEvent)} AS event, trade_date, {_time('time_ns')} AS time, "
        f"{_time('open_ns')} AS open, {_time('close_ns')} AS close, text FROM sessions"
    ),
}
"""For people and tools; SQLite's dialect."""


def sqlite_script() -> str:
    """Everything that makes an empty SQLite file ours, statement by statement."""
    dialect = sqlite.dialect()
    tables = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    views = [f"CREATE VIEW {name} AS\n{select}" for name, select in VIEWS.items()]
    head = "-- Generated from schema.py: python -m oms_actors.edges.schema\n"
    version = f"PRAGMA user_version = {SCHEMA_VERSION}"
    return head + "".join(f"{_tidy(statement)};\n" for statement in (*tables, *views, version))


def _tidy(statement: str) -> str:
    return "\n".join(line.replace("\t", "    ").rstrip() for line in statement.strip().splitlines())


if __name__ == "__main__":
    SQL_FILE.write_text(sqlite_script())
