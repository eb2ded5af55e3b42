"""Internal crossing as one plain list that is searched for the best pair again and again: it knows no heaps, and
nothing that was looked at before."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Waiting:
    """An order in line, in the order of acceptance."""

    name: str
    symbol: str
    account: str
    buys: bool
    quantity: int
    price: int
    expires_ns: int
    filled: int = 0
    aside: bool = False
    """Came to the head while the kill switch was against it."""


@dataclass
class NaiveCrossing:
    """`matches`: (buy, sell, quantity, price); `sent`: (name, quantity); `ended`: refused or expired at release."""

    line: list[Waiting] = field(default_factory=list)
    killed: set[str] = field(default_factory=set)
    most: int = 0
    """Risk limit on an order's quantity; 0: none."""
    is_open: bool = True
    now_ns: int = 0
    matches: list[tuple[str, str, int, int]] = field(default_factory=list)
    sent: list[tuple[str, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def is_killed(self, order: Waiting) -> bool:
        """By its account or symbol."""
        return order.symbol in self.killed or order.account in self.killed

    def is_over(self, order: Waiting) -> bool:
        """Would it be refused at release?"""
        return bool(self.most and order.quantity > self.most)

    def has_expired(self, order: Waiting) -> bool:
        """Good till a date that has come?"""
        return 0 < order.expires_ns <= self.now_ns

    def uncross(self, comer: Waiting | None = None) -> None:
        """Best price first, then the longest accepted; at the price of the one that is no comer, or came first."""
        while self.is_open:
            able = [each for each in self.line if not (self.is_killed(each) or self.is_over(each))]
            able = [each for each in able if not self.has_expired(each)]
            for symbol in sorted({each.symbol for each in able}):
                buys = [each for each in able if each.symbol == symbol and each.buys]
                sells = [each for each in able if each.symbol == symbol and not each.buys]
                buy = max(buys, key=lambda each: each.price, default=None)
                sell = min(sells, key=lambda each: each.price, default=None)
                if buy and sell and buy.price >= sell.price:
                    self.meet(buy, sell, comer)
                    break
            else:
                return

    def meet(self, buy: Waiting, sell: Waiting, comer: Waiting | None) -> None:
        """One match."""
        first = min(buy, sell, key=self.line.index)
        price = (sell if buy is comer else buy if sell is comer else first).price
        quantity = min(buy.quantity - buy.filled, sell.quantity - sell.filled)
        self.matches.append((buy.name, sell.name, quantity, price))
        for order in (buy, sell):
            order.filled += quantity
            if order.filled == order.quantity:
                self.line.remove(order)

    def modify(self, order: Waiting, name: str, quantity: int, price: int) -> None:
        """A waiting order is changed in its place; below what is filled means what is filled."""
        if self.is_killed(order) or (self.most and quantity > self.most):
            return
        comer = order if price != order.price else None
        order.name, order.price, order.quantity = name, price, max(quantity, order.filled)
        if order.quantity == order.filled:
            self.line.remove(order)
        self.uncross(comer)

    def kill(self, names: set[str]) -> None:
        """Exactly these accounts and symbols; what is let go is in its place again."""
        self.killed = names
        for order in self.line:
            order.aside = False
        self.uncross()

    def release(self, limit: int) -> None:
        """Up to so many at the head are dealt with."""
        for order in [each for each in self.line if not each.aside][: limit if self.is_open else 0]:
            if self.has_expired(order):
                self.ended.append(order.name)
            elif self.is_killed(order):
                order.aside = True
                continue
            elif self.is_over(order):
                self.ended.append(order.name)
            else:
                self.sent.append((order.name, order.quantity - order.filled))
            self.line.remove(order)
