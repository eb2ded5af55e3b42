"""An order book as slow and plain as can be, written from the rules alone: the judge of `core.book`.

Orders are dicts in lists that are sorted whenever somebody looks; nothing is remembered that can be counted again.
"""

from __future__ import annotations

from typing import Any

from oms_actors.errors import Field, Reason
from oms_actors.messages import OrderType as T
from oms_actors.messages import Side
from oms_actors.messages import TimeInForce as F

Entry = dict[str, Any]


class NaiveBook:
    """The same methods as Book; events in `said`, as words instead of numbers."""

    def __init__(self, tick: int = 1, lot: int = 1, self_trade: str = "ALLOW") -> None:
        self.tick, self.lot, self.self_trade = tick, lot, self_trade
        self.state = "CONTINUOUS"
        self.live: list[Entry] = []  # everything accepted that is not done, in order of arrival at its place
        self.last_price = 0
        self.said: list[tuple[Any, ...]] = []
        self.arrivals = 0

    # rules of entry

    def refusal(self, o: Entry, quantity: int) -> tuple[Any, ...] | None:
        if self.state == "HALTED":
            return Reason.HALTED, Field.NONE, 0, 0
        if self.state == "CLOSED":
            return Reason.MARKET_CLOSED, Field.NONE, 0, 0
        if quantity < 1:
            return Reason.NOT_POSITIVE, Field.QUANTITY, quantity, 0
        if quantity % self.lot != 0:
            return Reason.BAD_LOT, Field.QUANTITY, quantity, self.lot
        if o["type"] in (T.MARKET, T.LIMIT) and o["stop"] != 0:
            return Reason.NOT_ALLOWED, Field.STOP_PRICE, o["stop"], 0
        prices = []
        if o["type"] in (T.LIMIT, T.STOP_LIMIT):
            prices.append((Field.PRICE, o["price"]))
        if o["type"] in (T.STOP, T.STOP_LIMIT):
            prices.append((Field.STOP_PRICE, o["stop"]))
        for field, price in prices:
            if price < 1:
                return Reason.NOT_POSITIVE, field, price, 0
            if price % self.tick != 0:
                return Reason.BAD_TICK, field, price, self.tick
        if o["post_only"]:
            if o["type"] != T.LIMIT or o["tif"] in (F.IOC, F.FOK):
                return Reason.NOT_ALLOWED, Field.FLAGS, o["type"], 0
            against = [x for x in self.opposite(o) if self.meets(o, x)]
            if against:
                return Reason.POST_ONLY_WOULD_CROSS, Field.PRICE, o["price"], against[0]["price"]
        if o["tif"] == F.GTD and o["expire"] < 1:
            return Reason.MISSING, Field.EXPIRE_TIME, o["expire"], 0
        return None

    # what is where

    def resting(self, side: int) -> list[Entry]:
        """In the order in which they would trade."""
        best_first = -1 if side == Side.BUY else 1
        found = [o for o in self.live if o["side"] == side and o["type"] == T.LIMIT]
        return sorted(found, key=lambda o: (best_first * o["price"], o["arrival"]))

    def opposite(self, o: Entry) -> list[Entry]:
        return self.resting(Side.SELL if o["side"] == Side.BUY else Side.BUY)

    @staticmethod
    def meets(o: Entry, resting: Entry) -> bool:
        if o["type"] == T.MARKET:
            return True
        return resting["price"] <= o["price"] if o["side"] == Side.BUY else resting["price"] >= o["price"]

    def stops(self) -> list[Entry]:
        return [o for o in self.live if o["type"] in (T.STOP, T.STOP_LIMIT)]

    def depth(self, side: int) -> list[tuple[int, int, int]]:
        found: list[tuple[int, int, int]] = []
        for o in self.resting(side):
            if found and found[-1][0] == o["price"]:
                price, quantity, count = found.pop()
                found.append((price, quantity + o["leaves"], count + 1))
            else:
                found.append((o["price"], o["leaves"], 1))
        return found

    def find(self, id: int) -> Entry | None:
        return next((o for o in self.live if o["id"] == id), None)

    # requests

    def new(
        self, id: int, side: int, quantity: int, price: int, owner: int, type: int, tif: int, post_only: bool,
        stop: int, expire: int,
    ) -> None:  # fmt: skip
        o: Entry = {
            "id": id, "side": side, "quantity": quantity, "leaves": quantity, "price": price, "owner": owner,
            "type": type, "tif": tif, "post_only": post_only, "stop": stop, "expire": expire,
        }  # fmt: skip
        refusal = self.refusal(o, quantity)
        if refusal:
            self.said.append(("REJECTED", id, *refusal))
        else:
            self.said.append(("ACCEPTED", id))
            self.enter(o)

    def cancel(self, id: int, reason: int = 0) -> None:
        o = self.find(id)
        if o is None:
            self.said.append(("REJECTED", id, Reason.UNKNOWN_ORDER, Field.ORIG_CLIENT_ORDER_ID, 0, 0))
        else:
            self.said.append(("CANCELED", id, o["leaves"], reason))
            self.live.remove(o)

    def replace(self, id: int, quantity: int, price: int, stop: int) -> None:
        o = self.find(id)
        if o is None:
            self.said.append(("REJECTED", id, Reason.UNKNOWN_ORDER, Field.ORIG_CLIENT_ORDER_ID, 0, 0))
            return
        filled = o["quantity"] - o["leaves"]
        changed = o | {"price": price, "stop": stop, "quantity": max(quantity, filled)}
        changed["leaves"] = changed["quantity"] - filled
        refusal = self.refusal(changed, quantity)
        if refusal:
            self.said.append(("REJECTED", id, *refusal))
            return
        self.said.append(("REPLACED", id, changed["quantity"], changed["leaves"], price, stop))
        if changed["leaves"] == 0:
            self.live.remove(o)
        elif (price, stop) == (o["price"], o["stop"]) and quantity < o["quantity"]:
            o.update(changed)
        else:
            self.live.remove(o)
            self.enter(changed)

    def cancel_all(self, owner: int | None) -> None:
        for id in sorted(o["id"] for o in self.live if owner in (None, o["owner"])):
            self.cancel(id, Reason.MASS_CANCEL)

    def expire(self, now: int) -> None:
        due = [o for o in self.live if o["tif"] == F.GTD and o["expire"] <= now]
        for o in sorted(due, key=lambda o: (o["expire"], o["clock_arrival"])):
            self.cancel(o["id"], Reason.ORDER_EXPIRED)

    def close_day(self) -> None:
        for id in sorted(o["id"] for o in self.live if o["tif"] not in (F.GTC, F.GTD)):
            self.cancel(id, Reason.END_OF_DAY)

    # what happens then

    def enter(self, o: Entry) -> None:
        waiting = [o]
        if o["type"] in (T.STOP, T.STOP_LIMIT):
            if not self.is_passed(o, self.last_price, self.last_price):
                self.place(o)
                return
            self.trigger(o)
        while waiting:
            waiting += self.execute(waiting.pop(0))

    def place(self, o: Entry) -> None:
        self.arrivals += 1
        o["arrival"] = o["clock_arrival"] = self.arrivals
        self.live.append(o)

    def is_passed(self, o: Entry, low: int, high: int) -> bool:
        if not self.last_price:
            return False
        return high >= o["stop"] if o["side"] == Side.BUY else low <= o["stop"]

    def trigger(self, o: Entry) -> None:
        o["type"] = T.MARKET if o["type"] == T.STOP else T.LIMIT
        o["stop"] = 0
        self.said.append(("TRIGGERED", o["id"]))

    def execute(self, o: Entry) -> list[Entry]:
        """Trades what can trade, places the rest; returns the stops that this elected."""
        prices: list[int] = []
        if o["tif"] != F.FOK or self.could_fill(o):
            prices = self.trade(o)
        elected = self.elect(prices) if prices else []
        if o["leaves"]:
            if o["type"] == T.MARKET or o["tif"] in (F.IOC, F.FOK):
                self.said.append(("CANCELED", o["id"], o["leaves"], Reason.NO_LIQUIDITY))
            else:
                self.place(o)
        return elected

    def trade(self, o: Entry) -> list[int]:
        prices = []
        for maker in self.opposite(o):
            if not o["leaves"] or not self.meets(o, maker):
                break
            if self.are_same(o, maker):
                if self.self_trade == "CANCEL_NEWEST":
                    self.said.append(("CANCELED", o["id"], o["leaves"], Reason.SELF_TRADE))
                    o["leaves"] = 0
                else:
                    self.said.append(("CANCELED", maker["id"], maker["leaves"], Reason.SELF_TRADE))
                    self.live.remove(maker)
                continue
            quantity = min(o["leaves"], maker["leaves"])
            o["leaves"] -= quantity
            maker["leaves"] -= quantity
            self.last_price = maker["price"]
            prices.append(maker["price"])
            self.said.append(("TRADE", maker["price"], quantity, o["id"], o["leaves"], maker["id"], maker["leaves"]))
            if not maker["leaves"]:
                self.live.remove(maker)
        return prices

    def are_same(self, o: Entry, maker: Entry) -> bool:
        return self.self_trade != "ALLOW" and o["owner"] != 0 and o["owner"] == maker["owner"]

    def could_fill(self, o: Entry) -> bool:
        left = o["leaves"]
        for maker in self.opposite(o):
            if left <= 0 or not self.meets(o, maker):
                break
            if not self.are_same(o, maker):
                left -= maker["leaves"]
            elif self.self_trade == "CANCEL_NEWEST":
                return False
        return left <= 0

    def elect(self, prices: list[int]) -> list[Entry]:
        passed = [o for o in self.stops() if self.is_passed(o, min(prices), max(prices))]
        buys = sorted((o for o in passed if o["side"] == Side.BUY), key=lambda o: (o["stop"], o["arrival"]))
        sells = sorted((o for o in passed if o["side"] == Side.SELL), key=lambda o: (-o["stop"], o["arrival"]))
        for o in buys + sells:
            self.live.remove(o)
            self.trigger(o)
        return buys + sells
