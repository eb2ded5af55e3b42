"""One symbol's limit order book: price-time priority, pure (no clock, no I/O), integers only.

Theory of operation. A side is a dict of price levels and a heap of their keys; a key is the price for asks and its
negative for bids, so the smallest key is the best of either side and one matching loop serves both. A level is a list
of orders, oldest first. Nothing is ever taken out of the middle of anything: an order that is done has `leaves == 0`
wherever it still lies and is skipped, an empty level stays in dict and heap together until it comes to the top; a list
is swept when half of it is done, so all of this costs amortised constant time. Only the top of a heap is always live.

Results leave as tuples through `emit`, in the order in which they happened:

    (ACCEPTED, order_id)                                  (CANCELED, order_id, leaves, reason)
    (REJECTED, order_id, reason, field, value, limit)     (REPLACED, order_id, quantity, leaves, price, stop_price)
    (TRIGGERED, order_id)                                 (TRADE, price, quantity, taker_id, taker_leaves,
                                                                  maker_id, maker_leaves)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from oms_actors.errors import Field, Reason
from oms_actors.messages import OrderType, Side, TimeInForce

# Plain ints: an enum member costs a slow lookup on the hot path.
BUY, SELL = Side.BUY.value, Side.SELL.value
MARKET, LIMIT = OrderType.MARKET.value, OrderType.LIMIT.value
STOP, STOP_LIMIT = OrderType.STOP.value, OrderType.STOP_LIMIT.value
DAY, GTC, GTD = TimeInForce.DAY.value, TimeInForce.GTC.value, TimeInForce.GTD.value
IOC, FOK = TimeInForce.IOC.value, TimeInForce.FOK.value

ACCEPTED, REJECTED, TRADE, CANCELED, REPLACED, TRIGGERED = range(1, 7)
EVENT_NAMES = ("", "ACCEPTED", "REJECTED", "TRADE", "CANCELED", "REPLACED", "TRIGGERED")

_UNKNOWN = (Reason.UNKNOWN_ORDER.value, Field.ORIG_CLIENT_ORDER_ID.value, 0, 0)
_NO_LIQUIDITY, _SELF_TRADE = Reason.NO_LIQUIDITY.value, Reason.SELF_TRADE.value
_ANY_PRICE = 1 << 63
_SWEEP_AT = 32
"""As few done orders, or levels, as this are never swept."""

Event = tuple[int, ...]
Fault = tuple[int, int, int, int]
"""(reason, field, value, limit) of a refusal, numbers of `errors.Reason` and `errors.Field`."""


class State(IntEnum):
    """Trading state. A cancel is accepted in every state: nobody is locked into an order."""

    CONTINUOUS = 0
    HALTED = 1
    CLOSED = 2


class SelfTrade(IntEnum):
    """What happens when an order would trade with another of the same (non-zero) owner."""

    ALLOW = 0
    CANCEL_NEWEST = 1
    """The rest of the incoming order is canceled."""
    CANCEL_OLDEST = 2
    """The resting order is canceled, the incoming one goes on."""


class Order(msgspec.Struct, gc=False):
    """An order in the book. `leaves` is what is still open: 0 = done, or replaced by a successor with the same id."""

    id: int
    side: int
    price: int
    quantity: int
    leaves: int
    owner: int = 0
    order_type: int = LIMIT
    time_in_force: int = DAY
    post_only: bool = False
    stop_price: int = 0
    expire_ns: int = 0


class _Level:
    """Orders at one price, oldest first: those before `head` are done, and `dead` others. `total` sums the leaves."""

    __slots__ = ("dead", "head", "queue", "total")

    def __init__(self, order: Order) -> None:
        self.queue = [order]
        self.total = order.leaves
        self.head = self.dead = 0


class DepthLevel(NamedTuple):
    price: int
    quantity: int
    orders: int


class _BookSide:
    """Price levels, best first by heap."""

    __slots__ = ("heap", "levels", "sign", "sweep_at")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.heap: list[int] = []
        self.levels: dict[int, _Level] = {}
        self.sweep_at = _SWEEP_AT

    def add(self, key: int, order: Order) -> None:
        try:
            level = self.levels[key]
        except KeyError:
            self._new_level(key, order)
            return
        level.queue.append(order)
        level.total += order.leaves

    def _new_level(self, key: int, order: Order) -> None:
        if len(self.heap) >= self.sweep_at:
            self.levels = {k: level for k, level in self.levels.items() if level.total}
            self.heap = list(self.levels)
            heapify(self.heap)
            self.sweep_at = 2 * len(self.heap) + _SWEEP_AT
        heappush(self.heap, key)
        self.levels[key] = _Level(order)

    def remove(self, order: Order) -> None:
        """Take a resting order's leaves out; its place in the queue is skipped later."""
        key = order.price * self.sign
        level = self.levels[key]
        level.total = total = level.total - order.leaves
        order.leaves = 0
        if not total:
            level.queue.clear()
            level.head = level.dead = 0
            if self.heap[0] == key:
                self.prune()
            return
        level.dead = dead = level.dead + 1
        if dead > _SWEEP_AT and 2 * dead > len(level.queue):
            level.queue = [o for o in level.queue if o.leaves]
            level.head = level.dead = 0

    def prune(self) -> None:
        """Drop empty levels from the top."""
        heap, levels = self.heap, self.levels
        while heap and not levels[heap[0]].total:
            del levels[heappop(heap)]

    def walk(self) -> Iterator[tuple[int, _Level]]:
        """(price, level) best first, lazily: a heap is a tree whose children are never better than their parent."""
        heap, sign = self.heap, self.sign
        frontier = [(heap[0], 0)] if heap else []
        while frontier:
            key, i = heappop(frontier)
            level = self.levels[key]
            if level.total:
                yield key * sign, level
            for child in (2 * i + 1, 2 * i + 2):
                if child < len(heap):
                    heappush(frontier, (heap[child], child))


class _Waiting:
    """Orders by a key (stop price or expiry), ties by arrival; done ones are dropped lazily."""

    __slots__ = ("arrivals", "heap", "sweep_at")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Order]] = []
        self.arrivals = 0
        self.sweep_at = _SWEEP_AT

    def push(self, key: int, order: Order) -> None:
        if len(self.heap) >= self.sweep_at:
            self.heap = [entry for entry in self.heap if entry[2].leaves]
            heapify(self.heap)
            self.sweep_at = 2 * len(self.heap) + _SWEEP_AT
        self.arrivals += 1
        heappush(self.heap, (key, self.arrivals, order))

    def pop_until(self, key: int) -> Iterator[Order]:
        """Live orders with a key up to and including `key`, in order."""
        heap = self.heap
        while heap and heap[0][0] <= key:
            order = heappop(heap)[2]
            if order.leaves:
                yield order

    def live(self) -> list[Order]:
        """In order, each once."""
        return list({id(entry[2]): entry[2] for entry in sorted(self.heap) if entry[2].leaves}.values())

    def first_key(self) -> int | None:
        heap = self.heap
        while heap and not heap[0][2].leaves:
            heappop(heap)
        return heap[0][0] if heap else None


class Book:
    """The order book of one symbol.

    Prices and quantities are positive integers in whatever unit the caller likes; `tick` and `lot` are in the same
    units. Order ids are the caller's: unique, never used again. Every method reports through `emit`.
    """

    def __init__(
        self,
        emit: Callable[[Event], Any],
        tick: int = 1,
        lot: int = 1,
        self_trade: SelfTrade = SelfTrade.ALLOW,
    ) -> None:
        self.tick, self.lot, self.self_trade = tick, lot, self_trade
        self._steps = tick != 1 or lot != 1
        self.state: int = State.CONTINUOUS
        self.orders: dict[int, Order] = {}
        self.last_price = self.last_quantity = self.trades = self.volume = 0
        self._emit = emit
        self._bids, self._asks = _BookSide(-1), _BookSide(1)
        self._buy_stops, self._sell_stops, self._expiries = _Waiting(), _Waiting(), _Waiting()
        self._elected: deque[Order] = deque()

    # -- requests ---------------------------------------------------------------------------------------------------

    def new(
        self,
        order_id: int,
        side: int,
        quantity: int,
        price: int,
        owner: int = 0,
        order_type: int = LIMIT,
        time_in_force: int = DAY,
        post_only: bool = False,
        stop_price: int = 0,
        expire_ns: int = 0,
    ) -> None:
        """Enter an order: ACCEPTED, then its trades, then CANCELED if something is left that may not rest; or REJECTED.

        `price` is ignored for MARKET and STOP, `stop_price` must be 0 but for STOP and STOP_LIMIT, `expire_ns` is for
        GTD alone and is only compared with what `expire` is given.
        """
        if (
            order_type == LIMIT
            and time_in_force <= GTC
            and not (post_only or stop_price or self.state)
            and quantity > 0
            and price > 0
            and not (self._steps and (quantity % self.lot or price % self.tick))
        ):  # nearly all orders: the shortest way, `_enter` written out
            self._emit((ACCEPTED, order_id))
            order = Order(order_id, side, price, quantity, quantity, owner, LIMIT, time_in_force)
            if side == BUY:
                mine, theirs, key, bound = self._bids, self._asks, -price, price
            else:
                mine, theirs, key, bound = self._asks, self._bids, price, -price
            if theirs.heap and theirs.heap[0] <= bound:
                self._match(order, theirs, bound)
            if order.leaves:
                self.orders[order_id] = order
                mine.add(key, order)
            if self._elected:
                self._run_elected()
            return
        order = Order(
            order_id, side, price, quantity, quantity, owner, order_type, time_in_force, post_only, stop_price,
            expire_ns,
        )  # fmt: skip
        fault = self._fault(order, quantity)
        if fault:
            self._emit((REJECTED, order_id, *fault))
            return
        self._emit((ACCEPTED, order_id))
        self._enter(order)

    def cancel(self, order_id: int, reason: int = 0) -> None:
        """Take an order out: CANCELED with `reason`, or REJECTED as UNKNOWN_ORDER."""
        order = self.orders.pop(order_id, None)
        if order is None:
            self._emit((REJECTED, order_id, *_UNKNOWN))
            return
        self._emit((CANCELED, order_id, order.leaves, reason))
        if order.order_type >= STOP:
            order.leaves = 0
        elif order.side == BUY:
            self._bids.remove(order)
        else:
            self._asks.remove(order)

    def replace(self, order_id: int, quantity: int, price: int, stop_price: int = 0) -> None:
        """Give an order a new total quantity and price: REPLACED, then perhaps trades; or REJECTED, nothing changed.

        A smaller quantity alone keeps the place in the queue; everything else goes to its end, or trades. A quantity
        not above what is filled ends the order.
        """
        order = self.orders.get(order_id)
        if order is None:
            self._emit((REJECTED, order_id, *_UNKNOWN))
            return
        filled = order.quantity - order.leaves
        leaves = max(quantity - filled, 0)
        successor = msgspec.structs.replace(
            order, quantity=filled + leaves, leaves=leaves, price=price, stop_price=stop_price
        )
        fault = self._fault(successor, quantity)
        if fault:
            self._emit((REJECTED, order_id, *fault))
            return
        self._emit((REPLACED, order_id, successor.quantity, leaves, price, stop_price))
        same_terms = price == order.price and stop_price == order.stop_price
        if same_terms and 0 < leaves < order.leaves:
            self._shrink(order, order.leaves - leaves)
            return
        self._drop(order)
        if leaves:
            self._enter(successor)

    def cancel_all(self, owner: int | None = None, reason: int = Reason.MASS_CANCEL) -> None:
        """Cancel every order, or every order of one owner, oldest id first."""
        for order_id in sorted(i for i, o in self.orders.items() if owner is None or o.owner == owner):
            self.cancel(order_id, reason)

    def expire(self, now_ns: int) -> None:
        """Cancel GTD orders whose time has come (`expire_ns` <= `now_ns`) as ORDER_EXPIRED, earliest first."""
        for order in self._expiries.pop_until(now_ns):
            self.cancel(order.id, Reason.ORDER_EXPIRED)

    def close_day(self) -> None:
        """Cancel DAY orders as END_OF_DAY, oldest id first; GTC and GTD stay."""
        for order_id in sorted(i for i, o in self.orders.items() if o.time_in_force not in (GTC, GTD)):
            self.cancel(order_id, Reason.END_OF_DAY)

    # -- what is seen -----------------------------------------------------------------------------------------------

    @property
    def best_bid(self) -> int:
        """Highest buy price, 0 if there is none."""
        return -self._bids.heap[0] if self._bids.heap else 0

    @property
    def best_ask(self) -> int:
        """Lowest sell price, 0 if there is none."""
        return self._asks.heap[0] if self._asks.heap else 0

    def depth(self, side: int, levels: int = 10) -> list[DepthLevel]:
        """The best `levels` price levels of a side, best first."""
        best_first = (self._bids if side == BUY else self._asks).walk()
        return [
            DepthLevel(price, level.total, len(level.queue) - level.head - level.dead)
            for price, level in islice(best_first, levels)
        ]

    def resting(self, side: int) -> Iterator[Order]:
        """Depth by order: a side's orders in the order in which they would trade."""
        for _, level in (self._bids if side == BUY else self._asks).walk():
            yield from (order for order in level.queue if order.leaves)

    def next_expiry_ns(self) -> int | None:
        """When `expire` will next have something to do."""
        return self._expiries.first_key()

    def dump(self) -> list[Any]:
        """The whole state, plain and canonical: books that have seen the same give the same."""
        orders = [*self.resting(BUY), *self.resting(SELL), *self._buy_stops.live(), *self._sell_stops.live()]
        return [
            [self.state, self.last_price, self.last_quantity, self.trades, str(self.volume)],
            [msgspec.structs.astuple(order) for order in orders],
            [order.id for order in self._expiries.live()],
        ]

    def load(self, data: list[Any]) -> None:
        """What `dump` gave, into an empty book."""
        (self.state, self.last_price, self.last_quantity, self.trades, volume), orders, expiring = data
        self.volume = int(volume)
        for fields in orders:
            order = Order(*fields)
            self.orders[order.id] = order
            if order.order_type >= STOP:
                self._wait(order)
            else:
                side = self._bids if order.side == BUY else self._asks
                side.add(order.price * side.sign, order)
        for order_id in expiring:
            self._expiries.push(self.orders[order_id].expire_ns, self.orders[order_id])

    # -- inside -----------------------------------------------------------------------------------------------------

    def _enter(self, order: Order) -> None:
        """Match or park an accepted order, then the stops that its trades elected, each in turn."""
        if order.order_type >= STOP and not self._elects(order):
            self.orders[order.id] = order
            self._wait(order)
            if order.time_in_force == GTD:
                self._expiries.push(order.expire_ns, order)
            return
        self._execute(order)
        self._run_elected()

    def _wait(self, order: Order) -> None:
        if order.side == BUY:
            self._buy_stops.push(order.stop_price, order)
        else:
            self._sell_stops.push(-order.stop_price, order)

    def _run_elected(self) -> None:
        """The stops that trades elected, each in turn; they may elect more."""
        while self._elected:
            self._execute(self._elected.popleft())

    def _execute(self, order: Order) -> None:
        """Trade what crosses; let the rest rest, or cancel it."""
        if order.side == BUY:
            mine, theirs, bound = self._bids, self._asks, order.price
        else:
            mine, theirs, bound = self._asks, self._bids, -order.price
        if order.order_type == MARKET:
            bound = _ANY_PRICE
        heap = theirs.heap
        if heap and heap[0] <= bound and (order.time_in_force != FOK or self._fillable(order, theirs, bound)):
            self._match(order, theirs, bound)
        if order.leaves:
            if order.order_type == MARKET or order.time_in_force in (IOC, FOK):
                self._emit((CANCELED, order.id, order.leaves, _NO_LIQUIDITY))
                order.leaves = 0
            else:
                self.orders[order.id] = order
                mine.add(-bound, order)
                if order.time_in_force == GTD:
                    self._expiries.push(order.expire_ns, order)

    def _match(self, taker: Order, theirs: _BookSide, bound: int) -> None:
        """Trade against levels from the best to `bound`, each from its head."""
        emit, orders, heap = self._emit, self.orders, theirs.heap
        levels, taker_id, left = theirs.levels, taker.id, taker.leaves
        guarded = taker.owner if self.self_trade else 0
        trades = volume = first_price = price = quantity = 0
        while left and heap and heap[0] <= bound:
            key = heap[0]
            level = levels[key]
            queue, head, total = level.queue, level.head, level.total
            while left and total:
                maker = queue[head]
                resting = maker.leaves
                if not resting:
                    head += 1
                    level.dead -= 1
                    continue
                if guarded and maker.owner == guarded:
                    if self.self_trade == SelfTrade.CANCEL_NEWEST:
                        emit((CANCELED, taker_id, left, _SELF_TRADE))
                        left = 0
                        continue
                    emit((CANCELED, maker.id, resting, _SELF_TRADE))
                    total -= resting
                    resting = 0
                else:
                    price = maker.price
                    quantity = resting if resting < left else left
                    left -= quantity
                    total -= quantity
                    resting -= quantity
                    emit((TRADE, price, quantity, taker_id, left, maker.id, resting))
                    if not trades:
                        first_price = price
                    trades += 1
                    volume += quantity
                maker.leaves = resting
                if not resting:
                    head += 1
                    del orders[maker.id]
            if head > _SWEEP_AT and 2 * head > len(queue):
                del queue[:head]
                head = 0
            level.head, level.total = head, total
            if not total:
                theirs.prune()
        taker.leaves = left
        if trades:
            self.last_price, self.last_quantity = price, quantity
            self.trades += trades
            self.volume += volume
            if self._buy_stops.heap or self._sell_stops.heap:
                self._elect(max(first_price, price), min(first_price, price))

    def _guarded(self, order: Order) -> int:
        """The owner whose orders this one must not meet, 0 = none."""
        return order.owner if self.self_trade else 0

    def _fillable(self, order: Order, theirs: _BookSide, bound: int) -> bool:
        """Would all of a fill-or-kill order trade, self-trade prevention considered?"""
        left, guarded = order.leaves, self._guarded(order)
        for price, level in theirs.walk():
            if price * theirs.sign > bound:
                return False
            if not guarded:
                left -= level.total
            else:
                for maker in level.queue[level.head :]:
                    if maker.owner != guarded:
                        left -= maker.leaves
                    elif maker.leaves and left > 0 and self.self_trade == SelfTrade.CANCEL_NEWEST:
                        return False
            if left <= 0:
                return True
        return False

    def _elects(self, order: Order) -> bool:
        """Has the last trade already passed a new stop order's price? Then it triggers at once."""
        last, stop = self.last_price, order.stop_price
        if not last or (last < stop if order.side == BUY else last > stop):
            return False
        self._trigger(order)
        return True

    def _elect(self, high: int, low: int) -> None:
        """Trigger the stops that trades between `low` and `high` passed: buys, then sells, nearest price first."""
        for stops, key in ((self._buy_stops, high), (self._sell_stops, -low)):
            for order in stops.pop_until(key):
                del self.orders[order.id]
                self._trigger(order)
                self._elected.append(order)

    def _trigger(self, order: Order) -> None:
        order.order_type = MARKET if order.order_type == STOP else LIMIT
        order.stop_price = 0
        self._emit((TRIGGERED, order.id))

    def _drop(self, order: Order) -> None:
        """Take a live order out without a word."""
        del self.orders[order.id]
        if order.order_type >= STOP:
            order.leaves = 0
        else:
            (self._bids if order.side == BUY else self._asks).remove(order)

    def _shrink(self, order: Order, by: int) -> None:
        """Less quantity, same place."""
        order.quantity -= by
        order.leaves -= by
        if order.order_type < STOP:
            side = self._bids if order.side == BUY else self._asks
            side.levels[order.price * side.sign].total -= by

    def _fault(self, order: Order, quantity: int) -> Fault | None:
        """Why an order (or the successor of a replaced one) may not be entered, None if it may."""
        if self.state:
            reason = Reason.HALTED if self.state == State.HALTED else Reason.MARKET_CLOSED
            return reason, Field.NONE, 0, 0
        if quantity <= 0:
            return Reason.NOT_POSITIVE, Field.QUANTITY, quantity, 0
        if quantity % self.lot:
            return Reason.BAD_LOT, Field.QUANTITY, quantity, self.lot
        fault = self._price_fault(order)
        if fault is None and order.post_only:
            fault = self._post_only_fault(order)
        if fault is None and order.time_in_force == GTD and order.expire_ns <= 0:
            fault = Reason.MISSING, Field.EXPIRE_TIME, order.expire_ns, 0
        return fault

    def _price_fault(self, order: Order) -> Fault | None:
        checks = []
        if order.order_type in (LIMIT, STOP_LIMIT):
            checks.append((Field.PRICE, order.price))
        if order.order_type >= STOP:
            checks.append((Field.STOP_PRICE, order.stop_price))
        elif order.stop_price:
            return Reason.NOT_ALLOWED, Field.STOP_PRICE, order.stop_price, 0
        for field, price in checks:
            if price <= 0:
                return Reason.NOT_POSITIVE, field, price, 0
            if price % self.tick:
                return Reason.BAD_TICK, field, price, self.tick
        return None

    def _post_only_fault(self, order: Order) -> Fault | None:
        if order.order_type != LIMIT or order.time_in_force in (IOC, FOK):
            return Reason.NOT_ALLOWED, Field.FLAGS, order.order_type, 0
        heap, bound = (self._asks.heap, order.price) if order.side == BUY else (self._bids.heap, -order.price)
        if heap and heap[0] <= bound:
            return Reason.POST_ONLY_WOULD_CROSS, Field.PRICE, order.price, abs(heap[0])
        return None
