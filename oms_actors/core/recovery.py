"""After a restart: the journal folded into the state, and what a dead sender left open."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify

from oms_actors.core.pending import CANCEL, FINAL, FROM_VENUE, IN_DOUBT, MODIFY, NEW, SENT, Order, Pending
from oms_actors.core.reports import REPORT_KEYED
from oms_actors.core.responder import Responder
from oms_actors.core.risk import NO_LIMITS
from oms_actors.errors import Reason, require
from oms_actors.messages import ExecType, Kind, Outcome
from oms_actors.record import AT_SEQUENCE, KEY, MATCH, REQUEST_BYTES, RESULT, SIZES, VERSION, records

_INTENTS = (Kind.INTENT_NEW, Kind.INTENT_MODIFY, Kind.INTENT_CANCEL)


class Recovery(Responder):
    """A Responder that can be rebuilt from its journal."""

    def replay(self, payload: bytes, requests: list[bytes]) -> None:
        """One frame of the sender's journal (`begin` with its times first) and the requests that it had consumed."""
        self.replaying = True
        mine = list(records(payload))
        answered = {r[96:148] for r in mine if r[0] == Kind.REPORT and r[5] & (FINAL | FROM_VENUE) == FINAL}
        self.counters["received"] += len(requests)
        for record in requests:
            if record[0] == NEW or record[KEY] not in answered:
                self.admit(record)
            elif (order := self._named(record)) is not None:
                self._passing[record[KEY]] = order
        for sequence, record in enumerate(mine, self.base):
            self._replay_record(record, sequence)
        self.base += len(mine)
        self.out.clear()
        self.latencies.clear()
        self._passing.clear()
        self.put_away(len(mine))
        self.replaying = False

    def _replay_record(self, record: bytes, sequence: int) -> None:
        kind = record[0]
        if kind == Kind.REPORT:
            if record[5] & FROM_VENUE:
                self.respond(record)
            else:
                fields = REPORT_KEYED.unpack(record)
                self._count_own(fields[6], fields[3], fields[12])
                self.apply_own(fields[22], fields[6], fields[3], fields[21], fields[28], fields[26], fields[23],
                               fields[13])  # fmt: skip
        elif kind == Kind.RESULT:
            self._replay_result(record)
        elif kind == Kind.SESSION:
            self.apply_session(record, sequence)
        elif kind == Kind.MATCH:
            fields = MATCH.unpack(record)
            self.counters["crossed"] += 1
            buy, sell, quantity, price = self.ids[fields[10]], self.ids[fields[11]], fields[6], fields[7]
            self.apply_match(buy, sell, quantity, price)
            if self.risk.limits is not NO_LIMITS:
                self._watch(buy, price)
                self._watch(sell, price)
        elif kind == Kind.CANCEL:
            self.admit(record)  # of our own making
        elif kind in _INTENTS:
            self._replay_intent(record)

    def _count_own(self, request: int, exec_type: int, reason: int) -> None:
        """What was counted when this report of our own was made: counters are totals, over all lives."""
        counters = self.counters
        if exec_type == ExecType.CANCEL_REJECT:
            counters["rejected"] += 1
        elif exec_type == ExecType.IN_DOUBT:
            counters["doubts"] += 1
        elif request == MODIFY and reason == Reason.REPLACED_IN_QUEUE:
            counters["modified_in_queue"] += 1
        elif request == CANCEL and reason == Reason.CANCELED_IN_QUEUE:
            counters["canceled_in_queue"] += 1

    def _replay_intent(self, record: bytes) -> None:
        key = record[KEY]
        item: Pending | None = self.ids.get(key) if record[0] == Kind.INTENT_NEW else self.changes.get(key)
        require(item is not None, f"the journal sends what nobody asked for: {key!r}")
        if item is None:
            return
        lane = self._lane_of(item)
        if item.phase == IN_DOUBT:  # the flag in the record does not tell: the request may have had it before
            item.resend = True
        elif item.held:
            item.held = 0
        elif lane.head() is item:
            lane.pop()
        else:
            item.stale += 1
            lane.removed()
        self.apply_intent(item, int.from_bytes(record[AT_SEQUENCE : AT_SEQUENCE + 8], "little"))

    def _replay_result(self, record: bytes) -> None:
        _, _, outcome, _, sequence, call_ns, return_ns = RESULT.unpack(record)
        item = self._intents.get(sequence)
        if item is not None and item.kind in self.settings.counted and outcome != Outcome.NOT_CALLED:
            self._calls_made.append(_call(item, return_ns))
            self._forget_old_calls(return_ns)
        self.counters["sent"] += outcome == Outcome.SENT
        self.apply_result(sequence, outcome, call_ns, return_ns)

    def _forget_old_calls(self, now_ns: int) -> None:
        """What no throttle counts any more."""
        limit = self.throttle.limit
        oldest = now_ns - 2 * max(limit.per_ns + limit.margin_ns, self.scopes.window_ns)
        while self._calls_made and self._calls_made[0][0] < oldest:
            self._calls_made.popleft()

    def forget_calls(self) -> None:
        """What was called before a reboot is stamped by another clock: it says nothing about the throttle."""
        self._calls_made.clear()

    def recover(self, cursor: int | None, spent_at_ns: int | None, in_call: int = 0) -> None:
        """After the replay: settles the calls that a dead sender left open, in `out`; rebuilds the throttle's budget.

        `cursor` is the send cursor if it can be trusted (same boot), `spent_at_ns` the start after a reboot, `in_call`
        the last INTENT of the call that the cursor may be in (0: that call has only one).
        """
        calls = list(self._calls_made)
        for sequence, item in sorted(self._intents.items(), reverse=True):
            outcome = Outcome.FAILED
            if cursor is not None and sequence > max(cursor >> 1, 0 if cursor & 1 else in_call):
                outcome = Outcome.NOT_CALLED
            elif cursor is not None and (sequence < cursor >> 1 or cursor & 1):
                outcome = Outcome.SENT
            if outcome != Outcome.NOT_CALLED and item.kind in self.settings.counted:
                calls.append(_call(item, self.now))
            self.counters["sent"] += outcome == Outcome.SENT
            self.out.append(RESULT.pack(Kind.RESULT, VERSION, outcome, item.attempt, sequence, self.now, self.now))
            self.apply_result(sequence, outcome, self.now, self.now)
            if outcome == Outcome.FAILED:
                self._report_doubt(item, Reason.IN_DOUBT)
        self.throttle.restore([call[:2] for call in calls], self.now, spent_at_ns)
        self.scopes.restore(calls, self.now, spent_at_ns)
        self._rebase(spent_at_ns or 0)
        self._timeouts.clear()
        if self.settings.ack_timeout_ns:
            deadline = self.now + self.settings.ack_timeout_ns
            unanswered: dict[int, Pending] = {id(o): o for o in self.ids.values() if o.phase == SENT}
            unanswered.update((id(c), c) for c in self.changes.values() if c.phase == SENT)
            self._timeouts.extend((deadline, item, item.attempt) for item in unanswered.values())

    def _rebase(self, boot_ns: int) -> None:
        """Instants of an earlier boot, those before `boot_ns` or in the future, mean nothing any more."""
        retry_ns, look_ns = self.now + self.settings.retry_delay_ns, self.now + self.settings.query_settle_ns
        self._retries = [(min(due, retry_ns), sequence, item) for due, sequence, item in self._retries]
        heapify(self._retries)
        for entry in self._doubts.values():
            entry[0] = min(entry[0], look_ns)
        self.archive.sent_within(boot_ns, self.now)
        items: list[Pending] = [*self.ids.values(), *self.changes.values()]
        for item in items:
            if not boot_ns <= item.sent_ns <= self.now:
                item.sent_ns = 0


def _call(item: Pending, return_ns: int) -> tuple[int, bool, bytes, bytes]:
    order = item if isinstance(item, Order) else item.order
    return return_ns, item.kind == CANCEL, order.account, order.symbol


def requests_of(payload: bytes) -> Iterator[bytes]:
    """The admitted requests of a frame of intake's journal."""
    at, end = 0, len(payload)
    while at < end:
        size = SIZES[payload[at]] << 5
        if size == REQUEST_BYTES:
            if payload[at + 28 : at + 30] == b"\0\0":
                yield payload[at : at + REQUEST_BYTES]
        elif not size:
            return
        at += size
