"""The sender's state and the ways in which it changes, each of which a journal repeats:

- `admit`: a request takes its place in line (a NEW becomes an Order, a change of a sent order a Change);
- `apply_intent`: an item leaves the line because it goes out;
- `apply_result`: what the call did;
- `apply_own`: an outcome of our own making (changed or canceled in the line, expired, refused at release, in doubt);
- an answer of the exchange (`core.responder`);
- `apply_session`: what happened to everybody at once (a session begins or ends, a mass action, a guard).

Nothing here looks at what the configuration would decide; every effect is a record in `out`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappush
from typing import Any

from oms_actors.core.archive import BLOCK, FRESH, Archive, names
from oms_actors.core.lane import Lane
from oms_actors.core.mass_action import TAIL, Mass, MassAction, read_action, wish_of
from oms_actors.core.order import EVENTS, NEXT, Event
from oms_actors.core.pending import (
    BEHIND,
    CANCEL,
    COUNTERS,
    DONE_WINDOW,
    FINAL,
    FIRST_DONE,
    FROM_SENDER,
    IN_DOUBT,
    NEW,
    QUEUED,
    RETRY,
    SENT,
    VALUES,
    WORKING,
    Change,
    Order,
    Pending,
    SenderSettings,
    order_of,
)
from oms_actors.core.reports import NO_EXEC, NO_ORIG, OWN, REPORT_KEYED, average
from oms_actors.core.risk import NO_LIMITS, Risk
from oms_actors.core.scopes import Scope, Scopes
from oms_actors.core.throttle import Throttle
from oms_actors.errors import Field, Reason
from oms_actors.messages import ExecType, Kind, OrdStatus, Outcome, SessionEvent
from oms_actors.record import AT_ORIG, KEY, SESSION, VERSION

_SESSION_TAIL = SESSION.size - TAIL.size


class Records(list[bytes]):
    """Records in order. An element may hold several (`add`); `len` counts records."""

    __slots__ = ("more",)

    def __init__(self) -> None:
        super().__init__()
        self.more = 0
        """Records beyond one for each element."""

    def __len__(self) -> int:
        return list.__len__(self) + self.more

    def add(self, data: bytes, count: int) -> None:
        """`count` records of one kind in one element."""
        self.append(data)
        self.more += count - 1

    def clear(self) -> None:
        list.clear(self)
        self.more = 0


Call = tuple[int, Any, bytes]
"""What goes to the exchange in one call: sequence of the (first) INTENT, the item or a list of orders, the INTENTs."""


class Ledger:
    """One state; see above."""

    def __init__(
        self, settings: SenderSettings, throttle: Throttle, risk: Risk | None = None, scopes: Scopes | None = None
    ) -> None:
        self.settings, self.throttle = settings, throttle
        self.risk, self.scopes = risk or Risk(), scopes or Scopes()
        self.ids: dict[bytes, Order] = {}
        """Every accepted id of every order, but of those that have finished and are in `archive`."""
        self.changes: dict[bytes, Change] = {}
        self.alias: dict[bytes, bytes] = {}
        """Client order id alone → key, for what was sent with an account (adapters need not repeat the account)."""
        self.lane, self.cancel_lane = Lane(), Lane()
        self.waiting = self.working = self.doubtful = 0
        self.out = Records()
        self.calls: list[Call] = []
        self.base = 1
        """Sequence of the first record in `out`."""
        self.relieve: Callable[[], None] = lambda: None
        """Called between two decisions wherever many may follow each other: `out` may be taken then."""
        self.latencies: list[int] = []
        """Round trips heard of, for whoever keeps statistics."""
        self.now = self.wall = 0
        self.session = 0
        """Logons so far."""
        self.interval = (0, 0)
        """[open, close) that has begun and not ended, UTC ns."""
        self.trade_date = self.rolls_to = self.rolled = 0
        """Of the session, of the roll in progress, of the last roll."""
        self.logon_date = 0
        """Trade date of the last logon: another one on it is a re-logon, whatever has been restarted in between."""
        self.cancels_asked = 0
        """The last cancel that the kill switch asked for and we have taken up."""
        self.mass_actions: dict[int, MassAction] = {}
        """Sequence of the wish → what is not done yet."""
        self._newest = bytes(192)
        """The last NEW."""
        self._record = b""
        self._words: bytes | None = None
        """Of the exchange, for the report that comes next."""
        self.replaying = False
        self._passing: dict[bytes, Order] = {}
        """Replay only: what the changes name that were answered in the frame in which they came."""
        self._retries: list[tuple[int, int, Pending]] = []
        self._timeouts: deque[tuple[int, Any, int]] = deque()
        """(deadline, item or list of orders, attempt)."""
        self._doubts: dict[bytes, list[int]] = {}  # key → [next look, how often not found]
        self._resends: deque[Pending] = deque()
        self._killed: list[Pending] = []
        """Held by the kill switch, in the order of the line."""
        self._aside: dict[Scope, Lane] = {}
        """What an account's or a symbol's own limit holds, in order."""
        self._intents: dict[int, Pending] = {}
        """Sequence of an INTENT without RESULT → its item."""
        self._done: deque[Order] = deque()
        """Finished not long ago, or not put away yet."""
        self.archive = Archive(self.ids, self.alias, self._forget)
        self._calls_made: deque[tuple[int, bool, bytes, bytes]] = deque()
        self.counters = dict.fromkeys(COUNTERS, 0)

    def begin(self, now_ns: int, wall_ns: int) -> None:
        """A cycle at `now_ns` (monotonic), `wall_ns` (UTC)."""
        self.now, self.wall = now_ns, wall_ns

    def taken(self) -> tuple[bytes, int]:
        """What is to be journalled now: payload and number of records; empties `out`."""
        out = self.out
        payload, count = b"".join(out), list.__len__(out) + out.more
        list.clear(out)
        out.more = 0
        self.base += count
        return payload, count

    # -- requests -------------------------------------------------------------------------------------------------

    def admit(self, record: bytes, named: Order | None = None) -> Pending | None:
        """A request takes its place in line; None where a change names no order that is still known."""
        if record[0] == NEW:
            return self._admit_order(record)
        named = named or self._named(record)
        if named is None:
            return None
        if named.phase >= FIRST_DONE:  # not a copy of what is put away
            named = self.archive.recall(named.key) or named
        change = Change(named, record)
        self.changes[change.key] = change
        if named.pending is None:
            named.pending = []
        named.pending.append(change)
        self._lane_of(change).append(change)
        self.waiting += 1
        return change

    def _admit_order(self, record: bytes) -> Order:
        self._newest = record
        order = order_of(record)
        self.ids[order.key] = order
        self.lane.append(order)
        self.waiting += 1
        if self.risk.limits is not NO_LIMITS:
            self.risk.on_open(record[80:96], record[168:184])
        return order

    def _named(self, record: bytes) -> Order | None:
        """The order that a change names, by any of its accepted ids or by a change that is not answered yet."""
        key = record[80:96] + record[132:168]
        order = self.ids.get(key)
        if order is None and (change := self.changes.get(key)) is not None:
            return change.order
        return order or self._passing.get(key) or self.archive.peek(key)

    def known(self, key: bytes) -> Order | None:
        """The order under an id, to look at."""
        return self.ids.get(key) or self.archive.peek(key)

    def _lane_of(self, item: Pending) -> Lane:
        """Cancels have a lane of their own if so configured; those of our own making always overtake."""
        if item.kind == CANCEL and (self.settings.cancel_lane or not item.upstream):
            return self.cancel_lane
        return self.lane

    def _refuse_change(
        self, order: Order | None, record: bytes, reason: int, field: int = 0, value: int = 0, limit: int = 0
    ) -> None:
        self.counters["rejected"] += not self.replaying  # a replay counts what the journal says
        upstream = int.from_bytes(record[16:20], "little")
        kind, key = record[0], record[KEY]
        if order is None:
            self._raw_report(key=key, orig=record[AT_ORIG:168], upstream=upstream, kind=kind, reason=reason,
                             field=field)
        self.apply_own(key, kind, ExecType.CANCEL_REJECT, 0, 0, 0)
        if order is not None:
            self._report(order, ExecType.CANCEL_REJECT, FINAL, kind, key, order.key[16:], reason=reason, field=field,
                         value=value, limit=limit, upstream=upstream)

    # -- outcomes of our own --------------------------------------------------------------------------------------

    def apply_own(
        self, key: bytes, kind: int, exec_type: int, quantity: int, price: int, stop_price: int, orig: bytes = NO_ORIG,
        field: int = 0,
    ) -> None:  # fmt: skip
        """An outcome that the desk itself decided; applying it twice changes nothing more."""
        if exec_type == ExecType.ORDER_STATUS:  # only told, to somebody who asked again
            return
        if kind in (NEW, 0):
            self._apply_to_order(key, kind, exec_type)
            return
        change = self.changes.get(key)
        if change is None:
            order = self.ids.get(key[:16] + orig)
            if exec_type == ExecType.REPLACED and order is not None and order.phase == QUEUED:
                self._replace_waiting(order, key, quantity, price, stop_price, field == Field.QUEUE)
        elif exec_type == ExecType.IN_DOUBT:
            self._doubt_change(change)
        else:
            if exec_type == ExecType.REPLACED:
                self._take_over(change)
            self._forget_change(change)

    def _apply_to_order(self, key: bytes, kind: int, exec_type: int) -> None:
        order = self.ids.get(key)
        if order is None:
            return
        event = OWN_EVENTS.get(exec_type)
        known = order.phase >= FIRST_DONE or (order.phase == IN_DOUBT and event == Event.DOUBT)
        if event is not None and not known:
            self._move(order, event)
        order.answered = order.answered or (kind == NEW and exec_type != ExecType.IN_DOUBT)

    def _replace_waiting(
        self, order: Order, key: bytes, quantity: int, price: int, stop_price: int, loses_place: bool
    ) -> None:
        """A waiting order is changed where it stands, or (if so configured) goes to the end of the line."""
        order.price, order.stop_price = price, stop_price
        order.quantity = quantity if quantity > order.cum else order.cum
        self._rename(order, key)
        if order.cum:
            self._move(order, Event.REPLACE if quantity > order.cum else Event.REPLACE_TO_FILLED)
        if loses_place and order.phase == QUEUED and not order.held:
            self.lane.lose_place(order)

    def _end(self, order: Order, exec_type: int, reason: int, field: int = 0, value: int = 0, limit: int = 0) -> None:
        """An order ends by our own decision: applied, reported (as its NEW's final answer if that is open)."""
        kind = 0 if order.answered else NEW
        key = order.key if order.answered else order.first
        self.apply_own(key, kind, exec_type, 0, 0, 0)
        self._report(order, exec_type, FINAL if kind else 0, kind, key, reason=reason, field=field, value=value,
                     limit=limit)
        self._drop_changes(order)

    def _unsent(self, order: Order) -> list[Change]:
        return [change for change in order.pending if change.phase == QUEUED] if order.pending else []

    def _drop_changes(self, order: Order) -> None:
        """The order is done: what of its changes has not been sent is answered now."""
        for change in self._unsent(order):
            self._refuse_change(order, change.record, Reason.ORDER_TERMINAL, Field.ORIG_CLIENT_ORDER_ID)

    def apply_match(self, buy: Order, sell: Order, quantity: int, price: int) -> None:
        """Two waiting orders have met inside."""
        for order in (buy, sell):
            order.cum += quantity
            order.value += quantity * price
            order.own().internal += quantity
            order.answered = True
            self._move(order, Event.FILL_ALL if order.cum >= order.quantity else Event.FILL)

    def _rename(self, order: Order, key: bytes) -> None:
        order.accept(key)
        self.ids[key] = order

    def _take_over(self, change: Change, quantity: int = 0, price: int = 0) -> None:
        """A replace has taken effect: the order has its id and its values (or those that the exchange gives). Doing it
        twice changes nothing more."""
        order = change.order
        if order.key == change.key:
            return
        asked = VALUES.unpack_from(change.record, 48)
        quantity, price = quantity or asked[0] or order.quantity, price or asked[1] or order.price
        if self._set_values(order, quantity, price, asked[2] or order.stop_price):
            self._rename(order, change.key)
            order.own().venue_key = change.key

    def _set_values(self, order: Order, quantity: int, price: int, stop_price: int) -> bool:
        """The exchange has changed it: a quantity below what is filled means what is filled (FIX 4.4, D: C.3.c)."""
        filled = quantity <= order.cum
        if not self._move(order, Event.REPLACE_TO_FILLED if filled else Event.REPLACE):
            return False
        order.own()  # it differs from its request
        order.quantity, order.price, order.stop_price = max(quantity, order.cum), price, stop_price
        return True

    def _doubt_change(self, change: Change) -> None:
        if change.phase != IN_DOUBT:
            self._leave_line(change)
            change.phase = IN_DOUBT
            self.doubtful += 1
            self._doubts[change.key] = [self.now + self.settings.query_settle_ns, 0]

    def _leave_line(self, item: Pending) -> None:
        """An item stops waiting without being taken from the head."""
        if item.phase == QUEUED:
            self.waiting -= 1
            if item.held:
                item.held = 0
            else:
                self._lane_of(item).removed()

    def _forget_change(self, change: Change) -> None:
        """Answered: whatever is held behind it may go on."""
        self._leave_line(change)
        if change.phase == IN_DOUBT:
            self.doubtful -= 1
            self._doubts.pop(change.key, None)
        order = change.order
        change.phase = FIRST_DONE
        key = change.key
        self.changes.pop(key, None)
        if key[0] and key not in self.ids and self.alias.get(key[16:]) == key:  # not the order's: of no use any more
            del self.alias[key[16:]]
        if order.pending is not None and change in order.pending:
            order.pending.remove(change)
            if order.replacing is None:
                self._unhold(order)

    def _unhold(self, order: Order) -> None:
        for change in reversed(order.pending or ()):
            if change.held == BEHIND:
                change.held = 0
                self._lane_of(change).return_first(change)

    def _move(self, order: Order, event: int) -> bool:
        """The table decides; False, counted and without effect where it knows no such move."""
        before = order.phase
        phase = NEXT[before * EVENTS + event]
        if phase < 0:
            self.counters["illegal"] += 1
            return False
        if phase == before:
            return True
        if before == QUEUED:
            self._leave_line(order)
        elif before == IN_DOUBT:
            self.doubtful -= 1
            self._doubts.pop(order.venue_key, None)
        elif before == WORKING:
            self.working -= 1
        elif before >= FIRST_DONE:
            self._reopened(order)
        order.phase = phase
        if phase == WORKING:
            self.working += 1
            self._unhold(order)
        elif phase == IN_DOUBT:
            self.doubtful += 1
            self._doubts[order.venue_key] = [self.now + self.settings.query_settle_ns, 0]
        elif phase == QUEUED:
            self.waiting += 1
        elif phase >= FIRST_DONE:
            self._finished(order)
        return True

    def _finished(self, order: Order) -> None:
        self._done.append(order)
        if self.risk.limits is not NO_LIMITS:
            self.risk.on_done(order.account, order.symbol)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        """A loop of its own for what nearly all are: without another id than the one in the table."""
        done, drop, ids, alias = self._done, self.archive.drop, self.ids, self.alias
        for _ in range(len(done) + self.archive.count - DONE_WINDOW):
            if drop():
                continue
            order = done.popleft()
            if order.extra is not None:
                self._forget(order)
                continue
            key = order.key
            if ids.get(key) is order:
                del ids[key]
            if key[0] and alias.get(key[16:]) == key:
                del alias[key[16:]]

    def put_away(self, blocks: int = 1) -> None:
        """Packs so many blocks of what has been finished for a while; to be called when nobody waits."""
        done = self._done
        while blocks > 0 and len(done) >= FRESH + BLOCK:
            self.archive.pack([done.popleft() for _ in range(BLOCK)])
            blocks -= 1

    def _reopened(self, order: Order) -> None:
        """A replace has reached the exchange before the fill that we took for the last one."""
        if not self.archive.reopened(order):
            try:
                self._done.remove(order)
            except ValueError:  # forgotten, but for the change
                self.ids.update(dict.fromkeys(names(order), order))
        if self.risk.limits is not NO_LIMITS:
            self.risk.on_open(order.account, order.symbol)

    def forget_done(self) -> None:
        """The ids of all finished orders are free again: their trade date is over. What the roll itself ends comes
        later: the exchange may not know that yet, so it is known until the next roll or until its id is used again."""
        while self.archive.drop():
            pass
        while self._done:
            self._forget(self._done.popleft())

    def _forget(self, order: Order) -> None:
        for key in names(order):
            if self.ids.get(key) is order:
                del self.ids[key]
            if self.alias.get(key[16:]) == key:
                del self.alias[key[16:]]

    # -- calls ----------------------------------------------------------------------------------------------------

    def apply_intent(self, item: Pending, sequence: int) -> None:
        """The item goes out (its entry in the line is gone already)."""
        self._intents[sequence] = item
        item.attempt += 1
        key = item.record[KEY]
        if key[0]:
            self.alias[key[16:]] = key
        if item.phase == IN_DOUBT:
            self.doubtful -= 1
            self._doubts.pop(item.venue_key if isinstance(item, Order) else item.key, None)
        else:
            self.waiting -= 1
        item.phase = SENT

    def apply_result(self, sequence: int, outcome: int, call_ns: int, return_ns: int) -> None:
        """SENT: waits for an answer; NOT_SENT: back in line after a while; FAILED: in doubt."""
        item = self._intents.pop(sequence, None)
        if item is None or item.phase != SENT:
            return  # the answer was faster than the result
        if outcome == Outcome.SENT:
            item.sent_ns = call_ns
            if self.settings.ack_timeout_ns and not self.replaying:  # else `recover` sees who is unanswered then
                self._timeouts.append((return_ns + self.settings.ack_timeout_ns, item, item.attempt))
        elif outcome == Outcome.FAILED or item.resend:  # a resend that did not leave is as doubtful as before
            if isinstance(item, Order):
                self._move(item, Event.DOUBT)
            else:
                self._doubt_change(item)
        elif outcome == Outcome.NOT_SENT:
            self._unsend(item)
            item.held = RETRY
            heappush(self._retries, (return_ns + self.settings.retry_delay_ns, sequence, item))
        else:
            item.attempt -= 1
            self._unsend(item)
            self._lane_of(item).return_first(item)

    def _unsend(self, item: Pending) -> None:
        """Back to waiting, but not in line yet."""
        if isinstance(item, Order):
            self._move(item, Event.UNSEND)
            return
        item.phase = QUEUED
        self.waiting += 1

    # -- everybody ------------------------------------------------------------------------------------------------

    def note(self, event: int, words: str = "", reason: int = 0, *, interval: tuple[int, int] | None = None,
             trade_date: int = 0, tail: bytes = b"") -> None:  # fmt: skip
        """Something happened that is no single order's: journalled and applied."""
        record = SESSION.pack(
            Kind.SESSION, VERSION, event, reason, self.wall, self.now, *(interval or self.interval),
            trade_date or self.trade_date, words.encode("utf-8", "replace")[:120],
        )  # fmt: skip
        if tail:
            record = record[:_SESSION_TAIL] + tail
        sequence = self.base + len(self.out)
        self.out.append(record)
        self.apply_session(record, sequence)

    def apply_session(self, record: bytes, sequence: int) -> None:
        """A SESSION record says so (live, and at a replay)."""
        _, _, event, reason, _, _, opened, closes, date, _ = SESSION.unpack(record)
        if event == SessionEvent.STARTED:
            self.interval, self.trade_date = (opened, closes), date
        elif event == SessionEvent.STOPPED:
            self.interval = (0, 0)
        elif event == SessionEvent.LOGGED_ON:
            self.session += 1
            self.logon_date = date
        elif event in (SessionEvent.KILL, SessionEvent.RESUME):
            self.cancels_asked = reason
        elif event == SessionEvent.GUARD_STOP:
            self.risk.stop(reason)
        elif event == SessionEvent.GUARD_RESET:
            self.risk.re_enable(reason)
        elif event == SessionEvent.MASS_ACTION:
            action = self.mass_actions[sequence] = read_action(record[_SESSION_TAIL:], reason)
            if action.mass is Mass.ROLL:
                self.rolls_to = date
                self.forget_done()
        elif event in (SessionEvent.MASS_ACTION_DONE, SessionEvent.ROLL):
            self.mass_actions.pop(wish_of(record[_SESSION_TAIL:]), None)
            if event == SessionEvent.ROLL:
                self.trade_date = self.rolled = date

    @property
    def rolling(self) -> bool:
        """Is the old trade date's end being carried out? No request of the new one may come in between."""
        return bool(self.mass_actions) and any(wish.mass is Mass.ROLL for wish in self.mass_actions.values())

    # -- reports --------------------------------------------------------------------------------------------------

    def _report(
        self, order: Order, exec_type: int, flags: int, kind: int, key: bytes, orig: bytes | None = None, *,
        reason: int = 0, field: int = 0, value: int = 0, limit: int = 0, upstream: int | None = None,
        last_quantity: int = 0, last_price: int = 0, exec_id: bytes = NO_EXEC,
    ) -> None:  # fmt: skip
        """The report of an outcome of our own."""
        record, cum = order.record, order.cum
        leaves = order.quantity - cum if order.phase < FIRST_DONE and order.quantity > cum else 0
        if orig is None:
            orig = order.first[16:] if key != order.first else NO_ORIG
        if last_quantity:
            self.out.append(REPORT_KEYED.pack(
                64, VERSION, record[2], exec_type, order.status, flags | FROM_SENDER, kind, 0,
                self.base + len(self.out), order.upstream, self.session, 0, reason, field, self.wall, 0, last_quantity,
                last_price, cum, leaves, average(order.value, cum), order.quantity, key, orig, order.symbol,
                exec_id, value, limit, order.price, order.number,
            ))  # fmt: skip
            return
        self.out.append(OWN.pack(
            64, VERSION, record[2], exec_type, order.status, flags | FROM_SENDER, kind, 0, self.base + len(self.out),
            record[16:20] if upstream is None else upstream.to_bytes(4, "little"), self.session, reason, field,
            self.wall, cum, leaves, average(order.value, cum) if cum else 0, order.quantity, key, orig,
            record[168:184], value, limit, order.price, record[184:192],
        ))  # fmt: skip

    def _report_doubt(self, item: Pending, reason: int) -> None:
        self.counters["doubts"] += 1
        order = item if isinstance(item, Order) else item.order
        kind = item.kind if not (item is order and order.answered) else 0
        self._report(order, ExecType.IN_DOUBT, 0, kind, item.key if item is not order else order.first, reason=reason,
                     upstream=item.upstream)

    def _raw_report(
        self, *, key: bytes, orig: bytes, upstream: int, kind: int, reason: int, field: int,
        exec_type: int = ExecType.CANCEL_REJECT,
    ) -> None:  # fmt: skip
        """Of an order that is not known (any more): the refusal of a change (FIX 4.4, D: B.1.f), or that it is done."""
        refuses = exec_type == ExecType.CANCEL_REJECT
        self.out.append(REPORT_KEYED.pack(
            64, VERSION, 0, exec_type, OrdStatus.REJECTED if refuses else OrdStatus.NONE,
            FINAL | FROM_SENDER if refuses else FROM_SENDER, kind, 0,
            self.base + len(self.out), upstream, self.session, 0, reason, field, self.wall, 0, 0, 0, 0, 0, 0, 0, key,
            orig, b"", NO_EXEC, 0, 0, 0, 0,
        ))  # fmt: skip

    def orders(self) -> list[Order]:
        """All that are known, to look at."""
        return [*{id(order): order for order in self.ids.values()}.values(), *self.archive.orders()]

    def state(self) -> list[tuple[Any, ...]]:
        """Everything that decides what happens next, in a canonical order: equal states behave equally."""
        orders = sorted(self.orders(), key=lambda order: order.number)
        found: list[tuple[Any, ...]] = [
            ("order", o.number, o.phase, o.first, o.key, o.venue_key, o.quantity, o.price, o.stop_price, o.cum,
             o.answered, o.attempt, o.status, o.value, o.internal, o.more and o.more.ahead,
             o.replacing.key if o.replacing else b"", *o.executions)
            for o in orders
        ]  # fmt: skip
        found += [
            ("change", c.key, c.kind, c.order.number, c.phase, c.attempt)
            for c in sorted(self.changes.values(), key=lambda change: change.key)
        ]
        found.append(("waiting", self.waiting, "working", self.working, "in doubt", self.doubtful))
        found.append(("session", self.interval, self.trade_date, self.session, self.logon_date, self.cancels_asked))
        found.append(("stopped", *sorted(self.risk.stopped)))
        found += [("mass action", sequence, *wish) for sequence, wish in self.mass_actions.items()]
        return found


OWN_EVENTS = {
    int(ExecType.REJECTED): Event.REJECT,
    int(ExecType.CANCELED): Event.CANCEL,
    int(ExecType.EXPIRED): Event.EXPIRE,
    int(ExecType.IN_DOUBT): Event.DOUBT,
    int(ExecType.DONE_UNKNOWN): Event.GIVE_UP,
    int(ExecType.NEW): Event.ACK,
}
