"""What the exchange's answers mean. Its records come in one form (REPORT layout, `response_type` set), and the report
of an answer is that record with the order's state filled in: the journal's copy replays as if it were said again.
An answer that does not fit the state of its order changes nothing, is stored and counted."""

from __future__ import annotations

from typing import Any

from oms_actors.core.ledger import OWN_EVENTS, Ledger
from oms_actors.core.order import EVENTS, NEXT, Event
from oms_actors.core.pending import (
    CANCEL,
    FINAL,
    FIRST_DONE,
    FROM_SENDER,
    FROM_VENUE,
    HAS_TEXT,
    IN_DOUBT,
    LATE,
    MODIFY,
    NEW,
    QUEUED,
    SENT,
    U64,
    UNMATCHED,
    WORKING,
    Change,
    Extra,
    Fields,
    Order,
    Pending,
)
from oms_actors.core.reports import NO_EXEC, NO_ORIG, REPORT_KEYED, average
from oms_actors.core.risk import NO_LIMITS
from oms_actors.errors import Reason
from oms_actors.messages import INT64_MAX, ExecType, OrdStatus, ResponseType, SessionEvent
from oms_actors.record import VERSION


class Responder(Ledger):
    """A Ledger that listens to the exchange."""

    def respond(self, record: bytes, text: bytes | None = None) -> None:
        """A record of the exchange (REPORT layout, `response_type` set); the report, and the exchange's own words
        behind it, go to `out`."""
        fields = REPORT_KEYED.unpack(record)
        self._record, self._words = record, text
        key, response = fields[22], fields[7]
        order = self.ids.get(key)
        change = self.changes.get(key) if order is None else None
        if order is None and change is None:
            order, change, fields = self._search(fields)
        self.counters["responses"] += 1
        handler = _HANDLERS[response] if response < len(_HANDLERS) else None
        if (order is None and change is None) or handler is None:
            self.counters["unmatched"] += 1
            self._foreign(record, UNMATCHED)
        else:
            self.counters["matched"] += 1
            handler(self, order, change, fields)

    def _search(self, fields: Fields) -> tuple[Order | None, Change | None, Fields]:
        """What an answer is about that names an order that was done long ago, or a client order id alone."""
        key = fields[22]
        order = self.archive.recall(key)
        if order is None and not key[0]:
            if key[16:] not in self.alias:
                self.archive.recall(key[16:])
            known = self.alias.get(key[16:])
            if known is not None:
                return self.ids.get(known), self.changes.get(known), (*fields[:22], known, *fields[23:])
        return order, None, fields

    def _said(self, report: bytes) -> None:
        """The report of an answer goes out, the exchange's own words behind it."""
        words, self._words = self._words, None
        if words is None:
            self.out.append(report)
            return
        self.out.append(report[:5] + bytes((report[5] | HAS_TEXT,)) + report[6:])
        self.out.append(words[:8] + U64.pack(self.base + len(self.out)) + words[16:])

    def _foreign(self, record: bytes, flag: int, order: Order | None = None) -> None:
        """A response that changes nothing: stored as it came, with the time at which it came."""
        flags = (record[5] | FROM_VENUE | FROM_SENDER | flag) & ~(FINAL | HAS_TEXT)
        upstream, number = (order.record[16:20], order.record[184:192]) if order else (bytes(4), bytes(8))
        self._said(
            record[:3] + bytes((ExecType.ORDER_STATUS, OrdStatus.NONE, flags)) + record[6:8]
            + U64.pack(self.base + len(self.out)) + upstream + record[20:32] + U64.pack(self.wall) + record[40:248]
            + number
        )  # fmt: skip

    def _no_effect(self, order: Order, change: Change | None, fields: Fields, flag: int = 0) -> None:
        """Known order, but the answer does not fit its state: stored, counted."""
        self.counters["illegal"] += 1
        self._venue_report(order, ExecType.ORDER_STATUS, flag, 0, fields, self._latency(change or order), fields[16],
                           fields[17])

    def _latency(self, item: Pending) -> int:
        if not item.sent_ns:
            return 0
        latency = self.now - item.sent_ns
        self.latencies.append(latency)
        return latency

    def _on_ack(self, order: Order | None, change: Change | None, fields: Fields) -> None:
        if order is None:
            self._on_change_ack(change, fields)
        elif _open_to_answer(order):
            self._move(order, Event.ACK)
            self._venue_report(order, ExecType.NEW, self._answer(order), NEW, fields, self._latency(order))
        else:
            self._no_effect(order, None, fields)

    def _on_change_ack(self, change: Change | None, fields: Fields) -> None:
        """The exchange has the request and will decide about it (FIX's PendingReplace, PendingCancel)."""
        assert change is not None, "a response is matched to an order or a change"
        if change.phase not in (SENT, IN_DOUBT):
            self._no_effect(change.order, change, fields)
            return
        if change.phase == IN_DOUBT:
            self.doubtful -= 1
            self._doubts.pop(change.key, None)
        change.phase = WORKING
        exec_type = ExecType.PENDING_CANCEL if change.kind == CANCEL else ExecType.PENDING_REPLACE
        self._venue_report(change.order, exec_type, 0, change.kind, fields, self._latency(change), change=change)

    def _answer(self, order: Order) -> int:
        if order.answered:
            return 0
        order.answered = True
        return FINAL

    def _on_reject(self, order: Order | None, change: Change | None, fields: Fields) -> None:
        if order is None:
            self._on_cancel_reject(None, change, fields)
            return
        if not _open_to_answer(order):
            self._no_effect(order, None, fields)
            return
        self.counters["venue_rejects"] += 1
        self._move(order, Event.REJECT)
        self._venue_report(order, ExecType.REJECTED, self._answer(order), NEW, fields, self._latency(order),
                           reason=fields[12] or Reason.VENUE_REJECT)
        self._drop_changes(order)

    def _on_fill(self, order: Order | None, change: Change | None, fields: Fields) -> None:
        if order is None:
            order = change.order  # type: ignore[union-attr]
        exec_id, quantity, price = fields[25], fields[16], fields[17]
        possible = 0 < quantity <= INT64_MAX - order.cum  # else no order could have it, and no record tell of it
        if order.has_execution(exec_id) or not possible or _never_sent(order):
            self.counters["duplicate_fills"] += 1
            self._foreign(self._record, 0, order)
            return
        if exec_id != NO_EXEC:
            order.executed(exec_id)
        self.counters["fills"] += 1
        latency = self._latency(order)
        if order.phase == QUEUED:
            self._move(order, Event.ACK)
        self._count_fill(order, quantity, price)
        if order.cum > order.quantity:  # it happened, so it counts; people must know
            self.counters["overfilled"] += 1
        done = order.phase >= FIRST_DONE
        if done:
            self.counters["late"] += 1
        else:
            self._move(order, Event.FILL_ALL if order.cum >= order.quantity else Event.FILL)
        first = 0 if order.answered else NEW
        flags = self._answer(order) | (LATE if done else 0)
        self._venue_report(order, ExecType.TRADE, flags, first, fields, latency, quantity, price, exec_id)
        if order.phase >= FIRST_DONE:
            self._drop_changes(order)
        if self.risk.limits is not NO_LIMITS:
            self._watch(order, price)

    def _watch(self, order: Order, price: int) -> None:
        """The last price, and the guard against repeated executions, whose word is journalled."""
        upstream = order.upstream
        if self.risk.on_fill(upstream, order.symbol, price, self.now) and not self.replaying:
            self.note(SessionEvent.GUARD_STOP, f"upstream {upstream}: repeated executions", upstream)

    @staticmethod
    def _count_fill(order: Order, quantity: int, price: int) -> None:
        """Adds an execution; what a query has already told about is not added a second time."""
        known, extra = 0, order.extra
        if isinstance(extra, Extra) and extra.ahead:
            known = min(quantity, extra.ahead)
            extra.ahead -= known
            order.value += known * (price - extra.ahead_price)
        order.cum += quantity - known
        order.value += (quantity - known) * price

    def _on_canceled(self, order: Order | None, change: Change | None, fields: Fields) -> None:
        self._on_end(order, change, fields, Event.CANCEL, ExecType.CANCELED)

    def _on_expired(self, order: Order | None, change: Change | None, fields: Fields) -> None:
        self._on_end(order, change, fields, Event.EXPIRE, ExecType.EXPIRED)

    def _on_end(self, order: Order | None, change: Change | None, fields: Fields, event: int, exec_type: int) -> None:
        item: Pending = change or order  # type: ignore[assignment]
        order = change.order if change else order
        assert order is not None, "a response is matched to an order or a change"
        if _never_sent(item) or (order.phase >= FIRST_DONE and change is None):
            self._no_effect(order, change, fields)
            return
        latency, orig = self._latency(item), order.key[16:]
        if change is not None:
            self._forget_change(change)
        if order.phase < FIRST_DONE:
            self._move(order, event)
        reason = fields[12] or (0 if change else Reason.VENUE_UNSOLICITED)
        if change is not None:
            open_new = not order.answered
            self._venue_report(order, exec_type, FINAL, change.kind, fields, latency, reason=reason, change=change,
                               orig=orig)
            # A cancel of our own making says why where others have their send time (see `Interventions`).
            cause = 0 if change.upstream else int.from_bytes(change.record[36:38], "little")
            if open_new:
                order.answered = True
                self._report(order, exec_type, FINAL, NEW, order.first, reason=cause)
            elif change.upstream != order.upstream:  # somebody else's cancel: its owner is told as well
                self._report(order, exec_type, 0, 0, order.key, reason=cause)
        else:
            kind = 0 if order.answered else NEW
            self._venue_report(order, exec_type, self._answer(order), kind, fields, latency, reason=reason)
        self._drop_changes(order)

    def _on_replaced(self, order: Order | None, change: Change | None, fields: Fields) -> None:
        if change is None:
            self._on_restated(order, fields)
            return
        order = change.order
        if _never_sent(change) or change.kind != MODIFY:
            self._no_effect(order, change, fields)
            return
        latency, orig = self._latency(change), order.key[16:]
        taken_over = NEXT[order.phase * EVENTS + Event.REPLACE] >= 0
        if taken_over:
            self._take_over(change, *_stated(order, fields))
        else:
            self.counters["illegal"] += 1
        self._forget_change(change)
        exec_type, reason = (ExecType.REPLACED, 0) if taken_over else (ExecType.CANCEL_REJECT, Reason.ORDER_TERMINAL)
        self._venue_report(order, exec_type, FINAL, MODIFY, fields, latency, reason=reason, change=change, orig=orig)
        if order.phase >= FIRST_DONE:
            self._drop_changes(order)

    def _on_restated(self, order: Order | None, fields: Fields) -> None:
        """The exchange has changed an order of its own accord (FIX 4.4, D: E.1.c, E.1.d)."""
        assert order is not None, "a response is matched to an order or a change"
        current = fields[22] == order.venue_key  # an older id: the answer to a replace, come twice
        if fields[5] & FROM_SENDER:  # our own record of it, at a replay
            current = fields[3] == ExecType.RESTATED
        quantity, price = _stated(order, fields)
        quantity, price = quantity or order.quantity, price or order.price
        same = (quantity, price) == (order.quantity, order.price)
        if same or not current or order.phase not in (SENT, WORKING, IN_DOUBT):
            self._no_effect(order, None, fields)
            return
        self._set_values(order, quantity, price, order.stop_price)
        kind = 0 if order.answered else NEW
        self._venue_report(order, ExecType.RESTATED, self._answer(order), kind, fields, self._latency(order),
                           reason=Reason.VENUE_UNSOLICITED)
        if order.phase >= FIRST_DONE:
            self._drop_changes(order)

    def _on_cancel_reject(self, order: Order | None, change: Change | None, fields: Fields) -> None:
        if change is None or _never_sent(change):
            self._no_effect(order or change.order, change, fields)  # type: ignore[union-attr]
            return
        latency = self._latency(change)
        self._forget_change(change)
        self.counters["venue_rejects"] += 1
        self._venue_report(change.order, ExecType.CANCEL_REJECT, FINAL, change.kind, fields, latency,
                           reason=fields[12] or Reason.VENUE_REJECT, change=change)

    def _on_found(self, order: Order | None, change: Change | None, fields: Fields) -> None:
        """The exchange's word on where an order stands: answers whatever was in doubt about it."""
        if order is None or not _open_to_answer(order):
            target = order or change.order  # type: ignore[union-attr]
            self._venue_report(target, ExecType.ORDER_STATUS, 0, 0, fields, 0)
            return
        if fields[5] & FROM_SENDER:  # our own record of it, at a replay
            missing, price, event = fields[16], fields[17], OWN_EVENTS.get(fields[3], Event.ACK)
        else:
            missing = max(0, fields[18] + order.internal - order.cum)
            price, event = fields[20] or order.price, _FOUND_EVENTS.get(fields[4], Event.ACK)
            if event == Event.FILL_ALL:  # it need not say how much that was
                missing = max(missing, order.quantity - order.cum)
        if missing := min(missing, INT64_MAX - order.cum):
            extra = order.own()
            extra.ahead += missing
            extra.ahead_price = price
            order.value += missing * price
            order.cum += missing
        self._move(order, Event.FILL_ALL if order.cum >= order.quantity else event)
        self._venue_report(order, _FOUND_TYPES.get(event, ExecType.ORDER_STATUS), self._answer(order), NEW, fields, 0,
                           missing, price)
        if order.phase >= FIRST_DONE:
            self._drop_changes(order)

    def _on_not_found(self, order: Order | None, change: Change | None, fields: Fields) -> None:
        self._venue_report(order or change.order, ExecType.ORDER_STATUS, 0, 0, fields, 0)  # type: ignore[union-attr]
        self.not_found(fields[22])

    def not_found(self, key: bytes) -> int:
        """The exchange does not know the doubtful order: how often it has said so by now."""
        entry = self._doubts.get(key)
        if entry is None:
            return 0
        entry[1] += 1
        return entry[1]

    def _venue_report(
        self, order: Order, exec_type: int, flags: int, kind: int, fields: Fields, latency: int, quantity: int = 0,
        price: int = 0, exec_id: bytes = NO_EXEC, reason: int = 0, change: Change | None = None,
        orig: bytes | None = None,
    ) -> None:  # fmt: skip
        """The report of an exchange's answer. It names the id that the exchange used, so that it replays."""
        record, cum = order.record, order.cum
        leaves = order.quantity - cum if order.phase < FIRST_DONE and order.quantity > cum else 0
        first = order.first
        key = change.key if change else first if kind == NEW else order.key
        if exec_type == ExecType.ORDER_STATUS and not kind:
            key = fields[22]  # what it was said of decides what it means, also at a replay
        if orig is None:
            orig = order.key[16:] if change else first[16:] if key != first else NO_ORIG
        upstream = change.upstream if change else order.upstream
        self._said(REPORT_KEYED.pack(
            64, VERSION, record[2], exec_type, order.status, flags | FROM_VENUE | FROM_SENDER, kind, fields[7],
            self.base + len(self.out), upstream, self.session, 0, reason or fields[12], fields[13], self.wall,
            latency, quantity, price, cum, leaves, average(order.value, cum),
            order.quantity, key, orig, record[168:184], exec_id or fields[25], fields[26], fields[27], order.price,
            order.number,
        ))  # fmt: skip


def _never_sent(item: Pending) -> bool:
    """No attempt was made. (One whose adapter promised that nothing left was: promises may be wrong.)"""
    return item.phase == QUEUED and not item.attempt


def _open_to_answer(order: Order) -> bool:
    """Has it been sent, and has the exchange said neither yes nor no?"""
    return order.phase in (SENT, IN_DOUBT) or (order.phase == QUEUED and order.attempt > 0)


def _stated(order: Order, fields: Fields) -> tuple[int, int]:
    """Quantity and price as the exchange says that they are; 0 where it does not say, or says nonsense."""
    if fields[5] & FROM_SENDER:  # our own record of it, at a replay
        return fields[21], fields[28]
    return (fields[16] + order.internal if fields[16] > 0 else 0), max(fields[17], 0)


_FOUND_EVENTS = {
    int(OrdStatus.CANCELED): Event.CANCEL,
    int(OrdStatus.EXPIRED): Event.EXPIRE,
    int(OrdStatus.REJECTED): Event.REJECT,
    int(OrdStatus.FILLED): Event.FILL_ALL,
}
_FOUND_TYPES = {
    Event.CANCEL: ExecType.CANCELED,
    Event.EXPIRE: ExecType.EXPIRED,
    Event.REJECT: ExecType.REJECTED,
}
_HANDLERS: tuple[Any, ...] = tuple(
    {
        ResponseType.ACK: Responder._on_ack,
        ResponseType.REJECT: Responder._on_reject,
        ResponseType.FILL: Responder._on_fill,
        ResponseType.CANCELED: Responder._on_canceled,
        ResponseType.REPLACED: Responder._on_replaced,
        ResponseType.CANCEL_REJECT: Responder._on_cancel_reject,
        ResponseType.EXPIRED: Responder._on_expired,
        ResponseType.QUERY_FOUND: Responder._on_found,
        ResponseType.QUERY_NOT_FOUND: Responder._on_not_found,
    }.get(ResponseType(code) if code else None)  # type: ignore[arg-type]
    for code in range(len(ResponseType) + 1)
)
