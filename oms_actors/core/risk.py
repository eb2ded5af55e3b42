"""Risk: may this request go on? Asked at intake, and again at release, when the world may have changed.

Theory of operation. `check` and `recheck` only decide; the `on_*` methods apply what was decided or happened, so a
journal folded through them gives the same state. The first rule that refuses wins, in the order: kill switch,
repeated-execution guard, message rate, allowed symbols, quantity, notional, price collar, open orders, duplicates. A
cancel is counted but never refused: risk can always be reduced.

Where an account or a symbol has a limit of its own, that replaces the desk's; where both have one, the tighter holds.
Open orders are counted three times: all, the account's, the symbol's, each against its own limit.

The last price is the last execution's; while none is known there is no collar, and an order without a price has no
notional. A stop order is held against its stop price instead: that is where it will trade.

Quantities, prices and percentages are fixed point with 8 decimals, products unbounded ints: nothing is rounded. Names
are the record's bytes (padded). `now_ns` is monotonic; a stamp from the future (of another boot) counts as long ago.
Every operation is O(1). Owners look at `enabled` first and skip everything but `on_fill` while it is off.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from oms_actors.errors import ONE, Field, Reason
from oms_actors.messages import ACCOUNT_MAX, INT64_MAX, SYMBOL_MAX, Kind

NS_PER_S = 1_000_000_000
NO_SYMBOL = bytes(SYMBOL_MAX)
NEW, CANCEL = int(Kind.NEW), int(Kind.CANCEL)

KillFlag = tuple[Field, bytes]
"""What must not send: (NONE, b"") everything, (ACCOUNT, name) or (SYMBOL, name), padded."""
KILL_ALL: KillFlag = (Field.NONE, b"")


class Refusal(NamedTuple):
    """Which rule, on which field, the offending value and the limit (int64; fixed point where the field is)."""

    reason: Reason
    field: Field
    value: int
    limit: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on single orders and on how many are open; 0 = none."""

    max_quantity: int = 0
    max_notional: int = 0
    price_collar_percent: int = 0
    max_open_orders: int = 0


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """All of the desk's limits; 0 or empty = none. Keys are names as the record has them (padded to 16 bytes).

    `messages_per_s`: of one upstream, in any second. `duplicate_window_ns`: within it an upstream's account does not
    repeat (symbol, side, quantity, price) of an accepted order. An upstream with `repeated_fills` executions within
    `repeated_fills_ns` is stopped until `re_enable` (RTS 6, article 15: repeated automated execution throttle).
    """

    desk: Limits = Limits()
    accounts: Mapping[bytes, Limits] = field(default_factory=lambda: MappingProxyType({}))
    symbols: Mapping[bytes, Limits] = field(default_factory=lambda: MappingProxyType({}))
    allowed_symbols: frozenset[bytes] = frozenset()
    messages_per_s: int = 0
    duplicate_window_ns: int = 0
    repeated_fills: int = 0
    repeated_fills_ns: int = NS_PER_S


NO_LIMITS = RiskLimits()
Content = tuple[int, bytes, bytes, int, int, int, int]


class Risk:
    """One state. `enabled`: is there anything that could refuse?"""

    __slots__ = (
        "_both", "_contents", "_fills", "_last_prices", "_messages", "_open", "_open_by_account", "_open_by_symbol",
        "_tight", "enabled", "kill_flags", "limits", "stopped",
    )  # fmt: skip

    def __init__(self, limits: RiskLimits = NO_LIMITS) -> None:
        self.kill_flags: frozenset[KillFlag] = frozenset()
        self.stopped: frozenset[int] = frozenset()
        """Upstreams that the repeated-execution guard has stopped."""
        self._last_prices: dict[bytes, int] = {}
        self._messages: dict[int, deque[int]] = {}
        self._fills: dict[int, deque[int]] = {}
        self._contents: OrderedDict[Content, int] = OrderedDict()
        self.reload(limits, ())

    def reload(self, limits: RiskLimits, open_orders: Iterable[tuple[bytes, bytes]]) -> None:
        """Other limits from now on; `open_orders` are (account, symbol) of every open order, to be counted anew.

        Where nothing is limited, `limits is NO_LIMITS`: owners may skip their bookkeeping by that.
        """
        self.limits = NO_LIMITS if limits == NO_LIMITS else limits
        self._both: dict[tuple[bytes, bytes], Limits] = {}
        self._open = 0
        self._open_by_account = dict.fromkeys((n for n, own in limits.accounts.items() if own.max_open_orders), 0)
        self._open_by_symbol = dict.fromkeys((n for n, own in limits.symbols.items() if own.max_open_orders), 0)
        self._messages = {up: deque(old, limits.messages_per_s) for up, old in self._messages.items()}
        self._fills = {up: deque(old, limits.repeated_fills) for up, old in self._fills.items()}
        for account, symbol in open_orders:
            self.on_open(account, symbol)
        self._note_enabled()

    def _note_enabled(self) -> None:
        self.enabled = self.limits is not NO_LIMITS or bool(self.kill_flags) or bool(self.stopped)

    # -- decisions: nothing changes ---------------------------------------------------------------------------------

    def check(
        self, kind: int, upstream: int, account: bytes, symbol: bytes, side: int, quantity: int, price: int,
        stop_price: int, now_ns: int,
    ) -> Refusal | None:  # fmt: skip
        """At intake. What a MODIFY leaves as it is (0, NO_SYMBOL) is judged by `recheck`, which sees the whole."""
        if kind == CANCEL:
            return None
        refusal = self._barred(upstream, account, symbol) or self._too_fast(upstream, now_ns)
        if refusal:
            return refusal
        if kind != NEW:
            return self._too_big(self._limits_of(account, symbol), quantity, price)
        content = (upstream, account, symbol, side, quantity, price, stop_price)
        return (
            self._too_much(account, symbol, quantity, price, stop_price)
            or self._too_many(account, symbol, 1)
            or self._repeats(content, now_ns)
        )

    def recheck(
        self, kind: int, upstream: int, account: bytes, symbol: bytes, quantity: int, price: int, stop_price: int
    ) -> Refusal | None:
        """At release, with the values as they go out. The order is among the open ones (`on_open`) already."""
        if kind == CANCEL:
            return None
        refusal = self._barred(upstream, account, symbol) or self._too_much(
            account, symbol, quantity, price, stop_price
        )
        return refusal or (self._too_many(account, symbol, 0) if kind == NEW else None)

    def killed(self, account: bytes, symbol: bytes) -> Field | None:
        """Which kill flag stands against it (NONE: everything is stopped); None: it may be sent."""
        if self.kill_flags:
            for flag in (KILL_ALL, (Field.ACCOUNT, account), (Field.SYMBOL, symbol)):
                if flag in self.kill_flags:
                    return flag[0]
        return None

    def _barred(self, upstream: int, account: bytes, symbol: bytes) -> Refusal | None:
        scope = self.killed(account, symbol)
        if scope is not None:
            return Refusal(Reason.KILLED, scope, 0, 0)
        if upstream in self.stopped:
            fills = self.limits.repeated_fills
            return Refusal(Reason.REPEATED_EXECUTION, Field.UPSTREAM, fills, fills)
        if self.limits.allowed_symbols and symbol not in self.limits.allowed_symbols and symbol != NO_SYMBOL:
            return Refusal(Reason.SYMBOL_NOT_ALLOWED, Field.SYMBOL, 0, 0)
        return None

    def _too_fast(self, upstream: int, now_ns: int) -> Refusal | None:
        rate = self.limits.messages_per_s
        if rate and _full(self._messages.get(upstream), NS_PER_S, now_ns):
            return Refusal(Reason.MESSAGE_RATE, Field.MESSAGE_RATE, rate + 1, rate)
        return None

    def _too_much(self, account: bytes, symbol: bytes, quantity: int, price: int, stop_price: int) -> Refusal | None:
        limits = self._limits_of(account, symbol)
        near = stop_price or self._last_prices.get(symbol, 0)
        refusal = self._too_big(limits, quantity, price or near)
        if refusal or not (limits.price_collar_percent and price and near):
            return refusal
        width = near * limits.price_collar_percent // (100 * ONE)
        if near - width <= price <= near + width:
            return None
        bound = near + width if price > near else near - width
        return Refusal(Reason.PRICE_COLLAR, Field.PRICE, price, min(bound, INT64_MAX))

    def _too_big(self, limits: Limits, quantity: int, price: int) -> Refusal | None:
        if limits.max_quantity and quantity > limits.max_quantity:
            return Refusal(Reason.MAX_QUANTITY, Field.QUANTITY, quantity, limits.max_quantity)
        if limits.max_notional and quantity * price > limits.max_notional * ONE:
            notional = min(-(-quantity * price // ONE), INT64_MAX)
            return Refusal(Reason.MAX_NOTIONAL, Field.NOTIONAL, notional, limits.max_notional)
        return None

    def _limits_of(self, account: bytes, symbol: bytes) -> Limits:
        """The limits on single orders; what two configured names give is kept, so there are at most as many."""
        limits = self.limits
        own = limits.accounts.get(account) if limits.accounts else None
        its = limits.symbols.get(symbol) if limits.symbols else None
        if own is None and its is None:
            return limits.desk
        key = (account if own else b"", symbol if its else b"")
        if (both := self._both.get(key)) is None:
            both = self._both[key] = _combined(limits.desk, own or Limits(), its or Limits())
        return both

    def _too_many(self, account: bytes, symbol: bytes, more: int) -> Refusal | None:
        limits = self.limits
        most = limits.desk.max_open_orders
        if most and self._open + more > most:
            return Refusal(Reason.MAX_OPEN_ORDERS, Field.OPEN_ORDERS, self._open + more, most)
        if account in self._open_by_account:
            count, most = self._open_by_account[account] + more, limits.accounts[account].max_open_orders
            if count > most:
                return Refusal(Reason.MAX_OPEN_ORDERS, Field.ACCOUNT, count, most)
        if symbol in self._open_by_symbol:
            count, most = self._open_by_symbol[symbol] + more, limits.symbols[symbol].max_open_orders
            if count > most:
                return Refusal(Reason.MAX_OPEN_ORDERS, Field.SYMBOL, count, most)
        return None

    def _repeats(self, content: Content, now_ns: int) -> Refusal | None:
        window_ns = self.limits.duplicate_window_ns
        if not window_ns or (seen_ns := self._contents.get(content)) is None:
            return None
        age_ns = now_ns - seen_ns
        if 0 <= age_ns < window_ns:
            return Refusal(Reason.DUPLICATE_CONTENT, Field.AGE, age_ns, window_ns)
        return None

    # -- what happened ----------------------------------------------------------------------------------------------

    def on_request(self, upstream: int, now_ns: int) -> None:
        """A request of any kind came, and was not refused for MESSAGE_RATE."""
        rate = self.limits.messages_per_s
        if rate:
            stamps = self._messages.get(upstream)
            if stamps is None:
                stamps = self._messages[upstream] = deque(maxlen=rate)
            stamps.append(now_ns)

    def on_accepted(
        self, upstream: int, account: bytes, symbol: bytes, side: int, quantity: int, price: int, stop_price: int,
        now_ns: int,
    ) -> None:  # fmt: skip
        """A NEW was accepted: its content must not come again too soon, and it is open."""
        window_ns = self.limits.duplicate_window_ns
        if window_ns:
            contents, content = self._contents, (upstream, account, symbol, side, quantity, price, stop_price)
            contents[content] = now_ns
            contents.move_to_end(content)
            while not 0 <= now_ns - next(iter(contents.values())) < window_ns:
                contents.popitem(last=False)
        self.on_open(account, symbol)

    def on_open(self, account: bytes, symbol: bytes) -> None:
        """An order is open from now on (at release, where `on_accepted` is not called)."""
        self._count(account, symbol, 1)

    def on_done(self, account: bytes, symbol: bytes) -> None:
        """An order that was open has ended, however it did."""
        self._count(account, symbol, -1)

    def _count(self, account: bytes, symbol: bytes, by: int) -> None:
        self._open += by
        if account in self._open_by_account:
            self._open_by_account[account] += by
        if symbol in self._open_by_symbol:
            self._open_by_symbol[symbol] += by

    def on_fill(self, upstream: int, symbol: bytes, price: int, now_ns: int) -> bool:
        """An execution of an upstream's order; True if the repeated-execution guard has to `stop` the upstream now."""
        self.on_last_price(symbol, price)
        most = self.limits.repeated_fills
        if not most or upstream in self.stopped:
            return False
        stamps = self._fills.get(upstream)
        if stamps is None:
            stamps = self._fills[upstream] = deque(maxlen=most)
        stamps.append(now_ns)
        return _full(stamps, self.limits.repeated_fills_ns, now_ns)

    def on_last_price(self, symbol: bytes, price: int) -> None:
        """A last price, also from elsewhere (market data, the last trade date). One that no order could have says
        nothing of what is usual, whatever an exchange may mean by it: the one before stays."""
        if price > 0:
            self._last_prices[symbol] = price

    def stop(self, upstream: int) -> None:
        """The guard has stopped an upstream (also when its journal says so)."""
        self.stopped |= {upstream}
        self._note_enabled()

    def re_enable(self, upstream: int) -> None:
        """An operator lets an upstream go on; its executions count from zero."""
        self.stopped -= {upstream}
        self._fills.pop(upstream, None)
        self._note_enabled()

    def set_kill(self, flags: Iterable[KillFlag]) -> None:
        """The kill switch as it stands now: exactly these flags."""
        self.kill_flags = frozenset(flags)
        self._note_enabled()


def kill_flag(account: str = "", symbol: str = "") -> KillFlag:
    """The flag that stops an account, a symbol, or (with neither) everything. A name that no order can have, in a file
    that somebody has written by hand, stops nothing: it must not end who reads it."""
    if account:
        return Field.ACCOUNT, account.encode("ascii", "backslashreplace").ljust(ACCOUNT_MAX, b"\0")
    if symbol:
        return Field.SYMBOL, symbol.encode("ascii", "backslashreplace").ljust(SYMBOL_MAX, b"\0")
    return KILL_ALL


def _full(stamps: deque[int] | None, per_ns: int, now_ns: int) -> bool:
    """Are as many stamps as the deque can hold less than `per_ns` old?"""
    return stamps is not None and len(stamps) == stamps.maxlen and 0 <= now_ns - stamps[0] < per_ns


def _combined(desk: Limits, own: Limits, its: Limits) -> Limits:
    def tighter(name: str) -> int:
        set_ones = [limit for limit in (getattr(own, name), getattr(its, name)) if limit]
        return min(set_ones) if set_ones else int(getattr(desk, name))

    return Limits(tighter("max_quantity"), tighter("max_notional"), tighter("price_collar_percent"))
