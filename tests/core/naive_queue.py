"""The waiting queue as one plain list that is searched from the front: it knows nothing of lanes, dead entries or
places to return to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Entry:
    """An order in line, or a cancel of one that was sent (`order` is that one's first id)."""

    first: str
    current: str
    symbol: str
    quantity: int
    price: int
    order: str = ""
    aside: bool = False
    """Came to the head while its symbol was killed."""


@dataclass
class NaiveQueue:
    """`sent` is what went out: (id, quantity, price), cancels as (id, the order's id, 0)."""

    loses_place: bool = False
    line: list[Entry] = field(default_factory=list)
    killed: set[str] = field(default_factory=set)
    sent: list[tuple[str, object, int]] = field(default_factory=list)
    at_exchange: dict[str, Entry] = field(default_factory=dict)

    def new(self, name: str, symbol: str, quantity: int, price: int) -> None:
        self.line.append(Entry(name, name, symbol, quantity, price))

    def waiting(self) -> list[Entry]:
        return [entry for entry in self.line if not entry.order]

    def modify(self, name: str, orig: str, quantity: int, price: int) -> bool:
        """False: refused, since its symbol is killed."""
        entry = next(entry for entry in self.line if entry.current == orig)
        if entry.symbol in self.killed:
            return False
        entry.current, entry.quantity, entry.price = name, quantity or entry.quantity, price or entry.price
        if self.loses_place and not entry.aside:
            self.line.remove(entry)
            self.line.append(entry)
        return True

    def cancel(self, name: str, orig: str) -> None:
        for entry in self.line:
            if entry.current == orig:
                self.line.remove(entry)
                return
        order = self.at_exchange.pop(orig)
        self.line.append(Entry(name, name, order.symbol, 0, 0, order.first))

    def release(self, limit: int) -> None:
        """Up to `limit` are dealt with: go out, or stand aside."""
        for entry in list(self.line):
            if limit <= 0:
                return
            if entry.aside:
                continue
            limit -= 1
            if entry.symbol in self.killed and not entry.order:
                entry.aside = True
                continue
            self.line.remove(entry)
            if entry.order:
                self.sent.append((entry.first, entry.order, 0))
            else:
                self.sent.append((entry.first, entry.quantity, entry.price))
                self.at_exchange[entry.current] = entry

    def kill(self, symbols: set[str]) -> None:
        """Exactly these; who stood aside is looked at again in its place."""
        self.killed = symbols
        for entry in self.line:
            entry.aside = False

    def place(self, current: str) -> int:
        """Of those that do not stand aside."""
        line = [entry for entry in self.line if not entry.aside]
        return next((at for at, entry in enumerate(line, 1) if entry.current == current), 0)
