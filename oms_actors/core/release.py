"""What goes out, and when: the line under the throttle, checked again at the last moment; retries, timeouts, doubts.

An item at the head that may not go now stands aside (`held` says why) and lets the others pass: behind a replace that
is not answered, under the kill switch, at the limit of its account or symbol, after a call that did not work.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop
from itertools import islice, takewhile
from typing import NamedTuple

from oms_actors.core.interventions import Interventions
from oms_actors.core.lane import Lane
from oms_actors.core.pending import (
    BEHIND,
    CANCEL,
    FIRST_DONE,
    IN_DOUBT,
    KILLED,
    MODIFY,
    NEW,
    QUEUED,
    RETRY,
    SCOPED,
    SENT,
    TIMES,
    U64,
    VALUES,
    WORKING,
    Change,
    Order,
    Pending,
    SenderSettings,
)
from oms_actors.core.risk import Risk
from oms_actors.core.scopes import Scope, Scopes
from oms_actors.core.throttle import NEVER_NS, Throttle
from oms_actors.errors import Field, Reason
from oms_actors.messages import ExecType, Flag, Kind, Outcome, TimeInForce
from oms_actors.record import AT_FLAGS, AT_ORIG, AT_SEQUENCE, RESULT, VERSION

LOOKS_FOR_PLACE = 20_000
"""So far the line is looked through for an order's place: who asks must not stop those who send."""


class Standing(NamedTuple):
    """How an item stands. `reason`: why it is not with the exchange (`waits_for`); `waits`: still to be sent; `place`:
    how many are before it, plus one (0: not in line, or far back); `aside`: those are only the others at the limit of
    its account or symbol. Of its limits the one that lets it go last: `limit` (0: the throttle of the desk, n: the nth
    of the further ones, -1: it does not count), how much of that is `used`, how much is `free` for it, and how long
    until more is (`free_in_ns`; -1: that hangs on a call). `ends_in_ns`: until it ends unsent, being too old or expired
    (-1: it does not)."""

    phase: int
    waits: bool
    reason: int
    place: int
    aside: bool
    limit: int
    used: int
    free: int
    free_in_ns: int
    ends_in_ns: int


class Release(Interventions):
    """An Interventions that sends."""

    blocked = Reason.NONE
    """Why nothing goes out at all, if so: NOT_LOGGED_ON, OUT_OF_HOURS. For those who ask."""

    def __init__(
        self, settings: SenderSettings, throttle: Throttle, risk: Risk | None = None, scopes: Scopes | None = None
    ) -> None:
        super().__init__(settings, throttle, risk, scopes)
        self.given_up: list[Pending] = []
        """In doubt, and only an operator can help; for whoever raises the alarm, who clears it."""

    def release(self, limit: int, cancels_only: bool = False) -> int:
        """Takes items out of the line as far as the throttle lets it; returns how many were dealt with, at most
        `limit`. `cancels_only`: of the cancels' own lane only."""
        dealt_with = self._release_resends(limit) if self._resends else 0
        for lane, scope in self._lanes(cancels_only):
            while dealt_with < limit and (item := lane.head()) is not None:
                if not self._held_back(item, lane, scope):  # type: ignore[arg-type]
                    if not self._granted(item):  # type: ignore[arg-type]
                        break
                    lane.pop()
                    item.held = 0  # type: ignore[attr-defined]
                    self._send(item)  # type: ignore[arg-type]
                elif lane.head() is item:
                    break
                dealt_with += 1
                self.relieve()
        return dealt_with

    def _lanes(self, cancels_only: bool) -> Iterator[tuple[Lane, Scope | None]]:
        yield self.cancel_lane, None
        if not cancels_only:
            for scope in list(self._aside):
                yield self._aside[scope], scope
                if self._aside[scope].head() is None:
                    del self._aside[scope]
            yield self.lane, None

    def _release_resends(self, limit: int) -> int:
        """What is in doubt and goes out again, unless the kill switch or a limit of its own is against it."""
        dealt_with = 0
        for _ in range(min(limit, len(self._resends))):
            item = self._resends[0]
            if item.phase == IN_DOUBT:
                if self._killed_field(item) is not None or self._blocking(item) is not None:
                    self._resends.rotate(-1)
                    continue
                if not self._granted(item):
                    break
                item.resend = True
                self._send(item)
                dealt_with += 1
            self._resends.popleft()
        return dealt_with

    def _killed_field(self, item: Pending) -> Field | None:
        if item.kind == CANCEL or not self.risk.kill_flags:
            return None
        order = item if isinstance(item, Order) else item.order
        return self.risk.killed(order.account, order.symbol)

    # -- at the head ------------------------------------------------------------------------------------------------

    def _held_back(self, item: Pending, lane: Lane, scope: Scope | None) -> bool:
        """Handles an item at the head that must not go out now: it ends, or stands aside."""
        if isinstance(item, Order):
            if self._overdue(item):
                return True
        elif item.order.phase >= FIRST_DONE:  # a predecessor died before it had told all of them
            self._refuse_change(item.order, item.record, Reason.ORDER_TERMINAL, Field.ORIG_CLIENT_ORDER_ID)
            return True
        elif item.kind == MODIFY and _comes_later(item):
            self._aside_for(item, lane, BEHIND)
            return True
        if self.risk.enabled and self._risky(item, lane):
            return True
        if self.scopes.limits and item.kind in self.settings.counted:
            return self._at_its_limit(item, lane, scope)
        return False

    def _aside_for(self, item: Pending, lane: Lane, why: int) -> None:
        lane.pop()
        item.held = why

    def _overdue(self, order: Order) -> bool:
        record, age = order.record, self.settings.max_queue_age_ns
        if record[4] == TimeInForce.GTD and (expires := TIMES.unpack_from(record, 72)[0]) <= self.wall:
            self._end(order, ExecType.EXPIRED, Reason.ORDER_EXPIRED, Field.EXPIRE_TIME, expires)
            return True
        if age and not order.attempt and (waited := self.now - TIMES.unpack_from(record, 32)[1]) > age:
            self._end(order, ExecType.REJECTED, Reason.QUEUE_AGE, Field.AGE, waited, age)
            return True
        return False

    def _may_go(self, order: Order) -> bool:
        """Would an order that is matched inside get past the checks at release? It is not ended here if not."""
        record, age = order.record, self.settings.max_queue_age_ns
        if record[4] == TimeInForce.GTD and TIMES.unpack_from(record, 72)[0] <= self.wall:
            return False
        if age and self.now - TIMES.unpack_from(record, 32)[1] > age:
            return False
        return not self.risk.enabled or self.risk.recheck(
            NEW, order.upstream, order.account, order.symbol, order.quantity, order.price, order.stop_price
        ) is None

    def _risky(self, item: Pending, lane: Lane) -> bool:
        """The risk check at release: a kill holds the item back, everything else refuses it."""
        order = item if isinstance(item, Order) else item.order
        quantity, price, stop = order.quantity, order.price, order.stop_price
        if item is not order:
            changed = VALUES.unpack_from(item.record, 48)
            quantity, price, stop = changed[0] or quantity, changed[1] or price, changed[2] or stop
        refusal = self.risk.recheck(item.kind, order.upstream, order.account, order.symbol, quantity, price, stop)
        if refusal is None:
            return False
        if refusal.reason is Reason.KILLED:
            self._aside_for(item, lane, KILLED)
            self._killed.append(item)
        elif item is order:
            self._end(order, ExecType.REJECTED, *refusal)
        else:
            self._refuse_change(order, item.record, *refusal)
        return True

    def _at_its_limit(self, item: Pending, lane: Lane, scope: Scope | None) -> bool:
        """Its account or symbol has sent enough for now: it waits with its like, in order, and the others pass."""
        blocking = self.scopes.blocking(item, self.now)
        order = item if isinstance(item, Order) else item.order
        if blocking is None and scope is None and item.kind != CANCEL:  # part of a limit may be a cancel's own
            blocking = next((each for each in self.scopes.of(order) if each in self._aside), None)
        if blocking is None:
            return False
        if blocking != scope:
            self._aside_for(item, lane, SCOPED)
            self._aside.setdefault(blocking, Lane()).append(item)
        return True

    def _granted(self, item: Pending) -> bool:
        if item.kind not in self.settings.counted:
            return True
        cancel = item.kind == CANCEL
        if self.scopes.limits and self.scopes.full(self.now, cancel):
            return False
        if not self.throttle.take(self.now, cancel):
            return False
        self.scopes.take(item, self.now)
        return True

    def release_due_ns(self, cancels_only: bool = False) -> int:
        """When the throttles can let something go that waits in line, or to go out again, or what is first in line has
        waited too long (monotonic); 0 = nothing waits there."""
        due = []
        for resend in self._resends:
            if self._killed_field(resend) is None:
                due.append(self._free_ns(resend.kind == CANCEL, self._blocking(resend)))
                if not self.scopes.limits:
                    break
        for lane, scope in self._lanes(cancels_only):
            if (item := lane.head()) is not None:
                due.append(self._free_ns(item.kind == CANCEL, scope))  # type: ignore[attr-defined]
                due.append(self._overdue_ns(item))  # type: ignore[arg-type]
        return min(due, default=0)

    def _overdue_ns(self, item: Pending) -> int:
        """When `_overdue` will end an item (monotonic)."""
        due, age = NEVER_NS, self.settings.max_queue_age_ns
        if isinstance(item, Order):
            if item.record[4] == TimeInForce.GTD:
                due = self.now + max(TIMES.unpack_from(item.record, 72)[0] - self.wall, 0)
            if age and not item.attempt:
                due = min(due, TIMES.unpack_from(item.record, 32)[1] + age + 1)
        return due

    def _free_ns(self, cancel: bool, scope: Scope | None) -> int:
        free_ns = max(self.throttle.next_free_ns(self.now, cancel), self.scopes.desk_free_ns(self.now, cancel))
        return max(free_ns, self.scopes.next_free_ns(scope, self.now, cancel)) if scope else free_ns

    def _blocking(self, item: Pending) -> Scope | None:
        """The limit of its account or symbol that does not let an item go now."""
        counts = self.scopes.limits and item.kind in self.settings.counted
        return self.scopes.blocking(item, self.now) if counts else None

    # -- calls --------------------------------------------------------------------------------------------------------

    def _send(self, item: Pending) -> None:
        sequence = self.base + len(self.out)
        record = self._intent(item, sequence)
        self.out.append(record)
        self.apply_intent(item, sequence)
        self.calls.append((sequence, item, record))

    def _intent(self, item: Pending, sequence: int) -> bytes:
        """The request as it goes to the exchange."""
        record = item.record
        order = item if isinstance(item, Order) else item.order
        flags = record[AT_FLAGS] | (Flag.POSSIBLE_RESEND if item.resend else 0)
        head = bytes((record[0] + 32, record[1])) + order.record[2:AT_FLAGS] + bytes((flags,))
        head += record[6:AT_SEQUENCE] + U64.pack(sequence) + record[16:48]
        if item is order:
            open_quantity = order.quantity - order.internal
            return head + VALUES.pack(open_quantity, order.price, order.stop_price) + record[72:]
        tail = record[72:AT_ORIG] + order.venue_key[16:] + order.record[168:192]
        return head + self._values(item, order) + tail

    def _values(self, item: Pending, order: Order) -> bytes:
        """Of a MODIFY: the order as it is to be, without what was crossed inside; of a CANCEL: what is left."""
        if item.kind == CANCEL:
            return VALUES.pack(max(order.quantity - order.cum, 0), order.price, 0)
        quantity, price, stop = VALUES.unpack_from(item.record, 48)
        total = (quantity or order.quantity) - order.internal
        return VALUES.pack(max(total, 0), price or order.price, stop or order.stop_price)

    def returned(self, call_ns: int, return_ns: int, sequence: int, item: Pending, outcome: int) -> None:
        """The call of an INTENT has come back: RESULT, for the next frame."""
        if item.kind in self.settings.counted:
            self.throttle.returned(return_ns, item.kind == CANCEL)
            if self.scopes.limits:
                self.scopes.returned(item, return_ns)
        self.out.append(RESULT.pack(Kind.RESULT, VERSION, outcome, item.attempt, sequence, call_ns, return_ns))
        self.now = return_ns
        self.counters["sent"] += outcome == Outcome.SENT
        self.apply_result(sequence, outcome, call_ns, return_ns)
        if outcome == Outcome.FAILED:
            self._report_doubt(item, Reason.IN_DOUBT)
        elif outcome == Outcome.NOT_SENT and item.waits() and item.attempt > self.settings.retries:
            self._give_up_sending(item)

    def _give_up_sending(self, item: Pending) -> None:
        if isinstance(item, Order):
            self._end(item, ExecType.REJECTED, Reason.NOT_SENT, limit=self.settings.retries)
        else:
            self._refuse_change(item.order, item.record, Reason.NOT_SENT, limit=self.settings.retries)

    # -- time -----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """What has become due by `now`."""
        due = []
        while self._retries and self._retries[0][0] <= self.now:
            due.append(heappop(self._retries)[2])
        for item in reversed(due):  # the first of them is the first in line again
            if item.held == RETRY and item.waits():
                item.held = 0
                self._lane_of(item).return_first(item)
        while self._timeouts and self._timeouts[0][0] <= self.now:
            _, item, attempt = self._timeouts.popleft()
            if item.phase == SENT and item.attempt == attempt:
                self.doubt(item)
                self.relieve()

    def due_ns(self) -> int:
        """When `tick` is needed next; 0 = not."""
        due = [queue[0][0] for queue in (self._retries, self._timeouts) if queue]
        return min(due, default=0)

    # -- doubts ---------------------------------------------------------------------------------------------------

    def doubt(self, item: Pending) -> None:
        """An item that was sent stays without an answer."""
        order = item if isinstance(item, Order) else item.order
        key = order.first if item is order else item.key
        self.apply_own(key, item.kind, ExecType.IN_DOUBT, 0, 0, 0)
        self._report_doubt(item, Reason.IN_DOUBT)

    def connection_lost(self) -> None:
        """Whatever is unanswered at the exchange is in doubt."""
        for order in list({id(o): o for o in self.ids.values() if o.phase == SENT}.values()):
            self.doubt(order)
            self.relieve()
        for change in [c for c in self.changes.values() if c.phase in (SENT, WORKING)]:
            self.doubt(change)
            self.relieve()

    def queries(self, can_query: bool) -> list[bytes]:
        """Keys of doubtful orders to ask the exchange about now.

        What it does not know after `query_attempts` looks, a change, or anything it cannot be asked about: where it
        deduplicates, that goes out again under the same id, marked as a possible resend; else it waits for an operator.
        So does what has gone out again `resends` times: whatever keeps the exchange from answering (an id that it knows
        from another trade date, say), one more will not help. `given_up` names them.
        """
        due = [(key, entry) for key, entry in self._doubts.items() if entry[0] <= self.now]
        asked = []
        for key, entry in due:
            entry[0] = self.now + self.settings.query_interval_ns
            if entry[1] < self.settings.query_attempts and key not in self.changes and can_query:
                asked.append(key)
            elif self.settings.deduplicates and self._may_go_again(key):
                self.resend(key)
            else:
                entry[0] = NEVER_NS
        return asked

    def _may_go_again(self, key: bytes) -> bool:
        """Calls are counted, the first and those of which nothing left included: that survives a restart."""
        item: Pending | None = self.changes.get(key) or self.ids.get(key)
        settings = self.settings
        if item is None or item.attempt < 1 + settings.retries + settings.resends:
            return True
        self.given_up.append(item)
        return False

    def ask_again(self) -> None:
        """A new session: whatever is in doubt is asked about once more."""
        for entry in self._doubts.values():
            entry[:] = [self.now + self.settings.query_settle_ns, 0]

    def queries_due_ns(self) -> int:
        """When the next doubt is to be looked at; 0 = none."""
        due = min((entry[0] for entry in self._doubts.values()), default=0)
        return due if due < NEVER_NS else 0

    def resend(self, key: bytes) -> bool:
        """The exchange deduplicates: a doubtful request goes out again, same id, marked as a possible resend."""
        item: Pending | None = self.changes.get(key) or self.ids.get(key)
        if item is None or item.phase != IN_DOUBT:
            return False
        self._doubts.pop(key, None)
        self._resends.append(item)
        return True

    # -- why ----------------------------------------------------------------------------------------------------------

    def waits_for(self, item: Pending) -> Reason:
        """Why it is not with the exchange, or not certainly; NONE if it is, or is done."""
        if item.phase == IN_DOUBT:
            return Reason.IN_DOUBT
        if item.phase != QUEUED:
            return Reason.NONE
        if self.blocked:
            return self.blocked
        if self._killed_field(item) is not None:
            return Reason.KILLED
        return _HELD_FOR.get(item.held, Reason.THROTTLED)


    def standing(self, key: bytes) -> Standing | None:
        """Of the request or order under a key (account | client order id)."""
        item: Pending | None = self.changes.get(key) or self.known(key)
        if item is None:
            return None
        place = self._place(item) if item.waits() and item.held in (0, SCOPED) else 0
        ends_ns = self._overdue_ns(item) if item.waits() else NEVER_NS
        return Standing(item.phase, item.waits(), self.waits_for(item), place, item.held == SCOPED,
                        *self._slowest_limit(item), max(ends_ns - self.now, 0) if ends_ns < NEVER_NS else -1)

    def _slowest_limit(self, item: Pending) -> tuple[int, int, int, int]:
        """Of a Standing: limit, used, free, free_in_ns."""
        if item.kind not in self.settings.counted:
            return -1, 0, 1, 0
        cancel, now = item.kind == CANCEL, self.now
        limits = [(0, self.throttle)]
        if self.scopes.limits:
            order = item if isinstance(item, Order) else item.order
            limits += [(scope[0] + 1, self.scopes.throttle(scope, now)) for scope in self.scopes.all_of(order)]
        free_ns, at, found = max(
            ((throttle.next_free_ns(now, cancel), -at, throttle) for at, throttle in limits), key=lambda each: each[:2]
        )
        left = free_ns - now if free_ns < NEVER_NS else -1
        return -at, found.used(now), found.available(now, cancel), left

    def _place(self, item: Pending) -> int:
        lanes = [self._lane_of(item)]
        if item.held:
            order = item if isinstance(item, Order) else item.order
            lanes = [self._aside[scope] for scope in self.scopes.of(order) if scope in self._aside]
        for lane in lanes:
            for at, each in enumerate(islice(lane, LOOKS_FOR_PLACE), 1):
                if each is item:
                    return at
        return 0


def _comes_later(change: Change) -> bool:
    """Has a modify to wait for what was asked before it: the NEW's answer, a replace at the exchange, or one that is
    still to be sent (waiting for a limit of its own, or to be tried again)?"""
    order = change.order
    if order.replacing is not None or order.phase in (SENT, IN_DOUBT):
        return True
    earlier = takewhile(lambda other: other is not change, order.pending or ())
    return any(other.kind == MODIFY for other in earlier)


_HELD_FOR = {RETRY: Reason.NOT_SENT, BEHIND: Reason.ORDER_IN_DOUBT, KILLED: Reason.KILLED, SCOPED: Reason.THROTTLED}
