"""The sender's core: what waits, what is at the exchange, and what every answer means.

Theory of operation. Three inputs: requests that intake admitted, records from the exchange, and time. Outputs are
records in `out`, in the order in which they are to be journalled, and `calls`: what to say to the exchange once they
are durable. State changes in four ways only, each of which a journal repeats:

- `admit`: a request takes its place in line (a NEW becomes an Order, a change of a sent order a Change);
- `apply_intent`: an item leaves the line because it goes out;
- `apply_result`: what the call did;
- `respond`: a record of the exchange; and `apply_own`: an outcome of our own making (changed or canceled in the line,
  expired, refused at release, in doubt).

Live, the core decides and then applies what it decided; at a restart `replay` applies what the journal says. The
decisions look at configuration, applying never does. An item is at most once in a call, answered finally once, and an
order has at most one replace at the exchange at a time: further modifies wait behind it, a cancel overtakes and ends
them.
"""

from __future__ import annotations

import struct

from oms_actors.core.answers import runs
from oms_actors.core.crossing import Crossing
from oms_actors.core.mass_action import Mass, MassAction
from oms_actors.core.order import STATUS, Event, move
from oms_actors.core.pending import (
    CANCEL,
    FINAL,
    FIRST_DONE,
    FROM_SENDER,
    MODIFY,
    NEW,
    QUEUED,
    VALUES,
    Order,
    Pending,
    SenderSettings,
)
from oms_actors.core.release import Release
from oms_actors.core.reports import NO_ORIG, OWN, WAITING, average
from oms_actors.core.risk import NO_LIMITS, Risk
from oms_actors.core.scopes import Scopes
from oms_actors.core.throttle import Throttle
from oms_actors.errors import Field, Reason
from oms_actors.messages import ExecType, Flag, Kind, OrderType, SessionEvent
from oms_actors.record import AT_FLAGS, KEY, MATCH, REQUEST_BYTES, SESSION, UPSTREAM, VERSION

CHANGE = struct.Struct("<2xB13x4s8xH18xqqq8x52s36s16s8x")
"""Of a request: side, upstream, reason, quantity, price, stop price, key, original id, symbol."""
UPSTREAM_LEAVES = 1
"""State of an UPSTREAM record: it has been away too long, its orders are to be canceled."""
REQUESTS = frozenset((NEW, MODIFY, CANCEL))
_MAY_HAVE_PRICE = frozenset((int(OrderType.LIMIT), int(OrderType.STOP_LIMIT)))
_MAY_HAVE_STOP = frozenset((int(OrderType.STOP), int(OrderType.STOP_LIMIT)))
MATCHES_PER_FRAME = 4096
"""So many internal matches in a row; then the frame is full, and they go on with the next cycle."""
LOOKS_PER_ORDER = 4 * MATCHES_PER_FRAME


class Sender(Release):
    """Each cycle: `begin`, then `take`, `respond`, `tick`, `release`; journal what is `taken`, then perform `calls`."""

    def __init__(
        self, settings: SenderSettings, throttle: Throttle, risk: Risk | None = None, scopes: Scopes | None = None
    ) -> None:
        super().__init__(settings, throttle, risk, scopes)
        self.crossing = Crossing() if settings.crossing else None
        self.matching = True
        """Are waiting orders matched inside now? Not while they could not be sent: before the open, after the close."""
        self._judged: tuple[object, ...] = ()

    # -- requests -------------------------------------------------------------------------------------------------

    def take(self, payload: bytes) -> int:
        """A frame of intake's journal; returns how many admitted requests were in it."""
        count = 0
        if self.crossing is not None:
            self._unpark(self.crossing)
        for kinds, part in runs(payload):
            if kinds[0] in REQUESTS:
                count += self._take_requests(kinds, part)
            elif kinds[0] == Kind.SESSION:
                self._take_session(part)
            elif kinds[0] == Kind.UPSTREAM:
                self._take_upstream(part)
        self.counters["received"] += count
        return count

    def _take_requests(self, kinds: bytes, part: bytes) -> int:
        """A run of requests. Changes of waiting orders, which answer at once, come by the thousand: decided here."""
        count, ids, crossing = 0, self.ids, self.crossing
        for kind, (side, upstream, reason, quantity, price, stop, key, orig, symbol), at in zip(
            kinds, CHANGE.iter_unpack(part), range(0, len(part), REQUEST_BYTES), strict=True
        ):
            if reason:
                if reason == Reason.DUPLICATE_CLIENT_ORDER_ID and part[at + AT_FLAGS] & Flag.POSSIBLE_RESEND:
                    self._tell_state(kind, key, orig, upstream)
                continue
            count += 1
            if kind == NEW:
                order = self._admit_order(part[at : at + REQUEST_BYTES])
                if crossing is not None:
                    self._cross(order, crossing)
                continue
            named = ids.get(key[:16] + orig)
            if named is None or named.phase != QUEUED or (side and side != named.record[2]) or (
                symbol[0] and symbol != named.symbol
            ):
                self._decide_change(part[at : at + REQUEST_BYTES])
            elif kind == MODIFY:
                self._modify_waiting(named, key, upstream, quantity, price, stop)
            else:
                self._cancel_waiting(named, key, upstream)
        return count

    def _take_session(self, record: bytes) -> None:
        """Intake has begun another trade date: what came before this belongs to the old one."""
        _, _, event, _, _, _, _, _, date, _ = SESSION.unpack(record)
        if event == SessionEvent.ROLL and date != self.rolled:
            if self.rolled:
                self.wish(MassAction(Mass.ROLL, Reason.END_OF_DAY), date)
            else:  # the first one ever: nothing is old
                self.note(SessionEvent.ROLL, "first trade date", trade_date=date)

    def _take_upstream(self, record: bytes) -> None:
        _, _, state, number, *_ = UPSTREAM.unpack(record)
        if state == UPSTREAM_LEAVES:
            self.wish(MassAction(Mass.CANCEL, Reason.UPSTREAM_GONE, number))

    def _decide_change(self, record: bytes) -> None:
        order = self._named(record)
        refusal = self._refusal(order, record)
        upstream, key = record[16:20], record[KEY]
        if refusal or order is None:
            self._refuse_change(order, record, *(refusal or (Reason.UNKNOWN_ORDER, Field.ORIG_CLIENT_ORDER_ID)))
        elif order.phase != QUEUED:
            if record[0] == CANCEL:
                self._supersede(order)
            self.admit(record, order)
        elif record[0] == MODIFY:
            self._modify_waiting(order, key, upstream, *VALUES.unpack_from(record, 48))
        else:
            self._cancel_waiting(order, key, upstream)

    def _refusal(self, order: Order | None, record: bytes) -> tuple[Reason, Field] | None:
        if order is None:
            return Reason.UNKNOWN_ORDER, Field.ORIG_CLIENT_ORDER_ID
        if order.phase >= FIRST_DONE:
            return Reason.ORDER_TERMINAL, Field.ORIG_CLIENT_ORDER_ID
        if record[2] and record[2] != order.record[2]:
            return Reason.FIELD_MISMATCH, Field.SIDE
        if record[168] and record[168:184] != order.symbol:
            return Reason.FIELD_MISMATCH, Field.SYMBOL
        if order.phase != QUEUED and not self.settings.after_send_forward:
            return Reason.IGNORED_AFTER_SEND, Field.ORIG_CLIENT_ORDER_ID
        _, price, stop = VALUES.unpack_from(record, 48)
        return _unfit(order, price, stop)

    def _modify_waiting(
        self, order: Order, key: bytes, upstream: bytes, quantity: int, price: int, stop: int
    ) -> None:  # fmt: skip
        """Changed where it stands: nothing reaches the exchange, and it is answered at once."""
        refusal = _unfit(order, price, stop) if price or stop else None
        quantity, price, stop = quantity or order.quantity, price or order.price, stop or order.stop_price
        if refusal is None and self.risk.enabled:
            refusal = self.risk.recheck(  # type: ignore[assignment]
                MODIFY, order.upstream, order.account, order.symbol, quantity, price, stop
            )
        orig = order.key[16:]
        if refusal is not None:
            self.counters["rejected"] += 1
            reason, field, value, limit = (*refusal, 0, 0)[:4]
            self._report(order, ExecType.CANCEL_REJECT, FINAL, MODIFY, key, orig, reason=reason, field=field,
                         value=value, limit=limit, upstream=int.from_bytes(upstream, "little"))
            return
        loses_place = self.settings.modify_loses_place
        self.counters["modified_in_queue"] += 1
        record, cum, out = order.record, order.cum, self.out
        moves = self.crossing is not None and (price != order.price or bool(self.crossing.parked))
        if not (cum or order.pending or loses_place):  # nearly all: the same as below, with less to look at
            order.quantity, order.price, order.stop_price = quantity, price, stop
            self._rename(order, key)
            out.append(WAITING.pack(
                REPLACED[record[2]], self.base + list.__len__(out) + out.more, upstream, self.session,
                REPLACED_IN_QUEUE, self.wall, quantity, quantity, key, orig, record[168:184], stop, price,
                record[184:192],
            ))  # fmt: skip
            if moves:
                self._cross(order, self.crossing)  # type: ignore[arg-type]
            return
        self._replace_waiting(order, key, quantity, price, stop, loses_place)
        quantity = order.quantity
        out.append(OWN.pack(
            64, VERSION, record[2], ExecType.REPLACED, order.status, FINAL | FROM_SENDER, MODIFY, 0,
            self.base + len(self.out), upstream, self.session, Reason.REPLACED_IN_QUEUE,
            Field.QUEUE if loses_place else 0, self.wall, cum, quantity - cum,
            average(order.value, cum) if cum else 0, quantity, key, orig, record[168:184], stop, 0, price,
            record[184:192],
        ))  # fmt: skip
        if order.phase >= FIRST_DONE:
            self._drop_changes(order)
        elif moves:
            self._cross(order, self.crossing)  # type: ignore[arg-type]

    def _tell_state(self, kind: int, key: bytes, orig: bytes, upstream: bytes) -> None:
        """A request came again, marked as a possible resend: its one answer is the order's state as it is (FIX 4.4, D:
        F.1.b). A change that is answered is known no more, but the order that it names is."""
        order, number = self.known(key), int.from_bytes(upstream, "little")
        change = self.changes.get(key)
        if order is None:
            order = change.order if change is not None else self.known(key[:16] + orig)
        if order is not None:
            why = self.waits_for(change or order)
            self._report(order, ExecType.ORDER_STATUS, 0, kind, key, reason=why, upstream=number)
        else:  # done so long ago that we do not know it any more
            self._raw_report(key=key, orig=orig, upstream=number, kind=kind, reason=Reason.ORDER_TERMINAL, field=0,
                             exec_type=ExecType.ORDER_STATUS)

    # -- internal crossing ------------------------------------------------------------------------------------------

    def recover(self, cursor: int | None, spent_at_ns: int | None, in_call: int = 0) -> None:
        """As Recovery.recover; whatever waits may be matched."""
        super().recover(cursor, spent_at_ns, in_call)
        if self.crossing is not None:
            self.crossing.enter_all({id(o): o for o in self.ids.values() if o.phase == QUEUED}.values())

    def returned(self, call_ns: int, return_ns: int, sequence: int, item: Pending, outcome: int) -> None:
        """As Release.returned; what was not called out after all waits again."""
        super().returned(call_ns, return_ns, sequence, item, outcome)
        if self.crossing is not None and isinstance(item, Order):
            self.crossing.enter(item)

    def match(self, looks: int) -> bool:
        """Matches what may go since the session has opened, the kill switch has let go or limits have changed, and goes
        on where a frame was full; True if something is left to do."""
        crossing = self.crossing
        if crossing is None or not self.matching:
            return False
        self._unpark(crossing)
        while looks > 0 and crossing.restless:
            looks -= 1 + self._match(crossing, next(iter(crossing.restless)), looks)
            self.relieve()
        return bool(crossing.restless)

    def _unpark(self, crossing: Crossing) -> None:
        """Orders that took no part get another chance whenever those who are against it may have changed."""
        risk = self.risk
        judges = risk.kill_flags, risk.stopped, risk.limits
        if any(now is not before for now, before in zip(judges, self._judged, strict=False)):
            crossing.unpark()
        self._judged = judges

    def _cross(self, order: Order, crossing: Crossing) -> None:
        """Matches a fresh or repriced order against what waits on the other side."""
        if crossing.enter(order) and self.matching:
            self._match(crossing, order.symbol, LOOKS_PER_ORDER, order)

    def _match(self, crossing: Crossing, symbol: bytes, looks: int, comer: Order | None = None) -> int:
        """Matches a symbol's orders; returns how many looks that took."""
        looked = 0
        for pair in crossing.pairs(symbol, self._may_go, looks):
            if len(self.out) > 3 * MATCHES_PER_FRAME:
                break
            looked += 1
            if pair is not None:
                self._meet(*pair, comer)
        return looked

    def _meet(self, buy: Order, sell: Order, comer: Order | None) -> None:
        """A match, at the price of the one that has stood there longer: not the `comer`, else the one that was accepted
        first."""
        stood = sell if buy is comer or (sell is not comer and sell.number < buy.number) else buy
        quantity, price = min(buy.quantity - buy.cum, sell.quantity - sell.cum), stood.price
        sequence = self.base + len(self.out)
        self.apply_match(buy, sell, quantity, price)
        self.counters["crossed"] += 1
        self.out.append(MATCH.pack(
            Kind.MATCH, VERSION, 0, 0, sequence, self.wall, quantity, price, buy.number, sell.number, buy.key,
            sell.key, buy.symbol,
        ))  # fmt: skip
        for order in (buy, sell):
            self._crossed_report(order, sequence, quantity, price)
        if self.risk.limits is not NO_LIMITS:
            self._watch(buy, price)
            self._watch(sell, price)

    def _crossed_report(self, order: Order, match: int, quantity: int, price: int) -> None:
        """A match is a fill for its owner, and the final answer to a NEW that had none yet."""
        first = order.cum == quantity
        exec_id = f"X-{match}".encode().ljust(24, b"\0")
        self._report(order, ExecType.TRADE, FINAL if first else 0, NEW if first else 0,
                     order.first if first else order.key, reason=Reason.CROSSED_INTERNALLY, last_quantity=quantity,
                     last_price=price, exec_id=exec_id)

    def _cancel_waiting(self, order: Order, key: bytes, upstream: bytes) -> None:
        """Taken out of the line: the final answer to its NEW, if that is open, and to the CANCEL."""
        self.counters["canceled_in_queue"] += 1
        if not (order.cum or order.pending or order.answered):  # nearly all: the same as below, with less to look at
            self._cancel_untouched(order, key, upstream)
            return
        kind = 0 if order.answered else NEW
        record, out, cum = order.record, self.out, order.cum
        own, orig, first = order.key, order.key[16:], record[KEY]
        order.answered = True
        self._move(order, Event.CANCEL)
        status, sequence = order.status, self.base + len(out)
        symbol, number, values = record[168:184], record[184:192], (order.quantity, order.price)
        avg = average(order.value, cum) if cum else 0
        out.append(OWN.pack(
            64, VERSION, record[2], ExecType.CANCELED, status, FROM_SENDER | (FINAL if kind else 0), kind, 0, sequence,
            record[16:20], self.session, Reason.CANCELED_IN_QUEUE, 0, self.wall, cum, 0, avg, values[0],
            first if kind else own, NO_ORIG if kind or own == first else first[16:], symbol, 0, 0, values[1], number,
        ))  # fmt: skip
        out.append(OWN.pack(
            64, VERSION, record[2], ExecType.CANCELED, status, FROM_SENDER | FINAL, CANCEL, 0, sequence + 1, upstream,
            self.session, Reason.CANCELED_IN_QUEUE, 0, self.wall, cum, 0, avg, values[0], key, orig, symbol, 0, 0,
            values[1], number,
        ))  # fmt: skip
        if order.pending:
            self._drop_changes(order)


    def _cancel_untouched(self, order: Order, key: bytes, upstream: bytes) -> None:
        record, out, session, wall = order.record, self.out, self.session, self.wall
        order.answered = True
        self._leave_line(order)
        order.phase = AFTER_CANCEL
        self._finished(order)
        side, symbol, number, quantity, price = (
            record[2], record[168:184], record[184:192], order.quantity, order.price
        )  # fmt: skip
        sequence = self.base + list.__len__(out) + out.more
        out.append(WAITING.pack(
            CANCELED_NEW[side], sequence, record[16:20], session, CANCELED_IN_QUEUE, wall, 0, quantity, record[KEY],
            NO_ORIG, symbol, 0, price, number,
        ))  # fmt: skip
        out.append(WAITING.pack(
            CANCELED[side], sequence + 1, upstream, session, CANCELED_IN_QUEUE, wall, 0, quantity, key,
            order.key[16:], symbol, 0, price, number,
        ))  # fmt: skip


def _heads(exec_type: int, phase: int, kind: int) -> tuple[bytes, ...]:
    """The first 8 bytes of a final answer, by side."""
    status, flags = STATUS[phase << 3], FINAL | FROM_SENDER
    return tuple(bytes((Kind.REPORT, VERSION, side, exec_type, status, flags, kind, 0)) for side in range(3))


AFTER_CANCEL = move(QUEUED, Event.CANCEL)
REPLACED = _heads(ExecType.REPLACED, QUEUED, MODIFY)
CANCELED_NEW, CANCELED = (_heads(ExecType.CANCELED, AFTER_CANCEL, kind) for kind in (NEW, CANCEL))
REPLACED_IN_QUEUE, CANCELED_IN_QUEUE = int(Reason.REPLACED_IN_QUEUE), int(Reason.CANCELED_IN_QUEUE)


def _unfit(order: Order, price: int, stop: int) -> tuple[Reason, Field] | None:
    """A modify may not give an order a price that its type has not."""
    order_type = order.record[3]
    if price and order_type not in _MAY_HAVE_PRICE:
        return Reason.NOT_ALLOWED, Field.PRICE
    if stop and order_type not in _MAY_HAVE_STOP:
        return Reason.NOT_ALLOWED, Field.STOP_PRICE
    return None
