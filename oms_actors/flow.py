"""A made-up day at the desk: an endless stream of requests as a few busy algorithms would send them.

Prices of each symbol wander; buys and sells lie on both sides of them, some far enough to trade at once, so that a
matching exchange has something to do. Young orders are changed and canceled, since those are the ones that a
throttled desk still has in its queue. The same seed gives the same stream.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator

from oms_actors.messages import CancelOrder, ModifyOrder, NewOrder, Request, Side

SYMBOLS = ("AAPL", "MSFT", "INFY", "RELIANCE", "TCS")
TICKS_PER_UNIT = 100
_YOUNG = 400
_NEW, _MODIFY = 0.82, 0.92
_WALK, _SPREAD_TICKS, _TAKERS = 0.2, 12, 0.25


class _Order:
    __slots__ = ("buys", "id", "price", "quantity", "symbol")

    def __init__(self, id_: str, symbol: str, buys: bool, quantity: int, price: int) -> None:
        self.id, self.symbol, self.buys, self.quantity, self.price = id_, symbol, buys, quantity, price

    @property
    def side(self) -> Side:
        return Side.BUY if self.buys else Side.SELL


def flow(seed: int = 1, prefix: str = "F", symbols: tuple[str, ...] = SYMBOLS) -> Iterator[Request]:
    """Requests without end; client order ids are `prefix`, "-" and a number. Every order is changed at most once."""
    chance = random.Random(seed)
    middles = {symbol: chance.randrange(50, 3_000) * TICKS_PER_UNIT for symbol in symbols}
    young: deque[_Order] = deque(maxlen=_YOUNG)
    number = 0
    while True:
        number += 1
        name, dice = f"{prefix}-{number}", chance.random()
        if dice < _NEW or not young:
            order = _new(chance, name, middles)
            young.append(order)
            yield NewOrder(client_order_id=name, symbol=order.symbol, side=order.side, quantity=order.quantity,
                           price=_text(order.price))  # fmt: skip
            continue
        order = _taken(chance, young)
        if dice < _MODIFY:
            yield ModifyOrder(client_order_id=name, orig_client_order_id=order.id, symbol=order.symbol, side=order.side,
                              quantity=order.quantity + chance.randrange(1, 50),
                              price=_text(order.price + chance.randrange(-3, 4)))  # fmt: skip
        else:
            yield CancelOrder(client_order_id=name, orig_client_order_id=order.id, symbol=order.symbol, side=order.side)


def _new(chance: random.Random, name: str, middles: dict[str, int]) -> _Order:
    symbol = chance.choice(tuple(middles))
    if chance.random() < _WALK:
        middles[symbol] += chance.choice((-1, 1))
    buys = chance.random() < 0.5
    away = -chance.randrange(_SPREAD_TICKS) if chance.random() < _TAKERS else chance.randrange(1, _SPREAD_TICKS)
    price = max(1, middles[symbol] - away if buys else middles[symbol] + away)
    return _Order(name, symbol, buys, chance.randrange(1, 40) * 5, price)


def _taken(chance: random.Random, young: deque[_Order]) -> _Order:
    at = chance.randrange(len(young))
    order = young[at]
    del young[at]
    return order


def _text(ticks: int) -> str:
    return f"{ticks // TICKS_PER_UNIT}.{ticks % TICKS_PER_UNIT:02d}"
