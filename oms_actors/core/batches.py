"""The sender's core for plain traffic, by whole frames: the same decisions and the same bytes as one by one.

Theory of operation. Nearly all traffic is plain: a NEW is admitted, goes out unchanged, is acknowledged and filled. For
a run of such records one short loop moves the orders, and the records that follow are built by columns (field i of
every record in one strided copy); changes of waiting orders are `core.changes`, orders that are acknowledged and filled
at once `core.pairs`. Whatever is not plain (a change of a
sent order, a doubt, a text, a refusal, risk limits) ends the run and goes the long way through `Sender`, in its turn.
`tests/core/test_batches.py` and `test_changes.py` hold one against the other.

In `out` a run is one element that holds several records; in `calls` it is one call that hands over several INTENTs.
"""

from __future__ import annotations

import re
import struct

from oms_actors.core.answers import runs
from oms_actors.core.columns import halves, numbers, word
from oms_actors.core.ledger import Call
from oms_actors.core.pairs import COPIES, FEW, IN_WORDS, OUT_WORDS, Pairs
from oms_actors.core.pending import (
    FINAL,
    FIRST_DONE,
    FROM_SENDER,
    FROM_VENUE,
    HAS_TEXT,
    NEW,
    QUEUED,
    SENT,
    VALUES,
    WORKING,
    Order,
    Pending,
    SenderSettings,
)
from oms_actors.core.reports import NO_EXEC, average
from oms_actors.core.risk import NO_LIMITS, Risk
from oms_actors.core.scopes import Scopes
from oms_actors.core.sender import REQUESTS
from oms_actors.core.throttle import Throttle
from oms_actors.messages import ExecType, Kind, OrdStatus, Outcome, ResponseType, TimeInForce
from oms_actors.record import AT_FLAGS, KEY, REPORT_BYTES, REQUEST_BYTES, RESULT, VERSION

MANY_WAIT = 10_000
"""From so many waiting orders on, equal numbers are worth being one object."""
SAME_MAX = 4096
"""So many different quantities and prices are remembered."""
STRETCHES = re.compile(rb"\x01{8,}|\x02{8,}|\x03{8,}")
"""Of a run's kinds: as many of one kind as are worth it."""
_ACK, _FILL = int(ResponseType.ACK), int(ResponseType.FILL)
_REPORT, _INTENT_NEW, _RESULT = int(Kind.REPORT), int(Kind.INTENT_NEW), int(Kind.RESULT)
_NEW, _PARTIALLY_FILLED, _FILLED = int(OrdStatus.NEW), int(OrdStatus.PARTIALLY_FILLED), int(OrdStatus.FILLED)
_LAST = struct.Struct("<qq")
"""Quantity and price of a fill, at byte 48 of its report."""
_elements = list.__len__
_GTD = int(TimeInForce.GTD)
_NO_FILL = bytes(_LAST.size)
_GTD = int(TimeInForce.GTD)
_NO_REASON = bytes(4)
_INTENT = struct.Struct("<B7sQ176s")
"""A request as it goes out unchanged: kind, the rest of its head, sequence, the rest."""
_OF_RESULT = RESULT.size // 8


def _by_response(ack: int, fill: int) -> bytes:
    table = bytearray(256)
    table[_ACK], table[_FILL] = ack, fill
    return bytes(table)


_EXEC_TYPE = _by_response(ExecType.NEW, ExecType.TRADE)
_REQUEST_KIND = _by_response(NEW, 0)
_FLAGS = _by_response(FROM_SENDER | FROM_VENUE | FINAL, FROM_SENDER | FROM_VENUE)


class Batches(Pairs):
    """A Sender whose `take`, `release` and `respond_frame` work by runs. Calls of `calls` whose second element is a
    list have come back with `returned_all`."""

    def __init__(
        self, settings: SenderSettings, throttle: Throttle, risk: Risk | None = None, scopes: Scopes | None = None
    ) -> None:
        super().__init__(settings, throttle, risk, scopes)
        plain = not settings.max_queue_age_ns and not self.scopes.limits
        self._sends_runs = plain and NEW in settings.counted
        self._same: dict[int, int] = {}
        """Quantities and prices of waiting orders, each by itself."""

    # -- requests -------------------------------------------------------------------------------------------------

    def take(self, payload: bytes) -> int:
        """As Sender.take."""
        if len(payload) == REQUEST_BYTES and payload[0] == NEW and self.crossing is None:  # one order that came alone
            if payload[28:32] != _NO_REASON:
                return super().take(payload)
            self._admit_order(payload)
            self.counters["received"] += 1
            return 1
        if len(payload) < FEW * REQUEST_BYTES or self.crossing is not None or self.risk.limits is not NO_LIMITS:
            return super().take(payload)
        count = 0
        for kinds, data in runs(payload):
            refused = data[28::REQUEST_BYTES] + data[29::REQUEST_BYTES] != bytes(2 * len(kinds))
            if len(kinds) < FEW or kinds[0] not in REQUESTS or refused:
                count += super().take(data)
                continue
            if kinds.count(NEW) == len(kinds):
                self._admit_all(data)
            else:
                self._take_mixed(kinds, data)
            self.counters["received"] += len(kinds)
            count += len(kinds)
        return count

    def _take_mixed(self, kinds: bytes, data: bytes) -> None:
        """A run of requests of several kinds, or of changes, all of them admitted by intake."""
        done = 0
        for begin, end in (stretch.span() for stretch in STRETCHES.finditer(kinds)):
            if done < begin:
                self._take_requests(kinds[done:begin], data[done * REQUEST_BYTES : begin * REQUEST_BYTES])
            part = data[begin * REQUEST_BYTES : end * REQUEST_BYTES]
            if kinds[begin] == NEW:
                self._admit_all(part)
            else:
                self.change_all(kinds[begin], part)
            done = end
        if done < len(kinds):
            self._take_requests(kinds[done:], data[done * REQUEST_BYTES :])

    def _admit_all(self, data: bytes) -> None:
        """NEWs, all of them admitted by intake."""
        with memoryview(data).cast("q") as words:
            quantities, prices, stops = (words[at::IN_WORDS].tolist() for at in (6, 7, 8))
        records = [data[at : at + REQUEST_BYTES] for at in range(0, len(data), REQUEST_BYTES)]
        keys = [record[KEY] for record in records]
        if self.waiting > MANY_WAIT:
            quantities, prices = self._shared(quantities), self._shared(prices)
        orders = list(map(Order, records, keys, quantities, prices, stops))
        self.ids.update(zip(keys, orders, strict=True))
        self._newest = records[-1]
        self.lane.extend(orders)
        self.waiting += len(orders)

    def _shared(self, values: list[int]) -> list[int]:
        """The same values; equal ones are one object: less memory, and near when a waiting order is changed."""
        same = self._same
        if len(same) > SAME_MAX:
            same.clear()
        return list(map(same.setdefault, values, values))

    # -- sending --------------------------------------------------------------------------------------------------

    def may_pass(self) -> bool:
        """Could a plain order pass (`pass_on`), as everything stands? Only what is decided elsewhere changes that: a
        cycle, a command, a call that did not go well."""
        return not (
            self.waiting or self._resends or self.mass_actions or not self._sends_runs or self.risk.enabled
            or self.risk.limits is not NO_LIMITS or self.crossing is not None
        )  # fmt: skip

    def pass_on(self, record: bytes, now_ns: int, wall_ns: int) -> Call | None:
        """`begin`, `take` and `release` in one, for an order that comes while others `may_pass`: what goes to the
        exchange, if it is plain and only the throttle could hold it up. Else None, and nothing has changed but the
        time."""
        self.now, self.wall = now_ns, wall_ns
        if record[0] != NEW or record[28:32] != _NO_REASON or record[4] == _GTD or not self.throttle.take(now_ns):
            return None
        self._newest, key, out = record, record[KEY], self.out
        quantity, price, stop_price = VALUES.unpack_from(record, 48)
        order = Order(record, key, quantity, price, stop_price, SENT)
        order.attempt = 1
        self.ids[key] = order
        if key[0]:
            self.alias[key[16:]] = key
        sequence = self.base + _elements(out) + out.more
        intent = _INTENT.pack(_INTENT_NEW, record[1:8], sequence, record[16:])
        out.append(intent)
        self._intents[sequence] = order
        self.counters["received"] += 1
        return sequence, order, intent

    def release(self, limit: int, cancels_only: bool = False) -> int:
        """As Sender.release."""
        others = self._resends or self.risk.enabled or self.cancel_lane.head() is not None
        if others or cancels_only or not self._sends_runs:
            return super().release(limit, cancels_only)
        if len(self.lane) < FEW:
            return self._release_few(limit)
        released = 0
        while released < limit:
            run = self._release_run(limit - released) or super().release(1)
            if not run:
                break
            released += run
        return released

    def _release_few(self, limit: int) -> int:
        """Of a short line, each for itself: only the throttle stands in the way of a plain order."""
        lane, out, released = self.lane, self.out, 0
        while released < limit and (item := lane.head()) is not None:
            if not _is_plain(item):  # type: ignore[arg-type]
                return released + super().release(limit - released)
            if not self.throttle.take(self.now):
                break
            lane.pop()
            sequence, record = self.base + len(out), item.record  # type: ignore[attr-defined]
            intent = _INTENT.pack(_INTENT_NEW, record[1:8], sequence, record[16:])
            out.append(intent)
            self.apply_intent(item, sequence)  # type: ignore[arg-type]
            self.calls.append((sequence, item, intent))
            released += 1
        return released

    def _release_run(self, limit: int) -> int:
        """Takes what is plain out of the line's head; 0 where that is too little to be worth it."""
        lane = self.lane
        if min(len(lane), limit) < FEW or lane.head() is None:
            return 0
        limit = min(limit, self.throttle.available(self.now))
        orders: list[Order] = lane.first(limit) if limit >= FEW else []
        plain = 0
        for order in orders:  # `_is_plain`, without a call
            if (
                type(order) is not Order or order.phase != QUEUED or order.attempt or order.stale
                or order.extra is not None or order.record[4] == _GTD
            ):  # fmt: skip
                break
            plain += 1
        if plain < FEW:
            return 0
        del orders[plain:]
        lane.leave(plain)
        self.throttle.take_many(self.now, len(orders))
        self._send_all(orders)
        return len(orders)

    def _send_all(self, orders: list[Order]) -> None:
        """Their INTENTs: each request as it came, but for kind and sequence."""
        count, first = len(orders), self.base + len(self.out)
        sequences = range(first, first + count)
        frame = bytearray().join([order.record for order in orders])
        frame[::REQUEST_BYTES] = bytes((_INTENT_NEW,)) * count
        with memoryview(frame).cast("q") as words:
            words[1::IN_WORDS] = numbers(sequences)
        for order in orders:
            order.attempt = 1
            order.phase = SENT
        if any(frame[80::REQUEST_BYTES]):
            self.alias.update((order.key[16:], order.key) for order in orders if order.key[0])
        self._intents.update(zip(sequences, orders, strict=True))
        self.waiting -= count
        self.out.add(bytes(frame), count)
        self.calls.append((first, orders, self.out[-1]))

    def returned_all(self, call_ns: int, return_ns: int, first: int, orders: list[Order], outcome: int) -> None:
        """The call that handed over these orders' INTENTs, `first` the first of them, has come back."""
        count = len(orders)
        sequences = range(first, first + count)
        if outcome != Outcome.SENT:
            pairs = list(zip(sequences, orders, strict=True))
            for sequence, order in reversed(pairs) if outcome == Outcome.NOT_CALLED else pairs:
                self.returned(call_ns, return_ns, sequence, order, outcome)
            return
        self.throttle.returned_many(return_ns, count)
        results = bytearray(RESULT.pack(_RESULT, VERSION, outcome, 1, 0, call_ns, return_ns) * count)
        with memoryview(results).cast("q") as words:
            words[1::_OF_RESULT] = numbers(sequences)
        self.out.add(bytes(results), count)
        self.now = return_ns
        self.counters["sent"] += count
        for sequence in sequences:
            del self._intents[sequence]
        for order in orders:
            if order.phase == SENT:
                order.sent_ns = call_ns
        if self.settings.ack_timeout_ns:
            self._timeouts.append((return_ns + self.settings.ack_timeout_ns, orders, 1))

    # -- time -----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """As Sender.tick. What has been answered is forgotten long before its time is up."""
        timeouts = self._timeouts
        while timeouts:
            deadline, items, attempt = timeouts[0]
            unanswered = items if isinstance(items, list) else [items]
            while unanswered and (unanswered[-1].phase != SENT or unanswered[-1].attempt != attempt):
                unanswered.pop()
            if unanswered and deadline > self.now:
                break
            timeouts.popleft()
            for item in unanswered:
                if item.phase == SENT and item.attempt == attempt:
                    self.doubt(item)
                    self.relieve()
        super().tick()

    # -- answers --------------------------------------------------------------------------------------------------

    def respond_frame(self, frame: bytes) -> None:
        """As Sender.respond for each record of a frame (256 bytes each, a text behind the one it belongs to)."""
        end, at = len(frame) // REPORT_BYTES * REPORT_BYTES, 0
        by_runs = end >= FEW * REPORT_BYTES and self.risk.limits is NO_LIMITS
        if by_runs:
            at = self.respond_pairs(frame)
        while at < end:
            if by_runs:
                at += self._respond_run(frame, at)
            if at < end:
                at += self._respond_one(frame, at)

    def _respond_one(self, frame: bytes, at: int) -> int:
        """The long way; returns how many bytes that was."""
        after = at + REPORT_BYTES
        record, text = frame[at:after], None
        if record[AT_FLAGS] & HAS_TEXT and after < len(frame):
            text = frame[after : after + REPORT_BYTES]
        self.respond(record, text)
        return REPORT_BYTES if text is None else 2 * REPORT_BYTES

    def _respond_run(self, frame: bytes, begin: int) -> int:
        """Takes in plain acknowledgements and fills from byte `begin` on; returns how many bytes they had.

        One loop without calls of our own: this is the hottest code of a desk.
        """
        order_of, finished, now = self.ids.get, self._done.append, self.now
        run = _Run()
        add_order, add_state, add_latency = run.orders.append, run.states.append, run.latencies.append
        add_cum, add_average = run.cums.append, run.averages.append
        working = fills = 0
        for at in range(begin, len(frame), REPORT_BYTES):
            order = order_of(frame[at + 96 : at + 148])
            response = frame[at + 7]
            if (
                order is None or order.pending is not None or order.extra is not None
                or frame[at] != _REPORT or frame[at + AT_FLAGS] & HAS_TEXT
            ):  # fmt: skip
                break
            if response == _ACK:
                if order.phase != SENT or order.answered or order.cum or frame[at + 48 : at + 64] != _NO_FILL:
                    break
                order.answered, order.phase = True, WORKING
                working += 1
                add_state(_NEW)
                add_cum(0)
                add_average(0)
            elif response == _FILL and order.phase == WORKING and order.answered:
                quantity, price = _LAST.unpack_from(frame, at + 48)
                exec_id = frame[at + 200 : at + 224]
                cum, whole = order.cum + quantity, order.quantity
                if quantity <= 0 or cum > whole or exec_id == NO_EXEC:
                    break
                if order.exec_ids is None:
                    order.exec_ids = exec_id
                elif order.has_execution(exec_id):
                    break
                else:
                    order.executed(exec_id)
                order.cum = cum
                order.value += quantity * price
                fills += 1
                add_cum(cum)
                add_average(price if cum == quantity else average(order.value, cum))
                if cum == whole:
                    order.phase = FIRST_DONE
                    working -= 1
                    finished(order)
                    add_state(_FILLED)
                else:
                    add_state(_PARTIALLY_FILLED)
            else:
                break
            add_order(order)
            add_latency(now - order.sent_ns if order.sent_ns else 0)
        if not run.orders:
            return 0
        self.working += working
        self._count_run(len(run.orders), fills)
        self.latencies += filter(None, run.latencies)
        self.out.add(self._reports(frame, begin, run), len(run.orders))
        return len(run.orders) * REPORT_BYTES

    def _count_run(self, responses: int, fills: int) -> None:
        counters = self.counters
        counters["responses"] += responses
        counters["matched"] += responses
        counters["fills"] += fills
        self._forget_oldest()

    def _reports(self, frame: bytes, begin: int, run: _Run) -> bytes:
        """The exchange's records with what we know filled in, as `_venue_report` would one by one."""
        count, first = len(run.orders), self.base + len(self.out)
        reports = bytearray(frame[begin : begin + count * REPORT_BYTES])
        requests = b"".join([order.record for order in run.orders])
        responses = reports[7::REPORT_BYTES]
        reports[1::REPORT_BYTES] = bytes((VERSION,)) * count
        reports[2::REPORT_BYTES] = requests[2::REQUEST_BYTES]
        reports[3::REPORT_BYTES] = responses.translate(_EXEC_TYPE)
        reports[4::REPORT_BYTES] = run.states
        reports[5::REPORT_BYTES] = responses.translate(_FLAGS)
        reports[6::REPORT_BYTES] = responses.translate(_REQUEST_KIND)
        with memoryview(reports).cast("I") as out, memoryview(requests).cast("I") as source:
            out[4 :: 2 * OUT_WORDS] = source[4 :: 2 * IN_WORDS]  # upstream
            out[5 :: 2 * OUT_WORDS] = halves(self.session, count)
            out[6 :: 2 * OUT_WORDS] = halves(0, count)  # epoch
        with memoryview(reports).cast("q") as words, memoryview(requests).cast("q") as source:
            for to, where in COPIES:
                words[to::OUT_WORDS] = source[where::IN_WORDS]
            words[1::OUT_WORDS] = numbers(range(first, first + count))
            words[4::OUT_WORDS] = memoryview(word(self.wall) * count).cast("q")
            words[5::OUT_WORDS] = numbers(run.latencies)
            words[8::OUT_WORDS] = numbers(run.cums)
            leaves = [whole - cum for whole, cum in zip(source[6::IN_WORDS].tolist(), run.cums, strict=True)]
            words[9::OUT_WORDS] = numbers(leaves)
            words[10::OUT_WORDS] = numbers(run.averages)
        return bytes(reports)


class _Run:
    """What the loop over a run of answers leaves for the columns."""

    __slots__ = ("averages", "cums", "latencies", "orders", "states")

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.states = bytearray()
        self.cums: list[int] = []
        self.averages: list[int] = []
        self.latencies: list[int] = []


def _is_plain(item: Pending) -> bool:
    """Goes out just as its request came in."""
    return (
        type(item) is Order and item.phase == QUEUED and not item.attempt and not item.stale and item.extra is None
        and item.record[4] != _GTD
    )  # fmt: skip
