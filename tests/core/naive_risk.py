"""Risk the slow way: remember everything that ever happened and look through it for each question."""

from dataclasses import dataclass, field
from fractions import Fraction

UNIT = 10**8
SECOND = 10**9


@dataclass
class NaiveRisk:
    """`limits` is the same frozen struct that the core gets; everything else is lists."""

    limits: object
    requests: list = field(default_factory=list)
    accepted: list = field(default_factory=list)
    open: list = field(default_factory=list)
    fills: list = field(default_factory=list)
    stopped: set = field(default_factory=set)
    killed: set = field(default_factory=set)

    def check(self, kind, upstream, account, symbol, side, quantity, price, stop_price, now):
        """The name of the first rule that refuses, with value and limit, or None."""
        if kind == "cancel":
            return None
        rules = [self.barred(upstream, account, symbol), self.rate(upstream, now)]
        if kind == "modify":
            rules += [self.quantity(account, symbol, quantity)]
            rules += [self.notional(account, symbol, quantity, price)]
        else:
            rules += self.size(account, symbol, quantity, price, stop_price)
            rules += self.count(account, symbol, len(self.open) + 1, 1)
            rules += [self.duplicate((upstream, account, symbol, side, quantity, price, stop_price), now)]
        return next((rule for rule in rules if rule), None)

    def recheck(self, kind, upstream, account, symbol, quantity, price, stop_price):
        if kind == "cancel":
            return None
        rules = [self.barred(upstream, account, symbol), *self.size(account, symbol, quantity, price, stop_price)]
        if kind == "new":
            rules += self.count(account, symbol, len(self.open), 0)
        return next((rule for rule in rules if rule), None)

    def barred(self, upstream, account, symbol):
        for scope, name in (("NONE", b""), ("ACCOUNT", account), ("SYMBOL", symbol)):
            if (scope, name) in self.killed:
                return ("KILLED", scope, 0, 0)
        if upstream in self.stopped:
            return ("REPEATED_EXECUTION", "UPSTREAM", self.limits.repeated_fills, self.limits.repeated_fills)
        if self.limits.allowed_symbols and symbol.strip(b"\0") and symbol not in self.limits.allowed_symbols:
            return ("SYMBOL_NOT_ALLOWED", "SYMBOL", 0, 0)
        return None

    def rate(self, upstream, now):
        most = self.limits.messages_per_s
        recent = [at for who, at in self.requests if who == upstream and now - SECOND < at <= now]
        if most and len(recent) >= most:
            return ("MESSAGE_RATE", "MESSAGE_RATE", most + 1, most)
        return None

    def limit(self, name, account, symbol):
        own = [getattr(at[key], name) for at, key in self.scopes(account, symbol) if key in at]
        own = [limit for limit in own if limit]
        return min(own, default=getattr(self.limits.desk, name))

    def scopes(self, account, symbol):
        return (self.limits.accounts, account), (self.limits.symbols, symbol)

    def last_price(self, symbol):
        return next((price for _, what, price, _ in reversed(self.fills) if what == symbol), 0)

    def quantity(self, account, symbol, quantity):
        most = self.limit("max_quantity", account, symbol)
        return ("MAX_QUANTITY", "QUANTITY", quantity, most) if most and quantity > most else None

    def notional(self, account, symbol, quantity, price):
        most = self.limit("max_notional", account, symbol)
        exact = Fraction(quantity, UNIT) * Fraction(price, UNIT)
        if most and exact > Fraction(most, UNIT):
            shown = min(-(-exact * UNIT // 1), 2**63 - 1)
            return ("MAX_NOTIONAL", "NOTIONAL", shown, most)
        return None

    def size(self, account, symbol, quantity, price, stop_price):
        near = stop_price or self.last_price(symbol)
        yield self.quantity(account, symbol, quantity)
        yield self.notional(account, symbol, quantity, price or near)
        percent = Fraction(self.limit("price_collar_percent", account, symbol), UNIT)
        if percent and price and near and abs(price - near) > near * percent / 100:
            side = 1 if price > near else -1
            yield ("PRICE_COLLAR", "PRICE", price, near + side * (near * percent / 100 // 1))

    def count(self, account, symbol, total, more):
        most = self.limits.desk.max_open_orders
        if most and total > most:
            yield ("MAX_OPEN_ORDERS", "OPEN_ORDERS", total, most)
        for nth, (scope, name) in enumerate((("ACCOUNT", account), ("SYMBOL", symbol))):
            table = (self.limits.accounts, self.limits.symbols)[nth]
            most = table[name].max_open_orders if name in table else 0
            total = sum(order[nth] == name for order in self.open) + more
            if most and total > most:
                yield ("MAX_OPEN_ORDERS", scope, total, most)

    def duplicate(self, content, now):
        window = self.limits.duplicate_window_ns
        ages = [now - at for what, at in self.accepted if what == content]
        if ages and ages[-1] < window:
            return ("DUPLICATE_CONTENT", "AGE", ages[-1], window)
        return None

    def fill(self, upstream, symbol, price, now):
        counts = upstream not in self.stopped
        self.fills.append((upstream if counts else None, symbol, price, now))
        if not counts or not self.limits.repeated_fills:
            return False
        recent = [at for who, _, _, at in self.fills if who == upstream and at > now - self.limits.repeated_fills_ns]
        if len(recent) >= self.limits.repeated_fills:
            self.stopped.add(upstream)
            return True
        return False

    def re_enable(self, upstream):
        self.stopped.discard(upstream)
        self.fills = [(None if who == upstream else who, *rest) for who, *rest in self.fills]
