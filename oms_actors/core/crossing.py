"""Internal crossing: waiting buys against waiting sells of a symbol, price-time priority, before anything is sent.

Theory of operation. Per symbol and side a heap of (price key, acceptance number, order). Entries are never removed when
an order is sent, canceled or changed: an entry counts only while its order still waits, has never been called out and
has the entry's price. A fresh or repriced order is matched against the best of the other side as long as they cross, at
the price of the one that waited longer. Only plain limit orders take part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from oms_actors.core.pending import QUEUED, Order
from oms_actors.messages import Flag, OrderType, Side, TimeInForce

_BUY = int(Side.BUY)
_TIFS = frozenset({int(TimeInForce.DAY), int(TimeInForce.GTC), int(TimeInForce.GTD)})
Entry = tuple[int, int, Order]


class Crossing:
    """The waiting orders of all symbols, by price."""

    __slots__ = ("_heaps",)

    def __init__(self) -> None:
        self._heaps: dict[bytes, list[Entry]] = {}

    def enter(self, order: Order) -> None:
        """An order waits, or waits at another price."""
        record = order.record
        if _eligible(order):
            sign = -1 if record[2] == _BUY else 1
            heap = self._heaps.setdefault(record[168:184] + record[2:3], [])
            heappush(heap, (sign * order.price, order.number, order))

    def matches(self, order: Order, may_go: Callable[[Order], bool]) -> Iterator[tuple[Order, int, int]]:
        """(other order, quantity, price) as long as `order` crosses; the caller applies each before the next.

        `may_go`: could it be sent now, for all that limits and times say? One that could not takes no part any more.
        """
        if not (_eligible(order) and may_go(order)):
            return
        buys = order.record[2] == _BUY
        heap = self._heaps.get(order.record[168:184] + bytes((3 - order.record[2],)), [])
        while heap and order.phase == QUEUED:
            key, _, other = heap[0]
            price = abs(key)
            if other.price != price or not (_eligible(other) and may_go(other)):
                heappop(heap)
                continue
            if (price > order.price) if buys else (price < order.price):
                return
            yield other, min(order.quantity - order.cum, other.quantity - other.cum), price


def _eligible(order: Order) -> bool:
    record = order.record
    return (
        order.phase == QUEUED and not order.attempt and not order.held and record[3] == OrderType.LIMIT
        and record[4] in _TIFS and not record[5] & Flag.POST_ONLY
    )  # fmt: skip
