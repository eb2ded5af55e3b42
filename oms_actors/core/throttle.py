"""Send throttle: at most `rate` calls in any window of `per_ns`, whatever the calls' durations.

Theory of operation. The venue counts a request when it arrives; we only know that this is somewhere between
the start and the return of our call. So a token is *in flight* from `take` (before the call) to `returned`
(after it), never frees while in flight, and its age counts from the return. If token k+rate is granted only
once token k's return is `per_ns` old, then any rate+1 arrivals span at least `per_ns`, for every choice of
arrival instants, because returns are stamped in order. Stamping at the grant instead breaks the limit as soon
as the process is preempted between grant and call.

Return instants are kept oldest first, one deque for orders and one for cancels: each is appended once and
popped once, so every operation is amortised O(1). Tokens are never refunded: who sends a batch asks `available`
first, decides what to send, and takes exactly that many.

Clock: `now_ns` is monotonic. Should it go backwards all the same, a token waits for those returned before it:
the throttle may wait longer, it never grants early. A forward step frees as if that time had passed.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Literal

NEVER_NS = (1 << 63) - 1
"""`next_free_ns` while every token that could free is still in flight: the next `returned` decides."""

Token = tuple[int, bool]
"""(return instant of the call in monotonic ns, was it a cancel)."""


@dataclass(frozen=True, slots=True)
class ThrottleLimit:
    """`rate` requests per `per_ns`.

    `window`: "sliding" holds in every interval of length `per_ns`. "fixed" is a counter reset at the
    instants `phase_ns + k * per_ns` of the given clock, as simple venues count: up to 2 * rate may then go
    around a reset. `margin_ns`: a request may arrive that much after its call returned (a buffered or jittery
    line). `reserve_cancels`: orders (everything but cancels) use at most `rate - reserve_cancels`.
    """

    rate: int = 100
    per_ns: int = 1_000_000_000
    window: Literal["sliding", "fixed"] = "sliding"
    margin_ns: int = 0
    reserve_cancels: int = 0
    phase_ns: int = 0

    def __post_init__(self) -> None:
        if self.rate < 1 or self.per_ns < 1 or self.margin_ns < 0:
            raise ValueError(f"throttle: rate and per must be at least 1, margin at least 0: {self}")
        if not 0 <= self.reserve_cancels < self.rate:
            raise ValueError(f"throttle: reserve_cancels must be in [0, rate): {self}")
        if self.window not in ("sliding", "fixed"):
            raise ValueError(f"throttle: window must be 'sliding' or 'fixed', not {self.window!r}")


class Throttle:
    """The tokens of one limit: `if take(now): call(); returned(clock())`, `returned` also when it raised."""

    __slots__ = ("_age_ns", "_cancels", "_fixed", "_free", "_free_for_orders", "_orders", "limit")

    def __init__(self, limit: ThrottleLimit) -> None:
        self.limit = limit
        self._fixed = limit.window == "fixed"
        self._age_ns = limit.per_ns + limit.margin_ns - 1
        self._clear()

    def _clear(self) -> None:
        self._orders: deque[int] = deque()
        self._cancels: deque[int] = deque()
        self._free = self.limit.rate
        self._free_for_orders = self.limit.rate - self.limit.reserve_cancels

    def take(self, now_ns: int, cancel: bool = False) -> bool:
        """Take a token for the call that starts right after; False: not now, see `next_free_ns`."""
        if self._free <= 0 or not (cancel or self._free_for_orders > 0):
            self._expire(now_ns)
            if self._free <= 0 or not (cancel or self._free_for_orders > 0):
                return False
        self._free -= 1
        if not cancel:
            self._free_for_orders -= 1
        return True

    def returned(self, now_ns: int, cancel: bool = False) -> None:
        """The call of the oldest token in flight (of this kind) has returned or raised, at `now_ns`."""
        (self._cancels if cancel else self._orders).append(now_ns)

    def take_many(self, now_ns: int, n: int, cancel: bool = False) -> int:
        """Take up to `n` tokens for calls that start right after, one by one; tells how many were granted."""
        granted = min(n, self.available(now_ns, cancel))
        self._free -= granted
        if not cancel:
            self._free_for_orders -= granted
        return granted

    def returned_many(self, now_ns: int, n: int, cancel: bool = False) -> None:
        """The calls of `n` tokens in flight have returned, the last of them at `now_ns` (a later stamp only waits)."""
        (self._cancels if cancel else self._orders).extend([now_ns] * n)

    def available(self, now_ns: int, cancel: bool = False) -> int:
        """How many tokens could be taken at `now_ns`."""
        self._expire(now_ns)
        free = self._free if cancel else min(self._free, self._free_for_orders)
        return max(free, 0)

    def used(self, now_ns: int) -> int:
        """Tokens that count against the limit at `now_ns`, those in flight included."""
        self._expire(now_ns)
        return self.limit.rate - self._free

    def next_free_ns(self, now_ns: int, cancel: bool = False) -> int:
        """The first instant at which `take` can succeed; `NEVER_NS` while that hangs on a call in flight."""
        if self.available(now_ns, cancel):
            return now_ns
        frees_ns = now_ns
        if not cancel and self._free_for_orders <= 0:
            frees_ns = self._frees_ns(self._orders, -self._free_for_orders)
        if self._free <= 0:
            frees_ns = max(frees_ns, self._frees_ns(merge(self._orders, self._cancels), -self._free))
        return frees_ns

    def snapshot(self) -> tuple[Token, ...]:
        """The returned tokens that may still count, oldest first, for `restore` under other limits."""
        return tuple(sorted([(ns, False) for ns in self._orders] + [(ns, True) for ns in self._cancels]))

    def restore(self, tokens: Iterable[Token], now_ns: int, spent_at_ns: int | None = None) -> None:
        """Rebuild from the journal: `tokens` are the returns of counted calls of this boot, in any order.

        A call whose return was never journalled counts as returned now (its process is dead). Monotonic stamps
        of an earlier boot say nothing, so the whole budget counts as spent at the first start after a reboot:
        `spent_at_ns` is that start, `now_ns` if it is this one. A process that is restarted again within the
        same boot must pass that first start again, as it is journalled, or it would forget the wait.
        """
        self._clear()
        returns = [(min(return_ns, now_ns), cancel) for return_ns, cancel in tokens]
        if spent_at_ns is not None:
            reserve = self.limit.reserve_cancels
            returns += [(min(spent_at_ns, now_ns), i < reserve) for i in range(self.limit.rate)]
        for return_ns, cancel in sorted(returns):
            self._free -= 1
            self._free_for_orders -= not cancel
            self.returned(return_ns, cancel)
        self._expire(now_ns)

    def _frees_ns(self, returns: Iterable[int], n: int) -> int:
        """When the token of the nth of these returns is free."""
        return_ns = next(islice(returns, n, None), None)
        if return_ns is None:
            return NEVER_NS
        limit = self.limit
        if not self._fixed:
            return return_ns + self._age_ns + 1
        arrived_ns = return_ns + limit.margin_ns
        return arrived_ns - (arrived_ns - limit.phase_ns) % limit.per_ns + limit.per_ns

    def _expire(self, now_ns: int) -> None:
        """Free what was returned before the first instant that still counts at `now_ns`."""
        counts_from_ns = now_ns - self._age_ns
        if self._fixed:
            limit = self.limit
            counts_from_ns = now_ns - (now_ns - limit.phase_ns) % limit.per_ns - limit.margin_ns
        orders, cancels = self._orders, self._cancels
        while orders and orders[0] < counts_from_ns:
            orders.popleft()
            self._free += 1
            self._free_for_orders += 1
        while cancels and cancels[0] < counts_from_ns:
            cancels.popleft()
            self._free += 1
