"""What must be in a desk's database after a bench: each order once in each table, and as it was ordered.

The benches' orders are alike (`bench.load`): LIMIT, so much at that price. A row that is missing or doubled, and one
with another quantity or price, is a wrong answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from bench.measure import WrongAnswer
from oms_actors.errors import ONE
from oms_actors.messages import OrdStatus

QUANTITY, PRICE = 100, "585.33"
"""Of every order."""
_AMOUNT, _LEVEL = QUANTITY * ONE, int(Decimal(PRICE) * ONE)
_ORDERED = f"quantity = {_AMOUNT} AND price = {_LEVEL}"
_FILLED = f"ord_status = {int(OrdStatus.FILLED)} AND cum_quantity = {_AMOUNT} AND avg_price = {_LEVEL}"
_ACCEPTED = f"ord_status = {int(OrdStatus.NEW)} AND cum_quantity = 0"


def check(database: Path, orders: int, tables: Iterable[str], *, filled: bool) -> None:
    """`filled`: each order was executed in one piece at its price; else it rests at the exchange."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:

        def counted(what: str, table: str, where: str = "1") -> int:
            return int(connection.execute(f"SELECT count({what}) FROM {table} WHERE {where}").fetchone()[0])

        for table in tables:
            found = counted("*", table), counted("DISTINCT order_number", table)
            if found != (orders, orders):
                raise WrongAnswer(f"{table} has (rows, orders) {found}, must be {orders}")
        right = counted("DISTINCT client_order_id", "orders", f"{_ORDERED} AND {_FILLED if filled else _ACCEPTED}")
        if right != orders:
            raise WrongAnswer(f"{right} of {orders} orders stand as they must: {QUANTITY} at {PRICE}, filled {filled}")
        if filled and (right := counted("DISTINCT exec_id", "executions", _ORDERED)) != orders:
            raise WrongAnswer(f"{right} of {orders} executions are of {QUANTITY} at {PRICE}")
