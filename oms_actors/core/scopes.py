"""Limits besides the limit: of the desk as a whole over another window, of one account or one symbol, each with a
throttle of its own.

A throttle is made for a name when something is first sent under it, and forgotten when it is as good as new. What a
limit of the desk holds back stays in line; what an account's or a symbol's does stands aside and lets the others pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from oms_actors.core.pending import CANCEL, Order, Pending
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.errors import Field

Scope = tuple[int, bytes]
"""Which of the limits (its place in the list), and whose name."""
_NAMES_MAX = 4096


class ScopeLimit(NamedTuple):
    """`field`: ACCOUNT or SYMBOL, NONE for the desk; `name` padded, empty = each by itself."""

    field: Field
    name: bytes
    limit: ThrottleLimit


class Scopes:
    """All of them; an item goes out if every scope that it is in lets it."""

    def __init__(self, limits: tuple[ScopeLimit, ...] = ()) -> None:
        self.limits = limits
        self.window_ns = max((each.limit.per_ns + each.limit.margin_ns for each in limits), default=0)
        self._desk: list[Scope] = [(at, b"") for at, each in enumerate(limits) if each.field is Field.NONE]
        self._throttles: dict[Scope, Throttle] = {}
        self._spent_at_ns: int | None = None

    def of(self, order: Order) -> list[Scope]:
        """The accounts' and symbols' scopes that an order is in."""
        return self._of(order.account, order.symbol)

    def all_of(self, order: Order) -> list[Scope]:
        """Every scope that an order is in."""
        return [*self._desk, *self.of(order)]

    def _of(self, account: bytes, symbol: bytes) -> list[Scope]:
        found = []
        for at, (field, name, _) in enumerate(self.limits):
            if field is Field.NONE:
                continue
            own = account if field is Field.ACCOUNT else symbol
            if not name or name == own:
                found.append((at, own))
        return found

    def throttle(self, scope: Scope, now_ns: int) -> Throttle:
        """The throttle of a scope."""
        throttle = self._throttles.get(scope)
        if throttle is None:
            if len(self._throttles) >= _NAMES_MAX:
                self._throttles = {each: one for each, one in self._throttles.items() if one.used(now_ns)}
            throttle = self._throttles[scope] = Throttle(self.limits[scope[0]].limit)
            throttle.restore((), now_ns, self._spent_at_ns)
        return throttle

    def blocking(self, item: Pending, now_ns: int) -> Scope | None:
        """The scope that does not let an item go now."""
        for scope in self.of(_order_of(item)):
            if not self.throttle(scope, now_ns).available(now_ns, item.kind == CANCEL):
                return scope
        return None

    def full(self, now_ns: int, cancel: bool) -> bool:
        """Is a limit of the desk used up?"""
        return any(not self.throttle(scope, now_ns).available(now_ns, cancel) for scope in self._desk)

    def desk_free_ns(self, now_ns: int, cancel: bool) -> int:
        """When the desk's limits can all let something go; 0 if there are none."""
        return max((self.throttle(scope, now_ns).next_free_ns(now_ns, cancel) for scope in self._desk), default=0)

    def take(self, item: Pending, now_ns: int) -> None:
        """It goes (nothing is `blocking` it)."""
        for scope in (*self._desk, *self.of(_order_of(item))):
            self.throttle(scope, now_ns).take(now_ns, item.kind == CANCEL)

    def returned(self, item: Pending, now_ns: int) -> None:
        """Its call has come back."""
        for scope in (*self._desk, *self.of(_order_of(item))):
            self.throttle(scope, now_ns).returned(now_ns, item.kind == CANCEL)

    def next_free_ns(self, scope: Scope, now_ns: int, cancel: bool) -> int:
        """When the scope can let something go."""
        return self.throttle(scope, now_ns).next_free_ns(now_ns, cancel)

    def fullest(self, now_ns: int) -> list[tuple[bytes, int, int]]:
        """For each limit the name that has used most of it, how much, and when its next token frees (`now_ns`: now)."""
        found = [(limit.name, 0, now_ns) for limit in self.limits]
        for (at, name), throttle in self._throttles.items():
            used = throttle.used(now_ns)
            if used > found[at][1]:
                found[at] = name, used, throttle.next_free_ns(now_ns)
        return found

    def restore(
        self, calls: Iterable[tuple[int, bool, bytes, bytes]], now_ns: int, spent_at_ns: int | None = None
    ) -> None:
        """From the calls that the journal knows: return instant, was it a cancel, account, symbol. `spent_at_ns`: as
        in `Throttle.restore`."""
        self._spent_at_ns = spent_at_ns
        tokens: dict[Scope, list[tuple[int, bool]]] = {}
        for return_ns, cancel, account, symbol in calls:
            for scope in (*self._desk, *self._of(account, symbol)):
                tokens.setdefault(scope, []).append((return_ns, cancel))
        for scope, returns in tokens.items():
            self.throttle(scope, now_ns).restore(returns, now_ns, spent_at_ns)


def _order_of(item: Pending) -> Order:
    return item if isinstance(item, Order) else item.order
