"""Long random streams for a book, from a seed: mostly sensible requests, so that a lot trades."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from oms_actors.messages import OrderType as T
from oms_actors.messages import TimeInForce as F

Call = tuple[Any, ...]


def stream(seed: int, length: int) -> Iterator[Call]:
    """(method, arguments) of `core.book.Book`; ids count from 1."""
    rng = random.Random(seed)
    spread = rng.choice((2, 5, 20))
    now = ids = 0
    for _ in range(length):
        price = 1000 + rng.randint(-spread, spread)
        side, quantity, owner = rng.randint(1, 2), rng.randint(1, 20), rng.randint(0, 3)
        kind = rng.random()
        if kind < 0.45:
            ids += 1
            yield "new", ids, side, quantity, price, owner, T.LIMIT, rng.choice((F.DAY, F.GTC)), False, 0, 0
        elif kind < 0.60:
            ids += 1
            tif = rng.choice((F.IOC, F.FOK, F.GTD, F.DAY))
            post_only = tif in (F.GTD, F.DAY) and rng.random() < 0.5
            order_type = T.LIMIT if post_only or tif in (F.GTD, F.DAY) else rng.choice((T.LIMIT, T.MARKET))
            yield "new", ids, side, quantity * 5, price, owner, order_type, tif, post_only, 0, now + rng.randint(0, 90)
        elif kind < 0.68:
            ids += 1
            stop = 1000 + rng.randint(-spread, spread)
            order_type, tif = rng.choice((T.STOP, T.STOP_LIMIT)), rng.choice((F.DAY, F.GTD, F.IOC))
            yield "new", ids, side, quantity, price, owner, order_type, tif, False, stop, now + 50
        elif kind < 0.85 and ids:
            yield "cancel", rng.randint(max(1, ids - 40), ids)
        elif kind < 0.97 and ids:
            # 0 stands for "as it was"; who applies the stream fills it in
            yield "replace", rng.randint(max(1, ids - 100), ids), rng.randint(1, 30), rng.choice((0, price)), 0
        elif kind < 0.99:
            now += rng.randint(1, 20)
            yield "expire", now
        elif rng.random() < 0.05:
            yield rng.choice((("close_day",), ("cancel_all", owner)))
