"""Random streams of every kind of request: `core.book` says the same, word for word, as the naive book."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oms_actors.core import book as b
from oms_actors.messages import OrderType, Side, TimeInForce
from tests.core.book_streams import stream
from tests.core.naive_book import NaiveBook

WORDS = {
    b.ACCEPTED: "ACCEPTED", b.REJECTED: "REJECTED", b.TRADE: "TRADE", b.CANCELED: "CANCELED", b.REPLACED: "REPLACED",
    b.TRIGGERED: "TRIGGERED",
}  # fmt: skip
PRICES = st.integers(95, 105)
ODD_PRICES = st.one_of(PRICES, PRICES, PRICES, st.sampled_from([0, -1, 1, 10**15]))
QUANTITIES = st.one_of(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, -5, 100, 10**12]))
SIDES = st.sampled_from([1, 2])
OWNERS = st.integers(0, 2)
TIMES = st.integers(0, 20)


class BookMachine(RuleBasedStateMachine):
    """Both books get the same requests; ids come from a counter, cancels and replaces name any id ever given."""

    @initialize(
        self_trade=st.sampled_from(["ALLOW", "CANCEL_NEWEST", "CANCEL_OLDEST"]),
        tick=st.sampled_from([1, 1, 5]),
        lot=st.sampled_from([1, 1, 3]),
    )
    def begin(self, self_trade: str, tick: int, lot: int) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.book = b.Book(self.events.append, tick, lot, b.SelfTrade[self_trade])
        self.naive = NaiveBook(tick, lot, self_trade)
        self.ids = 0
        self.now = 0
        self.traded = {Side.BUY: 0, Side.SELL: 0}
        self.account: dict[int, dict[str, int]] = {}

    def both(self, method: str, *arguments: Any) -> None:
        self.events.clear()
        self.naive.said.clear()
        getattr(self.book, method)(*arguments)
        getattr(self.naive, method)(*arguments)
        said = [(WORDS[e[0]], *e[1:]) for e in self.events]
        assert said == self.naive.said
        for e in self.events:
            event(WORDS[e[0]])
            if e[0] == b.TRADE:
                self.account[e[3]]["filled"] += e[2]
                self.account[e[5]]["filled"] += e[2]
            elif e[0] == b.CANCELED:
                self.account[e[1]]["canceled"] += e[2]
            elif e[0] == b.REPLACED:
                self.account[e[1]]["quantity"] = e[2]
            elif e[0] == b.REJECTED and e[1] == self.ids and method == "new":
                self.account[e[1]]["quantity"] = 0

    def enter(self, side: int, quantity: int, price: int, owner: int, order_type: int, tif: int,
              post_only: bool = False, stop: int = 0, expire: int = 0) -> None:  # fmt: skip
        self.ids += 1
        self.account[self.ids] = {"quantity": quantity, "filled": 0, "canceled": 0, "side": side}
        self.both("new", self.ids, side, quantity, price, owner, order_type, tif, post_only, stop, expire)

    @rule(orders=st.lists(st.tuples(SIDES, QUANTITIES, PRICES, OWNERS), min_size=1, max_size=12))
    def limits(self, orders: list[tuple[int, int, int, int]]) -> None:
        for side, quantity, price, owner in orders:
            self.enter(side, quantity, price, owner, OrderType.LIMIT, TimeInForce.DAY)

    @rule(side=SIDES, price=PRICES, count=st.integers(20, 80), every=st.integers(1, 4))
    def many_at_one_price_and_most_leave(self, side: int, price: int, count: int, every: int) -> None:
        first = self.ids + 1
        for _ in range(count):
            self.enter(side, 3, price, 0, OrderType.LIMIT, TimeInForce.GTC)
        for order_id in range(first, self.ids + 1, every):
            self.both("cancel", order_id)

    @rule(
        side=SIDES, quantity=QUANTITIES, price=ODD_PRICES, owner=OWNERS,
        order_type=st.sampled_from([t.value for t in OrderType]),
        tif=st.sampled_from([t.value for t in TimeInForce]),
        post_only=st.booleans(), stop=ODD_PRICES, expire=TIMES, plain=st.booleans(),
    )  # fmt: skip
    def any_order(self, side: int, quantity: int, price: int, owner: int, order_type: int, tif: int, post_only: bool,
                  stop: int, expire: int, plain: bool) -> None:  # fmt: skip
        if plain:  # mostly sensible: what does not belong is left out
            post_only = post_only and order_type == OrderType.LIMIT
            stop = stop if order_type >= OrderType.STOP else 0
        self.enter(side, quantity, price, owner, order_type, tif, post_only, stop, expire)

    @rule(side=SIDES, quantity=st.integers(1, 9), stop=PRICES, limit=PRICES, owner=OWNERS, is_limit=st.booleans())
    def stop_order(self, side: int, quantity: int, stop: int, limit: int, owner: int, is_limit: bool) -> None:
        order_type = OrderType.STOP_LIMIT if is_limit else OrderType.STOP
        self.enter(side, quantity, limit if is_limit else 0, owner, order_type, TimeInForce.DAY, False, stop)

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.both("cancel", self.some_id(data))

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), quantity=QUANTITIES, price=ODD_PRICES, keep=st.booleans())
    def replace(self, data: st.DataObject, quantity: int, price: int, keep: bool) -> None:
        order = self.book.orders.get(order_id := self.some_id(data))
        stop = order.stop_price if order else 0
        if order and keep:
            price = order.price
        elif stop:
            stop = data.draw(ODD_PRICES)
        self.both("replace", order_id, quantity, price, stop)

    def some_id(self, data: st.DataObject) -> int:
        live = sorted(self.book.orders)
        if live and data.draw(st.integers(0, 9)):
            return data.draw(st.sampled_from(live))
        return data.draw(st.integers(1, self.ids))

    @rule(what=st.sampled_from(["time", "time", "time", "close", "owner"]), step=st.integers(1, 10), owner=OWNERS)
    def clock(self, what: str, step: int, owner: int) -> None:
        if what == "close":
            self.both("close_day")
        elif what == "owner":
            self.both("cancel_all", owner or None)
        else:
            self.now += step
            self.both("expire", self.now)
            following = self.book.next_expiry_ns()
            assert following is None or following > self.now

    @precondition(lambda self: self.ids)
    @rule(state=st.sampled_from([b.State.HALTED, b.State.CLOSED]), data=st.data())
    def while_it_does_not_trade(self, state: b.State, data: st.DataObject) -> None:
        self.book.state, self.naive.state = state, state.name
        self.enter(Side.BUY, 1, 100, 0, OrderType.LIMIT, TimeInForce.DAY)
        self.both("replace", self.some_id(data), 1, 100, 0)
        self.both("cancel", self.some_id(data))
        self.book.state, self.naive.state = b.State.CONTINUOUS, "CONTINUOUS"

    @invariant()
    def depth_is_the_same(self) -> None:
        if not hasattr(self, "book"):
            return
        for side in (1, 2):
            assert self.book.depth(side, 1000) == self.naive.depth(side)
            assert [o.id for o in self.book.resting(side)] == [o["id"] for o in self.naive.resting(side)]
        assert self.book.last_price == self.naive.last_price

    @invariant()
    def bid_and_ask_never_cross(self) -> None:
        if hasattr(self, "book") and self.book.best_bid and self.book.best_ask:
            assert self.book.best_bid < self.book.best_ask

    @invariant()
    def every_quantity_is_accounted_for(self) -> None:
        if not hasattr(self, "book"):
            return
        bought = sum(a["filled"] for a in self.account.values() if a["side"] == Side.BUY)
        sold = sum(a["filled"] for a in self.account.values() if a["side"] == Side.SELL)
        assert bought == sold == self.book.volume
        for order_id, a in self.account.items():
            live = self.book.orders.get(order_id)
            assert a["quantity"] == a["filled"] + a["canceled"] + (live.leaves if live else 0)


BookMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBook = BookMachine.TestCase


@pytest.mark.parametrize("seed", range(24))
def test_a_long_random_stream_gives_the_same_events_and_depth(seed: int) -> None:
    self_trade = b.SelfTrade(seed % 3)
    events: list[tuple[Any, ...]] = []
    book, naive = b.Book(events.append, self_trade=self_trade), NaiveBook(self_trade=self_trade.name)
    for number, (method, *arguments) in enumerate(stream(seed, 1200)):
        if method == "replace" and (order := naive.find(arguments[0])):
            arguments[2] = arguments[2] or order["price"]
            arguments[3] = order["stop"]
        events.clear()
        naive.said.clear()
        getattr(book, method)(*arguments)
        getattr(naive, method)(*arguments)
        assert [(WORDS[e[0]], *e[1:]) for e in events] == naive.said
        if number % 7 == 0:
            assert [book.depth(side, 1000) for side in (1, 2)] == [naive.depth(side) for side in (1, 2)]
    assert book.trades > 30
