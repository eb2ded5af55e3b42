"""Internal crossing: waiting buys against waiting sells of a symbol, price-time priority, before anything is sent.

Theory of operation. Per symbol and side a heap of (price key, acceptance number, order). Whatever waits is entered when
it comes and when its price changes. Entries are not searched for: one counts only while its order still waits, has
never been called out and has the entry's price, and the dead are swept out when they outnumber the living. The best of
both sides are matched as long as they cross. Only plain limit orders take part.

An order that crosses but may not be sent now (the kill switch holds it, a limit is against it) is *parked*, so that it
is in nobody's way, until `unpark`: when what holds it may have ended. `restless` are the symbols that may have
something to match; so what has to wait, for the session to open or for the next cycle, is found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush

from oms_actors.core.pending import QUEUED, Order
from oms_actors.messages import Flag, OrderType, Side, TimeInForce

SWEEP_MIN = 1024
"""So few entries are not worth a sweep."""
_BUY = int(Side.BUY)
_TIFS = frozenset({int(TimeInForce.DAY), int(TimeInForce.GTC), int(TimeInForce.GTD)})
Entry = tuple[int, int, Order]
MayGo = Callable[[Order], bool]
"""Could an order be sent now, for all that limits and times say?"""


class Heap:
    """One side of a symbol."""

    __slots__ = ("_sweep_at", "entries")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._sweep_at = SWEEP_MIN

    def push(self, order: Order) -> None:
        """Another entry."""
        if len(self.entries) >= self._sweep_at:
            living = {id(entry[2]): entry for entry in self.entries if _counts(entry)}
            self.entries = list(living.values())
            heapify(self.entries)
            self._sweep_at = max(2 * len(self.entries), SWEEP_MIN)
        heappush(self.entries, _entry(order))


class Crossing:
    """The waiting orders of all symbols, by price."""

    __slots__ = ("_books", "parked", "restless")

    def __init__(self) -> None:
        self._books: dict[bytes, tuple[Heap, Heap]] = {}
        """Buys and sells of a symbol."""
        self.parked: list[Order] = []
        self.restless: dict[bytes, None] = {}

    def enter(self, order: Order) -> bool:
        """An order waits, or waits at another price; False: it takes no part."""
        if not _takes_part(order):
            return False
        self._side(order).push(order)
        self.restless[order.symbol] = None
        return True

    def enter_all(self, orders: Iterable[Order]) -> None:
        """Whatever waits after a restart."""
        for order in filter(_takes_part, orders):
            self._side(order).entries.append(_entry(order))
        for symbol, sides in self._books.items():
            self.restless[symbol] = None
            for side in sides:
                heapify(side.entries)

    def unpark(self) -> None:
        """What held orders back may have ended."""
        parked, self.parked = self.parked, []
        for order in parked:
            self.enter(order)

    def pairs(self, symbol: bytes, may_go: MayGo, looks: int) -> Iterator[tuple[Order, Order] | None]:
        """(buy, sell) as long as the best of both sides cross, the caller applies each before the next; None where a
        look found somebody who takes no part any more. After so many looks the symbol stays restless."""
        buys, sells = self._books[symbol]
        for _ in range(looks):
            if not (buys.entries and sells.entries and -buys.entries[0][0] >= sells.entries[0][0]):
                self.restless.pop(symbol, None)
                return
            fits = self._is_first(buys, may_go) and self._is_first(sells, may_go)
            yield (buys.entries[0][2], sells.entries[0][2]) if fits else None

    def _is_first(self, side: Heap, may_go: MayGo) -> bool:
        """May the best of a side be matched? Else it is not there any more."""
        entry = side.entries[0]
        counts = _counts(entry)
        if counts and may_go(entry[2]):
            return True
        heappop(side.entries)
        if counts:
            self.parked.append(entry[2])
        return False

    def _side(self, order: Order) -> Heap:
        symbol = order.symbol
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = (Heap(), Heap())
        return book[order.record[2] != _BUY]


def _entry(order: Order) -> Entry:
    return -order.price if order.record[2] == _BUY else order.price, order.number, order


def _counts(entry: Entry) -> bool:
    return abs(entry[0]) == entry[2].price and _takes_part(entry[2])


def _takes_part(order: Order) -> bool:
    record = order.record
    return (
        order.phase == QUEUED and not order.attempt and record[3] == OrderType.LIMIT and record[4] in _TIFS
        and not record[5] & Flag.POST_ONLY
    )  # fmt: skip
